"""Resize, range, normalisation, channels, layout: against naive twins."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.suspects import Declaration
from anw_jax.suspects.pictures import prepare


def naive(images, declaration):
    """One value after another, float64."""
    low, high = {"unit": (0, 1), "bytes": (0, 255), "signed": (-1, 1)}[declaration.value_range]
    order = (0, 1, 2) if declaration.channels == "RGB" else (2, 1, 0)
    out = np.zeros(images.shape)
    for place in np.ndindex(*images.shape[:3]):
        for target, source in enumerate(order):
            value = low + (high - low) * float(images[place][source])
            value = (value - declaration.mean[source]) / declaration.std[source]
            out[(*place, target)] = value
    return out if declaration.layout == "NHWC" else np.moveaxis(out, 3, 1)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    layout=st.sampled_from(["NHWC", "NCHW"]),
    channels=st.sampled_from(["RGB", "BGR"]),
    value_range=st.sampled_from(["unit", "bytes", "signed"]),
    mean=st.tuples(*[st.floats(-2, 200)] * 3),
    std=st.tuples(*[st.floats(0.05, 70)] * 3),
    seed=st.integers(0, 99),
)
def test_prepare_is_its_naive_twin(layout, channels, value_range, mean, std, seed):
    images = np.random.default_rng(seed).random((2, 3, 4, 3), np.float32)
    declaration = Declaration(
        2, layout=layout, channels=channels, value_range=value_range, mean=mean, std=std
    )
    prepared = prepare(images, declaration)
    expected = naive(images, declaration)
    assert prepared.dtype == np.float32
    assert prepared.flags.c_contiguous
    np.testing.assert_allclose(
        prepared, expected, rtol=1e-5, atol=1e-5 * max(1, *mean) / min(std)
    )


@pytest.mark.parametrize("size", [(5, 7), (16, 16), (3, 20), (8, 8), (1, 1)])
def test_resizing_is_the_triangle_filter_of_jax(rng, size):
    images = rng.random((2, 8, 8, 3), np.float32)
    resized = prepare(images, Declaration(2, input_size=size))
    expected = jax.image.resize(images, (2, *size, 3), "linear", antialias=True)
    np.testing.assert_allclose(resized, expected, atol=1e-5)


def test_pictures_as_wanted_pass_unchanged(rng):
    images = rng.random((2, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(prepare(images, Declaration(2)), images)
    np.testing.assert_array_equal(prepare(images, Declaration(2, input_size=(8, 8))), images)


def test_a_model_cannot_change_the_callers_pictures():
    images = np.full((2, 8, 8, 3), 0.5, np.float32)
    for wanted in ({}, {"channels": "BGR"}, {"layout": "NCHW"}, {"input_size": (8, 8)}):
        prepare(images, Declaration(2, **wanted))[:] = 0
        assert (images == 0.5).all()


def test_a_batch_is_its_pictures(rng):
    images = rng.random((3, 8, 8, 3), np.float32)
    declaration = Declaration(2, input_size=(5, 6), mean=(0.3, 0.2, 0.1), layout="NCHW")
    one_by_one = np.concatenate([prepare(images[i : i + 1], declaration) for i in range(3)])
    np.testing.assert_array_equal(prepare(images, declaration), one_by_one)
