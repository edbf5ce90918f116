"""The page of a finished case: one HTML file that needs nothing else."""

import dataclasses
import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np

from anw_jax import __version__, _files, progress
from anw_jax.audit import Case
from anw_jax.audit.case import REFERENCES
from anw_jax.errors import CaseError
from anw_jax.keys.beacons import read_beacon
from anw_jax.report import curves, fed, html, unit_figures
from anw_jax.report.case_reading import CaseRecord, CaseTest, read_case
from anw_jax.report.style import Drawing, drawing
from anw_jax.verify import verdict

NAME = "report.html"
# More figures or rows would make the page heavy; `verdict.json` has all.
MOST_DRAWN = 12
MOST_UNITS = 60


@dataclasses.dataclass(frozen=True, eq=False)
class TestDrawings:
    """The figures of one test; None where there is nothing to show.

    Attributes:
      test: whose.
      curve: mean loss round the circle of hues.
      ranks: ranks of the secret marks.
      null: the null distribution of a sealed test.
      wealth: the wealth of a sequential test.
    """

    __test__ = False  # for pytest: not a test class

    test: CaseTest
    curve: Drawing | None
    ranks: Drawing | None
    null: Drawing | None
    wealth: Drawing | None


def write_case_report(
    case: Case,
    out: str | os.PathLike | None = None,
    *,
    with_photos: bool = True,
    on_progress: progress.ProgressFn = progress.silent,
) -> pathlib.Path:
    """Write the page of a finished case.

    No key is read, nothing is queried, and no file of the case is changed. The page is one
    file: styles and pictures are inside, it has no script and loads nothing.

    Args:
      case: with `verdict.json`.
      out: the file to write; None for `report.html` in the case.
      with_photos: whether to show a few originals and file names.
      on_progress: called with (tests drawn, tests in all).

    Returns:
      The path written.

    Raises:
      CaseError: there is no verdict yet, or the file to write exists.
      ChangedFileError: a file of the case was changed.
      OSError: it cannot be written.
    """
    path = new_page(case, out)
    record = read_case(case)
    drawn = []
    for number, test in enumerate(record.tests[:MOST_DRAWN]):
        drawn.append(_draw(test, record.verdict["mode"]))
        on_progress(number + 1, min(len(record.tests), MOST_DRAWN))
    return write_page(path, html.page("case.html.j2", **_context(record, drawn, with_photos)))


def new_page(case: Case, out: str | os.PathLike | None) -> pathlib.Path:
    """Return where the page of a case goes: a new file.

    Raises:
      CaseError: it exists; FileNotFoundError, ValueError: as `_files.check_new`.
    """
    path = case.file(NAME) if out is None else pathlib.Path(out)
    if path.exists():
        raise CaseError(f"{path} already exists: name another file, or remove it")
    _files.check_new(path)
    return path


def write_page(path: pathlib.Path, page: str) -> pathlib.Path:
    """Write a page into a new file, and return its path.

    Raises:
      CaseError: it exists.
    """
    try:
        _files.write_new(path, page.encode())
    except FileExistsError:
        raise CaseError(f"{path} already exists: name another file, or remove it") from None
    return path


def _draw(test: CaseTest, mode: str) -> TestDrawings:
    rows, user, slug = test.rows, test.user, test.user.slug
    curve = ranks = null = wealth = None
    if test.curve is not None and test.curve.lowest is not None:
        top = curves.upper_limit([test.curve])
        curve = drawing(
            f"loss_{slug}",
            curves.describe_curve(test.curve),
            lambda theme: curves.curve_figure(test.curve, top, theme),
        )
    if rows.num_ranked.sum():
        ranks = drawing(
            f"ranks_{slug}",
            unit_figures.describe_ranks(rows),
            lambda theme: unit_figures.ranks_figure(rows, theme),
        )
    if curves.has_null(user):
        null = drawing(
            f"null_{slug}",
            curves.describe_null(user),
            lambda theme: curves.null_figure(user, theme),
        )
    if mode == "sequential" and len(rows.units):
        alpha = user.numbers["alpha"]
        wealth = drawing(
            f"wealth_{slug}",
            unit_figures.describe_wealth(rows, alpha),
            lambda theme: unit_figures.wealth_figure(rows, alpha, theme),
        )
    return TestDrawings(test, curve, ranks, null, wealth)


