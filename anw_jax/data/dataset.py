"""Labelled images, in memory or on disk: `Dataset`, `StreamedDataset` and `Splits`."""

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from anw_jax import _check, errors
from anw_jax.data.streamed import ArrayRecords, StreamedImages

_DIGEST_TAG = b"anw_jax.data.Dataset/1\0"
_SPLIT_TAG = b"anw_jax.data.split/1\0"
_CHUNK = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled 8-bit colour images; the arrays are read-only views.

    Attributes:
      images: uint8 `[n, H, W, 3]`, red green blue.
      labels: int32 `[n]`, each in `[0, len(class_names))`.
      class_names: what each label means.
      name: for reports, for example `"tfds:cifar10/train"`.
      file_names: `[n]` names where the images were files, else None.
      original_digests: `[n]` of `keys.image_digest`, computed before the images were resized;
        None where `images` are the originals.

    Raises:
      TypeError: where a dtype is wrong.
      ValueError: where a shape or a label is wrong.

    Example:
      >>> grey = np.full((3, 2, 2, 3), 128, np.uint8)
      >>> dataset = Dataset(grey, [0, 1, 1], ("cat", "dog"), "grey")
      >>> len(dataset), dataset.num_classes, dataset.take([2, 0]).labels.tolist()
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
        """Number of classes."""
        return len(self.class_names)

    def take(self, indices: npt.ArrayLike) -> "Dataset":
        """Return the rows `indices` (integers in `[0, n)`), in that order.

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
        """Return a dataset in memory: this one, unless it is streamed."""
        return self

    def digest(self) -> str:
        """Return the SHA-256 (64 hex digits) of shape, pixels and labels, in order.

        Of the images as they are here, resized or not.
        """
        sha = hashlib.sha256(_DIGEST_TAG)
        sha.update(repr(self.images.shape).encode() + b"\0")
        for chunk in chunks(self.images):
            sha.update(chunk.data)
        sha.update(self.labels.astype("<i4").data)
        return sha.hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class StreamedDataset(Dataset):
    """A `Dataset` whose images are read when they are indexed.

    Labels and names are in memory. `take` returns another streamed set; `in_memory` reads
    all images. `digest()` reads them too, and equals that of `in_memory()`.

    Attributes:
      images: `StreamedImages`, of shape `[n, H, W, 3]`; index it to get arrays.
      original_digests: None, though images may be resized, until `in_memory()`: digests of
        the originals need all of them to be read.

    Example:
      >>> from anw_jax import data
      >>> streamed = data.load("mock:8", image_size=4, in_memory=False).train
      >>> streamed.images.shape, streamed.images[[5, 2]].shape
      ((8, 4, 4, 3), (2, 4, 4, 3))
      >>> streamed.take([5, 2]).labels.tolist()
      [1, 2]
    """

    images: StreamedImages

    @classmethod
    def of(cls, dataset: Dataset) -> "StreamedDataset":
        """Wrap a set in the host's memory, to be sent to a device batch by batch."""
        records = ArrayRecords(dataset.images, dataset.name)
        return cls(
            StreamedImages.of(records, None),
            dataset.labels,
            dataset.class_names,
            dataset.name,
            dataset.file_names,
            dataset.original_digests,
        )

    def _checked_images(self) -> StreamedImages:
        return _check.is_instance(StreamedImages, images=self.images)

    def _images_of(self, rows: np.ndarray) -> StreamedImages:
        return self.images.take(rows)

    def in_memory(self) -> Dataset:
        """Return the same images as arrays, with the digests of their originals.

        Raises:
          SourceError: for an image that cannot be decoded or has another size.
        """
        images, digests = self.images.load()
        return Dataset(
            images=images,
            labels=self.labels,
            class_names=self.class_names,
            name=self.name,
            file_names=self.file_names,
            original_digests=self.original_digests or digests,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Splits:
    """The training and test images of a source.

    Attributes:
      train: the images a learner may train on.
      test: images of the same classes and size, not used for training.

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


def goes_to_test(content: bytes) -> bool:
    """Return whether an image with these bytes belongs to the test fifth.

    It depends on the image alone, so adding others moves none, and byte-identical copies
    are never on both sides.
    """
    digest = hashlib.sha256(_SPLIT_TAG + content).digest()
    return int.from_bytes(digest[:8]) % 5 == 0


def divide(everything: Dataset, in_test: np.ndarray) -> Splits:
    """Split by the bool array `in_test` `[n]`; an empty side is an error."""
    sides = {}
    for name, rows in (("train", ~in_test), ("test", in_test)):
        if not rows.any():
            raise errors.SourceError(
                f"{everything.name} has {len(everything)} images, of which the 80/20 split "
                f"leaves none to {name}: add images, or give train and test apart"
            )
        side = everything.take(np.flatnonzero(rows))
        sides[name] = dataclasses.replace(side, name=f"{everything.name}/{name}")
    return Splits(**sides)


def chunks(images: np.ndarray | StreamedImages) -> Iterator[np.ndarray]:
    """Yield images in order, uint8 `[k, H, W, 3]` at a time; streamed ones are read ahead.

    Args:
      images: uint8 `[n, H, W, 3]`.

    Returns:
      An iterator over pieces of at most 4,096 images.

    Raises:
      TypeError: if images are not uint8.
      ValueError: if they have another shape.

    Example:
      >>> sum(len(images) for images in chunks(np.zeros((5000, 2, 2, 3), np.uint8)))
      5000
    """
    if isinstance(images, StreamedImages):
        return images.chunks()
    images = _check.uint8_images(images=images)
    return (images[first : first + _CHUNK] for first in range(0, len(images), _CHUNK))


def channel_statistics(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel over all pixels, in one pass.

    From exact counts of the 256 levels, so a streamed set and one in memory give the same
    bits: `mean = sum_k p_k k / 255`, `std = sqrt(sum_k p_k (k / 255)^2 - mean^2)`, where
    `p_k` is the share of level k.

    Args:
      dataset: at least one image.

    Returns:
      `(mean, std)`: float64 `[3]` each, of images in [0, 1].

    Raises:
      ValueError: if there are no images.

    Example:
      >>> grey = Dataset(np.full((2, 4, 4, 3), 51, np.uint8), [0, 0], ("a",), "grey")
      >>> mean, std = channel_statistics(grey)
      >>> mean.round(3).tolist(), std.round(3).tolist()
      ([0.2, 0.2, 0.2], [0.0, 0.0, 0.0])
    """
    _check.is_instance(Dataset, dataset=dataset)
    if not len(dataset):
        raise ValueError("dataset must hold at least one image, got none")
    counts = np.zeros((3, 256), np.int64)
    for images in chunks(dataset.images):
        for channel in range(3):
            counts[channel] += np.bincount(images[..., channel].ravel(), minlength=256)
    levels = np.arange(256) / 255.0
    weights = counts / counts.sum(axis=1, keepdims=True)
    mean = weights @ levels
    return mean, np.sqrt(np.maximum(weights @ levels**2 - mean**2, 0.0))


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
