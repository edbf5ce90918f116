"""A study: one row of the paper as a config file, its trainings and its claims."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from anw_jax import _check, lab
from anw_jax.errors import SettingsError
from anw_jax.lab import config as lab_config
from anw_jax.lab.workdir import to_json
from anw_jax.reproduce import measures
from anw_jax.reproduce.claims import Claim
from anw_jax.reproduce.figure_spec import FigureSpec
from anw_jax.reproduce.results import ResultError, Run, SeedRuns, read_run

VARIANTS = ("paper", "quick")
MAIN = "main"

# The studies in the order of the plan, one name a line.
_LIST = "studies.txt"
# Settings in which runs of one case may differ: they share the training and its tables.
_OWN = ("name", "suspects", "analyses")
_REMOVABLE = ("users", "attacks", "suspects")
_FIELDS = (
    "row",
    "title",
    "paper",
    "seeds",
    "arms",
    "claims",
    "figure",
    "minutes",
    "cost",
    "note",
)
_NEEDED = ("row", "title", "paper", "seeds", "claims")


@dataclasses.dataclass(frozen=True, eq=False)
class Arm:
    """One training of a study per seed.

    Attributes:
      name: names its folder of results.
      overrides: values at dotted paths of the settings; None at a user, an attack or a
        suspect takes it away.
    """

    name: str
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def shares_training(self) -> bool:
        """Whether it changes nothing that the learner sees."""
        return all(path.split(".")[0] in _OWN for path in self.overrides)


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """One config file in one variant.

    Attributes:
      file: name of the config file without folder and ending; names the study.
      variant: "paper" or "quick".
      row: where it stands in the paper.
      title: a few words.
      paper: the paper's claim in short.
      seeds: of its trainings.
      arms: one training each per seed.
      claims: with predicates written before the first run.
      config: plain settings that all arms begin with.
      figure: how its figure is drawn, or None.
      minutes: expected for one run, before any is recorded, or None.
      note: what a reader must know beside its numbers ("12 of 200 classes"), or "".
      cost: the measure of what marking costs in accuracy, and its arguments; or `see`, the
        row that measures it in the same training; or None.
    """

    file: str
    variant: str
    row: str
    title: str
    paper: str
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    claims: tuple[Claim, ...]
    config: Mapping[str, Any]
    figure: FigureSpec | None = None
    minutes: float | None = None
    cost: Mapping[str, Any] | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """The name in its settings: of its folder of results."""
        return str(self.config["name"])

    @property
    def has_arms(self) -> bool:
        """Whether its config declares arms (else it has one run per seed, "main")."""
        return [arm.name for arm in self.arms] != [MAIN]

    def arm(self, name: str) -> Arm:
        """The arm of a name.

        Raises:
          ValueError: there is none.
        """
        _check.one_of([arm.name for arm in self.arms], arm=name)
        return next(arm for arm in self.arms if arm.name == name)

    def settings(self, arm: Arm, seed: int) -> lab.Settings:
        """Checked settings of one training.

        An arm that changes what the learner sees is a case of its own, `<name>/<arm>`, unless
        it names its `case`; any other shares the study's case.

        Raises:
          SettingsError: an override names no setting, or its value is impossible.
        """
        plain = json.loads(to_json(self.config))
        plain["case"] = plain.get("case") or self.name
        if not arm.shares_training:
            plain["case"] = f"{self.name}/{arm.name}"
        for path, value in arm.overrides.items():
            _override(plain, path, value)
        plain["seed"] = seed
        try:
            return lab.settings_from_config(plain)
        except SettingsError as error:
            raise SettingsError(f"{self.label(arm.name)}: {error}") from None

    def label(self, arm: str, seed: int | None = None) -> str:
        """A run as messages name it."""
        parts = [self.name] + ([arm] if self.has_arms else [])
        return "/".join(parts) + ("" if seed is None else f"/seed{seed}")

    def result_file(self, arm: str, seed: int) -> str:
        """Where the results of one run stand, below the folder of results."""
        return f"{self.label(arm, seed)}.json"

    def seed_runs(self, seed: int, results: pathlib.Path) -> SeedRuns:
        """The runs of one seed, as far as there are result files.

        Raises:
          ResultError: a file is damaged, belongs to another run, or was made with settings
            that the study no longer has.
        """
        files = {arm.name: self.result_file(arm.name, seed) for arm in self.arms}
        runs = {
            name: self.check_result(name, seed, results)
            for name, file in files.items()
            if (results / file).is_file()
        }
        shown = {arm: f"{results.name}/{file}" for arm, file in files.items()}
        return SeedRuns(shown, runs)

    def check_result(self, arm: str, seed: int, results: pathlib.Path) -> Run:
        """The run in a result file that is there.

        Raises:
          ResultError: as `seed_runs`.
        """
        file = self.result_file(arm, seed)
        run = read_run(results / file, f"{results.name}/{file}")
        _refuse_other_settings(run, self.settings(self.arm(arm), seed))
        return run

    def all_runs(self, results: pathlib.Path) -> list[SeedRuns]:
        """`seed_runs` of every declared seed."""
        return [self.seed_runs(seed, results) for seed in self.seeds]


def _override(plain: dict[str, Any], path: str, value: Any) -> None:
    """Sets a value at a dotted path of plain settings; the settings' own check follows."""
    *parents, last = path.split(".")
    level = plain
    for depth, name in enumerate(parents):
        below = level.get(name)
        if not isinstance(below, dict):
            shown = ".".join(parents[: depth + 1])
            raise SettingsError(f"override {path!r}: {shown} is no group of settings")
        level = below
    if value is None and len(parents) == 1 and parents[0] in _REMOVABLE:
        level.pop(last, None)
    else:
        level[last] = json.loads(to_json(value))


