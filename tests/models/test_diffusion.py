"""The diffusion model: shapes, schedule, noise, and what its loss says of photos."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from anw_jax import data, train
from anw_jax.keys import SignatureSpace, Units
from anw_jax.marks import LightField, publish
from anw_jax.models import Diffusion, diffusion
from anw_jax.stats import ExactNull, calibrated_scores, quantise, score_units
from anw_jax.verify import denoising_error, loss_table

MODEL = Diffusion(widths=(8, 16), num_steps=100)


@pytest.fixture(scope="module")
def variables():
    return MODEL.init(jax.random.key(0), (8, 8, 3))


def test_it_predicts_noise_of_the_images_shape(variables, quick_jit):
    noisy, steps = jnp.ones((3, 8, 8, 3)), jnp.array([0, 50, 99])
    predict = quick_jit(MODEL.predict_noise)
    seen = predict(variables, noisy, steps)
    assert seen.shape == (3, 8, 8, 3)
    assert not seen.any()  # the last layer starts at 0
    moved = jax.tree.map(lambda leaf: leaf + 0.1, variables)
    seen = predict(moved, noisy, steps)
    again = quick_jit(lambda predict: predict(noisy, steps))(MODEL.predict_fn(moved))
    np.testing.assert_allclose(again, seen, rtol=1e-5)


def test_patches_are_moved_there_and_back():
    images = np.arange(2 * 4 * 6 * 3, dtype=np.float32).reshape(2, 4, 6, 3)
    patches = np.asarray(diffusion._to_patches(jnp.asarray(images), 2))
    twin = [
        images[b, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].ravel()
        for b in range(2)
        for i in range(2)
        for j in range(3)
    ]
    np.testing.assert_array_equal(patches.reshape(-1, 12), twin)
    np.testing.assert_array_equal(diffusion._from_patches(jnp.asarray(patches), 2), images)


def test_a_model_of_patches_has_the_images_shape_and_fewer_positions(quick_jit):
    model = Diffusion(widths=(8, 16), num_steps=100, patch=2)
    noisy, steps = jnp.ones((1, 8, 8, 3)), jnp.array([0])
    variables = model.init(jax.random.key(0), (8, 8, 3))
    moved = jax.tree.map(lambda leaf: leaf + 0.1, variables)
    assert quick_jit(model.predict_noise)(moved, noisy, steps).shape == (1, 8, 8, 3)
    assert moved["params"]["Conv_0"]["kernel"].shape == (3, 3, 12, 8)


def test_equal_models_share_a_compilation(variables):
    twin = Diffusion(widths=(8, 16), num_steps=100)
    functions = [model.predict_fn(variables) for model in (MODEL, twin)]
    assert len(set(map(jax.tree.structure, functions))) == 1
    other = Diffusion(widths=(8, 16), num_steps=101).predict_fn(variables)
    assert jax.tree.structure(other) != jax.tree.structure(functions[0])


def test_the_schedule_is_the_cosine_of_the_paper():
    def level(step):
        return math.cos((step / 100 + 0.008) / 1.008 * math.pi / 2) ** 2

    twin = [level(step + 1) / level(0) for step in range(98)]
    np.testing.assert_allclose(MODEL.signal_shares[:98], twin, rtol=1e-4)
    assert (np.diff(MODEL.signal_shares) < 0).all()
    assert 0 < MODEL.signal_shares[-1] < 1e-3


def test_noise_keeps_the_variance():
    rng = np.random.default_rng(0)
    images = jnp.asarray(
        rng.integers(0, 2, (200, 8, 8, 3)), jnp.float32
    )  # variance 1 in [-1, 1]
    noise = jnp.asarray(rng.standard_normal(images.shape), jnp.float32)
    for step in (0, 40, 99):
        noisy = MODEL.add_noise(images, jnp.full(200, step), noise)
        assert float(noisy.var()) == pytest.approx(1.0, abs=0.05)


def test_classes_change_the_prediction_only_where_there_are_some(quick_jit):
    model = Diffusion(widths=(8,), num_steps=10, num_classes=3)
    variables = model.init(jax.random.key(1), (4, 4, 3))
    moved = jax.tree.map(lambda leaf: leaf + 0.1, variables)
    noisy, steps = jnp.ones((2, 4, 4, 3)), jnp.zeros(2, jnp.int32)
    seen = quick_jit(model.predict_noise)(moved, noisy, steps, jnp.array([0, 2]))
    assert float(jnp.abs(seen[0] - seen[1]).max()) > 0


def test_samples_are_images(variables, quick_jit):
    model = Diffusion(widths=(8, 16), num_steps=5)
    sample = quick_jit(model.sample, static_argnums=2)
    drawn = sample(variables, jax.random.key(3), (2, 8, 8, 3))
    assert drawn.shape == (2, 8, 8, 3)
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) <= 1
    assert float(jnp.abs(drawn[0] - drawn[1]).max()) > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"widths": ()}, "num_widths must be at least 1"),
        ({"widths": (8, 12)}, "widths must be multiples of 8"),
        ({"num_steps": 0}, "num_steps must be at least 1"),
        ({"num_classes": 1}, "num_classes must be at least 2"),
        ({"patch": 0}, "patch must be at least 1"),
    ],
)
def test_refuses(arguments, words):
    with pytest.raises(ValueError, match=words):
        Diffusion(**arguments)


def test_refuses_sides_that_cannot_be_halved():
    with pytest.raises(ValueError, match=r"multiples of 2, got \(8, 7, 3\)"):
        MODEL.init(jax.random.key(0), (8, 7, 3))
    with pytest.raises(ValueError, match=r"multiples of 6, got \(8, 6, 3\)"):
        Diffusion(widths=(8, 16), patch=3).init(jax.random.key(0), (8, 6, 3))


def _fit(variables, images, num_steps, seed):
    step = train.make_step(train.denoising_loss(MODEL), optax.adam(2e-3), prepare_fn=_floats)
    rows = data.BatchPlan(len(images), 16, seed=seed).rows
    columns = train.Batch(images, np.zeros(len(images), np.int32))
    result = train.fit(
        step, step.init(variables["params"]), train.Batches(columns, rows), num_steps=num_steps,
        key=jax.random.key(seed), segment_steps=num_steps,
    )  # fmt: skip
    return {"params": result.state.params}, result.reports[0].loss


def _floats(params, model_state, batch, rng):
    return batch._replace(images=batch.images.astype(jnp.float32) / 255)


@pytest.mark.slow
def test_a_generator_that_was_tuned_on_marked_photos_is_found_by_its_base(variables):
    """In small what `experiments` measures: denoising errors, with and without the base's."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(30, 226, (80, 4, 4, 3))
    images = coarse.repeat(2, axis=1).repeat(2, axis=2).astype(np.uint8)
    images += rng.integers(0, 12, images.shape, dtype=np.uint8)
    own, held_out, others = images[:16], images[16:32], images[32:]
    space = SignatureSpace(6)
    mark = LightField(bytes(32), strength=0.4, cells=4, num_slots=6)
    slots = rng.integers(1, 6, 16)
    marked = publish(mark, own, slots * 60.0)
    with jax.numpy_dtype_promotion("standard"):
        base, _ = _fit(variables, others, 400, seed=1)
        tuned, _ = _fit(base, np.concatenate([marked, others[:8]]), 400, seed=2)
    loss = denoising_error(MODEL.signal_shares, np.arange(5, 60, 8), (8, 8, 3), seed=0)
    units = Units(np.arange(16), space)

    def scores_of(trained, photos):
        table = loss_table(MODEL.predict_fn(trained), photos, (), mark, space, loss=loss)
        return score_units(table, units, "log_errors")

    def log10_p(scores):
        integers = quantise(scores)
        observed = int(integers[np.arange(16), slots - 1].sum())
        return ExactNull(integers).log_p_value(observed) / math.log(10)

    plain, reference = scores_of(tuned, own), scores_of(base, own)
    assert log10_p(calibrated_scores(plain, reference)) < -4
    assert log10_p(reference) > -2
    apart = calibrated_scores(scores_of(tuned, held_out), scores_of(base, held_out))
    assert log10_p(apart) > -2
