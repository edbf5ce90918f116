"""What a photo file holds beside its picture: read, and made to fit the marked pixels."""

import collections
import dataclasses
from typing import Any

from anw_jax.data.photo_files import exif as exif_data
from anw_jax.data.photo_files import heif, jpeg, png, webp
from anw_jax.data.photo_files import xmp as xmp_data

EXIF_HEAD, XMP_HEAD = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
PHOTOSHOP_HEAD = b"Photoshop 3.0\0"
_LONG_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_REWRITTEN = (b"JFIF\0", b"ICC_PROFILE\0", b"Adobe")  # the encoder's own

FOLLOWING = "further picture in the file (gain map, depth map, preview)"
VIDEO = "motion video"
CREDENTIALS = "content credentials of the unmarked photo"
DAMAGED = "damaged metadata"
EDITORS_CHUNK = "chunk of a camera or editor"
TRAILING = "other data after the picture"

# Tags of a TIFF file's picture that say nothing of how it is stored.
_TIFF_TAGS = (
    *(0x010D, 0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298),
    *range(0x9C9B, 0x9CA0),
)
_TIFF_XMP, _TIFF_IPTC, _TIFF_PHOTOSHOP = 700, 33723, 34377


@dataclasses.dataclass(frozen=True)
class Metadata:
    """The metadata of a photo file.

    Attributes:
      exif: from the byte order mark on.
      xmp: a packet.
      resources: Photoshop's resource blocks, which hold IPTC.
      iptc: IPTC records of a TIFF file.
      comment: of a JPEG file.
      dpi: horizontal and vertical resolution in dots per inch; None if not given.
      chunks: (name, body) of PNG chunks: texts, resolution, time.
      removed: what is not kept, counted: mostly pictures that show the unmarked photo.
    """

    exif: bytes = b""
    xmp: bytes = b""
    resources: bytes = b""
    iptc: bytes = b""
    comment: bytes = b""
    dpi: tuple[float, float] | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    removed: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def cleaned(self, size: tuple[int, int], *, strip_gps: bool, strip_all: bool) -> "Metadata":
        """Make the metadata fit the marked photo.

        Args:
          size: width and height of the upright photo, in pixels.
          strip_gps: also remove the place, from EXIF and XMP.
          strip_all: remove everything.
        """
        removed = self.removed.copy()
        if strip_all:
            # Pictures are counted as ever.
            for content, count in (
                (self.exif, lambda b: exif_data.clean(b, size)[1]),
                (self.xmp, lambda b: xmp_data.clean(b)[1]),
                (self.resources, lambda b: xmp_data.clean_resources(b)[1]),
            ):
                removed += _counted(count, content)
            return Metadata(removed=removed)
        exif, xmp, resources = self.exif, self.xmp, self.resources
        try:
            exif, found = exif_data.clean(exif, size, strip_gps=strip_gps)
        except ValueError:
            exif, found = b"", collections.Counter({DAMAGED: 1})
        removed += found
        xmp, found = xmp_data.clean(xmp, strip_gps=strip_gps)
        removed += found
        try:
            resources, found = xmp_data.clean_resources(resources)
        except ValueError:
            resources, found = b"", collections.Counter({DAMAGED: 1})
        removed += found
        return dataclasses.replace(
            self, exif=exif, xmp=xmp, resources=resources, removed=removed
        )


def _counted(count: Any, content: bytes) -> collections.Counter[str]:
    try:
        return count(content)
    except ValueError:
        return collections.Counter({DAMAGED: 1})


def read(image: Any, content: bytes) -> Metadata:
    """Read the metadata of a file that Pillow has opened, and not decoded yet.

    Args:
      image: Pillow's.
      content: all bytes of the file.
    """
    if image.format in ("JPEG", "MPO"):
        return _of_jpeg(image, content)
    if image.format == "PNG":
        return _of_png(image, content)
    if image.format == "TIFF":
        return _of_tiff(image)
    removed = _beside_webp(content) if image.format == "WEBP" else _beside_heif(content)
    exif, xmp = image.info.get("exif") or b"", image.info.get("xmp") or b""
    return Metadata(exif.removeprefix(EXIF_HEAD), xmp, dpi=_dpi(image), removed=+removed)


def _beside_webp(content: bytes) -> collections.Counter[str]:
    removed: collections.Counter[str] = collections.Counter()
    for name, _ in webp.chunks(content):
        if name == webp.CREDENTIALS:
            removed[CREDENTIALS] += 1
        elif name not in webp.REWRITTEN:
            removed[EDITORS_CHUNK] += 1
    return removed


def _beside_heif(content: bytes) -> collections.Counter[str]:
    try:
        found = heif.count(content)
    except ValueError:
        return collections.Counter({DAMAGED: 1})
    return collections.Counter(
        {
            FOLLOWING: found.pictures,
            "thumbnail": found.thumbnails,
            VIDEO: found.videos,
            CREDENTIALS: found.credentials,
        }
    )


def _dpi(image: Any) -> tuple[float, float] | None:
    """Return the resolution if it is one."""
    try:
        x, y = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 1 < x < 2**16 and 1 < y < 2**16 else None


