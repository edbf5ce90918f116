"""The base of the adapters: one preprocessing, one check of the answers, one identity."""

import contextlib
import copy
import dataclasses
import re
from typing import Any, Self

import numpy as np

from anw_jax import _check
from anw_jax.errors import MissingLibraryError, SuspectError
from anw_jax.suspects.adapters.surroundings import Surroundings
from anw_jax.suspects.answers import Answers, read_answers
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.pictures import prepare

_TORCHSCRIPT = "failed in the TorchScript interpreter"
# "[ONNXRuntimeError] : 1 : FAIL : /where/it/was.cc:256 void onnxruntime::f(int, bool) Cause".
_ONNX_PREFIX = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : (?:/\S+\.\w+:\d+ .*?\) (?=[A-Z]))?"
)


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


def missing(what: str, extra: str) -> MissingLibraryError:
    """The error that names the extra to install.

    From the checkout: the package is on no index, and there anybody may take its name.

    Example:
      >>> str(missing("asking an ONNX file", "onnx"))
      "asking an ONNX file needs the extra 'onnx': pip install '.[onnx]' in the checkout"
    """
    return MissingLibraryError(
        f"{what} needs the extra {extra!r}: pip install '.[{extra}]' in the checkout"
    )
