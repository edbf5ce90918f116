"""Figures show the numbers of the result files, and nothing where there are none."""

import csv

import numpy as np
import pytest

from tools.reproduction.figures import Bars, Curves, Lines, loss_curve, mean_curve, write_figure
from tools.reproduction.runs import Measured, ResultError, Run, Runs, Seed

NONE = Measured((), 2)


@pytest.fixture
def runs(made_up) -> Runs:
    """Two seeds; the loss of the user hue60 is deeper in the first."""

    def run(depth: float) -> Run:
        users = {
            "keyed": made_up.keyed(),
            "held_out": made_up.user(0.0, 10.0),
            "hue60": made_up.user(60.0, 60.0, depth),
        }
        pruned = {"users": {"hue60": made_up.user(60.0, 90.0)}}
        settings = {"verify": {"num_slots": 12}}
        return Run(
            "f.json", {"users": users, "suspects": {"pruned": pruned}, "settings": settings}
        )

    seeds = [Seed({"main": "f.json"}, {"main": run(depth)}) for depth in (2.0, 1.0)]
    return Runs("quick", ("main",), tuple(seeds))


def rows_of(path):
    """A CSV file as dictionaries."""
    with path.open() as file:
        return list(csv.DictReader(file))


def test_bars_are_means_over_seeds(tmp_path):
    figure = Bars({"first": Measured((0.70, 0.71), 3), "second": NONE}, "accuracy", "%")
    png = write_figure(figure, tmp_path, "fig0")
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in png.with_suffix(".svg").read_text()
    (row,) = rows_of(png.with_suffix(".csv"))
    assert (row["label"], row["num_seeds"]) == ("first", "2")
    assert float(row["mean"]) == pytest.approx((0.70 + 0.71) / 2)
    assert float(row["std"]) == pytest.approx(np.std([0.70, 0.71], ddof=1))


def test_lines_have_a_series_each(tmp_path):
    lines = {
        "error": {1: Measured((10.0,), 2), 100: Measured((12.0,), 2)},
        "keyed": {1: Measured((-9.5,), 2), 100: NONE},
        "nothing": {1: NONE},
    }
    png = write_figure(Lines(lines, "photos", "value", log_x=True), tmp_path, "fig0")
    rows = rows_of(png.with_suffix(".csv"))
    found = [(row["series"], row["x"], float(row["mean"])) for row in rows]
    assert found == [("error", "1", 10.0), ("error", "100", 12.0), ("keyed", "1", -9.5)]


def lowest_degrees(curve) -> float:
    """The angle with the lowest mean loss."""
    return float(curve.degrees[curve.mean.argmin()])


def test_curves_stand_around_the_key(runs, tmp_path):
    users = ("hue60", "held_out", "keyed")
    figure = Curves({user: runs.each(loss_curve, user=user) for user in users})
    hue60, held_out, keyed = (mean_curve(each.values) for each in figure.shown.values())
    assert lowest_degrees(hue60) == 0.0
    assert lowest_degrees(held_out) == 10.0
    assert lowest_degrees(keyed) == 0.0
    # At 90° from the key the loss is .1 + depth / 2.
    (place,) = np.flatnonzero(hue60.degrees == 90.0)
    assert hue60.mean[place] == pytest.approx(0.1 + 0.75)
    assert hue60.error[place] == pytest.approx(np.std([1.1, 0.6], ddof=1))
    rows = rows_of(write_figure(figure, tmp_path, "fig0").with_suffix(".csv"))
    assert len(rows) == 3 * 36
    first = [row for row in rows if row["label"] == "hue60"]
    assert [float(row["mean"]) for row in first] == pytest.approx(list(hue60.mean))


def test_curves_of_changed_models_are_their_own(runs):
    suspects = {"none": None, "pruned": "pruned"}
    lowest = [
        lowest_degrees(mean_curve(runs.each(loss_curve, user="hue60", suspect=s).values))
        for s in suspects.values()
    ]
    assert lowest == [0.0, 30.0]


def test_curves_on_different_grids_have_no_mean(runs):
    (curve, _) = runs.each(loss_curve, user="hue60").values
    other = type(curve)(curve.degrees + 1.0, curve.mean, curve.error, True, 15.0)
    with pytest.raises(ResultError, match="on one grid of angles"):
        mean_curve([curve, other])


@pytest.mark.parametrize(
    "figure",
    [Bars({"a": NONE}, "x"), Lines({"": {1: NONE}}, "x", "y"), Curves({"a": NONE})],
    ids=["bars", "lines", "curves"],
)
def test_without_results_nothing_is_drawn(figure, tmp_path):
    assert write_figure(figure, tmp_path / "figures", "fig0") is None
    assert not (tmp_path / "figures").exists()


def test_equal_results_give_equal_files(tmp_path):
    figure = Bars({"first": Measured((0.7,), 1)}, "accuracy")
    first, second = (write_figure(figure, tmp_path / name, "fig0") for name in "xy")
    for ending in (".png", ".svg", ".csv"):
        assert first.with_suffix(ending).read_bytes() == second.with_suffix(ending).read_bytes()


def test_a_result_without_what_is_shown_is_named(runs):
    with pytest.raises(ResultError, match=r"f\.json has no users\.nobody"):
        runs.each(loss_curve, user="nobody")
