"""Texts of one row of the document: its command, its trainings, their p-values."""

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from anw_jax import stats
from anw_jax.lab import DataSettings
from anw_jax.progress import format_seconds
from anw_jax.report.reading import training_commits, training_origin, training_seconds
from anw_jax.report.table import mean_and_std
from tools.reproduction.claims import NOT_YET_RUN, Claim
from tools.reproduction.runs import Run, Runs
from tools.reproduction.study import Study


def anchor(study: Study) -> str:
    """Return the name of a row's place in the document."""
    return re.sub(r"[^a-z0-9]+", "-", study.file.lower())


def command(study: Study) -> str:
    """Return the command of a row."""
    variant = "" if study.variant == "paper" else f" --variant {study.variant}"
    return f"`python -m tools.reproduction run --rows {study.file}{variant}`"


def place(study: Study) -> tuple[int, str]:
    """Sort rows as in the paper: figures, tables, sections, then our own rows."""
    kinds = ("Fig.", "Table", "§")
    found = [number for number, kind in enumerate(kinds) if study.row.startswith(kind)]
    return (found[0] if found else len(kinds), study.row)


def rules(claim: Claim, quick: Claim) -> str:
    """Say the intervals that were written before the first run."""
    text = (
        f"confirmed if {claim.interval_text(claim.confirm)}, "
        f"direction if {claim.interval_text(claim.direction)}"
    )
    if quick.direction != claim.direction:
        text += f" (quick: {quick.interval_text(quick.direction)})"
    return text


def trainings(name: str, study: Study, runs: Runs) -> str:
    """Write a paragraph on the runs of one variant, or say that there are none."""
    found = [run for seed in runs.seeds for run in seed.found.values()]
    if not found:
        return f"{name} ({_setting(study)}): {NOT_YET_RUN}. {command(study)}"
    expected = len(study.arms) * len(study.seeds)
    parts = [
        f"{name} ({_setting(study)}): {len(found)} of {expected} runs",
        f"test accuracy {_percent(found, 'model.test_accuracy')}",
        f"keyed photos of the same trainings: {keyed}" if (keyed := keyed_p(runs)) else "",
        f"accuracy cost of marking: {cost}" if (cost := accuracy_cost(study, runs)) else "",
        f"training {_seconds(found)} each",
        f"hardware: {_joined(_machine(run) for run in found)}",
        _commits(found),
        f"files: `results/{study.name}/`, {command(study)}",
    ]
    return "; ".join(part for part in parts if part) + "."


def _setting(study: Study) -> str:
    """Name networks, photos and epochs of all arms, and add the study's note."""
    every = [study.settings(arm, study.seeds[0]) for arm in study.arms]
    networks = _joined(settings.model.name for settings in every)
    photos = _joined(_photos(settings.data) for settings in every)
    epochs = _joined(str(settings.train.num_epochs) for settings in every)
    note = f"; {study.note}" if study.note else ""
    return f"{networks}, {photos}, {epochs} epochs{note}"


def _photos(data: DataSettings) -> str:
    num = "all" if data.num_train is None else f"{data.num_train:,}"
    return f"{num} photos of {data.source}"


def _percent(runs: Sequence[Run], path: str) -> str:
    shares = [100 * run.number(path) for run in runs if run.has(path)]
    return f"{mean_and_std(shares, 1)} %"


def _seconds(runs: Sequence[Run]) -> str:
    found = [s for run in runs if (s := training_seconds(run.values)) is not None]
    return format_seconds(statistics.fmean(found)) if found else "unknown time"


def keyed_p(runs: Runs) -> str:
    """Say the exact p of the photos with a hue each, in the trainings of a row; "" without any.

    Tests that gave no p are counted, and so is every one that was inconclusive.
    """
    found = [
        (run.number(f"users.{name}.log10_p"), user.get("outcome") == "inconclusive")
        for seed in runs.seeds
        for run in seed.found.values()
        for name, user in run.at("users").items()
        if _is_keyed(user)
    ]
    known = [value for value, _ in found if math.isfinite(value)]
    if not found:
        return ""
    open_tests = sum(open_ or not math.isfinite(value) for value, open_ in found)
    parts = [f"{open_tests} inconclusive"] if open_tests else []
    if known:
        # Of the two in the middle the larger p, so that averaging makes none better.
        middle = stats.format_p(statistics.median_high(known))
        parts.insert(0, f"p median {middle}, worst {stats.format_p(max(known))}")
    return f"{', '.join(parts)} (n = {len(found)})"


def _is_keyed(user: dict[str, Any]) -> bool:
    is_marked = user.get("kind") == "marked" and not user.get("excluded", False)
    return is_marked and user.get("scheme") == "per_image"


def accuracy_cost(study: Study, runs: Runs) -> str:
    """Say what marking costs in accuracy, where that is measured; else ""."""
    if study.accuracy_cost is None:
        return f"see the row {study.cost_row}" if study.cost_row else ""
    values = [100 * value for value in study.accuracy_cost(runs).values]
    return f"{mean_and_std(values, 1)} points".replace("-", "−") if values else ""


def _machine(run: Run) -> str:
    return training_origin(run.values).get("hardware") or "unknown"


def _commits(runs: Sequence[Run]) -> str:
    """Name the commits that trained the models, and those that queried them if different."""
    trained = _joined(c[:10] for run in runs for c in training_commits(run.values))
    later = [run for run in runs if training_commits(run.values)[-1] != _reader(run)]
    read = _joined(_reader(run)[:10] for run in later)
    return f"commit: {trained}" + (f"; {len(later)} read at {read}" if later else "")


def _reader(run: Run) -> str:
    """Return the commit that queried and tested the model."""
    path = "provenance.commit"
    return str(run.at(path)) if run.has(path) else "unknown"


def _joined(found: Iterable[str]) -> str:
    """Join texts, each once."""
    return ", ".join(dict.fromkeys(found))
