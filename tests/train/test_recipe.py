import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax import models, train
from anw_jax.errors import CheckpointError
from anw_jax.train import recipe as recipe_module
from anw_jax.train.checkpoints import Checkpoints, digest
from anw_jax.train.classifier import first_state


@dataclasses.dataclass(frozen=True)
class Fade:
    """Darken images and flatten targets, by a random share for each."""

    most: float = 0.5

    def transform(self, key, images, targets):
        share = jax.random.uniform(key, (len(images),), maxval=self.most)
        flat = jnp.full_like(targets, 1 / targets.shape[1])
        images = (1 - share)[:, None, None, None] * images
        return images, (1 - share)[:, None] * targets + share[:, None] * flat


@dataclasses.dataclass(frozen=True)
class Invert:
    def transform(self, key, images, targets):
        return 1.0 - images, targets


@dataclasses.dataclass(frozen=True)
class Mix:
    mixes_examples = True

    def transform(self, key, images, targets):
        return images[::-1], targets[::-1]


@dataclasses.dataclass(frozen=True)
class Uphill:
    size: float = 0.1

    def perturb(self, key, images, loss_fn):
        slope = jax.grad(lambda moved: loss_fn(key, moved))(images)
        return jnp.clip(images + self.size * jnp.sign(slope), 0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Mean:
    """The plain gradient as a privatizer."""

    def gradient(self, loss_fn, params, model_state, batch, rng):
        return jax.value_and_grad(loss_fn, has_aux=True)(params, model_state, batch, rng)


FADED = train.Recipe(transforms=(Invert(), Fade()))


def _step(model, settings, *options, **more):
    """A step, compiled, and its first state."""
    step = train.classification_step(model, settings, 4, *options, **more)
    return jax.jit(step), first_state(step, model, settings, (8, 8, 3))


@pytest.fixture(scope="module")
def state(model, settings):
    return _step(model, settings)[1]


@pytest.fixture(scope="module")
def batch(dataset):
    images, labels = dataset
    return train.Batch(images[:16], labels[:16])


@pytest.fixture(scope="module")
def targets():
    return np.random.default_rng(8).dirichlet(np.ones(4), 64).astype(np.float32)


def _plain(settings, **changes):
    return dataclasses.replace(settings, crop_padding=0, flip=False, **changes)


def _loss_of(model, state, images, targets, smoothing=0.0):
    """Mean loss in training mode, written out."""
    logits, _ = jax.jit(model.apply, static_argnames="train")(
        state.variables, images.astype(np.float32), train=True
    )
    log_p = np.asarray(logits, np.float64)
    log_p = log_p - np.log(np.exp(log_p).sum(1, keepdims=True))
    targets = (1 - smoothing) * targets + smoothing / 4
    return -(targets * log_p).sum(1).mean(), (log_p.argmax(1) == targets.argmax(1)).mean()


@pytest.mark.parametrize("is_soft", [False, True])
def test_transforms_act_in_order_and_targets_follow(model, settings, batch, targets, is_soft):
    """1 - x, then darker: the other order would give other images."""
    batch = batch._replace(targets=targets[:16]) if is_soft else batch
    settings = _plain(settings, label_smoothing=0.2)
    levels = (batch.images / 255).astype(np.float32)

    @jax.jit
    def transformed(key):
        prepared = batch._replace(images=levels)
        return recipe_module._transformed(key, prepared, model, settings, FADED)

    images, _, told = map(np.asarray, transformed(jax.random.key(1)))
    inverted = 1 - levels
    shares = 1 - images.reshape(16, -1).sum(1) / inverted.reshape(16, -1).sum(1)
    assert len(np.unique(shares.round(4))) == 16
    np.testing.assert_allclose(images, (1 - shares)[:, None, None, None] * inverted, atol=1e-5)
    given = targets[:16] if is_soft else np.eye(4)[batch.labels]
    smoothed = 0.8 * given + 0.05
    expected = (1 - shares)[:, None] * smoothed + shares[:, None] / 4
    np.testing.assert_allclose(told, expected, atol=1e-5)


@pytest.mark.slow
def test_targets_take_the_place_of_labels(model, settings, state, batch, targets):
    soft = batch._replace(targets=targets[:16])
    step_fn, _ = _step(model, _plain(settings, label_smoothing=0.3))
    _, metrics = step_fn(state, soft, jax.random.key(0))
    loss, accuracy = _loss_of(model, state, batch.images / 255, targets[:16], 0.3)
    assert float(metrics["loss"]) == pytest.approx(loss, rel=1e-4)
    assert float(metrics["accuracy"]) == accuracy


@pytest.mark.slow
def test_the_adversary_sees_the_loss_that_is_trained(model, settings, state, batch):
    """Its images and metrics are those of a gradient written out."""
    step_fn, _ = _step(model, _plain(settings), train.Recipe(adversary=Uphill()))
    _, metrics = step_fn(state, batch, jax.random.key(0))

    @jax.jit
    @jax.grad
    def slope_fn(images):
        logits, _ = model.apply(state.variables, images, train=True)
        return train.cross_entropy(logits, batch.labels).mean()

    images = (batch.images / 255).astype(np.float32)
    moved = np.clip(images + 0.1 * np.sign(slope_fn(images)), 0, 1)
    loss, _ = _loss_of(model, state, moved, np.eye(4)[batch.labels])
    assert float(metrics["loss"]) == pytest.approx(loss, rel=1e-3)


@pytest.mark.slow
def test_only_the_head_learns(tiny, model):
    start = train.train(*tiny, segment_steps=16, max_seconds=0.0).state.variables
    start = jax.tree.map(np.asarray, start)
    settings = dataclasses.replace(tiny[1], weight_decay=0.1, num_epochs=8)
    result = train.train(
        model, settings, *tiny[2:], initial_variables=start, trainable="head", segment_steps=4
    )
    moved = jax.device_get(result.state.variables)
    before, after = start["params"].pop(model.head), moved["params"].pop(model.head)
    chex.assert_trees_all_equal(moved, start)
    assert all(
        np.abs(a - b).max() > 1e-4
        for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    )
    assert result.reports[-1].loss < result.reports[0].loss
    # Only the head has momentum.
    sizes = [leaf.size for leaf in jax.tree.leaves(result.state.opt_state)]
    assert sum(sizes) - sizes.count(1) == sum(leaf.size for leaf in jax.tree.leaves(after))


def test_a_step_of_the_head_is_logistic_regression(model, settings, state, batch):
    """On the network's features, with weight decay, written out."""
    settings = _plain(settings, weight_decay=0.1)
    step_fn, fresh = _step(model, settings, trainable="head")
    moved, _ = step_fn(fresh, batch, jax.random.key(0))
    images = (batch.images / 255).astype(np.float32)
    features = np.asarray(jax.jit(model.features)(fresh.variables, images), np.float64)
    head = {k: np.asarray(v, np.float64) for k, v in fresh.params[model.head].items()}
    logits = features @ head["kernel"] + head["bias"]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    residual = (p - np.eye(4)[batch.labels]) / 16
    kernel = head["kernel"] - 0.05 * (features.T @ residual + 0.1 * head["kernel"])
    bias = head["bias"] - 0.05 * (residual.sum(0) + 0.1 * head["bias"])
    np.testing.assert_allclose(moved.params[model.head]["kernel"], kernel, atol=1e-5)
    np.testing.assert_allclose(moved.params[model.head]["bias"], bias, atol=1e-5)


@pytest.mark.slow
def test_initial_variables_outlive_the_training(tiny, model):
    start = model.init(jax.random.key(9), (8, 8, 3))
    kept = jax.tree.map(lambda leaf: np.array(leaf), start)
    at_once = train.train(*tiny, initial_variables=start, max_seconds=0.0)
    chex.assert_trees_all_equal(jax.device_get(at_once.state.variables), kept)
    chex.assert_trees_all_equal(jax.device_get(start), kept)


@pytest.mark.slow
def test_stopped_and_resumed_with_a_recipe_is_bit_for_bit(tiny, targets, tmp_path):
    changes = {"recipe": FADED, "targets": targets}
    whole = train.train(*tiny, **changes, segment_steps=4)
    first = train.train(
        *tiny, **changes, segment_steps=4, checkpoint_dir=tmp_path, should_stop=lambda: True
    )
    assert not first.completed
    second = train.train(*tiny, **changes, checkpoint_dir=tmp_path)
    chex.assert_trees_all_equal(second.state, whole.state)
    _refused(tiny, tmp_path, targets, changes)


def _refused(tiny, folder, targets, changes):
    """Check that the difference from the checkpoint is named."""
    other = train.Recipe(transforms=(Invert(), Fade(0.25)))
    start = tiny[0].init(jax.random.key(1), (8, 8, 3))
    for change, message in [
        ({"recipe": other}, "recipe.transforms.1.most is 0.5 there and 0.25 here"),
        (
            {"recipe": train.Recipe()},
            "recipe.transforms.0.kind is 'Invert' there and missing here",
        ),
        ({"targets": targets[::-1]}, f"targets is '{digest(targets)}' there and '"),
        ({"targets": None}, f"targets is '{digest(targets)}' there and missing here"),
        ({"initial_variables": start}, "initial_variables is missing there and '"),
        ({"trainable": "head"}, "trainable is missing there and 'head' here"),
    ]:
        with pytest.raises(CheckpointError) as raised:
            train.train(*tiny, **changes | change, checkpoint_dir=folder)
        assert message in str(raised.value)


@pytest.mark.slow
def test_a_head_resumes_without_the_optimizer_of_the_rest(tiny, tmp_path):
    options = {"trainable": "head", "segment_steps": 4}
    whole = train.train(*tiny, **options)
    train.train(*tiny, **options, checkpoint_dir=tmp_path, should_stop=lambda: True)
    resumed = train.train(*tiny, **options, checkpoint_dir=tmp_path)
    chex.assert_trees_all_equal(resumed.state, whole.state)


def test_a_net_without_batch_statistics_is_saved_and_loaded(settings, tmp_path):
    model = models.create("vgg_testing", 4, norm="group")
    _, state = _step(model, settings)
    assert state.model_state == {}
    with Checkpoints(tmp_path, {}) as checkpoints:
        checkpoints.save(state, segment_steps=1)
        restored, _ = checkpoints.restore(state, num_steps=1)
    chex.assert_trees_all_equal(restored, state)
    chex.assert_trees_all_equal(train.load_variables(tmp_path), state.variables)


def test_equal_recipes_have_equal_hashes_and_plain_values():
    assert hash(FADED) == hash(train.Recipe(transforms=(Invert(), Fade())))
    assert train.Recipe().plain() == {}
    recipe = train.Recipe((Fade(0.1),), Uphill(), Mean())
    assert recipe.plain() == {
        "transforms": {"0": {"kind": "Fade", "most": 0.1}},
        "adversary": {"kind": "Uphill", "size": 0.1},
        "privacy": {"kind": "Mean"},
    }


@dataclasses.dataclass
class Thawed:
    def transform(self, key, images, targets):
        return images, targets


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"transforms": [Fade()]}, TypeError, "transforms must be a tuple, got "
         "[Fade(most=0.5)]"),
        ({"transforms": (3,)}, TypeError, "transforms[0] must be an instance of "
         "BatchTransform, got 3"),
        ({"adversary": Fade()}, TypeError, "adversary must be an instance of "
         "Adversary, got Fade(most=0.5)"),
        ({"privacy": Uphill()}, TypeError, "privacy must be an instance of "
         "Privatizer, got Uphill(size=0.1)"),
        ({"transforms": (Thawed(),)}, TypeError, "transforms[0] must be a frozen dataclass of "
         "plain values, got Thawed()"),
        ({"transforms": (Fade([1]),)}, TypeError, "transforms[0] must be a frozen dataclass of "
         "plain values, got Fade(most=[1])"),
        ({"transforms": (Mix(),), "privacy": Mean()}, ValueError, "transforms must not mix "
         "examples under privacy, got Mix: what one photo adds to the gradient could not be "
         "bounded"),
    ],
)  # fmt: skip
def test_wrong_recipes_are_refused(arguments, error, message):
    with pytest.raises(error) as raised:
        train.Recipe(**arguments)
    assert str(raised.value) == message


