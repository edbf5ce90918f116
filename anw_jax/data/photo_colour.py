"""The colour information of a photo file: ICC profile, PNG chunks, EXIF."""

import dataclasses
import io
import os
import pathlib
import struct
from typing import Any

import numpy as np

from anw_jax import errors
from anw_jax.data import image_files, rgb

# PNG chunks about colour, which are copied unchanged.
_CHUNKS = (b"cICP", b"gAMA", b"cHRM")
_SRGB_CICP = b"\x01\x0d\x00\x01"
_GAMMA, _NEAR_GAMMA = 45455, 1000
_SRGB_CHRM = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)

_OTHER = (
    ", which is kept: the mark is made in its numbers, and a learner that converts to sRGB "
    "meets a slightly different one (convert the photos to sRGB first to avoid that)"
)
KEPT_PROFILE = f"a colour profile other than sRGB{_OTHER}"
KEPT_NUMBERS = f"a colour space other than sRGB, named by numbers{_OTHER}"
KEPT_CHUNKS = f"PNG chunks that name other colours than sRGB{_OTHER}"
LOST_PROFILE = "a colour profile that no RGB picture can hold, which is not kept"
ADOBE_EXIF = (
    "Adobe RGB named by EXIF alone, which few programs read: convert them to sRGB first"
)


@dataclasses.dataclass(frozen=True)
class PhotoColour:
    """How the pixel values of a photo file are to be interpreted.

    Attributes:
      profile: an ICC profile of RGB; b"" for none.
      chunks: (name, content) of PNG chunks about colour.
      notes: notes to the owner, each the end of "photos with …"; none for plain sRGB.
    """

    profile: bytes = b""
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    notes: tuple[str, ...] = ()


def colour_of(path: str | os.PathLike) -> PhotoColour:
    """Read the colour information of a photo file, without decoding it.

    Pixel values are marked and hashed as the file holds them. The colour information goes into
    the published PNG (`png_of`), so that both look alike in a viewer but for the mark.

    Raises:
      SourceError: it cannot be read.
    """
    path = pathlib.Path(path)
    with image_files.opened(path, str(path)) as image:
        profile = image.info.get("icc_profile") or b""
        chunks = _chunks(path) if image.format == "PNG" else ()
        notes = []
        if profile and not is_rgb_profile(profile):
            profile = b""
            notes.append(LOST_PROFILE)
        elif profile and not is_srgb(profile):
            notes.append(KEPT_PROFILE)
        if _differ(chunks, bool(profile) or "srgb" in image.info):
            notes.append(KEPT_CHUNKS)
        if not profile and not chunks and _is_adobe(image):
            notes.append(ADOBE_EXIF)
        if profile or "srgb" in image.info:  # these override gAMA and cHRM
            chunks = tuple(pair for pair in chunks if pair[0] == b"cICP")
        return PhotoColour(profile, chunks, tuple(notes))


def _chunks(path: pathlib.Path) -> tuple[tuple[bytes, bytes], ...]:
    """Return the chunks about colour, which come before the pixels; each once."""
    found: dict[bytes, bytes] = {}
    try:
        with path.open("rb") as file:
            file.seek(8)
            while len(head := file.read(8)) == 8:
                length, name = struct.unpack(">I4s", head)
                if name == b"IDAT":
                    break
                if name in _CHUNKS and length <= 32:
                    found.setdefault(name, file.read(length))
                    length = 0
                file.seek(length + 4, os.SEEK_CUR)
    except OSError as error:
        raise errors.SourceError(f"{path} cannot be read: {error.strerror}") from None
    return tuple(found.items())


def _differ(chunks: tuple[tuple[bytes, bytes], ...], named_otherwise: bool) -> bool:
    """Return whether chunks name other colours than sRGB, and nothing overrides them."""
    by_name = dict(chunks)
    if b"cICP" in by_name:
        return by_name[b"cICP"] != _SRGB_CICP
    if named_otherwise:
        return False
    gamma, primaries = by_name.get(b"gAMA"), by_name.get(b"cHRM")
    if gamma is not None and abs(int.from_bytes(gamma, "big") - _GAMMA) > _NEAR_GAMMA:
        return True
    if primaries is None or len(primaries) != 32:
        return False
    pairs = zip(struct.unpack(">8I", primaries), _SRGB_CHRM, strict=True)
    return any(abs(value - wanted) > 500 for value, wanted in pairs)


