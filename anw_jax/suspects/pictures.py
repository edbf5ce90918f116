"""Pictures that are read one by one, not held in memory together."""

from collections.abc import Callable, Sequence

import numpy as np


class Pictures(Sequence):
    """Uint8 pictures behind a function; the last one read is kept.

    Args:
      shapes: (H, W, 3) of each.
      read: gives picture number i.

    Attributes:
      shapes: as given.

    Example:
      >>> pictures = Pictures([(2, 2, 3)] * 5, lambda i: np.full((2, 2, 3), i, np.uint8))
      >>> len(pictures), pictures.shape, int(pictures[3].max())
      (5, (5, 2, 2, 3), 3)
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], read: Callable[[int], np.ndarray]):
        self.shapes = [tuple(shape) for shape in shapes]
        self._read = read
        self._last: tuple[int, np.ndarray] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, H, W, 3), as of an array.

        Raises:
          ValueError: pictures of several sizes, or none.
        """
        if len(set(self.shapes)) != 1:
            raise ValueError(f"images must be of one size, got {len(set(self.shapes))} sizes")
        return len(self.shapes), *self.shapes[0]

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> np.ndarray:
        number = range(len(self))[index]
        if self._last is None or self._last[0] != number:
            self._last = None  # two large ones need not be held at once
            self._last = number, self._read(number)
        return self._last[1]
