"""EXIF data, changed in place: every offset stays valid, also those in a camera's own notes.

Format: a TIFF file without its picture (Exif 2.32, CIPA DC-008; TIFF 6.0).
"""

import collections
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from anw_jax.data.photo_files import jpeg

ORIENTATION, EXIF_IFD, GPS_IFD = 0x0112, 0x8769, 0x8825
_SIZES = {0x0100: 0, 0x0101: 1, 0xA002: 0, 0xA003: 1}  # width, height
_STRIPS, _STRIP_BYTES, _JPEG, _JPEG_BYTES = 0x0111, 0x0117, 0x0201, 0x0202
_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SHORT, _LONG = 3, 4
_START_OF_JPEG = re.compile(rb"\xff\xd8\xff[\xc0-\xfe]")

THUMBNAIL, PREVIEW = "EXIF thumbnail", "preview in a camera's notes"


def clean(
    exif: bytes, size: tuple[int, int], *, strip_gps: bool = False
) -> tuple[bytes, collections.Counter[str]]:
    """Make EXIF data fit the marked photo.

    Orientation becomes upright, width and height those of `size`; thumbnails and previews,
    which show the unmarked photo, are removed; on demand the place too.

    Args:
      exif: from its byte order mark on; b"" for none.
      size: width and height in pixels.
      strip_gps: remove the GPS data.

    Returns:
      The data, and what was removed, counted.

    Raises:
      ValueError: damaged.

    Example:
      >>> clean(b"", (3, 2))
      (b'', Counter())
    """
    removed: collections.Counter[str] = collections.Counter()
    if not exif:
        return b"", removed
    try:
        tiff = _Tiff(exif)
        first = tiff.first
        _remove_thumbnail(tiff, first, removed)
        tiff.fit(first, size)
        for entry in tiff.entries(first):
            if entry.tag == EXIF_IFD:
                tiff.fit(tiff.number(entry), size)
        if strip_gps:
            for entry in [e for e in tiff.entries(first) if e.tag == GPS_IFD]:
                tiff.erase(tiff.number(entry))
                tiff.drop(first, entry)
                removed["GPS data"] += 1
        _blank_previews(tiff.body, removed)
    except (struct.error, IndexError, KeyError) as error:
        raise ValueError(f"EXIF data are damaged ({type(error).__name__})") from None
    return bytes(tiff.body), removed


class _Entry(NamedTuple):
    tag: int
    kind: int
    count: int
    place: int  # of the entry itself
    start: int  # of its value
    size: int  # of its value, in bytes


class _Tiff:
    """A TIFF structure in a buffer that keeps its length, but for a thumbnail at its end."""

    def __init__(self, content: bytes):
        self.body = bytearray(content)
        self._order = {b"II*\0": "<", b"MM\0*": ">"}[content[:4]]
        (self.first,) = self._read("I", 4)

    def _read(self, kinds: str, place: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + kinds, self.body, place)

    def entries(self, ifd: int) -> Iterator[_Entry]:
        """Yield the entries of a directory.

        Raises:
          struct.error, KeyError: damaged.
        """
        (number,) = self._read("H", ifd)
        for place in range(ifd + 2, ifd + 2 + 12 * number, 12):
            tag, kind, count = self._read("HHI", place)
            size = _WIDTHS[kind] * count
            start = place + 8 if size <= 4 else self._read("I", place + 8)[0]
            if start + size > len(self.body):
                raise KeyError(tag)
            yield _Entry(tag, kind, count, place, start, size)

    def number(self, entry: _Entry) -> int:
        """Read the one integer of an entry."""
        return self._read("H" if entry.kind == _SHORT else "I", entry.start)[0]

    def numbers(self, entry: _Entry) -> list[int]:
        """Read the integers of an entry."""
        kind = "H" if entry.kind == _SHORT else "I"
        return list(self._read(f"{entry.count}{kind}", entry.start))

    def next_of(self, ifd: int) -> int:
        """Return the place of the link to the directory after this one."""
        (number,) = self._read("H", ifd)
        return ifd + 2 + 12 * number

    def fit(self, ifd: int, size: tuple[int, int]) -> None:
        """Set orientation, width and height where they stand."""
        for entry in self.entries(ifd):
            if entry.count != 1 or entry.kind not in (_SHORT, _LONG):
                continue
            value = 1 if entry.tag == ORIENTATION else None
            if entry.tag in _SIZES:
                value = size[_SIZES[entry.tag]]
            if value is not None and (entry.kind == _LONG or value < 2**16):
                kind = "H" if entry.kind == _SHORT else "I"
                struct.pack_into(self._order + kind, self.body, entry.start, value)

    def erase(self, ifd: int) -> None:
        """Overwrite a directory and its values with zeros."""
        entries = list(self.entries(ifd))
        end = self.next_of(ifd) + 4
        for entry in entries:
            self.blank(entry.start, entry.size)
        self.blank(ifd, end - ifd)

    def blank(self, start: int, size: int) -> None:
        """Overwrite bytes with zeros."""
        size = max(0, min(size, len(self.body) - start))
        self.body[start : start + size] = bytes(size)

    def drop(self, ifd: int, entry: _Entry) -> None:
        """Remove an entry from its directory; those behind it move up."""
        (number,) = self._read("H", ifd)
        end = self.next_of(ifd) + 4
        rest = self.body[entry.place + 12 : end]
        self.body[entry.place : end] = rest + bytes(end - entry.place - len(rest))
        struct.pack_into(self._order + "H", self.body, ifd, number - 1)

    def unlink(self, ifd: int) -> int:
        """Cut the link to the directory after this one, and return where that is; 0: none."""
        place = self.next_of(ifd)
        if place + 4 > len(self.body):  # some programs leave the link out
            return 0
        (after,) = self._read("I", place)
        struct.pack_into(self._order + "I", self.body, place, 0)
        return after


def _remove_thumbnail(tiff: _Tiff, first: int, removed: collections.Counter[str]) -> None:
    """Remove the second directory, and the thumbnail that it describes."""
    second = tiff.unlink(first)
    if not second:
        return
    by_tag = {entry.tag: tiff.numbers(entry) for entry in tiff.entries(second)
              if entry.kind in (_SHORT, _LONG)}  # fmt: skip
    tiff.erase(second)
    for starts, sizes in ((_JPEG, _JPEG_BYTES), (_STRIPS, _STRIP_BYTES)):
        pairs = list(zip(by_tag.get(starts, ()), by_tag.get(sizes, ()), strict=False))
        removed[THUMBNAIL] += bool(pairs)
        for start, size in reversed(pairs):
            if start + size == len(tiff.body) and start >= second:
                del tiff.body[start:]
            else:
                tiff.blank(start, size)
    removed += collections.Counter()  # without zeros


def _blank_previews(body: bytearray, removed: collections.Counter[str]) -> None:
    """Overwrite whole JPEG files anywhere in the data with zeros."""
    place = 0
    while found := _START_OF_JPEG.search(body, place):
        place = found.start()
        end = jpeg.end_of(bytes(body), place)
        body[place:end] = bytes(end - place)
        removed[PREVIEW] += 1
