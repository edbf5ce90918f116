"""Image files (Pillow): which are read, decoding, and resizing to one size."""

import contextlib
import io
import pathlib
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from anw_jax import errors, keys

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")

_MODES = ("RGB", "RGBA", "L", "LA", "1", "P")

# Endings of image files that are not read, by kind; those that are read have `ENDINGS`.
_KINDS = {
    "GIF": "gif giff",
    "BMP": "bmp dib rle",
    "TIFF": "tif tiff",
    "HEIF": "heic heif heics heifs hif avif avifs",
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


@contextlib.contextmanager
def opened(content: bytes | pathlib.Path, name: str) -> Iterator[Any]:
    """Open a PNG, JPEG or WebP file with Pillow, not decoded yet; `name` is for errors.

    Raises:
      SourceError: for any error of Pillow in the body, in one line.
    """
    pil = pillow()
    file = io.BytesIO(content) if isinstance(content, bytes) else content
    try:
        with pil.Image.open(file, formats=("PNG", "JPEG", "WEBP")) as image:
            yield image
    except errors.SourceError:
        raise
    except pil.Image.DecompressionBombError:
        most = 2 * pil.Image.MAX_IMAGE_PIXELS
        raise errors.SourceError(
            f"{name} claims more than {most:,} pixels, the most that are read: scale it down"
        ) from None
    except Exception as error:  # Pillow's readers share no base class
        reason = str(error).partition(" <_io")[0]  # Pillow shows the buffer's address
        raise errors.SourceError(
            f"{name} cannot be decoded ({type(error).__name__}: {reason:.80}): "
            "replace or remove it"
        ) from error


def _is_animated(image: Any) -> bool:
    """Return whether the image is animated; a JPEG with a second picture (gain map) is not."""
    return image.format != "JPEG" and image.format != "MPO" and image.is_animated


class NotRgbError(errors.SourceError):
    """An image file that 8-bit RGB cannot represent; `reason` is the cause."""

    def __init__(self, name: str, reason: str, repair: str):
        super().__init__(f"{name} has {reason}: {repair}")
        self.reason = reason


def why_not_rgb(path: pathlib.Path) -> str:
    """Return what 8-bit RGB cannot hold of an image file; "" if nothing, or if damaged."""
    try:
        with opened(path, str(path)) as image:
            raw_mode = _checked_raw_mode(image, "")
            if "A" in image.getbands() or "transparency" in image.info:
                image.load()
                _to_rgb(image, "", raw_mode)
    except NotRgbError as error:
        return error.reason
    except errors.SourceError:
        pass  # reported when the file is read
    return ""


def _checked_raw_mode(image: Any, name: str) -> str:
    """Return the file's raw mode, before Pillow reduces it to 8 bits or to one frame."""
    if _is_animated(image):
        repair = "save the one that you want as a separate image"
        raise NotRgbError(name, f"{image.n_frames} frames of an animation", repair)
    raw_mode = str(image.tile[0][3]) if image.tile else ""
    if image.format == "PNG" and ";16" in raw_mode:
        raise NotRgbError(name, "16 bits per channel", "save it as 8-bit RGB")
    if image.mode not in _MODES:
        raise NotRgbError(name, f"colour mode {image.mode}", "save it as 8-bit RGB")
    return raw_mode


def _has_colour(image: Any, colour: Any, raw_mode: str) -> bool:
    """Return whether a pixel has the colour that a PNG without alpha declares transparent."""
    scale = {"L;2": 85, "L;4": 17}.get(raw_mode, 1)
    if image.mode == "1":
        image, scale = image.convert("L"), 1 if colour > 1 else 255
    wanted = np.asarray(colour) * scale
    pixels = np.asarray(image)
    return bool((pixels == wanted).reshape(*pixels.shape[:2], -1).all(-1).any())


def _to_rgb(image: Any, name: str, raw_mode: str) -> Any:
    """Convert Pillow's image to RGB where no colour has to be made up."""
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("RGBA", "LA"):
        is_transparent = image.getchannel("A").getextrema()[0] < 255
    else:
        colour = image.info.pop("transparency", None)
        is_transparent = colour is not None and _has_colour(image, colour, raw_mode)
    if is_transparent:
        raise NotRgbError(
            name,
            "transparent pixels, whose colour depends on what lies under them",
            "save it without transparency",
        )
    return image.convert("RGB")


def decode(content: bytes, name: str) -> np.ndarray:
    """Decode a PNG, JPEG or WebP file to uint8 `[H, W, 3]`; `name` is for errors.

    Animations, 16 bits and transparent pixels, which 8-bit RGB cannot hold, are refused, so
    that the hashed pixels are all that the file shows.
    """
    with opened(content, name) as image:
        raw_mode = _checked_raw_mode(image, name)
        image.load()
        upright = pillow().ImageOps.exif_transpose(image)
        return np.asarray(_to_rgb(upright, name, raw_mode))


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
