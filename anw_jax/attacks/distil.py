"""A student learns from the answers of the trained model, which then goes offline."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check, models
from anw_jax.attacks.kinds import Material, TrainedModel, derive_seed
from anw_jax.attacks.model import retrain
from anw_jax.models import Model

PHOTOS = ("own", "clean")

_BATCH_SIZE = 256


@dataclasses.dataclass(frozen=True)
class Distil:
    """Trains a student on softened answers and puts the student online.

    Hinton, Vinyals, Dean 2015 (https://arxiv.org/abs/1503.02531), with soft targets alone:
    targets are softmax(z / T) of the teacher's logits z, and the student's softmax(z' / T) is
    fitted to them by cross-entropy. The student's network computes z' / T and its answers are
    multiplied by T, which is the same model; the factor T² that Hinton adds for mixing with
    hard labels is not needed. The teacher is asked once per photo, without augmentation; the
    student sees crops and mirror images as the teacher did. Nobody's labels are used.

    Attributes:
      student: architecture, one of `models.NAMES`, with that network's own norm, widths and
        dropout; None = the teacher's own.
      photos: "own", what the teacher was trained on, or "clean", photos without any mark.
      temperature: T, above 0.
      num_epochs: passes over the photos; None = as many as the teacher's. Warm-up is that of
        the teacher, or all epochs but the last.

    Raises:
      ValueError: if a name is unknown or a number out of range.
      TypeError: if a number is not a number.

    Example:
      >>> Distil(student="resnet18", photos="clean").temperature
      4.0
    """

    student: str | None = None
    photos: str = "clean"
    temperature: float = 4.0
    num_epochs: int | None = None

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant."""
        if self.student is not None:
            _check.one_of(models.NAMES, student=self.student)
        _check.one_of(PHOTOS, photos=self.photos)
        _check.positive(temperature=self.temperature)
        if self.num_epochs is not None:
            _check.integer_at_least(1, num_epochs=self.num_epochs)

    def change(self, suspect: TrainedModel, material: Material) -> TrainedModel:
        """The student of `suspect.predict`, whatever was done to those answers before.

        `details` hold the student's last training loss (nats; at least the mean entropy of the
        targets, `target_entropy`).

        Raises:
          ValueError: if there are fewer photos than one batch holds.
        """
        is_own = self.photos == "own"
        images = material.images if is_own else material.clean_images
        labels = material.labels if is_own else material.clean_labels
        targets = soft_targets(answers(suspect.predict, images), self.temperature)
        num_epochs = self.num_epochs or material.settings.num_epochs
        settings = dataclasses.replace(
            material.settings,
            num_epochs=num_epochs,
            warmup_epochs=min(material.settings.warmup_epochs, num_epochs - 1),
            label_smoothing=0.0,
            seed=derive_seed(material.seed, "distil"),
        )
        student = _student(suspect.model, self.student, images)
        variables, details = retrain(student, settings, images, labels, targets=targets)
        predict = jax.tree_util.Partial(
            _scaled, student.predict_fn(variables), jnp.float32(self.temperature)
        )
        details |= {"student": student.name, "target_entropy": mean_entropy(targets)}
        return TrainedModel(student, variables, predict, details)


def soft_targets(logits: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(z / T), float32 `[n, c]`, of logits `[n, c]`.

    Example:
      >>> soft_targets(np.array([[0.0, np.log(9.0)]]), 2.0).round(2).tolist()
      [[0.25, 0.75]]
    """
    scaled = np.asarray(logits, np.float64) / temperature
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def mean_entropy(targets: np.ndarray) -> float:
    """Mean entropy in nats of distributions `[n, c]`; 0 log 0 = 0."""
    logs = np.log(targets, out=np.zeros(targets.shape), where=targets > 0)
    return float(-(targets * logs).sum(axis=1).mean())


def _student(teacher: Model, name: str | None, images: np.ndarray) -> Model:
    """The teacher's own network, or another that normalises by the photos it learns from.

    A teacher with pretrained weights may want inputs on another scale than [0, 1].
    """
    if name in (None, teacher.name):
        return teacher
    share = images.astype(np.float32) / np.float32(255)
    return models.create(
        name,
        teacher.num_classes,
        stem=teacher.stem,
        mean=tuple(share.mean(axis=(0, 1, 2), dtype=np.float64).round(4).tolist()),
        std=tuple(share.std(axis=(0, 1, 2), dtype=np.float64).clip(1e-3).round(4).tolist()),
        dtype=teacher.dtype,
    )


def _scaled(
    predict: jax.tree_util.Partial, temperature: jax.Array, images: jax.Array
) -> jax.Array:
    return temperature * predict(images)


def answers(predict: jax.tree_util.Partial, images: np.ndarray) -> np.ndarray:
    """Logits float32 `[n, c]` of uint8 photos `[n, H, W, 3]`, n at least 1.

    The last batch is padded, so that one program serves any number of photos.
    """
    batches = []
    for start in range(0, len(images), _BATCH_SIZE):
        rows = np.minimum(np.arange(start, start + _BATCH_SIZE), len(images) - 1)
        batches.append(np.asarray(_batch_logits(predict, images[rows])))
    return np.concatenate(batches)[: len(images)]


@jax.jit
def _batch_logits(predict: jax.tree_util.Partial, images: jax.Array) -> jax.Array:
    return predict(images.astype(jnp.float32) / jnp.float32(255.0)).astype(jnp.float32)
