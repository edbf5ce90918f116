"""The public log of a model's owners and judges: signed, hash-linked files.

Each record is one JSON file, `0001.json` and so on, with the SHA-256 of the file before it and
an Ed25519 signature of its author over all its other fields. Nobody can change, insert or drop
a record without breaking the chain; whoever holds the newest digest can check the whole log.
A record is written under its number only if no other has it, so several processes may append.
"""

import dataclasses
import hashlib
import pathlib
from typing import Any

from anw_jax import _files, _json
from anw_jax.audit.signatures import sign_bytes, verify_bytes
from anw_jax.errors import CaseError, RecordError

KINDS = (
    *("open", "publish", "seen", "release", "claim", "vote"),
    *("setup", "issue", "accept", "dispute", "extract", "verdict"),
)

_FORMAT = "anw_jax model log, version 1"
_FIELDS = {"format", "number", "previous", "kind", "author", "body", "signature"}
_MOST_BYTES = 2**24
_TRIES = 1_000


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
    paths = sorted(folder.glob("[0-9]*.json"))
    records: list[Record] = []
    for path in paths:
        expected = _path(folder, len(records) + 1)
        if path != expected:
            raise RecordError(
                f"{folder} has a gap: {expected.name} is missing and {path.name} is there"
            )
        records.append(_read(path, records))
    return records


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
    folder: pathlib.Path, kind: str, body: dict[str, Any], key_file: pathlib.Path
) -> Record:
    """Sign a record and append it to a log; the log is verified first.

    Args:
      folder: of the log; must exist.
      kind: one of `KINDS`.
      body: plain JSON values.
      key_file: the author's signing key, as `anw key signing` writes it.

    Raises:
      RecordError: the log is not in order, or others kept appending.
      KeyFileError: no signing key.
    """
    for _ in range(_TRIES):
        records = read_log(folder)
        number = len(records) + 1
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


def _read(path: pathlib.Path, before: list[Record]) -> Record:
    try:
        text = _files.read_regular(path, _MOST_BYTES)
        whole = _json.loads(text)
        if set(whole) != _FIELDS or whole["format"] != _FORMAT or whole["kind"] not in KINDS:
            raise KeyError("format")
        author, signature = whole["author"], whole["signature"]
        number, kind, body = whole["number"], whole["kind"], whole["body"]
        if not isinstance(body, dict):
            raise TypeError("body")
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RecordError(f"{path} is damaged or no record of a model log") from None
    previous = before[-1].digest if before else ""
    is_next = type(number) is int and number == len(before) + 1
    if not is_next or whole["previous"] != previous:
        raise RecordError(
            f"{path} is not linked to the record before it: one of the two was changed"
        )
    fields = {name: value for name, value in whole.items() if name != "signature"}
    if not verify_bytes(_signed(fields, author), author, signature):
        raise RecordError(f"{path} is not signed by its author {author!r:.70}")
    return Record(number, kind, author, body, hashlib.sha256(text).hexdigest())


def _signed(fields: dict[str, Any], author: str) -> bytes:
    return _json.canonical({**fields, "author": author})


def _path(folder: pathlib.Path, number: int) -> pathlib.Path:
    return folder / f"{number:04d}.json"
