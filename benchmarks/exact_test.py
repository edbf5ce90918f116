"""The exact test compared with a Monte-Carlo test, and the growth of its time with the units.

The floor is the last convolution alone, three transforms as long as the null's grid.

Measured on two idle CPU cores: 0.15 s at 5,000 units and 2.6 s at 50,000, of which 6 to 9 %
is the floor; the rest goes into the many small convolutions below the last one. It takes longer
than 999 draws, but these cannot resolve p below 0.001, and here p is 1e-367 and 1e-3665.
"""

import argparse

import numpy as np
import scipy.fft

from anw_jax.keys import Assignment, SignatureSpace, Units
from anw_jax.stats import exact_test, format_log10_p, monte_carlo_test
from benchmarks import _measure

SPACE = SignatureSpace()


def compare(num_units: int, rounds: int) -> dict:
    """Time both tests on the table of a model that prefers the secret slots."""
    rng = np.random.default_rng(num_units)
    slots = rng.integers(1, 12, num_units)
    table = rng.exponential(size=(num_units, 12)).astype(np.float32)
    table[np.arange(num_units), slots] *= 0.5
    assignment = Assignment(Units(np.arange(num_units), SPACE), slots)
    # The grid of scores has 64 points per unit, at least 2^16 (see stats.exact).
    length = scipy.fft.next_fast_len(max(2**16, 64 * num_units), real=True)
    vectors = rng.random((2, length))

    def floor() -> None:
        scipy.fft.irfft(np.prod(scipy.fft.rfft(vectors), axis=0), length)

    sides = {
        "exact": lambda: exact_test(table, assignment),
        "monte carlo": lambda: monte_carlo_test(table, assignment, num_draws=999, seed=0),
        "floor": floor,
    }
    seconds = _measure.alternate(sides, rounds)
    result = exact_test(table, assignment)
    taken = float(np.median(seconds["exact"]))
    speedup = _measure.ratio(seconds, "exact", "monte carlo")
    share = _measure.ratio(seconds, "exact", "floor")
    print(f"{num_units} units: {taken:.3f} s, log10 p = {format_log10_p(result.log10_p, 1)}")
    _measure.say(f"{num_units} units, times faster than 999 Monte-Carlo draws", speedup)
    _measure.say(f"{num_units} units, share of the floor", share)
    return {
        "seconds": seconds,
        "log10_p": result.log10_p,
        "speedup_over_999_draws": speedup,
        "share_of_floor": share,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, nargs="+", default=[50, 500, 5_000, 50_000])
    parser.add_argument("--rounds", type=int, default=5)
    flags = parser.parse_args()
    results = {str(units): compare(units, flags.rounds) for units in flags.units}
    _measure.write("exact_test", results)


if __name__ == "__main__":
    main()
