"""Units, assignments and spaces; how slots are drawn stands in test_slots.py."""

import json
import pathlib
import runpy

import numpy as np
import pytest

from anw_jax.keys import (
    Assignment,
    Manifest,
    MarkKey,
    Plan,
    SignatureSpace,
    Units,
    assign,
    image_digest,
)

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
KEY = MarkKey.for_experiment(1)
SPACE = SignatureSpace()
PLAN = Plan("losses", 0.01)


def test_golden_values():
    made = runpy.run_path(str(GOLDEN / "make_keys_golden.py"))["golden"]()
    assert made == json.loads((GOLDEN / "keys.json").read_text())


def test_byte_identical_originals_share_a_unit(small_images):
    images = np.concatenate([small_images, small_images[:2], small_images[:1]])
    assignment = assign(KEY, Manifest.of(images, SPACE), PLAN)
    assert assignment.num_units == 6
    assert assignment.units.unit_of_image.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 0]
    assert assignment.units.sizes.tolist() == [1] * 6
    assert assignment.units.is_copy.tolist() == [False] * 6 + [True] * 3


def test_a_photo_in_two_albums_belongs_to_the_first(small_images):
    images = np.concatenate([small_images, small_images[:1], small_images[:1]])
    manifest = Manifest.of(images, SPACE, "per_group", [*"aabbccbd"])
    assert manifest.unit_of_image == (0, 0, 1, 1, 2, 2, 0, 0)
    # An album of copies alone makes no unit, and changes no slot.
    without = Manifest.of(small_images, SPACE, "per_group", list("aabbcc"))
    assert manifest.unit_digests == without.unit_digests


def test_group_names_carry_no_secret(small_images):
    first = Manifest.of(small_images, SPACE, "per_group", list("aabbcc"))
    second = Manifest.of(small_images, SPACE, "per_group", [9, 9, (1,), (1,), None, None])
    assert first == second
    assert first.digest == second.digest


def test_assignment_is_sealed(small_images):
    units, slots = np.arange(3), np.array([1, 2, 3])
    made = Units(units, SPACE)
    assignment = Assignment(made, slots)
    units[0] = 9
    slots[0] = 9
    assert assignment.slot_of_unit.tolist() == [1, 2, 3]
    for array in (assignment.slot_of_unit, made.unit_of_image, made.is_copy):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert "slot_of_unit" not in repr(assignment)
    np.testing.assert_array_equal(assignment.degrees, [30.0, 60.0, 90.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 2], [1, 2]), "unit_of_image must number units from 0 without gaps, got 0 … 2"),
        (([0, -1], [1, 2]), "unit_of_image must number units from 0 without gaps, got -1"),
        (([0, 1], [1, 2, 3]), "slot_of_unit must hold 2 slots, one for each unit, got 3"),
        (([0, 1], [0, 2]), "slot_of_unit must lie in 1 … 11"),
        (([0, 1], [1, 12]), "slot_of_unit must lie in 1 … 11"),
        (([0.0, 1.0], [1, 2]), "unit_of_image must be a non-empty vector of integers"),
        (([False, True], [1, 2]), "unit_of_image must be a non-empty vector of integers"),
        (([], []), "unit_of_image must be a non-empty vector of integers"),
        (([[0]], [1]), "unit_of_image must be a non-empty vector of integers"),
        (([0], [1.5]), "slot_of_unit must be a non-empty vector of integers"),
        (([0], np.array([2**64 - 1], np.uint64)), "slot_of_unit must lie in 1 … 11"),
    ],
)
def test_bad_assignments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Assignment(Units(arguments[0], SPACE), arguments[1])


def test_per_user_has_one_unit():
    with pytest.raises(ValueError, match="'per_user' must have exactly one unit, got 2"):
        Units(np.arange(2), SPACE, "per_user")
    with pytest.raises(ValueError, match="got 'per_img'; did you mean 'per_image'"):
        Units(np.arange(1), SPACE, "per_img")
    with pytest.raises(ValueError, match=r"is_copy must have shape \(1,\)"):
        Units(np.arange(1), SPACE, is_copy=[True, False])


def test_units_alone_stand_in_an_assignment():
    with pytest.raises(TypeError, match="units must be a Units, got ndarray"):
        Assignment(np.arange(3), np.array([1, 2, 3]))


def test_units_of_one_manifest_are_equal(small_images):
    units = Manifest.of(small_images, SPACE, "per_group", [*"aabbcc"]).units
    assert units == Units([0, 0, 1, 1, 2, 2], SPACE, "per_group")
    assert units != Units([0, 0, 1, 1, 2, 2], SignatureSpace(6), "per_group")
    assert units != Units([0, 0, 1, 1, 1, 2], SPACE, "per_group")
    assert units != Units([0, 0, 1, 1, 2, 2], SPACE, "per_group", [False] * 5 + [True])


