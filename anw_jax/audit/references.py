"""Reference models of a case: they calibrate every suspect, and are asked the same questions.

A case may hold `references/<name>.toml`. All of them are used for all suspects, so nobody can
choose them by their results. Only one that a plan names may be left out, where it cannot be
used: this is declared before the first query (`reference_checks.references_left_out`), and
counts as a choice. For each suspect a reference is queried by that suspect's rule: the same
candidates, views and class numbers, and public seeds.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from anw_jax import _files, progress
from anw_jax.audit.batches import Like, queries_of, query_batch, stored_batch
from anw_jax.audit.case import REFERENCES
from anw_jax.audit.declared import Declared
from anw_jax.audit.files import check_same, digest_of, read_arrays
from anw_jax.audit.statements import CaseStatements
from anw_jax.audit.suspect_file import MakerFn
from anw_jax.errors import ChangedFileError
from anw_jax.stats import unit_losses
from anw_jax.suspects import AnswerCache
from anw_jax.verify import LeftOut, Reference, seal

# Tables of the references, by reference, by each owner for whom it is used: float32
# `[n, num_slots]` nats.
Tables = dict[str, dict[str, np.ndarray]]


def fill(
    declared: Declared,
    like: Like,
    budget: int | None,
    makers: dict[str, MakerFn] | None,
    on_progress: progress.ReportFn = progress.silent_parts,
) -> tuple[Tables, dict[str, Any]]:
    """Query every reference about what one suspect was asked, and write the tables.

    Returns:
      The tables, and their seals for `blind.json`.

    Raises:
      BudgetError, SuspectError: as the queries.
    """
    case, tables, seals = declared.case, {}, {}
    for name in declared.references_of(like.suspect):
        model = f"{REFERENCES}{name}"
        opened = query_batch(declared, model, budget=budget, makers=makers, like=like)
        with opened as (batch, _):
            saving = declared.rule(like.suspect).saving
            filled = batch.tables(saving, on_progress(f"{model} for {like.suspect}"))
        pairs = zip(case.owners, filled, strict=True)
        used = declared.owners_of(name, like.suspect)
        tables[name] = {owner: table for owner, table in pairs if owner in used}
        file = case.table_file(f"{model}/{like.suspect}")
        _files.write_npz(file, tables[name])
        seals[name] = {
            "file": digest_of(file),
            "owners": {
                owner: {
                    "table": seal(table),
                    "num_unusable": _num_unusable(table, case.owners[owner]),
                }
                for owner, table in tables[name].items()
            },
        }
    return tables, seals


def _num_unusable(table: np.ndarray, owner: Any) -> int:
    losses = unit_losses(table, owner.published.manifest.units)
    return int(np.isnan(losses[:, 0]).sum())


def queries(declared: Declared) -> dict[str, Any]:
    """Count the queries to each reference so far; a digest names its answers."""
    counts = {}
    for name in declared.case.references:
        model = f"{REFERENCES}{name}"
        file, declaration = declared.case.answers_file(model), declared.declaration(model)
        with AnswerCache(file, declaration) as cache:
            counts[name] = queries_of(declared, model, cache)
    return counts


def read(declared: Declared, blind: Mapping[str, Any], suspect: str) -> Tables:
    """Read the sealed tables of all references for one suspect.

    Args:
      declared: of a case with sealed tables.
      blind: the content of `blind.json`.
      suspect: name.

    Raises:
      ChangedFileError: a file was changed since, or one is missing in the seal.
    """
    case, used = declared.case, declared.references_of(suspect)
    seals = blind["suspects"][suspect].get("references") or {}
    counts = blind.get("references") or {}
    if sorted(seals) != sorted(used) or sorted(counts) != sorted(case.references):
        raise ChangedFileError(
            f"{case.file('blind.json')} does not hold the tables of the references that were "
            "declared: restore the file"
        )
    tables: Tables = {}
    for name, sealed in seals.items():
        model = f"{REFERENCES}{name}"
        case.check_answers(model, counts[name]["answers"], "blind.json")
        file = case.table_file(f"{model}/{suspect}")
        check_same(file, sealed["file"], "blind.json")
        tables[name] = read_arrays(file)
        for owner in declared.owners_of(name, suspect):
            table, written = tables[name].get(owner), sealed["owners"].get(owner, {})
            if table is None or seal(table) != written.get("table"):
                raise ChangedFileError(
                    f"{file} is not the table that was sealed (owner {owner!r}): restore the "
                    "file; a sealed table is not filled again"
                )
    return tables


def of_owner(
    declared: Declared,
    statements: CaseStatements,
    blind: Mapping[str, Any],
    tables: Tables,
    suspect: str,
    owner: str,
) -> list[Reference]:
    """Gather what a verdict needs of each reference used, for one owner and suspect."""
    seals, found = blind["suspects"][suspect].get("references") or {}, []
    for name in declared.references_of(suspect):
        if owner not in declared.owners_of(name, suspect):
            continue
        said = declared.said(f"{REFERENCES}{name}")
        found.append(
            Reference(
                name,
                said["declaration_digest"],
                tables[name][owner],
                sealed_digest=seals[name]["owners"][owner]["table"],
                runs_code=said.get("runs_code", True),
                **statements.references[name],
            )
        )
    return found


def left_out_of(
    declared: Declared, statements: CaseStatements, suspect: str, owner: str
) -> list[LeftOut]:
    """Say why references of one owner's plan do not calibrate a suspect."""
    case = declared.case
    name_of = {
        declared.said(f"{REFERENCES}{name}")["declaration_digest"]: name
        for name in case.references
    }
    found, used = [], declared.digests_used(suspect, owner)
    for digest in case.owners[owner].published.plan.references:
        name, said = name_of.get(digest), statements.left_out[digest]
        if digest in used:
            continue
        declared_why = declared.why_left_out(name, suspect, owner) if name else ""
        why = "; ".join(text for text in (declared_why, said["why"]) if text)
        found.append(LeftOut(digest, why, said["chosen_blind"]))
    return found


