"""The grid search of many users at once."""

import dataclasses

import numpy as np

from anw_jax import _check
from anw_jax.keys import SignatureSpace
from anw_jax.verify.grid import check_table, lowest_degrees
from anw_jax.verify.mark_tables import owners


@dataclasses.dataclass(frozen=True, eq=False)
class ManyGridSearchResult:
    """The grid search of eq. 6 for each of many users, who share one signature per user.

    Attributes:
      degrees: the grid, float64 `[num_slots]`.
      curves: mean loss at each angle, float64 `[num_users, num_slots]`, nats; NaN for a user
        without usable images.
      inferred_degrees: the angle with the lowest mean loss, float64 `[num_users]`; 0 means
        "unmarked", NaN that nothing could be inferred.
      margins: second-lowest mean loss minus the lowest, float64 `[num_users]`, nats.
      num_usable: images that were counted, int64 `[num_users]`.
    """

    degrees: np.ndarray
    curves: np.ndarray
    inferred_degrees: np.ndarray
    margins: np.ndarray
    num_usable: np.ndarray

    def matches(self, true_degrees: np.ndarray, space: SignatureSpace) -> np.ndarray:
        """Whether each inferred signature lies within τ of the true one: bool `[num_users]`.

        `space` is the one the owners drew from, whatever grid was searched. One match is never
        stronger evidence than 1 in N - 1; the share of matches among many users is the
        accuracy of Fig. 5a.
        """
        return space.distance(self.inferred_degrees, true_degrees) < space.tau_degrees

    def lowest_degrees(self, num_starts: int = 2) -> np.ndarray:
        """The angles with the lowest mean losses, lowest first: `[num_starts, num_users]`.

        Starts for `gradient_search_many(..., starts_degrees=)`. Ties, and users without usable
        images, go to the lower slot.

        Raises:
          ValueError: `num_starts` below 1 or above the number of slots.
        """
        return lowest_degrees(self.curves, self.degrees, num_starts).T


def grid_search_many(
    loss_table: np.ndarray,
    user_of_image: np.ndarray,
    grid: SignatureSpace,
    *,
    num_users: int | None = None,
) -> ManyGridSearchResult:
    """Infers the signature of each user: `grid_search` on the user's rows, for all at once.

    Zou, Gong, Wang (ECCV 2022), eq. 6, https://arxiv.org/abs/2109.09023. One sum over rows,
    in the order in which `grid_search` adds them, so the answers are the same numbers.

    Args:
      loss_table: float `[num_images, num_slots]` nats, as from `loss_tables`; images with a
        loss that is not finite are left out.
      user_of_image: integers `[num_images]`, 0 … num_users - 1.
      grid: the space whose slots the table holds: 12 slots, or a finer grid.
      num_users: by default the largest user plus one; more where the last have no images.

    Raises:
      TypeError, ValueError: the table's width is not the grid's; users of the wrong shape,
        not integers, or beyond `num_users`.

    Example:
      >>> table = np.array([[2.0, 1.0, 0.2, 1.0], [0.1, 0.9, 0.4, 1.2], [2.0, 0.9, 0.4, 1.2]])
      >>> result = grid_search_many(table, [0, 1, 0], SignatureSpace(4))
      >>> result.inferred_degrees.tolist(), result.margins.round(2).tolist()
      ([180.0, 0.0], [0.65, 0.3])
    """
    table = check_table(loss_table, grid)
    if num_users is not None:
        num_users = _check.integer_at_least(0, num_users=num_users)
    user_of_image = owners(len(table), num_users, user_of_image=user_of_image)
    if num_users is None:
        num_users = int(user_of_image.max(initial=-1)) + 1
    usable = np.isfinite(table).all(axis=1)
    sums = np.zeros((num_users, grid.num_slots))
    np.add.at(sums, user_of_image[usable], table[usable])
    counts = np.bincount(user_of_image[usable], minlength=num_users)
    known = counts > 0
    curves = np.full_like(sums, np.nan)
    np.divide(sums, counts[:, None], out=curves, where=known[:, None])
    lowest, second = np.sort(curves, axis=1)[:, :2].T
    return ManyGridSearchResult(
        degrees=grid.degrees,
        curves=curves,
        inferred_degrees=np.where(known, grid.degrees[curves.argmin(axis=1)], np.nan),
        margins=np.where(known, second - lowest, 0.0),
        num_usable=counts,
    )
