"""Two marks under one key: one slot selects both."""

import dataclasses
import functools
from typing import Any

import numpy as np

from anw_jax.keys import plan_fields
from anw_jax.marks.mark import MOST_SLOTS, Array, Mark, array_namespace, check_input


@dataclasses.dataclass(frozen=True)
class _Pair:
    """The parameters of two marks, and their types, which are part of the tree's structure."""

    types: tuple[type, type] = dataclasses.field(metadata={"static": True})
    first: Any
    second: Any

    def __post_init__(self):
        _register()


@functools.cache
def _register() -> None:
    """Make pairs pytrees; not on import, so that other marks need no jax."""
    import jax

    jax.tree_util.register_dataclass(_Pair)


@dataclasses.dataclass(frozen=True)
class Composed:
    """Two marks in one: `second` applied to what `first` published.

    The signature space has N = N₁ · N₂ slots, one for each pair of slots of the two, so that
    **one draw decides both** and the exact test holds as for any mark: a loss table has a
    column for every pair, and neither mark is ever read while the other is at its true value.
    All N candidates are queried. Slot s is slot s₁ = ⌊s / N₂⌋ of the first mark and s mod N₂ of
    the second; for odd s₁ the second counts backwards, so that neighbouring slots differ in
    one mark only, and the marked image is a continuous function of the signature. Slot 0 is
    unmarked; the other slots include those in which one of the two is at its own slot 0.

    Attributes:
      first, second: marks of two types with a `num_slots`, such as `LightField`, `Tone`, `Tint`
        and `LimitedHue`.

    Raises:
      TypeError: a mark without `num_slots`, or two marks of one type, whose slots could cancel.
      ValueError: more than 1024 slots.

    Example:
      >>> from anw_jax.marks import Tint, Tone
      >>> mark = Composed(Tone(0.2, num_slots=4), Tint(0.1, num_slots=3))
      >>> mark.num_slots, mark.description
      (12, 'composed:tone:0.2:4+tint:0.1:3')
    """

    first: Mark
    second: Mark

    def __post_init__(self):
        for name, mark in (("first", self.first), ("second", self.second)):
            if isinstance(mark, Composed) or not hasattr(mark, "num_slots"):
                raise TypeError(
                    f"{name} must be a mark with a number of slots, such as LightField, got "
                    f"{type(mark).__name__}"
                )
        if type(self.first) is type(self.second):
            raise TypeError(
                f"first and second must differ, got two {type(self.first).__name__}"
            )
        if self.num_slots > MOST_SLOTS:
            raise ValueError(f"num_slots must be at most {MOST_SLOTS}, got {self.num_slots}")

    @property
    def num_slots(self) -> int:
        """N₁ · N₂."""
        return self.first.num_slots * self.second.num_slots

    @property
    def description(self) -> str:
        """Public identifier of the mark, as recorded in plans."""
        return f"{plan_fields.COMPOSED}:{self.first.description}+{self.second.description}"

    @property
    def least_side(self) -> int:
        """See `Mark.least_side`."""
        return max(self.first.least_side, self.second.least_side)

    @property
    def marks_grey(self) -> bool:
        """See `Mark.marks_grey`."""
        return self.first.marks_grey or self.second.marks_grey

    def mark(self, image: Array, degrees: float | Array) -> Array:
        """Mark one image; arguments, result and errors as for `LinearColorMark.mark`."""
        check_input(image, degrees)
        return self.mark_pixels(image, degrees, self.constants)

    @property
    def constants(self) -> dict[str, Any]:
        """Parameters of `mark_pixels`: those of both marks, and their numbers of slots."""
        pair = _Pair(self._types, self.first.constants, self.second.constants)
        return {"marks": pair, "num_slots": self._nums_slots}

    @staticmethod
    def mark_pixels(image: Array, degrees: float | Array, constants: dict) -> Array:
        """Mark one image as the composed mark with these `constants`."""
        pair = constants["marks"]
        first, second = split_angle(degrees, constants["num_slots"])
        image = pair.types[0].mark_pixels(image, first, pair.first)
        return pair.types[1].mark_pixels(image, second, pair.second)

    def parameters(self, degrees: float | np.ndarray) -> _Pair:
        """Return the integer tables of both marks for angles of shape `[...]`."""
        first, second = split_angle(np.asarray(degrees, np.float64), self._nums_slots)
        return _Pair(self._types, self.first.parameters(first), self.second.parameters(second))

    @staticmethod
    def publish_pixels(image: Array, parameters: _Pair) -> Array:
        """Mark one 8-bit image exactly: uint8 `[H, W, 3]`, `parameters` of one angle."""
        image = parameters.types[0].publish_pixels(image, parameters.first)
        return parameters.types[1].publish_pixels(image, parameters.second)

    @property
    def _types(self) -> tuple[type, type]:
        return type(self.first), type(self.second)

    @property
    def _nums_slots(self) -> np.ndarray:
        return np.array([self.first.num_slots, self.second.num_slots], np.float64)


def split_angle(degrees: float | Array, num_slots: Array) -> tuple[Array, Array]:
    """Return the signatures of both marks at signatures `[...]` of a composed mark.

    Args:
      degrees: angles `[...]`; one turn runs through all pairs.
      num_slots: N₁ and N₂, `[2]`.

    Example:
      >>> first, second = split_angle(np.array([0.0, 60.0, 120.0]), np.array([3.0, 6.0]))
      >>> first.tolist(), second.tolist()
      ([0.0, 0.0, 120.0], [0.0, 180.0, 300.0])
    """
    xp = array_namespace(degrees, num_slots)
    rows, columns = num_slots[0], num_slots[1]
    position = xp.asarray(degrees, float) % 360.0 * (rows * columns / 360.0)
    row = xp.floor(position / columns)
    column = xp.minimum(position - row * columns, columns - 1)
    # Between the last column of a row and the first of the next, only the row moves on.
    first = row + (position - row * columns - column)
    second = xp.where(row % 2 == 1, columns - 1 - column, column)
    return first * (360.0 / rows), second * (360.0 / columns)
