"""The terms of the embedding, each against its naive twin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax.keys import MarkKey
from anw_jax.schemes import keygen, multitask, plan_of
from anw_jax.schemes.multitask import penalties, reader

NUM_BITS, NUM_PROBES, CHANNELS = 16, 96, 12


def test_pooling_in_jax_is_that_of_the_reader(rng):
    values = rng.normal(size=(3, 5, 4, 6)).astype(np.float32)
    np.testing.assert_allclose(
        penalties.pooled_flat(jnp.asarray(values), 2),
        reader.pooled(values, 2).reshape(3, -1),
        rtol=1e-5,
    )


def test_alignment_in_jax_is_that_of_the_reader(rng):
    """Within the ridge; also with a dead channel, and two that are equal."""
    wanted = rng.normal(size=(64, 4, 6))
    own = np.concatenate([wanted @ rng.normal(size=(6, 6)), wanted[..., :1]], axis=2)
    own = np.concatenate([own + 0.1 * rng.normal(size=own.shape), np.ones((64, 4, 1))], axis=2)
    own = np.concatenate([own, own[..., :1]], axis=2)
    inputs = own[:8] + rng.normal(size=(8, 4, 1))
    expected = reader.align(own, wanted, inputs)
    found = penalties.align(*(jnp.asarray(a, jnp.float32) for a in (own, wanted, inputs)))
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())


def linear_taps(variables, images):
    """One layer: three random views of the pixels, then a matrix of channels."""
    pixels = images.reshape(len(images), -1) - 0.5
    return (pixels @ VIEW @ variables["params"]["matrix"],)


VIEW = np.random.default_rng(3).normal(size=(8 * 8 * 3, CHANNELS)).astype(np.float32)


def small_target():
    key = MarkKey.for_experiment(1, "penalties")
    decoder = multitask.make_decoder(
        key,
        "0f" * 32,
        ("layer",),
        num_bits=NUM_BITS,
        image_shape=(8, 8, 3),
        num_probes=NUM_PROBES,
    )
    bits = keygen(
        key, decoder, plan_of(decoder, alpha=0.1, beacon="arbitrator:A"), beacon=bytes(32)
    )

    def base(images):
        return linear_taps({"params": {"matrix": np.eye(CHANNELS, dtype=np.float32)}}, images)

    return decoder, base, bits, multitask.target_of(decoder, base, bits)


def test_moved_scores_are_what_the_reader_reads(rng):
    decoder, base, _, target = small_target()
    bent = jnp.asarray(np.eye(CHANNELS) + 0.3 * rng.normal(size=(CHANNELS, CHANNELS)))

    def suspect(images):  # no linear map undoes the squares
        (layer,) = linear_taps({"params": {"matrix": bent}}, images)
        return (layer + 0.1 * layer**2,)

    rows = np.arange(NUM_BITS), np.arange(NUM_PROBES)
    moved = penalties.moved_scores(lambda _, images: suspect(images), target, {}, *rows)
    read = multitask.extract(decoder, base, lambda images: [np.asarray(suspect(images)[0])])
    assert np.abs(read).max() > target.scale / 10
    np.testing.assert_allclose(
        np.asarray(moved) * target.scale, read, atol=1e-2 * np.abs(read).max()
    )


def test_a_change_that_alignment_undoes_earns_nothing(rng):
    """A re-based layer: without alignment its scores would have moved far."""
    *_, target = small_target()
    based = {"matrix": jnp.asarray(rng.normal(size=(CHANNELS, CHANNELS)), jnp.float32)}
    penalty_fn = multitask.watermark_penalty(
        linear_taps, target, margin=2.0, pairs=NUM_BITS, probes=NUM_PROBES
    )
    assert float(penalty_fn(based, (), None, jax.random.key(0))) == pytest.approx(4.0, rel=0.01)


def test_drift_is_a_weighted_square():
    base = {"layer": {"kernel": jnp.array([1.0, 2.0])}}
    penalty_fn = multitask.drift_penalty(base, 0.5)
    params = {"layer": {"kernel": jnp.array([3.0, 1.0])}, "free": {"kernel": jnp.ones(9)}}
    assert float(penalty_fn(params, (), None, None)) == 0.5 * (4.0 + 1.0)


def test_tuning_is_the_watermark_loss_after_simulated_steps():
    """Against two steps by hand; the gradient takes the displacement as a constant."""

    def task_fn(params, model_state, batch, rng):
        return jnp.square(params["w"] - batch).sum(), (model_state, {})

    def watermark_fn(params, model_state, batch, rng):
        return jnp.power(params["w"], 3).sum()

    penalty_fn = multitask.tuning_penalty(
        watermark_fn, task_fn, weight=2.0, learning_rate=0.1, num_steps=2
    )
    first, wanted = np.array([1.0, -2.0]), 4.0
    tuned = first.copy()
    for _ in range(2):
        tuned = tuned - 0.1 * 2 * (tuned - wanted)
    value, slope = jax.value_and_grad(penalty_fn)(
        {"w": jnp.asarray(first, jnp.float32)}, (), jnp.float32(wanted), jax.random.key(0)
    )
    assert float(value) == pytest.approx(2.0 * (tuned**3).sum(), rel=1e-5)
    np.testing.assert_allclose(slope["w"], 2.0 * 3 * tuned**2, rtol=1e-5)
