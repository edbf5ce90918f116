"""What stands below the table for each study: its trainings, their p-values, its figure."""

import math
import pathlib
import re
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from anw_jax import stats
from anw_jax.lab import DataSettings
from anw_jax.progress import format_seconds
from anw_jax.report.table import mean_and_std
from anw_jax.report.training import training_commits, training_origin, training_seconds
from anw_jax.reproduce.claims import NOT_YET_RUN, Claim, measured
from anw_jax.reproduce.figures import drawn_of
from anw_jax.reproduce.results import Run, SeedRuns
from anw_jax.reproduce.study import Study
from anw_jax.reproduce.values import predicate_text


def anchor(study: Study) -> str:
    """The name of a row's place in the document."""
    return re.sub(r"[^a-z0-9]+", "-", study.file.lower())


def command(study: Study) -> str:
    """The command of a row."""
    variant = "" if study.variant == "paper" else f" --variant {study.variant}"
    return f"`python -m anw_jax.reproduce run --rows {study.file}{variant}`"


def place(study: Study) -> tuple[int, str]:
    """Sorts rows as the paper has them: figures, tables, sections, then what is ours."""
    kinds = ("Fig.", "Table", "§")
    found = [number for number, kind in enumerate(kinds) if study.row.startswith(kind)]
    return (found[0] if found else len(kinds), study.row)


def predicates(claim: Claim, quick_claim: Claim) -> str:
    """The rules that were written before the first run."""
    text = (
        f"confirmed if {predicate_text(claim, claim.confirm)}, "
        f"direction if {predicate_text(claim, claim.direction)}"
    )
    if quick_claim.direction != claim.direction:
        text += f" (quick: {predicate_text(quick_claim, quick_claim.direction)})"
    return text


def trainings(name: str, study: Study, seeds: Sequence[SeedRuns]) -> str:
    """A paragraph on the runs of one variant, or that there are none."""
    runs = [run for each in seeds for run in each.runs.values()]
    where = f"`results/{study.name}/`, {command(study)}"
    if not runs:
        return f"{name} ({_setting(study)}): {NOT_YET_RUN}. {command(study)}"
    expected = len(study.arms) * len(study.seeds)
    parts = [
        f"{name} ({_setting(study)}): {len(runs)} of {expected} runs",
        f"test accuracy {_percent(runs, 'model.test_accuracy')}",
        f"keyed photos of the same trainings: {keyed}" if (keyed := keyed_p(seeds)) else "",
        f"accuracy cost of marking: {cost}" if (cost := accuracy_cost(study, seeds)) else "",
        f"training {_seconds(runs)} each",
        f"hardware: {_joined(_machine(run) for run in runs)}",
        _commits(runs),
        f"files: {where}",
    ]
    return "; ".join(part for part in parts if part) + "."


def _setting(study: Study) -> str:
    """What was trained on what, in any of the arms, and then what a reader must know."""
    every = [study.settings(arm, study.seeds[0]) for arm in study.arms]
    networks = _joined(settings.model.name for settings in every)
    photos = _joined(_photos(settings.data) for settings in every)
    epochs = _joined(str(settings.train.num_epochs) for settings in every)
    note = f"; {study.note}" if study.note else ""
    return f"{networks}, {photos}, {epochs} epochs{note}"


def _photos(data: DataSettings) -> str:
    num = "all" if data.num_train is None else f"{data.num_train:,}"
    return f"{num} photos of {data.source}"


def _numbers(runs: Iterable[Run], path: str) -> list[float]:
    return [run.number(path) for run in runs if run.has(path)]


def _percent(runs: Sequence[Run], path: str) -> str:
    return f"{mean_and_std([100 * v for v in _numbers(runs, path)], 1)} %"


def _seconds(runs: Sequence[Run]) -> str:
    found = [s for run in runs if (s := training_seconds(run.values)) is not None]
    return format_seconds(statistics.fmean(found)) if found else "unknown time"


def keyed_p(seeds: Sequence[SeedRuns]) -> str:
    """The exact p of the photos with a hue each, in the trainings of a row; "" without any.

    Tests that gave no p are counted, and so is every one that was inconclusive.
    """
    found = [
        (run.number(f"users.{name}.log10_p"), user.get("outcome") == "inconclusive")
        for each in seeds
        for run in each.runs.values()
        for name, user in run.at("users").items()
        if _is_keyed(user)
    ]
    known = [value for value, _ in found if math.isfinite(value)]
    if not found:
        return ""
    open_tests = sum(open_ or not math.isfinite(value) for value, open_ in found)
    parts = [f"{open_tests} inconclusive"] if open_tests else []
    if known:
        # Of two in the middle the larger p, so that none is made better by averaging.
        middle = stats.format_p(statistics.median_high(known))
        parts.insert(0, f"p median {middle}, worst {stats.format_p(max(known))}")
    return f"{', '.join(parts)} (n = {len(found)})"


def _is_keyed(user: dict[str, Any]) -> bool:
    is_marked = user.get("kind") == "marked" and not user.get("excluded", False)
    return is_marked and user.get("scheme") == "per_image"


def accuracy_cost(study: Study, seeds: Sequence[SeedRuns]) -> str:
    """What marking costs in accuracy, where the study says how that is measured; else ""."""
    if study.cost is None:
        return ""
    if "see" in study.cost:
        return f"see the row {study.cost['see']}"
    name, arguments = study.cost["measure"], study.cost.get("arguments") or {}
    values = [100 * value for value in measured(name, arguments, seeds).values]
    return f"{mean_and_std(values, 1)} points".replace("-", "−") if values else ""


def _machine(run: Run) -> str:
    return training_origin(run.values).get("hardware") or "unknown"


def _commits(runs: Sequence[Run]) -> str:
    """The code that trained the models, and that which read them where it is other."""
    trained = _joined(c[:10] for run in runs for c in training_commits(run.values))
    later = [run for run in runs if training_commits(run.values)[-1] != _reader(run)]
    read = _joined(_reader(run)[:10] for run in later)
    return f"commit: {trained}" + (f"; {len(later)} read at {read}" if later else "")


def _reader(run: Run) -> str:
    """The commit that asked and tested the model."""
    path = "provenance.commit"
    return str(run.at(path)) if run.has(path) else "unknown"


def _joined(found: Iterable[str]) -> str:
    """What there is, each once."""
    return ", ".join(dict.fromkeys(found))


def figure(name: str, study: Study, results: pathlib.Path) -> list[str]:
    """The lines that show a study's figure; none where there is nothing to draw."""
    if drawn_of(study, results) is None:
        return []
    return [f"![{study.row}, {name.lower()}: {study.title}](figures/{study.name}.png)", ""]
