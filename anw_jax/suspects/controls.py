"""Pictures that tell a suspect that refuses one picture from one that answers to none."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

SourceFn = Callable[[], Iterator[np.ndarray]]

# How many pictures that were answered are kept at hand.
_NUM_KEPT = 2
# Where none of them is answered, so many others are tried: as many as a probe asks.
_MOST_OTHERS = 48


class Controls:
    """Pictures to ask after one was refused: does the suspect still answer at all?

    First those that it answered a moment ago, then others of the case.

    Example:
      >>> controls = Controls()
      >>> controls.add(lambda: iter([np.zeros((1, 1, 3), np.uint8)]))
      >>> controls.keep(np.ones((1, 1, 3), np.uint8))
      >>> [int(picture.max()) for picture in controls.pictures()]
      [1, 0]
    """

    def __init__(self):
        self._answered: deque[np.ndarray] = deque(maxlen=_NUM_KEPT)
        self._sources: list[SourceFn] = []

    def add(self, source: SourceFn) -> None:
        """Takes up another source of pictures that may be asked."""
        self._sources.append(source)

    def keep(self, picture: np.ndarray) -> None:
        """Keeps a picture that has an answer, uint8 `[H, W, 3]`."""
        self._answered.append(picture.copy())

    def pictures(self) -> Iterator[np.ndarray]:
        """Pictures in the order in which they are to be tried."""
        yield from reversed(self._answered)
        rounds = itertools.zip_longest(*(source() for source in self._sources))
        others = (one for turn in rounds for one in turn if one is not None)
        yield from itertools.islice(others, _MOST_OTHERS)
