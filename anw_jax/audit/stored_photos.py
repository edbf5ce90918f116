"""Photos of a case, of which only so many are held in memory as fit into 1 GiB."""

import pathlib
from collections.abc import Sequence
from typing import Self

import numpy as np

from anw_jax import data
from anw_jax.audit.files import digest_of
from anw_jax.errors import ChangedFileError
from anw_jax.keys import image_digest

# Pixels that are held; other photos are decoded anew whenever they are asked for.
_HELD_BYTES = 2**30


class StoredPhotos(Sequence):
    """Uint8 photos `[H, W, 3]`, each decoded once to learn its digest; None where one lacks.

    What is read again must have the pixels that it had at first.

    Args:
      sources: files, or arrays, which stay where they are.

    Attributes:
      digests: `image_digest` of each, None where the photo is not here.
      shapes: (H, W, 3) of each, or None.

    Raises:
      SourceError: a photo that cannot be read.

    Example:
      >>> photos = StoredPhotos([np.zeros((2, 4, 3), np.uint8)]).ordered([None, 0])
      >>> photos.shapes, photos[0], photos[1].size
      ([None, (2, 4, 3)], None, 24)
    """

    def __init__(self, sources: Sequence[pathlib.Path | np.ndarray]):
        self._sources = list(sources)
        self._held: dict[int, np.ndarray] = {}
        self._places: list[int | None] = list(range(len(self._sources)))
        self.digests: list[str | None] = []
        self.shapes: list[tuple[int, ...] | None] = []
        num_bytes = 0
        for number, source in enumerate(self._sources):
            image = source if isinstance(source, np.ndarray) else data.read_photo(source)
            self.digests.append(image_digest(image))
            self.shapes.append(image.shape)
            if num_bytes + image.nbytes <= _HELD_BYTES and image is not source:
                self._held[number] = image
                num_bytes += image.nbytes

    def ordered(self, places: Sequence[int | None]) -> Self:
        """The same photos in another order, with gaps and repetitions; nothing is copied."""
        other = object.__new__(type(self))
        other._sources, other._held = self._sources, self._held
        other._places = [None if p is None else self._places[p] for p in places]
        other.digests = [None if p is None else self.digests[p] for p in places]
        other.shapes = [None if p is None else self.shapes[p] for p in places]
        return other

    def file_digest(self, index: int) -> str | None:
        """SHA-256 of a photo's file; None where it came from an array, or is not here."""
        place = self._places[index]
        source = None if place is None else self._sources[place]
        return digest_of(source) if isinstance(source, pathlib.Path) else None

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> np.ndarray | None:
        """A photo's pixels.

        Raises:
          ChangedFileError: its file was changed since it was first read.
          SourceError: it cannot be read any more.
        """
        place = self._places[index]
        if place is None:
            return None
        if place in self._held:
            return self._held[place]
        source = self._sources[place]
        if isinstance(source, np.ndarray):
            return source
        image = data.read_photo(source)
        if image_digest(image) != self.digests[index]:
            raise ChangedFileError(f"{source} was changed while the case was open")
        return image
