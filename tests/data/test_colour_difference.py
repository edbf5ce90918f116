"""CIEDE2000: published pairs, shapes, and what is refused."""

import numpy as np
import pytest

from anw_jax.data import colour_differences


def test_grey_steps_are_differences_of_lightness_alone():
    """ΔE00 of greys is ΔL* / S_L; L* and S_L by hand (Sharma, Wu, Dalal, eq. 7 and 15)."""

    def lightness(level):
        linear = ((level / 255 + 0.055) / 1.055) ** 2.4
        return 116 * linear ** (1 / 3) - 16

    grey = np.full((2, 3, 4, 3), 100, np.uint8)
    found = colour_differences(grey, grey + np.uint8(20))
    before, after = lightness(100), lightness(120)
    offset = ((before + after) / 2 - 50) ** 2
    twin = (after - before) / (1 + 0.015 * offset / np.sqrt(20 + offset))
    assert found.shape == (2, 3, 4)
    np.testing.assert_allclose(found, twin, rtol=2e-3)


def test_it_is_symmetric_and_0_for_equal_images():
    first, second = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 4, 3), dtype=np.uint8)
    np.testing.assert_allclose(
        colour_differences(first, second), colour_differences(second, first), rtol=1e-4
    )
    assert not colour_differences(first, first).any()
    assert colour_differences(first[:0], first[:0]).shape == (0, 5, 4)


def test_refuses_other_shapes_and_floats():
    grey = np.zeros((1, 2, 2, 3), np.uint8)
    with pytest.raises(ValueError, match=r"second must have shape \(1, 2, 2, 3\)"):
        colour_differences(grey, grey[:, :1])
    with pytest.raises((TypeError, ValueError), match="first"):
        colour_differences(grey + 0.3, grey)
