"""Labelled photos that stay on disk."""

import dataclasses

import numpy as np

from anw_jax import _check
from anw_jax.data._records import ArrayRecords
from anw_jax.data.dataset import Dataset
from anw_jax.data.streamed_images import StreamedImages


@dataclasses.dataclass(frozen=True, eq=False)
class StreamedDataset(Dataset):
    """A `Dataset` whose images are read when they are asked for.

    Labels and names are in memory. `take` gives another streamed set; `in_memory` reads
    all photos of it. `digest()` reads them too, and is that of `in_memory()`.

    Attributes:
      images: `StreamedImages`, of shape `[n, H, W, 3]`; index it to get arrays.
      original_digests: None, though photos may be resized, until `in_memory()`; digests of
        the originals take a reading of them all.

    Example:
      >>> from anw_jax import data
      >>> photos = data.load("mock:8", image_size=4, in_memory=False).train
      >>> photos.images.shape, photos.images[[5, 2]].shape, photos.take([5, 2]).labels.tolist()
      ((8, 4, 4, 3), (2, 4, 4, 3), [1, 2])
    """

    images: StreamedImages

    @classmethod
    def of(cls, dataset: Dataset) -> "StreamedDataset":
        """A set that is in the host's memory, to be fed to a device batch by batch."""
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
        """Returns the same photos as arrays, with the digests of their originals.

        Raises:
          SourceError: for a photo that cannot be decoded or has another size.
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
