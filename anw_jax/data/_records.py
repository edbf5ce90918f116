"""Photos that are read one by one, whenever they are asked for."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from anw_jax import _files
from anw_jax.data import _pixels


class Records(Protocol):
    """Original photos in a fixed order; may be read from several threads at once."""

    def __len__(self) -> int: ...

    def read(self, rows: Sequence[int]) -> Iterable[np.ndarray]:
        """Uint8 `[H, W, 3]` of each row, not resized."""

    def name(self, row: int) -> str:
        """What errors call the photo."""

    def identity(self) -> bytes:
        """What is equal when the same photos are opened again; reads no pixels."""


@dataclasses.dataclass(frozen=True)
class PhotoFiles:
    """PNG, JPEG and WebP files."""

    paths: tuple[pathlib.Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, rows: Sequence[int]) -> Iterable[np.ndarray]:
        """Decodes one file at a time."""
        for row in rows:
            _files.check_regular(self.paths[row])
            yield _pixels.decode(self.paths[row].read_bytes(), self.name(row))

    def name(self, row: int) -> str:
        """The path."""
        return str(self.paths[row])

    def identity(self) -> bytes:
        """A hash of file names and sizes, wherever the folder lies."""
        sha = hashlib.sha256()
        for path in self.paths:
            sha.update(f"{path.parent.name}/{path.name} {path.stat().st_size}\0".encode())
        return sha.digest()


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayRecords:
    """An array that is in the host's memory already."""

    images: np.ndarray
    source: str

    def __len__(self) -> int:
        return len(self.images)

    def read(self, rows: Sequence[int]) -> Iterable[np.ndarray]:
        """Views of the array."""
        return (self.images[row] for row in rows)

    def name(self, row: int) -> str:
        """The source and the row."""
        return f"{self.source} image {row}"

    def identity(self) -> bytes:
        """A hash of the pixels, which are at hand."""
        return hashlib.sha256(np.ascontiguousarray(self.images).data).digest()
