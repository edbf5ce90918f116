"""The segments of a JPEG file (ITU-T T.81): read, and put back around other pixels."""

import dataclasses
import re
import struct
from collections.abc import Iterable

_START, _END = b"\xff\xd8", b"\xff\xd9"
# The end of entropy-coded data: any marker but a restart.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_ALONE = (0x01, *range(0xD0, 0xD9))
_SCAN, _END_CODE = 0xDA, 0xD9

APP0, APP1, APP2, APP13, COMMENT = 0xE0, 0xE1, 0xE2, 0xED, 0xFE
MOST = 65533


@dataclasses.dataclass(frozen=True)
class Segments:
    """The segments of a JPEG file before its first scan, and where its picture ends.

    Attributes:
      found: (marker, content) of each; the marker is its second byte.
      end: index of the first byte after the picture; motion videos and gain maps follow.
    """

    found: tuple[tuple[int, bytes], ...]
    end: int


def read(content: bytes, start: int = 0) -> Segments:
    r"""Read the segments of the JPEG file that begins at `start`.

    What is damaged is taken as its end: a reader shows no more of it either.

    Example:
      >>> read(b"\xff\xd8\xff\xfe\0\4hi\xff\xd9video").found
      ((254, b'hi'),)
    """
    found: list[tuple[int, bytes]] = []
    place, before_scan = start + 2, True
    while place + 2 <= len(content) and content[place] == 0xFF:
        code = content[place + 1]
        if code == 0xFF:  # padding
            place += 1
            continue
        if code == _END_CODE:
            return Segments(tuple(found), place + 2)
        if code in _ALONE:
            place += 2
            continue
        if place + 4 > len(content):
            break
        (size,) = struct.unpack_from(">H", content, place + 2)
        if code == _SCAN:
            before_scan = False
            marker = _MARKER.search(content, place + 2 + size)
            if marker is None:
                break
            place = marker.start()
            continue
        if before_scan:
            found.append((code, content[place + 4 : place + 2 + size]))
        place += 2 + max(size, 2)
    return Segments(tuple(found), len(content))


def end_of(content: bytes, start: int) -> int:
    """Return the index after the JPEG file that begins at `start`; more than `start`."""
    return read(content, start).end


def with_segments(content: bytes, segments: Iterable[tuple[int, bytes]]) -> bytes:
    """Insert segments into a JPEG file, after its first one (JFIF).

    Raises:
      ValueError: a segment of more than 65,533 bytes.
    """
    (size,) = struct.unpack_from(">H", content, 4)
    place = 4 + size if content[3] == APP0 else 2
    packed = bytearray()
    for marker, body in segments:
        if len(body) > MOST:
            raise ValueError(f"a JPEG segment must have at most {MOST} bytes, got {len(body)}")
        packed += struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
    return content[:place] + bytes(packed) + content[place:]


def split(head: bytes, body: bytes) -> list[bytes]:
    """Split a body over as many segments as it needs, each with the same head."""
    step = MOST - len(head)
    return [head + body[place : place + step] for place in range(0, len(body), step)]


# Luminance table of quality 50 (T.81, K.1), sorted: files differ in the order of entries.
_LUMINANCE = sorted(
    int(value)
    for value in (
        "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 "
        "51 87 80 62 18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 "
        "120 101 72 92 95 98 112 100 103 99"
    ).split()
)


def quality_of(table: Iterable[int]) -> int:
    """Estimate the quality, 1 to 100, on the scale of the IJG, of a luminance table.

    Example:
      >>> quality_of([1] * 64), quality_of(_LUMINANCE)
      (100, 50)
    """
    total = sum(table)

    def distance(quality: int) -> int:
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        return abs(sum(min(max((v * scale + 50) // 100, 1), 255) for v in _LUMINANCE) - total)

    return min(range(100, 0, -1), key=distance)
