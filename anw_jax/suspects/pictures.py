"""Load, augment, preprocess and batch images for a suspect."""

import dataclasses
import functools
import hashlib
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from anw_jax import _check
from anw_jax.keys.plan_fields import FILLS
from anw_jax.suspects.declaration import RANGES, Declaration
from anw_jax.suspects.protocol import RemoteSuspect, Suspect
from anw_jax.verify.losses import shifted_pixels


class Pictures(Sequence):
    """Uint8 pictures that a function reads one by one; the last one is kept.

    Args:
      shapes: (H, W, 3) of each.
      read: returns picture number i.

    Attributes:
      shapes: as given.

    Example:
      >>> pictures = Pictures([(2, 2, 3)] * 5, lambda i: np.full((2, 2, 3), i, np.uint8))
      >>> len(pictures), pictures.shape, int(pictures[3].max())
      (5, (5, 2, 2, 3), 3)
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], read: Callable[[int], np.ndarray]):
        self.shapes = [tuple(shape) for shape in shapes]
        self._read = read
        self._last: tuple[int, np.ndarray] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, H, W, 3), as for an array.

        Raises:
          ValueError: pictures of several sizes, or none.
        """
        if len(set(self.shapes)) != 1:
            raise ValueError(f"images must be of one size, got {len(set(self.shapes))} sizes")
        return len(self.shapes), *self.shapes[0]

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> np.ndarray:
        number = range(len(self))[index]
        if self._last is None or self._last[0] != number:
            self._last = None  # do not hold two large ones at once
            self._last = number, self._read(number)
        return self._last[1]


# A large picture is resized in float64, in parts of this many values, 8 MiB.
_BLOCK_VALUES = 2**20


def prepare(images: np.ndarray, declaration: Declaration) -> np.ndarray:
    """Resize and scale pictures, normalise them, order the channels and lay out the axes.

    In this order: size, range, mean and std, channel order, layout. Resizing averages pixels
    when shrinking and interpolates linearly when growing (a triangle filter, as in Pillow's
    and JAX's antialiased "bilinear"), in float64, so that the result is the same on every
    machine, up to about the last bit of float32.

    Args:
      images: float32 `[b, H, W, 3]`, RGB in [0, 1].
      declaration: what the model takes.

    Returns:
      float32, contiguous, `[b, H', W', 3]` or `[b, 3, H', W']`.

    Example:
      >>> white = np.ones((1, 2, 2, 3), np.float32)
      >>> wanted = Declaration(10, layout="NCHW", value_range="bytes")
      >>> prepare(white, wanted).shape, float(prepare(white, wanted).max())
      ((1, 3, 2, 2), 255.0)
    """
    pixels = _resized(images, declaration.input_size)
    low, high = RANGES[declaration.value_range]
    # One multiplication and one addition for each channel: range and normalisation together.
    std = np.asarray(declaration.std, np.float64)
    factor = (high - low) / std
    offset = (low - np.asarray(declaration.mean, np.float64)) / std
    if (factor != 1.0).any() or (offset != 0.0).any():
        pixels = pixels * factor.astype(np.float32) + offset.astype(np.float32)
    if declaration.channels == "BGR":
        pixels = pixels[..., ::-1]
    if declaration.layout == "NCHW":
        pixels = pixels.transpose(0, 3, 1, 2)
    prepared = np.ascontiguousarray(pixels, np.float32)
    # A model may change its input, but not the caller's pictures.
    return prepared.copy() if np.may_share_memory(prepared, images) else prepared


def restored(values: np.ndarray, declaration: Declaration) -> np.ndarray:
    """Turn a model's pictures back into RGB, channels last, 1.0 for white.

    The reverse of `prepare` without size, mean and std.

    Args:
      values: float `[b, H, W, 3]` or `[b, 3, H, W]`, as declared.
      declaration: of the model.

    Returns:
      float `[b, H, W, 3]`; outside [0, 1] where the values are outside the declared range.

    Example:
      >>> signed = Declaration(answer="image", layout="NCHW", value_range="signed")
      >>> restored(np.ones((1, 3, 2, 4)), signed).shape
      (1, 2, 4, 3)
    """
    if declaration.layout == "NCHW":
        values = values.transpose(0, 2, 3, 1)
    if declaration.channels == "BGR":
        values = values[..., ::-1]
    low, high = RANGES[declaration.value_range]
    return (values - low) / (high - low)


def fitted(pictures: Sequence[np.ndarray], size: tuple[int, int] | None) -> np.ndarray:
    """Divide 8-bit pictures by 255 and resize them to the declared size, for a suspect.

    Each picture is resized before the next one is read, so that photos of 12 megapixels take
    only the memory of the model's input.

    Args:
      pictures: uint8 `[H, W, 3]` each; sizes may differ where `size` is given.
      size: (H', W') of the declaration; None leaves pictures as they are.

    Returns:
      float32 `[b, H', W', 3]` in [0, 1].

    Example:
      >>> grey = np.full((4, 6, 3), 51, np.uint8)
      >>> fitted([grey, grey[:, :2]], (2, 3)).shape, float(fitted([grey], None).max())
      ((2, 2, 3, 3), 0.20000000298023224)
    """
    height, width = pictures[0].shape[:2] if size is None else size
    out = np.empty((len(pictures), height, width, 3), np.float32)
    for picture, place in zip(pictures, out, strict=True):
        if picture.shape[:2] == (height, width):
            # The same division as in `verify`: the arbitrator queries exactly uint8 / 255.
            np.divide(picture, np.float32(255), out=place, dtype=np.float32)
        else:
            _resize(picture, place)
    return out


