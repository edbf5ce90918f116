"""Image files (Pillow): which are read, what they hold, and images brought to one size."""

import contextlib
import io
import pathlib
import types
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from anw_jax import errors, keys

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")

_MODES = ("RGB", "RGBA", "L", "LA", "1", "P")

# Endings of pictures, by what they are; photos that are read have `ENDINGS`.
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

# First bytes of the commonest kinds: a picture need not be named as one.
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

# So many bytes decide.
HEAD = 16


def kind_of_ending(ending: str) -> str:
    """What a file with this ending (lower case, with its dot) is; "" if no picture.

    Example:
      >>> kind_of_ending(".heic"), kind_of_ending(".txt")
      ('HEIF', '')
    """
    return _KIND_OF_ENDING.get(ending, "")


def is_picture(head: bytes) -> bool:
    """Whether a file that begins like this is a picture.

    Example:
      >>> is_picture(b"GIF89a..."), is_picture(b"file,label")
      (True, False)
    """
    in_riff = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    in_heif = head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS
    is_bmp = head[:2] == b"BM" and head[6:10] == bytes(4)
    return in_riff or in_heif or is_bmp or head.startswith(_SIGNATURES)


def pillow() -> types.ModuleType:
    """Pillow, or a line that says what to install."""
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
    """Pillow's image of a PNG, JPEG or WebP file, not decoded yet; `name` is for errors.

    Raises:
      SourceError: whatever goes wrong with it in the body, in one line.
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
    except Exception as error:  # of Pillow's readers, which share no base
        reason = str(error).partition(" <_io")[0]  # Pillow shows the buffer's address
        raise errors.SourceError(
            f"{name} cannot be decoded ({type(error).__name__}: {reason:.80}): "
            "replace or remove it"
        ) from error


def _is_animated(image: Any) -> bool:
    """Whether Pillow's image moves; a JPEG with a second picture (a gain map) does not."""
    return image.format != "JPEG" and image.format != "MPO" and image.is_animated


class NotHeldError(errors.SourceError):
    """8-bit RGB would not hold all that a photo file shows; `reason` says what."""

    def __init__(self, name: str, reason: str, repair: str):
        super().__init__(f"{name} has {reason}: {repair}")
        self.reason = reason


def why_not(path: pathlib.Path) -> str:
    """What of a photo file 8-bit RGB would not hold; "" where it does, or it is damaged."""
    try:
        with opened(path, str(path)) as image:
            raw_mode = _checked_raw_mode(image, "")
            if "A" in image.getbands() or "transparency" in image.info:
                image.load()
                _to_rgb(image, "", raw_mode)
    except NotHeldError as error:
        return error.reason
    except errors.SourceError:
        pass  # whoever reads the photo says so
    return ""


def _checked_raw_mode(image: Any, name: str) -> str:
    """How the file holds its numbers, before Pillow cuts them to 8 bits or to one frame."""
    if _is_animated(image):
        repair = "save the one that you want as a picture of its own"
        raise NotHeldError(name, f"{image.n_frames} frames of an animation", repair)
    raw_mode = str(image.tile[0][3]) if image.tile else ""
    if image.format == "PNG" and ";16" in raw_mode:
        raise NotHeldError(name, "16 bits per channel", "save it as 8-bit RGB")
    if image.mode not in _MODES:
        raise NotHeldError(name, f"colour mode {image.mode}", "save it as 8-bit RGB")
    return raw_mode


def _transparent(name: str) -> errors.SourceError:
    return NotHeldError(
        name,
        "transparent pixels, whose colour depends on what lies under them",
        "save it without transparency",
    )


def _has_colour(image: Any, colour: Any, raw_mode: str) -> bool:
    """Whether a pixel has the colour that a PNG without alpha declares transparent."""
    scale = {"L;2": 85, "L;4": 17}.get(raw_mode, 1)
    if image.mode == "1":
        image, scale = image.convert("L"), 1 if colour > 1 else 255
    wanted = np.asarray(colour) * scale
    pixels = np.asarray(image)
    return bool((pixels == wanted).reshape(*pixels.shape[:2], -1).all(-1).any())


def _to_rgb(image: Any, name: str, raw_mode: str) -> Any:
    """Converts to RGB where that invents nothing; `image` is Pillow's."""
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("RGBA", "LA"):
        if image.getchannel("A").getextrema()[0] < 255:
            raise _transparent(name)
        return image.convert("RGB")
    colour = image.info.pop("transparency", None)
    if colour is not None and _has_colour(image, colour, raw_mode):
        raise _transparent(name)
    return image.convert("RGB")


def decode(content: bytes, name: str) -> np.ndarray:
    """Uint8 `[H, W, 3]` of a PNG, JPEG or WebP file; `name` is for errors.

    One rule for what 8-bit RGB cannot hold: animations, 16 bits and transparent pixels are
    refused, so that what is hashed is all that the file shows.
    """
    with opened(content, name) as image:
        raw_mode = _checked_raw_mode(image, name)
        image.load()
        upright = pillow().ImageOps.exif_transpose(image)
        return np.asarray(_to_rgb(upright, name, raw_mode))


def fit(image: np.ndarray, image_size: int | None) -> np.ndarray:
    """Resizes the short side to `image_size` (bicubic), then cuts out the centre square.

    An image that has that size already, or `image_size=None`, passes untouched.
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


def stack(
    named_images: Iterable[tuple[str, np.ndarray]], count: int, image_size: int | None
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Uint8 `[count, H, W, 3]`, and the digests of the originals where they are resized.

    Holds one decoded image at a time beside the result.
    """
    stacked, digests = None, []
    for row, (name, image) in enumerate(named_images):
        if image_size is not None:  # a key's slots hang on these, so never on the resizing
            digests.append(keys.image_digest(image))
        image = fit(image, image_size)
        if stacked is None:
            first_name, stacked = name, np.empty((count, *image.shape), np.uint8)
        if image.shape != stacked.shape[1:]:
            raise sizes_differ(first_name, stacked.shape[1:], name, image.shape)
        stacked[row] = image
    return stacked, None if image_size is None else tuple(digests)


def sizes_differ(
    first_name: str, first_shape: tuple[int, ...], name: str, shape: tuple[int, ...]
) -> errors.SourceError:
    """The error for two images `[H, W, 3]` that do not go into one array."""
    first_size, size = ("x".join(map(str, s[:2])) for s in (first_shape, shape))
    return errors.SourceError(
        f"{first_name} is {first_size} and {name} is {size} (height x width): set "
        "image_size to bring all images to one size"
    )
