"""Planning: what is promised is what the tests then do."""

import numpy as np
import pytest

from anw_jax import stats
from anw_jax.stats import power
from anw_jax.stats.exact import ExactNull, quantise


@pytest.fixture(autouse=True)
def _fewer_runs(monkeypatch):
    monkeypatch.setattr(power, "_NUM_RUNS", 50)


def test_the_sealed_plan_reaches_its_power(rng):
    plan = stats.plan_audit(2.0, alpha=1e-3, power=0.8)
    assert plan.num_queries == plan.num_units * 11
    assert 4 <= plan.num_units <= 12
    shown = []
    for _ in range(40):
        scores = power.simulated_scores(np.array([2.0]), 1, plan.num_units, 11, rng)[0]
        integers = quantise(scores)
        shown.append(ExactNull(integers).log_p_value(int(integers[:, 0].sum())) <= np.log(1e-3))
    assert np.mean(shown) >= 0.55


def test_the_sequential_plan_reaches_its_power_and_stops_early(rng):
    plan = stats.plan_audit(2.0, alpha=1e-3, power=0.9, mode="sequential", augmentations=4)
    times = power.stopping_times(np.array([2.0]), 11, 1e-3, plan.num_units, rng)
    assert (times <= plan.num_units).mean() >= 0.75
    assert plan.median_units < plan.num_units
    assert plan.median_queries == plan.median_units * 44
    assert plan.queries_per_unit == 44


def test_weaker_effects_take_more_units_and_no_effect_is_said_to_be_out_of_reach():
    arguments = {"alpha": 1e-3, "mode": "sequential"}
    strong = stats.plan_audit(3.0, **arguments).num_units
    mixed = stats.plan_audit([3.0, 0.0], **arguments).num_units
    assert strong < mixed
    none = stats.plan_audit(0.0, max_units=40, **arguments)
    assert (none.num_units, none.num_queries, none.median_units) == (None, None, None)
    assert none.reason.startswith("40 units reach level 0.001 with power 0.0")
    sealed = stats.plan_audit(0.0, alpha=1e-3, max_units=10)
    assert sealed.num_units is None
    assert sealed.power <= 0.1


def test_access_chooses_the_effect_and_is_kept():
    effects = {"logits": 4.0, "label": [1.0, 1.5]}
    arguments = {"alpha": 1e-2, "mode": "sequential"}
    logits = stats.plan_audit(effects, **arguments)
    label = stats.plan_audit(effects, access="label", **arguments)
    assert (logits.access, label.access) == ("logits", "label")
    assert logits.num_units < label.num_units
    assert stats.plan_audit(4.0, **arguments) == logits  # a public seed: the same again
    with pytest.raises(ValueError, match="access must be one of logits, label; got 'labels'"):
        stats.plan_audit(effects, access="labels", **arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"effect": []}, "effect must be one or more finite numbers"),
        ({"effect": np.nan}, "effect must be one or more finite numbers"),
        ({"effect": -1.0}, "effect must be at least 0 .*, got -1"),
        ({"effect": [2.0, -0.5]}, "effect must be at least 0 .*, got -0.5"),
        ({"effect": {"logits": -3.0}}, "effect must be at least 0 .*, got -3"),
        ({"effect": -1e-9, "mode": "sequential"}, "effect must be at least 0"),
        ({"effect": -np.inf}, "effect must be one or more finite numbers"),
        ({"num_slots": 2}, "num_slots must be at least 3, got 2"),
        ({"alpha": 0.0}, "alpha must lie strictly between"),
        ({"power": 1.0}, "power must lie strictly between"),
        ({"mode": "both"}, "mode must be one of sealed, sequential"),
        ({"augmentations": 0}, "augmentations must be at least 1, got 0"),
        ({"max_units": 0}, "max_units must be at least 1, got 0"),
    ],
)
def test_bad_input(changes, message):
    with pytest.raises(ValueError, match=message):
        stats.plan_audit(**{"effect": 1.0, **changes})


@pytest.mark.parametrize(("num_units", "effect", "factor"), [(4, 2.0, 2.0), (40, 1.0, 1.05)])
def test_the_tail_of_plans_is_that_of_the_exact_test(num_units, effect, factor, rng):
    scores = power.simulated_scores(np.array([effect]), 12, num_units, 11, rng)
    exact = []
    for table in scores:
        integers = quantise(table)
        exact.append(ExactNull(integers).log_p_value(int(integers[:, 0].sum())))
    assert min(exact) < -5
    np.testing.assert_allclose(power.log_tails(scores), exact, atol=np.log(factor))


def test_the_tail_at_its_two_ends():
    best = np.zeros((1, 5, 11))
    best[..., 0] = 1  # the best slot of every unit: one assignment in 11 ** 5
    assert power.log_tails(best)[0] == pytest.approx(-5 * np.log(11), abs=1e-6)
    assert power.log_tails(-best)[0] == pytest.approx(0, abs=0.7)


def test_a_long_search_reports_how_far_it_is():
    seen = []
    stats.plan_audit(
        0.1,
        alpha=1e-3,
        max_units=300,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (50, 50)
    assert len(seen) >= 5
