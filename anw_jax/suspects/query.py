"""Query a suspect about images, sending each image at most once.

**Refused pictures.** A suspect may have no usable answer to a picture: an HTTP status 4xx, no
reply after all attempts, too few labels, an exception. When a batch fails, its pictures are
queried one by one to find the cause. Before a refusal is recorded the suspect has to answer
*another* picture, queried after the refused one (`Controls`): only this shows that the picture
was the cause and not the suspect. A recorded refusal is final. The picture is never queried or
paid for again, and neither are further pictures of its image, because the image's row is
unusable. If no control is answered, the suspect is considered down: an error is raised and
nothing is recorded.
"""

import concurrent.futures
import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from anw_jax.errors import BudgetError, RefusedPictureError, SuspectError
from anw_jax.suspects.cache import AnswerCache, question_key
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.pictures import as_queried
from anw_jax.suspects.protocol import Answers, RemoteSuspect, Suspect, checked

# A service that refuses this many pictures before its first answer gets a control next.
_MOST_REFUSED_AT_FIRST = 16
# A service that leaves this many controls without an answer and without a refusal is down.
_MOST_WAITED_FOR = 3
# Number of answered pictures that are kept as controls.
_NUM_KEPT = 2
# Number of other controls to try if none of the kept ones is answered; a probe queries as many.
_MOST_OTHERS = 48

_Item = TypeVar("_Item")
_END: Any = object()

Failures = dict[bytes, SuspectError]
SourceFn = Callable[[], Iterator[np.ndarray]]


