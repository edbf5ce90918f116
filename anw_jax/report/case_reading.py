"""Read a finished case: its verdict, and the losses that each test was made from."""

import dataclasses
import math
import warnings
from typing import Any

import numpy as np

from anw_jax import stats
from anw_jax.audit import Case, references
from anw_jax.audit.declare import check_unchanged
from anw_jax.audit.declared import Declared
from anw_jax.audit.published import Published
from anw_jax.audit.records import record_lines
from anw_jax.audit.seal import read_blind
from anw_jax.errors import CaseError, ChangedFileError
from anw_jax.report.curves import Curve
from anw_jax.report.reading import UserRecord
from anw_jax.report.unit_figures import UnitRows
from anw_jax.sequential import read_record

# Marks whose slots are angles of equal steps round the circle.
_ANGLES = ("hue_rotation", "user_lct")


@dataclasses.dataclass(frozen=True, eq=False)
class CaseTest:
    """The test of one owner against one suspect.

    Attributes:
      owner: name.
      suspect: name.
      is_control: whether the suspect is a control, which is not accused.
      user: the numbers of the test, as the figures of a run take them.
      rows: the units' losses and slots.
      curve: the mean loss round the circle, for marks that are angles; else None.
    """

    owner: str
    suspect: str
    is_control: bool
    user: UserRecord
    rows: UnitRows
    curve: Curve | None


@dataclasses.dataclass(frozen=True, eq=False)
class CaseRecord:
    """A finished case.

    Attributes:
      case: the folder.
      declared: `declared.json`.
      verdict: `verdict.json`.
      sealed: `blind.json` or `closed.json`.
      tests: suspects first, then controls.
    """

    case: Case
    declared: Declared
    verdict: dict[str, Any]
    sealed: dict[str, Any]
    tests: tuple[CaseTest, ...]


def read_case(case: Case) -> CaseRecord:
    """Read a case, and check that its files are those that the verdict names.

    Raises:
      CaseError: a case of models, there is no verdict yet, or a file is damaged.
      ChangedFileError: a file was changed since.
    """
    case.check_is_of_photos()
    if not case.has("verdict.json"):
        raise CaseError(
            f"{case.file('verdict.json')} is not there: the audit is not finished (anw verdict)"
        )
    declared, mode = check_unchanged(case), case.read("verdict.json")["mode"]
    before = "closed.json" if mode == "sequential" else "blind.json"
    verdict = case.check_link("verdict.json", before)
    tests = []
    if mode == "sequential":
        sealed, tables = case.check_link(before, "declared.json"), {}
    else:
        sealed, tables = read_blind(case)
    for is_control, group in ((False, "tests"), (True, "controls")):
        for owner, by_name in verdict.get(group, {}).items():
            for suspect, test in by_name.items():
                data = (sealed, tables, verdict["corrected"])
                tests.append(_test(declared, *data, owner, suspect, test, is_control))
    if {(t.owner, t.suspect) for t in tests} != {
        (o, s) for o in case.owners for s in case.suspects
    }:
        raise ChangedFileError(
            f"{case.file('verdict.json')} does not hold one test for each owner and suspect"
        )
    return CaseRecord(case, declared, verdict, sealed, tuple(tests))


def _test(declared, sealed, tables, end, owner, suspect, test, is_control) -> CaseTest:
    case = declared.case
    published = case.owners[owner].published
    manifest, plan = published.manifest, published.plan
    null = None
    if plan.mode == "sequential":
        rows, table = _rows_of_record(case, owner, suspect), None
    else:
        table = np.asarray(tables[suspect][owner], np.float64)
        slots = np.asarray(test["true_slots"], np.int64)
        losses = stats.unit_losses(table, manifest.units)
        rows = UnitRows(np.arange(manifest.num_units), losses, slots)
        null = _null(declared, sealed, owner, suspect, table)
    user = UserRecord(
        name=f"{owner} against {suspect}",
        slug=f"{owner}_{suspect}",
        numbers=_numbers(published, test, end),
        space=manifest.space,
        refinement=1,
        table=table,
        seal=None,
        null=null,
        original=None,
        published=None,
        manifest=manifest,
        commitment_time=None,
    )
    is_angle = plan.mark.startswith(_ANGLES) and table is not None
    curve = (
        _curve(table, rows.slots[np.asarray(manifest.unit_of_image)], user)
        if is_angle
        else None
    )
    return CaseTest(owner, suspect, is_control, user, rows, curve)


def _numbers(published: Published, test: dict[str, Any], end: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a test, as the result file of a run has them."""
    level = end["level"] or test["alpha"]
    return {
        "num_unusable": 0,  # a sequential result does not count them
        **test,
        "alpha": level,
        "level_gloss": level_gloss(level, published.plan.alpha, end["num_tests"]),
        "kind": "marked",
        "scheme": published.manifest.scheme,
        "num_images": published.manifest.num_images,
        "commitment": published.commitment,
        "bits": abs(test["log10_p"]) * math.log2(10.0),
    }


def level_gloss(level: float, committed: float, num_tests: int) -> str:
    """Say where the level of a test comes from."""
    if level == committed:
        return "committed to before training"
    return f"the committed {committed:g}, corrected for {num_tests} tests"


def _null(declared: Declared, sealed, owner: str, suspect: str, table: np.ndarray):
    published = declared.case.owners[owner].published
    others = references.read(declared, sealed, suspect)
    used = [one[owner] for name, one in others.items() if owner in one]
    statistic = published.plan.statistic_of(declared.rule(suspect))
    return stats.null_shape(table, published.manifest.units, statistic, used)


def _rows_of_record(case: Case, owner: str, suspect: str) -> UnitRows:
    """Read the units that were opened, with the wealth of the bets on them."""
    published = case.owners[owner].published
    num_valid = published.manifest.space.num_valid
    lines = record_lines(case, owner, suspect)
    opened = read_record(
        lines, published.manifest, published.plan, commitment=published.commitment
    ).opened
    losses = [_of_unit(one.losses.reshape(-1, num_valid)) for one in opened]
    return UnitRows(
        np.array([one.unit for one in opened], np.int64),
        np.array(losses, np.float64).reshape(-1, num_valid),
        np.array([one.slot for one in opened], np.int64),
        np.array([one.log_wealth for one in opened], np.float64),
    )


def _of_unit(rows: np.ndarray) -> np.ndarray:
    """Return the sum of a unit's usable rows `[k, N - 1]`; NaN if there are none."""
    usable = np.isfinite(rows).all(axis=1)
    return rows[usable].sum(axis=0) if usable.any() else np.full(rows.shape[1], np.nan)


def _curve(table: np.ndarray, slots: np.ndarray, user: UserRecord) -> Curve:
    """Return the mean loss round the circle; each photo's secret slot is at 0 degrees.

    The unmarked slot is not queried, and lies elsewhere for each photo.
    """
    num = user.space.num_slots
    offsets = np.arange(num) - num // 2
    aligned = np.take_along_axis(table, (slots[:, None] + offsets) % num, axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns without any answer
        mean, spread = np.nanmean(aligned, axis=0), np.nanstd(aligned, axis=0)
    count = np.maximum(1, np.isfinite(aligned).sum(axis=0))
    degrees = offsets * (360.0 / num)
    return Curve(degrees, mean, spread / np.sqrt(count), True, float(user.space.tau_degrees))
