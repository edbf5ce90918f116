"""From a loss table to the rows that count: of distinct images with usable answers."""

import numpy as np

from anw_jax.keys import Units

# Beyond this a loss is an accident of arithmetic, and sums of it could overflow.
_LARGEST_LOSS = 1e30


def unit_losses(loss_table: np.ndarray, units: Units) -> np.ndarray:
    """Sums the rows of each unit over its distinct, usable images.

    Args:
      loss_table: `[num_images, num_slots]` nats, slot 0 first; any real dtype.
      units: which unit each image belongs to.

    Returns:
      float64 `[num_units, num_slots - 1]`, valid slots only. A row of NaN where a unit has
      no image whose losses are all finite.

    Raises:
      TypeError: `units` is no `Units`.
      ValueError: the table's shape does not fit the units.
    """
    rows, unit = usable_rows(loss_table, units)
    sums = sum_by_unit(rows, unit, units.num_units)
    sums[np.bincount(unit, minlength=units.num_units) == 0] = np.nan
    return sums


def usable_rows(loss_table: np.ndarray, units: Units) -> tuple[np.ndarray, np.ndarray]:
    """The rows of distinct images whose losses are all usable, and the unit of each.

    Args:
      loss_table: `[num_images, num_slots]` nats, slot 0 first; any real dtype.
      units: which unit each image belongs to.

    Returns:
      float64 `[num_rows, num_slots - 1]`, valid slots only, and int64 `[num_rows]`, ascending
      or not as the images come.

    Raises:
      TypeError, ValueError: see `unit_losses`.
    """
    if not isinstance(units, Units):
        raise TypeError(
            f"units must be a Units, got {type(units).__name__}: give manifest.units or "
            "assignment.units"
        )
    table = np.asarray(loss_table, np.float64)
    expected = (units.num_images, units.space.num_slots)
    if table.shape != expected:
        raise ValueError(
            f"loss_table must have shape (num_images, num_slots) = {expected}, "
            f"got {table.shape}"
        )
    valid = table[:, 1:]
    usable = is_usable(valid).all(axis=1) & ~units.is_copy
    return valid[usable], units.unit_of_image[usable]


def sum_by_unit(rows: np.ndarray, unit: np.ndarray, num_units: int) -> np.ndarray:
    """Sums rows `[num_rows, …]` by unit, smallest first: their order changes no bit.

    Returns:
      float64 `[num_units, …]`; zeros where a unit has no row.

    Example:
      >>> sum_by_unit(np.array([[1.0], [2.0], [4.0]]), np.array([2, 0, 2]), 3).tolist()
      [[2.0], [0.0], [5.0]]
    """
    sums = np.zeros((num_units, rows.shape[1]))
    if len(unit):
        filled, counts = np.unique(unit, return_counts=True)
        starts = np.cumsum(counts) - counts
        for column, values in enumerate(rows.T):
            in_order = values[np.lexsort((values, unit))]
            sums[filled, column] = np.add.reduceat(in_order, starts)
    return sums


def is_usable(losses: np.ndarray) -> np.ndarray:
    """Which losses a test can use, bool of any shape: neither NaN, infinite nor absurd."""
    with np.errstate(invalid="ignore"):
        return np.abs(losses) <= _LARGEST_LOSS
