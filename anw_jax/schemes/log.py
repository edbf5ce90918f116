"""The public log of a model's owners and judges: signed, hash-linked files.

Each record is one JSON file, `0001.json` and so on (`10000.json` after `9999.json`), with the
SHA-256 of the file before it and an Ed25519 signature of its author over all its other fields.
Nobody can change, insert or drop a record without breaking the chain, but for the last ones:
whoever holds a later record can show that they were cut off (`check_held`).
A record is written under its number only if no other has it, so several processes may append.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from anw_jax import _files, _json
from anw_jax.audit.signatures import public_key_of, sign_bytes, verify_bytes
from anw_jax.errors import CaseError, RecordError

KINDS = (
    *("open", "publish", "seen", "release", "claim", "vote"),
    *("setup", "issue", "accept", "dispute", "extract", "verdict"),
)

_FORMAT = "anw_jax model log, version 1"
_FIELDS = {"format", "number", "previous", "kind", "author", "body", "signature"}
_MOST_BYTES = 2**24
_TRIES = 1_000
# At least so many in a file's name; from 10,000 on there are more.
_DIGITS = 4


@dataclasses.dataclass(frozen=True)
class Record:
    """One record of a log, verified.

    Attributes:
      number: from 1.
      kind: one of `KINDS`.
      author: public key, 64 hex digits.
      body: what the record says.
      digest: SHA-256 of its file, as hex.
    """

    number: int
    kind: str
    author: str
    body: dict[str, Any]
    digest: str


def read_log(folder: pathlib.Path) -> list[Record]:
    """Read and verify a whole log.

    Raises:
      RecordError: a gap, a broken link, a damaged record or a wrong signature; names the file.
      MissingLibraryError: the extra 'stamp' is not installed.
    """
    records: list[Record] = []
    for path in record_files(folder):
        expected = _path(folder, len(records) + 1)
        if path != expected:
            raise RecordError(
                f"{folder} has a gap: {expected.name} is missing and {path.name} is there"
            )
        records.append(_read(path, records))
    return records


def record_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """List the files of a log by number; `read_log` verifies them."""
    paths = folder.glob("[0-9]*.json")
    return sorted(paths, key=lambda path: (len(path.name), path.name))


def check_held(records: Sequence[Record], files: Iterable[pathlib.Path]) -> None:
    """Check that a log has records that somebody holds, as it had them when they were signed.

    The end of a log can be cut off without breaking a link. Each record signs the digest of the
    one before it, and so all earlier ones: whoever kept one can show what was cut. It speaks
    against its author, who could sign one at any time and never append it.

    Args:
      records: of the log.
      files: records, copied from the log when they were in it.

    Raises:
      RecordError: a cut log, a denied receipt, or a file that is no signed record.
    """
    for path in files:
        fields, digest = _fields_of(path)
        _check_signed(path, fields)
        number = fields["number"]
        is_number = type(number) is int and 1 <= number <= len(records)
        if is_number and records[number - 1].digest == digest:
            continue
        name = "denied receipt" if fields["kind"] == "accept" else "cut log"
        why = "has another in its place" if is_number else f"ends with record {len(records)}"
        raise RecordError(
            f"{name}: {path} is record {number}, {fields['kind']!r}, signed by "
            f"{fields['author']}, and the log {why}: only a log that has it may be used"
        )


def read_started_log(folder: pathlib.Path) -> list[Record]:
    """Read and verify a log that has its first record.

    Raises:
      CaseError: there is no log in the folder.
      RecordError, MissingLibraryError: as `read_log`.
    """
    records = read_log(folder)
    if not records:
        raise CaseError(
            f"{folder} holds no log: start it with anw model log (--node of each, --sign)"
        )
    return records


def append(
    folder: pathlib.Path,
    kind: str,
    body: dict[str, Any],
    key_file: pathlib.Path,
    check: Callable[[list[Record], Record], Record | None] = lambda records, draft: None,
) -> Record:
    """Sign a record and append it to a log; the log is verified first.

    Args:
      folder: of the log; must exist.
      kind: one of `KINDS`.
      body: plain JSON values.
      key_file: the author's signing key, as `anw key signing` writes it.
      check: called with the log's records and the new one, which has no digest yet. It returns
        the record that makes the new one unnecessary, or None, and raises to refuse it. What
        is checked before `append` may no longer hold when the record is written.

    Returns:
      The new record, or that of `check`.

    Raises:
      RecordError: the log is not in order, or others kept appending.
      KeyFileError: no signing key.
    """
    author = public_key_of(key_file)
    for _ in range(_TRIES):
        records = read_log(folder)
        number = len(records) + 1
        if made := check(records, Record(number, kind, author, body, "")):
            return made
        path = _path(folder, number)
        fields = {
            "format": _FORMAT,
            "number": number,
            "previous": records[-1].digest if records else "",
            "kind": kind,
            "body": body,
        }
        author, signature = sign_bytes(lambda author, f=fields: _signed(f, author), key_file)
        whole = {**fields, "author": author, "signature": signature}
        text = (_json.dumps(whole, indent=1) + "\n").encode()
        try:
            _files.write_new(path, text)
        except FileExistsError:
            continue  # another process was first
        return _read(path, records)
    raise RecordError(f"{folder} could not be appended to: others wrote each next record first")


def append_once(
    folder: pathlib.Path, kind: str, body: dict[str, Any], key_file: pathlib.Path
) -> Record:
    """Append a record as `append` does, unless its author has appended the same before.

    So a command may be repeated that was killed before it could say that it had appended.

    Returns:
      The record; the first of its author with this kind and body.

    Raises:
      RecordError, KeyFileError: as `append`.
    """
    return append(folder, kind, body, key_file, same_record)


def append_only(
    folder: pathlib.Path, kind: str, body: dict[str, Any], key_file: pathlib.Path, subject: str
) -> Record:
    """Append a record as `append_once` does, if its author has no other about its subject.

    Args:
      folder: of the log; must exist.
      kind: "vote" or "verdict".
      body: plain JSON values, with `outcome`.
      key_file: the author's signing key.
      subject: the field of the body that says what it is about, such as "claim".

    Raises:
      RecordError: a second one that says something else, or as `append`.
      KeyFileError: as `append`.
    """

    def check(records: list[Record], draft: Record) -> Record | None:
        first = first_about(records, kind, draft.author, subject, body[subject])
        if first is None:
            return None
        # Older votes have no reason unless they are refusals.
        said = {n: value for n, value in body.items() if n != "reason" or n in first.body}
        if same_record([first], dataclasses.replace(draft, body=said)):
            return first
        fields = [name for name in said if first.body.get(name) != said[name]]
        raise RecordError(
            f"second {kind}: record {first.number}, by {draft.author}, says "
            f"{first.body.get('outcome')!r:.40} on {subject} {body[subject]} and stands; this "
            f"one says {body['outcome']!r}, and differs in {', '.join(fields)}"
        )

    return append(folder, kind, body, key_file, check)


def first_about(
    records: Iterable[Record], kind: str, author: str, subject: str, number: int
) -> Record | None:
    """Return an author's first record of a kind whose field `subject` has this value."""
    for one in records:
        if (one.kind, one.author, one.body.get(subject)) == (kind, author, number):
            return one
    return None


