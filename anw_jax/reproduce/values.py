"""Numbers of claims as text."""

import math

from anw_jax.reproduce.claims import IN_HUNDREDTHS, Claim, Measured, Predicate

# What stands in place of a number that there is not.
NO_RESULT = "–"


def value_text(claim: Claim, value: float) -> str:
    """A value in the claim's unit.

    Example:
      >>> claim = Claim("t", "p", "m", {}, Predicate(), Predicate(), unit="%", digits=1)
      >>> value_text(claim, 0.983), value_text(claim, float("nan"))
      ('98.3 %', 'not finite')
    """
    if not math.isfinite(value):
        return "not finite"
    return f"{_number(claim, value)}{_unit(claim)}"


def _unit(claim: Claim) -> str:
    """The unit behind a number; degrees stand close."""
    return claim.unit if claim.unit in ("", "°") else f" {claim.unit}"


def _scaled(claim: Claim, value: float) -> float:
    return 100.0 * value if claim.unit in IN_HUNDREDTHS else value


def _number(claim: Claim, value: float) -> str:
    scaled = _scaled(claim, value)
    # "-0.00" is 0.
    return f"{round(scaled, claim.digits) + 0.0:.{claim.digits}f}".replace("-", "−")


def measured_text(claim: Claim, measured: Measured) -> str:
    """Mean ± deviation, unit and number of seeds; a dash without results.

    Example:
      >>> claim = Claim("t", "p", "m", {}, Predicate(), Predicate(), unit="°", digits=1)
      >>> measured_text(claim, Measured((1.0, 3.0), 3)), measured_text(claim, Measured((), 3))
      ('2.0 ± 1.4° (n = 2)', '–')
    """
    if not measured.values:
        return NO_RESULT
    num = f" (n = {len(measured.values)})"
    if measured.std is None or not math.isfinite(measured.std):
        return value_text(claim, measured.mean) + num
    spread = _number(claim, measured.std)
    return f"{_number(claim, measured.mean)} ± {spread}{_unit(claim)}{num}"


def predicate_text(claim: Claim, predicate: Predicate) -> str:
    """A predicate in words, in the claim's unit.

    Example:
      >>> claim = Claim("t", "p", "m", {}, Predicate(), Predicate(), unit="%", digits=0)
      >>> predicate_text(claim, Predicate(low=0.8)), predicate_text(claim, Predicate(0.1, 0.2))
      ('at least 80 %', '10 to 20 %')
    """
    if math.isinf(predicate.high):
        return f"at least {_bound(claim, predicate.low)}{_unit(claim)}"
    if math.isinf(predicate.low):
        return f"at most {_bound(claim, predicate.high)}{_unit(claim)}"
    low, high = (_bound(claim, end) for end in (predicate.low, predicate.high))
    return f"{low} to {high}{_unit(claim)}"


def _bound(claim: Claim, value: float) -> str:
    """A bound with as many digits as it has: a rounded rule would be another rule."""
    scaled = _scaled(claim, value)
    return f"{scaled:.6g}".replace("-", "−")
