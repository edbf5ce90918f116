"""What claims measure, against naive twins and by hand on made-up results."""

import cmath
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import common, fig2h, fig3f, fig4, fig5c, gradient, sec54, sec56, table1
from experiments import shared_claims as shared
from tools.reproduction.runs import ResultError, Run, Runs, Seed


def user(inferred: float, true: float = 60.0, depth: float = 2.0, **more) -> dict:
    """Numbers of a user with one signature, on a grid of 36 angles."""
    apart = [abs((10 * i - inferred + 180) % 360 - 180) for i in range(36)]
    found = {
        "true_degrees": true,
        "inferred_degrees_fine": inferred,
        "match": abs((inferred - true + 180) % 360 - 180) < 15,
        "margin": 0.2 * depth,
        "curve": [0.1 + depth * angle / 180 for angle in apart],
    }
    return {"one_signature": found, "accuracy": {"published": 0.9, "original": 0.6}, **more}


def five(shifts=(0.0, 5.0, -8.0, 20.0, -100.0), **more) -> dict:
    """The users of the five signatures, their hues inferred so far off."""
    pairs = zip(common.HUE_USERS, common.HUES, shifts, strict=True)
    return {name: user((hue + shift) % 360, hue, **more) for name, hue, shift in pairs}


def run_of(**values) -> Run:
    return Run("f.json", {"users": five(), **values})


def seed_of(**values) -> Seed:
    """A seed with an arm for each name."""
    found = {arm: Run(f"{arm}.json", each) for arm, each in values.items()}
    return Seed({arm: run.file for arm, run in found.items()}, found)


def test_three_of_five_match():
    assert shared.match_rate(run_of(), common.HUE_USERS) == pytest.approx(3 / 5)
    assert shared.match_rate(run_of(), ("hue60",)) == 1.0


def test_all_arms_and_users_count_alike():
    seed = seed_of(a={"users": five()}, b={"users": five((0.0,) * 5)})
    claim = shared.all_matched(Runs("quick", ("a", "b"), (seed,)), "matched")
    assert claim.measured.values == pytest.approx((8 / 10,))
    claim = shared.all_matched(Runs("quick", ("a", "b"), (seed,)), "matched", arms=("b",))
    assert claim.measured.values == (1.0,)


def test_angles_go_round_the_circle():
    found = [each["one_signature"] for each in five().values()]
    turns = [
        cmath.exp(1j * math.radians(f["inferred_degrees_fine"] - f["true_degrees"]))
        for f in found
    ]
    errors = [abs(math.degrees(cmath.phase(turn))) for turn in turns]
    assert shared.hue_error(run_of(), common.HUE_USERS) == pytest.approx(np.mean(errors))
    assert table1.cosine(run_of()) == pytest.approx(np.mean([turn.real for turn in turns]))


def test_a_model_that_never_saw_a_user_is_compared_with_the_users_signature():
    """Results call such a user unmarked, with 0° as its true hue."""
    unseen = {name: user(90.0, 0.0) for name in common.HUE_USERS}
    expected = np.mean([math.cos(math.radians(90.0 - hue)) for hue in common.HUES])
    assert table1.cosine(run_of(users=unseen)) == pytest.approx(expected)
    seed = seed_of(before={"users": unseen}, after={"users": five((0.0,) * 5)})
    assert table1.gain(seed) == pytest.approx(1.0 - expected)


def test_a_signature_chosen_by_hand_has_no_p():
    signatures = {"keyed": {"signature": None}, "hue60": {"signature": 60.0}}
    users = {"keyed": {"log10_p": -3.0}, "hue60": {"log10_p": -1.0}}
    run = run_of(users=users, settings={"users": signatures})
    assert shared.keyed_log10_p(run) == -3.0
    with pytest.raises(ResultError, match="hue60 has a signature chosen by hand: no p"):
        shared.keyed_log10_p(run, "hue60")


@pytest.mark.parametrize(
    ("values", "expected"),
    [((-9.0, -3.0), -3.0), ((-3.0, -9.0), -3.0), ((None, -9.0), math.nan)],
)
def test_of_several_p_the_largest_counts(values, expected):
    names = {"users": {"keyed": {"signature": None}}}
    arms = {
        arm: {"users": {"keyed": {"log10_p": value}}, "settings": names}
        for arm, value in zip("ab", values, strict=True)
    }
    claim = shared.keyed_p(Runs("quick", ("a", "b"), (seed_of(**arms),)))
    assert claim.measured.values == pytest.approx((expected,), nan_ok=True)
    assert claim.every_seed


