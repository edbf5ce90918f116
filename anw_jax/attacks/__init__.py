"""Attacks on the mark: what a learner may do before, during and after training.

`create` makes attacks by name. `Rebase`, `Overwrite`, `FinePrune`, `erase` and `spoil` act on
watermarks inside a network (`anw_jax.schemes`), as fine-tuning and pruning do.
"""

from anw_jax.attacks.copies import (
    COLLUSIONS,
    OverwriteCode,
    PermuteWeights,
    Quantise,
    WeightNoise,
    collude,
)
from anw_jax.attacks.fine_prune import FinePrune
from anw_jax.attacks.hidden import Overwrite, Rebase, erase, folded, spoil, taps_of
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
    "COLLUSIONS",
    "HIDDEN_NAMES",
    "NAMES",
    "Attack",
    "BatchAttack",
    "FinePrune",
    "Material",
    "ModelAttack",
    "Overwrite",
    "OverwriteCode",
    "PermuteWeights",
    "PhotoAttack",
    "Quantise",
    "Rebase",
    "StepAttack",
    "TrainedModel",
    "WeightNoise",
    "collude",
    "create",
    "erase",
    "folded",
    "spoil",
    "taps_of",
]
