"""Training: state, step, drivers, checkpoints. The only room with orbax."""

from anw_jax.train.checkpoints import load_variables
from anw_jax.train.evaluate import evaluate
from anw_jax.train.forecast import forecast_seconds, forward_flops
from anw_jax.train.load_model import load_model
from anw_jax.train.loop import (
    SegmentReport,
    StartReport,
    TrainResult,
    estimate,
    train,
)
from anw_jax.train.many import EXECUTIONS, ManyResult, train_many
from anw_jax.train.recipe import (
    Adversary,
    BatchTransform,
    ExampleLossFn,
    ImageLossFn,
    Privatizer,
    Recipe,
)
from anw_jax.train.run import IndicesFn
from anw_jax.train.schedule import learning_rate_fn
from anw_jax.train.settings import SCHEDULES, TrainSettings
from anw_jax.train.state import Metrics, TrainState
from anw_jax.train.step import Batch, make_step_fn
from anw_jax.train.trees import TRAINABLE

__all__ = [
    "EXECUTIONS",
    "SCHEDULES",
    "TRAINABLE",
    "Adversary",
    "Batch",
    "BatchTransform",
    "ExampleLossFn",
    "ImageLossFn",
    "IndicesFn",
    "ManyResult",
    "Metrics",
    "Privatizer",
    "Recipe",
    "SegmentReport",
    "StartReport",
    "TrainResult",
    "TrainSettings",
    "TrainState",
    "estimate",
    "evaluate",
    "forecast_seconds",
    "forward_flops",
    "learning_rate_fn",
    "load_model",
    "load_variables",
    "make_step_fn",
    "train",
    "train_many",
]
