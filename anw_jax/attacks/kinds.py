"""The four kinds of attack, by what they change: images, batches, training steps, models.

An attack is a frozen dataclass of plain values: attacks are compared by value and written to
settings, fingerprints and results. Everything else that an attack needs is an argument.
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
    """Changes the scraped images, once, before training."""

    def prepare(self, images: np.ndarray, *, seed: int) -> np.ndarray:
        """Return the changed images, a pure function of images and seed.

        Args:
          images: uint8 `[n, H, W, 3]`.
          seed: at least 0; not used where nothing is drawn.

        Returns:
          uint8 `[n, H, W, 3]`, a new array.

        Raises:
          TypeError, ValueError: images that are not 8-bit colour, or a negative seed.
          ImportError: if a library that the attack needs is missing.
        """


@runtime_checkable
class BatchAttack(Protocol):
    """Changes each training batch, after crop and flip, inside the jitted step."""

    def transform(
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Return changed images and targets.

        Args:
          key: typed PRNG key of this step.
          images: float32 `[b, H, W, 3]` in [0, 1].
          targets: float32 `[b, c]`, rows that sum to 1.

        Returns:
          `(images, targets)` of the same shapes, dtypes and ranges.
        """


@runtime_checkable
class StepAttack(Protocol):
    """Changes how a training step computes its gradient (adversarial training, DP-SGD)."""

    def add_to(self, recipe: train.Recipe) -> train.Recipe:
        """Return the recipe with this attack added."""


@runtime_checkable
class ModelAttack(Protocol):
    """Changes a trained model, or its answers."""

    def change(self, trained: "TrainedModel", material: "Material") -> "TrainedModel":
        """Return the model that the learner puts online in place of `trained`."""


Attack = PhotoAttack | BatchAttack | StepAttack | ModelAttack


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model as the learner puts it online.

    Attributes:
      model: the architecture.
      variables: its weights.
      predict: [0, 1] images `[b, H, W, 3]` → logits, a traceable `Partial` with its weights as
        arguments; differs from `model.predict_fn(variables)` where answers are changed.
      details: plain values for the results (share pruned, accuracy, ...).
      layer_maps: float64 `[c, C]` for each layer that gives h M in the place of h, which the
        next layer undoes (`attacks.Rebase`).
    """

    model: Model
    variables: dict[str, Any]
    predict: jax.tree_util.Partial
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    layer_maps: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, variables: dict[str, Any], **details: Any) -> "TrainedModel":
        """Return a model that answers with its unchanged logits."""
        return cls(model, variables, model.predict_fn(variables), details)


@dataclasses.dataclass(frozen=True, eq=False)
class Material:
    """What a learner has for changing a trained model.

    Attributes:
      settings: how the model was trained.
      images: uint8 `[n, H, W, 3]`, the training images, marked photos among them.
      labels: int32 `[n]`.
      clean_images: uint8 `[m, H, W, 3]`, images of the same classes that were never trained
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
    """Return a seed in [0, 2³¹) for one named use, so that no two uses share random numbers.

    Example:
      >>> derive_seed(0, "ensemble", 1) != derive_seed(0, "ensemble", 2)
      True
    """
    text = "/".join(map(str, ("anw_jax.attacks/1", seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def libraries(needed_by: str, extra: str, *names: str) -> list[types.ModuleType]:
    """Import optional modules when they are needed.

    Args:
      needed_by: the attack, as the error names it.
      extra: the extra of this package that installs them.
      *names: the modules, with dots.

    Raises:
      ImportError: if one is missing; the message has the install command.
    """
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError as error:
        raise ImportError(
            f"{needed_by} needs {error.name}, which is not installed: "
            f"pip install '.[{extra}]' in the checkout"
        ) from error