def test_photos_alone_are_not_assigned(small_images):
    manifest = Manifest.of(small_images, SPACE)
    with pytest.raises(TypeError, match="manifest must be a Manifest, got ndarray"):
        assign(KEY, small_images, PLAN)
    with pytest.raises(TypeError, match="plan must be a Plan, got str: 'losses'"):
        assign(KEY, manifest, "losses")
    with pytest.raises(TypeError, match="beacon must be a bytes, got str"):
        assign(KEY, manifest, PLAN, beacon="25000000")


def test_wrong_shapes_are_named_as_the_caller_wrote_them(small_images):
    one = small_images[0]
    message = "images[0] must have shape [H, W, 3], got (8, 3)"
    for images in (one, list(one)):
        with pytest.raises(ValueError) as raised:
            Manifest.of(images, SPACE)
        assert str(raised.value) == message
    for image, shape in ((small_images, "(6, 8, 8, 3)"), (one[0], "(8, 3)"), ("x.png", "()")):
        with pytest.raises(ValueError) as raised:
            image_digest(image)
        assert str(raised.value) == f"image must have shape [H, W, 3], got {shape}"
    with pytest.raises(
        ValueError, match=r"^images\[1\] must have shape .*, got \(1, 8, 8, 3\)"
    ):
        Manifest.of([one, one[None]], SPACE)


GREY = np.zeros((1, 8, 8), np.uint8)
BAD_IMAGES = [
    (GREY, ValueError, r"^images\[0\] must have shape \[H, W, 3\], got \(8, 8\): a grey"),
    (np.zeros((1, 8, 8, 1), np.uint8), ValueError, "a 1-channel image has no hue to rotate"),
    (np.zeros((1, 8, 8, 4), np.uint8), ValueError, "drop the alpha channel first"),
    (np.zeros((1, 3, 8, 8), np.uint8), ValueError, "channels come last; transpose it"),
    (np.full((1, 8, 8, 3), 0.3337), ValueError, r"^images\[0\] must hold 8-bit values"),
    (np.full((1, 8, 8, 3), np.nan), ValueError, r"^images\[0\] must lie in \[0, 1\]"),
    (np.full((1, 8, 8, 3), 200.0), ValueError, "divide by 255 first"),
    (np.zeros((1, 8, 8, 3), np.int32), TypeError, r"^images\[0\] must be uint8 or float in"),
    (np.zeros((0, 8, 8, 3), np.uint8), ValueError, "a manifest needs at least one image"),
]


@pytest.mark.parametrize(("images", "error", "message"), BAD_IMAGES)
def test_bad_images(images, error, message):
    with pytest.raises(error, match=message):
        Manifest.of(images, SPACE)


def test_bad_schemes_and_groups(small_images):
    with pytest.raises(ValueError, match="got 'per_album'"):
        Manifest.of(small_images, SPACE, "per_album")
    with pytest.raises(ValueError, match="did you mean 'per_image'"):
        Manifest.of(small_images, SPACE, "perimage")
    with pytest.raises(ValueError, match="groups must name the album of each image"):
        Manifest.of(small_images, SPACE, "per_group")
    with pytest.raises(ValueError, match="and be None with the other schemes"):
        Manifest.of(small_images, SPACE, "per_image", list("aabbcc"))
    with pytest.raises(ValueError, match="one entry for each of the 6 images, got 5"):
        Manifest.of(small_images, SPACE, "per_group", list("aabbc"))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((1,), ValueError, "num_slots must be at least 2, got 1"),
        ((0,), ValueError, "num_slots must be at least 2, got 0"),
        ((2**16 + 1,), ValueError, "num_slots must be at most 65536, got 65537"),
        ((12.0,), TypeError, "num_slots must be an integer, got 12.0"),
        ((True,), TypeError, "num_slots must be an integer, got True"),
    ],
)
def test_bad_spaces(arguments, error, message):
    with pytest.raises(error, match=message):
        SignatureSpace(*arguments)


def test_tau_follows_from_the_number_of_slots():
    assert [SignatureSpace(n).tau_degrees for n in (2, 12, 36)] == [90.0, 15.0, 5.0]
    with pytest.raises(AttributeError):
        SignatureSpace().tau_degrees = 30.0


def test_two_slots_leave_no_choice(small_images):
    manifest = Manifest.of(small_images, SignatureSpace(2))
    assert assign(KEY, manifest, PLAN).slots.tolist() == [1] * 6


def test_image_digest_separates_shape_and_pixels():
    pixels = np.arange(36, dtype=np.uint8)
    shapes = [(3, 4, 3), (4, 3, 3), (2, 6, 3), (12, 1, 3), (1, 12, 3)]
    assert len({image_digest(pixels.reshape(shape)) for shape in shapes}) == len(shapes)
    image = pixels.reshape(3, 4, 3)
    assert image_digest(image / 255) == image_digest(image)
    assert image_digest((image / 255).astype(np.float32)) == image_digest(image)
    assert image_digest(np.asfortranarray(image)) == image_digest(image)
    changed = image.copy()
    changed[0, 0, 0] += 1
    assert image_digest(changed) != image_digest(image)
