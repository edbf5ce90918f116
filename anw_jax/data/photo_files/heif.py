"""What an AVIF or HEIC file holds beside its picture (ISO/IEC 14496-12 and 23008-12).

A file is a row of boxes. The box "meta" lists its items (pictures, tiles of a picture,
metadata) and how they refer to one another.
"""

import collections
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from anw_jax.data.photo_files import quantisers

ALPHA = (b"urn:mpeg:hevc:2015:auxid:1", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha")
# No pictures: EXIF, XMP and other texts.
_TEXTS = (b"Exif", b"mime", b"uri ")
_CREDENTIALS = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_MOST_ITEMS = 2**16
# Of the data that headers are read from.
_MOST_OF_HEADERS = 2**16
# By the kind of a decoder's configuration: a byte of it, its bits, and what they say.
_SAMPLINGS = {b"av1C": (2, 12, {0: 444, 8: 422}), b"hvcC": (16, 3, {3: 444, 2: 422})}
# Of libavif 1 with libaom: the quantiser index of a still picture, and the quality asked for.
_AVIF_QUALITIES = (
    (0, 12, 16, 24, 32, 48, 60, 76, 92, 108, 120, 136, 148, 172, 196, 216, 236, 255),
    (100, 97, 95, 92, 90, 85, 80, 75, 70, 65, 60, 55, 50, 40, 30, 20, 10, 1),
)


class Counts(NamedTuple):
    """What was found beside the picture and its alpha.

    Attributes:
      pictures: gain maps, depth maps and other pictures.
      thumbnails: small versions of the picture.
      videos: motion videos.
      credentials: content credentials (C2PA).
    """

    pictures: int
    thumbnails: int
    videos: int
    credentials: int


def count(content: bytes) -> Counts:
    """Count what a file holds beside its picture and its alpha.

    Raises:
      ValueError: the list of items is damaged.
    """
    found = collections.Counter()
    pictures = thumbnails = 0
    try:
        for kind, body in _boxes(content):
            if kind == b"meta":
                pictures, thumbnails = _items(body)
            elif kind == b"uuid" and body[:16] == _CREDENTIALS:
                found["credentials"] += 1
            else:
                found[kind] += 1
    except (struct.error, IndexError, OverflowError) as error:
        raise ValueError(f"the list of items is damaged ({type(error).__name__})") from None
    return Counts(
        pictures,
        thumbnails,
        found[b"mpvd"] + found[b"moov"],
        found["credentials"] + found[b"jumb"],
    )


def colours(content: bytes) -> tuple[int, int] | None:
    """Return the numbers of primaries and transfer function (ITU-T H.273), if they are given.

    A colour profile in the same file overrides them.
    """
    for body in _properties(content, b"colr"):
        if body[:4] == b"nclx" and len(body) >= 8:
            return struct.unpack_from(">HH", body, 4)
    return None


def with_colours(content: bytes, numbers: tuple[int, int]) -> bytes:
    """Put other numbers of primaries and transfer function in place of a file's own.

    Raises:
      ValueError: the file names none.
    """
    head = b"colrnclx"
    if head not in content:
        raise ValueError("the file names no primaries")
    parts = content.split(head)
    packed = struct.pack(">HH", *numbers)
    return head.join([parts[0], *(packed + part[4:] for part in parts[1:])])


def depth(content: bytes) -> int:
    """Return the largest number of bits per channel of the pictures; 8 if it is not given."""
    return max([8, *(max(body[5:], default=8) for body in _properties(content, b"pixi"))])


def subsampling(content: bytes) -> int:
    """Return how the colours are sampled: 444, 422 or 420; 420 if it is not known.

    The decoder's configuration says so: "av1C" (AV1 in ISOBMFF), or "hvcC" (ISO/IEC 14496-15).
    """
    found = [420]  # also where alpha, which has no colours, is the only one
    for kind, (place, mask, samplings) in _SAMPLINGS.items():
        for body in _properties(content, kind):
            if place < len(body):
                found.append(samplings.get(body[place] & mask, 420))
    return max(found)


def quality_of(content: bytes) -> int | None:
    """Estimate the quality, 1 to 100, at which a file was written, from its quantiser.

    On the scales of the libraries that write the marked file: libheif with x265 (HEIC), and
    libavif with libaom (AVIF). Their own files of quality 30 to 95 are estimated to within 1.

    Returns:
      The estimate; None if the headers are damaged or use what is not read.
    """
    try:
        kind, config, data = _coded(content)
        if kind == b"av1C":
            return round(np.interp(quantisers.av1(config, data), *_AVIF_QUALITIES))
        # libheif asks x265 for a rate factor of (100 - quality) / 2; a picture gets 3 less.
        return max(1, min(95, 94 - 2 * quantisers.hevc(config, data)))
    except (ValueError, struct.error, LookupError, StopIteration):
        return None


def _properties(content: bytes, wanted: bytes) -> Iterator[bytes]:
    """Yield the properties of one kind, of any item; none of a damaged file."""
    try:
        for kind, meta in _boxes(content):
            if kind == b"meta":
                properties = dict(_boxes(dict(_boxes(meta, 4)).get(b"iprp", b"")))
                found = _boxes(properties.get(b"ipco", b""))
                yield from [body for kind, body in found if kind == wanted]
    except struct.error:
        return


def _boxes(content: bytes | memoryview, start: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, body) of the boxes from `start` on; one that is cut off is the last."""
    while start + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, start)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", content, start + 8), 16
        end = len(content) if size == 0 else start + size
        if size and size < head:
            return
        yield kind, bytes(content[start + head : end])
        start = end


def _items(meta: bytes) -> tuple[int, int]:
    """Count further pictures, and thumbnails, in the body of the box "meta"."""
    boxes = dict(_boxes(meta, 4))
    kinds = _kinds(boxes.get(b"iinf", b""))
    primary = _number(boxes.get(b"pitm", bytes(6)), 4, _version(boxes.get(b"pitm", b"")) > 0)
    references = _references(boxes.get(b"iref", b""))
    alpha = _alpha_items(boxes.get(b"iprp", b""))
    thumbnails = {item for kind, item, _ in references if kind == b"thmb"}
    # Tiles are parts of a picture; of a picture with a gain map, both are parts too.
    derived = {item: parts for kind, item, parts in references if kind == b"dimg"}
    own, waiting = set(alpha), [primary]
    while waiting:
        item = waiting.pop()
        if item not in own:
            own.add(item)
            waiting += derived.get(item, ())
    maps = {item for item, kind in kinds.items() if kind == b"tmap"}
    tiles = {p for item, parts in derived.items() if item not in maps for p in parts}
    others = [
        item
        for item, kind in kinds.items()
        if kind not in _TEXTS and item not in own | thumbnails | tiles | maps
    ]
    return len(others), len(thumbnails)


def _version(body: bytes) -> int:
    """Return the version of a box that has one."""
    return body[0] if body else 0


def _number(body: bytes, place: int, is_long: bool) -> int:
    return struct.unpack_from(">I" if is_long else ">H", body, place)[0]


def _kinds(body: bytes) -> dict[int, bytes]:
    """Read the kind of each item, by its number, from the box "iinf"."""
    kinds = {}
    for kind, entry in _boxes(body, 8 if _version(body) else 6):
        if kind == b"infe" and _version(entry) >= 2 and len(kinds) < _MOST_ITEMS:
            is_long = _version(entry) > 2
            place = 10 if is_long else 8
            kinds[_number(entry, 4, is_long)] = entry[place : place + 4]
    return kinds


def _references(body: bytes) -> list[tuple[bytes, int, tuple[int, ...]]]:
    """Read (kind, from, to) of each reference from the box "iref"."""
    is_long, found = _version(body) > 0, []
    width, letter = (4, "I") if is_long else (2, "H")
    for kind, entry in _boxes(body, 4):
        item, number = _number(entry, 0, is_long), _number(entry, width, False)
        parts = struct.unpack_from(f">{number}{letter}", entry, width + 2)
        found.append((kind, item, parts))
    return found


def _alpha_items(body: bytes) -> set[int]:
    """Read which items are alpha from the box "iprp": properties, and the items of each."""
    boxes = dict(_boxes(body))
    properties = list(_boxes(boxes.get(b"ipco", b"")))
    alpha = {
        number
        for number, (kind, entry) in enumerate(properties, 1)
        if kind == b"auxC" and entry[4:].split(b"\0")[0] in ALPHA
    }
    associated = _associated(boxes.get(b"ipma", b""))
    return {item for item, places in associated.items() if alpha & set(places)}


def _associated(entry: bytes) -> dict[int, list[int]]:
    """Read the numbers of each item's properties, from 1, from the box "ipma"."""
    found: dict[int, list[int]] = {}
    if not entry:
        return found
    is_long, is_wide = _version(entry) > 0, bool(entry[3] & 1)
    place = 8
    for _ in range(_number(entry, 4, True)):
        item = _number(entry, place, is_long)
        place += 4 if is_long else 2
        number, place = entry[place], place + 1
        for _ in range(number):  # the highest bit says whether a reader must know it
            index = _number(entry, place, False) & 0x7FFF if is_wide else entry[place] & 0x7F
            place += 1 + is_wide
            found.setdefault(item, []).append(index)
    return found


def _coded(content: bytes) -> tuple[bytes, bytes, bytes]:
    """Return (kind, body) of the decoder's configuration, and the picture's first data.

    Of a picture that is made of tiles, those of the first tile.

    Raises:
      ValueError, struct.error, LookupError: they are not there, or not in the file itself.
    """
    meta = dict(_boxes(dict(_boxes(content))[b"meta"], 4))
    primary = _number(meta[b"pitm"], 4, _version(meta[b"pitm"]) > 0)
    parts = {
        item: to for kind, item, to in _references(meta.get(b"iref", b"")) if kind == b"dimg"
    }
    item = parts[primary][0] if primary in parts else primary
    boxes = dict(_boxes(meta[b"iprp"]))
    properties = list(_boxes(boxes[b"ipco"]))
    own = [properties[place - 1] for place in _associated(boxes[b"ipma"])[item] if place]
    kind, config = next(one for one in own if one[0] in _SAMPLINGS)
    start, size = _extents(meta[b"iloc"])[item][0]
    return kind, config, content[start : start + min(size, _MOST_OF_HEADERS)]


def _extents(body: bytes) -> dict[int, list[tuple[int, int]]]:
    """Read (start, size) of the parts of each item in the file, from the box "iloc"."""
    version, place, found = _version(body), 6, {}
    widths = body[4] >> 4, body[4] & 15, body[5] >> 4, body[5] & 15 if version else 0

    def number(width: int) -> int:
        nonlocal place
        place += width
        if place > len(body):
            raise ValueError("the box iloc is cut off")
        return int.from_bytes(body[place - width : place], "big")

    for _ in range(number(4 if version > 1 else 2)):
        item = number(4 if version > 1 else 2)
        is_elsewhere = (number(2) & 15 if version else 0) + number(2)
        base = number(widths[2])
        spans = []
        for _ in range(number(2)):
            number(widths[3])
            spans.append((base + number(widths[0]), number(widths[1])))
        if not is_elsewhere:
            found[item] = spans
    return found
