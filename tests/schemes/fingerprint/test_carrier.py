"""Projection, carrier, embedding: exact in closed form."""

import dataclasses

import numpy as np
import pytest
import scipy.linalg

from anw_jax.errors import CommitmentError
from anw_jax.keys import Bits
from anw_jax.schemes import fingerprint
from anw_jax.schemes.fingerprint import projection
from anw_jax.schemes.fingerprint.embed import relative_projection

SEED = "0f" * 32


@pytest.mark.parametrize("size", [1, 2, 8, 512, 1024])
def test_the_transform_is_the_matrix(size):
    values = np.random.default_rng(0).normal(size=size)
    np.testing.assert_allclose(
        projection.hadamard(values), scipy.linalg.hadamard(size) @ values, atol=1e-9
    )


@pytest.mark.parametrize("kind", projection.KINDS)
def test_spread_is_the_adjoint_of_project(kind):
    rng = np.random.default_rng(1)
    values, rows = rng.normal(size=256), rng.normal(size=20)
    forward = projection.project(kind, SEED, values, 20) @ rows
    assert forward == pytest.approx(values @ projection.spread(kind, SEED, rows, 256))


def test_rows_are_orthonormal_with_entries_of_one_size():
    rows = np.stack([projection.spread("hadamard", SEED, row, 128) for row in np.eye(40)])
    np.testing.assert_allclose(rows @ rows.T, np.eye(40), atol=1e-12)
    np.testing.assert_allclose(np.abs(rows), 128**-0.5)
    other = projection.spread("hadamard", "1f" * 32, np.eye(40)[0], 128)
    assert abs(rows[0] @ other) < 0.5


def test_places_are_a_choice_by_the_key():
    chosen = projection.places(SEED, 1000, 512)
    assert len(set(chosen.tolist())) == 512
    assert chosen.max() < 1000
    assert not np.array_equal(chosen, projection.places("1f" * 32, 1000, 512))


def test_all_bits_are_in_and_the_change_is_the_smallest(owner):
    carrier, code = owner.carrier, owner.code(3)
    copy = owner.copy(code)
    rows = relative_projection(carrier, owner.base, copy)
    wanted = np.concatenate([code.signs, owner.owner_bits.signs])
    np.testing.assert_allclose(rows / np.abs(rows[0]), wanted, atol=1e-3)
    moved = fingerprint.embed(carrier, owner.base, code, owner.owner_bits, strength=0.2)
    double = relative_projection(carrier, owner.base, moved)
    np.testing.assert_allclose(double, 2 * rows, rtol=1e-3)
    # Least norm: no part of the change is outside the rows.
    from anw_jax.schemes.fingerprint.embed import difference

    change = difference(carrier, owner.base, copy)
    assert np.sqrt(np.mean(change**2)) == pytest.approx(0.1, rel=1e-3)
    np.testing.assert_allclose(carrier.spread(carrier.project(change)), change, atol=1e-5)


def test_the_owners_block_does_not_see_the_customers(owner):
    read = [fingerprint.owner_scores(owner.carrier, owner.read(owner.copy(owner.code(n)))
                                     ["non-blind"]) for n in range(2)]  # fmt: skip
    np.testing.assert_allclose(read[0], read[1], atol=1e-4)
    assert (np.sign(read[0]) == owner.owner_bits.signs).all()


def test_the_carrier_is_read_back_from_json(owner):
    carrier = fingerprint.Carrier.from_json(owner.carrier.as_json())
    assert carrier == owner.carrier
    assert carrier.mark == owner.plan.mark
    with pytest.raises(ValueError, match="format must be"):
        fingerprint.Carrier.from_json({})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"num_bits": 8192}, "codes must not be longer than the carrier: 8192 bits and 32"),
        ({"num_weights": 1000}, "num_weights must be a power of two, got 1000"),
        ({"readings": ()}, "readings must be different names"),
        ({"readings": ("deaf",)}, "readings must be one of non-blind, blind, aligned"),
        ({"kind": "dense"}, "kind must be one of hadamard, spread"),
        ({"seed": "0F"}, "seed must be 64 lower-case hex digits"),
        ({"num_customers": 0}, "num_customers must be at least 1"),
    ],
)
def test_bad_fields_are_one_error(owner, changes, text):
    with pytest.raises(ValueError, match=text):
        dataclasses.replace(owner.carrier, **changes)


def test_another_clean_model_or_length_is_refused(owner):
    other = owner.copy(owner.code(0))
    with pytest.raises(CommitmentError, match="base must be the clean model"):
        fingerprint.embed(owner.carrier, other, owner.code(0), owner.owner_bits)
    with pytest.raises(ValueError, match="code must have 128 bits, got 5"):
        fingerprint.embed(owner.carrier, owner.base, Bits(np.ones(5)), owner.owner_bits)


@pytest.mark.parametrize("reading", ["non-blind", "blind"])
def test_a_bad_suspect_is_one_error(owner, reading):
    kernels = {name: dict(layer) for name, layer in owner.base["params"].items()}
    kernels["first"]["kernel"] = kernels["first"]["kernel"].copy()
    kernels["first"]["kernel"][0, 0, 0, 0] = np.nan
    suspect = {"params": kernels, "batch_stats": {}}
    with pytest.raises(ValueError, match="finite: 1 of 'params/first/kernel' are not"):
        fingerprint.extract(owner.carrier, owner.base, suspect, reading)
    kernels["first"]["kernel"] = np.ones((1, 1, 4, 40), np.float32)
    with pytest.raises(ValueError, match="architecture of the clean model: 'params/first"):
        fingerprint.extract(owner.carrier, owner.base, suspect, reading)
    del kernels["first"]
    with pytest.raises(ValueError, match="it has no 'params/first/kernel'"):
        fingerprint.extract(owner.carrier, owner.base, suspect, reading)
