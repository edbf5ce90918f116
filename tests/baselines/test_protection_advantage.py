import re

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.baselines.protection_advantage import (
    CHANCE_LCT,
    CHANCE_MIA,
    compare,
    protection_advantage,
)


@pytest.mark.parametrize(
    ("matches", "trials", "chance", "value"),
    [
        (10, 10, CHANCE_MIA, 0.5),  # the ceiling of membership inference
        (10, 10, CHANCE_LCT, 10 / 11),  # of the linear colour map: .909
        (10, 10, 1 / 12, 11 / 12),  # .917, "no mark" counted
        (5, 10, CHANCE_MIA, 0.0),  # Fig. 5b: half right is luck
        (0, 10, CHANCE_LCT, -1 / 11),
        (1, 11, CHANCE_LCT, 0.0),
    ],
)
def test_equation_7(matches, trials, chance, value):
    result = protection_advantage(matches, trials, chance)
    assert result.value == pytest.approx(value, abs=1e-15)
    assert result.value <= result.ceiling + 1e-15
    assert result.low <= result.value <= result.high + 1e-15


def test_interval_of_a_perfect_record():
    """Clopper and Pearson's lower end for N of N is (alpha / 2)^(1/N)."""
    result = protection_advantage(10, 10, CHANCE_LCT)
    assert result.low == pytest.approx(0.025**0.1 - CHANCE_LCT, abs=1e-9)
    assert result.high == pytest.approx(result.ceiling)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.integers(1, 60), st.data(), st.floats(0.5, 0.99))
def test_interval_is_where_the_binomial_tails_are_small(trials, data, confidence):
    matches = data.draw(st.integers(0, trials))
    result = protection_advantage(matches, trials, CHANCE_MIA, confidence=confidence)
    low, high = result.low + CHANCE_MIA, result.high + CHANCE_MIA
    tail = (1 - confidence) / 2
    if matches:
        assert scipy.stats.binom.sf(matches - 1, trials, low) == pytest.approx(tail, rel=1e-5)
    if matches < trials:
        assert scipy.stats.binom.cdf(matches, trials, high) == pytest.approx(tail, rel=1e-5)


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_interval_covers_and_a_shorter_one_does_not(rate):
    """Exact coverage, summed over all outcomes of 40 trials."""
    coverage = {0.95: 0.0, 0.6: 0.0}
    for matches in range(41):
        weight = scipy.stats.binom.pmf(matches, 40, rate)
        for confidence in coverage:
            result = protection_advantage(matches, 40, CHANCE_LCT, confidence=confidence)
            covers = result.low <= rate - CHANCE_LCT <= result.high
            coverage[confidence] += weight * covers
    assert coverage[0.95] >= 0.95
    assert 0.6 <= coverage[0.6] < 0.95


def test_table():
    table = compare({"ANW": (9, 10, CHANCE_LCT), "MIA-pow": (60, 100, CHANCE_MIA)})
    assert list(table) == ["ANW", "MIA-pow"]
    assert table["MIA-pow"]["value"] == pytest.approx(0.1)
    assert table["ANW"]["ceiling"] == pytest.approx(10 / 11)
    assert {type(value) for value in table["ANW"].values()} <= {int, float}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((1, 0, 0.5), ValueError, "num_trials must be at least 1, got 0"),
        ((-1, 4, 0.5), ValueError, "num_matches must be at least 0, got -1"),
        ((5, 4, 0.5), ValueError, "num_matches must be at most num_trials = 4, got 5"),
        ((0.5, 4, 0.5), TypeError, "num_matches must be an integer, got 0.5"),
        ((1, 4, 1.0), ValueError, "chance must lie strictly between 0.0 and 1.0, got 1.0"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        protection_advantage(*arguments)
