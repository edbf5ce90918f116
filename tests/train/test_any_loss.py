"""Trainings other than classification, through the public trainer."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from anw_jax import data, train
from anw_jax.errors import CheckpointError, DivergenceError

NUM_STEPS = 60


@pytest.fixture(scope="module", autouse=True)
def loose_promotion():
    """Optax's Adam divides by an integer."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def fit(step, params, columns, model_state=(), batch_size=16, **options):
    plan = data.BatchPlan(len(jax.tree.leaves(columns)[0]), batch_size, seed=1)
    arguments = {"num_steps": NUM_STEPS, "key": jax.random.key(2), "segment_steps": 20}
    batches = train.Batches(columns, plan.rows)
    return train.fit(step, step.init(params, model_state), batches, **arguments | options)


@pytest.fixture(scope="module")
def line():
    """Points of a line in three dimensions, with some noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 3)).astype(np.float32)
    y = x @ np.float32([1, -2, 0.5]) + 3
    return {"x": x, "y": y + 0.01 * rng.normal(size=64).astype(np.float32)}


def squared_error(params, model_state, batch, rng):
    error = batch["x"] @ params["slope"] + params["level"] - batch["y"]
    return (error**2).mean(), (model_state, {"worst": jnp.abs(error).max()})


ZERO = {"slope": np.zeros(3, np.float32), "level": np.zeros((), np.float32)}


def test_a_regression(line):
    step = train.make_step(squared_error, optax.adam(0.2))
    result = fit(step, ZERO, line, num_steps=200)
    np.testing.assert_allclose(result.state.params["slope"], [1, -2, 0.5], atol=0.05)
    assert float(result.state.params["level"]) == pytest.approx(3, abs=0.05)
    assert set(result.reports[0].metrics) == {"loss", "worst"}
    assert result.reports[-1].loss < 0.01 * result.reports[0].loss


def test_a_regression_stops_and_resumes_bit_for_bit(line, tmp_path):
    step = train.make_step(squared_error, optax.adam(0.2))
    whole = fit(step, ZERO, line)
    fit(step, ZERO, line, checkpoint_dir=tmp_path, should_stop=lambda: True)
    again = fit(step, ZERO, line, checkpoint_dir=tmp_path)
    assert [report.step for report in again.reports] == [40, 60]
    chex.assert_trees_all_equal(again.state, whole.state)
    other = line | {"y": line["y"] + 1}
    for arguments, name in [
        ((step, ZERO, other), "dataset"),
        ((step, ZERO | {"level": np.float32(1)}, line), "state"),
    ]:
        with pytest.raises(CheckpointError, match=f"belong to another run: {name} is"):
            fit(*arguments, checkpoint_dir=tmp_path)


@pytest.mark.slow
def test_many_regressions_at_once(line):
    """By map and by vmap, they equal those that are trained alone."""
    step = train.make_step(squared_error, optax.sgd(0.05))
    plans = [data.BatchPlan(64, 16, seed) for seed in range(3)]
    keys = jnp.stack([jax.random.key(seed) for seed in range(3)])
    options = {"num_steps": 10, "segment_steps": 5}
    alone = [
        train.fit(step, step.init(ZERO), train.Batches(line, plan.rows), key=key, **options)
        for plan, key in zip(plans, keys, strict=True)
    ]
    wanted = jnp.stack([result.state.params["slope"] for result in alone])
    state = step.init(ZERO)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), state).replace(step=state.step)

    def rows(first, count):
        return np.stack([plan.rows(first, count) for plan in plans], axis=1)

    for how in ("map", "vmap"):
        result = train.fit(
            step, stacked, train.Batches(line, rows), key=keys, over_models=how, **options
        )
        np.testing.assert_allclose(result.state.params["slope"], wanted, rtol=1e-5)
        assert int(result.state.step) == 10
        losses = [one.reports[-1].loss for one in alone]
        assert result.reports[-1].loss == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("how", ["map", "vmap"])
def test_only_the_models_that_diverge_are_named(how):
    def loss_fn(params, model_state, batch, rng):
        return (params["w"] * batch).mean() ** 4, (model_state, {})

    step = train.make_step(loss_fn, optax.sgd(1.0))
    state = step.init({"w": np.float32([1e-3, 1e3, 2e-3])})
    plan = data.BatchPlan(16, 4, seed=0)

    def rows(first, count):
        return np.stack([plan.rows(first, count)] * 3, axis=1)

    batches = train.Batches(np.ones(16, np.float32), rows)
    keys = jnp.stack([jax.random.key(0)] * 3)
    with pytest.raises(DivergenceError, match=r"of model\(s\) 1 became infinite or NaN"):
        train.fit(step, state, batches, num_steps=4, key=keys, over_models=how, segment_steps=4)


class Perceptron(nn.Module):
    """One hidden layer, whose activations are returned."""

    @nn.compact
    def __call__(self, x):
        hidden = nn.relu(nn.Dense(16)(x))
        return nn.Dense(1)(hidden)[:, 0], hidden


def test_a_penalty_on_hidden_activations(line):
    net = Perceptron()
    params, apply_fn = jax.jit(net.init)(jax.random.key(0), line["x"]), jax.jit(net.apply)

    def loss_fn(params, model_state, batch, rng):
        answers, _ = net.apply(params, batch["x"])
        return ((answers - batch["y"]) ** 2).mean(), (model_state, {})

    def activity(params, model_state, batch, rng):
        return 3.0 * net.apply(params, batch["x"])[1].mean()

    penalised = train.with_penalties(loss_fn, activity=activity)
    plain, quiet = (
        fit(train.make_step(loss, optax.adam(0.02)), params, line)
        for loss in (loss_fn, penalised)
    )
    means = [np.mean(apply_fn(result.state.params, line["x"])[1]) for result in (plain, quiet)]
    assert means[1] < 0.8 * means[0]
    assert quiet.reports[-1].loss < 0.6 * quiet.reports[0].loss
    told = quiet.reports[-1].metrics
    assert 0 < told["activity"] < told["loss"]


class Denoiser(nn.Module):
    """Image to image, with averages over batches."""

    @nn.compact
    def __call__(self, images, train):
        x = nn.Conv(8, (3, 3))(images)
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
        return images + nn.Conv(3, (3, 3))(x)


@pytest.mark.slow
def test_an_image_to_image_model_with_its_own_noise():
    net = Denoiser()
    rng = np.random.default_rng(3)
    smooth = rng.random((32, 1, 1, 3), dtype=np.float32)
    images = np.broadcast_to(smooth, (32, 8, 8, 3)).copy()
    variables = net.init(jax.random.key(0), images, False)

    def loss_fn(params, model_state, batch, rng):
        noisy = batch + 0.3 * jax.random.normal(rng, batch.shape)
        variables = {"params": params, "batch_stats": model_state}
        clean, moved = net.apply(variables, noisy, True, mutable=["batch_stats"])
        return ((clean - batch) ** 2).mean(), (moved["batch_stats"], {})

    step = train.make_step(loss_fn, optax.adam(0.02))
    result = fit(step, variables["params"], images, variables["batch_stats"])
    # The noise itself has a mean square of .09.
    assert result.reports[-1].loss < 0.05 < result.reports[0].loss
    means = result.state.model_state["BatchNorm_0"]["mean"]
    assert np.abs(means - variables["batch_stats"]["BatchNorm_0"]["mean"]).max() > 0.01


def _normal(rng, params, count):
    """A generator: numbers of a normal distribution, whose mean and spread are learned."""
    return params["mean"] + params["spread"] * jax.random.normal(rng, (count,))


def _is_real(params, x):
    """A discriminator: logit of a parabola."""
    return params["a"] + params["b"] * x + params["c"] * x**2


def _discriminator_loss(params, model_state, batch, rng):
    fake = _normal(rng, params["generator"], len(batch))
    real, made = (_is_real(params["discriminator"], x) for x in (batch, fake))
    # A penalty bounds the discriminator.
    size = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params["discriminator"]))
    return (jax.nn.softplus(-real) + jax.nn.softplus(made)).mean() + 0.05 * size, (
        model_state,
        {"right": ((real > 0).mean() + (made < 0).mean()) / 2},
    )


def _generator_loss(params, model_state, batch, rng):
    fake = _normal(rng, params["generator"], len(batch))
    return jax.nn.softplus(-_is_real(params["discriminator"], fake)).mean(), (model_state, {})


@pytest.mark.slow
def test_a_generator_with_a_discriminator(tmp_path):
    real = np.random.default_rng(5).normal(2.0, 0.5, 512).astype(np.float32)
    params = {
        "generator": {"mean": jnp.zeros(()), "spread": jnp.ones(())},
        "discriminator": {name: jnp.zeros(()) for name in "abc"},
    }
    step = train.chain(
        discriminator=train.make_step(
            _discriminator_loss, optax.adam(0.05), trained=("discriminator",)
        ),
        generator=train.make_step(_generator_loss, optax.adam(0.02), trained=("generator",)),
    )
    options = {"batch_size": 128, "num_steps": 600, "segment_steps": 200}
    result = fit(step, params, real, **options)
    assert float(result.state.params["generator"]["mean"]) == pytest.approx(2.0, abs=0.35)
    assert int(result.state.step) == 600
    told = result.reports[-1].metrics
    assert told["loss"] == pytest.approx(
        told["discriminator/loss"] + told["generator/loss"], rel=1e-4
    )
    assert 0 < told["discriminator/right"] < 1
    fit(step, params, real, **options, checkpoint_dir=tmp_path, should_stop=lambda: True)
    again = fit(step, params, real, **options, checkpoint_dir=tmp_path)
    chex.assert_trees_all_equal(again.state, result.state)


def test_each_step_of_a_chain_moves_its_own_part_alone():
    """Two steps by SGD, written out; the second uses the result of the first."""
    params = {"one": jnp.float32(1.0), "two": jnp.float32(2.0), "fixed": jnp.float32(3.0)}

    def loss_fn(params, model_state, batch, rng):
        return params["one"] * params["two"] * params["fixed"], (model_state + 1, {})

    step = train.chain(
        one=train.make_step(loss_fn, optax.sgd(0.1), trained=("one",)),
        two=train.make_step(loss_fn, optax.sgd(0.1), trained=("two",)),
    )
    state, metrics = step(step.init(params, jnp.int32(0)), jnp.zeros(1), jax.random.key(0))
    one = 1.0 - 0.1 * 2.0 * 3.0
    two = 2.0 - 0.1 * one * 3.0
    wanted = {"one": one, "two": two, "fixed": 3.0}
    assert {k: float(v) for k, v in state.params.items()} == pytest.approx(wanted)
    assert (int(state.step), int(state.model_state)) == (1, 2)
    assert float(metrics["two/loss"]) == pytest.approx(one * 2.0 * 3.0)


def _two_numbers(params, model_state, batch, rng):
    return params["slope"], (model_state, {})


def _no_state(params, model_state, batch, rng):
    return params["level"] + params["slope"].sum()


def _other_state(params, model_state, batch, rng):
    return params["level"] + params["slope"].sum(), (jnp.zeros(2), {})


def _wide_metric(params, model_state, batch, rng):
    return params["level"] + params["slope"].sum(), (model_state, {"all": batch["y"]})


def _unused(params, model_state, batch, rng):
    return jax.lax.stop_gradient(params["level"]) + params["slope"].sum(), (model_state, {})


def _integer(params, model_state, batch, rng):
    return (params["slope"].sum() + params["level"] > 0).sum(), (model_state, {})


@pytest.mark.parametrize(
    ("loss_fn", "message"),
    [
        (_two_numbers, r"must return a float scalar as its loss, got float32 of shape \(3,\)"),
        (_integer, "loss_fn must return a float scalar as its loss, got int32 of"),
        (_no_state, r"loss_fn must return \(loss, \(model_state, metrics\)\)"),
        (_other_state, "loss_fn must return model_state with the shapes that it was given"),
        (_wide_metric, r"scalars other than 'loss' as its metrics, got 'all' of shape \(16,\)"),
        (_unused, r"every trained parameter; there is no gradient for \['level'\]: freeze"),
    ],
)  # fmt: skip
def test_a_wrong_loss_is_refused_before_the_training(line, loss_fn, message):
    started = []
    with pytest.raises(ValueError, match=message):
        fit(train.make_step(loss_fn, optax.sgd(0.1)), ZERO, line, on_start=started.append)
    assert not started


def test_a_loss_that_is_nan_at_the_first_step_is_refused(line):
    def loss_fn(params, model_state, batch, rng):
        return jnp.log(params["level"] - 1.0) + params["slope"].sum(), (model_state, {})

    started = []
    with pytest.raises(DivergenceError, match="a finite loss at step 0, got nan"):
        fit(train.make_step(loss_fn, optax.sgd(0.1)), ZERO, line, on_start=started.append)
    assert not started


def test_parameters_that_start_at_zero_are_trained(line):
    """A gradient may be 0 where parameters are 0: it still exists."""

    def loss_fn(params, model_state, batch, rng):
        return params["level"] * params["slope"].sum(), (model_state, {})

    assert fit(train.make_step(loss_fn, optax.sgd(0.1)), ZERO, line).completed


def test_parameters_to_train_must_exist():
    for trained in (("slop",), ()):
        step = train.make_step(squared_error, optax.sgd(0.1), trained=trained)
        with pytest.raises(
            ValueError, match=r"name some of the parameters level, slope; got \("
        ):
            step.init(ZERO)


def test_wrong_sources_are_refused(line):
    step = train.make_step(squared_error, optax.sgd(0.1))
    plan = data.BatchPlan(64, 16, seed=1)
    with pytest.raises(ValueError, match=r"columns must share the length .* got \[63, 64\]"):
        train.Batches(line | {"y": line["y"][1:]}, plan.rows)
    options = {"num_steps": 4, "key": jax.random.key(0)}
    batches = train.Batches(line, plan.rows)
    with pytest.raises(ValueError, match=r"many models; got for one step \(16,\)"):
        train.fit(step, step.init(ZERO), batches, over_models="map", **options)
    with pytest.raises(ValueError, match="over_models must be one of map, vmap; got 'pmap'"):
        train.fit(step, step.init(ZERO), batches, over_models="pmap", **options)
