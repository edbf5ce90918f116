"""How a request is written and an answer read, as plain data."""

import base64
import dataclasses
import json
import re
from collections import Counter
from typing import Any

import numpy as np

from anw_jax import _check
from anw_jax.errors import SuspectError
from anw_jax.suspects.answers import Answers
from anw_jax.suspects.declaration import RANGES, Declaration
from anw_jax.suspects.png import png_bytes

BODIES = ("json", "png", "float32")
PLACEHOLDERS = ("$batch", "$picture", "$png", "$pngs", "$float32", "$shape")
_FOR_ONE = ("$picture", "$png")
_TYPES = {
    "json": "application/json",
    "png": "image/png",
    "float32": "application/octet-stream",
}


@dataclasses.dataclass(frozen=True)
class RequestTemplate:
    """The body of a request.

    Placeholders stand for the prepared pictures anywhere in the JSON, as whole strings:

    * "$batch": nested lists of numbers, `[b, …]`; "$picture": those of the one picture.
    * "$pngs": a list of base64 texts of PNG files; "$png": the one.
    * "$float32": base64 of the little-endian float32 bytes; "$shape": their shape.

    Attributes:
      body: "json", or the bare bytes of one "png" or of the "float32" batch.
      template: for "json", any JSON with at least one placeholder of pictures.
      images_per_request: how many pictures one request carries.
      method: "POST" or "PUT".

    Example:
      >>> RequestTemplate(template={"instances": [{"b64": "$png"}]}).images_per_request
      1
    """

    body: str = "json"
    template: Any = None
    images_per_request: int = 1
    method: str = "POST"

    def __post_init__(self):
        _check.one_of(BODIES, body=self.body)
        _check.one_of(("POST", "PUT"), method=self.method)
        number = _check.integer_at_least(1, images_per_request=self.images_per_request)
        if self.body != "json":
            if self.template is not None:
                raise ValueError(f"template belongs to body='json', got body={self.body!r}")
            if self.body == "png" and number > 1:
                raise ValueError("images_per_request must be 1 with body='png'")
            return
        if self.template is None:
            object.__setattr__(self, "template", {"instances": "$batch"})
        used = set(_placeholders(self.template))
        for name in sorted(used):
            _check.one_of(PLACEHOLDERS, placeholder=name)
        if not used - {"$shape"}:
            names = ", ".join(PLACEHOLDERS[:-1])
            raise ValueError(f"template must hold one of {names}; got {self.template!r:.80}")
        for name in sorted(used & set(_FOR_ONE)):
            if number > 1:
                raise ValueError(f"{name} needs images_per_request=1, got {number}")

    def check_fits(self, declaration: Declaration) -> None:
        """Refuses a declaration whose pictures a PNG cannot hold.

        Raises:
          ValueError: normalised or signed values, or channels first.
        """
        used = set(_placeholders(self.template)) | {f"${self.body}"}
        if not used & {"$png", "$pngs"}:
            return
        plain = declaration.mean == (0.0,) * 3 and declaration.std == (1.0,) * 3
        if not plain or declaration.value_range == "signed" or declaration.layout == "NCHW":
            raise ValueError(
                "a PNG holds 8-bit pictures, channels last: declare no mean, std or NCHW for a "
                "service that is sent PNG files (it normalises by itself)"
            )

    def content(self, batch: np.ndarray, declaration: Declaration) -> tuple[bytes, str]:
        """The bytes of a request for a prepared batch, and their media type."""
        if self.body == "png":
            return png_bytes(_levels(batch[0], declaration)), _TYPES["png"]
        if self.body == "float32":
            return batch.astype("<f4").tobytes(), _TYPES["float32"]
        filled = _filled(self.template, batch, declaration)
        return json.dumps(filled, separators=(",", ":")).encode(), _TYPES["json"]


def _levels(picture: np.ndarray, declaration: Declaration) -> np.ndarray:
    """A prepared picture as the 8-bit levels of a PNG."""
    factor = 255.0 / RANGES[declaration.value_range][1]
    return np.clip(np.rint(picture * np.float32(factor)), 0, 255).astype(np.uint8)


def _placeholders(template: Any) -> list[str]:
    if isinstance(template, dict):
        return [name for value in template.values() for name in _placeholders(value)]
    if isinstance(template, (list, tuple)):
        return [name for value in template for name in _placeholders(value)]
    return [template] if isinstance(template, str) and template.startswith("$") else []


def _filled(template: Any, batch: np.ndarray, declaration: Declaration) -> Any:
    if isinstance(template, dict):
        return {name: _filled(value, batch, declaration) for name, value in template.items()}
    if isinstance(template, (list, tuple)):
        return [_filled(value, batch, declaration) for value in template]
    if not (isinstance(template, str) and template.startswith("$")):
        return template
    match template:
        case "$batch":
            return batch.tolist()
        case "$picture":
            return batch[0].tolist()
        case "$png":
            return _base64(png_bytes(_levels(batch[0], declaration)))
        case "$pngs":
            return [_base64(png_bytes(_levels(one, declaration))) for one in batch]
        case "$float32":
            return _base64(batch.astype("<f4").tobytes())
        case _:
            return list(batch.shape)


def _base64(body: bytes) -> str:
    return base64.b64encode(body).decode()


