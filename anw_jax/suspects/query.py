"""Asking a suspect about pictures so that no query is paid twice, and none blocks the others.

**A refused picture.** A suspect may have no usable answer to one picture: a status of 4xx, no
reply however often it is tried, too few labels, an exception. A batch that fails is asked
picture by picture, to find which one it is. Before a refusal is written down the suspect has to
answer *another* picture, asked after the refused one (`Controls`): only then was it the picture
and not the suspect. The refusal is then final; the picture is never asked or paid again, and
further pictures of its image are not asked, since the image's row is unusable. A suspect that
answers none of the others either is out of order: that is an error, and nothing is written.
"""

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from anw_jax import _check
from anw_jax.errors import BudgetError, RefusedPictureError, SuspectError
from anw_jax.suspects.answers import Answers, checked
from anw_jax.suspects.cache import AnswerCache, question_key
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.pictures import as_asked
from anw_jax.suspects.protocol import RemoteSuspect, Suspect

# A service that refuses so many before it answers any is asked no further before a control.
_MOST_REFUSED_AT_FIRST = 16
# After so many controls that a service does not refuse and does not answer, it is out of order.
_MOST_WAITED_FOR = 3

# How many pictures that were answered are kept at hand.
_NUM_KEPT = 2
# Where none of them is answered, so many others are tried: as many as a probe asks.
_MOST_OTHERS = 48

Failures = dict[bytes, SuspectError]
SourceFn = Callable[[], Iterator[np.ndarray]]


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


