"""Attacks by name, as settings and results refer to them."""

import dataclasses
from typing import Any

from anw_jax import _check
from anw_jax.attacks.answers import OutputNoise, Rounding
from anw_jax.attacks.batch import (
    ColorJitter,
    Cutmix,
    Cutout,
    GaussianNoise,
    Grayscale,
    LabelSmoothing,
    Mixup,
)
from anw_jax.attacks.copies import OverwriteCode, PermuteWeights, Quantise, WeightNoise
from anw_jax.attacks.distil import Distil
from anw_jax.attacks.dp_sgd import DpSgd
from anw_jax.attacks.fine_prune import FinePrune
from anw_jax.attacks.gallery import DistilGallery
from anw_jax.attacks.hidden import Overwrite, Rebase
from anw_jax.attacks.images import HistogramMatching, Jpeg, WhiteBalance
from anw_jax.attacks.kinds import Attack
from anw_jax.attacks.model import EarlyStopping, Ensemble, FineTune, Prune
from anw_jax.attacks.rand_augment import RandAugment
from anw_jax.attacks.step import Fgsm, Pgd

# One line per attack; append new ones.
_CLASSES: dict[str, type] = {
    "cutout": Cutout,
    "label_smoothing": LabelSmoothing,
    "gaussian_noise": GaussianNoise,
    "mixup": Mixup,
    "cutmix": Cutmix,
    "rand_augment": RandAugment,
    "color_jitter": ColorJitter,
    "grayscale": Grayscale,
    "fgsm": Fgsm,
    "pgd": Pgd,
    "dp_sgd": DpSgd,
    "jpeg": Jpeg,
    "white_balance": WhiteBalance,
    "histogram_matching": HistogramMatching,
    "prune": Prune,
    "fine_tune": FineTune,
    "distil": Distil,
    "ensemble": Ensemble,
    "early_stopping": EarlyStopping,
    "output_noise": OutputNoise,
    "rounding": Rounding,
    "distil_gallery": DistilGallery,
}

NAMES = tuple(_CLASSES)

# Against watermarks inside a network; answers to marked photos stay, or nearly so.
_HIDDEN: dict[str, type] = {
    "rebase": Rebase,
    "overwrite": Overwrite,
    "fine_prune": FinePrune,
    "overwrite_code": OverwriteCode,
    "permute_weights": PermuteWeights,
    "quantise": Quantise,
    "weight_noise": WeightNoise,
}
HIDDEN_NAMES = tuple(_HIDDEN)


def create(name: str, **parameters: Any) -> Attack:
    """Create an attack from its name and plain values.

    Args:
      name: one of `attacks.NAMES` or `attacks.HIDDEN_NAMES`.
      **parameters: fields of that attack's class; omitted ones have their defaults.

    Raises:
      ValueError: if the name or a parameter's name is unknown, or a value is out of range.
      TypeError: if a value has the wrong type.
    """
    kinds = _CLASSES | _HIDDEN
    kind = kinds[_check.one_of(kinds, name=name)]
    fields = [field.name for field in dataclasses.fields(kind)]
    for parameter in parameters:
        _check.one_of(fields, **{f"parameter of attack {name!r}": parameter})
    return kind(**parameters)
