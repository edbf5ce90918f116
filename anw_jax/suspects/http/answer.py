"""The template of an answer."""

import dataclasses
import json
import re
from collections import Counter
from typing import Any

import numpy as np

from anw_jax import _check
from anw_jax.errors import RefusedPictureError, SuspectError
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.protocol import Answers, checked


@dataclasses.dataclass(frozen=True)
class AnswerTemplate:
    """Where the numbers are in the JSON of an answer.

    A path is names and whole numbers separated by dots, "*" for "each entry of this list":
    "predictions", "outputs.0.data", "results.*.confidence". The path "." or "" is the value
    itself. False means None, which TOML does not have.

    Attributes:
      pictures: path to the list with one entry per picture, or to the flat list of all
        numbers, picture after picture; None if a request has one picture and the whole answer
        is about it.
      scores: within such an entry, path to the list of numbers, to an object
        {class: number}, or to the one number of an "error"; None for "label".
      labels: within an entry, path to the label, or to the list of labels that belongs to the
        list of scores. With it, and in an object, scores are sorted into the order of the
        classes by their labels, and those of the top k best first.
      classes: names by class number, if labels are names.
      scale: factor of the scores, 0.01 for percent.

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
        for name in ("pictures", "scores", "labels"):
            path = getattr(self, name)
            if path is not None and path is not False and not isinstance(path, str):
                raise TypeError(f"{name} must be a path, or false for none, got {path!r:.60}")
            object.__setattr__(self, name, None if path is False else path)
        _check.positive(scale=self.scale)
        if self.classes is not None:
            object.__setattr__(self, "classes", _names(self.classes))

    def check_fits(self, declaration: Declaration) -> None:
        """Check that the paths fit the kind of answer.

        Raises:
          ValueError: a missing path, names of another number of classes, or names although
            scores come without them.
        """
        if declaration.answer == "label" and self.labels is None:
            raise ValueError("labels must be a path for answers of label")
        if declaration.answer != "label" and self.scores is None:
            raise ValueError(f"scores must be a path for answers of {declaration.answer}")
        is_list = self.labels is None and "*" in (self.scores or "").split(".")
        if declaration.answer == "top_k" and is_list:
            raise ValueError("labels must be a path for answers of top_k")
        is_plain = self.labels is None and self.classes is None
        if declaration.answer == "error" and not is_plain:
            raise ValueError("labels and classes must be left out for answers of error")
        if self.classes is None:
            return
        if len(self.classes) != declaration.num_classes:
            raise ValueError(
                f"classes must name the {declaration.num_classes} declared classes, "
                f"got {len(self.classes)}"
            )
        if is_list:
            raise ValueError(_NO_ORDER)

    def read(self, body: Any, declaration: Declaration, num_images: int) -> Answers:
        """Read answers from parsed JSON; null becomes NaN.

        Raises:
          RefusedPictureError: a picture has no answer, or fewer labels or scores than declared.
          SuspectError: nothing at a path, more answers than pictures, names that are not
            classes, values that are not numbers.
        """
        found = self.read_each(body, declaration, num_images)
        for one in found:
            if isinstance(one, RefusedPictureError):
                raise one
        return Answers.joined(found)

    def read_each(
        self, body: Any, declaration: Declaration, num_images: int
    ) -> list[Answers | RefusedPictureError]:
        """Read a batch of one for each picture, or the error why that picture has no answer.

        Raises:
          RefusedPictureError: fewer entries than pictures: it is not known which are missing.
          SuspectError: as `read`.
        """
        return [
            self._read_one(entry, declaration)
            for entry in self._entries(body, declaration, num_images)
        ]

    def _entries(self, body: Any, declaration: Declaration, num_images: int) -> list:
        if self.pictures is None:
            return [body]
        hint = ""
        if num_images == 1:
            hint = "; if the whole answer is about one picture, set pictures = false"
        try:
            entries = follow(body, self.pictures)
        except SuspectError as error:
            raise SuspectError(f"{error}{hint}") from None
        if isinstance(entries, list):
            width = declaration.num_classes or 1
            is_flat = all(_is_number(entry) or entry is None for entry in entries)
            if is_flat and declaration.answer != "label" and len(entries) == num_images * width:
                return [entries[n * width : (n + 1) * width] for n in range(num_images)]
            if len(entries) == num_images:
                return entries
        seen = len(entries) if isinstance(entries, list) else type(entries).__name__
        what = (
            f"the answer must have as many entries at {self.pictures!r} as pictures were "
            f"sent, {num_images}; got {seen}"
        )
        if isinstance(entries, list) and len(entries) < num_images:
            raise RefusedPictureError(what)
        raise SuspectError(what + hint)

    def _read_one(self, entry: Any, declaration: Declaration) -> Answers | RefusedPictureError:
        kind, scores, labels = declaration.answer, None, None
        try:
            if kind == "label":
                labels = np.array([self._class_number(self._at(entry, self.labels))])
            elif kind == "top_k":
                pairs = self._best_first(entry, declaration)
                labels = np.array([[label for label, _ in pairs]])
                scores = self._scaled([score for _, score in pairs])
            else:
                scores = self._scaled(self._in_order(entry, declaration))
        except RefusedPictureError as error:
            return error
        return checked(Answers(kind, scores, labels), declaration, 1)

    def _scaled(self, scores: list[float]) -> np.ndarray:
        with np.errstate(over="ignore"):  # infinity makes an answer unusable
            return np.array([scores], np.float64) * self.scale

    def _at(self, entry: Any, path: str) -> Any:
        """Return the value at a path of an entry; if it lacks, the picture is refused."""
        try:
            value = follow(entry, path)
        except SuspectError as error:
            if self.pictures is None:
                raise
            raise RefusedPictureError(str(error)) from None
        if value is None:
            raise RefusedPictureError(f"the answer has null at {path!r}")
        return value

    def _in_order(self, entry: Any, declaration: Declaration) -> list[float]:
        """Return all scores of one picture in the order of the classes."""
        values, width = self._at(entry, self.scores), declaration.num_classes
        if declaration.answer == "error" and _is_number(values):
            values = [values]
        if self.labels is None and not isinstance(values, dict):
            if self.classes is not None:
                raise SuspectError(_NO_ORDER)
            self._check_no_names(entry)
            numbers = _numbers(values)
            if not numbers:
                raise RefusedPictureError(f"the answer has 0 scores at {self.scores!r}")
            return numbers
        # Other names than the classes, such as of a background, are ignored.
        pairs = self._pairs(entry, values, leave_others=True)
        too_high = max(pairs, default=0)
        if too_high >= width:
            raise SuspectError(
                f"the suspect declares {width} classes and answers with label {too_high}"
            )
        lacking = [number for number in range(width) if number not in pairs]
        if lacking:
            name = lacking[0] if self.classes is None else self.classes[lacking[0]]
            raise RefusedPictureError(
                f"the answer has no score for class {name!r:.60}; of a service that lists the "
                "best alone declare top_k"
            )
        return [pairs[number] for number in range(width)]

    def _check_no_names(self, entry: Any) -> None:
        """Raise SuspectError for scores beside names: most services sort such scores."""
        before, star, _ = f".{self.scores}".rpartition(".*")
        items = follow(entry, before) if star else []
        for item in items if isinstance(items, list) else []:
            values = item.values() if isinstance(item, dict) else ()
            texts = [value for value in values if isinstance(value, str)]
            if texts:
                raise SuspectError(
                    f"each score has a name beside it, such as {texts[0]!r:.60}, and such "
                    "lists are seldom in class order: give labels a path to the names, and "
                    "classes"
                )

    def _best_first(self, entry: Any, declaration: Declaration) -> list[tuple[int, float]]:
        """Return labels and scores of the top k of one picture, best first."""
        pairs = self._pairs(entry, self._at(entry, self.scores))
        if len(pairs) < declaration.k:
            raise RefusedPictureError(
                f"the suspect declares {declaration.k} labels for each picture and answers "
                f"with {len(pairs)}"
            )
        return sorted(pairs.items(), key=lambda pair: (pair[1] != pair[1], -pair[1]))

    def _pairs(self, entry: Any, values: Any, leave_others: bool = False) -> dict[int, float]:
        """Return scores by class number."""
        if isinstance(values, dict) and self.labels is None:
            names, values = list(values), list(values.values())
        elif self.labels is None:
            raise SuspectError(
                "the answer lists scores without labels: give labels a path to theirs"
            )
        else:
            names = self._at(entry, self.labels)
        numbers = _numbers(values)
        if not isinstance(names, list) or len(names) != len(numbers):
            seen = len(names) if isinstance(names, list) else type(names).__name__
            raise SuspectError(
                f"the answer must have as many labels at {self.labels!r} as scores, "
                f"{len(numbers)}; got {seen}"
            )
        found = {}
        for name, number in zip(names, numbers, strict=True):
            is_text = isinstance(name, str) and self.classes is not None
            if leave_others and is_text and name.strip() not in self.classes:
                continue
            label = self._class_number(name)
            if label in found:
                raise SuspectError(f"the answer lists class {name!r:.60} twice")
            found[label] = number
        return found

    def _class_number(self, value: Any) -> int:
        if self.classes is not None:
            if not isinstance(value, str):
                raise SuspectError(
                    "the answer's label must be one of the names in classes, got "
                    f"{value!r:.60}: leave classes out if labels come as numbers"
                )
            if value.strip() not in self.classes:
                raise RefusedPictureError(
                    f"the answer's label {value!r:.60} is none of the classes"
                )
            return self.classes.index(value.strip())
        if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value):
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise SuspectError(
                f"the answer's label must be a class number, got {value!r:.60}: name the "
                "classes in the answer template if they come as text"
            )
        if abs(value) >= 2**63:
            raise SuspectError("the answer holds a number too large to be one")
        return value


_NO_ORDER = (
    "scores come as a list, whose order the names in classes do not give: give labels a path "
    "to the names beside the scores, or leave classes out if the list is in class order"
)


def _names(classes: Any) -> tuple[str, ...]:
    is_list = isinstance(classes, (list, tuple))
    if not is_list or not all(isinstance(name, str) and name.strip() for name in classes):
        raise TypeError(f"classes must be a list of names, got {classes!r:.60}")
    classes = tuple(name.strip() for name in classes)
    name, times = Counter(classes).most_common(1)[0] if classes else ("", 1)
    if times > 1:
        raise ValueError(f"classes must name each class once, has {name!r} {times} times")
    return classes


def follow(value: Any, path: str) -> Any:
    """Return the part of parsed JSON at a path.

    Raises:
      SuspectError: there is none.

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
        elif isinstance(value, list) and _is_index(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            raise SuspectError(
                f"the answer has nothing at {path!r} (it stops at {step!r}): {_shown(value)}"
            )
    return value


def _is_index(step: str) -> bool:
    return re.fullmatch("[0-9]{1,9}", step) is not None


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _numbers(values: Any) -> list[float]:
    if not isinstance(values, list):
        raise SuspectError(f"scores must be a list of numbers, got {values!r:.60}")
    return [_number(value) for value in values]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any) -> float:
    if value is None:
        return float("nan")
    if not _is_number(value):
        raise SuspectError(f"scores must be numbers, got {value!r:.60}")
    try:
        return float(value)
    except OverflowError:
        raise SuspectError("the answer holds a number too large to be one") from None
