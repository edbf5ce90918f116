"""The calibration of tests/stats with 10^5 fresh keys through HMAC: P(p ≤ t) ≤ t."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.tree_util import Partial

from anw_jax import stats, suspects, verify
from anw_jax.audit.options import access_of_rule
from anw_jax.keys import AccessRule, Manifest, MarkKey, Plan, SignatureSpace, assign
from anw_jax.marks import Mark
from tests.statistical.owners import GENTLE

pytestmark = pytest.mark.slow

NUM_KEYS = 100_000
NUM_IMAGES = 20
REAL_TABLE = pathlib.Path(__file__).resolve().parents[1] / "golden" / "innocent_table.npz"


def _assignments(mode: str):
    images = np.random.default_rng(3).integers(0, 256, (NUM_IMAGES, 2, 2, 3), np.uint8)
    manifest = Manifest.of(images, SignatureSpace())
    plan, value = Plan("losses", 0.05, beacon="arbitrator:X", mode=mode), bytes(range(32))
    return [
        assign(MarkKey.for_experiment(seed), manifest, plan, beacon=value)
        for seed in range(NUM_KEYS)
    ]


@pytest.fixture(scope="module")
def assignments():
    return _assignments("sealed")


@pytest.fixture(scope="module")
def turned_assignments():
    return _assignments("sequential")


def _table(name: str) -> np.ndarray:
    rng = np.random.default_rng(9)
    noise = rng.normal(2.0, 1.0, (NUM_IMAGES, 12))
    if name == "real":
        if not REAL_TABLE.exists():
            pytest.skip(f"{REAL_TABLE.name} has not been made")
        return np.load(REAL_TABLE)["losses"][:NUM_IMAGES]
    if name == "smooth_hue":
        curve = 1.5 - np.cos(2 * np.pi * np.arange(12) / 12)
        return curve * rng.uniform(0.5, 1.5, (NUM_IMAGES, 1)) + 0.05 * noise
    mark_name, _, kind = name.rpartition("_")
    if mark_name in GENTLE:
        return _gentle_table(GENTLE[mark_name], kind)
    if name == "all_ties":
        return rng.integers(0, 2, (NUM_IMAGES, 12)).astype(float)
    if name == "one_dominating":
        noise[0] *= 1e9
    if name == "correlated_rows":
        return noise[:1] + 0.01 * noise
    if name == "nan_rows":
        noise[::3, 5] = np.nan
    return noise


def _gentle_table(mark: Mark, kind: str) -> np.ndarray:
    """An innocent network's losses of a mark's slots: over views, or denoising errors.

    Kind "black" is asked as an audit asks, with views filled with black;
    `test_declarations` has views that are filled by reflection.
    """
    rng = np.random.default_rng(4)
    photos = rng.integers(0, 256, (NUM_IMAGES, 16, 16, 3), np.uint8)
    weights = jnp.asarray(rng.normal(0, 0.3, (16 * 16 * 3, 4)), jnp.float32)
    if kind == "black":
        suspect = suspects.CallableSuspect(
            lambda batch: batch.reshape(len(batch), -1) @ np.asarray(weights),
            suspects.Declaration(4, "logits"),
            identity="innocent",
        )
        labels, space = np.arange(NUM_IMAGES) % 4, SignatureSpace()
        access = access_of_rule(AccessRule("logits", views=6, fill=kind))
        return suspects.ask(suspect, photos, labels, mark, space, access=access, seed=b"public")
    if kind == "views":
        loss = verify.over_views(verify.cross_entropy, 6, (16, 16, 3), seed=1)
        predict = Partial(lambda w, x: x.reshape(len(x), -1) @ w, weights)
        return verify.loss_table(
            predict, photos, np.arange(NUM_IMAGES) % 4, mark, SignatureSpace(), loss=loss
        )
    shares = np.linspace(0.99, 0.1, 10, dtype=np.float32)
    loss = verify.denoising_error(shares, np.array([1, 4, 4]), (16, 16, 3), seed=2)
    kernel = jnp.asarray(0.1 * rng.normal(0, 1, (3, 3, 3, 3)), jnp.float32)
    denoise = Partial(lambda k, x, steps: _convolved(x, k), kernel)
    return verify.loss_table(denoise, photos, (), mark, SignatureSpace(), loss=loss)


def _convolved(images: jax.Array, kernel: jax.Array) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        images, kernel, (1, 1), "SAME", dimension_numbers=layout
    )


def _looks_valid(p_values: np.ndarray) -> bool:
    inside, _ = stats.super_uniformity(p_values)
    return inside and all(
        (p_values <= t).sum() <= scipy.stats.binom.ppf(1 - 1e-4, len(p_values), t)
        for t in (1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.3)
    )


@pytest.mark.parametrize("statistic", sorted(stats.STATISTICS))
@pytest.mark.parametrize(
    "name",
    [
        "smooth_hue",
        "all_ties",
        "one_dominating",
        "correlated_rows",
        "nan_rows",
        "real",
        "light_views",
        "light_denoising",
        "light_black",
    ],
)
def test_a_hundred_thousand_fresh_keys(name, statistic, assignments):
    assert _looks_valid(stats.fresh_p_values(_table(name), assignments, statistic))


@pytest.mark.parametrize(
    ("kind", "statistic"),
    [("views", "log_losses"), ("views", "bounded_log_losses"), ("denoising", "log_errors")],
)
@pytest.mark.parametrize(
    "name", sorted(GENTLE.keys() - {"light"})
)  # light has all statistics above
def test_a_hundred_thousand_fresh_keys_of_each_gentle_mark(name, kind, statistic, assignments):
    table = _table(f"{name}_{kind}")
    assert np.ptp(table[:, 1:], axis=1).min() > 0  # the slots differ for every photo
    assert _looks_valid(stats.fresh_p_values(table, assignments, statistic))


@pytest.mark.parametrize("statistic", sorted(stats.STATISTICS))
@pytest.mark.parametrize("name", ["smooth_hue", "nan_rows", "light_denoising"])
def test_a_hundred_thousand_fresh_keys_with_references(name, statistic, assignments):
    table, rng = _table(name), np.random.default_rng(5)
    near = 0.5 * np.nan_to_num(table, nan=2.0) + 0.1 * rng.normal(0, 1, table.shape)
    references = (np.abs(near), rng.gamma(2.0, 1.0, table.shape))
    p_values = stats.fresh_p_values(table, assignments, statistic, references)
    assert _looks_valid(p_values)


@pytest.mark.parametrize("name", ["smooth_hue", "one_dominating", "real"])
def test_leaves_of_a_hundred_thousand_fresh_keys(name, turned_assignments):
    assert _looks_valid(stats.fresh_p_values(_table(name), turned_assignments, "losses"))


def test_near_lies_are_seen(assignments):
    table = _table("smooth_hue")
    slots = np.array([a.slot_of_unit for a in assignments])
    hits = (stats.blind_argmin(table[:, 1:]) == slots).sum(axis=1)
    assert _looks_valid(scipy.stats.binom.sf(hits - 1, NUM_IMAGES, 1 / 11))
    assert not _looks_valid(scipy.stats.binom.sf(hits - 1, NUM_IMAGES, 1 / 12))
    assert not _looks_valid(scipy.stats.binom.sf(hits, NUM_IMAGES, 1 / 11))
