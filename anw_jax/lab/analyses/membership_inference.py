"""Threshold membership inference on the trained model (Fig. 5c)."""

from typing import Any

from anw_jax.baselines import threshold_mia
from anw_jax.baselines.answers import answers
from anw_jax.lab.case import Case
from anw_jax.lab.journal import Journal
from anw_jax.lab.learner import Suspect
from anw_jax.lab.settings import Settings

_LARGEST_KNOWN = 100


def analyse(
    settings: Settings, case: Case, suspect: Suspect, journal: Journal
) -> dict[str, Any]:
    """MIA-std and MIA-pow between photos trained on and photos of the same classes not.

    The attacker is given 100 photos of each kind (a tenth of the photos, where these are few)
    to set the threshold, which no owner has.

    Returns:
      For each method its counts, accuracy and advantage, with "protection_advantage" (adv^P of
      eq. 7 with p = 1/2: accuracy on balanced targets minus one half); and "best_advantage",
      the larger adv^P.
    """
    num = min(len(case.learner), len(case.unseen))
    members, _ = answers(suspect.predict, case.learner.images[:num], case.learner.labels[:num])
    others, _ = answers(suspect.predict, case.unseen.images[:num], case.unseen.labels[:num])
    known = min(_LARGEST_KNOWN, num // 10)
    found = threshold_mia.compare(members, others, num_known=known, seed=settings.seed)
    for name, numbers in found.items():
        numbers["protection_advantage"] = numbers["balanced_accuracy"] - 0.5
        journal.say(f"{name}: {numbers['balanced_accuracy']:.1%} of calls right")
    best = max(numbers["protection_advantage"] for numbers in found.values())
    return {**found, "best_advantage": best, "num_known": known}
