"""Issues and collusions in code space: no network, so that 100,000 can be made.

A copy is its code, seen through the projection. Attacks on single weights act there like the
average with noise, because the projection is random and the carrier long. Codes that are read
one by one, without a projection, would die under "min": it is here as a hostile answer.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy.stats

from anw_jax import _check, stats
from anw_jax.keys import Bits
from anw_jax.schemes.fingerprint import designs
from anw_jax.schemes.fingerprint.carrier import NUM_BITS
from anw_jax.stats.bits import bit_integers

# Sums of 304 bounded terms have tails so near to the normal one that none reaches a level this
# many standard deviations below the normal quantile. Without a margin, "extreme" might.
_MARGIN = 0.35

# From the codes of a coalition, [c, num_bits] of ±1, and a generator, to scores.
AttackFn = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def average(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mean of the codes, with the reading's noise."""
    return codes.mean(axis=0) + 0.3 * rng.normal(size=codes.shape[1])


def minimum(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Smallest of noisy codes."""
    return (codes + 0.3 * rng.normal(size=codes.shape)).min(axis=0)


def pick(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each bit from a colluder chosen at random."""
    return codes[rng.integers(len(codes), size=codes.shape[1]), np.arange(codes.shape[1])]


def opposite(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Minus the mean: a coalition that knows the score and wants somebody else named."""
    return -average(codes, rng)


def extreme(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Huge values in a few places, to dominate the sum, and nothing usable in others."""
    scores = codes.mean(axis=0) * np.exp(3 * rng.normal(size=codes.shape[1]))
    return np.where(rng.random(codes.shape[1]) < 0.05, np.nan, scores)


ATTACKS: dict[str, AttackFn] = {
    "average": average,
    "min": minimum,
    "pick": pick,
    "opposite": opposite,
    "extreme": extreme,
}


@dataclasses.dataclass(frozen=True)
class Innocents:
    """How often an innocent customer is named in simulated issues.

    Attributes:
      num_issues: simulated issues.
      num_named: issues in which at least one innocent was named.
      epsilon: the declared level.
      bound: the largest number that 99.9 % of runs at the level ε stay below.
    """

    num_issues: int
    num_named: int
    epsilon: float
    bound: int

    @property
    def is_valid(self) -> bool:
        """Whether the number is one that the level ε allows."""
        return self.num_named <= self.bound


def name_innocents(
    num_issues: int,
    *,
    epsilon: float = 1e-3,
    num_customers: int = 100,
    num_bits: int = NUM_BITS,
    seed: int = 0,
) -> Innocents:
    """Count simulated issues in which an innocent is named; coalitions of 1 to 10.

    One suspect and one reading for each issue. All colluders count as named, which gives the
    innocents the largest level that Holm's rule can give them.

    Args:
      num_issues: at least 1; attacks take turns.
      epsilon: the level.
      num_customers: of each issue, at least 11.
      num_bits: of a code.
      seed: of everything.

    Example:
      >>> name_innocents(50, num_customers=20).is_valid
      True
    """
    _check.integer_at_least(1, num_issues=num_issues)
    _check.integer_at_least(11, num_customers=num_customers)
    rng, named = np.random.default_rng([seed, 304]), 0
    attacks = list(ATTACKS.values())
    for number in range(num_issues):
        drawn = np.frombuffer(rng.bytes(num_customers * num_bits // 8 + 1), np.uint8)
        bits = np.unpackbits(drawn, count=num_customers * num_bits)
        codes = bits.reshape(num_customers, num_bits).astype(np.float32) * 2 - 1
        colluders = 1 + number % 10
        attack_fn = attacks[number % len(attacks)]
        scores = attack_fn(codes[:colluders], rng)
        level = epsilon / (num_customers - colluders)
        named += _names(scores, codes[colluders:], level)
    bound = int(scipy.stats.binom.ppf(0.999, num_issues, epsilon))
    return Innocents(num_issues, named, epsilon, bound)


def catch_rate(
    colluders: int,
    *,
    num_trials: int = 100,
    epsilon: float = 1e-3,
    num_customers: int = 100,
    num_bits: int = NUM_BITS,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the share of simulated averages with any colluder named, and of colluders."""
    rng, any_named, all_named = np.random.default_rng([seed, colluders]), 0, 0
    for _ in range(num_trials):
        codes = rng.integers(0, 2, (colluders, num_bits)) * 2 - 1
        logs = stats.bit_log10_p_values(average(codes, rng), list(map(Bits, codes)))
        named = stats.holm(logs, epsilon, num_customers).sum()
        any_named += named > 0
        all_named += named
    return float(any_named / num_trials), float(all_named / (num_trials * colluders))


def tardos_catch_rate(
    colluders: int,
    *,
    num_trials: int = 100,
    epsilon: float = 1e-3,
    num_customers: int = 100,
    num_bits: int = NUM_BITS,
    seed: int = 0,
) -> float:
    """Return the share of collusions in which Tardos codes, as hard bits, name any colluder.

    The codes are made for this number of colluders; each bit is taken from one of them at
    random, and 2 % of the bits are then read wrong.
    """
    rng, caught = np.random.default_rng([seed, colluders, 2003]), 0
    for _ in range(num_trials):
        biases = designs.tardos_biases(num_bits, colluders, rng)
        codes = (rng.random((colluders, num_bits)) < biases).astype(np.int64)
        found = codes[rng.integers(colluders, size=num_bits), np.arange(num_bits)]
        found = found ^ (rng.random(num_bits) < 0.02)
        logs = designs.tardos_log10_p(biases, found, codes)
        caught += stats.holm(logs, epsilon, num_customers).any()
    return float(caught / num_trials)


def _names(scores: np.ndarray, codes: np.ndarray, level: float) -> bool:
    """Return whether any code reaches the level; exact tails only where one may."""
    integers = bit_integers(scores, "bounded_bits")
    widths = (integers[:, 1] - integers[:, 0]) / 2
    limit = scipy.stats.norm.isf(level) - _MARGIN
    near = codes @ widths.astype(np.float32) > limit * np.sqrt(np.square(widths).sum())
    logs = stats.bit_log10_p_values(scores, list(map(Bits, codes[near])))
    return bool((logs <= np.log10(level)).any())
