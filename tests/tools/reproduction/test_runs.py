"""Numbers are read from result files as they stand there; what is missing is named."""

import json
import math

import pytest

from anw_jax.lab import settings_from_config
from tools.reproduction.runs import (
    Measured,
    NotYetRunError,
    ResultError,
    Run,
    Runs,
    Seed,
    read_run,
    rehearsal,
    result_text,
)

RESULTS = {
    "users": {
        "one": {"one_signature": {"curve": [0.123456789, 2.0]}, "curve": {"mean": [1.0]}},
        "keyed": {"one_signature": None, "curve": {"mean": [1e-9 / 3]}, "p_value": 1 / 3},
    },
    "crowds": {"c": {"true_degrees": [30.0, math.nan]}},
}


def accuracy(run: Run, path: str = "model.test_accuracy") -> float:
    return run.number(path)


@pytest.fixture
def runs() -> Runs:
    """Two arms; the second seed lacks one of them."""

    def run(value: float) -> Run:
        pruned = {"pruned": {"model": {"test_accuracy": value - 0.1}}}
        return Run("f.json", {"model": {"test_accuracy": value}, "suspects": pruned})

    files = {"a": "a.json", "b": "b.json"}
    seeds = (Seed(files, {"a": run(0.8), "b": run(0.7)}), Seed(files, {"a": run(0.9)}))
    return Runs("quick", ("a", "b"), seeds)


def test_seeds_that_were_not_run_do_not_count(runs):
    assert runs.each(accuracy, arm="a") == Measured((0.8, 0.9), 2)
    assert runs.each(accuracy, arm="b") == Measured((0.7,), 2)
    both = runs.per_seed(lambda seed: [accuracy(run) for run in seed.all()])
    assert both.values == ([0.8, 0.7],)


def test_a_changed_model_is_read_like_the_trained_one(runs):
    assert runs.each(accuracy, arm="a", suspect="pruned").values == pytest.approx((0.7, 0.8))
    with pytest.raises(ResultError, match=r"f\.json has no suspects\.x; there: pruned"):
        runs.each(accuracy, arm="a", suspect="x")


def test_an_arm_is_named_where_it_is_missing(runs):
    with pytest.raises(ResultError, match="there is no arm 'c'; known: a, b"):
        runs.each(accuracy, arm="c")
    with pytest.raises(NotYetRunError, match=r"b\.json does not exist: not yet run"):
        runs.seeds[1]["b"]


@pytest.mark.parametrize(
    ("values", "mean", "std"),
    [
        ((), math.nan, None),
        ((2.0,), 2.0, None),
        ((1.0, 3.0), 2.0, math.sqrt(2)),
        ((1.0, math.nan), math.nan, math.nan),
    ],
)
def test_mean_and_deviation_over_seeds(values, mean, std):
    measured = Measured(values, 3)
    assert measured.mean == pytest.approx(mean, nan_ok=True)
    assert measured.std == (None if std is None else pytest.approx(std, nan_ok=True))


def test_null_is_nan_and_a_truth_value_a_number():
    run = Run("f.json", {"a": {"b": [1, None], "n": None, "t": True}})
    assert run.numbers("a.b") == pytest.approx([1.0, math.nan], nan_ok=True)
    assert math.isnan(run.number("a.n"))
    assert run.number("a.t") == 1.0
    assert not run.has("a.n")
    assert not run.has("a.x")


def test_a_path_into_something_else_is_an_error():
    run = Run("f.json", {"a": {"b": [1, None, "x"]}, "t": "text"})
    with pytest.raises(ResultError, match=r"f\.json: a\.b must be a list of numbers"):
        run.numbers("a.b")
    with pytest.raises(ResultError, match=r"f\.json: t must be a number, got 'text'"):
        run.number("t")
    with pytest.raises(ResultError, match=r"f\.json has no t\.x; there: no parts"):
        run.at("t.x")
    with pytest.raises(ResultError, match=r"f\.json has no a\.c; there: b"):
        run.number("a.c")


def test_a_rehearsal_knows_the_names_of_its_settings(settings_values):
    settings_values["suspects"] = {"half": {"attack": "prune", "parameters": {"fraction": 0.5}}}
    run = rehearsal("fig0", settings_from_config(settings_values))
    for each in (run, run.suspect("half")):
        assert each.number("users.hue60.one_signature.margin") == 1.0
        assert each.numbers("users.keyed.curve.mean") == [1.0, 1.0]
        assert each.has("users.hue60.one_signature")
        assert each.setting("verify.grid_refinement") == 3
        with pytest.raises(ResultError, match=r"fig0 has no (suspects\.half\.)?users\.hue6; "):
            each.number("users.hue6.log10_p")


@pytest.mark.parametrize("text", ["{ half", "[1]"])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "seed0.json").write_text(text)
    with pytest.raises(ResultError, match=r"shown\.json is damaged"):
        read_run(tmp_path / "seed0.json", "shown.json")


def test_only_the_second_copy_of_a_curve_is_left_out():
    kept = json.loads(result_text(RESULTS))
    assert kept["users"]["one"] == {"one_signature": {"curve": [0.123457, 2.0]}}
    assert kept["users"]["keyed"]["curve"]["mean"] == [pytest.approx(1e-9 / 3, rel=1e-5)]


def test_single_numbers_keep_all_digits_and_what_json_lacks_is_null():
    kept = json.loads(result_text(RESULTS))
    assert kept["users"]["keyed"]["p_value"] == 1 / 3
    assert kept["crowds"]["c"]["true_degrees"] == [30.0, None]
    assert result_text(kept) == result_text(RESULTS)
