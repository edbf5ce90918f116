"""Fill and seal every table of a sealed case, before any key is opened."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from anw_jax import _files, _json, progress
from anw_jax.audit import references, refusals
from anw_jax.audit.batches import Like, queries_of, query_batch
from anw_jax.audit.case import FORMATS, Case
from anw_jax.audit.declare import check_unchanged
from anw_jax.audit.files import check_same, digest_of, read_arrays
from anw_jax.audit.suspect_file import MakerFn
from anw_jax.errors import CaseError, ChangedFileError
from anw_jax.keys import Manifest
from anw_jax.stats.bounds import confidence
from anw_jax.verify import check_jax, infer_signatures, seal


def seal_case(
    case: Case,
    *,
    budget: int | None = None,
    on_progress: progress.ReportFn = progress.silent_parts,
    makers: dict[str, MakerFn] | None = None,
) -> dict[str, Any]:
    """Query every suspect about every photo, and write `tables/` and `blind.json`.

    May be killed at any moment: the next call starts from the answers on disk. Once
    `blind.json` is written, nothing is queried again. No key is needed.

    Args:
      case: declared, with plans whose mode is "sealed".
      budget: more queries of each suspect than were declared; it changes no answer.
      on_progress: maps a model's name to a function of (pairs done, pairs in all).
      makers: further kinds of suspects.

    Returns:
      The blind result.

    Raises:
      CaseError: not declared, or anything was changed since.
      BudgetError: the budget is spent; what was answered is kept.
      SuspectError: as the suspects.
    """
    declared = check_unchanged(case)
    if case.has("blind.json"):
        return read_blind(case)[0]
    budget = declared.body.get("budget") if budget is None else budget
    results = {}
    for name in case.suspects:
        rule, said = declared.rule(name), declared.body["suspects"][name]
        with query_batch(declared, name, budget=budget, makers=makers) as (batch, cache):
            tables = dict(
                zip(case.owners, batch.tables(rule.saving, on_progress(name)), strict=True)
            )
            queries = queries_of(declared, name, cache)
            counts = {o: refusals.sealed_counts(batch, i) for i, o in enumerate(case.owners)}
            like = Like(name, batch.own_labels())
        others, seals = references.fill(declared, like, budget, makers, on_progress)
        _files.write_npz(case.table_file(name), tables)
        units = {
            owner: (one.published.manifest, one.published.plan.statistic_of(rule))
            for owner, one in case.owners.items()
        }
        results[name] = queries | {
            "declaration": said["declaration"],
            "declaration_digest": said["declaration_digest"],
            **sealed_tables(case.table_file(name), tables, units, others),
            **({"references": seals} if seals else {}),
        }
        for owner, count in counts.items():
            results[name]["owners"][owner]["unusable"] = count
    body = {
        "format": FORMATS["blind.json"],
        "previous": case.digest("declared.json"),
        "budget": budget,
        "jax": check_jax(),
        "suspects": results,
        **({"references": references.queries(declared)} if case.references else {}),
    }
    _json.write(case.file("blind.json"), body)
    return body


def sealed_tables(
    file: pathlib.Path,
    tables: Mapping[str, np.ndarray],
    units: Mapping[str, tuple[Manifest, str]],
    others: references.Tables | None = None,
) -> dict[str, Any]:
    """Seal the tables of one suspect: digest them, and infer what needs no key.

    Args:
      file: the written file that holds the tables.
      tables: float32 `[n, num_slots]` nats of each owner, as they will be tested.
      units: each owner's manifest and declared statistic.
      others: tables of reference models, by name, by owner.

    Returns:
      Plain values: "file", its SHA-256; and "owners", by name: the digest of the table
      ("table"), and slots, degrees and confidence of each unit.
    """
    return {
        "file": digest_of(file),
        "owners": {
            name: _blind(table, *units[name], _tables_of(name, others or {}))
            for name, table in tables.items()
        },
    }


def open_sealed(
    file: pathlib.Path,
    sealed: Mapping[str, Any],
    named_by: str,
    read: Callable[[pathlib.Path], dict[str, np.ndarray]] = read_arrays,
) -> dict[str, np.ndarray]:
    """Read the tables of a seal, and refuse others.

    Args:
      file: the file that holds the tables.
      sealed: what `sealed_tables` returned.
      named_by: the file that holds the seal, for messages.
      read: reads each owner's table from the file.

    Raises:
      CaseError: the file is missing.
      ChangedFileError: it was changed, or lacks an owner's table.
    """
    check_same(file, sealed.get("file", ""), named_by)
    tables = read(file)
    for owner, blind in sealed["owners"].items():
        table = tables.get(owner)
        if table is None or seal(table) != blind["table"]:
            raise ChangedFileError(
                f"{file} is not the table that was sealed (owner {owner!r}): restore the file; "
                "a sealed table is not filled again"
            )
    return tables


def _tables_of(owner: str, others: references.Tables) -> list[np.ndarray]:
    return [one[owner] for one in others.values() if owner in one]


def _blind(
    table: np.ndarray, manifest: Manifest, statistic: str, others: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Infer what needs no key, one entry for each unit."""
    slots = infer_signatures(table, manifest, others)
    lead = confidence(table, manifest.units, statistic, others)
    return {
        "table": seal(table),
        "inferred_slots": slots.tolist(),
        "inferred_degrees": manifest.space.degrees[slots].tolist(),
        "confidence": [round(float(value), 9) for value in lead],
        "num_unusable": int((lead < 0).sum()),
    }


def read_blind(case: Case) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    """Read the blind result and its tables, by suspect and owner, as they were sealed.

    Raises:
      CaseError: there is none yet.
      ChangedFileError: a file was changed since.
    """
    body, tables = read_sealed(case, case.table_file, "tables")
    for name, result in body["suspects"].items():
        case.check_answers(name, result.get("answers", ""), "blind.json")
    return body, tables


def read_sealed(
    case: Case, file_of: Callable[[str], pathlib.Path], what: str
) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    """Read `blind.json` and what it seals, by suspect and owner.

    Args:
      case: with sealed arrays.
      file_of: from a suspect to the file with one array for each owner.
      what: the name of these arrays, for messages.

    Raises:
      CaseError: there is none yet.
      ChangedFileError: a file was changed since.
    """
    if not case.has("blind.json"):
        raise CaseError(
            f"{case.file('blind.json')} is not there: the {what} are sealed before any key is "
            "opened (anw audit)"
        )
    body, found = case.check_link("blind.json", "declared.json"), {}
    # Without one of the tables, the correction for the others would be too small.
    names = {name: sorted(result["owners"]) for name, result in body["suspects"].items()}
    if names != dict.fromkeys(case.suspects, sorted(case.owners)):
        raise ChangedFileError(
            f"{case.file('blind.json')} does not hold the {what} of each owner and suspect "
            "that were declared: restore the file"
        )
    for name, result in body["suspects"].items():
        found[name] = open_sealed(file_of(name), result, "blind.json")
    return body, found
