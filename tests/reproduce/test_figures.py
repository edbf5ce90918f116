"""Figures show the numbers of the result files, and nothing where there are none."""

import csv

import numpy as np
import pytest

from anw_jax.reproduce import ResultError, load_study, write_figures
from anw_jax.reproduce.figure_spec import FigureSpec
from anw_jax.reproduce.figures import drawn_of

CURVES = {"kind": "curves", "over": "users", "members": ["hue60", "held_out", "keyed"]}
BARS = {
    "kind": "bars",
    "of": "test_accuracy",
    "over": "arms",
    "members": ["a", "b"],
    "labels": {"a": "first", "b": "second"},
    "paper": {"a": 0.9},
    "unit": "%",
}
LINES = {
    "kind": "lines",
    "over": "arms",
    "members": ["a", "b"],
    "x": [1, 100],
    "log_x": True,
    "x_label": "photos",
    "series": (
        {"label": "error", "of": "hue_error", "arguments": {"users": "held_out"}},
        {"label": "keyed", "of": "keyed_log10_p", "paper": {"b": -3.0}},
    ),
}
ARMS = {"a": {}, "b": {"train.num_epochs": 4}}


@pytest.fixture
def study_with(write_study):
    """A study of two arms with a figure."""
    return lambda figure, **more: load_study(
        write_study(study={"figure": figure, "arms": ARMS, **more})
    )


def rows_of(path):
    """A CSV file as dictionaries."""
    with path.open() as file:
        return list(csv.DictReader(file))


def test_bars_are_means_over_seeds(study_with, made_up, tmp_path):
    study = study_with(BARS)
    for seed in (0, 1):
        made_up.write(tmp_path / "results", study, "a", seed)
    (png,) = write_figures([study], tmp_path / "results", tmp_path / "figures")
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in png.with_suffix(".svg").read_text()
    (row,) = rows_of(png.with_suffix(".csv"))
    assert (row["label"], row["num_seeds"], row["paper"]) == ("first", "2", "0.9")
    assert float(row["mean"]) == pytest.approx((0.70 + 0.71) / 2)
    assert float(row["std"]) == pytest.approx(np.std([0.70, 0.71], ddof=1))


def test_lines_have_a_series_each(study_with, made_up, tmp_path):
    study = study_with(LINES)
    for arm in ("a", "b"):
        made_up.write(tmp_path / "results", study, arm, 0)
    (png,) = write_figures([study], tmp_path / "results", tmp_path / "figures")
    rows = rows_of(png.with_suffix(".csv"))
    found = [(row["series"], row["x"], float(row["mean"]), row["paper"]) for row in rows]
    assert found == [
        ("error", "1", 10.0, ""),
        ("error", "100", 10.0, ""),
        ("keyed", "1", -9.5, ""),
        ("keyed", "100", -9.5, "-3"),
    ]


def test_curves_stand_around_the_key(study_with, made_up, tmp_path):
    study = study_with({**CURVES, "arguments": {"arms": "a"}})
    users = {"keyed": made_up.keyed(), "held_out": made_up.user(0.0, 10.0)}
    for seed, depth in ((0, 2.0), (1, 1.0)):
        users["hue60"] = made_up.user(60.0, 60.0, depth)
        made_up.write(tmp_path / "results", study, "a", seed, users=users)
    drawn = drawn_of(study, tmp_path / "results")
    ((_, shown),) = drawn.series
    hue60, held_out, keyed = (spread.curve for _, spread in shown)
    assert hue60.lowest_degrees == 0.0
    assert held_out.lowest_degrees == 10.0
    assert keyed.lowest_degrees == 0.0
    # At 90° from the key the loss is .1 + depth / 2.
    (place,) = np.flatnonzero(hue60.degrees == 90.0)
    assert hue60.mean[place] == pytest.approx(0.1 + 0.75)
    assert hue60.error[place] == pytest.approx(np.std([1.1, 0.6], ddof=1))
    (png,) = write_figures([study], tmp_path / "results", tmp_path / "figures")
    assert len(rows_of(png.with_suffix(".csv"))) == 3 * 36


def test_curves_of_changed_models_are_their_own(study_with, made_up, tmp_path):
    figure = {
        "kind": "curves",
        "over": "suspects",
        "members": ["none", "pruned"],
        "arguments": {"users": "hue60"},
    }
    study = study_with(figure)
    suspects = {"pruned": {"users": {"hue60": made_up.user(60.0, 90.0)}}}
    made_up.write(tmp_path / "results", study, "a", 0, suspects=suspects)
    ((_, shown),) = drawn_of(study, tmp_path / "results").series
    assert [point.label for point, _ in shown] == ["none", "pruned"]
    assert [spread.curve.lowest_degrees for _, spread in shown] == [0.0, 30.0]


def test_without_results_or_figure_nothing_is_drawn(study_with, write_study, tmp_path):
    assert write_figures([study_with(BARS)], tmp_path, tmp_path / "figures") == []
    assert drawn_of(load_study(write_study("fig1")), tmp_path) is None
    assert not (tmp_path / "figures").exists()


def test_equal_results_give_equal_files(study_with, made_up, tmp_path):
    study = study_with(BARS)
    made_up.write(tmp_path / "results", study, "a", 0)
    first, second = (
        write_figures([study], tmp_path / "results", tmp_path / name)[0] for name in "xy"
    )
    for ending in (".png", ".svg", ".csv"):
        assert first.with_suffix(ending).read_bytes() == second.with_suffix(ending).read_bytes()


def test_a_result_without_what_is_shown_is_named(study_with, made_up, tmp_path):
    study = study_with({**CURVES, "members": ["nobody"]})
    made_up.write(tmp_path, study, "a", 0)
    with pytest.raises(ResultError, match=r"fig0/a/seed0\.json has no users\.nobody"):
        drawn_of(study, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kinds": 1}, "field must be one of .* did you mean 'kind'"),
        ({"over": "seeds"}, "over must be one of arms, users, suspects, crowds"),
        ({"members": []}, "members must name at least one"),
        ({"of": "accuracy"}, "measure must be one of"),
        ({"x": [1, 2]}, "x must be given with 'lines' and only then"),
        ({"series": ({"lable": "x"},)}, "series must be one of .* did you mean 'label'"),
        ({"paper": {"a": "90 %"}}, "paper must be a number"),
        ({"kind": "lines"}, "x must be given with 'lines'"),
        (
            {"kind": "curves", "arguments": {"users": "a", "crowd": "b"}},
            "arguments must be one",
        ),
    ],
)
def test_a_mistaken_figure_is_refused(change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        FigureSpec.of(BARS | change)
