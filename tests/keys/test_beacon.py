"""A public beacon takes the choice of slots out of the owner's hands."""

import numpy as np
import pytest

from anw_jax import keys, verify
from anw_jax.errors import CommitmentError

PLAN = keys.Plan("losses", 0.01, beacon="drand quicknet round 25000000")


@pytest.fixture
def key():
    return keys.MarkKey(bytes(range(32)))


@pytest.fixture
def manifest(small_images):
    return keys.Manifest.of(small_images, keys.SignatureSpace())


def test_without_a_beacon_nothing_changes(key, manifest):
    plain = keys.assign(key, manifest)
    np.testing.assert_array_equal(plain.slots, keys.assign(key, manifest, beacon=b"").slots)


def test_each_value_gives_its_own_slots(key, manifest):
    draws = {tuple(keys.assign(key, manifest, beacon=b"%d" % i).slots) for i in range(50)}
    assert len(draws) == 50


def test_a_ground_key_loses_its_advantage(manifest):
    """Of 300 keys the best hits slot 1 often; with a beacon it is a key like any other."""

    def count(number: int, beacon: bytes) -> int:
        key = keys.MarkKey.for_experiment(number)
        return int((keys.assign(key, manifest, beacon=beacon).slots == 1).sum())

    best = max(range(300), key=lambda number: count(number, b""))
    assert count(best, b"") >= 3
    after = [count(best, b"%d" % value) for value in range(300)]
    assert np.mean(after) == pytest.approx(manifest.num_units / 11, abs=0.15)


def test_the_commitment_binds_the_beacons_name(key, manifest):
    other = keys.Plan("losses", 0.01, beacon="drand quicknet round 25000001")
    commitment = keys.commit(key, manifest, PLAN)
    with pytest.raises(CommitmentError, match="does not open"):
        keys.check_commitment(commitment, key, manifest, other)


def test_a_verdict_needs_the_value_that_the_plan_names(key, manifest):
    table = np.random.default_rng(0).random((6, 12)).astype(np.float32)
    commitment = keys.commit(key, manifest, PLAN)
    verdict = verify.decide(table, key, manifest, PLAN, commitment=commitment, beacon=b"7")
    assert verdict.standing == (
        "evidence under the committed plan and its public beacon, if the plan was public "
        "before the beacon's value and the training and is the only one that could have been "
        "brought, if the suspect was not chosen by trying the key on models, and if nothing "
        "but the marked photos was made with it"
    )
    np.testing.assert_array_equal(
        verdict.true_slots, keys.assign(key, manifest, beacon=b"7").slot_of_unit
    )
    with pytest.raises(CommitmentError, match="25000000' and a value is missing"):
        verify.decide(table, key, manifest, PLAN, commitment=commitment)
    with pytest.raises(CommitmentError, match="names no beacon and a value is given"):
        verify.decide(
            table, key, manifest, keys.Plan("losses", 0.01), commitment=None, beacon=b"7"
        )


def test_a_beacon_is_bytes(key, manifest):
    with pytest.raises(TypeError, match="beacon must be a bytes, got str"):
        keys.assign(key, manifest, beacon="25000000")
