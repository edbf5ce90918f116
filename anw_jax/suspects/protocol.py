"""The protocol that every way to ask a model keeps."""

from typing import Protocol, runtime_checkable

import numpy as np

from anw_jax.errors import SuspectError
from anw_jax.suspects.answers import Answers
from anw_jax.suspects.declaration import Declaration


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
