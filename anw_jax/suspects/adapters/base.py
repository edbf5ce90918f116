"""Common code of the adapters: preprocessing, answer validation, model identity."""

import contextlib
import copy
import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from anw_jax import _check
from anw_jax.errors import MissingLibraryError, SuspectError
from anw_jax.suspects.adapters.surroundings import Surroundings
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.pictures import prepare
from anw_jax.suspects.protocol import Answers, checked

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
            values = self._run(batch)
            answers = read_answers(values, self._declaration, filled, self.display_name)
        except (SuspectError, KeyboardInterrupt):
            raise
        except BaseException as error:  # libraries and models have errors of their own
            shape = (number, *batch.shape[1:])
            message = (
                f"{self.display_name} fails on a batch of shape {shape} ({cause_of(error)})"
            )
            raise SuspectError(message) from error
        return answers.rows(slice(number))

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


_WANTED = {
    "logits": "an array of numbers [b, C]",
    "probabilities": "an array of numbers [b, C]",
    "top_k": "a pair (labels, scores) of arrays [b, k]",
    "label": "an array of integers [b]",
    "error": "an array of numbers [b]",
}
_MASKED = ("MaskedArray", "MaskedTensor")
_PART = "return the one part that holds the {0}, such as answer[0]"
_FILL = "fill what is masked, such as answer.filled(float('nan'))"
# What to return in place of an array, by the kind of its dtype.
_ADVICE = {
    "c": "return real numbers: the imaginary part would be lost",
    "b": "return the numbers themselves, not whether they pass",
    **dict.fromkeys("SUT", "return numbers, not text"),
    **dict.fromkeys("mM", "return numbers, not times"),
}


def read_answers(
    values: object, declaration: Declaration, num_images: int, display_name: str = "the suspect"
) -> Answers:
    """Read what a model returned for a batch of `num_images` pictures.

    Logits or probabilities are an array `[b, C]` (floats or integers), labels an array `[b]`
    (integers), the top k a pair (labels, scores) of arrays `[b, k]`, errors an array `[b]` or
    `[b, 1]`. A missing batch axis is added if one picture was queried. The arrays are copied: a
    model may write its next answers into the same memory.

    Args:
      values: what the model returned.
      declaration: of the suspect.
      num_images: b.
      display_name: name of the suspect in error messages.

    Raises:
      SuspectError: anything else. The message names the suspect, what came and what to return:
        for tuples, dicts, generators, tensors that NumPy cannot read; complex, boolean, masked
        and text arrays, and arrays of Python objects.

    Example:
      >>> read_answers(np.ones(3), Declaration(3), 1).scores.shape
      (1, 3)
      >>> read_answers({"logits": np.ones((2, 3))}, Declaration(3), 2, "suspect 'net'")
      Traceback (most recent call last):
      anw_jax.errors.SuspectError: suspect 'net' declares logits and must answer with an array
      of numbers [b, C]; got a dict with the keys 'logits': return the value that holds the
      logits, such as answer['logits']
    """
    reader = _Reader(declaration.answer, display_name)
    ndim = 1 if declaration.answer == "label" else 2
    if declaration.answer == "top_k":
        if not isinstance(values, (tuple, list)) or len(values) != 2:
            raise reader.refused(values, "return (labels, scores), best first")
        parts = [reader.floats(values[1], "scores"), reader.integers(values[0], "labels")]
    elif declaration.answer == "label":
        parts = [None, reader.integers(values)]
    else:
        parts = [reader.floats(values), None]
    if declaration.answer == "error" and parts[0].shape in ((), (num_images,)):
        parts = [parts[0].reshape(-1, 1), None]
    if num_images == 1:
        parts = [p[None] if p is not None and p.ndim == ndim - 1 else p for p in parts]
    if isinstance(values, list) and any(p is not None and p.ndim > ndim for p in parts):
        raise reader.refused(values, _PART.format("logits"))
    return checked(Answers(declaration.answer, *parts), declaration, num_images, display_name)