def _is_adobe(image: Any) -> bool:
    """Return whether the EXIF data name Adobe RGB."""
    try:
        exif = image.getexif()
        interoperability = exif.get_ifd(0xA005).get(1) or ""
        return exif.get_ifd(0x8769).get(0xA001) == 2 or str(interoperability).startswith("R03")
    except Exception:  # damaged EXIF data are ignored
        return False


# Colourants of sRGB, adapted to D50 as in profiles.
_COLOURANTS = {
    b"rXYZ": (0.4361, 0.2225, 0.0139),
    b"gXYZ": (0.3851, 0.7169, 0.0971),
    b"bXYZ": (0.1431, 0.0606, 0.7141),
}
_NEAR = 0.005  # between versions of sRGB; Display P3 is .08 off, Adobe RGB .17

_LEVELS = np.linspace(0.0, 1.0, 33)
_SRGB_CURVE = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4)
_NEAR_CURVE = 0.01


def is_rgb_profile(profile: bytes) -> bool:
    """Return whether these bytes are an ICC profile of RGB, by their header."""
    return len(profile) >= 132 and profile[36:40] == b"acsp" and profile[16:20] == b"RGB "


def is_srgb(profile: bytes) -> bool:
    """Return whether a profile has sRGB's colourants and curves, under any name.

    A profile with look-up tables, or one that cannot be read, does not count as sRGB.
    """
    try:
        tags = _tags(profile)
        if any(name[:3] in (b"A2B", b"D2B") for name in tags):
            return False
        colourants = {
            name: np.array(struct.unpack(">3i", tags[name][8:20])) / 65536
            for name in _COLOURANTS
        }
        curves = [_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")]
    except (struct.error, LookupError, ValueError):
        return False
    are_near = all(
        np.abs(colourants[name] - wanted).max() <= _NEAR for name, wanted in _COLOURANTS.items()
    )
    return are_near and all(np.abs(c - _SRGB_CURVE).max() <= _NEAR_CURVE for c in curves)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (number,) = struct.unpack(">I", profile[128:132])
    tags = {}
    for place in range(min(number, 200)):
        name, start, size = struct.unpack(">4sII", profile[132 + 12 * place :][:12])
        tags[name] = profile[start : start + size]
    return tags


def _curve(tag: bytes) -> np.ndarray:
    """Return a tone curve at `_LEVELS`."""
    if tag[:4] == b"para":
        return _parametric(tag)
    if tag[:4] != b"curv":
        raise ValueError("no tone curve")
    (number,) = struct.unpack(">I", tag[8:12])
    if number == 0:
        return _LEVELS
    if number == 1:
        (gamma,) = struct.unpack(">H", tag[12:14])
        return _LEVELS ** (gamma / 256)
    values = np.frombuffer(tag[12 : 12 + 2 * number], ">u2") / 65535
    return np.interp(_LEVELS, np.linspace(0, 1, len(values)), values)


def _parametric(tag: bytes) -> np.ndarray:
    """Return a parametric curve of ICC's types 0 to 4 at `_LEVELS`."""
    (kind,) = struct.unpack(">H", tag[8:10])
    number = (1, 3, 4, 5, 7)[kind]
    g, *rest = (v / 65536 for v in struct.unpack(f">{number}i", tag[12 : 12 + 4 * number]))
    a, b, c, d, e, f = [*rest, *[0.0] * (6 - len(rest))] if rest else [1.0, *[0.0] * 5]
    if kind in (1, 2):  # no linear part: constant below -b / a
        a, b, c, d, e, f = a, b, 0.0, -b / a if a else 0.0, c, c
    with np.errstate(all="ignore"):
        power = np.maximum(a * _LEVELS + b, 0.0) ** g + e
        return np.nan_to_num(np.where(_LEVELS >= d, power, c * _LEVELS + f), nan=9.0)


def to_srgb(pixels: np.ndarray, colour: PhotoColour) -> np.ndarray:
    """Convert uint8 `[H, W, 3]` pixels to sRGB, as a viewer shows them on a plain screen.

    By the profile, if there is one other than sRGB; a damaged one is ignored, as viewers do.
    PNG chunks are ignored too.
    """
    if not colour.profile or is_srgb(colour.profile):
        return pixels
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(colour.profile))
        image = image_files.pillow().Image.fromarray(pixels)
        return np.asarray(ImageCms.profileToProfile(image, source, rgb.srgb_profile()))
    except (ImageCms.PyCMSError, OSError):
        return pixels
