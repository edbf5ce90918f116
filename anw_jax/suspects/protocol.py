"""What every suspect offers, however its model is reached."""

from typing import Protocol, runtime_checkable

import numpy as np

from anw_jax.errors import SuspectError
from anw_jax.suspects.answers import Answers
from anw_jax.suspects.declaration import Declaration


@runtime_checkable
class Suspect(Protocol):
    """Any model that can be queried.

    Attributes:
      declaration: how it wants pictures and how it answers; never changes.
    """

    @property
    def declaration(self) -> Declaration:
        """See the class."""

    def answers(self, images: np.ndarray) -> Answers:
        """Answer to float32 pictures `[b, H, W, 3]`, RGB in [0, 1], b ≥ 1.

        Raises:
          SuspectError: the model cannot be queried, or does not answer as declared.
        """


class Ledger(Protocol):
    """Records each query when it is sent and when it is answered; safe to call in threads.

    Positions are indices into the batch that is queried.
    """

    def sending(self, positions: list[int]) -> None:
        """Record that these pictures are about to be sent and may be paid for from now on.

        Raises:
          BudgetError: they may not be sent.
        """

    def answered(self, positions: list[int], answers: Answers) -> None:
        """Record the answers to these pictures."""

    def refused(self, positions: list[int]) -> None:
        """Record that these were certainly not answered or paid for (429, 503, no host)."""

    def failed(self, positions: list[int], error: SuspectError) -> None:
        """Record that these, of one request, have no usable answer after the last attempt."""


@runtime_checkable
class RemoteSuspect(Suspect, Protocol):
    """A suspect whose queries are paid for one by one, so that each is recorded at once."""

    def ask_each(self, images: np.ndarray, ledger: Ledger) -> None:
        """Query each picture and tell `ledger`; arguments as for `answers`.

        A `RefusedPictureError` about some pictures does not stop the others; any other
        `SuspectError` ends the call. However it ends, each picture that was sent has been
        answered, refused, failed or given up.
        """
