"""One function for each format: pixels and metadata as the bytes of a file."""

import collections
import io
from collections.abc import Mapping
from typing import Any

from anw_jax.data.image_files import pillow
from anw_jax.data.photo_colour import PhotoColour
from anw_jax.data.photo_files import heif, jpeg, png
from anw_jax.data.photo_files.metadata import EXIF_HEAD, PHOTOSHOP_HEAD, XMP_HEAD, Metadata
from anw_jax.data.photos import png_bytes

_IPTC = "IPTC, which the format cannot hold"
_COMMENT = "JPEG comment"
_TEXTS = "PNG texts"
_COLOURS = "colour space named by numbers, which the format cannot hold"
_LONG = "EXIF or XMP of more than 64 KiB, which the format cannot hold"
_IPTC_TAG, _PHOTOSHOP_TAG, _XMP_TAG = 33723, 34377, 700


def write(
    image: Any,
    kind: str,
    how: Mapping[str, Any],
    colour: PhotoColour,
    metadata: Metadata,
) -> tuple[bytes, collections.Counter[str]]:
    """Write an image with its profile and metadata.

    Args:
      image: Pillow's, RGB or RGBA.
      kind: Pillow's name of the format.
      how: further arguments of Pillow's `save`.
      colour: profile and chunks.
      metadata: made to fit the marked photo.

    Returns:
      The bytes, and what the format cannot hold, counted.

    Raises:
      Exception: of Pillow, which have no common base: the format cannot hold the image.
    """
    lost: collections.Counter[str] = collections.Counter()
    texts = [name for name, _ in metadata.chunks if name != b"pHYs"]
    if kind != "PNG":
        lost[_TEXTS] += len(texts)
        is_named = any(name == b"cICP" for name, _ in colour.chunks)
        lost[_COLOURS] += is_named and kind not in ("AVIF", "HEIF")
    if kind not in ("JPEG", "TIFF"):
        lost[_IPTC] += bool(metadata.resources or metadata.iptc)
    if kind != "JPEG":
        lost[_COMMENT] += bool(metadata.comment)
    make = {"JPEG": _jpeg, "PNG": _png, "TIFF": _tiff}.get(kind, _other)
    content = make(image, kind, dict(how), colour, metadata, lost)
    return content, +lost


def _saved(image: Any, kind: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **{name: value for name, value in how.items() if value})
    return buffer.getvalue()


def _jpeg(image, kind, how, colour, metadata, lost) -> bytes:
    """Write JPEG: Pillow writes the picture, the segments are put in here."""
    dpi = metadata.dpi and tuple(round(value) for value in metadata.dpi)
    subsampling = how.pop("subsampling", None)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", subsampling=subsampling, dpi=dpi or (0, 0), **how)
    segments = []
    for head, body in ((EXIF_HEAD, metadata.exif), (XMP_HEAD, metadata.xmp)):
        if len(head + body) > jpeg.MOST:
            lost[_LONG] += 1
        elif body:
            segments.append((jpeg.APP1, head + body))
    for part in jpeg.split(PHOTOSHOP_HEAD, metadata.resources):
        segments.append((jpeg.APP13, part))
    if metadata.iptc and not metadata.resources:
        lost[_IPTC] += 1
    profile = jpeg.split(b"ICC_PROFILE\0\0\0", colour.profile)
    for number, part in enumerate(profile):
        numbered = b"ICC_PROFILE\0" + bytes([number + 1, len(profile)]) + part[14:]
        segments.append((jpeg.APP2, numbered))
    if metadata.comment:
        segments.append((jpeg.COMMENT, metadata.comment))
    return jpeg.with_segments(buffer.getvalue(), segments)


def _png(image, kind, how, colour, metadata, lost) -> bytes:
    """Write PNG; without metadata the bytes are those of `data.png_of`."""
    chunks = list(metadata.chunks)
    if metadata.dpi and not any(name == b"pHYs" for name, _ in chunks):
        chunks.append(png.resolution_chunk(metadata.dpi))
    if metadata.exif:
        chunks.append((b"eXIf", metadata.exif))
    if metadata.xmp:
        chunks.append(png.xmp_chunk(metadata.xmp))
    return png.with_chunks(png_bytes(image, colour), chunks)


def _tiff(image, kind, how, colour, metadata, lost) -> bytes:
    """Write TIFF; EXIF, XMP and IPTC are tags of the picture."""
    pil = pillow()
    tags = pil.Image.Exif()
    if metadata.exif:
        tags.load(EXIF_HEAD + metadata.exif)
    for tag in [tag for tag in tags if 0x0100 <= tag <= 0x0103 or tag == 0x0112]:
        del tags[tag]
    for tag, body in (
        (_XMP_TAG, metadata.xmp),
        (_IPTC_TAG, metadata.iptc),
        (_PHOTOSHOP_TAG, metadata.resources),
    ):
        if body:
            tags[tag] = body
    return _saved(image, "TIFF", exif=tags, icc_profile=colour.profile, dpi=metadata.dpi, **how)


def _other(image, kind, how, colour, metadata, lost) -> bytes:
    """Write WebP, AVIF or HEIC."""
    if kind == "WEBP" and image.mode == "RGBA":
        how["exact"] = True
    content = _saved(
        image,
        kind,
        exif=metadata.exif and EXIF_HEAD + metadata.exif,
        xmp=metadata.xmp,
        icc_profile=colour.profile,
        **how,
    )
    numbers = dict(colour.chunks).get(b"cICP") if kind in ("AVIF", "HEIF") else None
    return content if numbers is None else heif.with_colours(content, (numbers[0], numbers[1]))
