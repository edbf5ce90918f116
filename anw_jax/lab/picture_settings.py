"""The settings of a run with the paper's own system: a picture hidden by a trained barrier."""

import dataclasses
from collections.abc import Mapping

from anw_jax import _check, data
from anw_jax.lab.barrier_settings import CopySettings, check_copies
from anw_jax.lab.restoration import TASKS
from anw_jax.lab.settings import DataSettings, RunSettings, check_name
from anw_jax.models import PictureBarrier
from anw_jax.schemes.barrier.pictures import PictureTraining, PictureWeights

_NETS = PictureBarrier()
_WEIGHTS = PictureWeights()


@dataclasses.dataclass(frozen=True)
class PictureSettings(RunSettings):
    """A whole run with barrier, extractor and discriminator.

    Attributes:
      name: of the experiment; names the results.
      seed: of the data and trainings.
      data: clean images, without `num_train`.
      task: one of `restoration.TASKS`.
      pictures: the marks δ, of `data.MARK_PICTURES`; the first one is served.
      copies: networks that are read, by name.
      stage_1: the training of barrier and extractor.
      stage_2: that of the extractor alone, on the proxies' outputs too.
      proxies: the copies of stage 2, by name, trained on the owner's own pairs. The authors
        have one, a U-Net trained with L2.
      own: how the owner's network is trained, on clean pairs; None for a classical filter.
      nets: barrier and extractor; with `absorbed`, a target model that gives marked outputs.
      weights: of the losses.
      num_pairs: for each training.
      num_queries: on which copies are read.
    """

    name: str
    seed: int
    data: DataSettings
    task: str
    pictures: tuple[str, ...]
    copies: Mapping[str, CopySettings]
    stage_1: PictureTraining
    stage_2: PictureTraining
    proxies: Mapping[str, CopySettings]
    own: CopySettings | None = None
    nets: PictureBarrier = _NETS
    weights: PictureWeights = _WEIGHTS
    num_pairs: int = 3000
    num_queries: int = 100

    def __post_init__(self):
        _check.integer_at_least(0, seed=self.seed)
        _check.one_of(TASKS, task=self.task)
        for name in self.pictures:
            _check.one_of(data.MARK_PICTURES, pictures=name)
        if not self.pictures or len(set(self.pictures)) < len(self.pictures):
            raise ValueError(
                f"pictures must name one at least, and none twice, got {self.pictures!r}"
            )
        for name in ("num_pairs", "num_queries"):
            _check.integer_at_least(1, **{name: getattr(self, name)})
        check_copies(self.copies, self.own, self.data)
        if not self.proxies:
            raise ValueError("proxies must name at least one")
        for name, proxy in self.proxies.items():
            check_name("proxies", name)
            if (proxy.pairs, proxy.change, proxy.tune_epochs) != ("stolen", "none", 0):
                raise ValueError(f"{name} must be trained on served outputs as they are")
        if self.nets.absorbed is not None:
            if len(self.pictures) > 1:
                raise ValueError(f"an absorbed model has one picture, got {self.pictures!r}")
            changes = ("overwrite", "removal")
            unfit = [name for name, copy in self.copies.items() if copy.change in changes]
            if unfit:
                raise ValueError(
                    f"an absorbed model cannot mark images of others: {unfit[0]} must have "
                    f"another change than {' and '.join(changes)}"
                )
