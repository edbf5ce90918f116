"""What runs with marked outputs share: clean images, the owner's model, and copies of it."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable
from typing import Any, Protocol

import jax
import numpy as np

from anw_jax import attacks, data, schemes, train
from anw_jax.errors import SettingsError
from anw_jax.lab import restoration
from anw_jax.lab.barrier_settings import CopySettings
from anw_jax.lab.journal import Journal, StoppedError, TrainingLog
from anw_jax.lab.settings import DataSettings
from anw_jax.lab.training import callbacks_of
from anw_jax.lab.workdir import Workdir
from anw_jax.models import ImageToImage
from anw_jax.schemes import barrier

# From inputs of the owner's model to what is served for them, uint8.
ServeFn = Callable[[np.ndarray], np.ndarray]
# From inputs and images to the images with a mark.
MarkFn = Callable[[np.ndarray, np.ndarray], np.ndarray]

# Photos for which visibility is measured.
_SEEN = 50

# What a thief trains to take marks out of images.
_REMOVER = CopySettings(pairs="clean", model=ImageToImage("unet", width=16, depth=2))


class CopiesSettings(Protocol):
    """The settings that all such runs have."""

    @property
    def seed(self) -> int:
        """Of the data and trainings."""

    @property
    def data(self) -> DataSettings:
        """Clean images."""

    @property
    def task(self) -> str:
        """One of `restoration.TASKS`."""

    @property
    def own(self) -> CopySettings | None:
        """The owner's network; None for a classical filter."""

    @property
    def num_pairs(self) -> int:
        """For each training."""

    @property
    def num_queries(self) -> int:
        """Inputs on which copies are read."""


@dataclasses.dataclass(frozen=True, eq=False)
class Clean:
    """Clean images, disjoint: what the owner and the thief restore, and whose they are."""

    own: np.ndarray
    thief: np.ndarray
    innocent: np.ndarray
    public: np.ndarray
    queries: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Marks:
    """How outputs are marked in a run.

    Attributes:
      served: what the owner serves for inputs.
      foreign: what another owner serves for them.
      overwrite: adds the other owner's mark to images.
      of_thief: adds marks of the same kind that a thief makes himself, to train a network that
        removes them.
    """

    served: ServeFn
    foreign: ServeFn
    overwrite: MarkFn
    of_thief: MarkFn


@dataclasses.dataclass(frozen=True, eq=False)
class CopiesRun:
    """What all stages of one run share."""

    settings: CopiesSettings
    folder: Workdir
    journal: Journal
    clean: Clean
    should_stop: Callable[[], bool]

    def spoiled(self, images: np.ndarray, number: int) -> np.ndarray:
        """Make the task's inputs; each use has a number of its own."""
        seed = 10 * self.settings.seed + number
        return restoration.spoiled(self.settings.task, images, seed)

    def own_pairs(self) -> train.Pairs:
        """Return the owner's pairs of inputs and clean images."""
        return train.Pairs(self.spoiled(self.clean.own, 0), self.clean.own)

    def queries(self) -> np.ndarray:
        """Return the inputs on which copies are read."""
        return self.spoiled(self.clean.queries, 1)

    def runner(self, name: str) -> dict[str, Any]:
        """Return the arguments with which a training is logged, stored and stopped."""
        return {
            "checkpoint_dir": self.folder.path / "networks" / name,
            **callbacks_of(TrainingLog(self.journal, f"{name}: ")),
            "should_stop": self.should_stop,
        }

    def completed(self, result: train.TrainResult) -> train.TrainResult:
        """Return a training that took all its steps.

        Raises:
          StoppedError: Ctrl-C was pressed.
        """
        if not result.completed or self.should_stop():
            raise StoppedError
        return result


def clean_images(settings: CopiesSettings, num_public: int = 0) -> Clean:
    """Load clean images, in an order by the seed.

    Raises:
      SettingsError: the source has too few.
    """
    source = os.path.expandvars(settings.data.source)
    splits = data.load(source, image_size=settings.data.image_size)
    train_images, test = splits.train.in_memory().images, splits.test.in_memory().images
    sizes = [settings.num_pairs] * 3 + [num_public]
    if sum(sizes) > len(train_images) or settings.num_queries > len(test):
        raise SettingsError(
            f"{settings.data.source} must have {sum(sizes)} photos for training and "
            f"{settings.num_queries} for the test, got {len(train_images)} and {len(test)}"
        )
    order = np.random.default_rng(settings.seed).permutation(len(train_images))
    parts = np.split(train_images[order[: sum(sizes)]], np.cumsum(sizes)[:-1])
    return Clean(*parts, test[: settings.num_queries])


