"""The protocol that every way to ask a model keeps."""

import contextlib
import copy
import dataclasses
import re
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from anw_jax import _check
from anw_jax.errors import SuspectError
from anw_jax.suspects.answers import Answers
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.preparing import prepare
from anw_jax.suspects.returned import read_answers
from anw_jax.suspects.surroundings import Surroundings

_TORCHSCRIPT = "failed in the TorchScript interpreter"
# "[ONNXRuntimeError] : 1 : FAIL : /where/it/was.cc:256 void onnxruntime::f(int, bool) Cause".
_ONNX_PREFIX = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : (?:/\S+\.\w+:\d+ .*?\) (?=[A-Z]))?"
)


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
    """Base of the adapters: one preprocessing, one check of the answers.

    Args:
      declaration: see `Suspect`.
      together: how many pictures are asked at a time, at most; None for all. It enters the
        identity: a model whose answers hang on the rest of the batch is another one then.

    Attributes:
      who: how errors call it.
      surroundings: where its code runs; None for a model that the caller made.
    """

    who = "the suspect"
    surroundings: Surroundings | None = None
    # Most pictures that the model itself takes in one call; None for any number.
    _at_once: int | None = None

    def __init__(self, declaration: Declaration, *, together: int | None = None):
        _check.is_instance(Declaration, declaration=declaration)
        if together is not None:
            together = _check.integer_at_least(1, together=together)
            identity = f"{declaration.identity} asked {together} at a time"
            declaration = dataclasses.replace(declaration, identity=identity)
        self._declaration, self._together = declaration, together

    @property
    def declaration(self) -> Declaration:
        """How the model wants pictures and how it answers."""
        return self._declaration

    def answers(self, images: np.ndarray) -> Answers:
        """See `Suspect.answers`."""
        batch = prepare(images, self._declaration)
        size = min(self._together or len(batch), self._at_once or len(batch))
        with self.surroundings or contextlib.nullcontext():
            return Answers.joined(
                [self._asked(batch[at : at + size]) for at in range(0, len(batch), size)]
            )

    def _asked(self, batch: np.ndarray) -> Answers:
        number = len(batch)
        filled = self._filled(number)
        if filled > number:
            # With the last picture: zeros could make a model of batches answer otherwise.
            more = np.repeat(batch[-1:], filled - number, axis=0)
            batch = np.concatenate([batch, more])
        try:
            values = self._run(batch)
            answers = read_answers(values, self._declaration, filled, self.who)
        except (SuspectError, KeyboardInterrupt):
            raise
        except BaseException as error:  # libraries and models have errors of their own
            shape = (number, *batch.shape[1:])
            raise cannot_answer(self.who, shape, error) from error
        return answers.rows(slice(number))

    def with_declaration(self, declaration: Declaration) -> Self:
        """The same model under another declaration; the probe compares readings with it."""
        other = copy.copy(self)
        other._declaration = _check.is_instance(Declaration, declaration=declaration)
        return other

    def _filled(self, number: int) -> int:
        """How many pictures are asked in place of `number`; the rest are copies."""
        return number

    def _run(self, batch: np.ndarray) -> Any:
        """What the model says to a prepared batch; errors of all kinds may leave it."""
        raise NotImplementedError(f"{type(self).__name__} must define _run")


def next_power_of_two(number: int) -> int:
    """The least power of two that is not below: few sizes of batch are compiled.

    Example:
      >>> [next_power_of_two(number) for number in (1, 2, 5)]
      [1, 2, 8]
    """
    return 1 << max(0, number - 1).bit_length()


def cannot_answer(who: str, shape: tuple[int, ...], error: BaseException) -> SuspectError:
    """What to say of a model that broke off at a batch of a shape.

    Example:
      >>> str(cannot_answer("the suspect", (2, 3, 8, 8), AssertionError("wrong height")))
      'the suspect cannot answer to shape (2, 3, 8, 8) (AssertionError: wrong height)'
    """
    return SuspectError(f"{who} cannot answer to shape {shape} ({cause_of(error)})")


def cause_of(error: BaseException, most: int = 240) -> str:
    r"""The line of a library's error that tells the cause, with the error's name.

    TorchScript says it last, after its own stack; others say it first.

    Example:
      >>> cause_of(ValueError("no such file\nat line 3"))
      'ValueError: no such file'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    line = lines[-1] if _TORCHSCRIPT in lines[0] else lines[0]
    return f"{type(error).__name__}: {_ONNX_PREFIX.sub('', line):.{most}}"
