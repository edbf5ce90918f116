"""What a suspect answers, in the four ways a model can, and how returned values are read."""

import dataclasses
import inspect
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anw_jax.errors import SuspectError
from anw_jax.suspects.declaration import ANSWER_KINDS, Declaration

_HEADER = struct.Struct("<BBI")
# What an answer of each kind consists of.
_PARTS = {
    "logits": ("scores",),
    "probabilities": ("scores",),
    "top_k": ("scores", "labels"),
    "label": ("labels",),
}
_DTYPES = (np.dtype("<f4"), np.dtype("<f8"))


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """Answers to a batch of b pictures.

    Attributes:
      kind: "logits", "probabilities", "top_k" or "label".
      scores: float32 or float64; `[b, C]` logits or probabilities, `[b, k]` probabilities of
        the labels listed, None for "label". NaN is kept: it makes a row unusable, no error.
      labels: int64; `[b, k]` for "top_k", best first, `[b]` for "label", else None.

    Example:
      >>> answers = Answers("label", labels=np.array([3, 1]))
      >>> len(answers), Answers.from_bytes(answers.to_bytes(1)).labels.tolist()
      (2, [1])
    """

    kind: str
    scores: np.ndarray | None = None
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels if self.scores is None else self.scores)

    def rows(self, index: slice | np.ndarray) -> "Answers":
        """Some of the answers, in the order of `index`."""
        pick = [None if part is None else part[index] for part in (self.scores, self.labels)]
        return Answers(self.kind, *pick)

    def to_bytes(self, index: int) -> bytes:
        """One answer as bytes, little-endian; `from_bytes` reads it back exactly."""
        scores = b"" if self.scores is None else self.scores[index]
        wide = self.scores is not None and self.scores.dtype == np.float64
        if self.scores is not None:
            scores = scores.astype(_DTYPES[wide], copy=False).tobytes()
        labels = b"" if self.labels is None else self.labels[index].astype("<i8").tobytes()
        header = _HEADER.pack(ANSWER_KINDS.index(self.kind), wide, len(scores))
        return header + scores + labels

    @classmethod
    def from_bytes(cls, body: bytes) -> "Answers":
        """A batch of one answer from its bytes."""
        kind, wide, num_bytes = _HEADER.unpack_from(body)
        name, start = ANSWER_KINDS[kind], _HEADER.size
        scores = np.frombuffer(body[start : start + num_bytes], _DTYPES[wide])[None]
        labels = np.frombuffer(body[start + num_bytes :], "<i8")
        if name == "label":
            return cls(name, None, labels)
        return cls(name, scores, labels[None] if name == "top_k" else None)

    @classmethod
    def joined(cls, parts: Sequence["Answers"]) -> "Answers":
        """Several batches in a row, of one kind; at least one."""
        first = parts[0]
        scores = None if first.scores is None else np.concatenate([p.scores for p in parts])
        labels = None if first.labels is None else np.concatenate([p.labels for p in parts])
        return cls(first.kind, scores, labels)


def checked(
    answers: Answers, declaration: Declaration, num_images: int, who: str = "the suspect"
) -> Answers:
    """Holds answers against what was declared; `who` is how errors call the suspect.

    Raises:
      SuspectError: another kind, number of answers, number of classes, or labels that are
        no classes. Values that are not finite pass; see `Answers`.
    """
    if answers.kind != declaration.answer:
        raise SuspectError(
            f"{who} declares {declaration.answer} and answers with {answers.kind}"
        )
    _check_shapes(answers, declaration, num_images, who)
    if answers.labels is not None and answers.labels.size:
        low, high = int(answers.labels.min()), int(answers.labels.max())
        if low < 0 or high >= declaration.num_classes:
            raise SuspectError(
                f"{who} declares {declaration.num_classes} classes and answers with "
                f"label {low if low < 0 else high}"
            )
    return answers


def _check_shapes(
    answers: Answers, declaration: Declaration, num_images: int, who: str
) -> None:
    kind = answers.kind
    for name, part in (("scores", answers.scores), ("labels", answers.labels)):
        if (part is None) == (name in _PARTS[kind]):
            has = "no" if part is None else "also"
            raise SuspectError(f"answers of kind {kind} have {has} {name}")
    width = declaration.k if kind == "top_k" else declaration.num_classes
    noun = "labels for each picture" if kind == "top_k" else "classes"
    for part in (answers.scores, answers.labels):
        if part is None:
            continue
        wanted_ndim = 1 if kind == "label" else 2
        if part.ndim != wanted_ndim or len(part) != num_images:
            shape = "[b]" if kind == "label" else f"[b, {'k' if kind == 'top_k' else 'C'}]"
            raise SuspectError(
                f"{who} was asked about {num_images} pictures and must answer with "
                f"{kind} {shape}; the answer has shape {part.shape}"
            )
        if part.ndim == 2 and part.shape[1] != width:
            raise SuspectError(
                f"{who} declares {width} {noun} and answers with {part.shape[1]}"
            )


_WANTED = {
    "logits": "an array of numbers [b, C]",
    "probabilities": "an array of numbers [b, C]",
    "top_k": "a pair (labels, scores) of arrays [b, k]",
    "label": "an array of integers [b]",
}
_MASKED = ("MaskedArray", "MaskedTensor")


