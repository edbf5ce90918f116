"""XMP data, and Photoshop's resource blocks with IPTC: what shows the unmarked photo goes."""

import collections
import re
import struct
from collections.abc import Iterator

# Where gain maps, motion videos and depth maps lie, which are not in the marked file.
_GONE = rb"(?:G?Container|Item|hdrgm|HDRGainMap|GDepth|GImage|G?Camera:M(?:otion|icro)\w+)"
_FULL = rb"(?:xmpGImg:image|xmp:Thumbnails|xap:Thumbnails|xapGImg:image)"
_ELEMENTS = re.compile(
    rb"<(" + _GONE + rb"(?::\w+)?|" + _FULL + rb")(?=[\s>/])(?:[^>]*/>|[^>]*>.*?</\1\s*>)",
    re.DOTALL,
)
_ATTRIBUTES = re.compile(rb"\s(?:" + _GONE + rb"(?::\w+)?|xmpNote:HasExtendedXMP)\s*=\s*"
                         rb"(?:\"[^\"]*\"|'[^']*')")  # fmt: skip
_ORIENTATION = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)[2-8]")
_GPS_ELEMENTS = re.compile(rb"<(exif:GPS\w+)(?=[\s>/])(?:[^>]*/>|[^>]*>.*?</\1\s*>)", re.DOTALL)
_GPS_ATTRIBUTES = re.compile(rb"\sexif:GPS\w+\s*=\s*(?:\"[^\"]*\"|'[^']*')")
# A picture that is left after that: 3,000 bytes in base64.
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{4000}")

_MOST = 2**20

THUMBNAIL, TOO_LONG = "thumbnail in XMP", "XMP of more than 1 MiB"


def clean(xmp: bytes, *, strip_gps: bool = False) -> tuple[bytes, collections.Counter[str]]:
    """Make an XMP packet fit the marked photo, as `exif.clean` does.

    Returns:
      The packet, b"" if a picture could only be removed with all of it; what was removed,
      counted.

    Example:
      >>> clean(b'<a tiff:Orientation="6" hdrgm:Version="1.0"/>')[0]
      b'<a tiff:Orientation="1"/>'
    """
    removed: collections.Counter[str] = collections.Counter()
    if len(xmp) > _MOST:
        return b"", collections.Counter({TOO_LONG: 1})
    thumbnails = len(re.findall(rb"<(?:xmp|xap)GImg:image[\s>]", xmp))
    xmp = _ATTRIBUTES.sub(b"", _ELEMENTS.sub(b"", xmp))
    xmp = _ORIENTATION.sub(rb"\g<1>1", xmp)
    if strip_gps:
        fewer = _GPS_ATTRIBUTES.sub(b"", _GPS_ELEMENTS.sub(b"", xmp))
        removed["GPS data in XMP"] += fewer != xmp
        xmp = fewer
    if _BASE64.search(re.sub(rb"\s|&#x?[0-9A-Fa-f]+;", b"", xmp)):
        xmp, thumbnails = b"", thumbnails + 1
    removed[THUMBNAIL] += thumbnails
    return xmp, +removed


# Photoshop's resources that show the photo, or hold EXIF and XMP a second time.
_THUMBNAILS = (0x0409, 0x040C)
_COPIES = (0x0422, 0x0423, 0x0424)


def clean_resources(block: bytes) -> tuple[bytes, collections.Counter[str]]:
    """Remove thumbnails from Photoshop's resource blocks, which hold IPTC too.

    Returns:
      The blocks, and what was removed, counted.

    Raises:
      ValueError: damaged.
    """
    kept, removed = b"", collections.Counter()
    for number, whole in _resources(block):
        if number in _THUMBNAILS:
            removed["Photoshop thumbnail"] += 1
        elif number not in _COPIES:
            kept += whole
    return kept, removed


def _resources(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (number, all bytes) of each resource."""
    place = 0
    while place + 12 <= len(block):
        if block[place : place + 4] not in (b"8BIM", b"MeSa", b"PHUT", b"AgHg", b"DCSR"):
            raise ValueError("Photoshop's resources are damaged")
        (number,) = struct.unpack_from(">H", block, place + 4)
        name = block[place + 6] + 1
        start = place + 6 + name + name % 2
        if start + 4 > len(block):
            raise ValueError("Photoshop's resources are damaged")
        (size,) = struct.unpack_from(">I", block, start)
        end = start + 4 + size + size % 2
        yield number, block[place:end]
        place = end
