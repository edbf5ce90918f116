"""Image files (Pillow): which are read, decoding, and resizing to one size."""

import contextlib
import functools
import io
import pathlib
import types
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from anw_jax import errors, keys
from anw_jax.data import rgb

# Of the images of a training set.
ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
# Of an owner's photos.
PHOTO_ENDINGS = (*ENDINGS, ".tif", ".tiff", ".avif", ".heic", ".heif", ".hif")

_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")

# Endings of image files that no training set has, by kind; owners' photos may be of the first.
_KINDS = {
    "TIFF": "tif tiff",
    "AVIF": "avif",
    "HEIF": "heic heif hif",
    "GIF": "gif giff",
    "BMP": "bmp dib rle",
    "several pictures or an animation in one file": "heics heifs avifs",
    "JPEG under an ending that is not read": "jfif jpe jif jfi jpg_large",
    "JPEG 2000, XL, XR or XS": "jp2 j2k j2c jpc jpf jpx jpm jxl jxr wdp hdp jxs",
    "PNG under an ending that is not read": "apng",
    "several pictures in one file": "mpo jps pns",
    "a file of an image editor": "psd psb xcf kra ora afphoto pdn clip",
    "a drawing": "svg svgz ai eps",
    "RAW": (
        "3fr ari arw bay cap cr2 cr3 craw crw dcr dcs dng drf eip erf fff gpr iiq k25 kdc mdc "
        "mef mos mrw nef nrw orf pef ptx pxn r3d raf raw rw2 rwl rwz sr2 srf srw x3f"
    ),
    "a picture of a kind that is not read": (
        "cin cur dcx dds dpx exr fits flif hdr icns ico insp jng mng pam pbm pcx pfm pgm pic "
        "pict pnm ppm qoi ras rgb rgba sgi tga wbmp xbm xpm"
    ),
}
_KIND_OF_ENDING = {
    f".{ending}": kind for kind, endings in _KINDS.items() for ending in endings.split()
}

# First bytes of the commonest kinds: an image file may have any ending.
_SIGNATURES = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",
    b"MM\0*",
    b"8BPS",
    b"\xff\x0a",
    b"\0\0\0\x0cJXL \r\n\x87\n",
    b"\0\0\0\x0cjP  \r\n\x87\n",
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1", b"avif", b"avis", b"crx ")

# `is_image` looks at this many bytes.
HEAD = 16


def kind_of_ending(ending: str) -> str:
    """Return what kind of image has this ending (lower case, with its dot); "" if none.

    Example:
      >>> kind_of_ending(".heic"), kind_of_ending(".txt")
      ('HEIF', '')
    """
    return _KIND_OF_ENDING.get(ending, "")


def is_image(head: bytes) -> bool:
    """Return whether a file that begins with these bytes is an image.

    Example:
      >>> is_image(b"GIF89a..."), is_image(b"file,label")
      (True, False)
    """
    in_riff = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    in_heif = head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS
    is_bmp = head[:2] == b"BM" and head[6:10] == bytes(4)
    return in_riff or in_heif or is_bmp or head.startswith(_SIGNATURES)


def pillow() -> types.ModuleType:
    """Import Pillow, or raise an error with the install command."""
    try:
        import PIL.Image
        import PIL.ImageOps
        import PIL.PngImagePlugin
    except ImportError:
        raise errors.SourceError(
            "reading or resizing images needs Pillow: pip install pillow"
        ) from None
    return PIL


@functools.cache
def _formats() -> tuple[str, ...]:
    """Return the formats that this installation of Pillow can read."""
    pil, found = pillow(), _FORMATS
    pil.Image.init()
    if "AVIF" in pil.Image.OPEN:
        found = (*found, "AVIF")
    try:
        import pillow_heif
    except ImportError:
        return found
    pillow_heif.register_heif_opener()
    return (*found, "HEIF")


def missing_reader(ending: str) -> str:
    """Return what is missing to read files of an ending of `PHOTO_ENDINGS`; "" if nothing."""
    kind = _KIND_OF_ENDING.get(ending)
    if kind == "AVIF" and "AVIF" not in _formats():
        return "AVIF, which needs Pillow 11.3 or later"
    if kind == "HEIF" and "HEIF" not in _formats():
        return "HEIC, which needs pillow-heif: pip install pillow-heif"
    return ""


@contextlib.contextmanager
def opened(content: bytes | pathlib.Path, name: str) -> Iterator[Any]:
    """Open a photo file with Pillow, not decoded yet; `name` is for errors.

    Raises:
      SourceError: for any error of Pillow in the body, in one line.
    """
    pil = pillow()
    file = io.BytesIO(content) if isinstance(content, bytes) else content
    try:
        with warnings.catch_warnings():
            # Of damaged metadata, which are counted; pixels raise errors.
            warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
            with pil.Image.open(file, formats=_formats()) as image:
                yield image
    except errors.SourceError:
        raise
    except pil.Image.DecompressionBombError:
        most = 2 * pil.Image.MAX_IMAGE_PIXELS
        raise errors.SourceError(
            f"{name} claims more than {most:,} pixels, the most that are read: scale it down"
        ) from None
    except Exception as error:  # Pillow's readers share no base class
        raise errors.SourceError(
            f"{name} cannot be decoded ({_why(error, content)}): replace or remove it"
        ) from error


