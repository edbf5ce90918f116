"""304 bits in one image: what is read after noise, and a task on marked images."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check, attacks, data, train
from anw_jax.lab.journal import Journal, StoppedError, TrainingLog, stop_on_interrupt
from anw_jax.lab.settings import DataSettings, ModelSettings
from anw_jax.lab.split import load_images
from anw_jax.lab.training import callbacks_of, make_model
from anw_jax.lab.workdir import Workdir
from anw_jax.report import write_picture_rows
from anw_jax.schemes import image_fingerprint
from anw_jax.schemes.image_fingerprint import FingerprintTraining, ImageFingerprint

FOLDER = "image_fingerprint"
_PICTURED = 8
_JPEG_QUALITIES = (90, 75, 50)
_BATCH = 200
_METHODS = ("lattice", "networks")

# From images uint8 `[n, H, W, 3]` and signs `[n, num_bits]` to marked images; from images to
# scores of the bits.
MarkFn = Callable[[np.ndarray, np.ndarray], np.ndarray]
ReadFn = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class ImageRunSettings:
    """An image fingerprint, and a classifier that is trained on images with and without one.

    Attributes:
      data: the learner's images; accuracies are those on test images.
      model: the classifier.
      train: of the classifier.
      fingerprint: the training of encoder and decoder, on the same images; only for the method
        "networks".
      method: "lattice", which needs no training, or "networks".
      seed: of bits and trainings.
      classes: names of the classes that the task has; () for all.
      width: of their small convolutions.
      num_read: test images whose bits are read under each noise.
    """

    data: DataSettings
    model: ModelSettings
    train: train.TrainSettings
    fingerprint: FingerprintTraining
    method: str = _METHODS[0]
    seed: int = 0
    classes: tuple[str, ...] = ()
    width: int = 12
    num_read: int = 500

    def __post_init__(self):
        _check.one_of(_METHODS, method=self.method)


@dataclasses.dataclass(frozen=True, eq=False)
class _Run:
    settings: ImageRunSettings
    folder: Workdir
    journal: Journal
    should_stop: Callable[[], bool]

    @property
    def net(self) -> ImageFingerprint:
        return ImageFingerprint(self.settings.width)

    def callbacks(self, name: str) -> dict[str, Any]:
        log = TrainingLog(self.journal, f"{name}: ")
        return {
            "checkpoint_dir": self.folder.path / FOLDER / name,
            "should_stop": self.should_stop,
            **callbacks_of(log),
        }


def measure_image_fingerprint(
    settings: ImageRunSettings, folder: Workdir, journal: Journal
) -> dict[str, Any]:
    """Mark images, read bits after noise, and train the task on marked images.

    Returns:
      Plain numbers: `num_bits`, `psnr` in decibels, `bit_accuracy` by noise ("jpeg_75" and so
      on are true JPEG files), and `task_accuracy` of one classifier on clean and on marked
      test images, each with random bits of its own. `figures/image_fingerprint.png` has
      pictures.

    Raises:
      StoppedError: Ctrl-C was pressed; the same call goes on.
      SettingsError: as `lab.split.load_images`.
    """
    with stop_on_interrupt(journal) as stop, journal.stage("images"):
        run = _Run(settings, folder, journal, stop)
        numbers = folder.once(
            f"{FOLDER}/numbers.json",
            dataclasses.asdict(settings),
            functools.partial(_measure, run),
        )
        noises = ", ".join(f"{n} {value:.1%}" for n, value in numbers["bit_accuracy"].items())
        journal.say(f"{numbers['num_bits']} bits, {numbers['psnr']:.1f} dB: {noises}")
        accuracy = numbers["task_accuracy"]
        journal.say(f"task: clean {accuracy['clean']:.1%}, marked {accuracy['marked']:.1%}")
        return numbers


def _measure(run: _Run) -> dict[str, Any]:
    settings = run.settings
    splits = load_images(settings.data, settings.classes)
    learner, test = splits.train, splits.test
    mark_fn, read_fn = _functions(run, learner.images)

    def marked(images: np.ndarray, stream: int) -> tuple[np.ndarray, np.ndarray]:
        """Return images with random bits, and the signs of these."""
        rng = np.random.default_rng([settings.seed, stream])
        shape = (len(images), image_fingerprint.num_bits(images.shape[1:]))
        signs = rng.choice(np.array([-1, 1], np.int8), shape)
        return mark_fn(images, signs), signs

    marked_test, signs = marked(test.images, 0)
    shown = test.images[:_PICTURED], marked_test[:_PICTURED]
    change = np.clip(128 + 8 * (shown[1].astype(int) - shown[0]), 0, 255).astype(np.uint8)
    rows = {"images": shown[0], "with 304 bits": shown[1], "the change, times 8": change}
    write_picture_rows(run.folder.file("figures/image_fingerprint.png"), rows)
    read = slice(0, settings.num_read)
    return {
        "num_bits": signs.shape[1],
        "psnr": image_fingerprint.psnr(test.images, marked_test),
        "bit_accuracy": _bit_accuracies(read_fn, marked_test[read], signs[read]),
        "task_accuracy": _task(run, learner, marked(learner.images, 1)[0], test, marked_test),
    }


def _functions(run: _Run, images: np.ndarray) -> tuple[MarkFn, ReadFn]:
    """Return what marks images and what reads them; networks are trained first."""
    if run.settings.method == "lattice":
        return image_fingerprint.hide_bits, image_fingerprint.read_bits
    how = dataclasses.replace(run.settings.fingerprint, seed=run.settings.seed)
    result = image_fingerprint.train_fingerprint(
        run.net, images, how, **run.callbacks("networks")
    )
    if not result.completed:
        raise StoppedError
    trained = (run.net, result.state.params)
    return (
        functools.partial(image_fingerprint.mark_images, *trained),
        functools.partial(image_fingerprint.read_images, *trained),
    )


def _bit_accuracies(read_fn: ReadFn, marked: np.ndarray, signs: np.ndarray) -> dict[str, float]:
    """Return the share of bits that are read right, by what happened to the images."""

    def share(images: np.ndarray) -> float:
        return float((np.sign(read_fn(images)) == signs).mean())

    found = {name: share(_noisy(name, marked)) for name in image_fingerprint.NOISES}
    for quality in _JPEG_QUALITIES:
        attack = attacks.create("jpeg", quality=quality)
        found[f"jpeg_{quality}"] = share(attack.prepare(marked, seed=0))
    return found


def _noisy(name: str, images: np.ndarray) -> np.ndarray:
    """Apply a noise to images in batches, each with a key of its own; rounded to 8 bits."""
    noise_fn = jax.jit(image_fingerprint.NOISES[name])
    found = []
    for start in range(0, len(images), _BATCH):
        pixels = jnp.asarray(images[start : start + _BATCH], jnp.float32) / 255.0
        noisy = noise_fn(pixels, jax.random.key(start))
        found.append(np.rint(255.0 * np.asarray(noisy)).astype(np.uint8))
    return np.concatenate(found)


def _task(
    run: _Run,
    learner: data.Dataset,
    marked_learner: np.ndarray,
    test: data.Dataset,
    marked_test: np.ndarray,
) -> dict[str, float]:
    """Train a classifier on each image, clean and marked; return its accuracy on both."""
    settings = run.settings
    how = dataclasses.replace(settings.train, seed=settings.seed)
    images = np.concatenate([learner.images, marked_learner])
    labels = np.concatenate([learner.labels, learner.labels])
    plan = data.BatchPlan(len(images), how.batch_size, settings.seed)
    model, _ = make_model(settings.model, learner, settings.seed)
    result = train.train(model, how, images, labels, plan.rows, **run.callbacks("task"))
    if not result.completed:
        raise StoppedError
    predict_fn = model.predict_fn(result.state.variables)
    tests = {"clean": test.images, "marked": marked_test}
    return {
        name: train.evaluate(predict_fn, images, test.labels)[1]
        for name, images in tests.items()
    }
