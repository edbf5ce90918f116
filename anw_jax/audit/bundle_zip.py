"""The zip file of an evidence bundle: one exact form, written and read byte by byte.

Members are stored, not compressed, in the order of their names, with a fixed time stamp and
nothing else: the same members give the same bytes on every machine, and a bundle cannot expand.
The reader accepts this form only. So nothing can hide in it that another program would read
differently: links, a second member of one name, comments, gaps, extra fields, encryption.
The format is that of APPNOTE.TXT without its 64-bit extension,
https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT.
"""

import hashlib
import mmap
import os
import pathlib
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import IO

from anw_jax import _files
from anw_jax.errors import CaseError

# Without the 64-bit extension sizes and offsets are below 2^32.
MOST_BYTES = 2**32 - 1
MOST_MEMBERS = 10_000

_BLOCK = 2**20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,127}){0,7}")

# Version 1.0, no flags, stored, 1 January 1980 0:00.
_FIXED = struct.pack("<HHHHH", 10, 0, 0, 0, 0x21)
_LOCAL = struct.Struct("<4s10sIIIHH")
# Made on Unix; a regular file with mode 0644.
_CENTRAL = struct.Struct("<4sH10sIIIHHHHHII")
_MODE = 0o100644 << 16
_END = struct.Struct("<4sHHHHIIH")


def write_zip(file: IO[bytes], members: Mapping[str, bytes | pathlib.Path]) -> None:
    """Write members into an empty binary file, sorted by name.

    Args:
      file: opened for writing.
      members: the content of each, or the file that holds it.

    Raises:
      CaseError: names that are not plain, too many members or too many bytes.
    """
    check_names(members)
    entries, place = [], 0
    for name in sorted(members):
        size, crc = _size_and_crc(members[name])
        entries.append((name, size, crc, place))
        place += _LOCAL.size + len(name) + size
        if place > MOST_BYTES - 2**24:
            raise CaseError(f"a bundle must be below 4 GiB, and this one has {place:,} bytes")
        file.write(_local_header(name, size, crc))
        for block in _blocks(members[name]):
            file.write(block)
    file.write(_directory(entries, place))


def check_names(names: Iterable[str]) -> None:
    """Refuse names that are unsafe, or that some file system does not tell apart.

    Raises:
      CaseError: names the member.

    Example:
      >>> check_names(["a.json", "../b.json"])
      Traceback (most recent call last):
      ...
      anw_jax.errors.CaseError: member '../b.json' must have a plain name: letters, digits, ...
    """
    seen: set[str] = set()
    for name in names:
        if not _NAME.fullmatch(name):
            raise CaseError(
                f"member {name!r:.120} must have a plain name: letters, digits, '_', '.' and "
                "'-', folders separated by '/', none that begins with '.'"
            )
        if name.casefold() in seen:
            raise CaseError(f"member {name!r} is there twice")
        seen.add(name.casefold())
        if len(seen) > MOST_MEMBERS:
            raise CaseError(f"a bundle must have at most {MOST_MEMBERS:,} members")
    folders = {name[:place] for name in seen for place in _slashes(name)}
    if both := sorted(seen & folders):
        raise CaseError(f"member {both[0]!r} is a file and a folder")


def _slashes(name: str) -> list[int]:
    return [place for place, letter in enumerate(name) if letter == "/"]


def unpack(path: pathlib.Path, folder: pathlib.Path) -> dict[str, str]:
    """Check a whole bundle, then write its members into an empty folder.

    Args:
      path: the zip file.
      folder: exists and is empty.

    Returns:
      The SHA-256 of each member, as hex.

    Raises:
      CaseError: not a bundle, or damaged; names the member.
    """
    try:
        with _files.open_regular(path, MOST_BYTES) as file:
            if not os.fstat(file.fileno()).st_size:
                raise CaseError("it is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
                places = _places(body)
                return {name: _extract(body, *places[name], folder / name) for name in places}
    except OSError as error:
        raise CaseError(f"{path} cannot be read: {error.strerror}") from None
    except CaseError as error:
        raise CaseError(f"{path} is not a bundle of anw: {error}") from None


def _places(body: mmap.mmap) -> dict[str, tuple[int, int]]:
    """Return start and end of each member's content; every byte of the file is checked."""
    place, entries, places = 0, [], {}
    while body[place : place + 4] == b"PK\3\4":
        if len(entries) == MOST_MEMBERS:
            raise CaseError(f"it has more than {MOST_MEMBERS:,} members")
        name, start, size, crc = _read_header(body, place)
        if entries and name <= entries[-1][0]:
            what = "is there twice" if name in places else "is out of order"
            raise CaseError(f"member {name!r} {what}")
        with memoryview(body)[start : start + size] as view:
            if zlib.crc32(view) != crc:
                raise CaseError(f"member {name!r} was changed (its CRC-32 differs)")
        entries.append((name, size, crc, place))
        places[name] = start, start + size
        place = start + size
    if not entries:
        raise CaseError("it does not begin as a zip file with members")
    check_names(places)
    if body[place:] != _directory(entries, place):
        raise CaseError(
            f"after its last member {entries[-1][0]!r} it does not end as it must (a link, a "
            "comment, another member, an entry without a member)"
        )
    return places


def _read_header(body: mmap.mmap, place: int) -> tuple[str, int, int, int]:
    """Return name, start, size and CRC-32 of the member at `place`."""
    if place + _LOCAL.size > len(body):
        raise CaseError("it ends within a member")
    _, fixed, crc, packed, size, name_size, extra = _LOCAL.unpack_from(body, place)
    start = place + _LOCAL.size + name_size
    name = body[place + _LOCAL.size : start].decode("ascii", "backslashreplace")
    check_names([name])
    if fixed[4:6] != bytes(2) or packed != size:
        raise CaseError(f"member {name!r} is compressed: members of a bundle are stored as is")
    if fixed != _FIXED or extra:
        raise CaseError(
            f"member {name!r} has flags, extra fields or a time stamp, which no bundle has"
        )
    if start + size > len(body):
        raise CaseError(f"member {name!r} claims {size:,} bytes, more than the file has")
    return name, start, size, crc


def _extract(body: mmap.mmap, start: int, end: int, target: pathlib.Path) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with memoryview(body)[start:end] as view, os.fdopen(descriptor, "wb") as file:
        file.write(view)
        return hashlib.sha256(view).hexdigest()


def _local_header(name: str, size: int, crc: int) -> bytes:
    return _LOCAL.pack(b"PK\3\4", _FIXED, crc, size, size, len(name), 0) + name.encode()


def _directory(entries: list[tuple[str, int, int, int]], place: int) -> bytes:
    """Return the central directory, which begins at `place`, and the end record."""
    lines = [
        _CENTRAL.pack(
            b"PK\1\2", 0x300 | 20, _FIXED, crc, size, size, len(name), 0, 0, 0, 0, _MODE, start
        )
        + name.encode()
        for name, size, crc, start in entries
    ]
    body, number = b"".join(lines), len(entries)
    return body + _END.pack(b"PK\5\6", 0, 0, number, number, len(body), place, 0)


def _size_and_crc(source: bytes | pathlib.Path) -> tuple[int, int]:
    size, crc = 0, 0
    for block in _blocks(source):
        size, crc = size + len(block), zlib.crc32(block, crc)
    return size, crc


def _blocks(source: bytes | pathlib.Path) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with _files.open_regular(source, MOST_BYTES) as file:
        while block := file.read(_BLOCK):
            yield block