class Asker:
    """Asks one suspect, with its answers in a cache.

    Args:
      suspect: asked about what the cache lacks.
      cache: of this suspect; gets the answers as they come.
      budget: how many queries the cache may count in all, None for any number.
      controls: asked before a picture counts as refused.
    """

    def __init__(
        self, suspect: Suspect, cache: AnswerCache, budget: int | None, controls: Controls
    ):
        self._suspect, self._declaration = suspect, suspect.declaration
        self._cache, self._budget, self._controls = cache, budget, controls

    def ask(
        self,
        pixels: np.ndarray,
        keys: Sequence[bytes],
        images: Sequence[int] | None = None,
        given_up: Collection[int] = (),
    ) -> tuple[Answers, np.ndarray]:
        """Answers to a batch, from the cache where it has them; each question is asked once.

        Args:
          pixels: uint8 `[b, H, W, 3]`, b ≥ 1.
          keys: of each picture, as `question_key` gives them.
          images: which image each picture is made of, any integers; None for one of its own.
          given_up: images that have a refused picture already, and are asked no further.

        Returns:
          The answers, and bool `[b]`: False where there is none, and the answer means nothing.

        Raises:
          BudgetError: the budget is spent; what it allowed was asked and is kept.
          SuspectError: the suspect answers to nothing, or otherwise than it declares.
        """
        images = range(len(keys)) if images is None else images
        self._keep_one(pixels, keys)
        while places := self._places_to_ask(keys, images, given_up):
            some = [keys[place] for place in places]
            image_of = {keys[place]: images[place] for place in places}
            if isinstance(self._suspect, RemoteSuspect):
                self._ask_remote(pixels[places], some, image_of)
            else:
                self._ask_local(pixels[places], some, image_of)
        self._keep_one(pixels, keys)
        is_answered = np.array([key in self._cache for key in keys])
        blank = _blank(self._declaration)
        parts = [self._cache.get(k) if k in self._cache else blank for k in keys]
        return Answers.joined(parts), is_answered

    def _keep_one(self, pixels: np.ndarray, keys: Sequence[bytes]) -> None:
        for picture, key in zip(pixels[::-1], keys[::-1], strict=True):
            if key in self._cache:
                return self._controls.keep(picture)

    def _places_to_ask(self, keys, images, given_up) -> list[int]:
        """The first place of each question that is not settled, of images not given up."""
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

    def _ask_local(self, pixels: np.ndarray, keys: list[bytes], image_of: dict) -> None:
        allowed = len(keys)
        if self._budget is not None:
            allowed = min(allowed, max(0, self._budget - self._cache.num_queries))
        some = keys[:allowed]
        trouble = self._trouble_with(pixels[:allowed], some) if allowed else None
        if trouble is not None:
            # Also a batch of one: what fails once by accident is not refused.
            self._settle(self._one_by_one(pixels[:allowed], some, image_of), trouble)
        elif allowed < len(keys):
            raise spent(self._budget, self._cache.num_queries)

    def _ask_remote(self, pixels: np.ndarray, keys: list[bytes], image_of: dict) -> None:
        ledger = CacheLedger(keys, self._suspect, self._cache, self._budget)
        trouble = None
        try:
            self._suspect.ask_each(as_asked(self._suspect, pixels), ledger)
        except SuspectError as error:
            trouble = error
        self._keep_one(pixels, keys)
        failures = {keys[i]: error for i, error in ledger.failures.items()}
        unclear = ledger.unclear
        if trouble is not None and not (failures or unclear):
            # It did not say which: one of those that left and are not answered.
            unclear = ledger.left_open
            if not unclear:
                raise trouble
        lost = {image_of[key] for key in failures}
        unclear = [i for i in unclear if image_of[keys[i]] not in lost]
        some = [keys[i] for i in unclear]
        failures |= self._one_by_one(pixels[unclear], some, image_of)
        self._settle(failures, trouble)
        missing = sum(not self._cache.is_settled(key) for key in keys)
        if trouble is None and not failures and not some and missing:
            raise RuntimeError(f"ask_each returned without {missing} answers")

    def _one_by_one(
        self, pixels: np.ndarray, keys: Sequence[bytes], image_of: dict
    ) -> Failures:
        """Asks each picture alone; of an image that fails once, nothing more."""
        failures: Failures = {}
        lost = set()
        for picture, key in zip(pixels, keys, strict=True):
            if image_of[key] in lost or self._cache.is_settled(key):
                continue
            trouble = self._trouble_with(picture[None], [key])
            if trouble is None:
                self._controls.keep(picture)
            else:
                failures[key] = trouble
                lost.add(image_of[key])
        return failures

    def _trouble_with(
        self, pixels: np.ndarray, keys: Sequence[bytes], is_control: bool = False
    ) -> SuspectError | None:
        """Asks, and keeps the answers; or the error that came instead."""
        images = as_asked(self._suspect, pixels)
        try:
            if isinstance(self._suspect, RemoteSuspect):
                ledger = CacheLedger(keys, self._suspect, self._cache, self._budget, is_control)
                self._suspect.ask_each(images, ledger)
                if not (ledger.failures or all(map(self._cache.is_settled, keys))):
                    raise RuntimeError("ask_each returned without an answer")
                return next(iter(ledger.failures.values()), None)
            answers = checked(self._suspect.answers(images), self._declaration, len(images))
        except SuspectError as error:
            return error
        _store(self._cache, keys, answers, is_control)
        return None

    def _settle(self, failures: Failures, trouble: SuspectError | None) -> None:
        """Writes refusals down if the suspect still answers to others; else it is broken.

        Raises:
          SuspectError: `trouble`, or the first failure.
        """
        if not failures:
            return
        if not self._still_answers(failures):
            raise trouble or next(iter(failures.values()))
        for key, error in failures.items():
            self._cache.note_unusable([key], str(error))

    def _still_answers(self, failures: Failures) -> bool:
        num_waited_for = 0
        for picture in self._controls.pictures():
            key = question_key(self._declaration.digest, picture)
            if key in failures or self._cache.why_unusable(key) is not None:
                continue
            if self._budget is not None and self._cache.num_queries >= self._budget:
                raise spent(self._budget, self._cache.num_queries)
            trouble = self._trouble_with(picture[None], [key], is_control=True)
            if trouble is None:
                return True
            # One that is refused at once costs no time; being waited for may cost minutes.
            num_waited_for += not isinstance(trouble, RefusedPictureError)
            if isinstance(self._suspect, RemoteSuspect) and num_waited_for == _MOST_WAITED_FOR:
                return False
        return False


