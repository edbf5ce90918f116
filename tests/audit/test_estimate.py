import json
import math
import pathlib

import numpy as np
import pytest

from anw_jax import audit
from anw_jax.audit.estimate import (
    default_study,
    effect_of,
    evidence_lines,
    expected_evidence,
    measured_effect,
)
from anw_jax.keys import Assignment, SignatureSpace, Units
from anw_jax.stats import exact_test, log_p_reached
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


def test_the_plan_says_on_which_photos_a_mark_needs_most():
    frontier = json.loads((RESULTS / "frontier.json").read_text())["results"]["sets"]
    body = audit.estimate(mark="light")
    assert body["hardest"]["study"] == "frontier_tiny12"
    assert body["hardest"]["num_units"] == frontier["tiny12"]["light"]["photos"]["1e-06"]
    assert body["hardest"]["num_units"] > body["num_units"]
    assert audit.estimate(mark="light", max_units=300)["hardest"]["num_units"] is None
    # Said of the default effect alone, and only where the others are smaller.
    for options in ({"effect": 0.5}, {"study": "light_quick"}, {"mark": "hue"}):
        assert "hardest" not in audit.estimate(**options)


@pytest.mark.parametrize("mark", ["tone", "tint", "hue_limited", "private_basis"])
def test_marks_of_the_frontier_are_planned_from_its_table(mark):
    frontier = json.loads((RESULTS / "frontier.json").read_text())
    row = frontier["results"]["sets"]["cifar10"][mark]
    body = audit.estimate(mark=mark, alpha=1e-3, power=0.9)
    assert body["effect"] == pytest.approx(np.median(row["effects"]), abs=1e-4)
    assert body["num_units"] == row["photos"]["0.001"]
    assert body["source"] == f"measured in results/frontier_cifar10, {mark}"
    (line, *_) = evidence_lines(mark, None, expected_evidence(mark, None, 59))
    assert line.endswith(f"the 5 that were measured (results/frontier_cifar10, {mark})")
    # Nothing was measured without the owner's labels, or from labels alone.
    for options in ({"true_labels": False}, {"access": "label"}):
        assert audit.estimate(mark=mark, **options)["effect"] is None


def test_generators_are_planned_by_their_references():
    numbers = [audit.estimate(access="error", references=n) for n in range(5)]
    names = ("alone", "base", "base", "base_and_twins", "base_and_twins")
    for body, name in zip(numbers, names, strict=True):
        runs = audit.effects()["access"]["error"][f"diffusion_quick, light, {name}"]["runs"]
        assert {(run["user"], run["num_units"]) for run in runs} == {("light", 40)}
        assert body["source"] == f"measured in results/diffusion_quick, light, {name}"
        assert body["effect"] == pytest.approx(np.median([run["effect"] for run in runs]))
    assert numbers[0]["with_base"]["num_units"] == numbers[1]["num_units"] < 40
    assert not any("with_base" in body for body in numbers[1:])
    # A sequential audit has no references: none are suggested.
    assert "with_base" not in audit.estimate(access="error", mode="sequential")
    assert audit.estimate(access="error", mark="tone")["effect"] is None


@pytest.mark.parametrize(
    ("folder", "description", "study"),
    [
        ("cifar10_quick", "hue_rotation", "cifar10_quick"),
        ("light_quick", "light_field:0.29:16:12:0f", "light_quick"),
        ("frontier_tiny12", "light_field:0.29:16:12:0f", "frontier_tiny12"),
        ("frontier_cifar100", "tint:0.2:12", "frontier_cifar100, tint"),
        ("frontier_cifar10", "hue_rotation", "frontier_cifar10, hue"),
        ("frontier_cifar10", "user_lct:0f", "frontier_cifar10, private_basis"),
        # Another strength, a mark of two, and a mark that is not the study's own.
        ("frontier_cifar10", "tint:0.25:12", None),
        ("frontier_cifar10", "light_field:0.295:16:12:0f", None),
        ("frontier_cifar10", "composed:light_field:0.29:16:4:0f+tint:0.2:3", None),
        ("quickstart", "light_field:0.29:16:12:0f", None),
        ("light_quick", "hue_rotation", None),
    ],
)
def test_effects_of_other_marks_and_strengths_are_kept_apart(folder, description, study):
    assert effects.study_of(folder, description) == study


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
        (10**400, ValueError, "effect must be in the range of float64"),
    ],
)
def test_an_effect_is_one_finite_number(effect, kind, message):
    with pytest.raises(kind, match=f"^{message}$"):
        audit.estimate(effect=effect)


