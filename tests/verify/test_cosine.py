"""The cosine of Table 1."""

import math

import numpy as np
import pytest

from anw_jax.verify import signature_cosine


@pytest.mark.parametrize(
    ("inferred", "true", "cosine"),
    [
        (60.0, 60.0, 1.0),
        (0.0, 90.0, 0.0),
        (10.0, 190.0, -1.0),
        (355.0, 5.0, math.cos(math.radians(10))),
        (-300.0, 60.0, 1.0),
        (62.6, 60.0, 0.999),
        (75.0, 60.0, 0.966),
    ],
)
def test_cosines_by_hand(inferred, true, cosine):
    assert signature_cosine(inferred, true) == pytest.approx(cosine, abs=5e-4)
    assert signature_cosine(true, inferred) == signature_cosine(inferred, true)


def test_it_is_the_product_of_unit_vectors_and_broadcasts(rng):
    inferred, true = rng.uniform(-400, 400, (5, 1)), rng.uniform(0, 360, 7)
    expected = np.empty((5, 7))
    for i, first in enumerate(inferred[:, 0]):
        for j, second in enumerate(true):
            a, b = math.radians(first), math.radians(second)
            expected[i, j] = math.cos(a) * math.cos(b) + math.sin(a) * math.sin(b)
    np.testing.assert_allclose(signature_cosine(inferred, true), expected, atol=1e-12)


def test_uniform_guesses_have_none_on_average():
    assert abs(signature_cosine(np.arange(0, 360, 30), 47.0).mean()) < 1e-12


def test_nothing_inferred_gives_nothing():
    assert np.isnan(signature_cosine(float("nan"), 60.0))