def _refuse_other_settings(run: Run, settings: lab.Settings) -> None:
    """Results of other settings than the study's are no results of the study.

    Of settings only those that both know are compared: those added since have their defaults.
    A user, an attack, a suspect or a parameter that only one of them names is a difference.
    """
    now = dict(_flat(_with_names(json.loads(to_json(settings.to_dict())))))
    before = dict(_flat(_with_names(run.at("settings"))))
    changed = [path for path in now if path in before and now[path] != before[path]]
    if changed:
        path = changed[0]
        raise ResultError(
            f"{run.file} was made with {path} {before[path]!r}, the study now has "
            f"{now[path]!r}: remove the file and run again"
        )


def _with_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with what is named freely as a list of names, and parameters as one value."""
    full = dict(settings)
    for kind in _REMOVABLE:
        entries = dict(full.get(kind) or {})
        full[kind] = {"*": sorted(entries)}
        for name, entry in entries.items():
            given = sorted((entry.get("parameters") or {}).items())
            full[kind][name] = {**entry, "parameters": [list(pair) for pair in given]}
    return full


def _flat(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(path, value)]
    return [
        pair
        for name, item in value.items()
        for pair in _flat(item, f"{path}.{name}" if path else name)
    ]


def load_study(file: str | pathlib.Path, variant: str = "paper") -> Study:
    """Loads the study of a config file.

    Args:
      file: `experiments/<name>.py`.
      variant: "paper" or "quick".

    Raises:
      SettingsError: no such file, no study in it, or a mistake in it; one line that names
        file and field.
    """
    file = pathlib.Path(file)
    _check.one_of(VARIANTS, variant=variant)
    settings, study = lab_config.split_study(lab_config.load_config(f"{file}:{variant}"))
    if study is None:
        raise SettingsError(f"{file} has no study: get_config returns settings alone")
    try:
        return _study_of(file.stem, variant, settings, study)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{file}: study: {error}") from None


def _study_of(
    file: str, variant: str, settings: Mapping[str, Any], values: Mapping[str, Any]
) -> Study:
    for name in values:
        _check.one_of(_FIELDS, field=name)
    missing = [name for name in _NEEDED if name not in values]
    if missing:
        raise ValueError(f"needs {', '.join(missing)}")
    for name in ("row", "title", "paper", "note"):
        _check.is_instance(str, **{name: values.get(name, "")})
    return Study(
        file,
        variant,
        **{name: values[name] for name in ("row", "title", "paper")},
        seeds=_seeds(values["seeds"]),
        arms=_arms(values.get("arms") or {MAIN: {}}),
        claims=_claims(values["claims"]),
        config=settings,
        figure=_figure(values.get("figure")),
        minutes=_minutes(values.get("minutes"), variant),
        cost=_cost(values.get("cost")),
        note=values.get("note", ""),
    )


def _minutes(expected: float | Mapping[str, float] | None, variant: str) -> float | None:
    """Expected minutes: by variant, or one number for quick runs on two cores."""
    by_variant = expected if isinstance(expected, Mapping) else {"quick": expected}
    for name in by_variant:
        _check.one_of(VARIANTS, minutes=name)
    found = by_variant.get(variant)
    return None if found is None else _check.positive(minutes=found)


def _figure(values: Mapping[str, Any] | None) -> FigureSpec | None:
    try:
        return None if values is None else FigureSpec.of(values)
    except ValueError as error:
        raise ValueError(f"figure: {error}") from None


def _cost(values: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if values is not None and set(values) == {"see"}:
        _check.is_instance(str, see=values["see"])
    elif values is not None:
        try:
            measures.check_call(values.get("measure", ""), values.get("arguments") or {})
        except ValueError as error:
            raise ValueError(f"cost: {error}") from None
    return values


def _seeds(values: Sequence[int]) -> tuple[int, ...]:
    seeds = tuple(_check.integer_at_least(0, seeds=seed) for seed in values)
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must be distinct and at least one, got {values!r}")
    return seeds


def _arms(values: Mapping[str, Mapping[str, Any]]) -> tuple[Arm, ...]:
    for name in values:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            raise ValueError(f"arms: the name {name!r} must be letters, digits, _, . and -")
    return tuple(Arm(name, dict(overrides)) for name, overrides in values.items())


def _claims(values: Sequence[Mapping[str, Any]]) -> tuple[Claim, ...]:
    if not values:
        raise ValueError("claims must hold at least one claim")
    claims = []
    for number, given in enumerate(values):
        given = {("text" if name == "claim" else name): value for name, value in given.items()}
        try:
            claims.append(Claim.of(given))
        except (TypeError, ValueError) as error:
            raise ValueError(f"claims[{number}]: {error}") from None
    return tuple(claims)


def study_names(folder: str | pathlib.Path = "experiments") -> tuple[str, ...]:
    """The studies of a folder in the order of its `studies.txt`: the order of the plan.

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
    """Loads the studies of a folder, in the order of the plan.

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


def unlisted_studies(folder: str | pathlib.Path = "experiments") -> list[str]:
    """Config files that hold a study but do not stand in `studies.txt`."""
    listed = study_names(folder)
    files = sorted(pathlib.Path(folder).glob("*.py"))
    # What configs share stands in a file beside them, which is no config.
    others = [
        file
        for file in files
        if file.stem not in listed and "def get_config(" in file.read_text(encoding="utf-8")
    ]
    return [
        file.stem
        for file in others
        if lab_config.split_study(lab_config.load_config(str(file)))[1] is not None
    ]