def test_the_expected_p_is_reached_by_nine_of_ten_tables(rng):
    """The naive twin: tables of Gaussian scores at one effect, tested by the exact test."""
    log10_p = log_p_reached([0.9], 40) / math.log(10)
    reached = []
    for _ in range(120):
        slots = rng.integers(1, 12, 40)
        losses = rng.standard_normal((40, 12))
        losses[np.arange(40), slots] -= 0.9
        assignment = Assignment(Units(np.arange(40), SignatureSpace()), slots)
        reached.append(exact_test(losses, assignment, statistic="losses").log10_p)
    share = np.mean(np.array(reached) <= log10_p)
    assert 0.81 <= share <= 0.98  # .9 ± 3 deviations
    # The near lie: the median p would be reached by half of them only.
    assert np.mean(np.array(reached) <= np.median(reached)) < 0.81


def test_expected_evidence_is_measured_or_said_not_to_be():
    few, many = (expected_evidence("hue", None, number) for number in (10, 60))
    by_access = {one.access: one for one in many}
    assert set(by_access) == set(audit.effects()["access"])
    assert by_access["logits"].study == "cifar10_quick"
    assert by_access["probabilities"].log10_p is None
    for one, other in zip(few, many, strict=True):
        assert one.log10_p is None or other.log10_p < one.log10_p < 0
    lines = evidence_lines("hue", None, many)
    assert lines[0].startswith("with these 60 photos, from logits: p ≤ ")
    assert lines[0].endswith(" models like the 5 that were measured (results/cifar10_quick)")
    assert lines[-1].startswith("not yet measured: from probabilities")
    assert lines[-1].endswith(", the error of a fine-tuned generator")


def test_a_preview_says_what_a_generator_would_show_with_and_without_its_base():
    found = expected_evidence("light", None, 40)
    alone, base = (one for one in found if one.access == "error")
    assert (alone.references, base.references) == (0, 1)
    for one, name in ((alone, "alone"), (base, "base")):
        runs = audit.effects()["access"]["error"][f"diffusion_quick, light, {name}"]["runs"]
        log_p = log_p_reached([run["effect"] for run in runs], 40)
        assert one.log10_p == pytest.approx(log_p / math.log(10))
        assert one.study == f"diffusion_quick, light, {name}"
    lines = evidence_lines("light", None, found)
    of_error = "with these 40 photos, from the error of a fine-tuned generator"
    # p is above .5 in a tenth of such models: a bound that says nothing is not printed as one.
    assert lines[1].startswith(f"{of_error}: p can be anything up to 1 for models like the 3 ")
    assert lines[2].startswith(f"{of_error} with its base as a reference: p ≤ ")


def test_no_evidence_is_invented_for_other_marks_and_strengths():
    assert evidence_lines("tone", 0.1, expected_evidence("tone", 0.1, 59)) == [
        "expected evidence: not yet measured for the mark tone at strength 0.1 (only at 0.15)"
    ]
    # Whatever was measured of the default strength says nothing of another.
    assert all(one.log10_p is None for one in expected_evidence("light", 0.1, 59))
    with pytest.raises(ValueError, match="num_units must be at least 1, got 0"):
        expected_evidence("hue", None, 0)


def test_larger_folders_count_as_the_most_that_are_simulated():
    most, more = (expected_evidence("hue", None, number)[0] for number in (500, 10**6))
    assert most == more
    assert most.text.startswith("with 500 or more photos, from logits: p ≤ ")


@pytest.mark.parametrize(
    ("effects_of", "options", "text"),
    [
        ([], {}, "effect must be one or more finite numbers"),
        ([math.nan], {}, "effect must be one or more finite numbers"),
        ([1.0], {"num_units": 0}, "num_units must be at least 1, got 0"),
        ([1.0], {"num_slots": 2}, "num_slots must be at least 3, got 2"),
        ([1.0], {"share": 1.0}, "share must lie strictly between"),
        ([1.0], {"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_bad_input_of_the_p_reached(effects_of, options, text):
    with pytest.raises(ValueError, match=text):
        log_p_reached(effects_of, **({"num_units": 5} | options))


def test_an_effect_below_0_counts_as_none():
    assert log_p_reached([-2.0], 30) == log_p_reached([0.0], 30) > math.log(0.5)