def own_model(run: CopiesRun) -> tuple[str, barrier.ImagesFn]:
    """Return digest and function of the owner's unmarked model; train it where it is a network.

    Raises:
      StoppedError: Ctrl-C was pressed.
    """
    settings = run.settings
    if settings.own is None:
        text = f"restoration.classical {settings.task}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        return digest, functools.partial(restoration.classical, settings.task)
    variables = trained(run, "own", settings.own, run.own_pairs())
    answer = functools.partial(train.restore, settings.own.model, variables)
    return schemes.weights_digest({"params": jax.device_get(variables["params"])}), answer


def copied(run: CopiesRun, name: str, copy: CopySettings, marks: Marks) -> barrier.ImagesFn:
    """Train a copy, and fine-tune it where its settings say so.

    Args:
      run: of the copy.
      name: of the copy: of its checkpoints.
      copy: its settings.
      marks: how outputs are marked.

    Raises:
      StoppedError: Ctrl-C was pressed.
    """
    own = train.Pairs(run.spoiled(run.clean.innocent, 4), run.clean.innocent)
    pairs = own if copy.pairs == "clean" else _taken(run, copy, marks, own)
    variables = trained(run, name, copy, pairs)
    if copy.tune_epochs:
        rate = copy.train.learning_rate / 10
        how = dataclasses.replace(
            copy.train, num_epochs=copy.tune_epochs, learning_rate=rate, distance="l2"
        )
        tuned = dataclasses.replace(copy, train=how)
        variables = trained(run, f"{name}-tuned", tuned, own, variables["params"])
    return functools.partial(train.restore, copy.model, variables)


def _taken(run: CopiesRun, copy: CopySettings, marks: Marks, own: train.Pairs) -> train.Pairs:
    """Return the pairs of a copy of served outputs, after the thief's change to them."""
    inputs = run.spoiled(run.clean.thief, 3)
    answers = (marks.served if copy.pairs == "stolen" else marks.foreign)(inputs)
    changes = {
        "none": lambda: answers,
        "jpeg": lambda: attacks.create("jpeg", quality=75).prepare(
            answers, seed=run.settings.seed
        ),
        "resize": lambda: barrier.half_and_back(answers),
        "overwrite": lambda: marks.overwrite(inputs, answers),
        "removal": lambda: _removed(run, marks, own, answers),
    }
    return train.Pairs(inputs, changes[copy.change]())


def _removed(run: CopiesRun, marks: Marks, own: train.Pairs, answers: np.ndarray) -> np.ndarray:
    """Return answers after a network that was trained to remove marks of the thief's own."""
    pairs = train.Pairs(marks.of_thief(*own), own.outputs)
    return train.restore(_REMOVER.model, trained(run, "remover", _REMOVER, pairs), answers)


def trained(
    run: CopiesRun, name: str, copy: CopySettings, pairs: train.Pairs, params: Any = None
) -> dict[str, Any]:
    """Train a network on pairs, resume it, or load it; return its variables.

    Raises:
      StoppedError: Ctrl-C was pressed.
    """
    seed = run.settings.seed
    if params is None:
        params = copy.model.init(jax.random.key(seed), pairs.inputs.shape[1:])["params"]
    result = train.train_pairs(
        copy.model, params, pairs, copy.train, seed=seed, **run.runner(name)
    )
    return {"params": run.completed(result).state.params}


def visibility(outputs: np.ndarray, marked: np.ndarray) -> dict[str, float]:
    """Measure how visible marks are: PSNR of all images together, SSIM and CIEDE2000 of some.

    Args:
      outputs: uint8 `[n, H, W, 3]`.
      marked: the same with marks.
    """
    seen = [
        data.image_quality(*pair) for pair in zip(outputs[:_SEEN], marked[:_SEEN], strict=True)
    ]
    return {
        "psnr": restoration.psnr(marked, outputs),
        "ssim": float(np.mean([one.ssim for one in seen])),
        "ciede2000_median": float(np.median([one.ciede2000_median for one in seen])),
    }
