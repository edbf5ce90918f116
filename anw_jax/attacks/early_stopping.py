"""The training is stopped before it has learnt its photos by heart."""

import dataclasses
import math

from anw_jax import _check
from anw_jax.attacks._retrain import retrain
from anw_jax.attacks.kinds import Material, TrainedModel

# Segments of a training have at most this many steps (`train.batches`).
_LARGEST_SEGMENT = 2048


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """The same training, stopped after a share of its epochs.

    Stops memorisation where it begins (Prechelt 1998, https://doi.org/10.1007/3-540-49430-8_3,
    with a fixed time in place of a validation set). As a model attack it trains anew from
    `material` with `material.settings`, seed included, and the plain recipe: same first
    weights, same batches (`BatchPlan` of `settings.seed`), same learning rates, which have not
    yet fallen as far as they would have. If the suspect was trained that way, the result is the
    suspect as it stood at that epoch.

    Attributes:
      fraction: share of the epochs, strictly between 0 and 1; rounded to whole epochs, halves
        up, at least one.

    Raises:
      ValueError: if `fraction` is out of range.
      TypeError: if it is not a number.

    Example:
      >>> EarlyStopping(fraction=0.25).num_epochs(90)
      23
    """

    fraction: float = 0.25

    def __post_init__(self) -> None:
        """Refuses a share that is no share."""
        _check.in_open_interval(0.0, 1.0, fraction=self.fraction)

    def num_epochs(self, planned_epochs: int) -> int:
        """Whole epochs out of those planned, at least 1."""
        return max(1, math.floor(self.fraction * planned_epochs + 0.5))

    def change(self, suspect: TrainedModel, material: Material) -> TrainedModel:
        """The model at the earlier epoch; `details` hold it as `num_epochs`."""
        settings = material.settings
        num_epochs = self.num_epochs(settings.num_epochs)
        last_step = num_epochs * settings.steps_per_epoch(len(material.images))
        steps_taken = []
        variables, details = retrain(
            suspect.model,
            settings,
            material.images,
            material.labels,
            segment_steps=_segment_steps(last_step),
            on_segment=lambda report: steps_taken.append(report.step),
            should_stop=lambda: steps_taken[-1] >= last_step,
        )
        return TrainedModel.of(suspect.model, variables, num_epochs=num_epochs, **details)


def _segment_steps(last_step: int) -> int:
    """The longest segment that ends at `last_step`: its largest divisor within the limit.

    Example:
      >>> _segment_steps(300), _segment_steps(4096)
      (300, 2048)
    """
    num_segments = math.ceil(last_step / _LARGEST_SEGMENT)
    while last_step % num_segments:
        num_segments += 1
    return last_step // num_segments
