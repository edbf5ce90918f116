"""What a suspect answers, in the four ways a model can."""

import dataclasses
import struct
from collections.abc import Sequence

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
