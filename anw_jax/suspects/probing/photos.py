"""The photos of a probe, resized one by one for each reading."""

from collections.abc import Sequence

import numpy as np

from anw_jax.suspects.pictures import Pictures, batch_size_for, cropped, fitted, queried_size
from anw_jax.suspects.protocol import Answers, Suspect

# Other sizes are tried on copies with sides up to this: enough to distinguish readings.
_LARGEST_SIDE = 768
# Prepared pictures up to this many bytes are kept for the next reading.
_KEEP_BYTES = 2**28


class ProbePhotos:
    """Uint8 photos, prepared picture by picture for a suspect.

    Args:
      pictures: uint8 `[H, W, 3]` each; a lazy sequence is read again each time.
      size: the declared one; only for other sizes photos are shrunk first.
      crop: take the largest centred part of a size's shape, as `Access.fit`.
    """

    def __init__(
        self, pictures: Sequence[np.ndarray], size: tuple[int, int] | None, crop: bool = False
    ):
        self._pictures, self._size, self._crop = pictures, size, crop
        self._kept: tuple[tuple[int, int] | None, np.ndarray] | None = None
        self._small: list[np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self._pictures)

    @property
    def own_size(self) -> tuple[int, int] | None:
        """(H, W) of all photos, if it is one size that was not shrunk; else None."""
        sizes = {picture.shape[:2] for picture in self._shrunk()}
        first = self._shape(0)[:2]
        return tuple(first) if sizes == {first} else None

    def answers(
        self, suspect: Suspect, order: Sequence[int] | None = None, together: int | None = None
    ) -> Answers:
        """Return the answers to photos in an order; None queries each once.

        Args:
          suspect: of any declaration.
          order: indices, with repetitions.
          together: pictures in one call; None for as many as in an audit.

        Raises:
          SuspectError, ValueError: as the suspect.
        """
        size = queried_size(suspect)
        if order is None:
            order = range(len(self))
            self._keep(size)
        if together is None:
            together = batch_size_for(suspect, self._shape(order[0]))
        parts = []
        for start in range(0, len(order), together):
            parts.append(suspect.answers(self._asked(size, order[start : start + together])))
        return parts[0] if len(parts) == 1 else Answers.joined(parts)

    def with_changed_colours(self, suspect: Suspect, number: int) -> Answers:
        """Return the answers to the first photos, inverted and with exchanged channels."""
        shapes = [self._shape(i) for i in range(min(number, len(self)))]
        changes = (lambda pixels: 255 - pixels), (lambda pixels: pixels[..., [2, 0, 1]])
        parts = []
        for change in changes:
            changed = Pictures(shapes, lambda i, change=change: change(self._pictures[i]))
            parts.append(ProbePhotos(changed, self._size, self._crop).answers(suspect))
        return Answers.joined(parts)

    def of_random_pixels(self, suspect: Suspect, number: int) -> Answers:
        """Return the answers to pictures of random pixels, at most one for each photo."""
        shapes = [(*(self._size or self._shape(i)[:2]), 3) for i in range(len(self))][:number]
        noise = Pictures(
            shapes,
            lambda i: np.random.default_rng(i).integers(0, 256, shapes[i], dtype=np.uint8),
        )
        return ProbePhotos(noise, self._size, self._crop).answers(suspect)

    def _asked(self, size: tuple[int, int] | None, order: Sequence[int]) -> np.ndarray:
        if self._kept is None or self._kept[0] != size:
            return self._fitted(size, order)
        return self._kept[1][list(order)]

    def _keep(self, size: tuple[int, int] | None) -> None:
        """Prepare all pictures of a size, and keep them for the next queries."""
        is_kept = self._kept is not None and self._kept[0] == size
        if not is_kept and self._num_bytes(size) <= _KEEP_BYTES:
            self._kept = None  # frees those of another size first
            self._kept = size, self._fitted(size, range(len(self)))

    def _shape(self, index: int) -> tuple[int, ...]:
        if isinstance(self._pictures, Pictures):  # without reading the picture
            return self._pictures.shapes[index]
        return self._pictures[index].shape

    def _num_bytes(self, size: tuple[int, int] | None) -> int:
        height, width = self._shape(0)[:2] if size is None else size
        return 12 * height * width * len(self)

    def _fitted(self, size: tuple[int, int] | None, order: Sequence[int]) -> np.ndarray:
        is_declared = size == self._size
        pictures = self._pictures if is_declared else self._shrunk()
        parts = []
        for index in order:
            picture = pictures[index]
            parts.append(fitted([cropped(picture, size) if self._crop else picture], size))
        return np.concatenate(parts)

    def _shrunk(self) -> Sequence[np.ndarray]:
        """Return copies of the photos with no side above the largest."""
        if self._small is None:
            self._small = [_shrink(picture) for picture in self._pictures]
        return self._small


def _shrink(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    if max(height, width) <= _LARGEST_SIDE:
        return picture
    scale = _LARGEST_SIDE / max(height, width)
    size = max(1, round(scale * height)), max(1, round(scale * width))
    return np.rint(fitted([picture], size)[0] * 255).astype(np.uint8)
