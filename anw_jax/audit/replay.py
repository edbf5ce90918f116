"""Recompute a verdict from its files, and optionally re-query a sample of units."""

import dataclasses
import math
import re
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from anw_jax import _check, _json, progress
from anw_jax.audit import references
from anw_jax.audit.batches import Like, like_suspect, query_batch, stored_batch
from anw_jax.audit.case import REFERENCES, Case, Owner
from anw_jax.audit.declare import check_unchanged
from anw_jax.audit.declared import Declared
from anw_jax.audit.judge import recompute_case
from anw_jax.audit.records import recompute_record, record_bodies
from anw_jax.audit.seal import read_blind
from anw_jax.audit.suspect_file import MakerFn
from anw_jax.errors import CaseError, ChangedFileError
from anw_jax.keys import LeafOpening, MarkKey, leaves_not_from
from anw_jax.verify import seal
from anw_jax.verify.verdict import EVIDENCE

# Numbers of another machine may differ in their last bits.
_TOLERANCE = 1e-9
# Fields of text, which another version of the program may word differently. Only their number
# and whether there are any is compared.
_SENTENCES = frozenset({"text", "sentence", "standing", "stated", "conditions", "reason"})
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
# The number of an entry in a list, such as that of conditions.
_ENTRY = re.compile(r"^ *\d+\. ", re.MULTILINE)
# Answers of the same model on another machine or at another time.
_ANSWER_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class Replayed:
    """What `replay_case` found; any other difference is an error.

    Attributes:
      verdict: recomputed, in the format of `verdict.json`.
      num_rows: rows that were recomputed from the answers on disk.
      num_asked: units queried again.
      num_differing: those of them whose rows differ from what was sealed.
      wording: the first sentence of `verdict.json` that differs in wording only; "" for none.
      foreign_leaves: by owner, units whose opened leaf is not the one that the key gives; None
        where no key was given.
    """

    verdict: dict[str, Any]
    num_rows: int
    num_asked: int
    num_differing: int
    wording: str
    foreign_leaves: dict[str, list[int]] | None


def replay_case(
    case: Case,
    mark_keys: dict[str, MarkKey],
    *,
    ask: float = 0.0,
    makers: dict[str, MakerFn] | None = None,
    on_progress: progress.ReportFn = progress.silent_parts,
) -> Replayed:
    """Recompute a verdict from the files, and compare it with `verdict.json`.

    Rows are computed from the answers, tests from the rows. Nothing is written.

    Args:
      case: with `verdict.json`.
      mark_keys: of each owner of a sealed case; of a sequential one optional, to report leaves
        that do not come from them.
      ask: share of the units to query again, in [0, 1].
      makers: further kinds of suspects.
      on_progress: maps the name of a part of the work to a function of (done, in all), of
        losses or of units.

    Raises:
      CaseError: no verdict yet, or files that are missing.
      ChangedFileError: rows, tests or verdict are not what the files give.
      RecordError, CommitmentError: as the verdict.
    """
    _check.in_interval(0.0, 1.0, ask=ask)
    written, noted = written_verdict(case)
    declared = check_unchanged(case)
    is_sequential = written["mode"] == "sequential"
    if is_sequential:
        verdict = recompute_record(case, {}, blind=noted)
        num_rows = sum(1 for _ in _checked_records(declared, on_progress))
    else:
        verdict = recompute_case(case, mark_keys, blind=noted)
        num_rows = sum(_checked_tables(declared, on_progress))
    wording = check_verdict(case, verdict, written)
    num_asked, num_differing = (0, 0)
    if ask:
        num_asked, num_differing = _query_again(declared, ask, makers, on_progress)
    foreign = None
    if is_sequential and mark_keys:
        foreign = {name: _foreign(case, name, key) for name, key in mark_keys.items()}
    return Replayed(verdict, num_rows, num_asked, num_differing, wording, foreign)


def written_verdict(case: Case) -> tuple[dict[str, Any], str | None]:
    """Read `verdict.json`, and the digest that it says was noted at the audit.

    Raises:
      CaseError: there is no verdict yet.
    """
    if not case.has("verdict.json"):
        raise CaseError(f"{case.file('verdict.json')} is not there: there is nothing to replay")
    written = case.read("verdict.json")
    return written, written["case"]["blind_sha256"] if written.get("blind_compared") else None


