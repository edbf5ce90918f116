"""Distillation: a student learns from the trained model's answers and replaces it online."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check, data, models
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
    hard labels is not needed. The teacher is queried once per image, without augmentation; the
    student sees crops and mirror images as the teacher did. No labels are used.

    Attributes:
      student: architecture, one of `models.NAMES`, with that network's own norm, widths and
        dropout; None = the teacher's own.
      photos: "own", the teacher's training images, or "clean", images without any mark.
      temperature: T, above 0.
      num_epochs: passes over the images; None = as many as the teacher's. Warm-up is that of
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
        """Check names and numbers."""
        if self.student is not None:
            _check.one_of(models.NAMES, student=self.student)
        _check.one_of(PHOTOS, photos=self.photos)
        _check.positive(temperature=self.temperature)
        if self.num_epochs is not None:
            _check.integer_at_least(1, num_epochs=self.num_epochs)

    def change(self, trained: TrainedModel, material: Material) -> TrainedModel:
        """Return a student of `trained.predict`, whose answers may have been changed before.

        `details` hold the student's last training loss (nats; at least the mean entropy of the
        targets, `target_entropy`).

        Raises:
          ValueError: if there are fewer images than one batch holds.
        """
        is_own = self.photos == "own"
        images = material.images if is_own else material.clean_images
        labels = material.labels if is_own else material.clean_labels
        targets = soft_targets(answers(trained.predict, images), self.temperature)
        return taught(
            trained,
            material,
            (images, labels, targets),
            student=self.student,
            temperature=self.temperature,
            num_epochs=self.num_epochs or material.settings.num_epochs,
            seed=derive_seed(material.seed, "distil"),
        )


def taught(
    trained: TrainedModel,
    material: Material,
    lessons: tuple[np.ndarray, np.ndarray, np.ndarray],
    *,
    student: str | None,
    temperature: float,
    num_epochs: int,
    seed: int,
) -> TrainedModel:
    """Return a student that was trained on soft targets.

    Args:
      trained: the teacher.
      material: of the learner; the student is trained by its settings.
      lessons: images uint8 `[n, H, W, 3]`, labels `[n]` for the training accuracy, and
        `soft_targets` float32 `[n, c]`.
      student: architecture; None = the teacher's own.
      temperature: that of the targets.
      num_epochs: passes over the images. Warm-up is at most all epochs but the last.
      seed: of the student's training.

    Raises:
      ValueError: if there are fewer images than one batch holds.
    """
    images, labels, targets = lessons
    settings = dataclasses.replace(
        material.settings,
        num_epochs=num_epochs,
        warmup_epochs=min(material.settings.warmup_epochs, num_epochs - 1),
        label_smoothing=0.0,
        seed=seed,
    )
    network = _student(trained.model, student, images)
    variables, details = retrain(network, settings, images, labels, targets=targets)
    predict = jax.tree_util.Partial(
        _scaled, network.predict_fn(variables), jnp.float32(temperature)
    )
    details |= {"student": network.name, "target_entropy": mean_entropy(targets)}
    return TrainedModel(network, variables, predict, details)


def soft_targets(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return softmax(z / T), float32 `[n, c]`, of logits `[n, c]`.

    Example:
      >>> soft_targets(np.array([[0.0, np.log(9.0)]]), 2.0).round(2).tolist()
      [[0.25, 0.75]]
    """
    scaled = np.asarray(logits, np.float64) / temperature
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def mean_entropy(targets: np.ndarray) -> float:
    """Return the mean entropy in nats of distributions `[n, c]`; 0 log 0 = 0."""
    logs = np.log(targets, out=np.zeros(targets.shape), where=targets > 0)
    return float(-(targets * logs).sum(axis=1).mean())


def _student(teacher: Model, name: str | None, images: np.ndarray) -> Model:
    """Return the teacher's network, or another that normalises by the images it learns from.

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
    """Return logits float32 `[n, c]` of uint8 images `[n, H, W, 3]`, n at least 1."""
    batches = data.padded_rows(len(images), _BATCH_SIZE)
    logits = [np.asarray(_batch_logits(predict, images[rows])) for rows in batches]
    return np.concatenate(logits)[: len(images)]


@jax.jit
def _batch_logits(predict: jax.tree_util.Partial, images: jax.Array) -> jax.Array:
    return predict(images.astype(jnp.float32) / jnp.float32(255.0)).astype(jnp.float32)