@dataclasses.dataclass(frozen=True)
class AnswerTemplate:
    """Where in the JSON of an answer the numbers stand.

    A path is names and whole numbers with dots between, "*" for "each entry of this list":
    "predictions", "outputs.0.data", "results.*.confidence". The empty path is the value itself.

    Attributes:
      pictures: path to the list with one entry per picture; None where a request carries one
        picture and the whole answer is about it.
      scores: within such an entry, path to the list of numbers, or with `classes` also to an
        object {class name: number}; None for "label".
      labels: within an entry, path to the label, or to the list of the top k; else None.
      classes: names by class number, where labels come as names.
      scale: what scores are multiplied by, 0.01 for percent.

    Example:
      >>> template = AnswerTemplate(pictures="predictions")
      >>> answer = template.read({"predictions": [[1.0, 2.0]]}, Declaration(2), 1)
      >>> answer.scores.tolist()
      [[1.0, 2.0]]
    """

    pictures: str | None = "predictions"
    scores: str | None = ""
    labels: str | None = None
    classes: tuple[str, ...] | None = None
    scale: float = 1.0

    def __post_init__(self):
        _check.positive(scale=self.scale)
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(self.classes))
            name, times = Counter(self.classes).most_common(1)[0] if self.classes else ("", 1)
            if times > 1:
                raise ValueError(
                    f"classes must name each class once, has {name!r} {times} times"
                )

    def check_fits(self, declaration: Declaration) -> None:
        """Refuses paths that do not belong to the kind of answer.

        Raises:
          ValueError: a missing path, or names of another number of classes.
        """
        needs_labels = declaration.answer in ("top_k", "label")
        if needs_labels and self.labels is None:
            raise ValueError(f"labels must be a path for answers of {declaration.answer}")
        if declaration.answer != "label" and self.scores is None:
            raise ValueError(f"scores must be a path for answers of {declaration.answer}")
        if self.classes is not None and len(self.classes) != declaration.num_classes:
            raise ValueError(
                f"classes must name the {declaration.num_classes} declared classes, "
                f"got {len(self.classes)}"
            )

    def read(self, body: Any, declaration: Declaration, num_images: int) -> Answers:
        """Answers from parsed JSON; numbers that JSON lacks (null) become NaN.

        Raises:
          SuspectError: a path that leads nowhere, another number of pictures, names that are no
            classes, values that are no numbers.
        """
        entries = [body] if self.pictures is None else follow(body, self.pictures)
        if not isinstance(entries, list) or len(entries) != num_images:
            seen = len(entries) if isinstance(entries, list) else type(entries).__name__
            raise SuspectError(
                f"the answer must have {num_images} entries at {self.pictures!r}, one for each "
                f"picture asked; got {seen}"
            )
        kind, scores, labels = declaration.answer, None, None
        if kind != "label":
            values = [self._numbers(follow(entry, self.scores)) for entry in entries]
            scores = _as_table(values, np.float64) * self.scale
        if kind in ("top_k", "label"):
            values = [self._label(follow(entry, self.labels), kind) for entry in entries]
            labels = _as_table(values, np.int64)
        return Answers(kind, scores, labels)

    def _numbers(self, values: Any) -> list[float]:
        if isinstance(values, dict) and self.classes is not None:
            lacking = [name for name in self.classes if name not in values]
            if lacking:
                raise SuspectError(f"the answer has no score for class {lacking[0]!r}")
            values = [values[name] for name in self.classes]
        if not isinstance(values, list):
            raise SuspectError(f"scores must be a list of numbers, got {values!r:.60}")
        return [_number(value) for value in values]

    def _label(self, value: Any, kind: str) -> int | list[int]:
        if kind == "top_k" and isinstance(value, list):
            return [self._class_number(entry) for entry in value]
        return self._class_number(value)

    def _class_number(self, value: Any) -> int:
        if self.classes is not None and isinstance(value, str):
            if value not in self.classes:
                raise SuspectError(f"the answer's label {value!r:.60} is none of the classes")
            return self.classes.index(value)
        if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value):
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise SuspectError(
                f"the answer's label must be a class number, got {value!r:.60}: name the "
                "classes in the answer template if they come as text"
            )
        return value


def follow(value: Any, path: str) -> Any:
    """The part of parsed JSON that a path leads to.

    Raises:
      SuspectError: it leads nowhere.

    Example:
      >>> follow({"results": [{"score": 1}, {"score": 2}]}, "results.*.score")
      [1, 2]
    """
    return _follow(value, [step for step in path.split(".") if step], path)


def _follow(value: Any, steps: list[str], path: str) -> Any:
    for place, step in enumerate(steps):
        if step == "*" and isinstance(value, list):
            return [_follow(entry, steps[place + 1 :], path) for entry in value]
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise SuspectError(
                f"the answer has nothing at {path!r} (it stops at {step!r}): {_shown(value)}"
            )
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _number(value: Any) -> float:
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SuspectError(f"scores must be numbers, got {value!r:.60}")
    try:
        return float(value)
    except OverflowError:
        raise SuspectError("the answer holds a number too large to be one") from None


def _as_table(rows: list, dtype: type) -> np.ndarray:
    lengths = {len(row) if isinstance(row, list) else -1 for row in rows}
    if len(lengths) > 1:
        raise SuspectError("the answer has lists of different lengths for different pictures")
    try:
        return np.array(rows, dtype)
    except OverflowError:
        raise SuspectError("the answer holds a number too large to be one") from None