def check_verdict(
    case: Case, verdict: dict[str, Any], written: dict[str, Any], *, any_numbers: bool = True
) -> str:
    """Compare a verdict that was computed again with the one that is written.

    Args:
      case: for messages.
      verdict: computed again.
      written: as `written_verdict` read it.
      any_numbers: as for `first_difference`; of photos older sentences have fewer numbers.

    Returns:
      The first sentence that differs in wording only; "" for none.

    Raises:
      ChangedFileError: anything else differs.
    """
    remade = _json.loads(_json.dumps(verdict))
    if difference := first_difference(remade, written, wording=False, any_numbers=any_numbers):
        file = case.file("verdict.json")
        raise ChangedFileError(f"{file} is not what the files give: {difference}")
    return first_difference(remade, written)


def first_difference(
    one: Any,
    other: Any,
    *,
    wording: bool = True,
    any_numbers: bool = True,
    path: tuple[str, ...] = (),
) -> str:
    """Find the first field in which two JSON values differ, up to rounding; "" for none.

    Args:
      one: a verdict computed again, or a part of it.
      other: the same as it is written.
      wording: whether two wordings of one sentence differ. If not, sentences are equal unless
        one is empty; a description (of access or correction) must also hold the same numbers.
      any_numbers: whether even sentences with other numbers are equal then.
      path: names of the fields that lead to this part.

    Example:
      >>> first_difference({"p": [1.0, 2.0]}, {"p": [1.0, 2.5]})
      'p.1 is 2.0, and 2.5 is written'
      >>> first_difference({"reason": "too few"}, {"reason": "few"}, wording=False)
      ''
      >>> first_difference({"reason": "too few"}, {"reason": ""}, wording=False)
      "reason is 'too few', and '' is written"
    """
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        pairs = [(name, one[name], other[name]) for name in one]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [
            (str(number), *pair) for number, pair in enumerate(zip(one, other, strict=True))
        ]
    else:
        same = _equal(one, other) or (not wording and _reworded(one, other, path, any_numbers))
        return "" if same else f"{'.'.join(path)} is {one!r:.80}, and {other!r:.80} is written"
    for name, first, second in pairs:
        how = {"wording": wording, "any_numbers": any_numbers, "path": (*path, name)}
        found = first_difference(first, second, **how)
        if found:
            return found
    return ""


def _equal(one: Any, other: Any) -> bool:
    numbers = all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other)
    )
    return math.isclose(one, other, rel_tol=_TOLERANCE) if numbers else one == other


def _reworded(one: Any, other: Any, path: tuple[str, ...], any_numbers: bool) -> bool:
    """Return whether two texts may be the same sentence, or description, in other words."""
    texts = all(isinstance(value, str) and value for value in (one, other))
    if not (texts and path):
        return False
    field = path[-2] if path[-1].isdigit() and len(path) > 1 else path[-1]
    if field == "standing" and other == EVIDENCE:  # a claim, not a wording
        return False
    if field in _SENTENCES:
        return any_numbers or numbers_in(one) == numbers_in(other)
    is_description = (
        path == ("corrected", "correction")
        or (path[:2] == ("corrected", "texts") and len(path) == 3)
        or (path[:2] == ("case", "suspects") and path[3:] == ("access",))
    )
    return is_description and numbers_in(one) == numbers_in(other)


def numbers_in(text: str) -> list[float]:
    r"""Return the numbers in a text, sorted: another wording may name them in another order.

    The numbers of a list's entries are none of them.

    Example:
      >>> numbers_in("p 4e-12 of 1,000, if\n  1. A\n  2. B")
      [4e-12, 1000.0]
    """
    text = _ENTRY.sub("", text)
    return sorted(float(number.replace(",", "")) for number in _NUMBER.findall(text))


def _checked_tables(declared: Declared, on_progress: progress.ReportFn) -> Iterator[int]:
    """Compare each sealed table with the answers; yield numbers of rows."""
    case = declared.case
    body, _ = read_blind(case)
    for name, result in body["suspects"].items():
        with stored_batch(declared, name) as batch:
            tables = batch.tables(declared.rule(name).saving, on_progress(f"rows of {name}"))
            refused = [batch.unusable(number) for number in range(len(case.owners))]
        if case.references:
            like = like_suspect(declared, name)
            yield references.check_replayed(declared, body, like)
        for owner, table, photos in zip(case.owners, tables, refused, strict=True):
            _check_refused(owner, name, result["owners"][owner].get("unusable"), photos)
            if seal(table) != result["owners"][owner]["table"]:
                raise ChangedFileError(
                    f"the sealed table of {owner!r} before {name!r} is not what the answers "
                    "give: one of the two was edited"
                )
            yield len(table)


