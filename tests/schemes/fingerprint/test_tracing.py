"""Who is named: colluders, and no innocent customer, in pairs with near lies."""

import numpy as np
import pytest

from anw_jax import stats
from anw_jax.errors import CommitmentError
from anw_jax.keys import Bits, MarkKey, customer_code
from anw_jax.schemes import fingerprint, plan_of
from anw_jax.schemes.fingerprint import simulation
from tests.schemes.fingerprint.conftest import KEY, tiny_base

NUM_FRESH = 1500


def mixed(copies: list[dict], how=np.mean) -> dict:
    names = copies[0]["params"]
    return {
        "params": {
            name: {"kernel": how([copy["params"][name]["kernel"] for copy in copies], axis=0)}
            for name in names
        },
        "batch_stats": {},
    }


def test_a_copy_and_a_mixture_are_named(owner):
    codes = owner.codes(20)
    alone = owner.trace(owner.copy(codes[4]), codes)
    assert alone.named == (4,)
    assert alone.smallest[4] < -20
    copies = [owner.copy(codes[n]) for n in (2, 5, 9)]
    for how in (np.mean, np.median, np.min):
        assert owner.trace(mixed(copies, how), codes).named == (2, 5, 9)


def test_the_clean_model_names_nobody(owner):
    assert owner.trace(owner.base, owner.codes(20)).named == ()


def test_the_level_is_shared_by_disputes_and_readings(owner_class):
    own = owner_class(num_disputes=4)
    result = own.trace(own.copy(own.code(0)), own.codes(3))
    assert result.level == pytest.approx(1e-3 / 8)
    assert result.num_tests == 20  # codes that were not issued count too


def test_other_readings_plans_or_too_many_codes_are_refused(owner):
    scores = owner.read(owner.base)
    with pytest.raises(ValueError, match="declared readings non-blind, blind, got blind"):
        fingerprint.trace(owner.carrier, owner.plan, {"blind": scores["blind"]}, [])
    with pytest.raises(ValueError, match="at most the 20 that were declared, got 21"):
        fingerprint.trace(owner.carrier, owner.plan, scores, owner.codes(21))
    other = fingerprint.make_carrier(
        MarkKey.for_experiment(2), owner.base, 20, layers=owner.carrier.layers, num_bits=128
    )
    with pytest.raises(CommitmentError, match="a setting was changed after the commitment"):
        fingerprint.trace(owner.carrier, plan_of(other, alpha=1e-3), scores, [])


def test_many_codes_have_the_p_of_the_bit_test():
    rng = np.random.default_rng(3)
    scores = rng.normal(size=90)
    codes = [Bits(np.where(rng.random(90) < 0.5, 1, -1)) for _ in range(4)]
    codes.append(Bits(np.where(scores > 0, 1, -1)))
    several = stats.bit_log10_p_values(scores, codes)
    single = [stats.bit_test(scores, code).log10_p for code in codes]
    np.testing.assert_allclose(several, single, rtol=1e-4)
    assert several[-1] < -20


def innocent_p(own, values, *, attack, refuse=None):
    """p of customer 0, whose copy the coalition of customers 1 to 3 never saw."""
    found = []
    for value in values:
        codes = own.codes(4, value)
        coalition = np.array([code.signs for code in codes[1:]], float)
        mean = coalition.mean(axis=0)
        code, nonce = codes[0], 0
        while refuse is not None and refuse(code.signs, mean):
            nonce += 1
            again = (own.plan, 128, f"{0:064x}", nonce.to_bytes(32, "big"))
            code = customer_code(KEY, *again, beacon=value)
        suspect = attack(own, codes[1:])
        scores = fingerprint.customer_scores(own.carrier, own.read(suspect)["non-blind"])
        found.append(10 ** stats.bit_log10_p_values(scores, [code])[0])
    return np.array(found)


def averaged(own, codes):
    return mixed([own.copy(code) for code in codes])


def opposed(own, codes):
    """w_base minus what the copies add: an answer that knows the score."""
    suspect = averaged(own, codes)
    params = {
        name: {"kernel": 2 * own.base["params"][name]["kernel"] - layer["kernel"]}
        for name, layer in suspect["params"].items()
    }
    return {"params": params, "batch_stats": {}}


