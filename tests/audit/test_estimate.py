import math
import pathlib

import numpy as np
import pytest

from anw_jax import audit
from anw_jax.audit.estimate import default_study, effect_of, measured_effect
from anw_jax.keys import Assignment, SignatureSpace, Units
from anw_jax.stats import exact_test
from benchmarks import effects

RESULTS = pathlib.Path(__file__).resolve().parents[2] / "results"


@pytest.mark.parametrize("separation", [1.0, 2.5])
def test_the_effect_behind_a_z_is_the_one_that_was_put_in(rng, separation):
    """The naive twin: tables of Gaussian scores, tested by the exact test itself."""
    num_units, slots = 4000, rng.integers(1, 12, 4000)
    losses = rng.standard_normal((num_units, 12))
    losses[np.arange(num_units), slots] -= separation
    result = exact_test(
        losses,
        Assignment(Units(np.arange(num_units), SignatureSpace()), slots),
        statistic="losses",
    )
    assert abs(effect_of(result.z, num_units, 11) - separation) < 0.1
    # The near lie: z / sqrt(units) alone falls short.
    assert result.z / math.sqrt(num_units) < separation - 0.05


def test_edges_of_the_effect():
    assert effect_of(0.0, 50, 11) == 0.0
    assert effect_of(-3.0, 50, 11) == -effect_of(3.0, 50, 11)
    assert effect_of(100.0, 1, 11) == math.inf
    with pytest.raises(ValueError, match="num_valid must be at least 2, got 1"):
        effect_of(1.0, 10, 1)


def test_the_shipped_effects_are_those_of_the_results():
    assert audit.effects() == effects.collect(RESULTS)


def test_every_number_has_a_run_behind_it():
    for studies in audit.effects()["access"].values():
        for entry in studies.values():
            assert all((RESULTS / run["file"]).exists() for run in entry["runs"])
            assert entry["median"] == pytest.approx(
                float(np.median([run["effect"] for run in entry["runs"]])), abs=1e-4
            )


def test_no_number_is_invented():
    for access in ("top_k", "probabilities"):
        assert measured_effect(access, "adapters") is None
        body = audit.estimate(access=access)
        assert (body["num_units"], body["source"]) == (None, "not yet measured")
    with pytest.raises(ValueError, match="access must be one of"):
        audit.estimate(access="weights")


def test_a_stronger_effect_needs_fewer_units():
    weak, strong = (
        audit.estimate(effect=d, mode="sequential", alpha=1e-3)["num_units"] for d in (1.0, 3.0)
    )
    assert strong < weak


@pytest.mark.parametrize("access", ["logits", "rounded", "label"])
def test_each_kind_takes_the_effect_that_was_measured_for_it(access):
    """And without true labels less is left of it."""
    effect = {
        (true_labels, number): measured_effect(
            access, default_study(access, true_labels=true_labels, augmentations=number)
        )
        for true_labels in (True, False)
        for number in (1, 16)
    }
    assert effect[True, 1] > effect[False, 1] > 0
    assert effect[True, 16] > effect[False, 16] > 0
    assert (effect[True, 1] == effect[True, 16]) == (access != "label")


def test_queries_count_every_change_of_a_picture():
    options = {
        "access": "label",
        "mark": "hue",
        "alpha": 0.05,
        "power": 0.5,
        "mode": "sequential",
    }
    body = audit.estimate(**options, augmentations=16)
    assert body["source"] == "measured in results/adapters"
    assert body["num_queries"] == 16 * 11 * body["num_units"]


@pytest.mark.parametrize(
    ("effect", "kind", "message"),
    [
        ("x", TypeError, "effect must be a number, got 'x'"),
        ([1.0, 2.0], TypeError, r"effect must be a number, got \[1.0, 2.0\]"),
        (math.nan, ValueError, "effect must be finite, got nan"),
        (math.inf, ValueError, "effect must be finite, got inf"),
    ],
)
def test_an_effect_is_one_finite_number(effect, kind, message):
    with pytest.raises(kind, match=f"^{message}$"):
        audit.estimate(effect=effect)
