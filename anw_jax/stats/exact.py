"""The exact null distribution of a sum of scores over independent uniform slots.

S = Σ_u a[u, slot_u] with slots independent and uniform over the valid ones. The scores are
quantised to integers, and observed and null statistic use the same integers, so that
quantisation costs a little power and no validity. The distribution of S is the
convolution of U small ones. For far tails each is first tilted by e^{θ a} (Chernoff 1952,
https://doi.org/10.1214/aoms/1177729330) with θ chosen so that the tilted mean is the
observed value: the tail is then computed where the tilted distribution has its mass, and in
logarithms, which avoids cancellation and underflow.
"""

import dataclasses
import functools

import numpy as np
import scipy

_EPS = float(np.finfo(np.float64).eps)

# Relative 2-norm error of one FFT of length n is at most _FFT_CONSTANT * eps * log2(n)
# (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., theorem 24.2, gives
# about 7 eps / 2 for accurate twiddles; doubled here).
_FFT_CONSTANT = 7.0

# Grid points for the whole sum: enough that rounding adds < 0.1 % to the null's variance.
_MIN_GRID = 2**16
_GRID_PER_UNIT = 64

# Bytes that one batch of transforms may take.
_BATCH_BYTES = 2**26


def quantise(scores: np.ndarray) -> np.ndarray:
    """Round scores to integers on one grid; each row starts at 0.

    Subtracting a constant from a row moves observed and null statistic alike. The grid's
    step is the sum of all row ranges over max(2^16, 64 U): a function of the scores alone.
    A common factor of all integers is divided out, so that counts stay small numbers.

    Args:
      scores: finite float64 `[num_units, num_valid_slots]`.

    Returns:
      int64, same shape, each row's smallest entry 0; all zero where no row varies.

    Example:
      >>> quantise(np.array([[0.0, 1.0, 0.5], [3.0, 1.5, 1.0]])).tolist()
      [[0, 21845, 10923], [43691, 10923, 0]]
      >>> quantise(np.array([[0.0, 1.0, 0.5]])).tolist()
      [[0, 2, 1]]
    """
    shifted = scores - scores.min(axis=1, keepdims=True)
    # Sorted, so that the order of the units changes no bit of the sum.
    total = np.sort(shifted.max(axis=1)).sum()
    if not total > 0:
        return np.zeros(scores.shape, np.int64)
    grid = max(_MIN_GRID, _GRID_PER_UNIT * len(scores))
    integers = np.rint(shifted / total * grid).astype(np.int64)
    return integers // max(1, int(np.gcd.reduce(integers, axis=None)))


@dataclasses.dataclass(frozen=True, eq=False)
class ExactNull:
    """The distribution of Σ_u a[u, slot_u] for uniform independent slots.

    Attributes:
      integers: a, int64 `[num_units, num_valid_slots]`, not negative.

    Example:
      >>> null = ExactNull(np.array([[0, 1, 2], [0, 1, 2]]))
      >>> [round(float(np.exp(null.log_p_value(s))), 6) for s in (4, 3, 0)]
      [0.111111, 0.333333, 1.0]
    """

    integers: np.ndarray

    @property
    def largest(self) -> int:
        """The largest value the sum can take."""
        return int(self.integers.max(axis=1).sum())

    @property
    def mean(self) -> float:
        """Mean of the sum under H0."""
        return float(self.integers.mean(axis=1).sum())

    @property
    def std(self) -> float:
        """Standard deviation of the sum under H0."""
        return float(np.sqrt(self.integers.var(axis=1).sum()))

    @property
    def smallest_log_p(self) -> float:
        """Natural log of the smallest p any outcome can have: P(S = largest)."""
        best = self.integers == self.integers.max(axis=1, keepdims=True)
        return float(np.log(best.sum(axis=1) / best.shape[1]).sum())

    def log_p_value(self, observed: int) -> float:
        """Compute the natural log of P(S ≥ observed), never below the true value, at most 0.

        The bound on the rounding error is added; the best possible outcome, where no finite
        tilt reaches, has its closed form Π (number of best slots) / (N - 1).
        """
        if observed <= 0:
            return 0.0
        num_units, num_slots = self.integers.shape
        # Round-off of a sum of one logarithm per unit, each at most log(N - 1).
        rounding = 8 * _EPS * num_units * (1 + np.log(num_slots))
        floor = self.smallest_log_p + rounding
        if observed >= self.largest:
            return float(min(0.0, floor))
        theta = self._tilt(observed)
        log_normaliser, pmf, error = self._tilted(theta)
        tail = pmf[observed:]
        with np.errstate(under="ignore"):
            mass = float(tail @ np.exp(-theta * np.arange(len(tail))))
        log_mass = np.log(mass * (1 + len(tail) * _EPS) + error)
        below_largest = theta * (self.largest - observed)
        size = abs(log_normaliser) + below_largest + abs(log_mass)
        log_p = log_normaliser + below_largest + log_mass + rounding + 8 * _EPS * size
        return float(min(0.0, max(log_p, floor)))

    @functools.cached_property
    def survival(self) -> np.ndarray:
        """P(S ≥ s) for s = 0 … largest, each with the error bound added, at most 1.

        For many observed values at once. The bound is about 1e-11 for a hundred units and
        1e-8 for fifty thousand: too coarse for far tails.
        """
        _, pmf, error = self._tilted(0.0)
        return np.minimum(1.0, np.cumsum(pmf[::-1])[::-1] * (1 + len(pmf) * _EPS) + error)

    @functools.cached_property
    def pmf(self) -> np.ndarray:
        """P(S = s) for s = 0 … largest; for plots."""
        return self._tilted(0.0)[1]

    def _tilt(self, observed: int) -> float:
        """Find θ ≥ 0 at which the tilted mean is `observed`."""
        values = self.integers.astype(np.float64)

        def excess(theta: float) -> float:
            weights = scipy.special.softmax(theta * values, axis=1)
            return float((weights * values).sum()) - observed

        if excess(0.0) >= 0:
            return 0.0
        # Beyond 40 per grid step all but e^-40 of each row's weight is on its best slot.
        high = 40.0
        if excess(high) <= 0:
            return high
        return float(scipy.optimize.brentq(excess, 0.0, high, xtol=1e-12, rtol=1e-6))

    def _tilted(self, theta: float) -> tuple[float, np.ndarray, float]:
        """Compute Σ log E e^{θ (a - max a)}, the tilted sum's pmf, a bound on its L1 error.

        Exponents count down from each row's maximum: θ times the whole sum would lose as
        many digits as it has before its point.
        """
        exponents = theta * (self.integers - self.integers.max(axis=1, keepdims=True))
        row_logs = scipy.special.logsumexp(exponents, axis=1, keepdims=True)
        weights = np.exp(exponents - row_logs)
        rows = [
            np.bincount(row, weights=row_weights)
            for row, row_weights in zip(self.integers, weights, strict=True)
        ]
        pmf, error = convolve_all(rows)
        # A weight e^{-x} errs by at most (x + log N + 4) eps of itself, and x e^{-x} < 1, so
        # that a row's weights err by less than this in all; the row's sum is in it too.
        error += 4 * _EPS * self.integers.size
        log_normaliser = float((row_logs - np.log(self.integers.shape[1])).sum())
        return log_normaliser, pmf, error


