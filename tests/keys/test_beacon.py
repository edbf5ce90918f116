"""A public beacon takes the choice of slots out of the owner's hands."""

import hashlib

import numpy as np
import pytest

from anw_jax import keys, verify
from anw_jax.errors import CommitmentError

PLAN = keys.Plan("losses", 0.01, beacon=f"drand:{keys.beacons.QUICKNET}:25000000")


def value(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


@pytest.fixture
def key():
    return keys.MarkKey(bytes(range(32)))


@pytest.fixture
def manifest(small_images):
    return keys.Manifest.of(small_images, keys.SignatureSpace())


def test_each_value_gives_its_own_slots(key, manifest):
    draws = {tuple(keys.assign(key, manifest, PLAN, beacon=value(i)).slots) for i in range(50)}
    assert len(draws) == 50


def test_a_ground_key_loses_its_advantage(manifest):
    """Of 300 keys the best hits slot 1 often; with a beacon it is a key like any other."""
    without = keys.Plan("losses", 0.01)

    def count(number: int, plan: keys.Plan, beacon: bytes) -> int:
        key = keys.MarkKey.for_experiment(number)
        return int((keys.assign(key, manifest, plan, beacon=beacon).slots == 1).sum())

    best = max(range(300), key=lambda number: count(number, without, b""))
    assert count(best, without, b"") >= 3
    after = [count(best, PLAN, value(number)) for number in range(300)]
    assert np.mean(after) == pytest.approx(manifest.num_units / 11, abs=0.15)


def test_the_commitment_binds_the_beacons_name(key, manifest):
    other = keys.Plan("losses", 0.01, beacon=f"drand:{keys.beacons.QUICKNET}:25000001")
    commitment = keys.commit(key, manifest, PLAN)
    with pytest.raises(CommitmentError, match="does not open"):
        keys.check_commitment(commitment, key, manifest, other)


def test_a_verdict_needs_the_value_that_the_plan_names(key, manifest):
    table = np.random.default_rng(0).random((6, 12)).astype(np.float32)
    commitment = keys.commit(key, manifest, PLAN)

    def decide(plan=PLAN, commitment=commitment, **options):
        return verify.decide(table, key, manifest, plan, commitment=commitment, **options)

    slots = keys.assign(key, manifest, PLAN, beacon=value(7)).slot_of_unit
    np.testing.assert_array_equal(decide(beacon=value(7)).true_slots, slots)
    with pytest.raises(CommitmentError, match="25000000' and a value is missing"):
        decide()
    with pytest.raises(CommitmentError, match="must have 32 bytes, got 1"):
        decide(beacon=b"7")
    with pytest.raises(CommitmentError, match="names no beacon and a value is given"):
        decide(keys.Plan("losses", 0.01), None, beacon=value(7))
