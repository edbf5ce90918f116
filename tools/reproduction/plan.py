"""Plan the trainings: the rows that share each model, and the time it takes."""

import dataclasses
from collections.abc import Sequence

from anw_jax.errors import SettingsError
from anw_jax.lab import Settings
from tools.reproduction.durations import Durations
from tools.reproduction.study import Study


@dataclasses.dataclass(frozen=True, eq=False)
class Item:
    """One run: an arm of a study with a seed. Its result is one file.

    Attributes:
      study: whose.
      arm: the name of one of its arms.
      seed: of data, users, network and training.
      settings: checked.
    """

    study: Study
    arm: str
    seed: int
    settings: Settings

    @property
    def training(self) -> tuple[str, int]:
        """Case and seed: runs that agree in both share one training."""
        return self.settings.case, self.seed

    @property
    def label(self) -> str:
        """Its name in messages."""
        return self.study.label(self.arm, self.seed)

    @property
    def result_file(self) -> str:
        """Its path below the folder of results."""
        return self.study.result_file(self.arm, self.seed)


def items_of(studies: Sequence[Study], seeds: Sequence[int] | None = None) -> list[Item]:
    """List every run of the studies, in the order in which they are made.

    Seed by seed, so that every row has one seed before any has two; within a seed in the
    order of the studies, but all runs of one training directly after it.

    Args:
      studies: in the order of the plan.
      seeds: only these; None for all that each study declares.

    Raises:
      SettingsError: two runs claim to share a training but differ in what the learner sees,
        or a claim or a figure reads what a run will not hold.
    """
    for study in studies:
        study.rehearse()
    declared = sorted({seed for study in studies for seed in study.seeds})
    items = []
    for seed in declared if seeds is None else [s for s in declared if s in set(seeds)]:
        by_training: dict[tuple[str, int], list[Item]] = {}
        for study in studies:
            for arm in study.arms if seed in study.seeds else ():
                item = Item(study, arm, seed, study.settings(arm, seed))
                by_training.setdefault(item.training, []).append(item)
        for shared in by_training.values():
            _refuse_unequal(shared)
            items += shared
    return items


def _refuse_unequal(shared: Sequence[Item]) -> None:
    first, *others = shared
    expected = first.settings.case_dict()
    for other in others:
        found = other.settings.case_dict()
        differing = [name for name in expected if expected[name] != found[name]]
        if differing:
            raise SettingsError(
                f"{first.label} and {other.label} share the case {first.settings.case!r} but "
                f"differ in {', '.join(differing)}: give one of them another case"
            )


def plan_table(studies: Sequence[Study], durations: Durations) -> str:
    """Write the plan as a Markdown table: each model, and the rows that are read from it.

    Minutes are those of recorded runs, else those that the config expects, else "?".
    """
    items = items_of(studies)
    by_case: dict[str, list[Item]] = {}
    for item in items:
        by_case.setdefault(item.settings.case, []).append(item)
    lines = ["| model | network | photos | epochs | seeds | minutes per seed | rows |"]
    lines += ["|---|---|---|---|---|---|---|"]
    total, unknown = 0.0, 0
    for case, runs in by_case.items():
        seeds = sorted({item.seed for item in runs})
        minutes = _minutes_per_seed([i for i in runs if i.seed == seeds[0]], durations)
        total += (minutes or 0.0) * len(seeds)
        unknown += minutes is None
        lines.append(_line(case, runs, seeds, minutes))
    trainings = len({item.training for item in items})
    hours = f"about {total / 60:.1f} hours" + (f", {unknown} models unknown" * bool(unknown))
    lines += ["", f"{trainings} trainings, {len(items)} result files, {hours}."]
    return "\n".join(lines) + "\n"


def _line(case: str, runs: Sequence[Item], seeds: Sequence[int], minutes: float | None) -> str:
    settings = runs[0].settings
    rows: dict[str, list[str]] = {}
    for item in runs:
        arms = rows.setdefault(item.study.row, [])
        if item.study.has_arms and item.arm not in arms:
            arms.append(item.arm)
    read = "; ".join(
        row + (f" ({', '.join(arms)})" if arms else "") for row, arms in rows.items()
    )
    photos = settings.data.num_train
    cells = (
        case,
        settings.model.name,
        f"{settings.data.source}, {'all' if photos is None else f'{photos:,}'}",
        str(settings.train.num_epochs),
        ", ".join(map(str, seeds)),
        "?" if minutes is None else f"{minutes:.1f}",
        read,
    )
    return "| " + " | ".join(cells) + " |"


def _minutes_per_seed(runs: Sequence[Item], durations: Durations) -> float | None:
    """Training once and auditing each run; None where one of them is not known."""
    seconds = [
        durations.expected(item.study, item.arm, item.settings.case, trains=number == 0)
        for number, item in enumerate(runs)
    ]
    known = [value for value in seconds if value is not None]
    return sum(known) / 60 if len(known) == len(seconds) else None