def _context(
    record: CaseRecord, drawn: list[TestDrawings], with_photos: bool
) -> dict[str, Any]:
    case, declared = record.case, record.declared
    mode = record.verdict["mode"]
    shown = [t for t in record.tests if not t.is_control]
    fed_by = {}
    if with_photos:
        fed_by = {name: fed.fed_to(case, declared, name) for name in case.suspects}
    return {
        "case": case,
        "verdict": record.verdict,
        "end": record.verdict["corrected"],
        "about": record.verdict["case"],
        "is_sequential": mode == "sequential",
        "before": "closed.json" if mode == "sequential" else "blind.json",
        "tests": shown,
        "controls": [t for t in record.tests if t.is_control],
        "drawn": drawn,
        "not_drawn": len(record.tests) - len(drawn),
        "fed_by": fed_by,
        "owners": {name: _owner(record, name) for name in case.owners},
        "suspects": {name: _suspect(record, name) for name in case.suspects},
        "references": {
            name: declared.said(f"{REFERENCES}{name}")["declaration_digest"]
            for name in case.references
        },
        "digests": digests_of(case),
        "units_of": {t.user.name: _units(t, with_photos) for t in record.tests},
        "most_units": MOST_UNITS,
        "versions": versions(record.sealed.get("jax") or {}),
        "is_evidence": lambda test: verdict.is_evidence(test.user.numbers["standing"]),
        "no_evidence": no_evidence({t.user.name: t.user.numbers for t in shown}),
    }


def _owner(record: CaseRecord, name: str) -> dict[str, Any]:
    published = record.case.owners[name].published
    beacon = published.plan.beacon
    known = read_beacon(beacon) if beacon and published.plan.version > 1 else None
    return {
        "plan": published.plan,
        "manifest": published.manifest,
        "said": record.verdict["case"]["owners"][name],
        "missing": record.declared.body["owners"][name].get("missing", []),
        "beacon_time": f"{known.time:%Y-%m-%d %H:%M:%S} UTC" if known and known.time else "",
    }


def _suspect(record: CaseRecord, name: str) -> dict[str, Any]:
    probed = {}
    if record.case.has("probe.json"):
        probed = record.case.read("probe.json")["suspects"].get(name, {})
    declared = record.declared
    return {
        "kind": record.case.suspects[name].kind,
        "identity": declared.said(name)["declaration"].get("identity", ""),
        "digest": declared.said(name)["declaration_digest"],
        "said": record.verdict["case"]["suspects"][name],
        "num_queries": record.verdict["queries"].get(name),
        "probe": probed,
    }


def digests_of(case: Case) -> dict[str, str]:
    """Return the SHA-256 of the files of the steps, in their order."""
    names = ("probe.json", "declared.json", "blind.json", "closed.json", "statements.toml")
    found = {name: case.digest(name) for name in (*names, "verdict.json")}
    return {name: digest for name, digest in found.items() if digest}


def _units(test: CaseTest, with_photos: bool) -> list[dict[str, Any]]:
    """Return a row of the table of units for each of the first ones."""
    rows, manifest, found = test.rows, test.user.manifest, []
    first = dict(reversed(list(zip(manifest.unit_of_image, manifest.file_names, strict=True))))
    inferred = np.where(
        np.isfinite(rows.losses).all(axis=1),
        np.argmin(np.nan_to_num(rows.losses, nan=np.inf), axis=1) + 1,
        0,
    )
    for place in range(min(len(rows.units), MOST_UNITS)):
        unit = int(rows.units[place])
        found.append(
            {
                "unit": unit,
                "photo": first[unit] if with_photos else "",
                "secret": int(rows.slots[place]),
                "inferred": int(inferred[place]),
                "at_secret": float(rows.at_secret[place]),
                "at_others": float(rows.at_others[place]),
                "rank": int(rows.ranks[place]),
            }
        )
    return found


def versions(recorded: dict[str, Any]) -> dict[str, str]:
    """Return what the queries recorded of their machine, and what this page was made with."""
    found = {f"audit: {name}": str(value) for name, value in recorded.items()}
    here = {
        "anw_jax": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("numpy", "scipy", "jax")},
    }
    return {**found, **{f"this page: {name}": value for name, value in here.items()}}


def no_evidence(tests: Mapping[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Return why what is shown is no evidence whatever holds, with the tests it concerns."""
    concerned: dict[str, list[str]] = {}
    for name, numbers in tests.items():
        standing = numbers["standing"]
        is_bad = not verdict.is_evidence(standing) and not verdict.is_conditional(standing)
        if numbers["outcome"] == "shown" and is_bad:
            concerned.setdefault(standing, []).append(name)
    return concerned
