"""The settings of a run that measures what recompression leaves of the evidence."""

import dataclasses
from typing import Any

from anw_jax import _check
from anw_jax.attacks.uploads import CHANGES
from anw_jax.lab.diffusion_settings import NoiseSettings
from anw_jax.lab.settings import RunSettings
from anw_jax.models import Diffusion
from anw_jax.train import DenoisingSettings


@dataclasses.dataclass(frozen=True)
class RecompressionSettings(RunSettings):
    """A generator fine-tuned on groups of photos, each group changed in a way after marking.

    Attributes:
      name: of the experiment; names the results.
      seed: of key, slots, fine-tuning and noise. It also turns the changes round the groups:
        group g has change (g + seed) modulo their number, so that over as many seeds as there
        are changes every photo is changed in every way once.
      folder: of photos, in any subfolders; "$NAME" in it stands for the environment's value.
      image_size: side in pixels to which the learner reduces the middle of each photo.
      num_images: marked photos in each group. The base has all other photos of the folder.
      base: the training of the base, which all seeds share.
      tuning: the fine-tuning, on the photos of all groups together.
      changes: names in `attacks.uploads.CHANGES`; "none" first.
      mark: one of `marks.named.NAMES`, at its default strength.
      widths: of the U-Net.
      patch: of the U-Net, in pixels.
      noise: of the queries.
      num_slots: N; slot 0 is "unmarked".
    """

    name: str
    seed: int
    folder: str
    base: DenoisingSettings
    tuning: DenoisingSettings
    image_size: int = 64
    num_images: int = 12
    changes: tuple[str, ...] = tuple(CHANGES)
    mark: str = "light"
    widths: tuple[int, ...] = Diffusion.widths
    patch: int = Diffusion.patch
    noise: NoiseSettings = dataclasses.field(default_factory=NoiseSettings)
    num_slots: int = 12

    def __post_init__(self):
        _check.integer_at_least(0, seed=self.seed)
        _check.integer_at_least(8, image_size=self.image_size)
        _check.integer_at_least(1, num_images=self.num_images)
        for name in self.changes:
            _check.one_of(CHANGES, changes=name)
        if self.changes[:1] != ("none",) or len(set(self.changes)) < len(self.changes):
            raise ValueError(f"changes must be different, 'none' first, got {self.changes}")
        _ = self.model  # raises for widths

    @property
    def model(self) -> Diffusion:
        """The network."""
        return Diffusion(self.widths, patch=self.patch)

    def change_of(self, group: int) -> str:
        """Return the change of a group of photos under this seed."""
        return self.changes[(group + self.seed) % len(self.changes)]

    def base_dict(self) -> dict[str, Any]:
        """Return the plain values that the base depends on."""
        own = ("folder", "image_size", "num_images", "changes", "base", "widths", "patch")
        return {name: value for name, value in self.to_dict().items() if name in own}
