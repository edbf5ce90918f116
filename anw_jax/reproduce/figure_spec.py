"""What a study's figure shows, read from its config; drawing is elsewhere."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from anw_jax import _check
from anw_jax.reproduce import measures
from anw_jax.reproduce.measures.combined import OVER

KINDS = ("curves", "bars", "lines")
_CURVE_ARGUMENTS = ("users", "arms", "suspect")
_FIELDS = (
    "kind",
    "of",
    "over",
    "members",
    "arguments",
    "labels",
    "paper",
    "series",
    "x",
    "x_label",
    "y_label",
    "unit",
    "ordered",
    "log_x",
)
_SERIES_FIELDS = ("label", "of", "arguments", "paper")


@dataclasses.dataclass(frozen=True, eq=False)
class Point:
    """One mark of a figure: a measure, or (kind "curves") a user's loss curve.

    Attributes:
      label: of the bar, the curve, or the place on the x axis.
      x: where it stands on a numeric x axis; None on others.
      measure: its name; "" for a curve.
      arguments: of the measure; for a curve `users`, `arms` and `suspect`.
      paper: the paper's value on the measure's scale, or None.
    """

    label: str
    x: float | None
    measure: str
    arguments: Mapping[str, Any]
    paper: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class FigureSpec:
    """A figure as a config declares it.

    Attributes:
      kind: "curves" (loss against the distance from the key), "bars" or "lines".
      series: named lists of points; one without a name where there is only one.
      x_label: of the x axis ("lines").
      y_label: of the axis of the measure.
      unit: with "%" shares are shown times 100.
      ordered: whether the points go from little to much, and colours with them.
      log_x: whether the x axis is logarithmic.
    """

    kind: str
    series: tuple[tuple[str, tuple[Point, ...]], ...]
    x_label: str = ""
    y_label: str = ""
    unit: str = ""
    ordered: bool = False
    log_x: bool = False

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "FigureSpec":
        """Reads a figure's plain values.

        `over` and `members` say what varies ("arms", "users", "suspects" or "crowds"; the
        suspect "none" is the trained model itself), `of` and `arguments` which measure is
        shown of each, `labels` and `paper` map members to texts and to the paper's values.
        "lines" need `x`, a number for each member, which names it too. Several `series` may
        each have their own `label`, `of`, `arguments` and `paper`.

        Raises:
          ValueError: names the field and the rule.
        """
        for name in values:
            _check.one_of(_FIELDS, field=name)
        kind = _check.one_of(KINDS, kind=values.get("kind"))
        over = _check.one_of(OVER, over=values.get("over"))
        members = tuple(map(str, values.get("members") or ()))
        if not members:
            raise ValueError("members must name at least one")
        x = values.get("x")
        if (kind == "lines") != (x is not None) or (x is not None and len(x) != len(members)):
            raise ValueError("x must be given with 'lines' and only then, one for each member")
        series = tuple(
            (given.get("label", ""), _points(kind, over, members, values, given))
            for given in _series_of(values)
        )
        plain = {
            name: values[name]
            for name in ("x_label", "y_label", "unit", "ordered", "log_x")
            if name in values
        }
        return cls(kind, series, **plain)


def _series_of(values: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    given = values.get("series") or ({},)
    for each in given:
        for name in each:
            _check.one_of(_SERIES_FIELDS, series=name)
    return given


def _points(
    kind: str,
    over: str,
    members: Sequence[str],
    values: Mapping[str, Any],
    given: Mapping[str, Any],
) -> tuple[Point, ...]:
    """The points of one series; what the series does not say, the figure says."""
    measure = "" if kind == "curves" else str(given.get("of") or values.get("of"))
    common = {**(values.get("arguments") or {}), **(given.get("arguments") or {})}
    paper = (
        given.get("paper") or (values.get("paper") if "series" not in values else None) or {}
    )
    labels = values.get("labels") or {}
    points = []
    for number, member in enumerate(members):
        chosen = None if over == "suspects" and member == "none" else member
        arguments = {**common, OVER[over]: chosen}
        if kind == "curves":
            for name in arguments:
                _check.one_of(_CURVE_ARGUMENTS, arguments=name)
        else:
            measures.check_call(measure, arguments)
        x = None if values.get("x") is None else _check.finite(x=values["x"][number])
        usual = member.replace("_", " ") if x is None else f"{x:g}"
        label = str(labels.get(member, usual))
        known = paper.get(member)
        theirs = None if known is None else _check.finite(paper=known)
        points.append(Point(label, x, measure, arguments, theirs))
    return tuple(points)