def _blank(declaration: Declaration) -> Answers:
    """A batch of one that stands where there is no answer."""
    width = declaration.k if declaration.answer == "top_k" else declaration.num_classes
    scores, labels = np.full((1, width), np.nan, np.float32), np.zeros((1, width), np.int64)
    if declaration.answer == "label":
        return Answers("label", None, labels[:, 0])
    is_list = declaration.answer == "top_k"
    return Answers(declaration.answer, scores, labels if is_list else None)


def _store(
    cache: AnswerCache, keys: Sequence[bytes], answers: Answers, is_control: bool
) -> None:
    if is_control:
        cache.store_control(keys[0], answers)
    else:
        cache.store(keys, answers)


def spent(budget: int, num_queries: int) -> BudgetError:
    """The error of a budget that is used up."""
    return BudgetError(
        f"the budget of {budget} queries is spent ({num_queries} asked so far); the answers "
        "are kept: continue with a larger budget and the same cache"
    )


class CacheLedger:
    """Writes each query of one batch down as it leaves and as it is answered.

    Attributes:
      failures: why a picture that was asked alone has no usable answer, by position.
      unclear: positions of requests with several pictures that failed as a whole.
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        suspect: Suspect,
        cache: AnswerCache,
        budget: int | None,
        is_control: bool = False,
    ):
        self._keys, self._cache, self._budget = keys, cache, budget
        self._declaration = suspect.declaration
        self._is_control = is_control
        self._open: set[int] = set()
        self._num_answered = 0
        self.failures: dict[int, SuspectError] = {}
        self.unclear: list[int] = []

    @property
    def left_open(self) -> list[int]:
        """Positions that left, and of which nothing more was heard."""
        return sorted(self._open)

    def sending(self, positions: list[int]) -> None:
        """See `Ledger`."""
        with self._cache.exclusive():
            count = self._cache.num_queries
            if self._budget is not None and count + len(positions) > self._budget:
                raise spent(self._budget, count)
            self._cache.note_asked(self._named(positions))
            self._open.update(positions)

    def answered(self, positions: list[int], answers: Answers) -> None:
        """See `Ledger`."""
        checked(answers, self._declaration, len(positions))
        _store(self._cache, self._named(positions), answers, self._is_control)
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


_Item = TypeVar("_Item")

# How often a thread that waits for room looks whether anybody still wants its work.
_LOOK_SECONDS = 0.05


def prefetch(items: Iterator[_Item], depth: int = 2) -> Iterator[_Item]:
    """Yields `items` in order while a thread makes the next ones.

    Args:
      items: advanced in a thread of its own.
      depth: how many finished items may wait, at least 1.

    Returns:
      A generator. An error of `items` is raised where its item would have come; the thread
      ends with the generator, however that ends.

    Example:
      >>> list(prefetch(iter("abc")))
      ['a', 'b', 'c']
    """
    depth = _check.integer_at_least(1, depth=depth)
    return _prefetch(items, depth)


def _prefetch(items: Iterator[_Item], depth: int) -> Iterator[_Item]:
    done: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    nobody = threading.Event()
    thread = threading.Thread(target=_make, args=(items, done, nobody), daemon=True)
    thread.start()
    try:
        while True:
            what, value = done.get()
            if what == "end":
                return
            if what == "error":
                raise value
            yield value
    finally:
        nobody.set()
        thread.join()


def _make(items: Iterator, done: queue.Queue, nobody: threading.Event) -> None:
    def put(entry: tuple[str, Any]) -> bool:
        while not nobody.is_set():
            try:
                done.put(entry, timeout=_LOOK_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    try:
        for item in items:
            if not put(("item", item)):
                return
        put(("end", None))
    except BaseException as error:
        put(("error", error))
