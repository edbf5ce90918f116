import dataclasses
import json
import pathlib
import runpy

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax import models, train
from anw_jax.train import segments
from anw_jax.train.classifier import first_state

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


def _plain(settings):
    return dataclasses.replace(settings, crop_padding=0, flip=False)


@pytest.mark.slow
def test_step_is_the_sgd_of_pytorch(model, settings, dataset):
    """Two steps against momentum and weight decay written out."""
    settings = dataclasses.replace(_plain(settings), weight_decay=0.1)
    images, labels = dataset
    batch = train.Batch(images[:16], labels[:16])
    step = train.classification_step(model, settings, steps_per_epoch=4)
    state = first_state(step, model, settings, (8, 8, 3))

    @jax.jit
    @jax.grad
    def gradient_fn(params, batch_stats):
        variables = {"params": params, "batch_stats": batch_stats}
        logits, _ = model.apply(variables, batch.images / np.float32(255), train=True)
        return train.cross_entropy(logits, batch.labels).mean()

    step_fn = jax.jit(step)
    buffer = jax.tree.map(jnp.zeros_like, state.params)
    for _ in range(2):
        gradients = gradient_fn(state.params, state.model_state)
        buffer = jax.tree.map(
            lambda m, g, p: 0.9 * m + g + 0.1 * p, buffer, gradients, state.params
        )
        expected = jax.tree.map(lambda p, m: p - 0.05 * m, state.params, buffer)
        state, metrics = step_fn(state, batch, jax.random.key(0))
        chex.assert_trees_all_close(state.params, expected, rtol=1e-4, atol=1e-5)
    assert int(state.step) == 2
    assert np.isfinite(metrics["loss"])


@pytest.mark.parametrize("dtype", models.DTYPES)
@pytest.mark.parametrize("schedule", train.SCHEDULES)
def test_all_options_preserve_shapes_and_dtypes_of_the_state(dtype, schedule):
    """Shapes and dtypes are preserved under strict promotion, so that buffers can be reused."""
    model = models.create("testing", 4, dtype=dtype)
    settings = train.TrainSettings(
        schedule=schedule, warmup_epochs=2, nesterov=True, label_smoothing=0.1
    )
    step = train.classification_step(model, settings, 4)
    state = jax.eval_shape(lambda: first_state(step, model, settings, (8, 8, 3)))
    batch = train.Batch(
        jax.ShapeDtypeStruct((6, 8, 8, 3), jnp.uint8), jax.ShapeDtypeStruct((6,), jnp.int32)
    )
    moved, metrics = jax.eval_shape(step, state, batch, jax.random.key(0))
    chex.assert_trees_all_equal_shapes_and_dtypes(moved, state)
    assert {leaf.dtype for leaf in jax.tree.leaves(metrics)} == {jnp.dtype("float32")}


@pytest.mark.slow
def test_loss_falls_on_64_images(tiny):
    model, settings, images, labels, indices_fn = tiny
    settings = dataclasses.replace(_plain(settings), num_epochs=40, learning_rate=0.2)
    result = train.train(model, settings, images, labels, indices_fn, segment_steps=4)
    losses = [report.loss for report in result.reports]
    assert losses[0] > 1.0
    assert losses[-1] < 0.5 * losses[0]
    predict_fn = model.predict_fn(result.state.variables)
    assert train.evaluate(predict_fn, images, labels)[1] > 0.7


@pytest.mark.slow
def test_a_segment_is_traced_once(tiny, monkeypatch):
    model, settings, *rest = tiny
    model = dataclasses.replace(model, mean=(0.4, 0.4, 0.4))  # not compiled elsewhere
    counted = chex.assert_max_traces(segments._segment, n=1)
    monkeypatch.setattr(segments, "_segment", counted)
    chex.clear_trace_counter()
    for seed in (0, 1):
        reseeded = dataclasses.replace(settings, seed=seed)
        assert train.train(model, reseeded, *rest, segment_steps=5).completed


def test_label_smoothing_mixes_in_the_mean_over_classes(rng):
    logits = rng.normal(size=(6, 4)).astype(np.float32)
    labels = rng.integers(0, 4, 6)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    plain = -log_p[np.arange(6), labels]
    np.testing.assert_allclose(train.cross_entropy(logits, labels), plain, rtol=1e-5)
    smoothed = 0.8 * plain - 0.2 * log_p.mean(1)
    np.testing.assert_allclose(train.cross_entropy(logits, labels, 0.2), smoothed, rtol=1e-5)


def test_one_step_golden_numbers():
    script = runpy.run_path(str(GOLDEN / "make_train_steps.py"))
    golden = json.loads((GOLDEN / "train_steps.json").read_text())
    result = script["three_steps"]()
    np.testing.assert_allclose(result["losses"], golden["losses"], rtol=1e-4)
    np.testing.assert_allclose(result["parameter_norm"], golden["parameter_norm"], rtol=1e-5)
