"""Labelled photos in memory."""

import dataclasses
import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from anw_jax import _check
from anw_jax.data.chunks import chunks

_DIGEST_TAG = b"anw_jax.data.Dataset/1\0"


def _names(num: int, **named: Any) -> tuple[str, ...]:
    ((name, value),) = named.items()
    names = tuple(value)
    for text in names:
        _check.is_instance(str, **{f"each of {name}": text})
    if len(names) != num:
        raise ValueError(f"{name} must name all {num} images, got {len(names)} names")
    return names


def _rows_of(names: tuple[str, ...] | None, rows: np.ndarray) -> tuple[str, ...] | None:
    return None if names is None else tuple(names[row] for row in rows)


def _frozen(array: np.ndarray) -> np.ndarray:
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled 8-bit colour photos; the arrays are read-only views.

    Attributes:
      images: uint8 `[n, H, W, 3]`, red green blue.
      labels: int32 `[n]`, each in `[0, len(class_names))`.
      class_names: what each label means.
      name: for reports, for example `"tfds:cifar10/train"`.
      file_names: `[n]` names where the photos were files, else None.
      original_digests: `[n]` of `keys.image_digest`, taken before the photos were resized;
        None where `images` are the originals.

    Raises:
      TypeError: where a dtype is wrong.
      ValueError: where a shape or a label is wrong.

    Example:
      >>> grey = np.full((3, 2, 2, 3), 128, np.uint8)
      >>> photos = Dataset(grey, [0, 1, 1], ("cat", "dog"), "grey")
      >>> len(photos), photos.num_classes, photos.take([2, 0]).labels.tolist()
      (3, 2, [1, 0])
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    name: str
    file_names: tuple[str, ...] | None = None
    original_digests: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        images = self._checked_images()
        class_names = tuple(self.class_names)
        class_names = _names(len(class_names), class_names=class_names)
        labels = _check.class_labels(len(images), len(class_names), labels=self.labels)
        _check.is_instance(str, name=self.name)
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "labels", _frozen(labels))
        object.__setattr__(self, "class_names", class_names)
        for column in ("file_names", "original_digests"):
            if getattr(self, column) is not None:
                names = _names(len(images), **{column: getattr(self, column)})
                object.__setattr__(self, column, names)

    def _checked_images(self) -> np.ndarray:
        return _frozen(_check.uint8_images(images=self.images))

    def _images_of(self, rows: np.ndarray) -> np.ndarray:
        return self.images[rows]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_classes(self) -> int:
        """How many classes the labels tell apart."""
        return len(self.class_names)

    def take(self, indices: npt.ArrayLike) -> "Dataset":
        """Returns the rows `indices` (integers in `[0, n)`), in that order.

        Raises:
          TypeError: if `indices` are not integers.
          ValueError: if one of them lies outside `[0, n)`.
        """
        rows = np.asarray(indices)
        rows = _check.class_labels(rows.size, len(self), indices=rows) if rows.size else []
        rows = np.asarray(rows, np.int32)
        return dataclasses.replace(
            self,
            images=self._images_of(rows),
            labels=self.labels[rows],
            file_names=_rows_of(self.file_names, rows),
            original_digests=_rows_of(self.original_digests, rows),
        )

    def in_memory(self) -> "Dataset":
        """Returns the photos as arrays: this very set, unless it is a streamed one."""
        return self

    def digest(self) -> str:
        """Returns a SHA-256 (64 hex digits) of shape, pixels and labels, in order.

        Of the photos as they are here, resized or not.
        """
        sha = hashlib.sha256(_DIGEST_TAG)
        sha.update(repr(self.images.shape).encode() + b"\0")
        for chunk in chunks(self.images):
            sha.update(chunk.data)
        sha.update(self.labels.astype("<i4").data)
        return sha.hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class Splits:
    """What a source gives: photos to train on and photos to test with.

    Attributes:
      train: the photos a learner may train on.
      test: photos of the same classes and size that nobody trains on.

    Raises:
      ValueError: if class names or image sizes of the two differ.
    """

    train: Dataset
    test: Dataset

    def __post_init__(self) -> None:
        _check.is_instance(Dataset, train=self.train)
        _check.is_instance(Dataset, test=self.test)
        if self.train.class_names != self.test.class_names:
            raise ValueError("train and test must have the same class_names")
        train_shape, test_shape = self.train.images.shape[1:], self.test.images.shape[1:]
        if train_shape != test_shape:
            raise ValueError(
                f"train and test must have images of one size, got {train_shape} "
                f"and {test_shape}: set image_size"
            )
