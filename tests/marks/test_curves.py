"""Tone curves and tints against naive twins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.marks import Tint, Tone, publish
from anw_jax.marks.curves import _CHROMA

LEVELS = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), 3, axis=-1)


def _angle(slot, num_slots):
    return 2 * np.pi * (slot - 1) / (num_slots - 1)


def _tone_twin(x, strength, slot, num_slots):
    """One value in [0, 1], from the formula of the docstring."""
    if slot == 0:
        return x
    a = strength * np.cos(_angle(slot, num_slots))
    c = strength * np.sqrt(7) * np.sin(_angle(slot, num_slots))
    return x + x * (1 - x) * (a + c * (2 * x - 1))


def _tint_twin(pixel, strength, slot, num_slots):
    """One pixel in [0, 1]."""
    if slot == 0:
        return pixel
    angle = _angle(slot, num_slots)
    direction = np.cos(angle) * _CHROMA[0] + np.sin(angle) * _CHROMA[1]
    weight = min(value * (1 - value) for value in pixel)
    return [v + strength * d * weight for v, d in zip(pixel, direction, strict=True)]


@pytest.mark.parametrize("num_slots", [2, 3, 12])
def test_tone_equals_the_naive_twin(num_slots):
    mark = Tone(0.3, num_slots)
    image = LEVELS[0] / np.float64(255)
    for slot in range(num_slots):
        marked = mark.mark(image, 360.0 / num_slots * slot)
        twin = [_tone_twin(x, 0.3, slot, num_slots) for x in np.arange(256) / 255]
        np.testing.assert_allclose(marked[..., 1].ravel(), twin, atol=1e-12)


@pytest.mark.parametrize("num_slots", [2, 3, 12])
def test_tint_equals_the_naive_twin(num_slots, rng):
    mark, image = Tint(0.7, num_slots), rng.random((5, 5, 3))
    for slot in range(num_slots):
        marked = mark.mark(image, 360.0 / num_slots * slot)
        twin = [_tint_twin(pixel, 0.7, slot, num_slots) for pixel in image.reshape(-1, 3)]
        np.testing.assert_allclose(marked.reshape(-1, 3), twin, atol=1e-12)


def test_the_twins_notice_another_slot(rng):
    x = np.arange(256) / 255
    near = Tone(0.3).mark(LEVELS[0] / np.float64(255), 60.0)[..., 0].ravel()
    assert np.abs(near - _tone_twin(x, 0.3, 3, 12)).max() > 0.02


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    strength=st.floats(1e-3, 0.35),
    degrees=st.floats(0, 360),
    num_slots=st.integers(2, 40),
)
def test_every_tone_curve_keeps_the_order_and_the_ends(strength, degrees, num_slots):
    """All 256 levels: exhaustive."""
    mark = Tone(strength, num_slots)
    curve = mark.parameters(degrees)["curve"].astype(int)
    assert (np.diff(curve) >= 0).all()
    assert (curve[0], curve[255]) == (0, 255)
    exact = 255 * mark.mark(LEVELS[0] / np.float64(255), degrees)[..., 0].ravel()
    assert np.abs(curve - exact).max() <= 0.52


def test_beyond_the_largest_strength_a_curve_would_not_keep_the_order():
    x = np.linspace(0, 1, 1001)

    def least_step(factor):
        curves = (
            x + factor * x * (1 - x) * (a + c * (2 * x - 1))
            for a, c in Tone(0.35, 200).constants
        )
        return min(np.diff(curve).min() for curve in curves)

    assert least_step(1.02) < 0 < least_step(1.0)


def test_all_tone_curves_differ_from_the_original_by_the_same_root_mean_square():
    x = np.linspace(0, 1, 10001)
    for a, c in Tone(0.2).constants[1:]:
        change = x * (1 - x) * (a + c * (2 * x - 1))
        assert np.sqrt(np.mean(change**2)) == pytest.approx(0.2 / np.sqrt(30), rel=1e-3)


@pytest.mark.parametrize("strength", [0.05, 1.0])
def test_no_tint_leaves_the_range_or_wraps(strength, rng):
    colours = rng.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    near = rng.choice(np.array([0, 1, 2, 127, 128, 253, 254, 255], np.uint8), (1, 64, 64, 3))
    for images in (colours, near, LEVELS):
        for degrees in np.arange(12) * 30.0:
            marked = publish(Tint(strength), images, degrees)
            assert np.abs(marked.astype(int) - images).max() <= 64
            at_end = ((images == 0) | (images == 255)).any(axis=-1)
            np.testing.assert_array_equal(marked[at_end], images[at_end])


def test_a_tint_changes_mid_grey_by_the_same_ciede2000_in_every_slot():
    color = pytest.importorskip("skimage.color")
    grey = np.full((1, 1, 3), 0.5)
    changes = [
        float(
            color.deltaE_ciede2000(
                color.rgb2lab(grey), color.rgb2lab(Tint(0.05).mark(grey, d))
            ).item()
        )
        for d in np.arange(1, 12) * 30.0
    ]
    assert max(changes) / min(changes) < 1.1
    assert np.mean(changes) == pytest.approx(37 * 0.05, rel=0.05)


def test_strips_do_not_change_the_bytes(monkeypatch, rng):
    image = rng.integers(0, 256, (37, 30, 3), dtype=np.uint8)
    whole = publish(Tint(), image[None], 60.0)
    monkeypatch.setattr("anw_jax.marks.mark._STRIP_NUMBERS", 200)
    np.testing.assert_array_equal(whole, publish(Tint(), image[None], 60.0))


def test_a_view_that_is_not_contiguous_is_marked_as_its_copy(rng):
    image = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)[::2, ::-3]
    for mark in (Tone(), Tint()):
        parameters = mark.parameters(60.0)
        marked = mark.publish_pixels(image, parameters)
        np.testing.assert_array_equal(marked, mark.publish_pixels(image.copy(), parameters))
        marked[0] = 0  # it is the caller's


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Tone(0.0), "strength must be .*above 0"),
        (lambda: Tone(0.36), r"strength must lie in \[0.0, 0.35\], got 0.36"),
        (lambda: Tone(float("nan")), "strength must be .*finite"),
        (lambda: Tint(1.5), r"strength must lie in \[0.0, 1.0\], got 1.5"),
        (lambda: Tint(-0.1), "strength must be"),
        (lambda: Tint(0.1, 1), "num_slots must be at least 2, got 1"),
        (lambda: Tone(0.1, 1025), "num_slots must be at most 1024, got 1025"),
    ],
)
def test_refuses_numbers_out_of_range(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_refuses_what_is_no_number():
    for make in (lambda: Tone("strong"), lambda: Tint(True), lambda: Tone(0.1, 12.0)):
        with pytest.raises(TypeError):
            make()
