"""The settings of a run with an output barrier: a task, an owner's model, copies of it."""

import dataclasses
from collections.abc import Mapping

from anw_jax import _check, stats
from anw_jax.lab.restoration import TASKS
from anw_jax.lab.settings import DataSettings, RunSettings, check_name
from anw_jax.models import ImageToImage
from anw_jax.schemes import barrier
from anw_jax.train import PairSettings

# What a copy is trained on: outputs that the owner served, clean pairs of its own (an innocent
# copy), or the outputs that another owner served, marked by the same filters.
PAIRS = ("stolen", "clean", "foreign")

# What a thief does to stolen outputs: nothing, JPEG of quality 75, half the size and back, a
# second barrier with another owner's key, or a network that he trained to remove marks.
CHANGES = ("none", "jpeg", "resize", "overwrite", "removal")

_MODEL = ImageToImage()
_COPY = PairSettings(num_epochs=8)


@dataclasses.dataclass(frozen=True)
class CopySettings:
    """A network that is trained on pairs.

    Attributes:
      pairs: one of `PAIRS`.
      change: one of `CHANGES`, to the outputs of the pairs.
      model: a network of `models.IMAGE_TO_IMAGE`, its width and depth.
      train: of the copy; `flips` mirrors half of the pairs.
      tune_epochs: of fine-tuning on clean pairs afterwards, at a tenth of the learning rate.
    """

    pairs: str = "stolen"
    change: str = "none"
    model: ImageToImage = _MODEL
    train: PairSettings = _COPY
    tune_epochs: int = 0

    def __post_init__(self):
        _check.one_of(PAIRS, pairs=self.pairs)
        _check.one_of(CHANGES, change=self.change)
        _check.integer_at_least(0, tune_epochs=self.tune_epochs)


def check_copies(
    copies: Mapping[str, CopySettings], own: CopySettings | None, data: DataSettings
) -> None:
    """Refuse no copies, an owner's network trained on others' outputs, and `num_train`.

    Raises:
      ValueError: one of these.
    """
    for name in copies:
        check_name("copies", name)
    if not copies:
        raise ValueError("copies must name at least one")
    if data.num_train is not None:
        raise ValueError("data.num_train must be left out: num_pairs says how many")
    if own is not None and own.pairs != "clean":
        raise ValueError(f"own.pairs must be 'clean', got {own.pairs!r}")


@dataclasses.dataclass(frozen=True)
class BarrierSettings(RunSettings):
    """A whole run with an output barrier.

    Attributes:
      name: of the experiment; names the results.
      seed: of the data, keys and trainings; keys are experiment keys, never evidence.
      data: clean images, without `num_train`.
      task: one of `restoration.TASKS`.
      copies: networks that are read, by name.
      additive: copies of outputs marked with the baseline's fixed pattern instead, by name;
        read by `schemes.barrier.additive`.
      own: how the owner's network is trained, on clean pairs; None for a classical filter.
      bits: of the key, for each family of filters, `schemes.barrier.FAMILIES`.
      radius: of the filters, in pixels.
      psnr: of the mark, in dB.
      num_pairs: for each training.
      num_queries: committed.
      few_queries: a second reading of the first ones only.
      num_public: images on which the filters are whitened.
      num_fresh_keys: wrong keys under which each copy's scores are tested.
      alpha: the declared level.
    """

    name: str
    seed: int
    data: DataSettings
    task: str
    copies: Mapping[str, CopySettings]
    additive: Mapping[str, CopySettings] = dataclasses.field(default_factory=dict)
    own: CopySettings | None = None
    bits: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: dict(barrier.DEFAULT_BITS)
    )
    radius: int = 3
    psnr: float = barrier.DEFAULT_PSNR
    num_pairs: int = 3000
    num_queries: int = 500
    few_queries: int = 50
    num_public: int = 500
    num_fresh_keys: int = 10_000
    alpha: float = stats.DEFAULT_ALPHA

    def __post_init__(self):
        _check.integer_at_least(0, seed=self.seed)
        _check.one_of(TASKS, task=self.task)
        barrier.check_bits(self.bits)
        for name in (
            "radius",
            "num_pairs",
            "num_queries",
            "few_queries",
            "num_public",
            "num_fresh_keys",
        ):
            _check.integer_at_least(1, **{name: getattr(self, name)})
        _check.positive(psnr=self.psnr)
        _check.in_open_interval(0.0, 1.0, alpha=self.alpha)
        check_copies(self.copies, self.own, self.data)
        for name in self.additive:
            check_name("additive", name)
        if self.few_queries > self.num_queries:
            raise ValueError(
                f"few_queries must be at most num_queries, {self.num_queries}, got "
                f"{self.few_queries}"
            )
