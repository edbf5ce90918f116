import hmac
import json
import pathlib
import runpy

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.keys import Assignment, Manifest, MarkKey, SignatureSpace, assign, image_digest
from anw_jax.keys.assignment import draw_slot
from anw_jax.keys.units import unit_digest

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
KEY = MarkKey.for_experiment(1)
SPACE = SignatureSpace()


def test_golden_values():
    made = runpy.run_path(str(GOLDEN / "make_keys_golden.py"))["golden"]()
    assert made == json.loads((GOLDEN / "keys.json").read_text())


def _chi_square_p(draws, num_valid):
    counts = np.bincount(np.asarray(draws) - 1, minlength=num_valid)
    assert len(counts) == num_valid
    return scipy.stats.chisquare(counts).pvalue


def test_slots_are_uniform_over_the_valid_ones():
    sub_key = KEY.sub_key("slots")
    draws = [draw_slot(sub_key, f"{number:064x}", 11) for number in range(100_000)]
    assert _chi_square_p(draws, 11) > 1e-3
    pairs = (np.array(draws[::2]) - 1) * 11 + np.array(draws[1::2])
    assert _chi_square_p(pairs, 121) > 1e-3


def test_the_chi_square_sees_a_modulo_bias_and_slot_zero():
    def biased(number):  # one byte modulo 11: 256 = 23 * 11 + 3
        digest = hmac.digest(b"toy", number.to_bytes(8, "big"), "sha256")
        return 1 + digest[0] % 11

    assert _chi_square_p([biased(number) for number in range(100_000)], 11) < 1e-3


def test_rejection_leaves_no_bias(monkeypatch):
    """With a toy PRF of one byte the last 3 of 256 numbers are drawn again."""
    seen = iter([2**256 - 1, 2**256 - 2, 5])
    monkeypatch.setattr(
        "anw_jax.keys.assignment.hmac.digest", lambda *_: next(seen).to_bytes(32, "big")
    )
    limit = 2**256 // 11 * 11
    assert limit <= 2**256 - 2  # both first numbers lie beyond the last full multiple
    assert draw_slot(b"k", "00" * 32, 11) == 6


def test_the_slot_depends_on_key_photo_scheme_and_number_of_slots():
    digests = [f"{number:064x}" for number in range(300)]
    sub_keys = (KEY.sub_key("slots"), MarkKey.for_experiment(2).sub_key("slots"))

    def slots(sub_key=sub_keys[0], scheme="per_image", num_valid=11):
        return np.array(
            [draw_slot(sub_key, unit_digest(scheme, [d]), num_valid) for d in digests]
        )

    for other in (slots(sub_keys[1]), slots(scheme="per_user"), slots(num_valid=10)):
        assert 5 <= (slots() == other).sum() <= 60  # 27 agree by chance


def test_slots_of_a_photo_do_not_depend_on_its_neighbours(small_images):
    slots = assign(KEY, small_images).slots
    np.testing.assert_array_equal(assign(KEY, small_images[::-1]).slots, slots[::-1])
    np.testing.assert_array_equal(assign(KEY, small_images[2:3]).slots, slots[2:3])


def test_byte_identical_originals_share_a_unit(small_images):
    images = np.concatenate([small_images, small_images[:2], small_images[:1]])
    assignment = assign(KEY, images)
    assert assignment.num_units == 6
    assert assignment.unit_of_image.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 0]
    assert assignment.is_copy.tolist() == [False] * 6 + [True] * 3


def test_a_photo_in_two_albums_belongs_to_the_first(small_images):
    images = np.concatenate([small_images, small_images[:1], small_images[:1]])
    manifest = Manifest.of(images, SPACE, "per_group", [*"aabbccbd"])
    assert manifest.unit_of_image == (0, 0, 1, 1, 2, 2, 0, 0)
    # An album of copies alone makes no unit, and changes no slot.
    without = Manifest.of(small_images, SPACE, "per_group", list("aabbcc"))
    assert manifest.unit_digests == without.unit_digests


def test_group_names_carry_no_secret(small_images):
    first = assign(KEY, small_images, SPACE, "per_group", list("aabbcc"))
    second = assign(KEY, small_images, SPACE, "per_group", [9, 9, (1,), (1,), None, None])
    np.testing.assert_array_equal(first.slots, second.slots)


def test_assignment_is_sealed(small_images):
    units, slots = np.arange(3), np.array([1, 2, 3])
    assignment = Assignment(units, slots, SPACE)
    slots[0] = 9
    assert assignment.slot_of_unit.tolist() == [1, 2, 3]
    for array in (assignment.slot_of_unit, assignment.unit_of_image, assignment.is_copy):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert "slot_of_unit" not in repr(assignment)
    np.testing.assert_array_equal(assignment.degrees, [30.0, 60.0, 90.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 2], [1, 2]), "unit_of_image must use each unit 0 … 1 at least once and no other"),
        (([0, -1], [1, 2]), "unit_of_image must use each unit 0 … 1"),
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
        Assignment(*arguments, SPACE)


def test_per_user_has_one_unit():
    with pytest.raises(ValueError, match="'per_user' has exactly one unit, got 2"):
        Assignment(np.arange(2), np.array([1, 2]), SPACE, "per_user")
    with pytest.raises(ValueError, match="got 'per_img'; did you mean 'per_image'"):
        Assignment(np.arange(1), np.array([1]), SPACE, "per_img")
    with pytest.raises(ValueError, match=r"is_copy must have shape \(1,\)"):
        Assignment(np.arange(1), np.array([1]), SPACE, is_copy=[True, False])


def test_what_a_manifest_fixes_is_not_given_twice(small_images):
    manifest = Manifest.of(small_images, SPACE)
    with pytest.raises(ValueError, match="fixed by the manifest: omit them"):
        assign(KEY, manifest, SPACE)


def test_wrong_shapes_are_named_as_the_caller_wrote_them(small_images):
    one = small_images[0]
    message = "images[0] must have shape [H, W, 3], got (8, 3)"
    for refuses in (lambda: Manifest.of(one, SPACE), lambda: assign(KEY, list(one))):
        with pytest.raises(ValueError) as raised:
            refuses()
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
        assign(KEY, images)


def test_bad_schemes_and_groups(small_images):
    with pytest.raises(ValueError, match="got 'per_album'"):
        assign(KEY, small_images, SPACE, "per_album")
    with pytest.raises(ValueError, match="did you mean 'per_image'"):
        assign(KEY, small_images, SPACE, "perimage")
    with pytest.raises(ValueError, match="groups must name the album of each image"):
        assign(KEY, small_images, SPACE, "per_group")
    with pytest.raises(ValueError, match="and be None with the other schemes"):
        assign(KEY, small_images, SPACE, "per_image", list("aabbcc"))
    with pytest.raises(ValueError, match="one entry for each of the 6 images, got 5"):
        assign(KEY, small_images, SPACE, "per_group", list("aabbc"))


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
    assert assign(KEY, small_images, SignatureSpace(2)).slots.tolist() == [1] * 6


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.integers(2, 400), st.floats(-1e6, 1e6))
def test_every_angle_has_its_nearest_slot(num_slots, degrees):
    space = SignatureSpace(num_slots)
    distances = space.distance(space.degrees, degrees)
    assert distances[space.slot_of(degrees)] <= distances.min() + 1e-6
    assert distances.min() <= space.tau_degrees + 1e-6


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
