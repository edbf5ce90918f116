"""Intervals, claims and the verdict that is computed from them."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.reproduction.claims import Claim, Interval, at_least, at_most, between, verdict
from tools.reproduction.runs import Measured


def claim_of(*values: float, num_seeds: int = 3, **changes) -> Claim:
    """A claim with these values, one for each seed that has been run."""
    fields = {
        "text": "more is better",
        "paper": "> 80 %",
        "measured": Measured(values, num_seeds),
        "confirm": at_least(0.8),
        "direction": at_least(0.5),
        "unit": "%",
    }
    return Claim(**fields | changes)


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        (at_least(2), [2.0, 9.0, math.inf], [1.999, -math.inf, math.nan]),
        (at_most(2), [2.0, -9.0], [2.001, math.nan]),
        (between(-1, 2), [-1.0, 0.0, 2.0], [-1.001, 2.001, math.nan]),
    ],
)
def test_an_interval_is_closed(interval, inside, outside):
    assert all(map(interval.contains, inside))
    assert not any(map(interval.contains, outside))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: at_least(math.nan), "at_least must be finite"),
        (lambda: at_most("8"), "at_most must be a number, got '8'"),
        (lambda: between(2, 1), "between must be given low and high, got 2 and 1"),
    ],
)
def test_a_bound_is_a_finite_number(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.tuples(st.integers(-3, 3), st.integers(-3, 3)).map(sorted),
    st.tuples(st.integers(-3, 3), st.integers(-3, 3)).map(sorted),
)
def test_to_lie_in_another_is_to_hold_nothing_that_it_does_not(first, second):
    one, other = Interval(*first), Interval(*second)
    everywhere = [x / 2 for x in range(-8, 9)]
    assert one.lies_in(other) == all(other.contains(x) for x in everywhere if one.contains(x))


@pytest.mark.parametrize(
    ("paper_scale", "quick", "expected"),
    [
        ((0.9, 0.8, 0.85), (), "confirmed"),
        ((0.9, 0.8, 0.85), (0.1, 0.1, 0.1), "confirmed"),
        ((0.9, 0.5, 0.6), (), "direction only"),
        ((0.1, 0.2, 0.3), (0.9, 0.9, 0.9), "not confirmed"),
        ((0.9,), (), "confirmed, 1 of 3 seeds"),
        ((0.4, 0.3), (), "not confirmed, 2 of 3 seeds"),
        ((), (0.9, 0.9, 0.9), "direction only (quick)"),
        ((), (0.4, 0.5, 0.5), "not confirmed (quick)"),
        ((), (0.9,), "direction only (quick), 1 of 3 seeds"),
        ((math.nan, 0.9, 0.9), (), "not confirmed"),
        ((), (), "not yet run"),
    ],
)
def test_the_verdict_follows_from_the_mean(paper_scale, quick, expected):
    assert verdict(claim_of(*paper_scale), claim_of(*quick)) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # The mean, -6.9, would confirm what two of three seeds deny.
        ((-20.0, -0.3, -0.3), "not confirmed"),
        ((-20.0, -6.5, -3.0), "direction only"),
        ((-20.0, -6.5, -6.0), "confirmed"),
        ((-20.0, -6.5, math.nan), "not confirmed"),
    ],
)
def test_a_claim_may_be_judged_by_every_seed(values, expected):
    rules = {"confirm": at_most(-6.0), "direction": at_most(-2.0), "unit": ""}
    rules["every_seed"] = True
    none = claim_of(**rules)
    assert verdict(claim_of(*values, **rules), none) == expected
    assert verdict(none, claim_of(-9.0, -1.0, **rules)).startswith("not confirmed (quick)")


def test_quick_results_are_held_against_the_quick_rule():
    assert verdict(claim_of(), claim_of(0.3, 0.3, 0.3)) == "not confirmed (quick)"
    lenient = claim_of(0.3, 0.3, 0.3, direction=at_least(0.2))
    assert verdict(claim_of(), lenient) == "direction only (quick)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"direction": at_least(0.9)}, "direction must hold wherever confirm does"),
        ({"direction": at_most(0.9)}, "direction must hold wherever confirm does"),
        ({"confirm": at_least(80)}, "with unit '%' intervals are shares"),
        ({"unit": "points", "confirm": at_least(80)}, "with unit 'points' intervals"),
        ({"paper": 80}, "paper must be a str"),
    ],
)
def test_a_mistaken_claim_is_refused(change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        claim_of(**change)


def test_numbers_are_shown_in_the_unit():
    assert claim_of(0.5, 1.0).measured_text == "75.0 ± 35.4 % (n = 2)"
    assert claim_of(0.5).measured_text == "50.0 % (n = 1)"
    assert claim_of(0.5, math.nan).measured_text == "not finite (n = 2)"
    assert claim_of().measured_text == "–"
    assert claim_of(-0.001, unit="").measured_text == "0.00 (n = 1)"
    assert claim_of(-1.5, unit="").measured_text == "−1.50 (n = 1)"
    assert claim_of(1.0, 3.0, unit="°").measured_text == "2.0 ± 1.4° (n = 2)"
    assert claim_of(0.1, 0.2, unit="points").measured_text == "15.0 ± 7.1 points (n = 2)"


def test_intervals_are_shown_unrounded():
    assert claim_of().interval_text(at_least(0.8125)) == "at least 81.25 %"
    assert claim_of().interval_text(between(0.1, 0.2)) == "10 to 20 %"
    assert claim_of(unit="").interval_text(between(-1.0, 2.5)) == "−1 to 2.5"
    assert claim_of(unit="").interval_text(at_most(2.0)) == "at most 2"
    assert claim_of(unit="points").interval_text(at_least(0.01)) == "at least 1 points"
