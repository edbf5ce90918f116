"""Gradient search for many signatures: each as if it were sought alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation, PixelMark, UserLCT
from anw_jax.verify import (
    gradient_search,
    grid_search,
    loss_table,
    signature_cosine,
)

NUM_USERS, PER_USER = 4, 3
USER_OF_IMAGE = np.repeat(np.arange(NUM_USERS), PER_USER)
HUES = np.array([12.0, 97.0, 203.0, 341.0])
OF_USERS = {"mark_of_image": USER_OF_IMAGE, "signature_of_image": USER_OF_IMAGE}
LABELS = np.zeros(NUM_USERS * PER_USER, int)
distance = SignatureSpace.distance

CROWDS = {
    "own bases": [UserLCT.from_sub_key(bytes([i]) * 32) for i in range(NUM_USERS)],
    "own pixels": [PixelMark(bytes([i]) * 32, 6, 6, 20 + i) for i in range(NUM_USERS)],
}


@pytest.fixture
def photos(rng):
    """Muted colours, which hardly any mark clips."""
    return rng.integers(90, 102, (NUM_USERS * PER_USER, 6, 6, 3), dtype=np.uint8)


def _memory(stored, images):
    flat, kept = images.reshape(len(images), -1), stored.reshape(len(stored), -1)
    squares = ((flat[:, None, :] - kept[None, :, :]) ** 2).sum(axis=-1).min(axis=1)
    return jnp.stack([jnp.float32(-30.0) * squares, jnp.zeros_like(squares)], axis=-1)


def _remembering(photos, marks):
    stored = [
        marks[user].mark(photo / np.float32(255), np.float32(HUES[user]))
        for photo, user in zip(photos, USER_OF_IMAGE, strict=True)
    ]
    return jax.tree_util.Partial(_memory, jnp.asarray(np.stack(stored)))


@pytest.mark.slow
@pytest.mark.parametrize("marks", CROWDS.values(), ids=CROWDS)
def test_every_user_is_sought_as_alone(photos, marks):
    predict = _remembering(photos, marks)
    settings = {"num_starts": 5, "num_steps": 30, "chunk_images": 4}
    many = gradient_search(predict, photos, LABELS, marks, **OF_USERS, **settings)
    assert many.best_degrees.shape == (NUM_USERS,)
    assert many.losses.shape == (31, 5, NUM_USERS)
    assert many.num_forward == 31 * 5 * len(photos)
    for user, mark in enumerate(marks):
        rows = user == USER_OF_IMAGE
        alone = gradient_search(predict, photos[rows], LABELS[rows], mark, **settings)
        np.testing.assert_allclose(many.losses[0, :, user], alone.losses[0, :, 0], atol=1e-5)
        assert distance(many.best_degrees[user], alone.best_degrees[0]) < 0.5


def test_coarse_grids_start_the_descents_of_all_users(photos):
    marks, space = CROWDS["own bases"], SignatureSpace()
    predict = _remembering(photos, marks)
    table = loss_table(predict, photos, LABELS, marks, space, mark_of_image=USER_OF_IMAGE)
    coarse = grid_search(table, space, USER_OF_IMAGE)
    starts = coarse.lowest_degrees(2)
    fine = gradient_search(
        predict, photos, LABELS, marks, **OF_USERS, num_steps=12, starts_degrees=starts
    )
    np.testing.assert_array_equal(fine.degrees[0], starts)
    assert (distance(fine.best_degrees, HUES) <= 1.3).all()
    assert (signature_cosine(fine.best_degrees, HUES) >= 0.999).all()


def test_signatures_without_images_are_not_inferred(photos):
    predict = _remembering(photos, [HueRotation()] * NUM_USERS)
    second = np.ones(len(photos), int)
    settings = {"signature_of_image": second, "num_starts": 2, "num_steps": 3}
    result = gradient_search(predict, photos, LABELS, HueRotation(), **settings)
    assert np.isnan(result.best_degrees[0])
    assert np.isfinite(result.best_degrees[1])
    assert np.isnan(result.losses[:, :, 0]).all()


REFUSED = {
    "marks": (
        {"mark": [HueRotation(), CROWDS["own bases"][0]]},
        TypeError,
        "marks must all be of one type to share a program, got HueRotation, UserLCT",
    ),
    "mark_of_image": (
        {"mark_of_image": USER_OF_IMAGE + 1},
        ValueError,
        "mark_of_image must be below 4, got 4",
    ),
    "signature_of_image": (
        {"signature_of_image": USER_OF_IMAGE - 1},
        ValueError,
        "signature_of_image must be at least 0, got -1",
    ),
    "starts": (
        {"starts_degrees": np.zeros((2, 3))},
        ValueError,
        "starts_degrees must be finite, of shape [num_starts] or [num_starts, 4], got shape "
        "(2, 3)",
    ),
}


@pytest.mark.parametrize(("change", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused(photos, change, kind, message):
    arguments = {
        "predict": _remembering(photos, CROWDS["own bases"]),
        "images": photos,
        "labels": LABELS,
        "mark": CROWDS["own bases"],
        "mark_of_image": USER_OF_IMAGE,
        "signature_of_image": USER_OF_IMAGE,
    }
    with pytest.raises(kind) as caught:
        gradient_search(**(arguments | change))
    assert str(caught.value) == message
