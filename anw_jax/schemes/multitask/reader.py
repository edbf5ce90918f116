"""Read scores from a suspect, with the committed decoder and the clean model w0 alone.

1. The outputs of each tapped layer are averaged over cells, for probes and inputs alike.
2. **Alignment.** An affine map of the suspect's channels to those of w0 is fitted on the probes
   by least squares. It undoes permutation, scaling and invertible re-basing of a hidden layer,
   and additional neurons (LFEA; structural obfuscation). It depends on nothing made after w0.
3. w0's own features are subtracted; the rest is divided by their spread in w0 on the probes,
   at least a quarter of its layer's. Without that bound the embedding would move nothing but
   channels that are almost dead in w0, and alignment would leave only noise of them.
4. Score k is the difference of inputs 2k and 2k + 1 in direction k of the projection.

Computed in float64 with NumPy: a score may not depend on an accelerator's rounding more than
the network itself does. Whatever a suspect answers, its scores are a function of it and of what
was fixed before the bits. Answers that are not finite give the score NaN, which counts as
constant in the test.
"""

import dataclasses

import numpy as np

from anw_jax import _check
from anw_jax.schemes.multitask.decoder import Decoder
from anw_jax.schemes.scheme import TapsFn

# Singular values below this share of the largest count as 0: networks compute in float32.
_LEAST_SINGULAR = 1e-5

# Larger answers are numerical failures, and their squares could overflow.
_LARGEST = 1e30

# A channel counts as spread by at least this share of its layer's spread.
_LEAST_SPREAD = 0.25

# Pictures per call of a network.
_BATCH = 256


def extract(decoder: Decoder, base: TapsFn, suspect: TapsFn) -> np.ndarray:
    """Read one score for each bit; it has no argument that the bits could come through.

    Args:
      decoder: the committed decoder.
      base: the taps of the clean model w0, whose digest `decoder.check_base` has accepted.
      suspect: the taps of the suspect. Each returns one array `[b, …, channels]` for each tap
        of the decoder; the number of channels may differ.

    Returns:
      float64 `[num_bits]`, positive where the suspect says y = 1; NaN where it has no usable
      answer.

    Raises:
      ValueError: a suspect of another architecture: other taps, or other resolutions.
    """
    probes, inputs = decoder.probes(), decoder.inputs()
    base_probes, base_inputs = (_pooled(decoder, base, images) for images in (probes, inputs))
    own_probes, own_inputs = (_pooled(decoder, suspect, images) for images in (probes, inputs))
    moved = []
    for layer, tap in enumerate(decoder.taps):
        _check_same_cells(tap, base_probes[layer], own_probes[layer])
        aligned = align(own_probes[layer], base_probes[layer], own_inputs[layer])
        moved.append((aligned - base_inputs[layer]) / spread(base_probes[layer]))
    return project(decoder, flattened(moved))


@dataclasses.dataclass(frozen=True)
class Readable:
    """What the probes say of a suspect before any score is read.

    Attributes:
      num_usable: probes with answers that are all finite, at every tap.
      tap_too_wide: a tap with more channels than the usable probes can align; "" for none.
    """

    num_usable: int
    tap_too_wide: str


def check_readable(decoder: Decoder, base: TapsFn, suspect: TapsFn) -> Readable:
    """Ask a suspect about the probes alone, as `extract` will.

    Raises:
      ValueError: a suspect of another architecture: other taps, or other resolutions.
    """
    probes = decoder.probes()
    wanted, own = (_pooled(decoder, taps_fn, probes) for taps_fn in (base, suspect))
    usable, too_wide = np.ones(len(probes), bool), ""
    for tap, before, values in zip(decoder.taps, wanted, own, strict=True):
        _check_same_cells(tap, before, values)
        usable &= _is_usable(values)
    for tap, values in zip(decoder.taps, own, strict=True):
        if values.shape[2] >= usable.sum() * values.shape[1]:
            too_wide = too_wide or tap
    return Readable(int(usable.sum()), too_wide)


def check_answers(decoder: Decoder, suspect: TapsFn) -> None:
    """Raise ValueError unless a suspect has the taps, and answers at least two probes.

    For a claimant who does not have w0 at hand, before a key is spent.
    """
    found = check_readable(decoder, suspect, suspect)
    if found.num_usable < 2:
        raise ValueError(
            "the suspect must answer at least two probes with finite values, got "
            f"{found.num_usable} of {decoder.num_probes}: no test is possible"
        )