def same_record(records: Iterable[Record], draft: Record) -> Record | None:
    """Return the first record with the kind, author and body of a draft; None without one."""
    wanted = (draft.kind, draft.author, _json.canonical(draft.body))
    for one in records:
        if (one.kind, one.author, _json.canonical(one.body)) == wanted:
            return one
    return None


def _read(path: pathlib.Path, before: list[Record]) -> Record:
    fields, digest = _fields_of(path)
    number = fields["number"]
    previous = before[-1].digest if before else ""
    is_next = type(number) is int and number == len(before) + 1
    if not is_next or fields["previous"] != previous:
        raise RecordError(
            f"{path} is not linked to the record before it: one of the two was changed"
        )
    _check_signed(path, fields)
    return Record(number, fields["kind"], fields["author"], fields["body"], digest)


def _fields_of(path: pathlib.Path) -> tuple[dict[str, Any], str]:
    """Read the fields of a record, of which no signature is checked, and its digest."""
    try:
        text = _files.read_regular(path, _MOST_BYTES)
        fields = _json.loads(text)
        if set(fields) != _FIELDS or fields["format"] != _FORMAT or fields["kind"] not in KINDS:
            raise KeyError("format")
        if not isinstance(fields["body"], dict):
            raise TypeError("body")
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RecordError(f"{path} is damaged or no record of a model log") from None
    return fields, hashlib.sha256(text).hexdigest()


def _check_signed(path: pathlib.Path, fields: dict[str, Any]) -> None:
    author = fields["author"]
    unsigned = {name: value for name, value in fields.items() if name != "signature"}
    if not verify_bytes(_signed(unsigned, author), author, fields["signature"]):
        raise RecordError(f"{path} is not signed by its author {author!r:.70}")


def _signed(fields: dict[str, Any], author: str) -> bytes:
    return _json.canonical({**fields, "author": author})


def _path(folder: pathlib.Path, number: int) -> pathlib.Path:
    return folder / f"{number:0{_DIGITS}d}.json"