def _checked_records(declared: Declared, on_progress: progress.ReportFn) -> Iterator[int]:
    """Compare each written row of each record with the answers; yield its unit."""
    case = declared.case
    closed = case.read("closed.json").get("records") or {}
    for number, owner in enumerate(case.owners):
        for name in case.suspects:
            rows = [b for b in record_bodies(case, owner, name) if b["kind"] == "row"]
            if not rows:
                continue
            report, refused = on_progress(f"rows of {owner} before {name}"), set()
            with stored_batch(declared, name) as batch:
                for done, body in enumerate(rows, 1):
                    row = batch.unit_row(number, body["unit"], declared.rule(name).saving)
                    if not _same(row, body["losses"], _TOLERANCE):
                        raise ChangedFileError(
                            f"the row of unit {body['unit']} of {owner!r} before {name!r} is "
                            "not what the answers give: one of the two was edited"
                        )
                    report(done, len(rows))
                    refused |= set(batch.unusable(number))
                    yield body["unit"]
            count = closed.get(owner, {}).get(name, {}).get("unusable")
            _check_refused(owner, name, count, refused)


def _check_refused(
    owner: str, suspect: str, count: dict[str, Any] | None, photos: Collection[str]
) -> None:
    """Compare how many photos have no usable answer; older files have no such count."""
    if count is not None and count["num_unusable"] != len(photos):
        raise ChangedFileError(
            f"suspect {suspect!r} gave no usable answer to {len(photos)} photos of {owner!r}, "
            f"and {count['num_unusable']} are written: the answers, or the count, were edited"
        )


def _foreign(case: Case, owner: str, mark_key: MarkKey) -> list[int]:
    """Return units of an owner whose opened leaf does not come from the key."""
    published = case.owners[owner].published
    openings = {
        body["opening"]["unit"]: LeafOpening.from_dict(body["opening"])
        for name in case.suspects
        for body in record_bodies(case, owner, name)
        if body["kind"] == "leaf"
    }
    return leaves_not_from(mark_key, published.manifest, published.plan, openings.values())


def _query_again(
    declared: Declared,
    share: float,
    makers: dict[str, MakerFn] | None,
    on_progress: progress.ReportFn,
) -> tuple[int, int]:
    """Query a random share of the units again, and count the rows that differ."""
    num_asked, num_differing, case = 0, 0, declared.case
    rng = np.random.default_rng()
    for model, like in asked_models(declared):
        name = model if like is None else like.suspect
        saving = declared.rule(name).saving
        opened = query_batch(
            declared, model, budget=None, makers=makers, is_kept=False, like=like
        )
        with stored_batch(declared, model, like) as before, opened as (now, _):
            for number, owner in enumerate(case.owners.values()):
                units = _queried_units(case, owner, name)
                size = min(len(units), math.ceil(share * len(units)))
                report = on_progress(f"querying {model} again")
                chosen = rng.choice(units, size, replace=False).tolist()
                for done, unit in enumerate(chosen, 1):
                    rows = [batch.unit_row(number, unit, saving) for batch in (before, now)]
                    num_asked += 1
                    num_differing += not _same(*rows, _ANSWER_TOLERANCE)
                    report(done, size)
    return num_asked, num_differing


def asked_models(declared: Declared) -> Iterator[tuple[str, Like | None]]:
    """Yield each suspect, and each reference with each suspect whose questions it was asked."""
    case = declared.case
    for name in case.suspects:
        yield name, None
        if case.references:
            like = like_suspect(declared, name)
            yield from ((f"{REFERENCES}{reference}", like) for reference in case.references)


def _queried_units(case: Case, owner: Owner, suspect: str) -> list[int]:
    if case.plan.mode != "sequential":
        return list(range(owner.published.manifest.num_units))
    bodies = record_bodies(case, owner.name, suspect)
    return [body["unit"] for body in bodies if body["kind"] == "row"]


def _same(row: Any, written: Any, tolerance: float) -> bool:
    """Compare two rows, NaN with NaN; a record has null for what is not finite."""
    one, other = (np.asarray(values, np.float64) for values in (row, written))
    one, other = (np.where(np.isfinite(values), values, np.nan) for values in (one, other))
    return bool(np.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True))
