"""A claim of the paper as a predicate on a measure, and the verdict that follows from it.

Predicates stand in a study's config before its first run; nothing here can be filled by hand.
"""

import contextlib
import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from anw_jax import _check
from anw_jax.reproduce import measures
from anw_jax.reproduce.results import NotYetRunError, SeedRuns

NOT_YET_RUN = "not yet run"
# Units in which shares, and differences of them, are shown times 100.
IN_HUNDREDTHS = ("%", "points")
_FORMS = ("at_least", "at_most", "between")
_JUDGED_BY = ("mean", "each seed")


@dataclasses.dataclass(frozen=True)
class Predicate:
    """A closed interval on the scale of a measure (shares in [0, 1], not percent).

    Attributes:
      low: lower end; -inf for none.
      high: upper end; inf for none.

    Example:
      >>> Predicate.of({"at_least": 0.8}).holds(0.8), Predicate.of({"at_most": 15}).holds(16)
      (True, False)
      >>> Predicate.of({"between": [2.9, 5.7]}).holds(float("nan"))
      False
    """

    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self):
        if not self.low <= self.high:
            raise ValueError(f"between must be [low, high], got [{self.low}, {self.high}]")

    @classmethod
    def of(cls, form: Mapping[str, Any]) -> "Predicate":
        """Reads `{"at_least": x}`, `{"at_most": x}` or `{"between": [low, high]}`.

        Raises:
          ValueError: another form.
        """
        if not isinstance(form, Mapping) or len(form) != 1:
            raise ValueError(f"a predicate has one of {', '.join(_FORMS)}; got {form!r}")
        ((name, value),) = form.items()
        _check.one_of(_FORMS, predicate=name)
        if name == "between":
            if not isinstance(value, Sequence) or len(value) != 2:
                raise ValueError(f"between must be [low, high], got {value!r}")
            return cls(_check.finite(between=value[0]), _check.finite(between=value[1]))
        bound = _check.finite(**{name: value})
        return cls(low=bound) if name == "at_least" else cls(high=bound)

    def holds(self, value: float) -> bool:
        """Whether the value lies inside; NaN never does."""
        return self.low <= value <= self.high

    def implies(self, other: "Predicate") -> bool:
        """Whether every value that fits this fits `other`."""
        return other.low <= self.low and self.high <= other.high


@dataclasses.dataclass(frozen=True, eq=False)
class Claim:
    """One sentence of the paper, made checkable.

    Attributes:
      text: what is claimed.
      paper: the paper's value, as text.
      measure: one of `measures.measure_names()`.
      arguments: of the measure.
      confirm: holds where the paper's value, within its tolerance, is met.
      direction: holds where at least the direction is; `confirm` implies it.
      unit: shown after numbers; with "%" shares are shown times 100, and with "points"
        differences of shares.
      digits: decimals shown.
      judged_by: "mean": the mean over seeds must fit; "each seed": every seed must. p-values
        are judged by each seed, since one very small p would carry the mean of its logarithms.
    """

    text: str
    paper: str
    measure: str
    arguments: Mapping[str, Any]
    confirm: Predicate
    direction: Predicate
    unit: str = ""
    digits: int = 2
    judged_by: str = "mean"

    def __post_init__(self):
        _check.one_of(_JUDGED_BY, judged_by=self.judged_by)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Claim":
        """Reads a claim's plain values.

        Raises:
          ValueError: names the field and the rule.
          TypeError: the same.
        """
        given = dict(values)
        unknown = [name for name in given if name not in _FIELDS]
        if unknown:
            _check.one_of(_FIELDS, field=unknown[0])
        missing = [name for name in _NEEDED if name not in given]
        if missing:
            raise ValueError(f"needs {', '.join(missing)}")
        for name in ("text", "paper", "unit"):
            _check.is_instance(str, **{name: given.get(name, "")})
        given["arguments"] = dict(given.get("arguments") or {})
        measures.check_call(given["measure"], given["arguments"])
        confirm, direction = Predicate.of(given["confirm"]), Predicate.of(given["direction"])
        unit = given.get("unit", "")
        _check_scale(unit, confirm, direction)
        given["digits"] = _check.integer_at_least(0, digits=given.get("digits", _digits(unit)))
        return cls(**given | {"confirm": confirm, "direction": direction})

    def measured(self, seeds: Sequence[SeedRuns]) -> "Measured":
        """The measure over the seeds that have been run.

        Raises:
          ResultError: a result file lacks what the measure reads.
        """
        return measured(self.measure, self.arguments, seeds)

    def confirmed_by(self, found: "Measured") -> bool:
        """Whether what was measured meets the paper's value."""
        return self._fits(self.confirm, found)

    def shown_by(self, found: "Measured") -> bool:
        """Whether what was measured has the paper's direction."""
        return self._fits(self.direction, found)

    def _fits(self, predicate: Predicate, found: "Measured") -> bool:
        if self.judged_by == "mean":
            return predicate.holds(found.mean)
        return all(map(predicate.holds, found.values))


_FIELDS = tuple(field.name for field in dataclasses.fields(Claim))
_NEEDED = ("text", "paper", "measure", "confirm", "direction")


def _digits(unit: str) -> int:
    return 1 if unit in (*IN_HUNDREDTHS, "°") else 2


def _check_scale(unit: str, confirm: Predicate, direction: Predicate) -> None:
    """A narrower rule for direction than for confirmation, or percent for shares, is a slip."""
    if not confirm.implies(direction):
        raise ValueError("direction must hold wherever confirm does")
    ends = [end for p in (confirm, direction) for end in (p.low, p.high) if math.isfinite(end)]
    if unit in IN_HUNDREDTHS and any(abs(end) > 2.0 for end in ends):
        raise ValueError(f"with unit {unit!r} predicates are shares (0.8, not 80), got {ends}")


@dataclasses.dataclass(frozen=True)
class Measured:
    """A measure over seeds.

    Attributes:
      values: one per seed that has been run.
      num_seeds: how many the study declares.
    """

    values: tuple[float, ...]
    num_seeds: int

    @property
    def mean(self) -> float:
        """Over seeds; NaN without any."""
        return statistics.fmean(self.values) if self.values else math.nan

    @property
    def std(self) -> float | None:
        """Sample standard deviation; None below two seeds, NaN where a value is not finite."""
        if len(self.values) < 2:
            return None
        return statistics.stdev(self.values) if math.isfinite(sum(self.values)) else math.nan


def measured(measure: str, arguments: Mapping[str, Any], seeds: Sequence[SeedRuns]) -> Measured:
    """A measure over the seeds that have been run; others do not count.

    Raises:
      ResultError: a result file lacks what the measure reads.
    """
    values = []
    for runs in seeds:
        with contextlib.suppress(NotYetRunError):
            values.append(measures.compute(measure, runs, arguments))
    return Measured(tuple(values), len(seeds))


def verdict(
    claim: Claim, paper_scale: Measured, quick: Measured, quick_claim: Claim | None = None
) -> str:
    """What the results say about a claim.

    Results at paper scale decide where there are any; quick ones can show the direction only.
    Predicates are applied to the mean over seeds, or to each seed where the claim says so.
    Fewer seeds than declared are said.

    Args:
      claim: as the paper-scale config states it.
      paper_scale: its measure at paper scale.
      quick: its measure at quick scale.
      quick_claim: as the quick config states it; None where it is the same.

    Returns:
      "confirmed", "direction only", "not confirmed", "direction only (quick)",
      "not confirmed (quick)" or "not yet run"; then, say, ", 1 of 3 seeds".

    Example:
      >>> claim = Claim("rises", "1.5", "trend", {}, Predicate(low=1.0), Predicate(low=0.0))
      >>> verdict(claim, Measured((), 3), Measured((1.2, 1.4, 1.6), 3))
      'direction only (quick)'
      >>> verdict(claim, Measured((0.5,), 3), Measured((1.2, 1.4, 1.6), 3))
      'direction only, 1 of 3 seeds'
    """
    if paper_scale.values:
        if claim.confirmed_by(paper_scale):
            text = "confirmed"
        elif claim.shown_by(paper_scale):
            text = "direction only"
        else:
            text = "not confirmed"
        return text + _seeds(paper_scale)
    if quick.values:
        holds = (quick_claim or claim).shown_by(quick)
        return ("direction only" if holds else "not confirmed") + " (quick)" + _seeds(quick)
    return NOT_YET_RUN


def _seeds(measured: Measured) -> str:
    num = len(measured.values)
    return "" if num >= measured.num_seeds else f", {num} of {measured.num_seeds} seeds"
