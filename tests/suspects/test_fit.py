"""How a photo of another shape becomes a picture of the model's size."""

import numpy as np
import pytest

from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation, publish
from anw_jax.suspects import (
    Access,
    AnswerCache,
    CallableSuspect,
    Declaration,
    RecordedSuspect,
    ask,
    probe,
)
from anw_jax.suspects.pictures import cropped, fitted, prepare
from tests.suspects import twins

CROP, SQUASH = Access("logits", fit="crop"), Access("logits")
SPACE = SignatureSpace(4)


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((10, 30), (4, 8), (10, 20)),
        ((30, 10), (8, 4), (20, 10)),
        ((30, 40), (24, 24), (30, 30)),
        ((30, 40), (3, 4), (30, 40)),
        ((7, 9), (2, 2), (7, 7)),
        ((1, 500), (8, 8), (1, 1)),
        ((2, 3), (1, 100), (1, 3)),
        ((10, 30), None, (10, 30)),
    ],
)
def test_the_part_that_is_left(shape, size, expected):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    part = cropped(picture, size)
    assert part.shape[:2] == expected
    top, left = ((a - b) // 2 for a, b in zip(shape, expected, strict=True))
    rows, columns = expected
    np.testing.assert_array_equal(part, picture[top : top + rows, left : left + columns])


def test_the_shape_is_that_of_the_size_to_a_pixel(rng):
    for _ in range(200):
        height, width, high, wide = (int(n) for n in rng.integers(1, 60, 4))
        part = cropped(np.zeros((height, width, 3), np.uint8), (high, wide))
        rows, columns = part.shape[:2]
        assert rows == height or columns == width
        assert min(abs(rows - columns * high / wide), abs(columns - rows * wide / high)) <= 1


def wide_photos(number=3):
    return np.random.default_rng(4).integers(0, 256, (number, 8, 20, 3), dtype=np.uint8)


@pytest.mark.parametrize("mark_first", [True, False])
def test_a_table_of_crops_is_the_table_of_cropped_photos(mark_first):
    """The hue does not care where the crop comes; every slot gets the same one."""
    photos, suspect = wide_photos(), twins.called()
    table = ask(suspect, photos, [0, 1, 2], HueRotation(), SPACE, access=CROP)
    if mark_first:
        twin = np.empty_like(table)
        for slot, degrees in enumerate(SPACE.degrees):
            marked = publish(HueRotation(), photos, float(degrees))[:, :, 6:14]
            logits = twins.logits(fitted(marked, None)).astype(np.float64)
            twin[:, slot] = [np.log(np.exp(row).sum()) - row[y] for y, row in enumerate(logits)]
    else:
        twin = ask(suspect, photos[:, :, 6:14], [0, 1, 2], HueRotation(), SPACE)
    np.testing.assert_allclose(table, twin, rtol=1e-4, atol=1e-5)
    squashed = ask(suspect, photos, [0, 1, 2], HueRotation(), SPACE)
    assert np.abs(table - squashed).max() > 0.01


def test_both_fits_share_no_answer(tmp_path):
    suspect, photos = twins.called(), wide_photos()
    with AnswerCache(tmp_path / "answers", suspect.declaration) as cache:
        options = {"cache": cache}
        first = ask(suspect, photos, [0, 1, 2], HueRotation(), SPACE, access=CROP, **options)
        assert cache.num_queries == 12
        ask(suspect, photos, [0, 1, 2], HueRotation(), SPACE, access=SQUASH, **options)
        assert cache.num_queries == 24
        again = ask(suspect, photos, [0, 1, 2], HueRotation(), SPACE, access=CROP, **options)
        assert cache.num_queries == 24
    np.testing.assert_array_equal(first, again)


def test_changed_pictures_and_own_labels_are_cropped_too():
    access = Access("label", true_labels=False, num_augmentations=3, fit="crop")
    seen = []

    def fun(batch):
        seen.append(batch.shape)
        return twins.logits(batch[:, :8, :8]).argmax(1)

    suspect = CallableSuspect(fun, Declaration(5, "label"), identity="a")
    table = ask(suspect, wide_photos(), None, HueRotation(), SPACE, access=access, seed=b"s")
    assert np.isfinite(table).all()
    # Without a declared size there is nothing to crop to.
    assert {shape[1:] for shape in seen} == {(8, 20, 3)}
    seen.clear()
    suspect = CallableSuspect(fun, Declaration(5, "label", (8, 8)), identity="a")
    ask(suspect, wide_photos(), None, HueRotation(), SPACE, access=access, seed=b"s")
    assert {shape[1:] for shape in seen} == {(8, 8, 3)}


def test_recorded_answers_know_the_part_that_was_asked():
    photos = wide_photos()
    marked = np.concatenate([publish(HueRotation(), photos, float(d)) for d in SPACE.degrees])
    parts = np.ascontiguousarray(marked[:, :, 6:14])
    recorded = RecordedSuspect.of(
        parts, twins.called().answers(fitted(parts, None)), twins.NHWC
    )
    table = ask(recorded, photos, [0, 1, 2], HueRotation(), SPACE, access=CROP)
    twin = ask(twins.called(), photos, [0, 1, 2], HueRotation(), SPACE, access=CROP)
    np.testing.assert_allclose(table, twin, rtol=1e-5)


def test_the_default_is_to_squash_and_says_nothing_new():
    assert Access("logits").fit == "squash"
    assert Access("logits").describe() == "logits, true labels, 1 query per image and slot"
    assert CROP.describe().endswith("per image and slot, the centre of each picture")
    with pytest.raises(ValueError, match="fit must be one of squash, crop; got 'pad'"):
        Access("logits", fit="pad")


def test_the_probe_crops_as_the_audit_does():
    seen = []

    def fun(batch):
        seen.append(batch)
        return twins.logits(batch)

    suspect = CallableSuspect(fun, twins.NHWC, identity="a")
    probe(suspect, wide_photos(), fit="crop")
    np.testing.assert_array_equal(seen[0], fitted(wide_photos()[:, :, 6:14], None))
    with pytest.raises(ValueError, match="fit must be one of squash, crop; got 'whole'"):
        probe(suspect, wide_photos(), fit="whole")


@pytest.mark.parametrize("size", [(5, 7), (24, 24), (40, 3), (37, 50)])
def test_8_bit_pictures_are_prepared_as_floats_are(size):
    photos = np.random.default_rng(1).integers(0, 256, (2, 37, 50, 3), dtype=np.uint8)
    floats = photos.astype(np.float32) / np.float32(255)
    declaration = Declaration(2, input_size=size)
    np.testing.assert_array_equal(fitted(photos, size), prepare(floats, declaration))


def test_large_pictures_in_parts_are_those_at_once(monkeypatch):
    photos = np.random.default_rng(1).integers(0, 256, (2, 37, 50, 3), dtype=np.uint8)
    whole = fitted(photos, (24, 20))
    monkeypatch.setattr("anw_jax.suspects.pictures._BLOCK_VALUES", 37 * 3 * 7)
    np.testing.assert_allclose(fitted(photos, (24, 20)), whole, atol=1e-7)


def test_photos_of_unequal_size_are_one_clear_error():
    photos = [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)]
    expected = r"images must be of one size, got \(8, 8, 3\) and, as images\[1\], \(8, 9, 3\): "
    with pytest.raises(ValueError, match=expected):
        ask(twins.called(), photos, [0, 1], HueRotation(), SPACE)
