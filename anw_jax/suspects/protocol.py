"""The `Suspect` protocols and the `Answers` they return."""

import dataclasses
import struct
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from anw_jax.errors import SuspectError
from anw_jax.suspects.declaration import ANSWER_KINDS, Declaration

_HEADER = struct.Struct("<BBI")
# The parts of an answer of each kind.
_PARTS = {
    "logits": ("scores",),
    "probabilities": ("scores",),
    "top_k": ("scores", "labels"),
    "label": ("labels",),
    "error": ("scores",),
    "image": ("scores",),
}
_SIDES = struct.Struct("<II")
_DTYPES = (np.dtype("<f4"), np.dtype("<f8"))


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """Answers to a batch of b pictures.

    Attributes:
      kind: "logits", "probabilities", "top_k", "label", "error" or "image".
      scores: float32 or float64; `[b, C]` logits or probabilities, `[b, k]` probabilities of
        the labels listed, `[b, 1]` errors, None for "label". NaN is kept: it makes a row
        unusable. For "image" uint8 `[b, H, W, 3]`, RGB.
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
        """Return some of the answers, in the order of `index`."""
        pick = [None if part is None else part[index] for part in (self.scores, self.labels)]
        return Answers(self.kind, *pick)

    def to_bytes(self, index: int) -> bytes:
        """Return one answer as bytes, little-endian, for `from_bytes`."""
        if self.kind == "image":
            picture = self.scores[index]
            header = _HEADER.pack(ANSWER_KINDS.index(self.kind), 0, picture.size)
            return header + _SIDES.pack(*picture.shape[:2]) + picture.tobytes()
        scores = b"" if self.scores is None else self.scores[index]
        wide = self.scores is not None and self.scores.dtype == np.float64
        if self.scores is not None:
            scores = scores.astype(_DTYPES[wide], copy=False).tobytes()
        labels = b"" if self.labels is None else self.labels[index].astype("<i8").tobytes()
        header = _HEADER.pack(ANSWER_KINDS.index(self.kind), wide, len(scores))
        return header + scores + labels

    @classmethod
    def from_bytes(cls, body: bytes) -> "Answers":
        """Read a batch of one answer from its bytes."""
        kind, wide, num_bytes = _HEADER.unpack_from(body)
        name, start = ANSWER_KINDS[kind], _HEADER.size
        if name == "image":
            sides = _SIDES.unpack_from(body, start)
            pixels = np.frombuffer(body[start + _SIDES.size :], np.uint8)
            return cls(name, pixels.reshape(1, *sides, 3))
        scores = np.frombuffer(body[start : start + num_bytes], _DTYPES[wide])[None]
        labels = np.frombuffer(body[start + num_bytes :], "<i8")
        if name == "label":
            return cls(name, None, labels)
        return cls(name, scores, labels[None] if name == "top_k" else None)

    @classmethod
    def joined(cls, parts: Sequence["Answers"]) -> "Answers":
        """Concatenate batches of one kind; at least one."""
        first = parts[0]
        scores = None if first.scores is None else np.concatenate([p.scores for p in parts])
        labels = None if first.labels is None else np.concatenate([p.labels for p in parts])
        return cls(first.kind, scores, labels)


def checked(
    answers: Answers,
    declaration: Declaration,
    num_images: int,
    display_name: str = "the suspect",
) -> Answers:
    """Return the answers if they are as declared.

    `display_name` is the name of the suspect in error messages.

    Raises:
      SuspectError: another kind, number of answers or number of classes, labels that are not
        classes, or a negative error. Values that are not finite pass; see `Answers`.
    """
    kind = answers.kind
    if kind != declaration.answer:
        raise SuspectError(
            f"{display_name} declares {declaration.answer} and answers with {kind}"
        )
    if kind == "image":
        return _checked_images(answers, num_images, display_name)
    _check_shapes(answers, declaration.width, num_images, display_name)
    if answers.labels is not None and answers.labels.size:
        low, high = int(answers.labels.min()), int(answers.labels.max())
        if low < 0 or high >= declaration.num_classes:
            raise SuspectError(
                f"{display_name} declares {declaration.num_classes} classes and answers with "
                f"label {low if low < 0 else high}"
            )
    if kind == "error" and (answers.scores < 0).any():
        raise SuspectError(
            f"{display_name} declares errors, which are at least 0, and answers with "
            f"{np.nanmin(answers.scores):.6g}: give a loss of which lower is better, such as a "
            "squared error"
        )
    return answers


def _check_shapes(answers: Answers, width: int, num_images: int, display_name: str) -> None:
    kind = answers.kind
    noun, wanted = "classes", f"{kind} [b, C]"
    if kind == "top_k":
        noun, wanted = "labels for each picture", "top_k [b, k]"
    elif kind == "label":
        wanted = "label [b]"
    elif kind == "error":
        noun, wanted = "error for each picture", "error [b, 1]"
    for name, part in (("scores", answers.scores), ("labels", answers.labels)):
        if (part is None) == (name in _PARTS[kind]):
            has = "no" if part is None else "also"
            raise SuspectError(f"answers of kind {kind} have {has} {name}")
        if part is None:
            continue
        if part.ndim != (1 if kind == "label" else 2) or len(part) != num_images:
            raise SuspectError(
                f"{display_name} was given {num_images} pictures and must answer with "
                f"{wanted}; the answer has shape {part.shape}"
            )
        if part.ndim == 2 and part.shape[1] != width:
            raise SuspectError(
                f"{display_name} declares {width} {noun} and answers with {part.shape[1]}"
            )


def _checked_images(answers: Answers, num_images: int, display_name: str) -> Answers:
    """Return the answers if they are images; whoever queried knows of which size."""
    images = answers.scores
    is_images = isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 4
    if not is_images or images.shape[3] != 3 or len(images) != num_images:
        raise SuspectError(
            f"{display_name} was given {num_images} pictures and must answer with images, "
            f"uint8 [b, H, W, 3]; got {getattr(images, 'dtype', None)} "
            f"{getattr(images, 'shape', None)}"
        )
    return answers


@runtime_checkable
class Suspect(Protocol):
    """Any model that can be queried.

    Attributes:
      declaration: which pictures it takes and how it answers; never changes.
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
    """A suspect that bills each query, so each one is recorded immediately."""

    def ask_each(self, images: np.ndarray, ledger: Ledger) -> None:
        """Query each image and report to `ledger`; arguments as for `answers`.

        A `RefusedPictureError` about some pictures does not stop the others; any other
        `SuspectError` ends the call. However it ends, each picture that was sent has been
        answered, refused, failed or given up.
        """
