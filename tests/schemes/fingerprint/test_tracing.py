"""Who is named: colluders, and no innocent customer, in pairs with near lies."""

import jax
import numpy as np
import pytest

from anw_jax import models, stats
from anw_jax.errors import CommitmentError
from anw_jax.keys import Bits, MarkKey, customer_code
from anw_jax.models import by_path, from_paths
from anw_jax.schemes import fingerprint, plan_of
from anw_jax.schemes.fingerprint import simulation
from tests.schemes.fingerprint.conftest import KEY, tiny_base

NUM_FRESH = 1500


def mixed(copies: list[dict], how=np.mean) -> dict:
    return jax.tree.map(lambda *leaves: how(leaves, axis=0), *copies)


@pytest.fixture(scope="module")
def residual(owner_class):
    """An owner whose network can be aligned."""
    base = models.create("testing", 10).init(jax.random.key(0), (16, 16, 3))
    return owner_class(base=jax.device_get(base))


def test_a_copy_and_a_mixture_are_named(owner):
    codes = owner.codes(20)
    alone = owner.trace(owner.copy(codes[4]), codes)
    assert alone.named == (4,)
    assert alone.smallest[4] < -20
    copies = [owner.copy(codes[n]) for n in (2, 5, 9)]
    for how in (np.mean, np.median, np.min):
        assert owner.trace(mixed(copies, how), codes).named == (2, 5, 9)


def test_the_p_of_each_code_counts_the_readings(owner):
    """The smaller of two p-values is no p: below 5 % for nearly 10 % of innocent customers."""
    bits = np.random.default_rng(5).integers(0, 2, (3000, owner.carrier.num_bits)) * 2 - 1
    readings = owner.read(tiny_base(7)).values()
    logs = {
        str(number): stats.bit_log10_p_values(
            fingerprint.customer_scores(owner.carrier, scores), list(map(Bits, bits))
        )
        for number, scores in enumerate(readings)
    }
    found = 10.0 ** fingerprint.Trace((), logs, 1e-3, 20).smallest
    assert stats.super_uniformity(found)[0]
    assert not stats.super_uniformity(10.0 ** np.min(list(logs.values()), axis=0))[0]


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
    """p of customer 0, whose copy the coalition of customers 1 to 3 never saw, by reading."""
    found = {reading: [] for reading in own.carrier.readings}
    for value in values:
        codes = own.codes(4, value)
        coalition = np.array([code.signs for code in codes[1:]], float)
        mean = coalition.mean(axis=0)
        code, nonce = codes[0], 0
        while refuse is not None and refuse(code.signs, mean):
            nonce += 1
            again = (own.plan, own.carrier.num_bits, f"{0:064x}", nonce.to_bytes(32, "big"))
            code = customer_code(KEY, *again, beacon=value)
        for reading, scores in own.read(attack(own, codes[1:])).items():
            scores = fingerprint.customer_scores(own.carrier, scores)
            found[reading].append(10 ** stats.bit_log10_p_values(scores, [code])[0])
    return {reading: np.array(values) for reading, values in found.items()}


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
    for p_values in innocent_p(owner, beacons(1000), attack=attack).values():
        assert stats.super_uniformity(p_values)[0]


@pytest.mark.slow
def test_the_same_for_aligned_readings_of_permuted_copies(residual):
    def permuted(own, codes):
        paths = by_path(averaged(own, codes))
        rng = np.random.default_rng(int(codes[0].signs @ np.arange(len(codes[0]))) % 2**32)
        for group in fingerprint.groups_of(own.base):
            order = rng.permutation(paths[group.writers[0]].shape[-1])
            paths = fingerprint.permuted(paths, group, order)
        return from_paths(paths)

    p_values = innocent_p(residual, beacons(1000), attack=permuted)
    assert set(p_values) == {"non-blind", "blind", "aligned"}
    for one in p_values.values():
        assert stats.super_uniformity(one)[0]


@pytest.mark.slow
def test_codes_refused_for_nearness_break_it(owner):
    """The owner lets no code be near to the others: a hostile coalition turns this on him."""
    lie = innocent_p(
        owner,
        beacons(300),
        attack=opposed,
        refuse=lambda code, mean: code @ mean > -5,
    )
    assert not stats.super_uniformity(lie["non-blind"])[0]


def drawn(weights: dict, seed: int) -> dict:
    """A network of the same shapes that has nothing to do with it."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: np.asarray(rng.normal(size=leaf.shape), np.float32), weights
    )


@pytest.mark.parametrize("to_copy", [False, True])
def test_alignment_to_a_copy_accuses_innocent_networks(residual, to_copy):
    p_values = []
    for number, value in enumerate(beacons(40)):
        code = residual.code(0, value)
        wanted = residual.copy(code, strength=1.0) if to_copy else residual.base
        suspect = fingerprint.align(drawn(residual.base, number), wanted)
        scores = fingerprint.extract(residual.carrier, residual.base, suspect, "non-blind")
        scores = fingerprint.customer_scores(residual.carrier, scores)
        p_values.append(10 ** stats.bit_log10_p_values(scores, [code])[0])
    assert stats.super_uniformity(np.array(p_values))[0] != to_copy


def best_setup(owner_class, suspect: dict, guess: bytes, tries: int):
    """The setup of many under which customer 0 would match a suspect, if the guess were right.

    All that an owner can do before the beacon: choose his key, and with it the carrier.
    """
    owners = [owner_class(key=MarkKey.for_experiment(n, "try")) for n in range(tries)]
    return min(owners, key=lambda one: p_after(one, suspect, [guess])[0])


def p_after(own, suspect: dict, values: list[bytes]) -> np.ndarray:
    scores = fingerprint.customer_scores(own.carrier, own.read(suspect)["non-blind"])
    return stats.fresh_bit_p_values(scores, [own.code(0, value) for value in values])


def test_an_owner_who_knew_the_beacon_would_accuse_whom_he_likes(owner_class):
    suspect, guesses = tiny_base(5), beacons(8)
    own = [best_setup(owner_class, suspect, guess, 12) for guess in guesses]
    known = [p_after(one, suspect, [guess])[0] for one, guess in zip(own, guesses, strict=True)]
    assert not stats.super_uniformity(np.array(known))[0]
    assert stats.super_uniformity(p_after(own[0], suspect, beacons(NUM_FRESH)))[0]


@pytest.mark.slow
def test_a_hundred_thousand_beacons_after_an_owner_has_played_his_best(owner_class):
    for suspect in (tiny_base(5), tiny_base()):  # an innocent network, and one near w_base
        suspect["params"]["first"]["kernel"][0, 0, 0, 0] += 0.1
        own = best_setup(owner_class, suspect, beacons(1)[0], 100)
        assert stats.super_uniformity(p_after(own, suspect, beacons(100_000)))[0]


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
