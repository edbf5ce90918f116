"""Read scores from a suspect's outputs, with the committed decoder alone.

The difference of the suspect's outputs and the committed own ones is fitted, by least squares,
by the own outputs after each of the committed filters. The coefficient of filter k is score k.

Computed in float64 with NumPy. Whatever a suspect answers, its scores are a function of it and
of what was fixed before the bits: queries, own outputs and filters. There is no argument for
the bits, served outputs, or anything else that was made after them.
"""

from collections.abc import Callable

import numpy as np

from anw_jax.schemes.barrier.decoder import Decoder
from anw_jax.schemes.barrier.filters import least_squares, patch_moments

# From uint8 images `[b, H, W, 3]` to images of the same shape, uint8 or float in [0, 1].
ImagesFn = Callable[[np.ndarray], np.ndarray]

_BATCH = 100


def extract(decoder: Decoder, suspect: ImagesFn, num_queries: int | None = None) -> np.ndarray:
    """Ask a suspect the committed queries, and read one score for each bit.

    Args:
      decoder: the committed decoder.
      suspect: answers uint8 images `[b, H, W, 3]` with images of the same shape.
      num_queries: asks the first ones only; all unless given. Another number is another test:
        say which one before the first query.

    Returns:
      float64 `[num_bits]`, positive where the suspect says y = 1.

    Raises:
      ValueError: outputs of another shape, that are not finite, outside [0, 1], or one constant
        image for all queries.
    """
    queries = decoder.queries[:num_queries]
    return scores(decoder, check_answers(decoder, ask(suspect, queries)))


def ask(suspect: ImagesFn, queries: np.ndarray) -> np.ndarray:
    """Return a suspect's answers to queries, uint8 or float `[n, H, W, 3]`, as it gives them.

    Raises:
      ValueError: answers of another shape than the queries.
    """
    chunks = []
    for start in range(0, len(queries), _BATCH):
        asked = queries[start : start + _BATCH]
        answered = np.asarray(suspect(asked))
        if answered.shape != asked.shape:
            raise ValueError(
                f"a suspect must answer images {asked.shape} with images of the same shape, "
                f"got {answered.shape}"
            )
        chunks.append(answered)
    return np.concatenate(chunks)


def check_answers(decoder: Decoder, answers: np.ndarray) -> np.ndarray:
    """Return answers to the first queries as float64 in [0, 1].

    Args:
      decoder: the committed decoder.
      answers: uint8, or float in [0, 1], `[n, H, W, 3]`.

    Raises:
      ValueError: as `extract`.
    """
    if answers.ndim != 4 or answers.shape[1:] != decoder.queries.shape[1:]:
        raise ValueError(
            f"answers must be images {decoder.queries.shape[1:]}, as the queries are, got "
            f"shape {answers.shape}"
        )
    if not 1 <= len(answers) <= len(decoder.queries):
        raise ValueError(
            f"there must be 1 to {len(decoder.queries)} answers, one for each of the first "
            f"queries, got {len(answers)}"
        )
    is_levels = answers.dtype == np.uint8
    outputs = answers.astype(np.float64) / (255.0 if is_levels else 1.0)
    if bad := int((~np.isfinite(outputs)).any(axis=(1, 2, 3)).sum()):
        raise ValueError(f"a suspect's outputs must be finite, got {bad} images that are not")
    if outputs.min() < 0.0 or outputs.max() > 1.0:
        raise ValueError(
            "a suspect's outputs must lie in [0, 1], got values from "
            f"{outputs.min():.3g} to {outputs.max():.3g}"
        )
    if len(outputs) > 1 and (outputs == outputs[:1]).all():
        raise ValueError(
            f"a suspect answered all {len(outputs)} queries with one constant output: it is "
            "no model of this task"
        )
    return outputs


def scores(decoder: Decoder, outputs: np.ndarray) -> np.ndarray:
    """Read scores from the outputs for the first queries.

    Args:
      decoder: the committed decoder.
      outputs: float `[n, H, W, 3]` in [0, 1]; n at most the number of queries.

    Returns:
      float64 `[num_bits]`; NaN for outputs that are not finite.
    """
    own = decoder.outputs[: len(outputs)]
    if outputs.shape != own.shape or not len(outputs):
        raise ValueError(
            f"outputs must be images {decoder.outputs.shape}, or the first of them, got shape "
            f"{outputs.shape}"
        )
    differences = np.asarray(outputs, np.float64) - own / 255.0
    moments, products = patch_moments(own, differences, decoder.kernels.shape[1] // 2)
    return least_squares(decoder.kernels, moments, products)
