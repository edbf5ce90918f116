"""Trace a suspect to copies: an exact p for each customer, under any collusion.

Given projection and scores, the bits of an innocent customer are independent of everything
else, whatever the coalition did: the tail of his sum is that of `stats.bit_test`. Holm's rule
is applied to all codes that may be issued, delivered or not, at the level ε divided by the
declared numbers of disputes and readings.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from anw_jax import stats
from anw_jax.keys import Bits, Plan
from anw_jax.schemes.fingerprint.carrier import Carrier
from anw_jax.schemes.fingerprint.reader import customer_scores
from anw_jax.schemes.scheme import check_decoder

# Bounds the rounding error of a sum of two logarithms.
_ROUNDING = 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """Whose copies a suspect derives from.

    Attributes:
      named: places of the codes that at least one reading names, in increasing order.
      log10_p: by reading, float64 `[num_codes]`, before any correction.
      level: of Holm's rule in each reading: ε / (disputes x readings x factor).
      num_tests: codes that Holm's rule is applied to.
    """

    named: tuple[int, ...]
    log10_p: dict[str, np.ndarray]
    level: float
    num_tests: int

    @property
    def smallest(self) -> np.ndarray:
        """log10 p of each code over all readings, `[num_codes]`: smallest p times their number.

        Without the number it would be no p: of two readings, one is below 5 % in 10 % of cases.
        """
        smallest = np.min(list(self.log10_p.values()), axis=0)
        return np.minimum(smallest + np.log10(len(self.log10_p)) + _ROUNDING, 0.0)


def trace(
    carrier: Carrier,
    plan: Plan,
    scores: Mapping[str, np.ndarray],
    codes: Sequence[Bits],
    *,
    factor: float = 1.0,
) -> Trace:
    """Test every code against the scores of all declared readings.

    Guarantee: over all disputes and readings together, the probability that any innocent
    customer is named is at most `plan.alpha`, whatever the suspects are, if his code was drawn
    by `keys.customer_code` and the suspect was made without his copy.

    Args:
      carrier: of the issue.
      plan: the committed plan; `alpha` is ε.
      scores: of each reading of `carrier.readings`, as `reader.extract` returns them.
      codes: all codes that were issued, delivered or not.
      factor: at least 1, by which ε is divided further: tests of a case, setups to choose
        from, models tried.

    Raises:
      CommitmentError: the plan of another carrier.
      ValueError: other readings than declared, more codes, or a factor below 1.
    """
    check_decoder(carrier, plan)
    if set(scores) != set(carrier.readings):
        raise ValueError(
            f"scores must be of the declared readings {', '.join(carrier.readings)}, got "
            f"{', '.join(scores)}"
        )
    if len(codes) > carrier.num_customers:
        raise ValueError(
            f"codes must be at most the {carrier.num_customers} that were declared, got "
            f"{len(codes)}"
        )
    if not factor >= 1.0:
        raise ValueError(f"factor must be at least 1, got {factor}")
    level = plan.alpha / (carrier.num_disputes * len(carrier.readings) * factor)
    named = np.zeros(len(codes), bool)
    found = {}
    for reading in carrier.readings:
        own = customer_scores(carrier, scores[reading])
        found[reading] = stats.bit_log10_p_values(own, list(codes), plan.statistic)
        named |= stats.holm(found[reading], level, carrier.num_customers)
    places = tuple(int(place) for place in np.flatnonzero(named))
    return Trace(places, found, level, carrier.num_customers)


def strongest(
    carrier: Carrier, plan: Plan, scores: Mapping[str, np.ndarray], codes: Sequence[Bits]
) -> stats.TestResult:
    """Test whether the suspect was made without any of these copies.

    The smallest p of all codes and readings, multiplied by the declared numbers of customers,
    readings and disputes (Bonferroni): "shown" if and only if `trace` names one of them, but
    for rounding, which counts against the claim.

    Args:
      carrier: of the issue.
      plan: the committed plan.
      scores: as for `trace`.
      codes: those that may be named, at least one.
    """
    results = {}
    for reading in carrier.readings:
        own = customer_scores(carrier, scores[reading])
        logs = stats.bit_log10_p_values(own, list(codes), plan.statistic)
        results[reading] = stats.bit_test(
            own, codes[int(np.argmin(logs))], statistic=plan.statistic, alpha=plan.alpha
        )
    best = min(results.values(), key=lambda one: one.log10_p)
    return stats.multiplied(
        best, float(carrier.num_customers * len(carrier.readings) * carrier.num_disputes)
    )
