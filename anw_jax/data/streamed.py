"""Images that stay on disk: records of files, and `StreamedImages`, indexed like an array."""

import dataclasses
import hashlib
import math
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from anw_jax import _check, errors, keys
from anw_jax.data import image_files
from anw_jax.data.batches import prefetch
from anw_jax.data.photos import read_photo

# What one thread decodes at a time: fast enough, and small in memory.
_CHUNK_IMAGES, _CHUNK_BYTES = 256, 2**23


class Records(Protocol):
    """Original images in a fixed order; may be read from several threads at once."""

    def __len__(self) -> int: ...

    def read(self, rows: Sequence[int]) -> Iterable[np.ndarray]:
        """Return uint8 `[H, W, 3]` of each row, not resized."""

    def name(self, row: int) -> str:
        """Return the name of an image for errors."""

    def identity(self) -> bytes:
        """Return bytes that are the same when the images are opened again; reads no pixels."""


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """PNG, JPEG and WebP files."""

    paths: tuple[pathlib.Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, rows: Sequence[int]) -> Iterable[np.ndarray]:
        """Decode one file at a time."""
        return (read_photo(self.paths[row], only_plain=True) for row in rows)

    def name(self, row: int) -> str:
        """Return the path."""
        return str(self.paths[row])

    def identity(self) -> bytes:
        """Hash file names and sizes, but not the path of the folder."""
        sha = hashlib.sha256()
        for path in self.paths:
            sha.update(f"{path.parent.name}/{path.name} {path.stat().st_size}\0".encode())
        return sha.digest()


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayRecords:
    """An array in the host's memory."""

    images: np.ndarray
    source: str

    def __len__(self) -> int:
        return len(self.images)

    def read(self, rows: Sequence[int]) -> Iterable[np.ndarray]:
        """Return views of the array."""
        return (self.images[row] for row in rows)

    def name(self, row: int) -> str:
        """Return the source and the row."""
        return f"{self.source} image {row}"

    def identity(self) -> bytes:
        """Hash the pixels."""
        return hashlib.sha256(np.ascontiguousarray(self.images).data).digest()


