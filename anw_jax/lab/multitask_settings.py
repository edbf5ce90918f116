"""The settings of a run with multi-task watermarks: a clean network, marked ones, attacks."""

import dataclasses
from collections.abc import Mapping

from anw_jax import _check, stats
from anw_jax.lab.settings import (
    AttackSettings,
    DataSettings,
    ModelSettings,
    RunSettings,
    check_name,
)
from anw_jax.schemes.multitask.branch import check_num_pairs
from anw_jax.schemes.multitask.embed import DEFAULT, EmbedSettings
from anw_jax.train import TrainSettings

VARIANTS = ("projection", "branch")

# The probability with which guesses may reach γ; 96 bits suffice for γ = 0.8.
MOST_CHANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class MarkSettings:
    """A marked network.

    Attributes:
      variant: "projection" (exact p) or "branch" (the paper's rule).
      embed: how it is embedded.
    """

    variant: str = "projection"
    embed: EmbedSettings = DEFAULT

    def __post_init__(self):
        _check.one_of(VARIANTS, variant=self.variant)


@dataclasses.dataclass(frozen=True)
class MultitaskSettings(RunSettings):
    """A whole run with multi-task watermarks.

    Attributes:
      name: of the experiment; names the results.
      seed: of the data, keys and trainings; keys are experiment keys, never evidence.
      data: the task's images.
      model: the network.
      train: of the clean network and of innocent ones.
      taps: layers that are read.
      marks: marked networks, by name. Others can be added to a finished run.
      attacks: on each marked network, by name. Others can be added to a finished run.
      num_bits: of each key; enough that guesses reach γ with probability 1e-9 at most.
      num_keys: in each network; the paper's variant has one.
      side: tapped values are averaged over `side` x `side` cells.
      num_innocents: networks that never met the marks: so many trained from scratch, and as
        many fine-tuned from the clean one.
      num_fresh_keys: wrong keys under which each network's scores are tested.
      alpha: the declared level.
      gamma: of the paper's rule.
    """

    OWN = ("name", "marks", "attacks")
    name: str
    seed: int
    data: DataSettings
    model: ModelSettings
    train: TrainSettings
    taps: tuple[str, ...]
    marks: Mapping[str, MarkSettings]
    attacks: Mapping[str, AttackSettings] = dataclasses.field(default_factory=dict)
    num_bits: int = 300
    num_keys: int = 2
    side: int = 2
    num_innocents: int = 2
    num_fresh_keys: int = 10_000
    alpha: float = stats.DEFAULT_ALPHA
    gamma: float = 0.8

    def __post_init__(self):
        _check.integer_at_least(0, seed=self.seed)
        for name in ("num_bits", "num_keys", "side", "num_innocents", "num_fresh_keys"):
            _check.integer_at_least(1, **{name: getattr(self, name)})
        _check.in_open_interval(0.0, 1.0, alpha=self.alpha)
        _check.in_interval(0.5, 1.0, gamma=self.gamma)
        for kind in ("marks", "attacks"):
            for name in getattr(self, kind):
                check_name(kind, name)
        if not self.marks or not self.taps:
            raise ValueError("marks and taps must name at least one each")
        if any(mark.variant == "branch" for mark in self.marks.values()):
            check_num_pairs(self.num_bits, self.gamma, MOST_CHANCE)
        if self.model.pretrained is not None:
            raise ValueError("model.pretrained must be left out: w0 is trained here")
