"""Write the marked pixels of a photo into a file of the same kind, or of a chosen one."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from anw_jax import _check, errors
from anw_jax.data import image_files
from anw_jax.data.photo_colour import KEPT_NUMBERS, PhotoColour, colour_of
from anw_jax.data.photo_files import heif, jpeg, webp, writers
from anw_jax.data.photo_files import metadata as metadata_of
from anw_jax.data.photo_files.metadata import Metadata
from anw_jax.data.photos import read_bytes

FORMATS = ("same", "png", "jpeg", "webp")
_ENDINGS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
FURTHER_PICTURES = "further pictures or a video, which are neither marked nor published"
# Of kinds whose files do not say at which quality they were written.
DEFAULT_QUALITY = 90
# Of a JPEG file made from another kind.
_NEW_JPEG_QUALITY = 95
# Primaries and transfer functions (ITU-T H.273) that viewers show as sRGB; 2 is "not known".
_LIKE_SRGB = (1, 2), (1, 2, 6, 13)
_LOSSLESS_TIFF = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How marked photos are written.

    Attributes:
      format: one of `FORMATS`; "same" keeps each file's own.
      quality: 1 to 100, of lossy files; None for that of the original where it is known.
      strip_gps: remove the place from EXIF and XMP.
      strip_all: remove all metadata; the colour profile stays.

    Raises:
      TypeError, ValueError: another format, or a quality out of range or of a lossless format.
    """

    format: str = "same"
    quality: int | None = None
    strip_gps: bool = False
    strip_all: bool = False

    def __post_init__(self):
        _check.one_of(FORMATS, format=self.format)
        if self.quality is None:
            return
        _check.integer_at_least(1, quality=self.quality)
        if self.quality > 100:
            raise ValueError(f"quality must be at most 100, got {self.quality}")
        if self.format == "png":
            raise ValueError(f"quality must be left out of lossless PNG, got {self.quality}")

    @property
    def ending(self) -> str:
        """The ending of published files; "" for that of each original."""
        return _ENDINGS.get(self.format, "")


@dataclasses.dataclass(frozen=True, eq=False)
class Original:
    """An owner's photo file, decoded, with what its marked copy needs.

    Attributes:
      pixels: uint8 `[H, W, 3]`, upright.
      alpha: uint8 `[H, W]`, or None.
      kind: the format's name in Pillow; JPEG also for several pictures in one.
      how: arguments of Pillow that write a file of this kind as the original was.
      text: names them.
      colour: profile or PNG chunks.
      metadata: everything else.
      rules: what decoding changed, notes of `rgb`.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    kind: str
    how: dict[str, Any]
    text: str
    colour: PhotoColour
    metadata: Metadata
    rules: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the owner should know, each the end of "photos with …"."""
        removed = self.metadata.removed
        further = removed[metadata_of.FOLLOWING] + removed[metadata_of.VIDEO]
        return (*self.colour.notes, *self.rules, *([FURTHER_PICTURES] if further else []))


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A marked photo as a file.

    Attributes:
      content: its bytes.
      text: format and quality.
      removed: what of the original's metadata is not in it, counted.
    """

    content: bytes
    text: str
    removed: dict[str, int]


def read_original(path: pathlib.Path) -> Original:
    """Read an owner's photo file.

    Raises:
      SourceError: it cannot be read or decoded, or is an animation.
    """
    content, name = read_bytes(path), str(path)
    with image_files.opened(content, name) as image:
        kind = "JPEG" if image.format == "MPO" else image.format
        how, text = _how(image, content, kind)
        text += ", RGB in place of the palette" if image.mode in ("P", "PA") else ""
        metadata = metadata_of.read(image, content)
        decoded = image_files.decode_whole(image, name)
    colour, rules = colour_of(path), decoded.notes
    if kind in ("AVIF", "HEIF"):
        colour = _with_numbers(colour, content)
        if (bits := heif.depth(content)) > 8:
            rules = (f"{bits} bits per channel, which become 8", *rules)
    return Original(decoded.pixels, decoded.alpha, kind, how, text, colour, metadata, rules)


def _with_numbers(colour: PhotoColour, content: bytes) -> PhotoColour:
    """Add the colour space that an AVIF or HEIC file names by numbers, as PNG's chunk cICP."""
    numbers = None if colour.profile else heif.colours(content)
    if numbers is None or (numbers[0] in _LIKE_SRGB[0] and numbers[1] in _LIKE_SRGB[1]):
        return colour
    if max(numbers) > 255:
        return colour
    chunk = (b"cICP", bytes([*numbers, 0, 1]))
    return PhotoColour(b"", (chunk,), (*colour.notes, KEPT_NUMBERS))


