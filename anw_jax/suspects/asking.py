"""Asking a suspect about pictures so that no query is paid twice."""

from collections.abc import Sequence

import numpy as np

from anw_jax.errors import BudgetError
from anw_jax.suspects.answers import Answers, checked
from anw_jax.suspects.batches import as_asked
from anw_jax.suspects.cache import AnswerCache
from anw_jax.suspects.protocol import RemoteSuspect, Suspect


def ask_pictures(
    suspect: Suspect,
    pixels: np.ndarray,
    keys: Sequence[bytes],
    cache: AnswerCache,
    budget: int | None,
) -> Answers:
    """Answers to a batch, from the cache where it has them; each question is asked once.

    Args:
      suspect: asked about what the cache lacks.
      pixels: uint8 `[b, H, W, 3]`, b ≥ 1.
      keys: of each picture, as `question_key` gives them.
      cache: of this suspect; gets the answers as they come.
      budget: how many queries the cache may count in all, None for any number.

    Raises:
      BudgetError: the budget is spent; what it allowed was asked and is kept.
      SuspectError: as `Suspect.answers`.
    """
    first_place = {}
    for place, key in enumerate(keys):
        if key not in cache:
            first_place.setdefault(key, place)
    if first_place:
        images = as_asked(suspect, pixels[list(first_place.values())])
        _ask_fresh(suspect, images, list(first_place), cache, budget)
    return Answers.joined([cache.get(key) for key in keys])


def _ask_fresh(
    suspect: Suspect,
    images: np.ndarray,
    keys: list[bytes],
    cache: AnswerCache,
    budget: int | None,
) -> None:
    if isinstance(suspect, RemoteSuspect):
        suspect.ask_each(images, CacheLedger(keys, suspect, cache, budget))
        missing = sum(key not in cache for key in keys)
        if missing:
            raise RuntimeError(f"ask_each returned without {missing} answers")
        return
    allowed = len(keys) if budget is None else max(0, budget - cache.num_queries)
    if allowed:
        asked = images[:allowed]
        answers = checked(suspect.answers(asked), suspect.declaration, len(asked))
        cache.store(keys[:allowed], answers)
    if allowed < len(keys):
        raise spent(budget, cache.num_queries)


def spent(budget: int, num_queries: int) -> BudgetError:
    """The error of a budget that is used up."""
    return BudgetError(
        f"the budget of {budget} queries is spent ({num_queries} asked so far); what was "
        "answered is kept: go on with a larger budget and the same cache"
    )


class CacheLedger:
    """Writes each query of one batch down as it leaves and as it is answered."""

    def __init__(
        self, keys: list[bytes], suspect: Suspect, cache: AnswerCache, budget: int | None
    ):
        self._keys, self._cache, self._budget = keys, cache, budget
        self._declaration = suspect.declaration

    def sending(self, positions: list[int]) -> None:
        """See `Ledger`."""
        with self._cache.exclusive():
            count = self._cache.num_queries
            if self._budget is not None and count + len(positions) > self._budget:
                raise spent(self._budget, count)
            self._cache.note_asked([self._keys[i] for i in positions])

    def answered(self, positions: list[int], answers: Answers) -> None:
        """See `Ledger`."""
        checked(answers, self._declaration, len(positions))
        self._cache.store([self._keys[i] for i in positions], answers)

    def refused(self, positions: list[int]) -> None:
        """See `Ledger`."""
        self._cache.note_refused([self._keys[i] for i in positions])
