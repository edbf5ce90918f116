"""Collusion and attacks on weights: naive twins, edges, and what a reader still finds."""

import jax
import numpy as np
import pytest

from anw_jax import attacks, models
from anw_jax.attacks import TrainedModel
from anw_jax.keys import MarkKey, customer_code, draw_bits
from anw_jax.models import by_path
from anw_jax.schemes import fingerprint, plan_of

NET = models.create("testing", 10)
KEY = MarkKey.for_experiment(4)
SEEDED = type("Seeded", (), {"seed": 3})()  # what the attacks here use of a `Material`


@pytest.fixture(scope="module")
def base() -> dict:
    return NET.init(jax.random.key(0), (16, 16, 3))


@pytest.fixture(scope="module")
def issued(base):
    carrier = fingerprint.make_carrier(KEY, base, 20)
    plan = plan_of(carrier, alpha=1e-3)
    codes = [customer_code(KEY, plan, 304, f"{n:064x}", bytes(32)) for n in range(6)]
    common = draw_bits(KEY, plan, carrier.num_owner_bits)
    copies = [
        TrainedModel.of(NET, fingerprint.embed(carrier, base, code, common, strength=0.1))
        for code in codes[:3]
    ]
    return carrier, plan, codes, copies


def read(base, issued, suspect) -> fingerprint.Trace:
    carrier, plan, codes, _ = issued
    scores = {
        reading: fingerprint.extract(carrier, base, suspect.variables, reading)
        for reading in carrier.readings
    }
    return fingerprint.trace(carrier, plan, scores, codes)


@pytest.mark.parametrize(
    ("how", "twin"),
    [
        ("average", lambda values: sum(values) / len(values)),
        ("median", lambda values: sorted(values)[1]),
        ("min_max", lambda values: (min(values) + max(values)) / 2),
        ("min", min),
    ],
)
def test_collusion_is_its_naive_twin(issued, how, twin):
    copies = issued[3]
    paths = [by_path(one.variables) for one in copies]
    mixed = by_path(attacks.collude(copies, how).variables)
    for name in ("params/Conv_0/kernel", "batch_stats/BatchNorm_0/var"):
        values = [np.ravel(one[name]) for one in paths]
        wanted = [twin([float(v[place]) for v in values]) for place in range(8)]
        np.testing.assert_allclose(np.ravel(mixed[name])[:8], wanted, rtol=1e-5, atol=1e-7)


def test_pick_takes_each_weight_from_one_copy(issued):
    copies, name = issued[3], "params/BasicBlock_1/Conv_1/kernel"
    stacked = np.stack([by_path(one.variables)[name] for one in copies])
    picked = np.asarray(by_path(attacks.collude(copies, "pick").variables)[name])
    matches = stacked == picked
    assert matches.any(axis=0).all()
    assert 0.2 < matches[0].mean() < 0.5


def test_a_coalition_is_named(base, issued):
    for how in ("average", "min"):
        assert read(base, issued, attacks.collude(issued[3], how)).named == (0, 1, 2)


def test_bad_coalitions_are_one_error(issued):
    with pytest.raises(ValueError, match="copies must be at least two, of one network"):
        attacks.collude(issued[3][:1], "average")
    with pytest.raises(ValueError, match="how must be one of average, median"):
        attacks.collude(issued[3], "mean")


def test_permuted_weights_answer_alike_and_are_realigned(base, issued):
    copy = issued[3][1]
    moved = attacks.create("permute_weights").change(copy, SEEDED)
    images = jax.random.uniform(jax.random.key(1), (2, 16, 16, 3))
    np.testing.assert_allclose(moved.predict(images), copy.predict(images), atol=1e-3)
    result = read(base, issued, moved)
    assert result.named == (1,)
    assert result.log10_p["non-blind"][1] > -4
    assert result.log10_p["aligned"][1] < -20


def test_alignment_undoes_a_permutation_of_the_clean_model(base):
    moved = attacks.create("permute_weights", most_scale=1.0).change(
        TrainedModel.of(NET, base), SEEDED
    )
    found = by_path(fingerprint.align(moved.variables, base))
    for name, leaf in by_path(base).items():
        if name.endswith("kernel"):
            np.testing.assert_allclose(found[name], leaf, atol=1e-5)


@pytest.mark.parametrize("attack", ["quantise", "weight_noise", "overwrite_code"])
def test_a_copy_survives_small_changes_of_its_weights(base, issued, attack):
    assert read(base, issued, attacks.create(attack).change(issued[3][2], SEEDED)).named == (2,)


def test_rounding_keeps_few_values():
    values = np.linspace(-1, 1, 101)
    found = attacks.copies.quantised(values, 4)
    assert len(set(found.tolist())) == 15
    assert np.abs(found - values).max() <= 1 / 14 + 1e-12
    assert attacks.copies.quantised(np.zeros(3), 8).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("quantise", {"bits": 1}, "bits must be at least 2"),
        ("quantise", {"bits": 17}, "bits must be at most 16, got 17"),
        ("weight_noise", {"share": 0.0}, "share must be above 0"),
        ("permute_weights", {"most_scale": 0.5}, "most_scale must be at least 1, got 0.5"),
        ("overwrite_code", {"strength": -1.0}, "strength must be above 0"),
    ],
)
def test_bad_parameters_are_one_error(name, parameters, text):
    with pytest.raises(ValueError, match=text):
        attacks.create(name, **parameters)


def test_networks_that_are_not_residual_cannot_be_aligned():
    other = models.create("vgg_testing", 10).init(jax.random.key(0), (32, 32, 3))
    with pytest.raises(ValueError, match="the network must be residual"):
        fingerprint.groups_of(other)
