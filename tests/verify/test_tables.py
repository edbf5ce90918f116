"""The loss table of many owners: one program, the same numbers as owner by owner."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation, PixelMark, UserLCT
from anw_jax.verify import grid_search, loss_table

SPACE = SignatureSpace(5)
MARK_OF_IMAGE = np.array([2, 0, 1, 2, 2, 0])

CROWDS = {
    "own bases": [UserLCT.from_sub_key(bytes([i]) * 32) for i in range(3)],
    "own pixels": [PixelMark(bytes([i]) * 32, 8, 8, num_pixels=9 + i) for i in range(3)],
    "same hue": [HueRotation()] * 3,
}


@pytest.mark.parametrize("marks", CROWDS.values(), ids=CROWDS)
@pytest.mark.parametrize("which", ["traced", "called"])
def test_every_row_is_that_of_its_owner(request, small_images, labels, marks, which):
    predict, _ = request.getfixturevalue(which)
    table = loss_table(predict, small_images, labels, marks, SPACE, mark_of_image=MARK_OF_IMAGE)
    assert table.shape == (6, 5)
    assert table.dtype == np.float32
    for owner, mark in enumerate(marks):
        rows = owner == MARK_OF_IMAGE
        alone = loss_table(predict, small_images[rows], labels[rows], mark, SPACE)
        np.testing.assert_allclose(table[rows], alone, atol=1e-6)


@pytest.mark.parametrize("which", ["traced", "called"])
def test_equal_chunks_give_equal_bits(request, small_images, labels, which):
    predict, _ = request.getfixturevalue(which)
    marks, owners = CROWDS["own bases"], np.array([0, 0, 1, 1, 2, 2])
    ten = {"chunk_size": 10}  # two images of 5 slots: an owner in each chunk
    table = loss_table(predict, small_images, labels, marks, SPACE, mark_of_image=owners, **ten)
    for owner, mark in enumerate(marks):
        rows = owners == owner
        alone = loss_table(predict, small_images[rows], labels[rows], mark, SPACE, **ten)
        np.testing.assert_array_equal(table[rows], alone)


@pytest.mark.parametrize("chunk_size", [1, 7, 29, 1000])
def test_chunks_run_across_owners(traced, small_images, labels, chunk_size):
    arguments = (traced[0], small_images, labels, CROWDS["own bases"], SPACE)
    usual = loss_table(*arguments, mark_of_image=MARK_OF_IMAGE)
    chunked = loss_table(*arguments, mark_of_image=MARK_OF_IMAGE, chunk_size=chunk_size)
    np.testing.assert_allclose(chunked, usual, atol=1e-6)


def _remember(stored, images):
    """Three classes; class 0 by the distance to the nearest of all stored pictures."""
    flat = images.reshape(images.shape[0], -1)
    cross = flat @ stored.T
    squares = (flat**2).sum(1)[:, None] - jnp.float32(2) * cross + (stored**2).sum(1)[None]
    near = squares.min(axis=1)
    return jnp.stack([-near, jnp.zeros_like(near), jnp.zeros_like(near)], axis=1)


@pytest.mark.slow
def test_a_thousand_owners_are_verified_in_one_program(rng):
    """Each with a basis and a signature; the model stored what every second one published."""
    num_owners, per_owner, space = 1000, 4, SignatureSpace()
    photos = rng.integers(60, 196, (num_owners * per_owner, 4, 4, 3), dtype=np.uint8)
    owner_of_image = np.repeat(np.arange(num_owners), per_owner)
    # A disturbed YIQ each: as distinct as drawn bases, and made in no time.
    disturbances = rng.uniform(-0.1, 0.1, (num_owners, 3, 3))
    marks = [UserLCT(HueRotation().basis + disturbance) for disturbance in disturbances]
    slots = rng.integers(1, 12, num_owners)
    parameters = [marks[owner].parameters(30.0 * slots[owner]) for owner in owner_of_image]
    published = np.stack(
        [UserLCT.publish_pixels(*pair) for pair in zip(photos, parameters, strict=True)]
    )
    stored = published[:: per_owner * 2].reshape(num_owners // 2, -1) / np.float32(255)
    traces = []

    def apply(stored, images):
        traces.append(images.shape[0])
        return _remember(stored, images)

    predict = jax.tree_util.Partial(apply, jnp.asarray(stored))
    labels = np.zeros(len(photos), int)
    table = loss_table(
        predict, photos, labels, marks, space, mark_of_image=owner_of_image, chunk_size=480
    )
    found = grid_search(table[::per_owner], space, np.arange(num_owners))
    assert traces == [7, 480]
    # Every second owner's first photo was stored.
    matches = found.matches(30.0 * slots, space)
    assert matches[::2].all()
    assert matches[1::2].mean() < 0.25
    for owner in (0, 1, 998):
        rows = owner_of_image == owner
        alone = loss_table(predict, photos[rows], labels[rows], marks[owner], space)
        np.testing.assert_allclose(table[rows], alone, atol=1e-5)


def test_no_images_give_an_empty_table(traced, called, small_images):
    none = np.zeros(0, int)
    for predict, _ in (traced, called):
        marks = CROWDS["same hue"]
        table = loss_table(predict, small_images[:0], none, marks, SPACE, mark_of_image=none)
        assert table.shape == (0, 5)


REFUSED = {
    "no marks": ({"mark": []}, ValueError, "num_marks must be at least 1, got 0"),
    "whose": (
        {"mark_of_image": None},
        ValueError,
        "mark_of_image must be given with several marks",
    ),
    "a class": (
        {"mark": HueRotation},
        TypeError,
        "mark must be a Mark, such as HueRotation(), got type: "
        "<class 'anw_jax.marks.lct.HueRotation'>",
    ),
    "two types": (
        {"mark": [HueRotation(), CROWDS["own bases"][0]]},
        TypeError,
        "marks must all be of one type to share a program, got HueRotation, UserLCT",
    ),
    "two sizes": (
        {"mark": [PixelMark(bytes(32), 8, side, 9) for side in (8, 9, 8)]},
        ValueError,
        "marks must have tables of one shape to share a program, got (5, 8, 8) and (5, 8, 9)",
    ),
    "too few owners": (
        {"mark_of_image": [0, 1]},
        ValueError,
        "mark_of_image must have shape (6,), got (2,)",
    ),
    "unknown owner": (
        {"mark_of_image": [0, 1, 2, 3, 0, 0]},
        ValueError,
        "mark_of_image must be below 3, got 3",
    ),
    "negative owner": (
        {"mark_of_image": [0, 1, 2, -1, 0, 0]},
        ValueError,
        "mark_of_image must be at least 0, got -1",
    ),
    "owners of floats": (
        {"mark_of_image": np.zeros(6)},
        TypeError,
        "mark_of_image must be integers, got float64",
    ),
    "labels": (
        {"labels": np.array([0, 3])},
        ValueError,
        "labels must have shape (6,), got (2,)",
    ),
}


@pytest.mark.parametrize(("change", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused(traced, small_images, labels, change, kind, message):
    arguments = {
        "predict": traced[0],
        "images": small_images,
        "labels": labels,
        "mark": CROWDS["own bases"],
        "mark_of_image": MARK_OF_IMAGE,
        "space": SPACE,
    }
    with pytest.raises(kind) as caught:
        loss_table(**(arguments | change))
    assert str(caught.value) == message
