"""Image files and image sizes (Pillow)."""

import io
import types
from collections.abc import Iterable
from typing import Any

import numpy as np

from anw_jax import errors, keys


def pillow() -> types.ModuleType:
    """Pillow, or a line that says what to install."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError:
        raise errors.SourceError(
            "reading or resizing images needs Pillow: pip install pillow"
        ) from None
    return PIL


def _to_rgb(image: Any, name: str) -> Any:
    """Converts to RGB where that invents nothing; `image` is Pillow's."""
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("RGBA", "LA"):
        if image.getchannel("A").getextrema()[0] < 255:
            raise errors.SourceError(
                f"{name} has transparent pixels, whose colour depends on what lies under "
                "them: save it without transparency"
            )
        return image.convert("RGB")
    if image.mode not in ("RGB", "L", "1"):
        raise errors.SourceError(f"{name} has colour mode {image.mode}: save it as 8-bit RGB")
    return image.convert("RGB")


def decode(content: bytes, name: str) -> np.ndarray:
    """Uint8 `[H, W, 3]` of a PNG, JPEG or WebP file; `name` is for errors."""
    pil = pillow()
    try:
        with pil.Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as image:
            image.load()
            upright = pil.ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, pil.Image.DecompressionBombError) as error:
        reason = str(error).partition(" <_io")[0]  # Pillow shows the buffer's address
        raise errors.SourceError(
            f"{name} cannot be decoded ({type(error).__name__}: {reason:.80}): "
            "replace or remove it"
        ) from error
    return np.asarray(_to_rgb(upright, name))


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
