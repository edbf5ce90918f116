"""NC and SR: how like the mark a drawn picture is, and how often it is like it enough.

Neither says how often an innocent model would pass. The extractor was trained to draw this very
mark, so it carries the mark itself: what it draws for a model that it has never seen is an
empirical matter. There is no error rate, no p, and no verdict.
"""

import dataclasses

import numpy as np

# A drawn picture counts as the mark above this normalised correlation.
SUCCESS = 0.95


@dataclasses.dataclass(frozen=True, eq=False)
class PictureReading:
    """What was read from a model's outputs, by the paper's rule; it has no p.

    Attributes:
      correlations: NC of the picture drawn for each output, float64 `[n]`.
      decisions: share of outputs in which a classifier sees this mark (the paper's second
        figure), in [0, 1]; None if it was not asked.
    """

    correlations: np.ndarray
    decisions: float | None = None

    @property
    def success_rate(self) -> float:
        """SR: share of outputs with NC > 0.95, in [0, 1]."""
        return float((self.correlations > SUCCESS).mean())

    def __str__(self) -> str:
        return (
            f"NC > {SUCCESS:g} in {self.success_rate:.1%} of {len(self.correlations)} outputs "
            "(the paper's rule; an extractor that was trained to draw this mark has no error "
            "rate, and this is no verdict)"
        )


def normalised_correlation(pictures: np.ndarray, mark: np.ndarray) -> np.ndarray:
    """Return NC = <picture, mark> / (|picture| |mark|) of each picture.

    Means are not subtracted, as in the paper: a blank picture and a bright mark are alike.

    Args:
      pictures: in [0, 1], `[n, H, W, 3]`.
      mark: in [0, 1], `[H, W, 3]`.

    Returns:
      float64 `[n]` in [0, 1]; 0 for a picture that is all 0.

    Raises:
      ValueError: pictures of another size than the mark, or that are not finite; a mark that
        is all 0.

    Example:
      >>> half = np.zeros((2, 2, 3))
      >>> half[0] = 1.0
      >>> normalised_correlation(np.stack([half, np.ones((2, 2, 3))]), half).round(3).tolist()
      [1.0, 0.707]
    """
    pictures, mark = np.asarray(pictures, np.float64), np.asarray(mark, np.float64)
    if pictures.shape[1:] != mark.shape or not len(pictures):
        raise ValueError(
            f"pictures must have shape (n, {', '.join(map(str, mark.shape))}) as the mark, got "
            f"{pictures.shape}"
        )
    if bad := int((~np.isfinite(pictures)).any(axis=(1, 2, 3)).sum()):
        raise ValueError(f"pictures must be finite, got {bad} that are not")
    size = np.linalg.norm(mark)
    if not size > 0.0:
        raise ValueError("mark must have a value above 0")
    sizes = np.linalg.norm(pictures.reshape(len(pictures), -1), axis=1)
    products = np.einsum("nhwc,hwc->n", pictures, mark)
    return np.divide(products, sizes * size, out=np.zeros(len(pictures)), where=sizes > 0.0)


def check_marks(marks: np.ndarray) -> np.ndarray:
    """Return marks that NC can tell from a blank picture and from each other.

    Args:
      marks: float in [0, 1], `[m, H, W, 3]`.

    Returns:
      float32 of the same shape.

    Raises:
      ValueError: another shape or range, or two pictures whose NC is above 0.95: R would
        succeed by drawing the blank, or another mark.
    """
    marks = np.asarray(marks, np.float32)
    if marks.ndim != 4 or marks.shape[-1] != 3 or not len(marks):
        raise ValueError(f"marks must be pictures (m, H, W, 3), got shape {marks.shape}")
    if not (np.isfinite(marks).all() and marks.min() >= 0.0 and marks.max() <= 1.0):
        raise ValueError("marks must lie in [0, 1]")
    for number, mark in enumerate(marks):
        others = {"the blank picture": np.ones_like(mark)}
        others |= {f"mark {other}": marks[other] for other in range(number)}
        for name, other in others.items():
            found = normalised_correlation(other[None], mark)[0]
            if found > SUCCESS:
                raise ValueError(
                    f"marks must differ from the blank picture and from each other: NC of mark "
                    f"{number} and {name} is {found:.3f}, above {SUCCESS:g}"
                )
    return marks
