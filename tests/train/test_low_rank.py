"""Low-rank adapters: a twin by hand, what is trained, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from anw_jax.models import Diffusion
from anw_jax.train import DenoisingSettings, make_step, train_diffusion
from anw_jax.train.low_rank import ADAPTERS, adapted_loss, merged, with_adapters

KEY = jax.random.key(0)
PARAMS = {
    "conv": {"kernel": jnp.arange(2 * 3 * 4 * 5, dtype=jnp.float32).reshape(2, 3, 4, 5)},
    "dense": {"kernel": jnp.ones((6, 7)), "bias": jnp.zeros(7)},
}


def test_an_update_is_the_product_of_two_thin_matrices():
    adapted = with_adapters(PARAMS, 2, KEY)
    rng = np.random.default_rng(0)
    drawn = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), adapted[ADAPTERS]
    )
    moved = merged(adapted | {ADAPTERS: drawn})
    for where, shape in (("conv", (24, 5)), ("dense", (6, 7))):
        down, up = (np.asarray(drawn[f"{where}/kernel"][name]) for name in ("down", "up"))
        twin = np.zeros(shape, np.float32)
        for i in range(shape[0]):
            for j in range(shape[1]):
                twin[i, j] = sum(down[i, r] * up[r, j] for r in range(2))
        change = np.asarray(moved[where]["kernel"] - PARAMS[where]["kernel"])
        np.testing.assert_allclose(change.reshape(shape), twin, atol=1e-4)
        assert np.linalg.matrix_rank(change.reshape(shape), tol=1e-2) == 2
    np.testing.assert_array_equal(moved["dense"]["bias"], PARAMS["dense"]["bias"])


def test_only_adapters_are_trained():
    def loss_fn(params, model_state, batch, rng):
        total = sum(jnp.sum((leaf - batch) ** 2) for leaf in jax.tree.leaves(params))
        return total, (model_state, {})

    step = make_step(adapted_loss(loss_fn), optax.sgd(1e-3), trained=(ADAPTERS,))
    state = step.init(with_adapters(PARAMS, 1, KEY))
    moved = jax.jit(step)(state, jnp.float32(0.5), KEY)[0].params
    for before, after in zip(
        jax.tree.leaves(PARAMS), jax.tree.leaves(moved["frozen"]), strict=True
    ):
        np.testing.assert_array_equal(before, after)
    assert float(jnp.abs(moved[ADAPTERS]["dense/kernel"]["up"]).max()) > 0


def test_refuses_a_rank_below_1_and_parameters_without_kernels():
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        with_adapters(PARAMS, 0, KEY)
    with pytest.raises(ValueError, match="params must hold a kernel, got scale"):
        with_adapters({"scale": jnp.ones(3)}, 1, KEY)


@pytest.mark.parametrize(
    ("epochs", "images", "steps"), [(150, 100, 234), (10, 4, 10), (1, 64, 1)]
)
def test_each_image_is_seen_num_epochs_times_on_average(epochs, images, steps):
    assert DenoisingSettings(epochs, batch_size=64).num_steps(images) == steps


@pytest.mark.slow
@pytest.mark.parametrize("rank", [None, 2])
def test_a_diffusion_model_learns_and_resumes(tmp_path, rank):
    model = Diffusion(widths=(8,), num_steps=20)
    params = model.init(KEY, (8, 8, 3))["params"]
    images = np.random.default_rng(0).integers(0, 256, (8, 1, 1, 3)).repeat(8, 1).repeat(8, 2)
    how = DenoisingSettings(num_epochs=60, learning_rate=2e-2, batch_size=4, rank=rank)

    def run(**more):
        return train_diffusion(model, params, images.astype(np.uint8), how, seed=1, **more)

    whole = run(segment_steps=20)
    assert whole.reports[-1].loss < 0.9 * whole.reports[0].loss
    folder = tmp_path / "checkpoints"
    stopped = run(segment_steps=20, checkpoint_dir=folder, should_stop=lambda: True)
    assert not stopped.completed
    resumed = run(segment_steps=20, checkpoint_dir=folder)
    for one, other in zip(
        jax.tree.leaves(whole.state.params), jax.tree.leaves(resumed.state.params), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert jax.tree.structure(whole.state.params) == jax.tree.structure(params)
