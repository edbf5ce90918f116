"""Attacks on the mark: what a learner may do before, during and after training."""

from anw_jax.attacks.kinds import (
    Attack,
    BatchAttack,
    Material,
    ModelAttack,
    PhotoAttack,
    StepAttack,
    TrainedModel,
)
from anw_jax.attacks.registry import NAMES, create

__all__ = [
    "NAMES",
    "Attack",
    "BatchAttack",
    "Material",
    "ModelAttack",
    "PhotoAttack",
    "StepAttack",
    "TrainedModel",
    "create",
]
