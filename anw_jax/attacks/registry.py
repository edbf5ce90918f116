"""Every attack by name, so that settings and results can say which was used."""

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
from anw_jax.attacks.distil import Distil
from anw_jax.attacks.dp_sgd import DpSgd
from anw_jax.attacks.images import HistogramMatching, Jpeg, WhiteBalance
from anw_jax.attacks.kinds import Attack
from anw_jax.attacks.model import EarlyStopping, Ensemble, FineTune, Prune
from anw_jax.attacks.rand_augment import RandAugment
from anw_jax.attacks.step import Fgsm, Pgd

# One line per attack; append yours.
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
}

NAMES = tuple(_CLASSES)


def create(name: str, **parameters: Any) -> Attack:
    """Makes an attack from its name and plain values.

    Args:
      name: one of `attacks.NAMES`.
      **parameters: fields of that attack's class; those left out have its defaults.

    Raises:
      ValueError: if the name or a parameter's name is unknown, a parameter without a default is
        missing, or a value is out of range.
      TypeError: if a value is of the wrong kind.
    """
    _check.one_of(NAMES, name=name)
    kind = _CLASSES[name]
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    for parameter in parameters:
        _check.one_of(fields, **{f"parameter of attack {name!r}": parameter})
    missing = [
        field.name
        for field in fields.values()
        if field.name not in parameters
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"attack {name!r} needs {', '.join(missing)}")
    return kind(**parameters)
