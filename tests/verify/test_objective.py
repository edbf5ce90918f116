"""The JAX core against a stand-alone twin: LCT, objective, grid and descent in thirty lines."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation, UserLCT, apply_lct, lct_matrix
from anw_jax.verify import gradient_search, loss_table, objective, search
from anw_jax.verify.losses import as_partial, cross_entropy

NUM_IMAGES = 6
SPACE, MARK = SignatureSpace(), HueRotation().mark

# The twin: nothing of anw_jax, NumPy's float64 where the package has fixed point.
YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.275, -0.321], [0.212, -0.523, 0.311]])


def twin_mark(images, degrees):
    angle = jnp.deg2rad(degrees)
    cos, sin, one, zero = jnp.cos(angle), jnp.sin(angle), jnp.ones(()), jnp.zeros(())
    rotation = jnp.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos]).reshape(3, 3)
    matrix = jnp.asarray(np.linalg.inv(YIQ), jnp.float32) @ rotation @ jnp.float32(YIQ)
    return jnp.clip(jnp.einsum("ij,nhwj->nhwi", matrix, images), 0, 1)


def twin_objective(predict, images, labels, degrees):
    logits = predict(twin_mark(images, degrees))
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def twin_grid(predict, images, labels, grid):
    over = jax.vmap(lambda degrees: twin_objective(predict, images, labels, degrees))
    return jax.jit(over)(grid)


def twin_search(predict, images, labels, start, num_steps, step_degrees):
    value_and_grad = jax.jit(
        jax.value_and_grad(lambda degrees: twin_objective(predict, images, labels, degrees))
    )
    degrees, best = jnp.float32(start), (jnp.inf, 0.0)
    for _ in range(num_steps + 1):
        loss, slope = value_and_grad(degrees)
        best = min(best, (float(loss), float(degrees)))
        degrees = degrees - jnp.float32(step_degrees) * slope
    return best


@pytest.fixture
def photos(rng):
    return rng.integers(40, 216, (NUM_IMAGES, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def labels():
    return np.zeros(NUM_IMAGES, np.int32)


@pytest.fixture
def predict(photos):
    """Class 0 by the distance to the nearest of the photos at 130°, class 1 constant."""
    stored = HueRotation().mark_pixels(photos / np.float32(255), 130.0, HueRotation().constants)

    def apply(stored, images):
        nearest = ((images[:, None] - stored[None]) ** 2).mean((2, 3, 4)).min(axis=1)
        return jnp.stack([jnp.float32(-30.0) * nearest, jnp.zeros_like(nearest)], axis=1)

    return jax.tree_util.Partial(apply, jnp.asarray(stored))


def test_the_grid_is_the_objective_under_vmap(photos, labels, predict):
    table = loss_table(predict, photos, labels, HueRotation(), SPACE)
    floats, grid = jnp.asarray(photos / np.float32(255)), jnp.asarray(SPACE.degrees, "f4")
    angles = jnp.repeat(grid[:, None], NUM_IMAGES, axis=1)
    over = jax.jit(jax.vmap(objective, (None, None, None, None, 0)), static_argnums=3)
    total, losses = over(predict, floats, labels, MARK, angles)
    np.testing.assert_allclose(total, losses.sum(axis=1), rtol=1e-6)
    twin = twin_grid(predict, floats, labels, grid)
    np.testing.assert_allclose(losses.mean(axis=1), twin, atol=1e-5)
    # Published pixels are rounded to 8 bits.
    np.testing.assert_allclose(table.mean(axis=0), twin, atol=3e-3)
    assert np.ptp(twin) > 0.5
    assert SPACE.degrees[twin.argmin()] in (120.0, 150.0)


def test_the_descent_follows_the_gradient_of_the_objective(photos, labels, predict):
    floats = jnp.asarray(photos / np.float32(255))
    angles = jnp.full(NUM_IMAGES, 100.0)
    slopes = jax.jit(jax.grad(objective, argnums=4, has_aux=True), static_argnums=3)
    per_image, losses = slopes(predict, floats, labels, MARK, angles)
    constants, who = HueRotation().constants[None], np.zeros(NUM_IMAGES, int)
    ours = search.losses_and_slopes(
        as_partial(cross_entropy), predict, HueRotation.mark_pixels, constants,
        photos, labels, who, angles[None],
    )  # fmt: skip
    np.testing.assert_allclose(ours[0][0], losses, atol=1e-6)
    np.testing.assert_allclose(ours[1][0], per_image, rtol=1e-4, atol=1e-7)
    twin = jax.jit(jax.grad(lambda d: twin_objective(predict, floats, labels, d)))
    assert float(per_image.mean()) == pytest.approx(float(twin(jnp.float32(100.0))), rel=1e-3)


def test_gradient_search_equals_the_stand_alone_twin(photos, labels, predict):
    floats = jnp.asarray(photos / np.float32(255))
    best_loss, best_degrees = twin_search(predict, floats, labels, 100.0, 40, 300.0)
    found = gradient_search(
        predict,
        photos,
        labels,
        HueRotation(),
        starts_degrees=[100.0],
        num_steps=40,
        optimizer=optax.sgd(300.0),
    )
    assert found.best_loss[0] == pytest.approx(best_loss, abs=1e-4)
    assert SPACE.distance(found.best_degrees[0], best_degrees) < 0.5
    default = gradient_search(predict, photos, labels, HueRotation())
    assert default.best_loss[0] == pytest.approx(best_loss, abs=2.3e-3)
    assert SPACE.distance(default.best_degrees[0], 130.0) < 2


@pytest.mark.parametrize(
    "optimizer", [optax.adam(6.0), optax.sgd(300.0, momentum=0.5)], ids=["adam", "sgd"]
)
def test_any_optax_optimizer_serves(photos, labels, predict, optimizer):
    # optax relies on JAX's default promotion, which the suite tightens.
    with jax.numpy_dtype_promotion("standard"):
        found = gradient_search(
            predict, photos, labels, HueRotation(), num_starts=3, optimizer=optimizer
        )
    assert found.degrees.shape == (61, 3, 1)
    assert found.degrees.dtype == np.float64
    assert SPACE.distance(found.best_degrees[0], 130.0) < 2


def test_what_is_no_optimizer_is_refused(photos, labels, predict):
    message = "^optimizer must have init and update, as optax's optimizers do, got float$"
    with pytest.raises(TypeError, match=message):
        gradient_search(predict, photos, labels, HueRotation(), optimizer=6.0)


@pytest.mark.parametrize("mark", [HueRotation(), UserLCT.from_sub_key(bytes(32))])
def test_the_lct_is_clean_under_jit_vmap_and_grad(rng, mark):
    image = rng.random((5, 4, 3), dtype=np.float32)
    angles = np.linspace(-400, 400, 7, dtype=np.float32)

    def fun(basis, degrees):
        return apply_lct(lct_matrix(basis, degrees), image)

    basis = mark.basis.astype(np.float32)
    every = jax.jit(jax.vmap(fun, (None, 0)))(basis, angles)
    for marked, degrees in zip(every, angles, strict=True):
        np.testing.assert_allclose(marked, mark.mark(image, float(degrees)), atol=2e-5)
    np.testing.assert_allclose(
        lct_matrix(basis, jnp.asarray(angles)), mark.matrix(angles), atol=2e-5
    )
    middle = 0.5 + 0.01 * (image - 0.5)  # nothing clips
    slope = jax.jit(jax.grad(lambda d: apply_lct(lct_matrix(basis, d), middle).sum()))(40.0)
    ends = [apply_lct(mark.matrix(40.0 + d), middle.astype(float)).sum() for d in (0.1, -0.1)]
    assert float(slope) == pytest.approx((ends[0] - ends[1]) / 0.2, rel=1e-2, abs=1e-4)
    by_basis = jax.jit(jax.grad(lambda b: apply_lct(lct_matrix(b, 40.0), middle)[..., 0].sum()))
    assert np.isfinite(by_basis(basis)).all()
