"""304 bits in one image: encoder and decoder, bits after noise, and a task on marked images."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import attacks, data, train
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


@dataclasses.dataclass(frozen=True)
class ImageRunSettings:
    """An image fingerprint, and a classifier that is trained on images with and without one.

    Attributes:
      data: the learner's images; accuracies are those on test images.
      model: the classifier.
      train: of the classifier.
      fingerprint: the training of encoder and decoder, on the same images.
      seed: of bits and trainings.
      classes: names of the classes that the task has; () for all.
      width: of their small convolutions.
      num_read: test images whose bits are read under each noise.
    """

    data: DataSettings
    model: ModelSettings
    train: train.TrainSettings
    fingerprint: FingerprintTraining
    seed: int = 0
    classes: tuple[str, ...] = ()
    width: int = 12
    num_read: int = 500


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
    """Train encoder and decoder, read bits after noise, and train the task on marked images.

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
    how = dataclasses.replace(settings.fingerprint, seed=settings.seed)
    result = image_fingerprint.train_fingerprint(
        run.net, learner.images, how, **run.callbacks("networks")
    )
    if not result.completed:
        raise StoppedError
    params = result.state.params

    def marked(images: np.ndarray, stream: int) -> tuple[np.ndarray, np.ndarray]:
        """Return images with random bits, and the signs of these."""
        rng = np.random.default_rng([settings.seed, stream])
        shape = (len(images), run.net.num_bits(images.shape[1:]))
        signs = rng.choice(np.array([-1, 1], np.int8), shape)
        return image_fingerprint.mark_images(run.net, params, images, signs), signs

    marked_test, signs = marked(test.images, 0)
    shown = test.images[:_PICTURED], marked_test[:_PICTURED]
    change = np.clip(128 + 8 * (shown[1].astype(int) - shown[0]), 0, 255).astype(np.uint8)
    rows = {"images": shown[0], "with 304 bits": shown[1], "the change, times 8": change}
    write_picture_rows(run.folder.file("figures/image_fingerprint.png"), rows)
    read = slice(0, settings.num_read)
    return {
        "num_bits": signs.shape[1],
        "psnr": image_fingerprint.psnr(test.images, marked_test),
        "bit_accuracy": _bit_accuracies(run, params, marked_test[read], signs[read]),
        "task_accuracy": _task(run, learner, marked(learner.images, 1)[0], test, marked_test),
    }


def _bit_accuracies(
    run: _Run, params: Any, marked: np.ndarray, signs: np.ndarray
) -> dict[str, float]:
    """Return the share of bits that are read right, by what happened to the images."""

    def share(images: np.ndarray) -> float:
        logits = image_fingerprint.read_images(run.net, params, images)
        return float((np.sign(logits) == signs).mean())

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
