"""Fine-pruning: small weights are set to 0, and the rest is trained further."""

import dataclasses

import jax
import jax.numpy as jnp

from anw_jax.attacks.kinds import Material, TrainedModel
from anw_jax.attacks.model import FineTune, Prune


@dataclasses.dataclass(frozen=True)
class FinePrune:
    """Prunes the smallest weights, then fine-tunes those that are left.

    After Liu et al. 2018 (https://arxiv.org/abs/1805.12185), who prune the channels that are
    quietest on clean images; here the weights of `Prune`, by magnitude. They are 0 at the end,
    whatever the fine-tuning (`FineTune`) made of them.

    Attributes:
      fraction: share of the weights to zero, strictly between 0 and 1.
      num_epochs: passes over the clean images, at least 1.
      learning_rate: peak learning rate, above 0.
      batch_size: images per step, at most the number of clean images.

    Raises:
      TypeError, ValueError: a number that is out of range, or no number.

    Example:
      >>> FinePrune(fraction=0.3).num_epochs
      5
    """

    fraction: float = 0.5
    num_epochs: int = 5
    learning_rate: float = 0.01
    batch_size: int = 64

    def __post_init__(self) -> None:
        """Check the numbers."""
        self._parts()

    def change(self, trained: TrainedModel, material: Material) -> TrainedModel:
        """Return the pruned and fine-tuned model; `details` are those of both parts.

        Raises:
          ValueError: if there are fewer clean images than one batch holds.
        """
        prune, fine_tune = self._parts()
        pruned = prune.change(trained, material)
        tuned = fine_tune.change(pruned, material)
        params = jax.tree.map(
            lambda now, before, first: jnp.where((before == 0) & (first != 0), 0, now),
            tuned.variables["params"],
            pruned.variables["params"],
            trained.variables["params"],
        )
        variables = tuned.variables | {"params": params}
        return TrainedModel.of(trained.model, variables, **pruned.details, **tuned.details)

    def _parts(self) -> tuple[Prune, FineTune]:
        rest = (self.num_epochs, self.learning_rate, self.batch_size)
        return Prune(self.fraction), FineTune("all", *rest)
