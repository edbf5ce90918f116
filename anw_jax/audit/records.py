"""Where a sequential case keeps its records, and to what they are bound."""

import pathlib
from typing import Any

from anw_jax import _files, _json
from anw_jax.audit.case import Case, Owner
from anw_jax.audit.corrections import level_of_record
from anw_jax.audit.declared import beacon_of
from anw_jax.audit.files import check_same, digest_of, read_bytes
from anw_jax.errors import ChangedFileError, RecordError
from anw_jax.sequential import Lockstep, RecordGroup, SequentialRecord, resume


def record_file(case: Case, owner: str, suspect: str) -> pathlib.Path:
    """The hash-chained record of one owner and suspect."""
    folder = case.file("records")
    if len(case.suspects) == 1:
        return folder / f"{owner}.jsonl"
    return folder / owner / f"{suspect}.jsonl"


def group_of(case: Case, declared: dict[str, Any], suspect: str) -> RecordGroup | None:
    """What a record's header binds; None where it is one test at the plan's own level."""
    num_tests = len(case.owners) * len(case.suspects)
    plan = next(iter(case.owners.values())).published.plan
    highest = level_of_record(plan, len(case.owners), len(case.suspects))
    said = declared.get("sequential") or {}
    level = said.get("level")
    is_level = isinstance(level, float) and 0.0 < level <= highest
    if said.get("num_tests") != num_tests or not is_level:
        raise ChangedFileError(
            f"{case.file('declared.json')} does not declare a level of at most {highest:g} for "
            f"each of {num_tests} tests: declare the audit afresh in another case folder"
        )
    if num_tests == 1 and level == plan.alpha:
        return None
    return RecordGroup(level, suspect, tuple(sorted(case.suspects)))


def fresh(
    case: Case,
    declared: dict[str, Any],
    owner: Owner,
    suspect: str,
    path: pathlib.Path | None = None,
) -> SequentialRecord:
    """A record with nothing but its header, as this case has it."""
    published = owner.published
    return SequentialRecord(
        published.commitment,
        published.manifest,
        published.plan,
        beacon=beacon_of(declared, owner.name),
        path=path,
        about=digest_of(case.file("declared.json")),
        group=group_of(case, declared, suspect),
    )


def take_up(case: Case, declared: dict[str, Any], owner: Owner) -> Lockstep:
    """An owner's records as they were when a process ended, or new ones.

    Raises:
      ChangedFileError: they were begun under another declaration.
      RecordError, CommitmentError: a record breaks the rules, or they do not fit together.
    """
    return Lockstep({name: _record(case, declared, owner, name) for name in case.suspects})


def _record(
    case: Case, declared: dict[str, Any], owner: Owner, suspect: str
) -> SequentialRecord:
    path = record_file(case, owner.name, suspect)
    if path.exists() and b"\n" not in read_bytes(path):
        path.unlink()  # killed while its first line was written
    started = path.with_suffix(".declared")
    if path.exists():
        check_same(
            case.file("declared.json"), read_bytes(started).decode().strip(), started.name
        )
        record = resume(
            path,
            owner.published.manifest,
            owner.published.plan,
            commitment=owner.published.commitment,
            beacon=beacon_of(declared, owner.name),
        )
        check_header(case, declared, owner, suspect, record.lines[0])
        return record
    _files.write_whole(started, digest_of(case.file("declared.json")).encode() + b"\n")
    return fresh(case, declared, owner, suspect, path)


def check_header(
    case: Case, declared: dict[str, Any], owner: Owner, suspect: str, line: str
) -> None:
    """Refuses a record that was begun for anything but this owner, suspect and case.

    Raises:
      RecordError: it was.
    """
    if fresh(case, declared, owner, suspect).lines[0] == line:
        return
    whose = (_json.loads(line).get("joint") or {}).get("suspect", suspect)
    also = "" if whose == suspect else f" (it has the header of {whose!r})"
    raise RecordError(
        f"{record_file(case, owner.name, suspect)} is not the record of {owner.name!r} against "
        f"{suspect!r} in this case{also}: commitment, beacon, level or declaration differ"
    )
