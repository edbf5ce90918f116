"""Every attack by name, so that settings and results can say which was used."""

import dataclasses
from typing import Any

from anw_jax import _check
from anw_jax.attacks.color_jitter import ColorJitter
from anw_jax.attacks.cutmix import Cutmix
from anw_jax.attacks.cutout import Cutout
from anw_jax.attacks.distil import Distil
from anw_jax.attacks.dp_sgd import DpSgd
from anw_jax.attacks.early_stopping import EarlyStopping
from anw_jax.attacks.ensemble import Ensemble
from anw_jax.attacks.fgsm import Fgsm
from anw_jax.attacks.fine_tune import FineTune
from anw_jax.attacks.gaussian_noise import GaussianNoise
from anw_jax.attacks.grayscale import Grayscale
from anw_jax.attacks.histogram_matching import HistogramMatching
from anw_jax.attacks.jpeg import Jpeg
from anw_jax.attacks.kinds import Attack
from anw_jax.attacks.label_smoothing import LabelSmoothing
from anw_jax.attacks.mixup import Mixup
from anw_jax.attacks.output_noise import OutputNoise
from anw_jax.attacks.pgd import Pgd
from anw_jax.attacks.prune import Prune
from anw_jax.attacks.rand_augment import RandAugment
from anw_jax.attacks.rounding import Rounding
from anw_jax.attacks.white_balance import WhiteBalance

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
