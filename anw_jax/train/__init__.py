"""Training: one step for any loss and one runner; classification is one such loss.

`make_step` makes a step from a loss and an optimizer, `chain` joins several steps, and `fit`
runs them, with checkpoints, resume, progress and stop. `train` is `fit` for a classifier. This
is the only package that imports orbax.
"""

from anw_jax.train.batches import Batches, IndicesFn
from anw_jax.train.checkpoints import load_model, load_variables
from anw_jax.train.classifier import (
    TRAINABLE,
    classification_step,
    forecast_seconds,
    forward_flops,
    train,
)
from anw_jax.train.diffusion import DenoisingSettings, adam, train_diffusion
from anw_jax.train.image_to_image import (
    DISTANCES,
    Pairs,
    PairSettings,
    image_distance,
    pair_loss,
    restore,
    train_pairs,
)
from anw_jax.train.losses import (
    classification_loss,
    cross_entropy,
    denoising_loss,
    evaluate,
    with_penalties,
)
from anw_jax.train.many import EXECUTIONS, ManyResult, train_many
from anw_jax.train.recipe import (
    Adversary,
    Batch,
    BatchTransform,
    ImageLossFn,
    Privatizer,
    Recipe,
    classification_batch,
    random_crop,
)
from anw_jax.train.runner import SegmentReport, StartReport, TrainResult, fit
from anw_jax.train.settings import SCHEDULES, TrainSettings, learning_rate_fn
from anw_jax.train.step import LossFn, Step, TrainState, chain, make_step

__all__ = [
    "DISTANCES",
    "EXECUTIONS",
    "SCHEDULES",
    "TRAINABLE",
    "Adversary",
    "Batch",
    "BatchTransform",
    "Batches",
    "DenoisingSettings",
    "ImageLossFn",
    "IndicesFn",
    "LossFn",
    "ManyResult",
    "PairSettings",
    "Pairs",
    "Privatizer",
    "Recipe",
    "SegmentReport",
    "StartReport",
    "Step",
    "TrainResult",
    "TrainSettings",
    "TrainState",
    "adam",
    "chain",
    "classification_batch",
    "classification_loss",
    "classification_step",
    "cross_entropy",
    "denoising_loss",
    "evaluate",
    "fit",
    "forecast_seconds",
    "forward_flops",
    "image_distance",
    "learning_rate_fn",
    "load_model",
    "load_variables",
    "make_step",
    "pair_loss",
    "random_crop",
    "restore",
    "train",
    "train_diffusion",
    "train_many",
    "train_pairs",
    "with_penalties",
]
