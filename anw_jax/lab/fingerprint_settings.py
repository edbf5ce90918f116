"""The settings of a run with customers' copies: a clean network, copies, suspects."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from anw_jax import _check
from anw_jax.attacks.copies import COLLUSIONS
from anw_jax.lab.image_fingerprint import ImageRunSettings
from anw_jax.lab.settings import (
    AttackSettings,
    DataSettings,
    ModelSettings,
    RunSettings,
    check_name,
)
from anw_jax.lab.split import SplitRunSettings
from anw_jax.schemes.fingerprint import NUM_BITS, RepairSettings
from anw_jax.schemes.fingerprint.projection import KINDS
from anw_jax.train import TrainSettings


@dataclasses.dataclass(frozen=True)
class CollusionSettings:
    """A coalition that mixes its copies.

    Attributes:
      how: of `attacks.copies.COLLUSIONS`.
      colluders: copies that are mixed, from the first on; 1 = a single copy.
      attack: what is done to the mixture; None for nothing.
      parameters: of that attack.
    """

    how: str = "average"
    colluders: int = 2
    attack: str | None = None
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        _check.one_of(COLLUSIONS, how=self.how)
        _check.integer_at_least(1, colluders=self.colluders)
        if self.attack is not None:
            AttackSettings(self.attack, self.parameters)

    def then(self) -> AttackSettings | None:
        """Return what follows the mixing."""
        return None if self.attack is None else AttackSettings(self.attack, self.parameters)


@dataclasses.dataclass(frozen=True)
class FingerprintSettings(RunSettings):
    """A whole run with customers' copies.

    Attributes:
      name: of the experiment; names the results.
      seed: of the data, keys and trainings; keys are experiment keys, never evidence.
      data: the task's images.
      model: the network.
      train: of the clean network.
      repair: of each copy.
      collusions: suspects made from copies, by name.
      num_copies: copies that are really made; other customers exist as codes only.
      more_coalitions: further coalitions of each collusion without an attack, of copies drawn
        by the seed; they are traced too, their accuracy is not measured.
      num_customers: codes that are tested.
      num_bits: of a code.
      strength: of a copy's change, as a share of the weights.
      kind: of the projection; "spread" is the baseline.
      epsilon: probability at most to name an innocent.
      num_issues: simulated issues in code space, for the null.
      num_trials: simulated collusions in code space for each number of colluders.
      split: a training with several data owners; None for none. Its seed is the run's.
      images: bits in images; None for none. Its seed is the run's. Like `split`, they can be
        added to a finished run.
    """

    OWN = ("name", "images", "split")
    name: str
    seed: int
    data: DataSettings
    model: ModelSettings
    train: TrainSettings
    repair: RepairSettings
    collusions: Mapping[str, CollusionSettings]
    num_copies: int = 8
    more_coalitions: int = 0
    num_customers: int = 100
    num_bits: int = NUM_BITS
    strength: float = 0.05
    kind: str = KINDS[0]
    epsilon: float = 1e-6
    num_issues: int = 100_000
    num_trials: int = 20
    split: SplitRunSettings | None = None
    images: ImageRunSettings | None = None

    def __post_init__(self):
        _check.integer_at_least(0, seed=self.seed)
        for name in ("num_copies", "num_bits", "num_issues", "num_trials"):
            _check.integer_at_least(1, **{name: getattr(self, name)})
        _check.integer_at_least(0, more_coalitions=self.more_coalitions)
        _check.integer_at_least(max(11, self.num_copies), num_customers=self.num_customers)
        _check.positive(strength=self.strength)
        _check.in_open_interval(0.0, 1.0, epsilon=self.epsilon)
        _check.one_of(KINDS, kind=self.kind)
        for name, one in self.collusions.items():
            check_name("collusions", name)
            if one.colluders > self.num_copies:
                raise ValueError(
                    f"collusions.{name}.colluders must be at most the {self.num_copies} "
                    f"copies, got {one.colluders}"
                )
        if self.model.pretrained is not None:
            raise ValueError("model.pretrained must be left out: w_base is trained here")