def beacons(count: int) -> list[bytes]:
    rng = np.random.default_rng(9)
    return [rng.bytes(32) for _ in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("attack", [averaged, opposed])
def test_an_innocents_p_is_super_uniform_when_all_after_the_beacon_is_remade(owner, attack):
    p_values = innocent_p(owner, beacons(1000), attack=attack)
    assert stats.super_uniformity(p_values)[0]


@pytest.mark.slow
def test_codes_refused_for_nearness_break_it(owner):
    """The owner lets no code be near to the others: a hostile coalition turns this on him."""
    lie = innocent_p(
        owner,
        beacons(300),
        attack=opposed,
        refuse=lambda code, mean: code @ mean > -5,
    )
    assert not stats.super_uniformity(lie)[0]


def fitted(suspect: dict, target: dict) -> dict:
    """The suspect's channels, mixed by least squares to fit another network."""
    params = {}
    for name, layer in suspect["params"].items():
        wanted = target["params"][name]["kernel"]
        rows = layer["kernel"].reshape(-1, wanted.shape[-1]).astype(np.float64)
        matrix, *_ = np.linalg.lstsq(rows, wanted.reshape(rows.shape), rcond=None)
        params[name] = {"kernel": (rows @ matrix).reshape(wanted.shape)}
    return {"params": params, "batch_stats": {}}


@pytest.mark.parametrize("to_copy", [False, True])
def test_alignment_to_a_copy_accuses_innocent_networks(owner, to_copy):
    p_values = []
    for number, value in enumerate(beacons(20)):
        code, own = owner.code(0, value), tiny_base(1 + number)
        suspect = fitted(own, owner.copy(code) if to_copy else owner.base)
        scores = fingerprint.extract(owner.carrier, owner.base, suspect, "non-blind")
        scores = fingerprint.customer_scores(owner.carrier, scores)
        p_values.append(10 ** stats.bit_log10_p_values(scores, [code])[0])
    assert stats.super_uniformity(np.array(p_values))[0] != to_copy


def test_fresh_codes_and_fresh_beacons_match_no_copy(owner):
    scores = fingerprint.customer_scores(
        owner.carrier, owner.read(mixed([owner.copy(owner.code(n)) for n in range(3)]))
        ["non-blind"],
    )  # fmt: skip
    fresh = [owner.code(100 + n) for n in range(NUM_FRESH)]
    assert stats.super_uniformity(stats.fresh_bit_p_values(scores, fresh))[0]
    after = [owner.code(0, value) for value in beacons(NUM_FRESH)]
    assert stats.super_uniformity(stats.fresh_bit_p_values(scores, after))[0]
    assert not stats.super_uniformity(stats.fresh_bit_p_values(scores, owner.codes(3) * 5))[0]


@pytest.mark.slow
def test_a_hundred_thousand_fresh_codes_and_beacons_match_no_copy(owner):
    scores = fingerprint.customer_scores(
        owner.carrier, owner.read(owner.copy(owner.code(0)))["non-blind"]
    )
    fresh = [owner.code(100 + n) for n in range(100_000)]
    assert stats.super_uniformity(stats.fresh_bit_p_values(scores, fresh))[0]
    after = [owner.code(0, value) for value in beacons(100_000)]
    assert stats.super_uniformity(stats.fresh_bit_p_values(scores, after))[0]


def test_simulated_issues_name_innocents_no_more_than_epsilon():
    result = simulation.name_innocents(200, epsilon=0.05, num_customers=20, num_bits=64)
    assert result.is_valid
    assert result.num_issues == 200


def test_the_simulation_sees_a_level_that_is_too_large(monkeypatch):
    monkeypatch.setattr(
        stats, "bit_log10_p_values", lambda scores, codes: np.full(len(codes), -9.0)
    )
    monkeypatch.setattr(simulation, "_MARGIN", 2.0)
    assert not simulation.name_innocents(
        60, epsilon=0.05, num_customers=20, num_bits=64
    ).is_valid


@pytest.mark.slow
def test_a_hundred_thousand_simulated_issues():
    assert simulation.name_innocents(100_000).is_valid


def test_simulated_averages_are_caught():
    assert simulation.catch_rate(3, num_trials=3) == (1.0, 1.0)


def test_tardos_codes_catch_one_and_not_eight():
    assert simulation.tardos_catch_rate(1, num_trials=5) == 1.0
    assert simulation.tardos_catch_rate(8, num_trials=10) < 0.5