class _Reader:
    """Turns returned values into arrays of one kind of answer."""

    def __init__(self, kind: str, display_name: str):
        self._kind, self._display_name = kind, display_name

    def refused(self, values: Any, do: str, part: str = "") -> SuspectError:
        """Return an error that states the required answer, the actual one, and a remedy."""
        of_part = f" as {part}" if part else ""
        return SuspectError(
            f"{self._display_name} declares {self._kind} and must answer with "
            f"{_WANTED[self._kind]}; got {_described(values)}{of_part}: {do}"
        )

    def floats(self, values: Any, part: str = "") -> np.ndarray:
        array = self._array(values, part)
        if array.dtype.kind in "iu":
            return array.astype(np.float32 if array.dtype.itemsize < 4 else np.float64)
        # Float64 keeps the bits that a float32 does not hold.
        wide = array.dtype.kind == "f" and array.dtype.itemsize > 4
        return array.astype(np.float64 if wide else np.float32)

    def integers(self, values: Any, part: str = "") -> np.ndarray:
        array = self._array(values, part)
        if array.dtype.kind not in "iu":
            do = "return integer labels, such as scores.argmax(axis=1)"
            if part:
                do = "return (labels, scores): torch.topk gives the scores first"
            raise self.refused(values, do, part)
        if array.dtype == np.uint64 and array.size and array.max() >= 2**63:
            raise self.refused(values, "return labels below the number of classes", part)
        return array.astype(np.int64)

    def _array(self, values: Any, part: str) -> np.ndarray:
        if do := _advice_on_container(values, part or self._kind, self._kind):
            raise self.refused(values, do, part)
        try:
            array = np.asarray(values)
        except Exception as error:  # each library has errors of its own
            do = "return a plain NumPy array"
            if type(values).__module__.partition(".")[0] == "torch":
                do = "return answer.detach().float().cpu().numpy()"
            elif isinstance(values, list):
                do = "return one array whose rows have equal length"
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise self.refused(values, f"{do} ({first:.120})", part) from error
        do = _ADVICE.get(array.dtype.kind, "")
        if array.dtype.kind == "O":
            do = "return one array of numbers whose rows have equal length"
            do = do if array.ndim else "return a plain NumPy array"
        # The dtype of bfloat16 and the like has the kind of void, but turns into float32.
        if array.dtype.kind == "V" and issubclass(array.dtype.type, np.void):
            do = "return one array of numbers without fields"
        if do:
            raise self.refused(array if isinstance(values, np.ndarray) else values, do, part)
        return array


def _advice_on_container(values: Any, what: str, kind: str) -> str:
    """Return what to return in place of a container; "" if NumPy may read it."""
    if values is None:
        return "end the function with return"
    if isinstance(values, Mapping):
        key = next(iter(values), kind)
        return f"return the value that holds the {what}, such as answer[{key!r:.40}]"
    if isinstance(values, tuple):
        return _PART.format(what)
    if inspect.iscoroutine(values):
        values.close()
        return "return the answer itself, from a plain def"
    if hasattr(values, "__next__") or isinstance(values, (set, frozenset)):
        return "return np.stack(list(answer))"
    if _is_masked(values):
        return _FILL
    for value in values if isinstance(values, list) else ():
        if isinstance(value, Mapping):
            return f"return one array, of the value in each that holds the {kind}"
        if _is_masked(value):
            return _FILL
        # Rows of plain numbers are as good as arrays of them.
        inner = value if isinstance(value, (tuple, list)) else ()
        if any(isinstance(v, (list, tuple, Mapping)) or _is_masked(v) for v in inner):
            return _PART.format(what)
    return ""


def _is_masked(values: Any) -> bool:
    return any(kind.__name__ in _MASKED for kind in type(values).__mro__)


def _described(values: Any) -> str:
    """Describe what was returned, by its type."""
    if isinstance(values, np.ndarray) and not _is_masked(values):
        kind = "Python objects" if values.dtype.kind == "O" else "text"
        named = values.dtype.kind in "OSUT"
        return f"an array of {kind if named else values.dtype} {values.shape}"
    kind = type(values)
    name = "None" if values is None else kind.__name__
    if isinstance(values, Mapping):
        keys = ", ".join(f"{key!r:.40}" for key in list(values)[:5])
        return f"a {name} with the keys {keys}" if keys else f"an empty {name}"
    if isinstance(values, (tuple, list)):
        parts = ", ".join(dict.fromkeys(type(part).__name__ for part in values[:8]))
        return f"a {name} of {len(values)} ({parts})" if parts else f"an empty {name}"
    if values is None or kind.__module__ == "builtins":
        return name
    dtype = getattr(values, "dtype", None)
    of_dtype = f" of {dtype}" if dtype is not None else ""
    return f"{kind.__module__}.{name}{of_dtype}"
