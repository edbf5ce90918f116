"""What a model returned for a batch: read as answers, or refused with what to return."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from anw_jax.errors import SuspectError
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.pictures import restored
from anw_jax.suspects.protocol import Answers, checked

_WANTED = {
    "logits": "an array of numbers [b, C]",
    "probabilities": "an array of numbers [b, C]",
    "top_k": "a pair (labels, scores) of arrays [b, k]",
    "label": "an array of integers [b]",
    "error": "an array of numbers [b]",
    "image": "an array of pictures like those it is given",
}
_HALF_LEVEL = 0.5 / 255.0
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


def read_images(
    values: object,
    declaration: Declaration,
    shape: tuple[int, ...],
    display_name: str = "the suspect",
    *,
    clips: bool = False,
) -> Answers:
    """Read the pictures that a model returned for a prepared batch, rounded to 8 bits.

    Args:
      values: what the model returned.
      declaration: of the suspect.
      shape: of the prepared batch.
      display_name: name of the suspect in error messages.
      clips: whether values outside the declared range are clipped.

    Raises:
      SuspectError: no array of numbers, another shape than that of the batch, values that are
        not finite, or more than half a level outside the declared range.

    Example:
      >>> white = np.ones((1, 2, 2, 3))
      >>> read_images(white, Declaration(answer="image"), white.shape).scores[0, 0, 0].tolist()
      [255, 255, 255]
    """
    array = _Reader("image", display_name).floats(values)
    if array.shape != tuple(shape) and (1, *array.shape) != tuple(shape):
        raise SuspectError(
            f"{display_name} must answer pictures {list(shape)} with pictures of the same "
            f"shape ({declaration.layout}), got {list(array.shape)}: it is a model of another "
            "image size or number of channels, or its layout is declared wrongly"
        )
    images = restored(array.reshape(shape), declaration)
    if not np.isfinite(images).all():
        raise SuspectError(f"{display_name} answers with values that are NaN or infinite")
    low, high = (float(bound) for bound in (images.min(), images.max()))
    if not clips and (low < -_HALF_LEVEL or high > 1 + _HALF_LEVEL):
        raise SuspectError(
            f"{display_name} declares value_range {declaration.value_range!r} and answers with "
            f"values from {low:.3g} to {high:.3g}, where 0 is black and 1 white: correct "
            "value_range, or set options.clip = true (in Python: clipped()) if it only lacks "
            "the clipping of a file"
        )
    levels = np.rint(255.0 * np.clip(images, 0.0, 1.0)).astype(np.uint8)
    return Answers("image", np.ascontiguousarray(levels))


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