def test_losses_are_read_from_the_curve():
    run = run_of(users={"sharp": user(60.0, depth=2.0), "flat": user(60.0, depth=1.0)})
    assert fig2h.lowest_loss(run, "sharp") == pytest.approx(0.1)
    assert fig2h.sharpness(run, "sharp") == pytest.approx(2.0 * 30 / 180)
    assert fig2h.sharpness(run, "flat") == pytest.approx(1.0 * 30 / 180)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=7))
def test_trend_is_pearsons_r_of_ranks(values):
    arms = {f"x{i}": {"value": value} for i, value in enumerate(values)}
    found = fig2h.trend(seed_of(**arms), lambda run, _: run.number("value"))
    ranks = [sum(w < v for w in values) + (sum(w == v for w in values) + 1) / 2 for v in values]
    if len(set(values)) == 1:
        assert found == 0.0
    else:
        assert found == pytest.approx(np.corrcoef(range(len(values)), ranks)[0, 1])


def test_a_margin_is_compared_with_that_without_the_attack():
    seed = seed_of(none={"users": five(depth=2.0)}, jitter={"users": five(depth=0.5)})
    assert fig3f.narrowing(seed) == pytest.approx(0.25)
    nothing = seed_of(none={"users": five(depth=0.0)}, jitter={"users": five()})
    assert math.isnan(fig3f.narrowing(nothing))


def test_values_of_pixels_do_not_go_round():
    """10° and 290° of 360° are .6 · 10 / 360 and .6 · 290 / 360."""
    run = run_of(users={"a": user(70.0, 60.0), "b": user(10.0, 300.0)})
    assert fig4.value_error(run, "a") == pytest.approx(0.6 * 10 / 360)
    assert fig4.value_error(run, "b") == pytest.approx(0.6 * 290 / 360)


def test_the_advantage_is_what_is_matched_above_luck():
    run = run_of(settings={"verify": {"num_slots": 12}})
    assert fig5c.advantage(run) == pytest.approx((3 - 5 / 11) / 5)


def test_held_out_users_are_held_to_0_degrees():
    crowd = {"true_degrees": [0.0, 0.0], "inferred_degrees_fine": [350.0, 30.0]}
    assert sec54.hue_error(run_of(crowds={"held_out": crowd})) == pytest.approx(20.0)


def test_memorisation_is_a_difference_of_accuracies():
    def arm(published: float, original: float) -> dict:
        accuracy = {"published": published, "original": original}
        return {"users": {name: {"accuracy": accuracy} for name in common.HUE_USERS}}

    seed = seed_of(marked=arm(0.95, 0.7), unmarked=arm(0.9, 0.9), without=arm(0.5, 0.6))
    assert sec56.unmarked(seed) == pytest.approx(0.9 - 0.6)
    assert sec56.rise(seed) == pytest.approx((0.95 - 0.5) - (0.9 - 0.6))


def test_what_marking_costs_is_positive_where_the_marked_model_is_worse():
    seed = seed_of(
        unmarked={"model": {"test_accuracy": 0.8}}, marked={"model": {"test_accuracy": 0.7}}
    )
    assert shared.accuracy_drop(seed) == pytest.approx(0.1)


def test_backward_counts_twice():
    counts = {"num_forward": 30, "num_backward": 10, "grid_num_forward": 100}
    other = {"num_forward": 60, "num_backward": 20, "grid_num_forward": 100}
    found = dict.fromkeys(common.HUE_USERS, counts) | {"hue60": other}
    run = run_of(analyses={"gradient_search": found})
    assert gradient.cost(run) == pytest.approx((4 * 0.5 + 1.0) / 5)


def test_null_is_not_a_number():
    empty = {"true_degrees": 60.0, "inferred_degrees_fine": None, "curve": [None, 1.0]}
    users = {name: {"one_signature": empty | {"margin": None}} for name in common.HUE_USERS}
    run = run_of(users=users)
    for value in (
        shared.hue_error(run, common.HUE_USERS),
        table1.cosine(run),
        fig3f.margin(run),
        fig2h.lowest_loss(run, "hue60"),
        fig2h.sharpness(run, "hue60"),
    ):
        assert math.isnan(value)
