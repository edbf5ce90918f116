"""The same tests for every family of networks, with each normalisation that it has."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax import models

NUM_CLASSES = 4
SIDE = 16
TESTING = [name for name in models.NAMES if name.endswith("testing")]
PAIRS = [
    (name, norm)
    for name in TESTING
    for norm in models.NORMS
    if not (name.startswith("alexnet") and norm == "group")
]
FAMILIES = {
    "alexnet": "alexnet_testing",
    "vgg": "vgg_testing",
    "densenet": "densenet_testing",
    "wide_resnet28": "wide_resnet_testing",
}


@pytest.fixture(scope="module")
def make(draw):
    """`(name, norm)` to a model and variables that are not those of a fresh one."""

    def make(name, norm):
        model = models.create(name, NUM_CLASSES, norm=norm)
        return model, draw(model, SIDE)

    return make


@pytest.fixture(
    params=[
        # The deep ones have the same code for group normalisation as the others.
        pytest.param(
            pair,
            marks=pytest.mark.slow
            if pair[1] == "group" and pair[0].startswith(("resnet50", "densenet", "wide"))
            else (),
            id="-".join(pair),
        )
        for pair in PAIRS
    ]
)
def made(make, request):
    return make(*request.param)


@pytest.fixture(scope="module")
def evaluate(quick_jit):
    """`(model, variables, images)` to logits and features; one program for each model."""

    @functools.partial(quick_jit, static_argnums=0)
    def evaluate(model, variables, images):
        return model.apply(variables, images), model.features(variables, images)

    return evaluate


@pytest.fixture(scope="module")
def descend(quick_jit):
    """`(model, variables, images)` to loss, `(logits, batch_stats)` and gradients."""

    @functools.partial(quick_jit, static_argnums=0)
    def descend(model, variables, images):
        def loss_fn(params):
            moving = {**variables, "params": params}
            logits, moved = model.apply(moving, images, train=True)
            return jax.nn.log_softmax(logits)[:, 0].mean(), (logits, moved)

        return jax.value_and_grad(loss_fn, has_aux=True)(variables["params"])

    return descend


@pytest.fixture
def images(rng):
    return rng.random((4, SIDE, SIDE, 3), dtype=np.float32)


def test_every_family_has_its_testing_and_small_size():
    for family in FAMILIES.values():
        assert {family, family.replace("testing", "small")} <= set(models.NAMES)


def test_there_are_batch_statistics_where_batches_are_averaged(made):
    model, variables = made
    assert type(variables) is dict
    assert set(variables) == {"params", "batch_stats"}
    assert bool(variables["batch_stats"]) == (model.norm == "batch")
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", ["alexnet_testing", "vgg_testing"])
def test_init_keeps_the_signal(make, evaluate, name, images):
    model, _ = make(name, "batch")
    first, second = (model.init(jax.random.key(s), (SIDE, SIDE, 3)) for s in (0, 1))
    kernels = [v["params"][model.head]["kernel"] for v in (first, second)]
    assert not np.array_equal(*kernels)
    _, features = evaluate(model, first, images)
    assert 0.02 < np.sqrt(np.mean(np.square(features))) < 20.0


def test_logits_are_head_of_features(evaluate, made, images):
    model, variables = made
    logits, features = evaluate(model, variables, images)
    head = variables["params"][model.head]
    assert (logits.shape, logits.dtype) == ((4, NUM_CLASSES), jnp.float32)
    assert (features.shape[0], features.ndim, features.dtype) == (4, 2, jnp.float32)
    expected = np.asarray(features) @ np.asarray(head["kernel"]) + np.asarray(head["bias"])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert np.std(features) > 0.0


def test_evaluation_is_deterministic_and_per_image(evaluate, made, images):
    model, variables = made
    logits, _ = evaluate(model, variables, images)
    again, _ = evaluate(model, variables, images)
    np.testing.assert_array_equal(logits, again)
    reversed_logits, _ = evaluate(model, variables, images[::-1])
    np.testing.assert_allclose(reversed_logits[::-1], logits, rtol=1e-4, atol=1e-5)
    assert not np.allclose(logits[0], logits[1], rtol=1e-6, atol=0.0)


@pytest.mark.slow
def test_training_moves_averages_and_has_finite_gradients(descend, made, images):
    model, variables = made
    (loss, (logits, moved)), gradients = descend(model, variables, images)
    assert np.isfinite(loss)
    assert logits.shape == (4, NUM_CLASSES)
    assert jax.tree.structure(moved) == jax.tree.structure(variables["batch_stats"])
    pairs = zip(jax.tree.leaves(moved), jax.tree.leaves(variables["batch_stats"]), strict=True)
    assert all(not np.array_equal(new, old) for new, old in pairs)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.all(np.isfinite(leaf)), path
        assert path[-1].key != "kernel" or np.any(leaf != 0.0), path


@pytest.mark.slow
def test_without_batch_statistics_training_sees_each_image_alone(
    make, descend, evaluate, images
):
    for name in TESTING:
        model, variables = make(name, "batch" if "alexnet" in name else "group")
        (_, (logits, moved)), _ = descend(model, variables, images)
        assert moved == {}
        evaluated, _ = evaluate(model, variables, images)
        np.testing.assert_allclose(logits, evaluated, rtol=1e-4, atol=1e-5)


def test_equal_choices_make_equal_models(made):
    model, _ = made
    norm = "batch" if model.norm == "none" else model.norm
    same = models.create(model.name, NUM_CLASSES, norm=norm)
    assert same is not model
    assert same == model
    assert hash(same) == hash(model)
    assert models.create(model.name, NUM_CLASSES + 1, norm=norm) != model


def test_equal_models_share_one_compilation(made, images):
    model, variables = made
    num_traces = 0

    @jax.jit
    def ask(predict_fn, images):
        nonlocal num_traces
        num_traces += 1
        return predict_fn(images)

    norm = "batch" if model.norm == "none" else model.norm
    same = models.create(model.name, NUM_CLASSES, norm=norm)
    jax.eval_shape(ask, model.predict_fn(variables), images)
    jax.eval_shape(ask, same.predict_fn(variables), images)
    assert num_traces == 1


@pytest.mark.parametrize("stem", models.STEMS)
@pytest.mark.parametrize("name", TESTING)
def test_every_stem_gives_float32_logits_in_bfloat16(name, stem):
    model = models.create(name, 3, stem=stem, dtype="bfloat16")
    side = {"cifar": 32, "tiny": 64, "imagenet": 224}[stem]
    variables, logits, features = _shapes(model, side)
    assert (logits.shape, logits.dtype) == ((2, 3), jnp.float32)
    kernel = variables["params"][model.head]["kernel"]
    assert kernel.shape == (features.shape[-1], 3)
    assert features.dtype == jnp.float32


def _shapes(model, side):
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), (side, side, 3)))
    images = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    logits = jax.eval_shape(model.apply, variables, images)
    return variables, logits, jax.eval_shape(model.features, variables, images)


@pytest.mark.parametrize("name", TESTING)
def test_parameters_do_not_depend_on_resolution(name):
    model = models.create(name, 3, stem="imagenet")
    counts = {models.count_parameters(model, (side, side, 3)) for side in (96, 224)}
    assert len(counts) == 1


def test_images_too_small_for_the_pools_are_refused():
    model = models.create("alexnet_testing", 3, stem="imagenet")
    message = "images are too small for this network: its pools leave no pixel"
    with pytest.raises(ValueError, match=message):
        model.init(jax.random.key(0), (32, 32, 3))


@pytest.mark.parametrize("name", ["vgg_testing", "densenet_testing"])
def test_bfloat16_is_near(make, evaluate, name, images):
    wide, variables = make(name, "batch")
    narrow = models.create(name, NUM_CLASSES, dtype="bfloat16")
    logits, _ = evaluate(narrow, variables, images)
    expected, _ = evaluate(wide, variables, images)
    assert not np.array_equal(logits, expected)
    np.testing.assert_allclose(logits, expected, rtol=0.1, atol=0.05)