def _how(image: Any, content: bytes, kind: str) -> tuple[dict[str, Any], str]:
    """Return Pillow's arguments for a file like this one, and their name."""
    if kind == "JPEG":
        return _like_jpeg(image)
    if kind == "WEBP":
        frame = dict(webp.chunks(content)).get(webp.LOSSY)
        if frame is None:
            return {"lossless": True}, "WebP, lossless"
        return _of_quality("WebP", webp.quality_of(frame))
    if kind == "TIFF":
        compression = image.info.get("compression", "raw")
        if compression not in _LOSSLESS_TIFF:
            compression = "tiff_adobe_deflate"
        name = "uncompressed" if compression == "raw" else compression.removeprefix("tiff_")
        return {"compression": compression}, f"TIFF, {name}"
    if kind == "PNG":
        return {}, "PNG"
    how, text = _of_quality("HEIC" if kind == "HEIF" else kind, heif.quality_of(content))
    chroma = heif.subsampling(content)
    if kind == "HEIF":
        return how | {"chroma": chroma}, text
    return how | {"subsampling": ":".join(str(chroma))}, text


def _of_quality(name: str, estimate: int | None) -> tuple[dict[str, Any], str]:
    """Return the quality to write with, and what to say of it."""
    if estimate is None:
        text = f"{name}, quality {DEFAULT_QUALITY} (the original's is not known)"
        return {"quality": DEFAULT_QUALITY}, text
    return {"quality": estimate}, f"{name}, quality {estimate} (estimated from the original)"


def _like_jpeg(image: Any) -> tuple[dict[str, Any], str]:
    """Take quantisation tables and subsampling from a JPEG file."""
    from PIL import JpegImagePlugin

    tables = [[min(max(v, 1), 2**15 - 1) for v in t] for t in image.quantization.values()]
    luminance, chroma = tables[0], tables[min(1, len(tables) - 1)]
    subsampling = JpegImagePlugin.get_sampling(image) if image.mode == "RGB" else -1
    # Others cannot be written: all samples are then kept.
    how = {
        "qtables": [luminance, chroma],
        "subsampling": max(subsampling, 0),
        "progressive": bool(image.info.get("progressive")),
    }
    return how, f"JPEG, quality {jpeg.quality_of(luminance)}, as the original"


def encode(original: Original, marked: np.ndarray, encoding: Encoding, name: str) -> Encoded:
    """Write a photo's marked pixels as a file.

    Profile and alpha go with them, and EXIF, XMP, IPTC, resolution and texts unless they are to
    be stripped. The photo is upright, so its orientation is reset. Pictures within the
    original's file show the unmarked photo and are removed.

    Args:
      original: the file that was marked.
      marked: uint8 `[H, W, 3]`.
      encoding: format, quality and what to strip.
      name: for errors.

    Raises:
      SourceError: the format cannot hold it.
    """
    pixels = _check.uint8_image(marked=marked)
    kind = original.kind if encoding.format == "same" else encoding.format.upper()
    how, text = (original.how, original.text) if kind == original.kind else _new(kind)
    if encoding.quality is not None and kind in ("JPEG", "WEBP", "AVIF", "HEIF"):
        kept = {"subsampling", "progressive", "chroma"}
        how = {key: value for key, value in how.items() if key in kept}
        how["quality"], text = encoding.quality, f"{kind}, quality {encoding.quality}"
    if original.alpha is not None:
        if kind == "JPEG":
            raise errors.SourceError(
                f"{name} has transparency, which JPEG cannot hold: choose another format"
            )
        pixels = np.dstack([pixels, original.alpha])
    height, width = pixels.shape[:2]
    metadata = original.metadata.cleaned(
        (width, height), strip_gps=encoding.strip_gps, strip_all=encoding.strip_all
    )
    image = image_files.pillow().Image.fromarray(pixels)
    try:
        content, lost = writers.write(image, kind, how, original.colour, metadata)
    except Exception as error:  # Pillow's writers share no base class
        raise errors.SourceError(
            f"{name} cannot be written as {kind} ({type(error).__name__}: {error!s:.80}): "
            "choose another format"
        ) from None
    return Encoded(content, text, dict(sorted((metadata.removed + lost).items())))


def _new(kind: str) -> tuple[dict[str, Any], str]:
    """Return how a file of another kind than the original's is written."""
    if kind == "JPEG":
        how = {"quality": _NEW_JPEG_QUALITY, "subsampling": 0}
        return how, f"JPEG, quality {_NEW_JPEG_QUALITY}"
    if kind == "WEBP":
        return {"quality": DEFAULT_QUALITY}, f"WebP, quality {DEFAULT_QUALITY}"
    return {}, "PNG"
