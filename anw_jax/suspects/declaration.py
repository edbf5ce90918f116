"""The declaration of a suspect: its input and output format."""

import dataclasses
import functools
import hashlib
from typing import Any

from anw_jax import _check, _json

LAYOUTS = ("NHWC", "NCHW")
CHANNELS = ("RGB", "BGR")
RANGES = {"unit": (0.0, 1.0), "bytes": (0.0, 255.0), "signed": (-1.0, 1.0)}
# In this order in files of answers: a new kind comes last.
ANSWER_KINDS = ("logits", "probabilities", "top_k", "label", "error", "image")
_WITHOUT_CLASSES = ("error", "image")

_TAG = b"anw_jax/v1/declaration\0"


@dataclasses.dataclass(frozen=True)
class Declaration:
    """What a model takes and how it answers; frozen before the first query.

    Pictures of an audit are RGB, `[b, H, W, 3]`, in [0, 1]; `prepare` converts them to what is
    declared here, in the same way for every adapter.

    Attributes:
      num_classes: C, at least 2; None with "error" and "image", and only there.
      answer: "logits", "probabilities", "top_k" (labels with probabilities), "label",
        "error": one number for each picture, a loss that the model's own code computes (a
        denoising or reconstruction error), at least 0; lower means a better fit; or "image":
        a picture of the same size, in the layout, channel order and value range of the input,
        without mean and std.
      input_size: (H, W) that the model takes; None for pictures of any size.
      layout: "NHWC" (channels last) or "NCHW".
      channels: "RGB" or "BGR".
      value_range: "unit" [0, 1], "bytes" [0, 255] or "signed" [-1, 1].
      mean: subtracted from each channel after the range is applied, and in its units; always
        in the order red, green, blue.
      std: divisor of the difference, above 0; in the order of `mean`.
      k: number of labels in a "top_k" answer, else None.
      decimals: digits after the point to which the model rounds its probabilities, None for
        no rounding.
      deterministic: whether a picture always gets the same answer. If not, the probe reports
        an error, or only a warning if False is declared, as for a service that adds noise.
      cost_per_query: of one picture, in any unit.
      identity: which model this is, such as the SHA-256 of its file; adapters fill it in.

    Raises:
      TypeError, ValueError: a value outside these ranges, or `k` that does not fit `answer`.

    Example:
      >>> declaration = Declaration(10, "logits", (32, 32), layout="NCHW")
      >>> declaration.digest[:16]
      'f763a208f283d7b7'
    """

    num_classes: int | None = None
    answer: str = "logits"
    input_size: tuple[int, int] | None = None
    layout: str = "NHWC"
    channels: str = "RGB"
    value_range: str = "unit"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    k: int | None = None
    decimals: int | None = None
    deterministic: bool = True
    cost_per_query: float = 0.0
    identity: str = ""

    def __post_init__(self):
        # As plain numbers: JSON has none of NumPy's.
        for name, least in (("num_classes", 2), ("k", 1), ("decimals", 1)):
            value = getattr(self, name)
            is_needed = name == "num_classes" and self.answer not in _WITHOUT_CLASSES
            if value is not None or is_needed:
                value = _check.integer_at_least(least, **{name: value})
            object.__setattr__(self, name, value)
        _check.one_of(ANSWER_KINDS, answer=self.answer)
        _check.one_of(LAYOUTS, layout=self.layout)
        _check.one_of(CHANNELS, channels=self.channels)
        _check.one_of(RANGES, value_range=self.value_range)
        if self.input_size is not None:
            object.__setattr__(self, "input_size", _sizes(self.input_size))
        for name in ("mean", "std"):
            object.__setattr__(self, name, _three(name, getattr(self, name)))
        for value in self.std:
            _check.positive(std=value)
        self._check_answer()
        _check.is_instance(bool, deterministic=self.deterministic)
        _check.in_interval(0.0, 1e12, cost_per_query=self.cost_per_query)
        _check.is_instance(str, identity=self.identity)

    @property
    def width(self) -> int:
        """Numbers, or labels, in one answer: C, k for "top_k", 1 for "label" and "error".

        Answers that are images have as many as the picture, and not this.
        """
        if self.answer in ("label", "error"):
            return 1
        return self.k if self.answer == "top_k" else self.num_classes

    def _check_answer(self) -> None:
        if self.answer in _WITHOUT_CLASSES and self.num_classes is not None:
            raise ValueError(
                f"num_classes must be left out with answer={self.answer!r}, which has no "
                f"classes; got {self.num_classes}"
            )
        if (self.k is None) == (self.answer == "top_k"):
            raise ValueError(
                "k must be given with answer='top_k' and only there, "
                f"got answer={self.answer!r}, k={self.k!r}"
            )
        if self.k is not None and self.k > self.num_classes:
            raise ValueError(
                f"k must be at most num_classes = {self.num_classes}, got {self.k}"
            )
        if self.decimals is not None and self.answer not in ("probabilities", "top_k"):
            raise ValueError(
                "decimals must be None unless the answers are probabilities, "
                f"got answer={self.answer!r}, decimals={self.decimals}"
            )

    @functools.cached_property  # every query needs it
    def digest(self) -> str:
        """SHA-256, as hex, of all fields but the cost: they decide what an answer means."""
        fields = self.as_json()
        del fields["cost_per_query"]
        return hashlib.sha256(_TAG + _json.canonical(fields)).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """Return plain values for `from_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Declaration":
        """Read a declaration from plain values.

        Raises:
          TypeError, ValueError: an unknown field, or a value out of range.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for name in fields:
            _check.one_of(names, **{"field of a declaration": name})
        if "answer" in fields:
            _check.one_of(ANSWER_KINDS, answer=fields["answer"])
        if "num_classes" not in fields and fields.get("answer") not in _WITHOUT_CLASSES:
            raise ValueError(
                "a declaration must name num_classes, unless answer is one of "
                f"{', '.join(_WITHOUT_CLASSES)}"
            )
        return cls(**fields)


def _sizes(value: Any) -> tuple[int, int]:
    sizes = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(sizes) != 2:
        raise ValueError(f"input_size must be (height, width) or None, got {value!r}")
    return tuple(_check.integer_at_least(1, input_size=size) for size in sizes)


def _three(name: str, value: Any) -> tuple[float, float, float]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(values) != 3:
        raise ValueError(f"{name} must have three entries (red, green, blue), got {value!r}")
    return tuple(_check.finite(**{name: entry}) for entry in values)