@dataclasses.dataclass(frozen=True, eq=False)
class StreamedImages:
    """Uint8 images `[n, H, W, 3]` on disk; indexing them returns arrays.

    They are indexed by integers, slices and integer arrays along the first axis, and are read,
    decoded and resized anew each time; published images that replaced originals are held in
    memory. They are not converted to an array implicitly: use `images[:]`.

    Attributes:
      records: the original images.
      rows: int32 `[n]`, rows of `records`.
      image_size: side in pixels of the square that each is resized to; None for no resizing.
      shape: `(n, H, W, 3)`.
      published: uint8 `[m, H, W, 3]`, images that replace originals.
      published_rows: int32 `[n]`, row of `published`, or -1 for the original.

    Example:
      >>> from anw_jax import data
      >>> images = data.load("mock:8", image_size=4, in_memory=False).train.images
      >>> images.shape, images[2].shape, images[[7, 0]].shape
      ((8, 4, 4, 3), (4, 4, 3), (2, 4, 4, 3))
    """

    records: Records
    rows: np.ndarray
    image_size: int | None
    shape: tuple[int, int, int, int]
    published: np.ndarray
    published_rows: np.ndarray

    @classmethod
    def of(cls, records: Records, image_size: int | None) -> "StreamedImages":
        """Take all records (at least one) in their order; the first is read for its size."""
        (first,) = records.read([0])
        image_shape = image_files.fit(first, image_size).shape
        num = len(records)
        return cls(
            records=records,
            rows=np.arange(num, dtype=np.int32),
            image_size=image_size,
            shape=(num, *image_shape),
            published=np.empty((0, *image_shape), np.uint8),
            published_rows=np.full(num, -1, np.int32),
        )

    @property
    def dtype(self) -> np.dtype:
        """The dtype of indexed arrays: uint8."""
        return np.dtype(np.uint8)

    @property
    def ndim(self) -> int:
        """The number of axes, 4."""
        return 4

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, *arguments: Any, **named: Any) -> np.ndarray:
        """Raise TypeError: an implicit conversion would read the whole set into memory."""
        raise TypeError(
            f"{len(self)} streamed images are not converted to an array implicitly: index the "
            "rows you need, or call in_memory() on their dataset"
        )

    def __getitem__(self, index: int | slice | npt.ArrayLike) -> np.ndarray:
        """Read uint8 `[H, W, 3]` for an integer, `[k, H, W, 3]` for a slice or k integers.

        Raises:
          TypeError: for any other index.
          IndexError: for a row that does not exist.
          SourceError: for an image that cannot be decoded or has another size.
        """
        if not isinstance(index, slice):
            index = np.asarray(index)
            if not np.issubdtype(index.dtype, np.integer) or index.ndim > 1:
                raise TypeError(
                    "streamed images are indexed by an integer, a slice or a list of "
                    f"integers, got {index.dtype} of shape {index.shape}"
                )
        images, _ = self._read(np.atleast_1d(self._positions(index)), with_digests=False)
        return images[0] if np.ndim(index) == 0 and not isinstance(index, slice) else images

    def _positions(self, index: slice | np.ndarray) -> np.ndarray:
        if isinstance(index, slice):
            return np.arange(*index.indices(len(self)))
        if index.size and not (-len(self) <= index.min() and index.max() < len(self)):
            raise IndexError(f"row outside [0, {len(self)}): {index.min()} to {index.max()}")
        return np.where(index < 0, index + len(self), index)

    def _read(
        self, positions: np.ndarray, *, with_digests: bool
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Read images, and on request the digests of their originals."""
        images = np.empty((len(positions), *self.shape[1:]), np.uint8)
        replaced = self.published_rows[positions]
        # For digests every original is read, even if it is replaced.
        places = np.flatnonzero((replaced < 0) | with_digests)
        rows, digests = self.rows[positions[places]].tolist(), []
        for place, row, original in zip(places, rows, self.records.read(rows), strict=True):
            if with_digests:
                digests.append(keys.image_digest(original))
            image = image_files.fit(original, self.image_size)
            if image.shape != self.shape[1:]:
                raise self._other_size(row, image)
            images[place] = image
        images[replaced >= 0] = self.published[replaced[replaced >= 0]]
        return images, tuple(digests)

    def _other_size(self, row: int, image: np.ndarray) -> errors.SourceError:
        first = self.records.name(int(self.rows[0]))
        size, other = ("x".join(map(str, s)) for s in (self.shape[1:3], image.shape[:2]))
        return errors.SourceError(
            f"{first} is {size} and {self.records.name(row)} is {other} (height x width): set "
            "image_size to bring all images to one size"
        )

    def take(self, rows: npt.ArrayLike) -> "StreamedImages":
        """Return the rows (integers in `[0, n)`) in that order; reads nothing."""
        rows = np.asarray(rows, np.int32)
        return dataclasses.replace(
            self,
            rows=self.rows[rows],
            shape=(len(rows), *self.shape[1:]),
            published_rows=self.published_rows[rows],
        )

    def replace(self, rows: npt.ArrayLike, images: np.ndarray) -> "StreamedImages":
        """Replace the k different `rows` by images uint8 `[k, H, W, 3]`."""
        images = _check.uint8_images(images=images)
        rows = np.asarray(rows, np.int32)
        if images.shape != (len(rows), *self.shape[1:]):
            wanted = (len(rows), *self.shape[1:])
            raise ValueError(f"images must have shape {wanted}, got {images.shape}")
        published_rows = self.published_rows.copy()
        published_rows[rows] = len(self.published) + np.arange(len(rows), dtype=np.int32)
        published = np.concatenate([self.published, images])
        return dataclasses.replace(self, published=published, published_rows=published_rows)

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield all images in order, uint8 `[<= 256, H, W, 3]` at a time, read ahead."""
        for images, _ in self._chunks(with_digests=False):
            yield images

    def _chunks(self, *, with_digests: bool) -> Iterator[tuple[np.ndarray, tuple[str, ...]]]:
        affordable = _CHUNK_BYTES // math.prod(self.shape[1:])
        size = min(max(1, affordable), _CHUNK_IMAGES)

        def read(first: int) -> tuple[np.ndarray, tuple[str, ...]]:
            positions = np.arange(first, min(first + size, len(self)))
            return self._read(positions, with_digests=with_digests)

        return prefetch(read, range(0, len(self), size))

    def load(self) -> tuple[np.ndarray, tuple[str, ...] | None]:
        """Read all images into one array; also return digests of the originals if resized."""
        images, digests = np.empty(self.shape, np.uint8), []
        is_resized, first = self.image_size is not None, 0
        for chunk, chunk_digests in self._chunks(with_digests=is_resized):
            images[first : first + len(chunk)] = chunk
            first += len(chunk)
            digests.extend(chunk_digests)
        return images, tuple(digests) if is_resized else None

    def identity(self) -> str:
        """Return 64 hex digits, equal when the same images are opened again; decodes nothing.

        A hash of file names and sizes, rows, resizing and the published images.
        """
        sha = hashlib.sha256(b"anw_jax.data.StreamedImages/1\0" + self.records.identity())
        sha.update(repr((self.shape, self.image_size)).encode())
        for column in (self.rows, self.published_rows):
            sha.update(column.astype("<i4").data)
        sha.update(np.ascontiguousarray(self.published).data)
        return sha.hexdigest()
