"""Tables that no marked photo ever touched, and what valid p-values look like."""

import itertools
import math
import pathlib

import numpy as np
import pytest
import scipy.stats

from anw_jax import stats
from anw_jax.keys import Assignment, Manifest, MarkKey, Plan, SignatureSpace, Units, assign

REAL_TABLE = pathlib.Path(__file__).resolve().parents[1] / "golden" / "innocent_table.npz"


def _innocent_table(name: str, num_images: int, num_slots: int = 12) -> np.ndarray:
    rng = np.random.default_rng(5)
    angles = 2 * np.pi * np.arange(num_slots) / num_slots
    if name == "real":
        if not REAL_TABLE.exists():
            pytest.skip(f"{REAL_TABLE.name} has not been made")
        return np.load(REAL_TABLE)["losses"][:num_images]
    if name == "smooth_hue":
        curve = 1.5 - np.cos(angles) + 0.3 * np.sin(2 * angles)
        return curve * rng.uniform(0.5, 1.5, (num_images, 1)) + rng.normal(
            0, 0.05, (num_images, num_slots)
        )
    noise = rng.normal(2.0, 1.0, (num_images, num_slots))
    if name == "all_ties":
        return rng.integers(0, 2, (num_images, num_slots)).astype(float)
    if name == "one_dominating":
        noise[0] *= 1e9
        return noise
    if name == "correlated_rows":
        return noise[:1] + 0.01 * noise
    if name == "nan_rows":
        noise[::3, num_slots // 2] = np.nan
        noise[1, :] = np.inf
        return noise
    if name == "dear_original":  # the unmarked slot has the highest loss everywhere
        noise[:, 0] = noise.max() + 1
        return noise
    raise AssertionError(name)


@pytest.fixture
def innocent_table():
    return _innocent_table


@pytest.fixture(scope="session")
def manifest_of_size():
    def make(num_images: int, scheme: str = "per_image", num_slots: int = 12) -> Manifest:
        images = np.random.default_rng(3).integers(0, 256, (num_images, 2, 2, 3), np.uint8)
        return Manifest.of(images, SignatureSpace(num_slots), scheme)

    return make


@pytest.fixture(scope="session")
def fresh_assignments(manifest_of_size):
    """Assignments under fresh keys, through HMAC; drawn once for each size."""
    drawn: dict[tuple, list[Assignment]] = {}

    def draw(num_keys: int, num_images: int, scheme: str = "per_image") -> list[Assignment]:
        arguments = num_keys, num_images, scheme
        if arguments not in drawn:
            manifest, plan = manifest_of_size(num_images, scheme), Plan("losses", 0.05)
            drawn[arguments] = [
                assign(MarkKey.for_experiment(seed, "calibration"), manifest, plan)
                for seed in range(num_keys)
            ]
        return drawn[arguments]

    return draw


@pytest.fixture(scope="session")
def looks_valid():
    """P(p ≤ t) ≤ t, judged by the library's band and by binomial counts at small t."""

    def judge(p_values: np.ndarray) -> bool:
        inside, _ = stats.super_uniformity(p_values)
        num = len(p_values)
        levels = [t for t in (1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.3) if t * num >= 5]
        return inside and all(
            (p_values <= t).sum() <= scipy.stats.binom.ppf(1 - 1e-4, num, t) for t in levels
        )

    return judge


@pytest.fixture(scope="session")
def plain_units():
    """Units of one image each, or those given."""

    def make(num_units: int, num_slots: int = 12, **arguments) -> Units:
        of_image = arguments.pop("unit_of_image", np.arange(num_units))
        return Units(np.asarray(of_image), SignatureSpace(num_slots), **arguments)

    return make


@pytest.fixture(scope="session")
def plain_assignment(plain_units):
    """One unit for each slot given."""

    def make(slots, num_slots: int = 12, **arguments) -> Assignment:
        slots = np.asarray(slots)
        return Assignment(plain_units(len(slots), num_slots, **arguments), slots)

    return make


@pytest.fixture(scope="session")
def every_outcome():
    """All (N - 1)^U slots that a key could draw, int64 `[(N - 1)^U, U]`."""

    def make(num_units: int, num_slots: int) -> np.ndarray:
        return np.array(list(itertools.product(range(1, num_slots), repeat=num_units)))

    return make


@pytest.fixture(scope="session")
def exact_counts():
    """Naive twin: how many slot choices give each sum, in exact integers."""

    def count(integers: np.ndarray) -> dict[int, int]:
        counts = {0: 1}
        for row in integers.tolist():
            longer: dict[int, int] = {}
            for total, ways in counts.items():
                for value in row:
                    longer[total + value] = longer.get(total + value, 0) + ways
            counts = longer
        return counts

    return count


@pytest.fixture(scope="session")
def exact_log_tail(exact_counts):
    """Naive twin: natural log of P(S ≥ s) from exact integers."""

    def tail(integers: np.ndarray, observed: int) -> float:
        ways = sum(w for total, w in exact_counts(integers).items() if total >= observed)
        return math.log(ways) - len(integers) * math.log(integers.shape[1])

    return tail
