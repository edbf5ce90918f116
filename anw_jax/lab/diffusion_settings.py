"""The settings of a run with diffusion models: two bases, and models fine-tuned from one."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from anw_jax import _check
from anw_jax.keys.plan_fields import ERROR_STATISTIC
from anw_jax.lab.settings import (
    DataSettings,
    RunSettings,
    UserSettings,
    VerifySettings,
    check_name,
)
from anw_jax.models import Diffusion
from anw_jax.train import DenoisingSettings

STATISTIC = ERROR_STATISTIC


@dataclasses.dataclass(frozen=True)
class NoiseSettings:
    """The denoising error that is queried.

    Attributes:
      first_step, last_step: the band of noise levels, steps of the model.
      num_noises: levels, evenly spaced in the band, each with its own noise; each noise is used
        for the image and its mirror image.
    """

    first_step: int = 50
    last_step: int = 530
    num_noises: int = 8

    def __post_init__(self):
        _check.integer_at_least(0, first_step=self.first_step)
        _check.integer_at_least(self.first_step, last_step=self.last_step)
        _check.integer_at_least(1, num_noises=self.num_noises)


@dataclasses.dataclass(frozen=True)
class TuningSettings:
    """A model fine-tuned from the base on photos of one owner among others.

    Attributes:
      owner: of `owners`.
      is_marked: whether the owner's photos are marked in it; if not it is a control.
      num_owned: how many of the owner's photos are in it, the first ones.
      num_others: other photos in it, that belong to nobody.
      train: the fine-tuning.
      with_held_out: whether the held-out owners are tested on it as well.
    """

    owner: str
    train: DenoisingSettings
    is_marked: bool = True
    num_owned: int = 40
    num_others: int = 60
    with_held_out: bool = False

    def __post_init__(self):
        _check.integer_at_least(1, num_owned=self.num_owned)
        _check.integer_at_least(0, num_others=self.num_others)


@dataclasses.dataclass(frozen=True)
class TwinSettings:
    """Twins of a base: it is fine-tuned on all of the owner's originals, which carry no mark.

    An owner can make them before committing, and name them in the plan as references; they
    know no slots. A twin has learned what the photos show, as a suspect may have; what the
    suspect knows beyond that is the mark.

    Attributes:
      train: the fine-tuning, whatever that of the suspect was.
      num_twins: of each base, with other photos of nobody and another seed each.
      num_others: photos of nobody in each.
    """

    train: DenoisingSettings
    num_twins: int = 2
    num_others: int = 60

    def __post_init__(self):
        _check.integer_at_least(1, num_twins=self.num_twins)
        _check.integer_at_least(0, num_others=self.num_others)


@dataclasses.dataclass(frozen=True)
class DiffusionSettings(RunSettings):
    """A whole run with diffusion models.

    Attributes:
      name: of the experiment; names the results.
      seed: of the photos, keys, trainings and noise of the queries. The base of the next seed
        is the other base of this one.
      data: the photos; `num_train` is the number of photos of a base.
      owners: by name; all have the same photos, each with a mark and a key of its own.
      tunings: fine-tuned models, by name.
      base: the training of a base.
      twins: of each base; None for none.
      widths, num_steps: of the U-Net, see `models.Diffusion`.
      noise: of the queries.
      num_slots: N; slot 0 is "unmarked".
      sizes: numbers of photos to test; the owner's photos are divided into groups of each.
      num_held_out: owners whose photos nobody trains on, beside each owner.
      num_held_out_images: photos of each of them.
      arms: names of the tunings to run; () for all. Others can be added later.
    """

    OWN = ("name", "arms")
    name: str
    seed: int
    data: DataSettings
    owners: Mapping[str, UserSettings]
    tunings: Mapping[str, TuningSettings]
    base: DenoisingSettings
    twins: TwinSettings | None = None
    widths: tuple[int, ...] = Diffusion.widths
    num_steps: int = Diffusion.num_steps
    noise: NoiseSettings = NoiseSettings()
    num_slots: int = 12
    sizes: tuple[int, ...] = (5, 10, 20, 40)
    num_held_out: int = 20
    num_held_out_images: int = 10
    arms: tuple[str, ...] = ()

    def __post_init__(self):
        _check.integer_at_least(0, seed=self.seed)
        if self.data.num_train is None:
            raise ValueError("data.num_train must be the number of photos of a base, got None")
        self._check_names()
        for name, user in self.owners.items():
            if user.scheme != "per_image" or user.kind != "marked":
                raise ValueError(f"owners.{name}: must be marked, with scheme 'per_image'")
        for name, tuning in self.tunings.items():
            _check.one_of(self.owners, **{f"tunings.{name}.owner": tuning.owner})
            most = self.owners[tuning.owner].num_images
            if tuning.num_owned > most:
                raise ValueError(
                    f"tunings.{name}: num_owned must be at most {most}, the photos of "
                    f"{tuning.owner!r}, got {tuning.num_owned}"
                )
        for name in self.arms:
            _check.one_of(self.tunings, arms=name)
        for size in self.sizes:
            _check.integer_at_least(1, sizes=size)
        _check.integer_at_least(0, num_held_out=self.num_held_out)
        _check.integer_at_least(1, num_held_out_images=self.num_held_out_images)
        if self.noise.last_step >= self.model.num_steps:
            raise ValueError(
                f"noise.last_step must be below num_steps = {self.num_steps}, got "
                f"{self.noise.last_step}"
            )
        _ = self.verify  # raises for slots out of range

    def _check_names(self) -> None:
        for kind in ("owners", "tunings"):
            if not getattr(self, kind):
                raise ValueError(f"{kind} must name at least one")
            for name in getattr(self, kind):
                check_name(kind, name)

    @property
    def model(self) -> Diffusion:
        """The network."""
        return Diffusion(self.widths, self.num_steps)

    @property
    def verify(self) -> VerifySettings:
        """Slots and declared test, with experiment keys."""
        return VerifySettings(statistic=STATISTIC, num_slots=self.num_slots)

    @property
    def chosen(self) -> dict[str, TuningSettings]:
        """The tunings to run."""
        return {n: t for n, t in self.tunings.items() if not self.arms or n in self.arms}

    def base_dict(self) -> dict[str, Any]:
        """Return the plain values that a base depends on, but for its seed."""
        own = ("data", "base", "widths", "num_steps")
        return {name: value for name, value in self.to_dict().items() if name in own}
