"""Common code of the adapters: preprocessing, reading answers, model identity."""

import contextlib
import copy
import dataclasses
import re
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from anw_jax import _check
from anw_jax.errors import MissingLibraryError, SuspectError
from anw_jax.suspects.adapters.returned import read_answers, read_images
from anw_jax.suspects.adapters.surroundings import Surroundings
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.pictures import prepare
from anw_jax.suspects.protocol import Answers

_TORCHSCRIPT = "failed in the TorchScript interpreter"
# "[ONNXRuntimeError] : 1 : FAIL : /where/it/was.cc:256 void onnxruntime::f(int, bool) Cause".
_ONNX_PREFIX = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : (?:/\S+\.\w+:\d+ .*?\) (?=[A-Z]))?"
)
# In the repr of an object without one of its own; the number differs in every process.
ADDRESS = " at 0x"


class PreparedSuspect:
    """Base of the adapters; a subclass defines `_run`.

    Args:
      declaration: see `Suspect`.
      together: largest number of pictures in one call; None for no limit. It enters the
        identity, because a model whose answers depend on the rest of the batch becomes another
        model.

    Attributes:
      display_name: name used in error messages.
      surroundings: where its code runs; None for a model that the caller built.
    """

    display_name = "the suspect"
    surroundings: Surroundings | None = None
    _clips = False
    # Largest number of pictures that the model itself takes in one call; None for no limit.
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
        """Which pictures the model takes and how it answers."""
        return self._declaration

    def answers(self, images: np.ndarray) -> Answers:
        """See `Suspect.answers`."""
        batch = prepare(images, self._declaration)
        size = min(self._together or len(batch), self._at_once or len(batch))
        with self.surroundings or contextlib.nullcontext():
            return Answers.joined(
                [self._answers(batch[at : at + size]) for at in range(0, len(batch), size)]
            )

    def _answers(self, batch: np.ndarray) -> Answers:
        number = len(batch)
        filled = self._filled(number)
        if filled > number:
            # With the last picture: zeros could change answers that depend on the batch.
            more = np.repeat(batch[-1:], filled - number, axis=0)
            batch = np.concatenate([batch, more])
        try:
            answers = self._read(self._run(batch), batch.shape)
        except (SuspectError, KeyboardInterrupt):
            raise
        except BaseException as error:  # libraries and models have errors of their own
            shape = (number, *batch.shape[1:])
            message = (
                f"{self.display_name} fails on a batch of shape {shape} ({cause_of(error)})"
            )
            raise SuspectError(message) from error
        return answers.rows(slice(number))

    def _read(self, values: Any, shape: tuple[int, ...]) -> Answers:
        how = self._declaration, shape, self.display_name
        if self._declaration.answer == "image":
            return read_images(values, *how, clips=self._clips)
        return read_answers(values, how[0], shape[0], self.display_name)

    def clipped(self) -> Self:
        """Return the same model whose images are clipped to the declared range.

        Many networks leave it by a little, and a file of an image cannot. It enters the
        identity.

        Raises:
          ValueError: a model that answers with something else than images.
        """
        before = self._declaration
        _check.one_of(("image",), answer=before.answer)
        identity = f"{before.identity} clipped"
        other = self.with_declaration(dataclasses.replace(before, identity=identity))
        other._clips = True
        return other

    def with_declaration(self, declaration: Declaration) -> Self:
        """Return the same model under another declaration; the probe compares readings."""
        other = copy.copy(self)
        other._declaration = _check.is_instance(Declaration, declaration=declaration)
        return other

    def _filled(self, number: int) -> int:
        """Return the size to which a batch is filled up with copies of its last picture."""
        return number

    def _run(self, batch: np.ndarray) -> Any:
        """Return the model's output for a prepared batch; any error may be raised."""
        raise NotImplementedError(f"{type(self).__name__} must define _run")


def next_power_of_two(number: int) -> int:
    """Return the smallest power of two that is not below, so that few sizes are compiled.

    Example:
      >>> [next_power_of_two(number) for number in (1, 2, 5)]
      [1, 2, 8]
    """
    return 1 << max(0, number - 1).bit_length()


def cause_of(error: BaseException, most: int = 240) -> str:
    r"""Return the line of a library's error that contains the cause, with the error's name.

    TorchScript puts it last, after its own stack; others put it first.

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
    """Return the error that names the extra to install.

    It suggests installing from the checkout: the package is not on PyPI, where its name could
    be squatted.

    Example:
      >>> str(missing("querying an ONNX file", "onnx"))
      "querying an ONNX file needs the extra 'onnx': pip install '.[onnx]' in the checkout"
    """
    return MissingLibraryError(
        f"{what} needs the extra {extra!r}: pip install '.[{extra}]' in the checkout"
    )


def with_identity(
    declaration: Declaration, identity: str | Callable[[], str] | None
) -> Declaration:
    """Return the declaration with an identity, unless the caller gave it one.

    Args:
      declaration: of the suspect.
      identity: or a function that computes it, if that takes long or may not be possible.
    """
    _check.is_instance(Declaration, declaration=declaration)
    if identity is None or declaration.identity:
        return declaration
    identity = identity() if callable(identity) else identity
    return dataclasses.replace(declaration, identity=_check.is_instance(str, identity=identity))


def check_no_address(text: str) -> str:
    """Return the text if it is the same in every process.

    Raises:
      ValueError: there is a memory address in it.
    """
    if ADDRESS in text:
        end = text.index(ADDRESS) + len(ADDRESS)
        raise needs_name(text[max(0, end - 60) : end])
    return text


def needs_name(what: Any) -> ValueError:
    """Return the error for a part of a model that only its memory address identifies."""
    return ValueError(
        "declaration must have an identity that names the model, since nothing but an address "
        f"tells one part of it from others: {what!r:.80}"
    )
