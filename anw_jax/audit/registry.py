"""The registry of an owner's commitments, one file beside the keys.

It numbers the commitments. The number is part of each plan, so an arbitrator who finds fewer
commitments knows that some are missing. It also knows which photos were committed to before:
committing to the same photos twice and presenting the better of the two would make p too small.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import os
import pathlib
from collections.abc import Iterator

from anw_jax import _files, _json
from anw_jax.audit.files import read_bytes
from anw_jax.audit.published import Published
from anw_jax.errors import CaseError
from anw_jax.keys import Manifest, MarkKey

REGISTRY = "anw-commitments.jsonl"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One commitment in the registry.

    Attributes:
      number: from 1.
      time_utc: when it was made, ISO.
      commitment: 64 hex digits.
      key: a fingerprint that differs between keys and reveals nothing about them.
      photos: the image digests.
    """

    number: int
    time_utc: str
    commitment: str
    key: str
    photos: tuple[str, ...]


class Registry:
    """The commitments of all keys in one folder.

    Args:
      folder: the folder of the key files.

    Raises:
      CaseError: the file is damaged.
    """

    def __init__(self, folder: pathlib.Path):
        self.path = folder / REGISTRY
        self.is_writable = os.access(folder, os.W_OK)
        self.entries = _read_entries(self.path) if self.path.exists() else []

    @property
    def next_number(self) -> int:
        """The number of the next commitment."""
        return max((entry.number for entry in self.entries), default=0) + 1

    def photos_again(self, manifest: Manifest) -> list[str]:
        """File names of photos that were committed to before."""
        known = {digest for entry in self.entries for digest in entry.photos}
        pairs = zip(manifest.file_names, manifest.image_digests, strict=True)
        return [name for name, digest in pairs if digest in known]

    def uses_of(self, mark_key: MarkKey) -> int:
        """Count the commitments that were made with a key."""
        return sum(entry.key == _fingerprint(mark_key) for entry in self.entries)

    def add(self, mark_key: MarkKey, published: Published) -> None:
        """Append one commitment, unless it is there or the folder cannot be written."""
        known = {entry.commitment for entry in self.entries}
        if not self.is_writable or published.commitment in known:
            return
        entry = Entry(
            published.plan.number,
            datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            published.commitment,
            _fingerprint(mark_key),
            published.manifest.image_digests,
        )
        self.entries.append(entry)
        lines = [_json.dumps(dataclasses.asdict(e), sort_keys=True) for e in self.entries]
        _files.write_whole(self.path, ("\n".join(lines) + "\n").encode())


@contextlib.contextmanager
def open_registry(folder: pathlib.Path) -> Iterator[Registry]:
    """Open the registry and lock its folder while a number is taken, if it can be written."""
    message = f"another process is committing with the keys in {folder}: wait for it"
    with contextlib.ExitStack() as stack:
        if os.access(folder, os.W_OK):
            stack.enter_context(_files.only_one(folder, lambda: CaseError(message)))
        yield Registry(folder)


def _fingerprint(mark_key: MarkKey) -> str:
    return hashlib.sha256(mark_key.sub_key("registry")).hexdigest()[:16]


def _read_entries(path: pathlib.Path) -> list[Entry]:
    try:
        lines = read_bytes(path).decode().splitlines()
        entries = [Entry(**_json.loads(line)) for line in lines if line.strip()]
        for entry in entries:
            texts = (entry.time_utc, entry.commitment, entry.key, *entry.photos)
            is_number = type(entry.number) is int and entry.number > 0
            if not (is_number and all(isinstance(text, str) for text in texts)):
                raise TypeError
        return [dataclasses.replace(entry, photos=tuple(entry.photos)) for entry in entries]
    except (ValueError, TypeError, RecursionError):
        raise CaseError(
            f"{path} is damaged: restore it, since it counts your commitments"
        ) from None
