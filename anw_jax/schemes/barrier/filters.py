"""Public filters that no restoration model applies by itself, and the moments to read them.

A filter is a kernel `[S, S, 3, 3]`: rows, columns, input colour, output colour. Every
convolutional network can express it, so a copy can learn it from marked outputs. Blurring,
noise and sharpening excite none of three families, which differ in what happens to them when
the training pairs of a copy are mirrored or turned:

* "mixing": kernels that are invariant under flips and quarter turns, times an antisymmetric
  mixing of two colours. Flips and turns leave them alone.
* "cross": the mean of some shifts along one axis less that along the other, from any colour to
  any colour. Flips leave them alone, a quarter turn changes their sign.
* "odd": kernels with k(-x) = -k(x), from any colour to any colour. Half a turn changes their
  sign, and so does a flip along the axis on which one is odd.

The errors of blur, noise and sharpening are even, alike along both axes, and symmetric in
colour.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check

# From uint8 images to uint8 images of the same shape.
ChangeFn = Callable[[np.ndarray], np.ndarray]

FAMILIES = ("mixing", "cross", "odd")

# Pixels of patches that are held in memory at once, times the entries of a patch.
_MOST_ENTRIES = 8_000_000

# Pixels from which is estimated what a change leaves of a mark.
_MOST_PIXELS = 2**19

# Directions with less energy than this share of the strongest are rounding errors.
_LEAST_ENERGY = 1e-9


def family(name: str, radius: int) -> np.ndarray:
    """Return the filters of a family, before whitening.

    Args:
      name: one of `FAMILIES`.
      radius: kernels have 2 · radius + 1 rows and columns.

    Returns:
      float64 `[n, S, S, 3, 3]`.

    Example:
      >>> [len(family(name, 1)) for name in FAMILIES]
      [9, 9, 36]
    """
    radius = _check.integer_at_least(1, radius=radius)
    makers = {"mixing": _mixing, "cross": _cross, "odd": _odd}
    return np.array(makers[_check.one_of(FAMILIES, family=name)](radius))


@dataclasses.dataclass(frozen=True, eq=False)
class Statistics:
    """What filters are chosen by: mean products of pixels of public images.

    Attributes:
      radius: of the filters.
      near: float64 `[P, P]`, of patches of the filters' size.
      wide: float64 `[Q, Q]`, of patches of twice the radius.
      changed: float64 `[P, 3]` for each change: of patches, and pixels after the change.
      is_grey: whether the three colours of every pixel are equal.
    """

    radius: int
    near: np.ndarray
    wide: np.ndarray
    changed: tuple[np.ndarray, ...]
    is_grey: bool


def statistics(images: np.ndarray, changes: Sequence[ChangeFn], radius: int) -> Statistics:
    """Measure public images.

    Args:
      images: uint8 `[m, H, W, 3]`, unmarked outputs for public inputs.
      changes: that a mark is to survive.
      radius: of the filters, in pixels.
    """
    targets = np.concatenate([change(images) / 255.0 for change in changes], axis=-1)
    near, products = patch_moments(images, targets, radius)
    side = math.isqrt(_MOST_PIXELS)
    parts = images[:, :side, :side]
    few = max(1, _MOST_PIXELS // (parts.shape[1] * parts.shape[2]))
    wide, _ = patch_moments(parts[:few], None, 2 * radius)
    changed = tuple(np.split(products, len(changes), axis=1))
    return Statistics(radius, near, wide, changed, is_grey(images))


def is_grey(images: np.ndarray) -> bool:
    """Return whether the three colours of every pixel are equal, in uint8 `[m, H, W, 3]`."""
    return bool((images == images[..., :1]).all())


def strongest(name: str, of: Statistics, count: int) -> np.ndarray:
    """Return the directions of a family that changes leave most alone.

    A change T of images is taken as its best linear filter J, T(b) = J * b by least squares.
    Of a mark O * b it leaves J * O * b: the directions are those for which this has most in
    common with O * b, in the mean over all changes. Directions that a change excites in
    unmarked images are left out first.

    Args:
      name: one of `FAMILIES`.
      of: of public images.
      count: how many directions, those that are left most alone first.

    Returns:
      float64 `[count, S, S, 3, 3]`: applied to the images, the mean square over pixels and
      colours is 1 for each, and the mean product of two is 0.

    Raises:
      ValueError: the images excite fewer directions.
    """
    count = _check.integer_at_least(1, count=count)
    filters = family(name, of.radius)
    energies, directions = np.linalg.eigh(gram(filters, of.near))
    is_excited = energies > _LEAST_ENERGY * max(energies[-1], _LEAST_ENERGY)
    usable = max(0, int(is_excited.sum()) - len(of.changed))
    if count > usable:
        detail = "in colour, which these are not" if of.is_grey else "with more detail"
        raise ValueError(
            f"bits of {name} must be at most {usable}, the number of its features that the "
            f"whitening images excite and common changes do not, got {count}: give public "
            f"outputs {detail}, or fewer bits"
        )
    white = np.einsum(
        "vk,v...->k...", directions[:, is_excited] / np.sqrt(energies[is_excited]), filters
    )
    excited = np.stack([_excited(white, of, products) for products in of.changed], axis=1)
    spared = np.linalg.qr(excited, mode="complete")[0][:, len(of.changed) :]
    left = sum(_left(white, of, products) for products in of.changed)
    _, order = np.linalg.eigh(spared.T @ left @ spared)
    return np.einsum("vk,v...->k...", spared @ order[:, ::-1][:, :count], white)


def _excited(white: np.ndarray, of: Statistics, products: np.ndarray) -> np.ndarray:
    """Return how much of each filtered image a change adds to unmarked images, `[n]`."""
    centre = slice(len(of.near) // 2 - 1, len(of.near) // 2 + 2)
    return np.einsum("kpc,pc->k", _flat(white), products - of.near[:, centre])


def _left(white: np.ndarray, of: Statistics, products: np.ndarray) -> np.ndarray:
    """Return what a change leaves of marks, `[n, n]`: the symmetric part of O_k b · J O_l b."""
    linear = np.linalg.lstsq(of.near, products, rcond=_LEAST_ENERGY)[0]
    linear = linear.reshape(white.shape[1:])
    pads = ((0, 0), *2 * ((of.radius, of.radius),), (0, 0), (0, 0))
    after = np.stack([_followed_by(one, linear) for one in white])
    found = gram(np.pad(white, pads), of.wide, after)
    return (found + found.T) / 2


def _followed_by(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the kernel that filters with one kernel and then with another of its size."""
    side = len(first)
    found = np.zeros((2 * side - 1, 2 * side - 1, 3, 3))
    for row, column in np.ndindex(side, side):
        mixed = np.einsum("abcm,md->abcd", first, second[row, column])
        found[row : row + side, column : column + side] += mixed
    return found


