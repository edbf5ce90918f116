"""A trained model is trained on for a while, on clean photos."""

import dataclasses

from anw_jax import _check
from anw_jax.attacks._retrain import derive_seed, retrain
from anw_jax.attacks.kinds import Material, TrainedModel

LAYERS = ("all", "head")


@dataclasses.dataclass(frozen=True)
class FineTune:
    """Trains the weights on with photos that carry no mark.

    The two ways of Adi et al. 2018 (https://arxiv.org/abs/1802.04633, section 5), "fine-tune
    all layers" and "fine-tune last layer". Momentum starts from 0, the schedule of the
    training is run through anew over `num_epochs` without warm-up, crops and mirror images are
    those of the training. Labels are hard.

    Attributes:
      layers: "all", or "head" for the last dense layer alone; then the rest of the weights and
        all averages of BatchNorm stay bit for bit.
      num_epochs: passes over the clean photos, at least 1.
      learning_rate: peak learning rate, above 0.
      batch_size: photos per step, at most the number of clean photos.

    Raises:
      ValueError: if a number is out of range or `layers` unknown.
      TypeError: if a number is not a number.

    Example:
      >>> FineTune(layers="head", num_epochs=5)
      FineTune(layers='head', num_epochs=5, learning_rate=0.01, batch_size=64)
    """

    layers: str = "all"
    num_epochs: int = 10
    learning_rate: float = 0.01
    batch_size: int = 64

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant."""
        _check.one_of(LAYERS, layers=self.layers)
        _check.integer_at_least(1, num_epochs=self.num_epochs)
        _check.positive(learning_rate=self.learning_rate)
        _check.integer_at_least(1, batch_size=self.batch_size)

    def change(self, suspect: TrainedModel, material: Material) -> TrainedModel:
        """The model after more training on `material.clean_images`; plain logits.

        Raises:
          ValueError: if there are fewer clean photos than one batch holds.
        """
        settings = dataclasses.replace(
            material.settings,
            num_epochs=self.num_epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            warmup_epochs=0,
            label_smoothing=0.0,
            seed=derive_seed(material.seed, "fine_tune"),
        )
        variables, details = retrain(
            suspect.model,
            settings,
            material.clean_images,
            material.clean_labels,
            initial_variables=suspect.variables,
            trainable=self.layers,
        )
        return TrainedModel.of(suspect.model, variables, **details)
