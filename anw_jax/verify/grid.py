"""Reading signatures off a loss table, without the secret (eq. 6)."""

import dataclasses

import numpy as np

from anw_jax import _check
from anw_jax.keys import Assignment, Manifest, SignatureSpace
from anw_jax.stats import scores


@dataclasses.dataclass(frozen=True, eq=False)
class GridSearchResult:
    """The grid search of eq. 6 for one signature shared by all images.

    Attributes:
      degrees: the grid, float64 `[num_slots]`.
      curve: mean loss at each angle, float64 `[num_slots]`, nats.
      inferred_degrees: the angle with the lowest mean loss; 0 means "unmarked".
      margin: mean loss of the second-lowest angle minus the lowest, nats.
    """

    degrees: np.ndarray
    curve: np.ndarray
    inferred_degrees: float
    margin: float

    def matches(self, true_degrees: float, space: SignatureSpace) -> bool:
        """Whether the inferred signature lies within τ of the true one.

        `space` is the one the owner drew from, whatever grid was searched. A match of one
        shared signature is never stronger evidence than 1 in N - 1.
        """
        return space.matches(self.inferred_degrees, true_degrees)

    def lowest_degrees(self, num_starts: int = 2) -> np.ndarray:
        """The angles with the lowest mean losses, lowest first: float64 `[num_starts]`.

        Starts for `gradient_search(..., starts_degrees=)`. Ties go to the lower slot.

        Raises:
          ValueError: `num_starts` below 1 or above the number of slots.
        """
        return lowest_degrees(self.curve, self.degrees, num_starts)


def grid_search(loss_table: np.ndarray, grid: SignatureSpace) -> GridSearchResult:
    """Infers one shared signature: argmin over the grid of the mean loss (eq. 6).

    Zou, Gong, Wang (ECCV 2022), eq. 6, https://arxiv.org/abs/2109.09023. Slot 0 takes part:
    the paper's held-out users are inferred as "unmarked".

    Args:
      loss_table: float `[num_images, num_slots]` nats; images with a loss that is not
        finite are left out.
      grid: the space whose slots the table holds: 12 slots, or a finer grid.

    Raises:
      ValueError: the table's width is not the grid's.

    Example:
      >>> table = np.array([[2.0, 1.0, 0.2, 1.0], [2.0, 0.9, 0.4, 1.2]])
      >>> result = grid_search(table, SignatureSpace(4))
      >>> result.inferred_degrees, round(result.margin, 2)
      (180.0, 0.65)
    """
    table = check_table(loss_table, grid)
    usable = table[np.isfinite(table).all(axis=1)]
    if not len(usable):
        flat = np.full(grid.num_slots, np.nan)
        return GridSearchResult(grid.degrees, flat, float("nan"), 0.0)
    curve = usable.mean(axis=0)
    lowest, second = np.sort(curve)[:2]
    return GridSearchResult(
        degrees=grid.degrees,
        curve=curve,
        inferred_degrees=float(grid.degrees[np.argmin(curve)]),
        margin=float(second - lowest),
    )


def check_table(loss_table: np.ndarray, grid: SignatureSpace) -> np.ndarray:
    """The table as float64; refuses one whose width is not the grid's."""
    _check.is_instance(SignatureSpace, grid=grid)
    table = np.asarray(loss_table, np.float64)
    if table.ndim != 2 or table.shape[1] != grid.num_slots:
        raise ValueError(
            f"loss_table must have shape (num_images, {grid.num_slots}), got {table.shape}"
        )
    return table


def lowest_degrees(curves: np.ndarray, degrees: np.ndarray, num_starts: int) -> np.ndarray:
    """The `num_starts` angles with the lowest losses of curves `[..., num_slots]`."""
    num_starts = _check.integer_at_least(1, num_starts=num_starts)
    if num_starts > len(degrees):
        raise ValueError(f"num_starts must be at most {len(degrees)} slots, got {num_starts}")
    return degrees[np.argsort(curves, axis=-1, kind="stable")[..., :num_starts]]


def infer_signatures(loss_table: np.ndarray, units: Manifest | Assignment) -> np.ndarray:
    """Infers each unit's signature blindly: argmin over the valid slots of its row.

    Args:
      loss_table: float `[num_images, num_slots]` nats.
      units: the manifest (no secret needed), or an assignment, whose slots are not read.

    Returns:
      int64 `[num_units]`, slots in 1 … N - 1; ties, and units without usable answers, go
      to the lowest slot.

    Example:
      >>> photos = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
      >>> manifest = Manifest.of(photos, SignatureSpace(4))
      >>> infer_signatures(np.array([[0.0, 3.0, 2.0, 4.0]]), manifest).tolist()
      [2]
    """
    if isinstance(units, Manifest):
        # Slots are not read: any valid ones do.
        placeholder = np.ones(units.num_units, np.int64)
        units = Assignment(
            np.asarray(units.unit_of_image),
            placeholder,
            units.space,
            units.scheme,
            units.is_copy,
        )
    return scores.blind_argmin(scores.unit_losses(loss_table, units))
