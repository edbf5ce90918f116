"""The system of Zhang et al. 2021: a trained barrier hides a picture, an extractor draws it.

"Deep Model Intellectual Property Protection via Deep Watermarking"
(https://arxiv.org/abs/2103.04980); the networks are `models.PictureBarrier`. `train_barrier` is
its first stage, `tune_extractor` its second one; `serve` marks outputs, `draw` draws what the
extractor sees, `normalised_correlation` and `train_classifier` are the two decisions.

**A baseline, never evidence.** The extractor is trained to draw this very mark, so there is no
error rate: nothing here has a p or a verdict, no case can name this system, and no claim is
judged by it. What has a p is the keyed filter of `schemes.barrier`.
"""

from anw_jax.schemes.barrier.pictures.decision import share_of_mark, train_classifier
from anw_jax.schemes.barrier.pictures.losses import PictureWeights
from anw_jax.schemes.barrier.pictures.measures import (
    SUCCESS,
    PictureReading,
    check_marks,
    normalised_correlation,
)
from anw_jax.schemes.barrier.pictures.training import (
    PictureTraining,
    Triples,
    draw,
    serve,
    train_barrier,
    tune_extractor,
)

__all__ = [
    "SUCCESS",
    "PictureReading",
    "PictureTraining",
    "PictureWeights",
    "Triples",
    "check_marks",
    "draw",
    "normalised_correlation",
    "serve",
    "share_of_mark",
    "train_barrier",
    "train_classifier",
    "tune_extractor",
]
