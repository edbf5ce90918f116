"""The frontier: its experiment, and table and figure from results that are made up."""

import json
import math
import pathlib

import numpy as np
import pytest

from anw_jax import audit
from anw_jax.audit.estimate import effect_of
from anw_jax.lab import config
from anw_jax.marks import LightField
from anw_jax.report import style
from benchmarks import effects, frontier, visibility
from experiments import frontier as experiment

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"


@pytest.mark.parametrize("variant", experiment.VARIANTS)
def test_every_mark_shares_one_training_and_few_photos_are_marked(variant):
    settings = config.settings_from_file(f"{ROOT}/experiments/frontier.py:{variant}", seed=7)
    marked = [user for user in settings.users.values() if user.kind == "marked"]
    assert settings.name == f"frontier_{variant}"
    assert sum(user.num_images for user in marked) <= 0.15 * settings.data.num_train
    assert {user.kind for user in settings.users.values()} == {"marked", "unmarked", "held_out"}
    assert settings.verify.views == 16
    strengths = sorted(user.strength for user in marked if user.mark == "light")
    assert strengths == [LightField.strength * times for times in (0.5, 1, 2)]
    assert {user.mark for user in marked} == {name for name, _ in visibility.MARKS.values()}


def test_each_study_of_the_frontier_gives_effects_of_light():
    assert {f"frontier_{name}" for name in experiment.VARIANTS} < set(effects.LIGHT_STUDIES)


def test_visibility_is_measured_on_the_photos_of_scikit_image():
    photos = visibility.photos_of(None)
    assert len(photos) == 8
    small = {name: photo[:64, :64] for name, photo in photos.items()}
    light, hue = (visibility.figures_of(mark, small) for mark in ("light", "hue"))
    assert light["photos"] == 8
    assert 0 < light["median"] < 4 < hue["median"]


def write_results(folder: pathlib.Path, seeds=(1, 0), **changes) -> None:
    """CIFAR-10 only. The seed's number raises what each user shows, so that seeds differ."""
    settings = config.settings_from_file(f"{ROOT}/experiments/frontier.py:cifar10").to_dict()
    for name, change in changes.items():
        settings["users"][name] |= change
    target = folder / "frontier_cifar10"
    target.mkdir(parents=True)
    for seed in seeds:
        users = {}
        for place, (name, user) in enumerate(settings["users"].items()):
            z = 0.0 if user["kind"] != "marked" else 1.0 + place + 0.5 * seed
            numbers = {"z": z, "log10_p": -0.1 - z, "num_units": 50, "num_images": 50}
            users[name] = numbers
        run = {"seed": seed, "settings": settings, "users": users}
        (target / f"seed{seed}.json").write_text(json.dumps(run))
    figures = {label: {"median": 2.0 + i} for i, label in enumerate(visibility.MARKS)}
    sets = {"cifar10": figures, "scikit_image": {"light": {"median": 2.42}}}
    (folder / "visibility.json").write_text(json.dumps({"results": {"sets": sets}}))


def test_bits_and_effects_are_those_of_the_results(tmp_path):
    write_results(tmp_path)
    rows = frontier.measured(tmp_path)["cifar10"]
    run = json.loads((tmp_path / "frontier_cifar10" / "seed1.json").read_text())
    for name, row in rows.items():
        z, log10_p = (run["users"][name][field] for field in ("z", "log10_p"))
        p = 10.0**log10_p
        assert row["seeds"] == [0, 1]
        assert row["bits_per_photo"][1] == pytest.approx(-math.log2(p) / 50, abs=1e-5)
        assert row["effects"][1] == pytest.approx(effect_of(z, 50, 11), abs=1e-4)
    assert rows["light_double"]["label"] == "light, strength 0.58"
    assert rows["light"]["ciede2000"] == 2.0
    assert rows["light"]["ciede2000_full_size"] == 2.42
    assert rows["tone"]["ciede2000_full_size"] is None
    assert rows["held_out"]["label"] == "held_out"
    assert rows["held_out"]["ciede2000"] is None