def patch_moments(
    images: np.ndarray, targets: np.ndarray | None, radius: int
) -> tuple[np.ndarray, np.ndarray]:
    """Average the products of patches with themselves, and with target pixels.

    Computed in float64 with NumPy, some images at a time.

    Args:
      images: uint8 `[n, H, W, 3]`; mirrored at their borders.
      targets: float64 `[n, H, W, t]`, or None for none.
      radius: of the patches, in pixels.

    Returns:
      `(moments, products)`: float64 `[P, P]` and `[P, t]` (`[P, 3]` without targets),
      with P = 3 S², in the order of a kernel's rows, columns and input colours.
    """
    side = 2 * radius + 1
    moments = np.zeros((3 * side**2, 3 * side**2))
    products = np.zeros((3 * side**2, 3 if targets is None else targets.shape[-1]))
    per_row = images.shape[2] * len(moments)
    step = max(1, _MOST_ENTRIES // (images.shape[1] * per_row))
    height = max(1, _MOST_ENTRIES // (step * per_row))
    for start, top in itertools.product(
        range(0, len(images), step), range(0, images.shape[1], height)
    ):
        part = slice(start, start + step), slice(top, top + height)
        rows = _patches(images[part[0]], radius, part[1])
        moments += rows.T @ rows
        if targets is not None:
            products += rows.T @ targets[part].reshape(-1, targets.shape[-1])
    num_pixels = images.shape[0] * images.shape[1] * images.shape[2]
    return moments / num_pixels, products / num_pixels


def gram(
    filters: np.ndarray, moments: np.ndarray, others: np.ndarray | None = None
) -> np.ndarray:
    """Return the mean products of filtered images, from the patches' moments.

    Args:
      filters: float64 `[n, S, S, 3, 3]`.
      moments: of `patch_moments`, of patches of this size.
      others: float64 `[m, S, S, 3, 3]`; the same filters unless given.

    Returns:
      float64 `[n, m]`.
    """
    flat = _flat(filters)
    second = flat if others is None else _flat(others)
    return np.einsum("kpc,pq,lqc->kl", flat, moments, second, optimize=True) / 3


def least_squares(filters: np.ndarray, moments: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Return how much of each filtered image is in the targets, by least squares.

    Args:
      filters: float64 `[n, S, S, 3, 3]`.
      moments: of `patch_moments`.
      products: of `patch_moments`.

    Returns:
      float64 `[n]`; NaN where the targets are not finite.
    """
    wanted = np.einsum("kpc,pc->k", _flat(filters), products) / 3
    if not np.isfinite(wanted).all():
        return np.full(len(filters), np.nan)
    solution, *_ = np.linalg.lstsq(gram(filters, moments), wanted, rcond=_LEAST_ENERGY)
    return solution


@jax.jit
def apply_filter(kernel: jax.Array, images: jax.Array) -> jax.Array:
    """Filter float32 images `[b, H, W, 3]` with one kernel, mirrored at their borders."""
    radius = kernel.shape[0] // 2
    padded = jnp.pad(
        images, ((0, 0), (radius, radius), (radius, radius), (0, 0)), mode="reflect"
    )
    return jax.lax.conv_general_dilated(
        padded, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _flat(filters: np.ndarray) -> np.ndarray:
    return filters.reshape(len(filters), -1, 3)


def _patches(images: np.ndarray, radius: int, lines: slice) -> np.ndarray:
    """Return the patch of every pixel in some lines, in [0, 1], float64 `[n h W, P]`."""
    pads = ((0, 0), (radius, radius), (radius, radius), (0, 0))
    padded = np.pad(images, pads, mode="reflect")
    side = 2 * radius + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
    rows = windows[:, lines].transpose(0, 1, 2, 4, 5, 3).reshape(-1, 3 * side**2)
    return rows.astype(np.float64) / 255.0


def _odd(radius: int) -> list[np.ndarray]:
    """Differences of opposite shifts, from each colour to each colour."""
    side = 2 * radius + 1
    found = []
    offsets = np.arange(-radius, radius + 1)
    for row, column in ((r, c) for r in offsets for c in offsets if (r, c) > (0, 0)):
        for source, target in np.ndindex(3, 3):
            kernel = np.zeros((side, side, 3, 3))
            kernel[radius + row, radius + column, source, target] = 1.0
            kernel[radius - row, radius - column, source, target] = -1.0
            found.append(kernel)
    return found


def _mixing(radius: int) -> list[np.ndarray]:
    """Means over flips and quarter turns of a shift, that exchange two colours with a sign."""
    found = []
    for _, _, orbit in _orbits(radius):
        for one, other in ((0, 1), (0, 2), (1, 2)):
            kernel = np.zeros((*orbit.shape, 3, 3))
            kernel[..., one, other] = orbit
            kernel[..., other, one] = -orbit
            found.append(kernel)
    return found


def _cross(radius: int) -> list[np.ndarray]:
    """Differences between shifts along the columns and along the rows."""
    offsets = np.abs(np.arange(-radius, radius + 1))
    sign = np.sign(offsets[None, :] - offsets[:, None]).astype(np.float64)
    found = []
    for inner, outer, orbit in _orbits(radius):
        if inner == outer:
            continue
        for source, target in np.ndindex(3, 3):
            kernel = np.zeros((*orbit.shape, 3, 3))
            kernel[..., source, target] = sign * orbit
            found.append(kernel)
    return found


def _orbits(radius: int) -> list[tuple[int, int, np.ndarray]]:
    """Return the shifts that flips and quarter turns exchange, as kernels with the sum 1."""
    distances = np.abs(np.arange(-radius, radius + 1))
    near = np.minimum(distances[:, None], distances)
    far = np.maximum(distances[:, None], distances)
    found = []
    for outer, inner in zip(*np.tril_indices(radius + 1), strict=True):
        orbit = np.float64((near == inner) & (far == outer))
        found.append((int(inner), int(outer), orbit / orbit.sum()))
    return found