def _of_jpeg(image: Any, content: bytes) -> Metadata:
    segments = jpeg.read(content)
    parts: dict[bytes, bytes] = collections.defaultdict(bytes)
    comment, removed = b"", collections.Counter()
    for marker, body in segments.found:
        if marker == jpeg.COMMENT:
            comment = comment or body
        elif marker == jpeg.APP1 and body.startswith((EXIF_HEAD, XMP_HEAD)):
            head = EXIF_HEAD if body.startswith(EXIF_HEAD) else XMP_HEAD
            parts.setdefault(head, body[len(head) :])
        elif marker == jpeg.APP13 and body.startswith(PHOTOSHOP_HEAD):
            parts[PHOTOSHOP_HEAD] += body[len(PHOTOSHOP_HEAD) :]
        elif 0xE0 <= marker <= 0xEF:
            removed[_dropped(marker, body)] += 1
    del removed[""]
    for name in (_EXTENDED, CREDENTIALS):  # one in several segments
        removed[name] = min(removed[name], 1)
    removed += _following(content[segments.end :])
    return Metadata(
        parts[EXIF_HEAD],
        parts[XMP_HEAD],
        parts[PHOTOSHOP_HEAD],
        b"",
        comment,
        _dpi(image),
        removed=removed,
    )


_EXTENDED = "extended XMP, which can hold pictures"


def _dropped(marker: int, body: bytes) -> str:
    """Name a segment that is not kept; "" for one that is written anew."""
    if body.startswith(b"JFIF\0"):
        return "JFIF thumbnail" if any(body[12:14]) else ""
    if body.startswith(_REWRITTEN) or body.startswith(b"MPF\0"):  # the pictures are counted
        return ""
    if body.startswith(b"JFXX\0"):
        return "JFIF thumbnail"
    if body.startswith(_LONG_XMP):
        return _EXTENDED
    return (
        CREDENTIALS if marker == 0xEB else f"segment APP{marker - 0xE0} of a camera or editor"
    )


def _following(rest: bytes) -> collections.Counter[str]:
    """Count the pictures and videos after a JPEG file's picture."""
    removed: collections.Counter[str] = collections.Counter()
    place = 0
    while (found := rest.find(b"\xff\xd8\xff", place)) >= 0:
        removed[FOLLOWING] += 1
        place = jpeg.end_of(rest, found)
    removed[VIDEO] += b"ftyp" in rest
    if not +removed and rest.strip(b"\0\r\n "):
        removed[TRAILING] += 1
    return +removed


def _of_png(image: Any, content: bytes) -> Metadata:
    exif, xmp, kept, removed = b"", b"", [], collections.Counter()
    for name, body in png.chunks(content):
        key = png.keyword(body)
        if name == b"eXIf":
            exif = exif or body.removeprefix(EXIF_HEAD)
        elif name == b"iTXt" and key == png.XMP_KEYWORD:
            xmp = xmp or png.international_text(body)
        elif name == b"caBX":
            removed[CREDENTIALS] += 1
        elif name in (b"tEXt", b"zTXt", b"iTXt"):
            is_raw = key.startswith(b"Raw profile type") and key != b"Raw profile type iptc"
            if is_raw:
                removed["raw profile in a PNG text"] += 1
            else:
                kept.append((name, body))
        elif name in (b"pHYs", b"tIME"):
            kept.append((name, body))
        elif name not in png.REWRITTEN:
            removed[EDITORS_CHUNK] += 1
    removed[TRAILING] += png.has_trailing(content)
    removed = +removed
    return Metadata(exif, xmp, dpi=_dpi(image), chunks=tuple(kept), removed=removed)


def _of_tiff(image: Any) -> Metadata:
    tags, removed = image.tag_v2, collections.Counter()
    removed["thumbnail"] += image.n_frames - 1
    removed["thumbnail"] += 0x014A in tags
    resources = tags.get(_TIFF_PHOTOSHOP, b"")
    xmp = tags.get(_TIFF_XMP, b"")
    iptc = tags.get(_TIFF_IPTC, b"")
    return Metadata(
        _exif_of_tiff(image),
        xmp if isinstance(xmp, bytes) else b"",
        resources if isinstance(resources, bytes) else b"",
        iptc if isinstance(iptc, bytes) else b"",
        dpi=_dpi(image),
        removed=+removed,
    )


def _exif_of_tiff(image: Any) -> bytes:
    """Collect what a TIFF file says of the photo, as EXIF data."""
    source, kept = image.getexif(), type(image.getexif())()
    for tag in _TIFF_TAGS:
        if tag in source:
            kept[tag] = source[tag]
    for ifd in (exif_data.EXIF_IFD, exif_data.GPS_IFD):
        if found := source.get_ifd(ifd):
            kept.get_ifd(ifd).update(found)
            if ifd not in kept:
                kept[ifd] = dict(found)
    if not len(kept):
        return b""
    return kept.tobytes().removeprefix(EXIF_HEAD)