def convolve_all(pmfs: list[np.ndarray]) -> tuple[np.ndarray, float]:
    """Convolve probability vectors pairwise, shortest first.

    Returns:
      The convolution, of length 1 + Σ (length - 1), with rounding noise below zero cut off,
      and a bound on the L1 distance from the exact one. Errors add: convolving with a
      probability vector cannot enlarge an L1 error.
    """
    error = 0.0
    while len(pmfs) > 1:
        pmfs = sorted(pmfs, key=len)
        left_over = pmfs.pop() if len(pmfs) % 2 else None
        batches: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        for first, second in zip(pmfs[::2], pmfs[1::2], strict=True):
            size = _transform_size(len(first) + len(second) - 1)
            batches.setdefault(size, []).append((first, second))
        pmfs = [] if left_over is None else [left_over]
        for size, pairs in batches.items():
            merged, batch_error = _convolve_pairs(pairs, size)
            pmfs += merged
            error += batch_error
    return pmfs[0], error


def _transform_size(length: int) -> int:
    """Return the next of …, 64, 96, 128, 192, …: few sizes, so that batches are large."""
    power = 1 << (length - 1).bit_length()
    return power * 3 // 4 if power >= 8 and length <= power * 3 // 4 else power


def _convolve_pairs(
    pairs: list[tuple[np.ndarray, np.ndarray]], size: int
) -> tuple[list[np.ndarray], float]:
    """Convolve pairs through real FFTs of one size, in batches of bounded memory."""
    batch = max(1, _BATCH_BYTES // (32 * size))
    merged, error = [], 0.0
    for start in range(0, len(pairs), batch):
        chunk = pairs[start : start + batch]
        first, second = (_padded([pair[side] for pair in chunk], size) for side in (0, 1))
        product = scipy.fft.rfft(first) * scipy.fft.rfft(second)
        result = np.maximum(scipy.fft.irfft(product, size), 0.0)
        lengths = [len(a) + len(b) - 1 for a, b in chunk]
        merged += [row[:length].copy() for row, length in zip(result, lengths, strict=True)]
        norms = np.sqrt(np.einsum("ij,ij->i", first, first)) + np.sqrt(
            np.einsum("ij,ij->i", second, second)
        )
        # The product's transform errs by at most the sum of the two inputs' errors, since
        # a probability vector's transform is at most 1 everywhere; the inverse adds one
        # more, of at most either norm. L1 ≤ sqrt(size) · L2. In all 1.5 times the sum of the
        # norms; 2 covers the product's rounding and inputs whose sum is 1 + 1e-8.
        error += 2 * _FFT_CONSTANT * _EPS * np.log2(size + 1) * np.sqrt(size) * norms.sum()
    return merged, float(error)


def _padded(rows: list[np.ndarray], size: int) -> np.ndarray:
    padded = np.zeros((len(rows), size))
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded
