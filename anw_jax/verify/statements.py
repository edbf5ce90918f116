"""Facts supplied by the arbitrator: quoted in the verdict, and used to correct p.

A verdict counts as evidence only if it has no open conditions. Each missing fact, comparison or
count becomes a *condition*, which names the assumption made and the attack that it leaves
possible.
"""

import dataclasses
import datetime
from collections.abc import Iterable

from anw_jax import _check
from anw_jax.errors import CommitmentError
from anw_jax.keys import Plan
from anw_jax.keys.beacons import Beacon, read_beacon
from anw_jax.keys.stamps import Stamp

# Upper limit of every count; beyond it every p would be 1.
_MOST = 10**12


@dataclasses.dataclass(frozen=True)
class Statements:
    """Facts about one owner and one suspect that the arbitrator supplies.

    Attributes:
      commitment: the owner's commitment, as the arbitrator received it independently; "" for
        none.
      held_since: when the arbitrator received it, an ISO date or date and time; "" if not
        stated.
      held_from: where the arbitrator received it from.
      value_appeared: when the beacon's value was published, if its name does not determine it:
        the `timeStamp` of a NIST pulse.
      found: K, the number of this owner's commitments found at the place named in the plan or
        anywhere else known to the arbitrator, including this one; None if not counted.
      found_at: where the arbitrator searched.
      in_case: B, how many of the K belong to this case (their multiplicity is already corrected
        for).
      models_tried: T, the number of models on which the key was tried to find the suspect; 1 if
        it was found by other means; None if not stated.
      nothing_else: whether nothing else was published or made with this key.
      opened_before: whether the key was opened before this suspect was queried.
      stamps: time stamps of the commitment, already verified: no statement, but they replace
        `commitment` and `held_since` if one is early enough (`Stamp.precedes`).

    Raises:
      TypeError, ValueError: numbers below 1, B above K, invalid dates.

    Example:
      >>> Statements(found=3, models_tried=2).factor
      6.0
    """

    commitment: str = ""
    held_since: str = ""
    held_from: str = ""
    value_appeared: str = ""
    found: int | None = None
    found_at: str = ""
    in_case: int = 1
    models_tried: int | None = None
    nothing_else: bool = False
    opened_before: bool = False
    stamps: tuple[Stamp, ...] = ()

    def __post_init__(self):
        for name in ("commitment", "held_since", "held_from", "value_appeared", "found_at"):
            _check.plain_text(**{name: getattr(self, name)})
        for name in ("nothing_else", "opened_before"):
            _check.is_instance(bool, **{name: getattr(self, name)})
        for stamp in self.stamps:
            _check.is_instance(Stamp, stamps=stamp)
        for name in ("found", "models_tried", "in_case"):
            value = getattr(self, name)
            if value is not None:
                value = _check.integer_at_least(1, **{name: value})
                if value > _MOST:
                    raise ValueError(f"{name} must be at most {_MOST}")
                object.__setattr__(self, name, value)
        if self.found is not None and self.found < self.in_case:
            raise ValueError(
                f"found must count the {self.in_case} commitments of this owner that are in "
                f"the case, got {self.found}"
            )
        if self.held_since:
            parse_utc(held_since=self.held_since)
        if self.value_appeared:
            parse_utc(value_appeared=self.value_appeared)

    @property
    def factor(self) -> float:
        """K / B · T, by which p is multiplied; missing counts are taken as 1."""
        return (self.found or self.in_case) / self.in_case * (self.models_tried or 1)

    def lines(self) -> list[str]:
        """List the stated facts, attributed to the arbitrator, and the stamps, a line each."""
        said = []
        if self.commitment and self.held_since:
            source = f", from {self.held_from}" if self.held_from else ""
            said.append(f"he held the commitment since {self.held_since}{source}")
        if self.value_appeared:
            said.append(f"the beacon's value appeared at {self.value_appeared}")
        if self.found is not None:
            where = f" at {self.found_at}" if self.found_at else ""
            here = f", {self.in_case} of them in this case" if self.in_case > 1 else ""
            said.append(f"he found {self.found} commitment(s) of this owner{where}{here}")
        if self.models_tried is not None:
            said.append(f"the key was tried on {self.models_tried} model(s)")
        if self.nothing_else:
            said.append("nothing else was published or made with this key")
        return [*prefix_statements(said), *(f"verified: {stamp}" for stamp in self.stamps)]


NOTHING_STATED = Statements()


def prefix_statements(lines: Iterable[str]) -> list[str]:
    """Prefix each line with "the arbitrator states", because it cannot be checked."""
    return [f"the arbitrator states: {line}" for line in lines]


def check_against(statements: Statements, plan: Plan, commitment: str) -> None:
    """Check that the statements are consistent with the owner's commitment and plan.

    Raises:
      CommitmentError: the commitment differs from the one that the arbitrator received.
      ValueError: fewer commitments found than the plan says there were.
    """
    if statements.commitment and statements.commitment != commitment:
        raise CommitmentError(
            f"the commitment handed over, {commitment[:16]}…, is not the one the arbitrator "
            f"had, {statements.commitment[:16]}…"
        )
    if statements.found is not None and statements.found < plan.number:
        raise ValueError(
            f"found must be at least {plan.number}: by the plan this owner had made "
            f"{plan.number} commitments, got {statements.found}"
        )


def conditions_of(plan: Plan, statements: Statements) -> tuple[str, ...]:
    """List the assumptions that plan and statements leave open, each with its reason."""
    beacon = read_beacon(plan.beacon) if plan.version > 1 else Beacon("", "", 0, "", None)
    found = [_of_beacon(plan, beacon), _of_order(plan, beacon, statements)]
    if not (statements.commitment or _is_stamped(plan, beacon, statements)):
        found.append(
            "this commitment is the one made before the training (it was not compared with a "
            "copy that the arbitrator had from elsewhere, so the key may have been chosen "
            "afterwards)"
        )
    if statements.found is None:
        found.append(
            "the owner had no other commitment to choose from (nobody stated how many were "
            "found)"
        )
    if statements.models_tried is None:
        found.append(
            "the suspect was not found by trying the key on models (nobody stated on how many "
            "it was tried)"
        )
    if not statements.nothing_else:
        found.append("nothing else was published or made with this key (nobody stated that)")
    return tuple(text for text in found if text)


def _of_beacon(plan: Plan, beacon: Beacon) -> str:
    if plan.version == 1:
        return (
            "the owner chose neither keys nor photos by their slots (the plan is of version 1, "
            "whose slots can be previewed photo by photo)"
        )
    if not plan.beacon:
        chosen = (
            "neither keys nor decoders by their bits"
            if plan.is_of_scheme
            else "neither keys nor photos by their slots"
        )
        return f"the owner chose {chosen} (the plan names no public beacon)"
    if not beacon.kind:
        return (
            f"nobody knew or chose the value of {plan.beacon!r:.80} beforehand (it is no "
            "beacon of a known kind)"
        )
    if beacon.kind == "drand" and beacon.time is None:
        return (
            f"nobody knew or chose the value of {plan.beacon!r:.90} beforehand (its chain is "
            "none of those known here: anybody can run one, and knows all its rounds)"
        )
    return ""


def _of_order(plan: Plan, beacon: Beacon, statements: Statements) -> str:
    if _is_stamped(plan, beacon, statements):
        return ""
    event = "the beacon's value" if plan.beacon else "the training"
    older = f"the commitment is older than {event}"
    appeared = _appeared(beacon, statements)
    if not statements.held_since:
        return (
            f"{older} ({_too_late(appeared, statements) or 'nobody stated when it was held'})"
        )
    if appeared is None and beacon.kind in ("drand", "nist"):
        return f"{older} (nobody stated when the value of {plan.beacon!r:.100} appeared)"
    if appeared is not None and parse_utc(held_since=statements.held_since) >= appeared:
        return (
            f"{older} (the arbitrator held it since {statements.held_since}, and the value "
            f"appeared at {appeared.isoformat()})"
        )
    return ""


def _appeared(beacon: Beacon, statements: Statements) -> datetime.datetime | None:
    """Return when the value appeared, by the beacon's name or as stated; None if unknown."""
    if beacon.time is None and statements.value_appeared:
        return parse_utc(latest=False, value_appeared=statements.value_appeared)
    return beacon.time


def _is_stamped(plan: Plan, beacon: Beacon, statements: Statements) -> bool:
    """Return whether a stamp shows that the commitment is older than the beacon's value."""
    appeared = _appeared(beacon, statements) if plan.beacon else None
    return appeared is not None and any(s.precedes(appeared) for s in statements.stamps)


def _too_late(appeared: datetime.datetime | None, statements: Statements) -> str:
    """Say why no stamp shows the order; "" if there is none."""
    if not statements.stamps:
        return ""
    first = min(statements.stamps, key=lambda stamp: stamp.time)
    if appeared is None:
        return f"the {first} was compared with no time of a value"
    return (
        f"the {first} must be at least {first.least_hours} h before the value, which appeared "
        f"at {appeared.isoformat()}"
    )


def value_time(plan: Plan, value_appeared: str, held_since: str) -> datetime.datetime | None:
    """Return the earliest time at which the beacon's value can have appeared.

    A time that the beacon's name determines comes first, then the one stated. An arbitrator's
    own beacon is drawn after the commitment was received.

    Args:
      plan: the plan that names the beacon.
      value_appeared: as in `Statements`.
      held_since: as in `Statements`.

    Returns:
      The time in UTC; None if it is unknown, or the plan names no beacon.
    """
    if plan.version == 1 or not plan.beacon:
        return None
    beacon = read_beacon(plan.beacon)
    if beacon.time is not None:
        return beacon.time
    first = value_appeared
    if not first and beacon.kind == "arbitrator":
        first = held_since
    return parse_utc(latest=False, value_appeared=first) if first else None


def parse_utc(latest: bool = True, **named: str) -> datetime.datetime:
    """Parse an ISO date, or date and time, in UTC.

    Args:
      latest: read a date without a time as its last second, otherwise as its first.
      **named: the text, under the name that errors show.

    Raises:
      ValueError: the text has another format.

    Example:
      >>> parse_utc(released="2026-11-03").isoformat()
      '2026-11-03T23:59:59+00:00'
    """
    ((name, text),) = named.items()
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{name} must be a date such as 2026-11-03, or a date and time such as "
            f"2026-11-03T10:00:00Z; got {text!r:.60}"
        ) from None
    if latest and len(text) <= len("2026-11-03"):
        when = when.replace(hour=23, minute=59, second=59)
    return when if when.tzinfo else when.replace(tzinfo=datetime.UTC)
