"""Attacks on the mark: what a learner may do before, during and after training.

`create` makes those that act on marks in photos, by name. `Rebase`, `Overwrite` and `erase` act
on watermarks inside a network (`anw_jax.schemes`), as fine-tuning and pruning do too.
"""

from anw_jax.attacks.hidden import Overwrite, Rebase, erase, folded, taps_of
from anw_jax.attacks.kinds import (
    Attack,
    BatchAttack,
    Material,
    ModelAttack,
    PhotoAttack,
    StepAttack,
    TrainedModel,
)
from anw_jax.attacks.registry import HIDDEN_NAMES, NAMES, create

__all__ = [
    "HIDDEN_NAMES",
    "NAMES",
    "Attack",
    "BatchAttack",
    "Material",
    "ModelAttack",
    "Overwrite",
    "PhotoAttack",
    "Rebase",
    "StepAttack",
    "TrainedModel",
    "create",
    "erase",
    "folded",
    "taps_of",
]