def pooled(values: np.ndarray, side: int) -> np.ndarray:
    """Average the values of a layer over cells.

    Args:
      values: `[b, H, W, c]`, or `[b, c]` or `[b, n, c]`, which stay.
      side: cells along each side, as far as there are pixels.

    Returns:
      float64 `[b, cells, c]`.

    Example:
      >>> pooled(np.arange(8.0).reshape(1, 2, 4, 1), 1).tolist()
      [[[3.5]]]
    """
    values = np.asarray(values, np.float64)
    if values.ndim not in (2, 3, 4):
        raise ValueError(
            f"taps must return [b, H, W, c], [b, n, c] or [b, c], got shape {values.shape}"
        )
    if values.ndim == 4:
        cells = [cell_weights(size, side) for size in values.shape[1:3]]
        values = np.einsum("bhwc,ih,jw->bijc", values, *cells)
    return values.reshape(len(values), -1, values.shape[-1])


def align(probes: np.ndarray, wanted: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Map channels by the affine map that fits best on the probes.

    Args:
      probes: the suspect's, float64 `[m, cells, c]`; a probe with an answer that is not finite
        is left out.
      wanted: those of w0, `[m, cells, C]`.
      inputs: the suspect's, `[n, cells, c]`.

    Returns:
      float64 `[n, cells, C]`; NaN where an input has no usable answer, and everywhere if fewer
      than two probes have.

    Example:
      >>> values = np.random.default_rng(0).normal(size=(9, 1, 3))
      >>> bool(np.allclose(align(values[:, :, ::-1] * 2 + 1, values, values * 2 + 1),
      ...                  values[:, :, ::-1]))
      True
    """
    usable = _is_usable(probes)
    inputs = np.where(_is_usable(inputs)[:, None, None], inputs, np.nan)
    if usable.sum() < 2:
        return np.full((*inputs.shape[:2], wanted.shape[2]), np.nan)
    rows = probes[usable].reshape(-1, probes.shape[2])
    targets = wanted[usable].reshape(-1, wanted.shape[2])
    centre, scale = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(scale > 0.0, scale, 1.0)
    mean = targets.mean(axis=0)
    matrix, *_ = np.linalg.lstsq((rows - centre) / scale, targets - mean, rcond=_LEAST_SINGULAR)
    return (inputs - centre) / scale @ matrix + mean


def spread(probes: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each cell and channel over w0's probes.

    At least a quarter of the root mean square over the layer; 1 for a layer that answers all
    probes alike.

    Args:
      probes: float64 `[m, cells, channels]`.

    Example:
      >>> spread(np.array([[[1.0, 2.0]], [[1.0, 6.0]]])).round(3).tolist()
      [[0.354, 2.0]]
    """
    deviation = probes.std(axis=0)
    least = _LEAST_SPREAD * np.sqrt(np.square(deviation).mean())
    return np.maximum(deviation, least) if least > 0.0 else np.ones_like(deviation)


def flattened(layers: list[np.ndarray]) -> np.ndarray:
    """Join the cells and channels of all layers, `[n, D]`."""
    return np.concatenate([values.reshape(len(values), -1) for values in layers], axis=1)


def project(decoder: Decoder, features: np.ndarray) -> np.ndarray:
    """Score the difference of each pair of inputs in its bit's direction, `[num_bits]`."""
    differences = features[0::2] - features[1::2]
    return np.einsum("kd,kd->k", differences, decoder.directions(features.shape[1]))


def _pooled(decoder: Decoder, taps_fn: TapsFn, images: np.ndarray) -> list[np.ndarray]:
    chunks = []
    for start in range(0, len(images), _BATCH):
        layers = taps_fn(images[start : start + _BATCH])
        if len(layers) != len(decoder.taps):
            raise ValueError(
                f"a model must answer for the {len(decoder.taps)} taps "
                f"{', '.join(decoder.taps)}, got {len(layers)} arrays"
            )
        chunks.append([pooled(values, decoder.side) for values in layers])
    return [np.concatenate(layer) for layer in zip(*chunks, strict=True)]


def _check_same_cells(tap: str, base: np.ndarray, own: np.ndarray) -> None:
    if own.shape[:2] != base.shape[:2]:
        raise ValueError(
            f"the suspect must have the architecture of w0: at the tap {tap!r} it answers "
            f"{own.shape[0]} pictures with {own.shape[1]} cells, w0 {base.shape[0]} with "
            f"{base.shape[1]}"
        )


def _is_usable(values: np.ndarray) -> np.ndarray:
    """Return which pictures have answers that are all finite and not absurd, bool `[n]`."""
    with np.errstate(invalid="ignore"):
        return (np.abs(values) <= _LARGEST).all(axis=(1, 2))


def cell_weights(size: int, side: int) -> np.ndarray:
    """Return `[cells, size]`: the share of each pixel in the mean of each cell.

    Example:
      >>> cell_weights(4, 2).tolist()
      [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    cells = min(_check.integer_at_least(1, side=side), size)
    edges = np.arange(cells + 1) * size // cells
    pixels = np.arange(size)
    inside = (pixels >= edges[:-1, None]) & (pixels < edges[1:, None])
    return inside / inside.sum(axis=1, keepdims=True)
