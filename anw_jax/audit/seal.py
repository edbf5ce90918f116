"""Sealed mode: every table is asked and sealed before any key is opened."""

from collections.abc import Callable
from typing import Any

import numpy as np

from anw_jax import _files, _json, progress
from anw_jax.audit import refusals
from anw_jax.audit.case import FORMATS, Case, Owner
from anw_jax.audit.declare import check_unchanged, rule_of
from anw_jax.audit.files import check_same, digest_of, read_arrays
from anw_jax.audit.query import asked, queries_of
from anw_jax.audit.suspect_file import MakerFn
from anw_jax.errors import CaseError, ChangedFileError
from anw_jax.keys import AccessRule
from anw_jax.stats.bounds import confidence
from anw_jax.verify import check_jax, infer_signatures, seal

ReportFn = Callable[[str], progress.ProgressFn]


def seal_case(
    case: Case,
    *,
    budget: int | None = None,
    on_progress: ReportFn = lambda name: progress.silent,
    makers: dict[str, MakerFn] | None = None,
) -> dict[str, Any]:
    """Asks every suspect about every photo, and writes `tables/` and `blind.json`.

    May be killed at any moment: called again it takes up every answer that is there. Once
    `blind.json` stands, nothing is asked again. No key comes in here.

    Args:
      case: declared, with plans whose mode is "sealed".
      budget: more queries of each suspect than were declared; it changes no answer.
      on_progress: maps a suspect's name to a function of (pairs done, pairs in all).
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
    budget = declared.get("budget") if budget is None else budget
    results = {}
    for name in case.suspects:
        with asked(case, declared, name, budget=budget, makers=makers) as (panel, cache):
            tables = _tables(panel, rule_of(declared, name).saving, on_progress(name))
            results[name] = queries_of(case, cache, declared, name)
            counts = {o: refusals.sealed_counts(panel, i) for i, o in enumerate(case.owners)}
        owners = dict(zip(case.owners, tables, strict=True))
        _files.write_npz(case.table_file(name), owners)
        results[name] |= {
            "file": digest_of(case.table_file(name)),
            "declaration": declared["suspects"][name]["declaration"],
            "declaration_digest": declared["suspects"][name]["declaration_digest"],
            "owners": {
                o: _blind(case.owners[o], table, rule_of(declared, name))
                | {"unusable": counts[o]}
                for o, table in owners.items()
            },
        }
    body = {
        "format": FORMATS["blind.json"],
        "previous": case.digest("declared.json"),
        "budget": budget,
        "jax": check_jax(),
        "suspects": results,
    }
    _json.write(case.file("blind.json"), body)
    return body


def _tables(panel, saving, on_progress) -> list[np.ndarray]:
    if saving is None:
        return panel.full_tables(on_progress)
    return panel.saving_tables(*saving, on_progress)


def _blind(owner: Owner, table: np.ndarray, rule: AccessRule) -> dict[str, Any]:
    """What is inferred without the key, one entry for each unit."""
    manifest, statistic = owner.published.manifest, owner.published.plan.statistic_of(rule)
    slots = infer_signatures(table, manifest)
    ahead = confidence(table, manifest.units, statistic)
    return {
        "table": seal(table),
        "inferred_slots": slots.tolist(),
        "inferred_degrees": manifest.space.degrees[slots].tolist(),
        "confidence": [round(float(value), 9) for value in ahead],
        "num_unusable": int((ahead < 0).sum()),
    }


def _check_all_are_there(case: Case, body: dict[str, Any]) -> None:
    """A table that was left out would make the correction for the others too small."""
    for name in case.suspects:
        owners = body["suspects"].get(name, {}).get("owners", {})
        if sorted(owners) != sorted(case.owners) or len(body["suspects"]) != len(case.suspects):
            raise ChangedFileError(
                f"{case.file('blind.json')} does not hold one table for each owner and suspect "
                "that were declared: restore the file"
            )


def read_blind(case: Case) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    """The blind result and its tables, by suspect and owner, as they were sealed.

    Raises:
      CaseError: there is none yet.
      ChangedFileError: a file was changed since.
    """
    if not case.has("blind.json"):
        raise CaseError(
            f"{case.file('blind.json')} is not there: the tables are sealed before any key is "
            "opened (anw audit)"
        )
    body, tables = case.check_link("blind.json", "declared.json"), {}
    _check_all_are_there(case, body)
    for name, result in body["suspects"].items():
        if not case.answers_file(name).exists():
            raise ChangedFileError(
                f"{case.answers_file(name)} is gone: without the answers nobody can tell "
                "whether the table is theirs; restore the file"
            )
        check_same(case.answers_file(name), result.get("answers", ""), "blind.json")
        check_same(case.table_file(name), result.get("file", ""), "blind.json")
        tables[name] = read_arrays(case.table_file(name))
        for owner, blind in result["owners"].items():
            table = tables[name].get(owner)
            if table is None or seal(table) != blind["table"]:
                raise ChangedFileError(
                    f"{case.table_file(name)} is not the table that was sealed (owner "
                    f"{owner!r}): restore the file; a sealed table is not asked again"
                )
    return body, tables