def _fewer_classes(targets):
    return targets[:, :3] / targets[:, :3].sum(1, keepdims=True)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"recipe": "none"}, TypeError, "recipe must be a Recipe, got str: 'none'"),
        ({"trainable": "heads"}, ValueError, "trainable must be one of all, head; got 'heads'; "
         "did you mean 'head'?"),
        ({"targets": _fewer_classes}, ValueError, "targets must have shape (64, 4), "
         "got (64, 3)"),
        ({"targets": lambda t: t / 2}, ValueError, "targets must sum to 1 in each row, got a "
         "row that sums to 0.5"),
        ({"targets": lambda t: t * 2}, ValueError, "targets must lie in [0, 1], got values in"),
        ({"initial_variables": 3}, TypeError, "initial_variables must be a dict of arrays, got "
         "int: 3"),
    ],
)  # fmt: skip
def test_wrong_changes_are_refused(tiny, targets, changes, error, message):
    changes = {k: v(targets) if callable(v) else v for k, v in changes.items()}
    with pytest.raises(error) as raised:
        train.train(*tiny, **changes)
    assert str(raised.value).startswith(message)


def test_weights_of_another_net_are_named(tiny):
    other = models.create("testing", 5).init(jax.random.key(0), (8, 8, 3))
    with pytest.raises(ValueError) as raised:
        train.train(*tiny, initial_variables=other)
    message = str(raised.value)
    assert message.startswith("initial_variables must be of model 'testing' with 4 classes: ")
    assert "is float32[5] there and float32[4] here" in message


@pytest.mark.slow
def test_dropout_draws_anew_in_each_step():
    model = models.create("vgg_testing", 4, dropout=0.5)
    settings = _plain(train.TrainSettings(batch_size=8))
    step_fn, state = _step(model, settings)
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
    batch = train.Batch(images, np.arange(8, dtype=np.int32) % 4)
    first, other, again = (
        float(step_fn(state, batch, jax.random.key(seed))[1]["loss"]) for seed in (0, 1, 0)
    )
    assert first == again
    assert first != other
