"""What an attack is: four kinds, by the moment at which the learner acts.

An attack is a frozen dataclass of plain values (it is compared by value and stands in settings,
fingerprints and results). What it needs beside its own values is handed to it.
"""

import dataclasses
import hashlib
import importlib
import types
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from anw_jax import train
from anw_jax.models import Model


@runtime_checkable
class PhotoAttack(Protocol):
    """Acts on the scraped files, once, before training."""

    def prepare(self, images: np.ndarray, *, seed: int) -> np.ndarray:
        """uint8 `[n, H, W, 3]` to uint8 of the same shape; a pure function of both."""


@runtime_checkable
class BatchAttack(Protocol):
    """Acts on each training batch, after crop and flip; is jitted into the step."""

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """float32 images `[b, H, W, 3]` in [0, 1] and targets `[b, c]`, to the same."""


@runtime_checkable
class StepAttack(Protocol):
    """Changes how a step gets its gradient (adversarial training, DP-SGD)."""

    def add_to(self, recipe: train.Recipe) -> train.Recipe:
        """The recipe with this attack in it."""


@runtime_checkable
class ModelAttack(Protocol):
    """Acts on a trained model, or on its answers."""

    def change(self, suspect: "TrainedModel", material: "Material") -> "TrainedModel":
        """What the learner puts online in place of `suspect`."""


Attack = PhotoAttack | BatchAttack | StepAttack | ModelAttack


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model as it stands online.

    Attributes:
      model: the architecture.
      variables: its weights.
      predict: [0, 1] images `[b, H, W, 3]` → logits, a traceable `Partial` with its weights as
        arguments; differs from `model.predict_fn(variables)` where answers are changed.
      details: plain numbers worth a place in the results (share pruned, accuracy, ...).
    """

    model: Model
    variables: dict[str, Any]
    predict: jax.tree_util.Partial
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, variables: dict[str, Any], **details: Any) -> "TrainedModel":
        """A model that answers with its plain logits."""
        return cls(model, variables, model.predict_fn(variables), details)


@dataclasses.dataclass(frozen=True, eq=False)
class Material:
    """What a learner has at hand for changing a trained model.

    Attributes:
      settings: how the model was trained.
      images: uint8 `[n, H, W, 3]`, what it was trained on, marked photos among them.
      labels: int32 `[n]`.
      clean_images: uint8 `[m, H, W, 3]`, photos of the same classes that were never trained
        on and carry no mark (fine-tuning, distillation).
      clean_labels: int32 `[m]`.
      seed: of everything random.
    """

    settings: train.TrainSettings
    images: np.ndarray
    labels: np.ndarray
    clean_images: np.ndarray
    clean_labels: np.ndarray
    seed: int


def derive_seed(seed: int, *names: str | int) -> int:
    """A seed in [0, 2³¹) for one named use, so that no two uses share random numbers.

    Example:
      >>> derive_seed(0, "ensemble", 1) != derive_seed(0, "ensemble", 2)
      True
    """
    text = "/".join(map(str, ("anw_jax.attacks/1", seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def libraries(needed_by: str, extra: str, *names: str) -> list[types.ModuleType]:
    """The modules, imported when they are needed.

    Args:
      needed_by: what the error calls the attack.
      extra: of the package, which installs them.
      *names: of the modules.

    Raises:
      ImportError: if one is missing; says how to install it.
    """
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError as error:
        raise ImportError(
            f"{needed_by} needs {error.name}, which is not installed: "
            f"pip install '.[{extra}]' in the checkout"
        ) from error
