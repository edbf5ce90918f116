"""The protocol that every way to ask a model keeps."""

import copy
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from anw_jax import _check
from anw_jax.errors import SuspectError
from anw_jax.suspects.answers import Answers, checked, from_scores
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.preparing import prepare


@runtime_checkable
class Suspect(Protocol):
    """Any model that can be asked.

    Attributes:
      declaration: how it wants pictures and how it answers; never changes.
    """

    @property
    def declaration(self) -> Declaration:
        """See the class."""

    def answers(self, images: np.ndarray) -> Answers:
        """Answers to float32 pictures `[b, H, W, 3]`, RGB in [0, 1], b ≥ 1.

        Raises:
          SuspectError: the model cannot be asked, or answers otherwise than declared.
        """


class Ledger(Protocol):
    """Who is told of each query the moment it is sent and answered; safe to call in threads.

    Positions are indices into the batch asked.
    """

    def sending(self, positions: list[int]) -> None:
        """These pictures are about to be sent; from here on they may be paid for.

        Raises:
          BudgetError: they may not be sent.
        """

    def answered(self, positions: list[int], answers: Answers) -> None:
        """The answers to these pictures are here."""

    def refused(self, positions: list[int]) -> None:
        """These were sent, surely not answered, and so not paid for (429, 503, no host)."""

    def failed(self, positions: list[int], error: SuspectError) -> None:
        """These, of one request, have no usable answer, and no further attempt is made."""


@runtime_checkable
class RemoteSuspect(Suspect, Protocol):
    """A suspect whose queries are paid one by one, so that each is written down at once."""

    def ask_each(self, images: np.ndarray, ledger: Ledger) -> None:
        """Asks about each picture and tells `ledger`; arguments as for `answers`.

        A `RefusedPictureError` about some pictures keeps no others from being asked; any other
        `SuspectError` ends the call. However it ends, everything that was sent has been
        answered, refused, failed or given up.
        """


class PreparedSuspect:
    """Base of the adapters: one preprocessing, one check of the answers."""

    def __init__(self, declaration: Declaration):
        self._declaration = _check.is_instance(Declaration, declaration=declaration)

    @property
    def declaration(self) -> Declaration:
        """How the model wants pictures and how it answers."""
        return self._declaration

    def answers(self, images: np.ndarray) -> Answers:
        """See `Suspect.answers`."""
        values = self._run(prepare(images, self._declaration))
        return checked(from_scores(values, self._declaration), self._declaration, len(images))

    def with_declaration(self, declaration: Declaration) -> Self:
        """The same model under another declaration; the probe compares readings with it."""
        other = copy.copy(self)
        other._declaration = _check.is_instance(Declaration, declaration=declaration)
        return other

    def _run(self, batch: np.ndarray) -> Any:
        """What the model says to a prepared batch."""
        raise NotImplementedError(f"{type(self).__name__} must define _run")


def cannot_answer(who: str, shape: tuple[int, ...], error: Exception) -> SuspectError:
    """What to say of a model that broke off at a batch of a shape.

    Example:
      >>> str(cannot_answer("the module", (2, 3, 8, 8), AssertionError("wrong height")))
      'the module cannot answer to shape (2, 3, 8, 8) (AssertionError: wrong height)'
    """
    first = (str(error).strip().splitlines() or [""])[0]
    what = f"{type(error).__name__}: {first:.120}" if first else type(error).__name__
    return SuspectError(f"{who} cannot answer to shape {shape} ({what})")
