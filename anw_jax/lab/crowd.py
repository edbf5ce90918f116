"""Many users at once: each one's signature, read off one table (section 5.4 of the paper)."""

from typing import Any

import numpy as np

from anw_jax import verify
from anw_jax.lab.owner import User
from anw_jax.lab.settings import Settings


def crowd_numbers(
    settings: Settings,
    name: str,
    members: tuple[User, ...],
    fine_table: np.ndarray,
    wrong_table: np.ndarray | None,
) -> dict[str, Any]:
    """What the results say of a crowd; plain values.

    Args:
      settings: of the run.
      name: of the crowd in the settings.
      members: its users, in the order of the table's rows.
      fine_table: float `[n, num_slots * refinement]`, losses in nats, user after user.
      wrong_table: the same under bases that are not the users', or None.

    Returns:
      "match_rate" is the share of users whose inferred slot is their own: within τ of the
      drawn signature, or "unmarked" for those who published no mark or were left out. The
      degrees are those of the coarse grid, as in the paper.
    """
    true_degrees = np.array([_true_degrees(settings, name, user) for user in members])
    inferred = _infer(settings, members, fine_table)
    space = settings.verify.space
    numbers = {
        "num_users": len(members),
        "num_images_each": len(members[0].originals),
        "kind": members[0].settings.kind,
        "mark_kind": members[0].settings.mark,
        "true_degrees": true_degrees,
        "inferred_degrees": inferred.inferred_degrees,
        "margins": inferred.margin,
        "match_rate": float(inferred.matches(true_degrees, space).mean()),
        "wrong_basis_match_rate": None,
    }
    if settings.verify.grid_refinement > 1:
        fine = _infer(settings, members, fine_table, is_fine=True)
        numbers["inferred_degrees_fine"] = fine.inferred_degrees
    if wrong_table is not None:
        guessed = _infer(settings, members, wrong_table)
        wrong_matches = guessed.matches(true_degrees, space)
        numbers["wrong_basis_match_rate"] = float(wrong_matches.mean())
    return numbers


def _true_degrees(settings: Settings, name: str, user: User) -> float:
    if user.settings.kind != "marked" or name in settings.exclude:
        return 0.0
    return float(user.assignment.degrees[0])


def _infer(
    settings: Settings, members: tuple[User, ...], fine_table: np.ndarray, is_fine: bool = False
) -> verify.GridSearchResult:
    sizes = [len(user.originals) for user in members]
    user_of_image = np.repeat(np.arange(len(members)), sizes)
    if is_fine:
        return verify.grid_search(fine_table, settings.verify.grid, user_of_image)
    table = fine_table[:, :: settings.verify.grid_refinement]
    return verify.grid_search(table, settings.verify.space, user_of_image)