def _why(error: Exception, content: bytes | pathlib.Path) -> str:
    """Return why a file cannot be decoded, in Pillow's words where they help."""
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if not size:
        return "it is empty"
    if isinstance(error, pillow().UnidentifiedImageError):
        return "it is no picture of a kind that is read, or its beginning is damaged"
    return f"{error!s:.80}" or type(error).__name__


class NotRgbError(errors.SourceError):
    """An image file that 8-bit RGB cannot represent; `reason` is the cause."""

    def __init__(self, name: str, reason: str, repair: str):
        super().__init__(f"{name} has {reason}: {repair}")
        self.reason = reason


def why_not_rgb(path: pathlib.Path) -> str:
    """Return what 8-bit RGB cannot hold of an image file; "" if nothing, or if damaged."""
    try:
        with opened(path, str(path)) as image:
            _check_single(image, "")
    except NotRgbError as error:
        return error.reason
    except errors.SourceError:
        pass  # reported when the file is read
    return ""


def _check_single(image: Any, name: str) -> None:
    """Refuse animations, several pages and modes that have no rule.

    A JPEG or HEIC file with a second picture (gain map) is no animation.
    """
    if image.format == "TIFF":
        if num_pages := rgb.num_pages(image):
            repair = "save the one that you want as a separate image"
            raise NotRgbError(name, f"{num_pages} pages", repair)
    elif image.format not in ("JPEG", "MPO", "HEIF") and image.is_animated:
        repair = "save the one that you want as a separate image"
        raise NotRgbError(name, f"{image.n_frames} frames of an animation", repair)
    if image.mode not in rgb.MODES:
        raise NotRgbError(name, f"colour mode {image.mode}", "save it as 8-bit RGB")


def decode_whole(image: Any, name: str) -> rgb.Decoded:
    """Decode an image that `opened` gave: upright 8-bit RGB, and alpha beside it.

    Raises:
      SourceError: an animation, several pages, or a mode that has no rule.
    """
    _check_single(image, name)
    raw_mode = str(image.tile[0][3]) if image.tile else ""
    profile = image.info.get("icc_profile") or b""
    image.load()
    pillow().ImageOps.exif_transpose(image, in_place=True)
    return rgb.decoded(image, raw_mode, profile)


# What a training set must not hold: the reason and the repair, by the note of `rgb`.
_NOT_PLAIN = {
    rgb.CMYK: ("colour mode CMYK", "save it as 8-bit RGB"),
    rgb.DEEP: ("16 bits per channel", "save it as 8-bit RGB"),
    rgb.TRANSPARENT: (
        "transparent pixels, whose colour depends on what lies under them",
        "save it without transparency",
    ),
}


def decode(content: bytes, name: str, *, only_plain: bool = False) -> np.ndarray:
    """Decode an image file to uint8 `[H, W, 3]`, by the rules of `rgb`.

    Args:
      content: of the file.
      name: for errors.
      only_plain: refuse what 8-bit RGB cannot hold: 16 bits, CMYK, transparent pixels.

    Raises:
      SourceError: it cannot be decoded, is an animation, or is refused.
    """
    with opened(content, name) as image:
        decoded = decode_whole(image, name)
    if only_plain and decoded.notes:
        raise NotRgbError(name, *_NOT_PLAIN[decoded.notes[0]])
    return decoded.pixels


def fit(image: np.ndarray, image_size: int | None) -> np.ndarray:
    """Resize the short side to `image_size` (bicubic), then cut out the centre square.

    An image that has that size already, or `image_size=None`, is returned unchanged.
    """
    height, width = image.shape[:2]
    if image_size is None or (height, width) == (image_size, image_size):
        return image
    image_module = pillow().Image
    scale = image_size / min(height, width)
    size = (max(image_size, round(width * scale)), max(image_size, round(height * scale)))
    resized = image_module.fromarray(image).resize(size, image_module.Resampling.BICUBIC)
    left, top = (size[0] - image_size) // 2, (size[1] - image_size) // 2
    return np.asarray(resized)[top : top + image_size, left : left + image_size]


def fit_all(
    images: np.ndarray, image_size: int | None
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Resize uint8 images `[n, H, W, 3]`; also return digests of the originals if resized."""
    if image_size is None:
        return images, None
    fitted = np.empty((len(images), image_size, image_size, 3), np.uint8)
    for row, image in enumerate(images):
        fitted[row] = fit(image, image_size)
    # Slots depend on the digests, so never on the resizing.
    return fitted, tuple(keys.image_digest(image) for image in images)
