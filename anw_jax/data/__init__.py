"""Photos and who owns them: sources, users, the learner's set, the batch plan.

`load` reads a source into `Splits`; `assign_users` says whose photos are whose;
`training_set` puts published (marked) photos in their places; `BatchPlan` says which rows
each step of training sees. Images are uint8 `[n, H, W, 3]`, channels last, in all of them.
"""

from anw_jax.data.batch_plan import BatchPlan
from anw_jax.data.dataset import Dataset, Splits
from anw_jax.data.sources import SOURCES, load
from anw_jax.data.users import (
    KINDS,
    UserImages,
    UserPartition,
    UserSpec,
    assign_users,
    training_set,
)

__all__ = [
    "KINDS",
    "SOURCES",
    "BatchPlan",
    "Dataset",
    "Splits",
    "UserImages",
    "UserPartition",
    "UserSpec",
    "assign_users",
    "load",
    "training_set",
]