def cropped(picture: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Return the largest centred part of a picture `[H, W, 3]` with the shape of `size`.

    To the nearest pixel; an odd pixel is cut off right and below. None cuts nothing.

    Example:
      >>> cropped(np.zeros((10, 30, 3), np.uint8), (4, 8)).shape
      (10, 20, 3)
    """
    if size is None:
        return picture
    (height, width), (high, wide) = picture.shape[:2], size
    if width * high > height * wide:
        rows, columns = height, max(1, (2 * height * wide + high) // (2 * high))
    else:
        rows, columns = max(1, (2 * width * high + wide) // (2 * wide)), width
    top, left = (height - rows) // 2, (width - columns) // 2
    return np.ascontiguousarray(picture[top : top + rows, left : left + columns])


def _resized(images: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    if size is None or size == images.shape[1:3]:
        return images
    out = np.empty((len(images), *size, images.shape[3]), np.float32)
    for image, place in zip(images, out, strict=True):
        _resize(image, place)
    return out


def _resize(picture: np.ndarray, out: np.ndarray) -> None:
    """Fill `out` `[H', W', 3]` with a picture of another size, uint8 or float32 in [0, 1]."""
    height, width, channels = picture.shape
    rows, columns = _filter(height, out.shape[0]), _filter(width, out.shape[1])
    tall = np.empty((len(out), width, channels))
    wide = max(1, _BLOCK_VALUES // (height * channels))
    for left in range(0, width, wide):
        part = picture[:, left : left + wide]
        if part.dtype == np.uint8:
            part = part.astype(np.float32) / np.float32(255)
        part = part.astype(np.float64)
        tall[:, left : left + wide] = np.einsum("hH,HWc->hWc", rows, part, optimize=True)
    high = max(1, _BLOCK_VALUES // (width * channels))
    for top in range(0, len(out), high):
        part = tall[top : top + high]
        out[top : top + high] = np.einsum("wW,hWc->hwc", columns, part, optimize=True)


@functools.lru_cache(maxsize=64)
def _filter(num_in: int, num_out: int) -> np.ndarray:
    """Return weights `[num_out, num_in]` of a triangle filter; rows sum to 1."""
    scale = num_in / num_out
    width = max(1.0, scale)
    centres = (np.arange(num_out) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(num_in)[None] - centres[:, None]) / width
    weights = np.maximum(0.0, 1.0 - distance)
    return weights / weights.sum(axis=1, keepdims=True)


_TAG = b"anw_jax/v1/augmentation\0"


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Shift, mirror and noise, on 8-bit pixels; declared in the plan.

    A model that answers with one label gives one bit per query. Counting over several
    augmented copies measures the distance to the decision boundary. Augmentations are drawn
    from a public seed and the *unmarked* original, so that all slots of an image get the same
    ones and none depends on the owner's key. Augmentation 0 is the image itself.

    All arithmetic is on integers and SHAKE-256 is the source, so the bytes are the same on
    every machine.

    Attributes:
      max_shift: largest shift along each axis, as a share of the side, in [0, 0.5].
      mirror: whether a change may flip left and right (with probability 1/2).
      noise_levels: each value changes by a random whole number within ± this, of 255 levels.
      fill: what a shift shows where the image has no pixels, one of `FILLS`. Noise is added to
        these pixels as to all others.

    Raises:
      TypeError, ValueError: a value out of its range.

    Example:
      >>> picture = np.full((4, 4, 3), 100, np.uint8)
      >>> change = Augmentation(noise_levels=3)
      >>> draws = change.draw(b"seed", picture, 1)
      >>> bool((change.apply(picture, draws) != picture).any())
      True
      >>> bool((change.apply(picture, change.draw(b"seed", picture, 0)) == picture).all())
      True
    """

    max_shift: float = 0.125
    mirror: bool = True
    noise_levels: int = 8
    fill: str = "reflect"

    def __post_init__(self):
        _check.in_interval(0.0, 0.5, max_shift=self.max_shift)
        _check.is_instance(bool, mirror=self.mirror)
        if _check.integer_at_least(0, noise_levels=self.noise_levels) > 127:
            raise ValueError(f"noise_levels must be at most 127, got {self.noise_levels}")
        _check.one_of(FILLS, fill=self.fill)

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values; the fill only if it is not "reflect"."""
        body = dataclasses.asdict(self)
        if self.fill == "reflect":
            del body["fill"]  # as in the declarations made before there was a choice
        return body

    def draw(self, seed: bytes, original: np.ndarray, number: int) -> "Draw":
        """Draw change `number` of a uint8 `[H, W, 3]` original; no other input."""
        if number == 0:
            return Draw(0, 0, False, None)
        height, width, _ = original.shape
        head = struct.pack(">QQQQ", len(seed), height, width, number)
        stream = hashlib.shake_256(_TAG + head + seed + original.tobytes())
        drawn = np.frombuffer(stream.digest(8 + original.size), np.uint8)
        first = [int(byte) for byte in drawn[:4]]
        down = _one_of(self._reach(height), first[0] * 256 + first[1])
        right = _one_of(self._reach(width), first[2] * 256 + first[3])
        noise = None
        if self.noise_levels:
            # At most 255 · 255, then within ± 127: small types, as a large photo has many.
            levels = drawn[8:] * np.uint16(2 * self.noise_levels + 1) // np.uint16(256)
            noise = (levels.astype(np.int16) - self.noise_levels).astype(np.int8)
            noise = noise.reshape(original.shape)
        return Draw(down, right, self.mirror and bool(drawn[4] & 1), noise)

    def apply(self, image: np.ndarray, draw: "Draw") -> np.ndarray:
        """Return the uint8 `[H, W, 3]` picture shifted, mirrored, with noise, clipped."""
        if draw.down or draw.right:
            height, width = image.shape[:2]
            if self.fill == "black":
                image = np.pad(image, [(0, 1), (0, 1), (0, 0)])
            rows = shifted_pixels(height, draw.down, self.fill)
            image = image[rows][:, shifted_pixels(width, draw.right, self.fill)]
        if draw.is_mirrored:
            image = image[:, ::-1]
        if draw.noise is not None:
            image = np.clip(image + draw.noise, 0, 255).astype(np.uint8)
        return image

    def _reach(self, side: int) -> int:
        return min(int(self.max_shift * side), side - 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Draw:
    """One change: shifts in pixels, whether mirrored, int8 noise `[H, W, 3]` or None."""

    down: int
    right: int
    is_mirrored: bool
    noise: np.ndarray | None


def _one_of(reach: int, drawn: int) -> int:
    """Return a whole number in ±reach from 16 random bits.

    It is uneven by less than 1 in 65,536 / reach; no error rate depends on it.
    """
    return int(drawn * (2 * reach + 1) // 65536 - reach)


# Largest number of pictures in a batch, and of their bytes; twice the bytes for a suspect
# that takes more at once.
_BATCH, _BATCH_BYTES = 256, 2**28


def queried_size(suspect: Suspect) -> tuple[int, int] | None:
    """Return the size to which a suspect's pictures are resized first; None for their own.

    It is the declared one, except for recorded answers, which need the original pixels.
    """
    return getattr(suspect, "queried_size", suspect.declaration.input_size)


def as_queried(suspect: Suspect, pixels: Sequence[np.ndarray]) -> np.ndarray:
    """Return uint8 pictures `[H, W, 3]` as float32 `[b, H', W', 3]` for a suspect."""
    return fitted(pixels, queried_size(suspect))


def batch_size_for(suspect: Suspect, shape: tuple[int, ...]) -> int:
    """Return the number of pictures `[H, W, 3]` in one call of a suspect.

    256, or fewer where they would fill more than 256 MiB, but as many as it takes at once
    (`num_together`) if these fill no more than 512 MiB.

    Example:
      >>> from anw_jax.suspects import CallableSuspect, Declaration
      >>> suspect = CallableSuspect(len, Declaration(2, input_size=(24, 24)), identity="a")
      >>> batch_size_for(suspect, (32, 32, 3)), batch_size_for(suspect, (3000, 4000, 3))
      (256, 7)
    """
    size, pixels = queried_size(suspect), int(np.prod(shape))
    # As it is marked, and as the model takes it.
    num_bytes = max(1, 4 * pixels if size is None else pixels + 12 * size[0] * size[1])
    at_once = min(getattr(suspect, "num_together", 1), 2 * _BATCH_BYTES // num_bytes)
    return max(1, at_once, min(_BATCH, _BATCH_BYTES // num_bytes))


def queried_batch_sizes(suspect: Suspect, totals: Iterable[int], batch_size: int) -> set[int]:
    """Return the numbers of pictures in the calls of a model for queries of `totals` pictures.

    Full batches, the last one of each total, and one alone, as after a spent budget. For a
    service these are requests, which have fewer (`images_per_request`).

    Example:
      >>> from anw_jax.suspects import CallableSuspect, Declaration
      >>> suspect = CallableSuspect(len, Declaration(2), identity="a")
      >>> sorted(queried_batch_sizes(suspect, [440], 256))
      [1, 184, 256]
    """
    sizes = {1}
    for total in totals:
        sizes |= {min(batch_size, total), total % batch_size}
    if isinstance(suspect, RemoteSuspect):
        most = getattr(suspect, "images_per_request", 1)
        sizes |= {min(most, size) for size in sizes} | {size % most for size in sizes}
        sizes = {size for size in sizes if size <= most}
    return sizes - {0}
