"""A study: one row of the paper as a config file, its trainings and its claims."""

import dataclasses
import pathlib
import re
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from anw_jax import _check, lab
from anw_jax.errors import SettingsError
from anw_jax.lab import config as lab_config
from anw_jax.lab.workdir import flatten, plain
from tools.reproduction.claims import Claim
from tools.reproduction.figures import Figure
from tools.reproduction.runs import (
    MAIN,
    Measured,
    ResultError,
    Run,
    Runs,
    Seed,
    read_run,
    rehearsal,
)

VARIANTS = ("paper", "quick")

# The studies in the order of the plan, one name a line.
_LIST = "studies.txt"
# Settings in which runs of one case may differ although they share training and tables.
_OWN = ("name", "suspects", "analyses")
_REMOVABLE = ("users", "attacks", "suspects")
_TEXTS = ("row", "title", "paper", "note", "cost_row")
_FIELDS = (*_TEXTS, "seeds", "arms", "minutes")
_NEEDED = ("row", "title", "paper", "seeds")


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """One config file in one variant.

    Attributes:
      file: name of the config file without folder and ending; names the study.
      variant: "paper" or "quick".
      config: plain settings that all arms begin with.
      row: its place in the paper.
      title: a few words.
      paper: the paper's claim in short.
      seeds: of its trainings.
      arms: its trainings by name, one each per seed: values at dotted paths of the settings;
        None at a user, an attack or a suspect removes it.
      claims: the claims, measured on runs.
      figure: the figure of runs, or None.
      accuracy_cost: what marking costs in accuracy, measured on runs; None where another row
        measures it, or none.
      cost_row: the row that measures it in the same training, or "".
      minutes: expected for one quick run on two cores, before any is recorded, or None.
      note: what a reader must know beside its numbers ("12 of 200 classes"), or "".
    """

    file: str
    variant: str
    config: Mapping[str, Any]
    row: str
    title: str
    paper: str
    seeds: tuple[int, ...]
    arms: Mapping[str, Mapping[str, Any]]
    claims: Callable[[Runs], Sequence[Claim]]
    figure: Callable[[Runs], Figure] | None = None
    accuracy_cost: Callable[[Runs], Measured] | None = None
    cost_row: str = ""
    minutes: float | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """The name in its settings: of its folder of results."""
        return str(self.config["name"])

    @property
    def has_arms(self) -> bool:
        """Whether its config declares arms (else it has one run per seed, "main")."""
        return list(self.arms) != [MAIN]

    def settings(self, arm: str, seed: int) -> lab.Settings:
        """Return the checked settings of one training.

        An arm that changes what the learner sees is a case of its own, `<name>/<arm>`, unless
        it names its `case`; any other shares the study's case.

        Raises:
          SettingsError: an override names no setting, or its value is impossible.
        """
        values = plain(self.config)
        values["case"] = values.get("case") or self.name
        if any(path.split(".")[0] not in _OWN for path in self.arms[arm]):
            values["case"] = f"{self.name}/{arm}"
        for path, value in self.arms[arm].items():
            _override(values, path, value)
        values["seed"] = seed
        try:
            return lab.settings_from_config(values)
        except SettingsError as error:
            raise SettingsError(f"{self.label(arm)}: {error}") from None

    def label(self, arm: str, seed: int | None = None) -> str:
        """Return a run's name in messages."""
        parts = [self.name] + ([arm] if self.has_arms else [])
        return "/".join(parts) + ("" if seed is None else f"/seed{seed}")

    def result_file(self, arm: str, seed: int) -> str:
        """Return the path of a run's results below the folder of results."""
        return f"{self.label(arm, seed)}.json"

    def runs(self, results: pathlib.Path) -> Runs:
        """Read the runs of all declared seeds, as far as there are result files.

        Raises:
          ResultError: a file is damaged, belongs to another run, or was made with settings
            that the study no longer has.
        """
        seeds = tuple(self._seed(seed, results) for seed in self.seeds)
        return Runs(self.variant, tuple(self.arms), seeds)

    def _seed(self, seed: int, results: pathlib.Path) -> Seed:
        files = {arm: self.result_file(arm, seed) for arm in self.arms}
        found = {
            arm: self.check_result(arm, seed, results)
            for arm, file in files.items()
            if (results / file).is_file()
        }
        return Seed({arm: f"{results.name}/{file}" for arm, file in files.items()}, found)

    def check_result(self, arm: str, seed: int, results: pathlib.Path) -> Run:
        """Read a result file that exists.

        Raises:
          ResultError: as `runs`.
        """
        file = self.result_file(arm, seed)
        run = read_run(results / file, f"{results.name}/{file}")
        _refuse_other_settings(run, self.settings(arm, seed))
        return run

    def rehearse(self) -> None:
        """Evaluate claims and figure on made-up results, before hours are spent on real ones.

        Raises:
          SettingsError: a claim or the figure reads what no run of these settings will hold.
        """
        made_up = {
            arm: rehearsal(self.label(arm), self.settings(arm, self.seeds[0]))
            for arm in self.arms
        }
        files = {arm: run.file for arm, run in made_up.items()}
        runs = Runs(self.variant, tuple(self.arms), (Seed(files, made_up),))
        for name in ("claims", "figure", "accuracy_cost"):
            function = getattr(self, name)
            try:
                if function is not None:
                    function(runs)
            except Exception as error:
                text = str(error) if isinstance(error, ResultError) else repr(error)
                raise SettingsError(f"{self.name}: {name}: {text}") from error


