"""Distillation on a gallery: a student that has seen no training image goes online."""

import dataclasses
import math

import numpy as np

from anw_jax import _check, data, models
from anw_jax.attacks.distil import answers, soft_targets, taught
from anw_jax.attacks.kinds import Material, TrainedModel, derive_seed
from anw_jax.attacks.model import retrain


@dataclasses.dataclass(frozen=True)
class DistilGallery:
    """Trains a student on a teacher's answers to other images, and puts the student online.

    After "Evading Data Provenance in Deep Neural Networks", ICCV 2025
    (https://arxiv.org/abs/2508.01074), as the page of its authors' code describes it
    (https://github.com/dbsxfz/EscapingDOV). The images of a gallery, some other data set, are
    filtered by agreement: an image is kept if the teacher and a second network name the same
    class, and the teacher gives it at least `least_confidence`. Of each class at most as many
    are kept as the teacher was trained on; those on which the less sure of both networks is
    surest come first. The student learns the teacher's softened answers to them, as in
    `Distil`, and no labels.

    The paper's second opinion is a vision-language model, whose features also rank the images,
    and its student is made insensitive to perturbations that are worst for the teacher. Here
    the second network has the teacher's architecture and learns from the clean images,
    confidences rank the images, and nothing is perturbed; this may be the weaker attack.

    Attributes:
      gallery: source of the images, read by `data.load`; the default suits a teacher of
        CIFAR-10. Its training split is used, resized to the teacher's images. Images that are
        byte for byte training or clean images are left out and counted.
      least_confidence: of the teacher in the class of an image, in [0, 1].
      student: architecture, one of `models.NAMES`; None = the teacher's own.
      temperature: T of the softened answers, above 0.
      num_epochs: passes over the kept images; None = as many as give the student at least as
        many steps as the teacher had.

    Raises:
      ValueError: if a name is unknown or a number out of range.
      TypeError: if a value has the wrong type.

    Example:
      >>> DistilGallery("folder:flowers", least_confidence=0.7).temperature
      1.0
    """

    gallery: str = "tfds:cifar100"
    least_confidence: float = 0.5
    student: str | None = None
    temperature: float = 1.0
    num_epochs: int | None = None

    def __post_init__(self) -> None:
        """Check names and numbers."""
        _check.is_instance(str, gallery=self.gallery)
        _check.in_interval(0.0, 1.0, least_confidence=self.least_confidence)
        if self.student is not None:
            _check.one_of(models.NAMES, student=self.student)
        _check.positive(temperature=self.temperature)
        if self.num_epochs is not None:
            _check.integer_at_least(1, num_epochs=self.num_epochs)

    def change(self, trained: TrainedModel, material: Material) -> TrainedModel:
        """Return a student of `trained.predict` that has seen nothing but the gallery.

        `details` hold, beside those of `Distil`, the numbers of images in the gallery, of those
        left out as known, agreed on and kept, and of classes with a kept image.

        Raises:
          SourceError: if the gallery cannot be read.
          ValueError: if its images have another shape than the teacher's, or if fewer clean or
            kept images are left than one batch holds.
        """
        images, counts = self._other_images(material)
        teacher_logits = answers(trained.predict, images)
        second_logits = _second_answers(trained, material, images)
        wanted = np.bincount(material.labels, minlength=trained.model.num_classes)
        rows = agreed_rows(teacher_logits, second_logits, wanted, self.least_confidence)
        counts |= _counted(teacher_logits, second_logits, rows)
        settings = material.settings
        if len(rows) < settings.batch_size:
            raise ValueError(
                f"gallery {self.gallery!r}: the teacher and a second network agree on "
                f"{len(rows)} of {len(images)} images with least_confidence "
                f"{self.least_confidence:g}, fewer than a batch of {settings.batch_size}"
            )
        num_steps = settings.num_steps(len(material.images))
        num_epochs = math.ceil(num_steps / settings.steps_per_epoch(len(rows)))
        kept = teacher_logits[rows]
        student = taught(
            trained,
            material,
            (images[rows], kept.argmax(axis=1), soft_targets(kept, self.temperature)),
            student=self.student,
            temperature=self.temperature,
            num_epochs=self.num_epochs or num_epochs,
            seed=derive_seed(material.seed, "distil_gallery", "student"),
        )
        return dataclasses.replace(student, details=student.details | counts)

    def _other_images(self, material: Material) -> tuple[np.ndarray, dict[str, int]]:
        """Return the gallery without the learner's own images, and how many there were."""
        shape = material.images.shape[1:]
        splits = data.load(self.gallery, image_size=min(shape[:2]))
        images = splits.train.in_memory().images
        if images.shape[1:] != shape:
            raise ValueError(
                f"gallery {self.gallery!r} must have images of shape {shape}, "
                f"got {images.shape[1:]}"
            )
        known = {image.tobytes() for image in (*material.images, *material.clean_images)}
        is_other = np.array([image.tobytes() not in known for image in images])
        counts = {"num_gallery": len(images), "num_known": int((~is_other).sum())}
        return images[is_other], counts


def _second_answers(
    trained: TrainedModel, material: Material, images: np.ndarray
) -> np.ndarray:
    """Return logits of a network that was trained on the clean images alone."""
    settings, num_clean = material.settings, len(material.clean_images)
    if num_clean < settings.batch_size:
        raise ValueError(
            "distil_gallery trains a second network on the clean images: they must be at "
            f"least a batch of {settings.batch_size}, got {num_clean}"
        )
    seed = derive_seed(material.seed, "distil_gallery", "second")
    settings = dataclasses.replace(settings, seed=seed)
    variables, _ = retrain(
        trained.model, settings, material.clean_images, material.clean_labels
    )
    return answers(trained.model.predict_fn(variables), images)


def agreed_rows(
    teacher_logits: np.ndarray,
    second_logits: np.ndarray,
    wanted: np.ndarray,
    least_confidence: float,
) -> np.ndarray:
    """Return the rows, ascending, of images on whose class two networks agree.

    Args:
      teacher_logits: `[n, c]`.
      second_logits: `[n, c]`, of the other network.
      wanted: `[c]`, the largest number of rows of each class; those come first where the lower
        of the two probabilities of the class is higher, then those that stand earlier.
      least_confidence: of the teacher in the class, in [0, 1].

    Returns:
      Integers `[k]`.

    Example:
      >>> teacher = np.log([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.95, 0.05]])
      >>> second = np.log([[0.6, 0.4], [0.7, 0.3], [0.3, 0.7], [0.2, 0.8]])
      >>> agreed_rows(teacher, second, np.array([1, 1]), 0.5).tolist()
      [1, 2]
    """
    teacher = soft_targets(teacher_logits, 1.0)
    second = soft_targets(second_logits, 1.0)
    classes = teacher.argmax(axis=1)
    own = np.arange(len(teacher)), classes
    is_kept = (classes == second.argmax(axis=1)) & (teacher[own] >= least_confidence)
    order = np.argsort(-np.minimum(teacher[own], second[own]), kind="stable")
    order = order[is_kept[order]]
    chosen = [order[classes[order] == label][:most] for label, most in enumerate(wanted)]
    return np.sort(np.concatenate(chosen))


def _counted(
    teacher_logits: np.ndarray, second_logits: np.ndarray, rows: np.ndarray
) -> dict[str, int]:
    classes = teacher_logits.argmax(axis=1)
    return {
        "num_agreed": int((classes == second_logits.argmax(axis=1)).sum()),
        "num_kept": len(rows),
        "num_classes_kept": len(np.unique(classes[rows])),
    }
