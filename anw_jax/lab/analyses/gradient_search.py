"""Gradient search for the users with one hue, and its cost against a fine grid."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from anw_jax import verify
from anw_jax.keys import SignatureSpace
from anw_jax.lab.case import Case
from anw_jax.lab.journal import Journal
from anw_jax.lab.learner import Suspect
from anw_jax.lab.owner import User
from anw_jax.lab.settings import Settings

# From the best slots of the coarse grid; half of 12 steps of 3° covers half a slot.
_NUM_STARTS, _NUM_STEPS, _STEP_DEGREES = 2, 12, 3.0
_FINE_GRID = SignatureSpace(180)

T = TypeVar("T")


def analyse(
    settings: Settings, case: Case, suspect: Suspect, journal: Journal
) -> dict[str, Any]:
    """Infers each shared hue by descent, and by a grid of 2°.

    Returns:
      For each user whose photos share one hue (or none, which is 0°): the true and inferred
      degrees, the errors of both searches, and what each cost in pictures and seconds. The
      coarse grid that the descent starts from is counted as its cost.
    """
    users = {
        name: user
        for name, user in case.users.items()
        if user.settings.mark == "hue" and _true_degrees(settings, user) is not None
    }
    return {name: _one(settings, user, suspect, journal) for name, user in users.items()}


def _true_degrees(settings: Settings, user: User) -> float | None:
    if user.settings.kind != "marked" or user.name in settings.exclude:
        return 0.0
    if user.settings.scheme != "per_user":
        return None
    return float(user.assignment.degrees[0])


def _one(settings: Settings, user: User, suspect: Suspect, journal: Journal) -> dict[str, Any]:
    photos, labels = user.originals.images, user.originals.labels
    true_degrees = _true_degrees(settings, user)
    space, ask = settings.verify.space, (suspect.predict, photos, labels, user.mark)

    def descend() -> verify.GradientSearchResult:
        coarse = verify.grid_search(verify.loss_table(*ask, space), space)
        starts = space.degrees[np.argsort(coarse.curve, kind="stable")[:_NUM_STARTS]]
        return verify.gradient_search(
            *ask,
            starts_degrees=starts,
            num_steps=_NUM_STEPS,
            step_degrees=_STEP_DEGREES,
        )

    def scan() -> verify.GridSearchResult:
        return verify.grid_search(verify.loss_table(*ask, _FINE_GRID), _FINE_GRID)

    descent, seconds = _timed(descend)
    grid, grid_seconds = _timed(scan)
    inferred = float(descent.best_degrees[0])
    num_forward = descent.num_forward + len(photos) * space.num_slots
    grid_num_forward = len(photos) * _FINE_GRID.num_slots
    journal.say(
        f"{user.name}: {inferred:.1f}° by descent, {grid.inferred_degrees:.0f}° by grid"
    )
    return {
        "true_degrees": true_degrees,
        "inferred_degrees": inferred,
        "error_degrees": float(space.distance(inferred, true_degrees)),
        "num_forward": num_forward,
        "num_backward": descent.num_backward,
        "seconds": seconds,
        "grid_inferred_degrees": grid.inferred_degrees,
        "grid_error_degrees": float(space.distance(grid.inferred_degrees, true_degrees)),
        "grid_num_forward": grid_num_forward,
        "grid_seconds": grid_seconds,
    }


def _timed(search: Callable[[], T]) -> tuple[T, float]:
    """A search's answer, and its seconds once it is compiled; searches answer on the host."""
    search()
    start = time.perf_counter()
    found = search()
    return found, time.perf_counter() - start