def test_numbers_of_photos_are_those_of_the_planner():
    found = frontier.photos_needed([2.0, 1.0, 9.0])
    for level, number in found.items():
        plan = audit.estimate(effect=2.0, alpha=float(level), power=0.9)
        assert number == plan["num_units"]
    assert found["0.001"] < found["1e-06"]


@pytest.mark.parametrize("effects_of_seeds", [[-1.0, -0.1, 2.0], [0.0], [0.01]])
def test_no_number_of_photos_makes_up_for_no_effect(effects_of_seeds, monkeypatch):
    monkeypatch.setattr(frontier, "MOST_PHOTOS", 40)
    assert frontier.photos_needed(effects_of_seeds) == {"0.001": None, "1e-06": None}


def cells_of(text: str, title: str, label: str) -> list[str]:
    table = text.partition(title)[2]
    line = next(line for line in table.splitlines() if line.startswith(f"| {label} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_says_what_was_not_run_and_what_each_mark_showed(tmp_path, monkeypatch):
    write_results(tmp_path)
    monkeypatch.setattr(frontier, "photos_needed", lambda _: {"0.001": 1234, "1e-06": None})
    sets = frontier.with_photos(frontier.measured(tmp_path))
    text = frontier.markdown(sets)
    bits, log10_p = (sets["cifar10"]["light"][key] for key in ("bits_per_photo", "log10_p"))
    assert cells_of(text, "CIFAR-10, 2 seeds:", "light") == [
        "light",
        "2.00",
        "2.42",
        f"{np.mean(bits):.3f} ± {np.std(bits, ddof=1):.3f}",
        f"{np.median(log10_p):.1f} ({max(log10_p):.1f})".replace("-", "−"),
        "1,234",
        "> 2,000",
    ]
    assert cells_of(text, "CIFAR-10", "held_out")[1:4:2] == ["–", "0.007 ± 0.000"]
    assert cells_of(text, "CIFAR-10", "held_out")[-2:] == ["–", "–"]
    assert cells_of(text, "CIFAR-100, not yet run:", "light")[3:] == ["not yet run", *"–––"]


def test_a_result_of_another_strength_is_refused(tmp_path):
    write_results(tmp_path, light_half={"strength": 0.1})
    with pytest.raises(
        ValueError,
        match=r"seed0.json: light_half must have the mark .*0.145.*, got \('light', 0.1\)",
    ):
        frontier.measured(tmp_path)


def test_the_figure_has_a_panel_for_each_set_with_results(tmp_path):
    write_results(tmp_path, seeds=(0,))
    sets = frontier.measured(tmp_path)
    columns = frontier.columns(sets)
    assert columns["mark"] == [row["label"] for row in frontier.drawn(sets)["cifar10"].values()]
    assert set(columns["set"]) == {"cifar10"}
    assert len(columns["mark"]) == len(experiment.MARKS)
    figure = frontier.draw(sets, style.LIGHT)
    assert [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes] == [
        "CIFAR-10"
    ]
    assert figure.axes[0].get_ylim()[0] == 0.01
    page = f"a\n{frontier.BEGIN}\nold\n{frontier.END}\nb\n"
    sets = {
        "cifar10": {
            name: row | {"photos": frontier.photos_needed([3.0])}
            for name, row in sets["cifar10"].items()
        }
    }
    once = frontier.updated(page, sets)
    assert frontier.updated(once, sets) == once
    assert "figures/frontier.png" in once
    assert "old" not in once


def test_the_page_and_the_stored_numbers_are_those_of_the_results():
    sets = json.loads((RESULTS / "frontier.json").read_text())["results"]["sets"]
    page = frontier.PAGE.read_text()
    assert frontier.updated(page, sets) == page, "run: python -m benchmarks.frontier"
    without_photos = {
        variant: {
            name: {key: value for key, value in row.items() if key != "photos"}
            for name, row in rows.items()
        }
        for variant, rows in sets.items()
    }
    assert without_photos == frontier.measured(RESULTS), "run: python -m benchmarks.frontier"
    assert (frontier.FIGURES / "frontier.png").exists() == bool(frontier.drawn(sets))