def read_answers(
    values: object, declaration: Declaration, num_images: int, who: str = "the suspect"
) -> Answers:
    """Reads what a model returned for a batch of `num_images` pictures.

    Arrays stand for logits or probabilities `[b, C]` (floats or integers), for labels `[b]`
    (integers), and a pair (labels, scores) for the top k `[b, k]`. Where one picture was asked
    and the batch axis was dropped, it is put back. The arrays are copied: a model may write its
    next answers into the same memory.

    Args:
      values: whatever came back.
      declaration: of the suspect.
      num_images: b, how many were asked.
      who: how errors call the suspect.

    Raises:
      SuspectError: anything else. The message names the suspect, what came and what to return:
        tuples, dicts, generators, tensors that NumPy cannot read; complex, boolean, masked and
        text arrays, and arrays of Python objects.

    Example:
      >>> read_answers(np.ones(3), Declaration(3), 1).scores.shape
      (1, 3)
      >>> read_answers({"logits": np.ones((2, 3))}, Declaration(3), 2, "suspect 'net'")
      Traceback (most recent call last):
      anw_jax.errors.SuspectError: suspect 'net' declares logits and must answer with an array
      of numbers [b, C]; got a dict with the keys 'logits': return the value that holds the
      logits, such as answer['logits']
    """
    reader = _Reader(declaration.answer, who)
    ndim = 1 if declaration.answer == "label" else 2
    if declaration.answer == "top_k":
        pair = reader.pair(values)
        parts = [reader.floats(pair[1], "scores"), reader.integers(pair[0], "labels")]
    elif declaration.answer == "label":
        parts = [None, reader.integers(values)]
    else:
        parts = [reader.floats(values), None]
    if num_images == 1:
        parts = [p[None] if p is not None and p.ndim == ndim - 1 else p for p in parts]
    if isinstance(values, list) and any(p is not None and p.ndim > ndim for p in parts):
        raise reader.refused(values, _PART.format("logits"))
    return checked(Answers(declaration.answer, *parts), declaration, num_images, who)


_PART = "return the one part that holds the {0}, such as answer[0]"
_FILL = "fill what is masked, such as answer.filled(float('nan'))"


class _Reader:
    """Turns values into arrays of one kind of answer."""

    def __init__(self, kind: str, who: str):
        self._kind, self._who = kind, who

    def refused(self, values: Any, do: str, part: str = "") -> SuspectError:
        """The error: who must answer with what, what came, and what to do."""
        of_part = f" as {part}" if part else ""
        return SuspectError(
            f"{self._who} declares {self._kind} and must answer with {_WANTED[self._kind]}; "
            f"got {_described(values)}{of_part}: {do}"
        )

    def pair(self, values: Any) -> Any:
        if isinstance(values, (tuple, list)) and len(values) == 2:
            return values
        raise self.refused(values, "return (labels, scores), best first")

    def floats(self, values: Any, part: str = "") -> np.ndarray:
        array = self._array(values, part)
        if array.dtype.kind in "iu":
            return array.astype(np.float32 if array.dtype.itemsize < 4 else np.float64)
        # Bits that a float32 does not hold are kept.
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
        self._check_container(values, part)
        try:
            array = np.asarray(values)
        except Exception as error:  # each library has errors of its own
            raise self._unreadable(values, part, error) from error
        if do := _advice_on(array):
            raise self.refused(array if isinstance(values, np.ndarray) else values, do, part)
        return array

    def _unreadable(self, values: Any, part: str, error: Exception) -> SuspectError:
        do = "return a plain NumPy array"
        if type(values).__module__.partition(".")[0] == "torch":
            do = "return answer.detach().float().cpu().numpy()"
        elif isinstance(values, list):
            do = "return one array whose rows have equal length"
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return self.refused(values, f"{do} ({first:.120})", part)

    def _check_container(self, values: Any, part: str) -> None:
        what = part or self._kind
        if values is None:
            raise self.refused(values, "end the function with return", part)
        if isinstance(values, Mapping):
            key = next(iter(values), self._kind)
            do = f"return the value that holds the {what}, such as answer[{key!r:.40}]"
            raise self.refused(values, do, part)
        if isinstance(values, tuple):
            raise self.refused(values, _PART.format(what), part)
        if inspect.iscoroutine(values):
            values.close()
            raise self.refused(values, "return the answer itself, from a plain def", part)
        if hasattr(values, "__next__") or isinstance(values, (set, frozenset)):
            raise self.refused(values, "return np.stack(list(answer))", part)
        if _is_masked(values):
            raise self.refused(values, _FILL, part)
        if isinstance(values, list):
            self._check_list(values, part)

    def _check_list(self, values: list, part: str) -> None:
        for value in values:
            if isinstance(value, (tuple, list)):
                # Rows of plain numbers are as good as arrays of them.
                if any(isinstance(v, (list, tuple, Mapping)) or _is_masked(v) for v in value):
                    raise self.refused(values, _PART.format(part or self._kind), part)
            elif isinstance(value, Mapping):
                do = f"return one array, of the value in each that holds the {self._kind}"
                raise self.refused(values, do, part)
            elif _is_masked(value):
                raise self.refused(values, _FILL, part)


def _is_masked(values: Any) -> bool:
    return any(kind.__name__ in _MASKED for kind in type(values).__mro__)


def _advice_on(array: np.ndarray) -> str:
    """What to return in place of an array that holds no plain numbers; "" where it does."""
    kind = array.dtype.kind
    if kind == "c":
        return "return real numbers: the imaginary part would be lost"
    if kind == "b":
        return "return the numbers themselves, not whether they pass"
    if kind in "SUT":
        return "return numbers, not text"
    if kind in "mM":
        return "return numbers, not times"
    # bfloat16 and the like call themselves void, but turn into float32.
    if kind == "V" and issubclass(array.dtype.type, np.void):
        return "return one array of numbers without fields"
    if kind == "O" and not array.ndim:
        return "return a plain NumPy array"
    if kind == "O":
        return "return one array of numbers whose rows have equal length"
    return ""


def _described(values: Any) -> str:
    """What came, by its type."""
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