def lines_of_others(declared: Declared, suspect: str, owner: str) -> list[str]:
    """Say which references of the case another owner's plan names, and this owner's test lacks.

    Those of the owner's own plan are conditions or lines of the verdict itself.
    """
    planned, lines = declared.case.owners[owner].published.plan.references, []
    for name in declared.case.references:
        digest = declared.said(f"{REFERENCES}{name}")["declaration_digest"]
        why = declared.why_left_out(name, suspect, owner)
        if why and digest not in planned:
            lines.append(f"reference {name!r}, of another owner's plan, was not used: {why}")
    return lines


def sealed_tables(blind: Mapping[str, Any], name: str) -> dict[str, dict[str, str]]:
    """Return the digests of one reference's tables, by suspect, by owner."""
    return {
        suspect: {
            owner: one["table"] for owner, one in result["references"][name]["owners"].items()
        }
        for suspect, result in blind["suspects"].items()
        if name in (result.get("references") or {})
    }


def check_replayed(declared: Declared, blind: Mapping[str, Any], like: Like) -> int:
    """Compare each sealed table with the stored answers; return the number of rows.

    Raises:
      ChangedFileError: they differ.
    """
    num_rows, case = 0, declared.case
    seals = blind["suspects"][like.suspect].get("references") or {}
    for name in declared.references_of(like.suspect):
        with stored_batch(declared, f"{REFERENCES}{name}", like) as batch:
            tables = batch.tables(declared.rule(like.suspect).saving)
        used = declared.owners_of(name, like.suspect)
        for owner, table in zip(case.owners, tables, strict=True):
            if owner not in used:
                continue
            if seal(table) != seals[name]["owners"][owner]["table"]:
                raise ChangedFileError(
                    f"the sealed table of {owner!r} before reference {name!r} is not what the "
                    "answers give: one of the two was edited"
                )
            num_rows += len(table)
    return num_rows
