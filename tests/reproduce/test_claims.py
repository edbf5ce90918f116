"""Predicates, claims and the verdict that is computed from them."""

import copy
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.reproduce import Claim, Measured, Predicate, SeedRuns, verdict
from anw_jax.reproduce.values import measured_text, predicate_text, value_text

VALUES = {
    "text": "more is better",
    "paper": "> 80 %",
    "measure": "test_accuracy",
    "arguments": {},
    "unit": "%",
    "confirm": {"at_least": 0.8},
    "direction": {"at_least": 0.5},
}
NONE = Measured((), 3)


@pytest.fixture
def values() -> dict:
    return copy.deepcopy(VALUES)


@pytest.fixture
def claim() -> Claim:
    return Claim.of(VALUES)


@pytest.mark.parametrize(
    ("form", "inside", "outside"),
    [
        ({"at_least": 2}, [2.0, 9.0, math.inf], [1.999, -math.inf, math.nan]),
        ({"at_most": 2}, [2.0, -9.0], [2.001, math.nan]),
        ({"between": [-1, 2]}, [-1.0, 0.0, 2.0], [-1.001, 2.001, math.nan]),
    ],
)
def test_a_predicate_is_a_closed_interval(form, inside, outside):
    predicate = Predicate.of(form)
    assert all(map(predicate.holds, inside))
    assert not any(map(predicate.holds, outside))


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({}, "a predicate has one of at_least, at_most, between; got {}"),
        ({"at_least": 1, "at_most": 2}, "a predicate has one of"),
        (0.8, "a predicate has one of"),
        ({"atleast": 1}, "predicate must be one of .* did you mean 'at_least'"),
        ({"at_least": math.nan}, "at_least must be finite"),
        ({"at_least": "8"}, "at_least must be a number, got '8'"),
        ({"between": [2, 1]}, r"between must be \[low, high\], got \[2.0, 1.0\]"),
        ({"between": 1}, r"between must be \[low, high\], got 1"),
    ],
)
def test_another_form_is_refused(form, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Predicate.of(form)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.tuples(st.integers(-3, 3), st.integers(-3, 3)).map(sorted),
    st.tuples(st.integers(-3, 3), st.integers(-3, 3)).map(sorted),
)
def test_to_imply_is_to_hold_wherever_the_other_does(first, second):
    one, other = Predicate(*first), Predicate(*second)
    everywhere = [x / 2 for x in range(-8, 9)]
    assert one.implies(other) == all(other.holds(x) for x in everywhere if one.holds(x))


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
def test_the_verdict_follows_from_the_mean(claim, paper_scale, quick, expected):
    assert verdict(claim, Measured(paper_scale, 3), Measured(quick, 3)) == expected


@pytest.mark.parametrize(
    ("values_of_seeds", "expected"),
    [
        # The mean, -6.9, would confirm what two of three seeds deny.
        ((-20.0, -0.3, -0.3), "not confirmed"),
        ((-20.0, -6.5, -3.0), "direction only"),
        ((-20.0, -6.5, -6.0), "confirmed"),
        ((-20.0, -6.5, math.nan), "not confirmed"),
    ],
)
def test_a_claim_may_be_judged_by_each_seed(values, values_of_seeds, expected):
    rules = {"confirm": {"at_most": -6.0}, "direction": {"at_most": -2.0}, "unit": ""}
    claim = Claim.of(values | rules | {"judged_by": "each seed"})
    assert verdict(claim, Measured(values_of_seeds, 3), NONE) == expected
    assert verdict(claim, NONE, Measured((-9.0, -1.0), 3)).startswith("not confirmed (quick)")


def test_quick_results_are_held_against_the_quick_rule(claim, values):
    lenient = Claim.of(values | {"direction": {"at_least": 0.2}})
    quick = Measured((0.3, 0.3, 0.3), 3)
    assert verdict(claim, NONE, quick) == "not confirmed (quick)"
    assert verdict(claim, NONE, quick, lenient) == "direction only (quick)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"direction": {"at_least": 0.9}}, "direction must hold wherever confirm does"),
        ({"direction": {"at_most": 0.9}}, "direction must hold wherever confirm does"),
        ({"confirm": {"at_least": 80}}, "with unit '%' predicates are shares"),
        ({"unit": "points", "confirm": {"at_least": 80}}, "with unit 'points' predicates"),
        ({"measure": "tst_accuracy"}, "did you mean 'test_accuracy'"),
        ({"arguments": {"users": "a"}}, "unexpected keyword argument 'users'"),
        ({"paper": 80}, "paper must be a str"),
        ({"digits": -1}, "digits must be at least 0"),
        ({"judged_by": "luck"}, "judged_by must be one of"),
        ({"verdict": "confirmed"}, "field must be one of"),
    ],
)
def test_a_mistaken_claim_is_refused(values, change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Claim.of(values | change)


def test_a_claim_without_its_predicate_is_refused(values):
    del values["direction"], values["paper"]
    with pytest.raises(ValueError, match="needs paper, direction"):
        Claim.of(values)


def test_seeds_without_a_file_do_not_count(claim):
    there = SeedRuns.of({"main": {"model": {"test_accuracy": 0.9}}})
    measured = claim.measured([there, SeedRuns({"main": "seed1.json"}, {}), there])
    assert measured == Measured((0.9, 0.9), 3)


def test_text_of_numbers(claim, values):
    assert measured_text(claim, Measured((0.5, 1.0), 3)) == "75.0 ± 35.4 % (n = 2)"
    assert measured_text(claim, Measured((0.5,), 3)) == "50.0 % (n = 1)"
    assert measured_text(claim, Measured((0.5, math.nan), 2)) == "not finite (n = 2)"
    assert measured_text(claim, NONE) == "–"
    plain = Claim.of(values | {"unit": "", "digits": 3})
    assert value_text(plain, -0.0001) == "0.000"
    assert value_text(plain, -1.5) == "−1.500"
    assert predicate_text(claim, Predicate(low=0.8125)) == "at least 81.25 %"
    assert predicate_text(plain, Predicate(-1.0, 2.5)) == "−1 to 2.5"
    assert predicate_text(plain, Predicate(high=2.0)) == "at most 2"
    points = Claim.of(values | {"unit": "points"})
    assert measured_text(points, Measured((0.1, 0.2), 2)) == "15.0 ± 7.1 points (n = 2)"
    assert predicate_text(points, Predicate(low=0.01)) == "at least 1 points"