def _override(values: dict[str, Any], path: str, value: Any) -> None:
    """Set a value at a dotted path of plain settings, which are checked later."""
    *parents, last = path.split(".")
    level: Any = values
    for depth, name in enumerate(parents):
        below = level.get(name)
        if not isinstance(below, dict):
            shown = ".".join(parents[: depth + 1])
            raise SettingsError(f"override {path!r}: {shown} is no group of settings")
        level = below
    if value is None and len(parents) == 1 and parents[0] in _REMOVABLE:
        level.pop(last, None)
    else:
        level[last] = plain(value)


def _refuse_other_settings(run: Run, settings: lab.Settings) -> None:
    """Refuse results that were made with other settings than the study's.

    Only settings that both name are compared: those added later have their defaults. A user,
    an attack, a suspect or a parameter that only one of them names is a difference.
    """
    now = dict(flatten(_with_names(plain(settings.to_dict()))))
    before = dict(flatten(_with_names(run.at("settings"))))
    changed = [path for path in now if path in before and now[path] != before[path]]
    if changed:
        path = changed[0]
        raise ResultError(
            f"{run.file} was made with {path} {before[path]!r}, the study now has "
            f"{now[path]!r}: remove the file and run again"
        )


def _with_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with lists of the freely chosen names, and parameters as one value."""
    full = dict(settings)
    for kind in _REMOVABLE:
        entries = dict(full.get(kind) or {})
        full[kind] = {"*": sorted(entries)}
        for name, entry in entries.items():
            given = sorted((entry.get("parameters") or {}).items())
            full[kind][name] = {**entry, "parameters": [list(pair) for pair in given]}
    return full


def load_study(file: str | pathlib.Path, variant: str = "paper") -> Study:
    """Load the study of a config file.

    Beside `get_config` the file has `claims(runs)`, and may have `figure(runs)` and
    `accuracy_cost(runs)`; `runs` is a `Runs`.

    Args:
      file: `experiments/<name>.py`.
      variant: "paper" or "quick".

    Raises:
      SettingsError: no such file, no study in it, or a mistake in it; one line that names
        file and field.
    """
    file = pathlib.Path(file)
    _check.one_of(VARIANTS, variant=variant)
    module, config = lab_config.load_experiment(f"{file}:{variant}")
    settings, row = lab_config.split_study(config)
    if row is None:
        raise SettingsError(f"{file} has no study: get_config returns settings alone")
    try:
        return Study(
            file.stem, variant, settings, **_fields(row, variant), **_functions(module)
        )
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{file}: study: {error}") from None


def _fields(row: Mapping[str, Any], variant: str) -> dict[str, Any]:
    """The plain values of a study, checked."""
    for name in row:
        _check.one_of(_FIELDS, field=name)
    missing = [name for name in _NEEDED if name not in row]
    if missing:
        raise ValueError(f"needs {', '.join(missing)}")
    minutes = None if row.get("minutes") is None else _check.positive(minutes=row["minutes"])
    texts = {name: _check.is_instance(str, **{name: row.get(name, "")}) for name in _TEXTS}
    return {
        **texts,
        "seeds": _seeds(row["seeds"]),
        "arms": _arms(row.get("arms") or {MAIN: {}}),
        "minutes": minutes if variant == "quick" else None,
    }


def _functions(module: types.ModuleType) -> dict[str, Callable | None]:
    if not hasattr(module, "claims"):
        raise ValueError("needs a function claims(runs)")
    return {name: getattr(module, name, None) for name in ("claims", "figure", "accuracy_cost")}


def _seeds(values: Sequence[int]) -> tuple[int, ...]:
    seeds = tuple(_check.integer_at_least(0, seeds=seed) for seed in values)
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must be distinct and at least one, got {values!r}")
    return seeds


def _arms(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    for name in values:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            raise ValueError(f"arms: the name {name!r} must be letters, digits, _, . and -")
    return {name: dict(overrides) for name, overrides in values.items()}


def study_names(folder: str | pathlib.Path = "experiments") -> tuple[str, ...]:
    """List the studies of a folder in the order of its `studies.txt`, the order of the plan.

    Raises:
      SettingsError: the folder has no such list, or it names a file that is not there.
    """
    listed = pathlib.Path(folder) / _LIST
    if not listed.is_file():
        raise SettingsError(f"{listed} is missing: it lists the studies, one name a line")
    lines = (line.partition("#")[0].strip() for line in listed.read_text().splitlines())
    found = tuple(line for line in lines if line)
    for name in found:
        if not (listed.parent / f"{name}.py").is_file():
            raise SettingsError(f"{listed} names {name}, but there is no {name}.py beside it")
    return found


def load_studies(
    folder: str | pathlib.Path = "experiments",
    variant: str = "paper",
    rows: Sequence[str] | None = None,
) -> list[Study]:
    """Load the studies of a folder, in the order of the plan.

    Args:
      folder: holds `studies.txt` and the config files.
      variant: "paper" or "quick".
      rows: file names ("fig3g") or rows ("Fig. 3g") to load; None for all.

    Raises:
      SettingsError: a mistake in a file, two studies of one name, or an unknown row.
    """
    folder = pathlib.Path(folder)
    studies = [load_study(folder / f"{name}.py", variant) for name in study_names(folder)]
    seen: dict[str, str] = {}
    for study in studies:
        if study.name in seen:
            raise SettingsError(
                f"{study.file}.py and {seen[study.name]}.py have the same name {study.name!r}"
            )
        seen[study.name] = study.file
    if rows is None:
        return studies
    try:
        known = {key for study in studies for key in (study.file, study.row)}
        for row in rows:
            if row not in known:
                _check.one_of([study.file for study in studies], rows=row)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    return [study for study in studies if {study.file, study.row} & set(rows)]