class Controls:
    """Control images, queried after a refusal to check that the suspect still responds.

    The pictures it answered last come first, then others of the case.

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
        """Add another source of pictures that may be queried."""
        self._sources.append(source)

    def keep(self, picture: np.ndarray) -> None:
        """Keep a picture that has an answer, uint8 `[H, W, 3]`."""
        if not self._answered or not np.array_equal(self._answered[-1], picture):
            self._answered.append(picture.copy())

    def pictures(self) -> Iterator[np.ndarray]:
        """Yield the pictures in the order in which to try them."""
        yield from reversed(self._answered)
        rounds = itertools.zip_longest(*(source() for source in self._sources))
        others = (one for turn in rounds for one in turn if one is not None)
        yield from itertools.islice(others, _MOST_OTHERS)


class Querier:
    """Queries one suspect through its answer cache.

    Args:
      suspect: queried about pictures that the cache does not have.
      cache: of this suspect; stores the answers as they arrive.
      budget: largest number of queries over the life of the cache; None for no limit.
      controls: queried before a picture counts as refused.
    """

    def __init__(
        self, suspect: Suspect, cache: AnswerCache, budget: int | None, controls: Controls
    ):
        self._suspect, self._declaration = suspect, suspect.declaration
        self._is_remote = isinstance(suspect, RemoteSuspect)
        self._cache, self._budget, self._controls = cache, budget, controls

    def answers(
        self,
        pixels: np.ndarray,
        keys: Sequence[bytes],
        images: Sequence[int],
        given_up: Collection[int],
    ) -> tuple[Answers, np.ndarray]:
        """Return the answers to a batch, from the cache where it has them.

        Args:
          pixels: uint8 `[b, H, W, 3]`, b ≥ 1.
          keys: `question_key` of each picture; equal pictures are queried once.
          images: which image each picture is made of, any integers.
          given_up: images with a refused picture, which are not queried any more.

        Returns:
          The answers, and bool `[b]`: False where there is no answer and the row is a filler.

        Raises:
          BudgetError: the budget is spent; the answers within it are stored.
          SuspectError: the suspect answers nothing, or not as it declares.
        """
        self._keep_control(pixels, keys)
        while places := self._places_to_query(keys, images, given_up):
            some = places[: self._allowed(len(places))]
            image_of = {keys[place]: images[place] for place in some}
            self._query_new(pixels[some], [keys[place] for place in some], image_of)
        self._keep_control(pixels, keys)
        is_answered = np.array([key in self._cache for key in keys])
        shape = pixels.shape[1:]
        filler = _filler(self._declaration, shape)
        parts = [self._cache.get(k, shape) if k in self._cache else filler for k in keys]
        return Answers.joined(parts), is_answered

    def _keep_control(self, pixels: np.ndarray, keys: Sequence[bytes]) -> None:
        for picture, key in zip(pixels[::-1], keys[::-1], strict=True):
            if key in self._cache:
                return self._controls.keep(picture)

    def _places_to_query(self, keys, images, given_up) -> list[int]:
        """Return the first place of each unsettled key, without images that are given up."""
        refused = (
            image
            for key, image in zip(keys, images, strict=True)
            if self._cache.why_unusable(key) is not None
        )
        lost, places = {*given_up, *refused}, {}
        for place, (key, image) in enumerate(zip(keys, images, strict=True)):
            if image not in lost and not self._cache.is_settled(key):
                places.setdefault(key, place)
        return list(places.values())

    def _allowed(self, wanted: int) -> int:
        """Return how many of the wanted queries the budget allows; raise if it is spent."""
        if self._budget is None:
            return wanted
        if self._cache.num_queries >= self._budget:
            raise _spent(self._budget, self._cache.num_queries)
        return min(wanted, self._budget - self._cache.num_queries)

    def _query_new(self, pixels: np.ndarray, keys: list[bytes], image_of: dict) -> None:
        """Query pictures that have no answer; find and record those that are refused."""
        ledger, trouble = self._send(pixels, keys)
        self._keep_control(pixels, keys)
        failures = {keys[i]: error for i, error in ledger.failures.items()}
        unclear = ledger.unclear
        if trouble is not None and not (failures or unclear):
            # The suspect did not identify the picture: one that was sent and has no answer.
            unclear = ledger.left_open
            if not unclear:
                raise trouble
        lost = {image_of[key] for key in failures}
        for picture, key in ((pixels[i], keys[i]) for i in unclear):
            if image_of[key] in lost or self._cache.is_settled(key):
                continue
            if (error := self._query_alone(picture, key)) is None:
                self._controls.keep(picture)
            else:
                failures[key] = error
                lost.add(image_of[key])
        if not failures:
            return
        if not self._still_answers(failures):
            raise trouble or next(iter(failures.values()))
        for key, error in failures.items():
            self._cache.note_unusable([key], str(error))

    def _query_alone(
        self, picture: np.ndarray, key: bytes, is_control: bool = False
    ) -> SuspectError | None:
        """Query one picture; return the error if there is no answer."""
        ledger, trouble = self._send(picture[None], [key], is_control)
        return trouble or next(iter(ledger.failures.values()), None)

    def _send(
        self, pixels: np.ndarray, keys: list[bytes], is_control: bool = False
    ) -> tuple["_BatchLedger", SuspectError | None]:
        """Query one batch and store the answers; return the error that ended it, if any."""
        ledger = _BatchLedger(keys, self._declaration, self._cache, self._budget, is_control)
        images = as_queried(self._suspect, pixels)
        try:
            if self._is_remote:
                self._suspect.ask_each(images, ledger)
            else:
                ledger.answered(range(len(images)), self._suspect.answers(images))
        except SuspectError as error:
            if not self._is_remote:
                # Also a batch of one: a picture that fails once by accident is not refused.
                ledger.unclear = list(range(len(keys)))
            return ledger, error
        missing = sum(not self._cache.is_settled(key) for key in keys)
        if missing and not (ledger.failures or ledger.unclear):
            raise RuntimeError(f"ask_each returned without {missing} answers")
        return ledger, None

    def _still_answers(self, failures: Failures) -> bool:
        """Return whether the suspect answers a control after the failures."""
        num_waited_for = 0
        for picture in self._controls.pictures():
            key = question_key(self._declaration.digest, picture)
            if key in failures or self._cache.why_unusable(key) is not None:
                continue
            self._allowed(1)
            trouble = self._query_alone(picture, key, is_control=True)
            if trouble is None:
                return True
            # A refusal comes at once; waiting for no reply may take minutes.
            num_waited_for += not isinstance(trouble, RefusedPictureError)
            if self._is_remote and num_waited_for == _MOST_WAITED_FOR:
                return False
        return False


class _BatchLedger:
    """A `Ledger` that writes the queries of one batch into a cache.

    Attributes:
      failures: why a picture that was queried alone has no usable answer, by position.
      unclear: positions of requests with several pictures that failed as a whole.
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        declaration: Declaration,
        cache: AnswerCache,
        budget: int | None,
        is_control: bool,
    ):
        self._keys, self._declaration = keys, declaration
        self._cache, self._budget = cache, budget
        self._is_control = is_control
        self._open: set[int] = set()
        self._num_answered = 0
        self.failures: dict[int, SuspectError] = {}
        self.unclear: list[int] = []

    @property
    def left_open(self) -> list[int]:
        """Positions that were sent and have no outcome yet."""
        return sorted(self._open)

    def sending(self, positions: list[int]) -> None:
        """See `Ledger`."""
        with self._cache.exclusive():
            count = self._cache.num_queries
            if self._budget is not None and count + len(positions) > self._budget:
                raise _spent(self._budget, count)
            self._cache.note_asked(self._named(positions))
            self._open.update(positions)

    def answered(self, positions: Sequence[int], answers: Answers) -> None:
        """See `Ledger`."""
        checked(answers, self._declaration, len(positions))
        self._cache.store(self._named(positions), answers, again=self._is_control)
        with self._cache.exclusive():
            self._num_answered += len(positions)
            self._open.difference_update(positions)

    def refused(self, positions: list[int]) -> None:
        """See `Ledger`."""
        self._cache.note_refused(self._named(positions))

    def failed(self, positions: list[int], error: SuspectError) -> None:
        """See `Ledger`."""
        with self._cache.exclusive():
            if len(positions) == 1:
                self.failures[positions[0]] = error
            else:
                self.unclear += positions
            self._open.difference_update(positions)
        if not self._num_answered and len(self.failures) >= _MOST_REFUSED_AT_FIRST:
            raise error

    def _named(self, positions: Iterable[int]) -> list[bytes]:
        return [self._keys[position] for position in positions]


def _filler(declaration: Declaration, shape: tuple[int, ...]) -> Answers:
    """Return a batch of one that fills the place of a missing answer to a picture."""
    if declaration.answer == "image":
        return Answers("image", np.zeros((1, *shape), np.uint8))
    width = declaration.width
    scores, labels = np.full((1, width), np.nan, np.float32), np.zeros((1, width), np.int64)
    if declaration.answer == "label":
        return Answers("label", None, labels[:, 0])
    is_list = declaration.answer == "top_k"
    return Answers(declaration.answer, scores, labels if is_list else None)


def _spent(budget: int, num_queries: int) -> BudgetError:
    return BudgetError(
        f"the budget of {budget} queries is spent ({num_queries} sent so far); the answers "
        "are kept: continue with a larger budget and the same cache"
    )


def prefetch(items: Iterator[_Item], depth: int = 2) -> Iterator[_Item]:
    """Yield `items` in order while a thread computes the next ones.

    Args:
      items: advanced in a thread of its own.
      depth: number of items to compute in advance, at least 1.

    Returns:
      A generator. An error of `items` is raised in place of its item. The thread ends with
      the generator.

    Example:
      >>> list(prefetch(iter("abc")))
      ['a', 'b', 'c']
    """
    pool = concurrent.futures.ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, items, _END) for _ in range(depth))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(pool.submit(next, items, _END))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
