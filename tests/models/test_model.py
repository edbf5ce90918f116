import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax import models
from anw_jax.models import design, resnet

SHAPE = (8, 8, 3)


@pytest.fixture(scope="module")
def model():
    return models.create("testing", 4, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


@pytest.fixture(scope="module")
def variables(model):
    variables = model.init(jax.random.key(0), SHAPE)
    # Averages and scales other than 0 and 1, so that a mistake in them would show.
    leaves, treedef = jax.tree.flatten(variables)
    rng = np.random.default_rng(1)
    moved = [leaf + rng.uniform(0.1, 0.3, leaf.shape).astype("f4") for leaf in leaves]
    return jax.tree.unflatten(treedef, moved)


@pytest.fixture
def images(rng):
    return rng.random((5, *SHAPE), dtype=np.float32)


def _norm(x, params, stats):
    scaled = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
    return scaled * params["scale"] + params["bias"]


def _conv(x, kernel, stride):
    """A convolution written as sums over the kernel, in NumPy."""
    size, margin = kernel.shape[0], (kernel.shape[0] - 1) // 2
    padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    out = -(-x.shape[1] // stride)
    total = 0.0
    for i in range(size):
        for j in range(size):
            window = padded[:, i : i + stride * out : stride, j : j + stride * out : stride]
            total = total + window[:, :out, :out] @ kernel[i, j]
    return total


def _block(x, params, stats, stride):
    y = _conv(x, params["Conv_0"]["kernel"], stride)
    y = np.maximum(_norm(y, params["BatchNorm_0"], stats["BatchNorm_0"]), 0)
    y = _conv(y, params["Conv_1"]["kernel"], 1)
    y = _norm(y, params["BatchNorm_1"], stats["BatchNorm_1"])
    if "shortcut_conv" in params:
        x = _conv(x, params["shortcut_conv"]["kernel"], stride)
        x = _norm(x, params["shortcut_norm"], stats["shortcut_norm"])
    return np.maximum(x + y, 0)


def _twin(model, variables, images):
    params, stats = jax.tree.map(np.asarray, (variables["params"], variables["batch_stats"]))
    x = (images - np.float32(model.mean)) / np.float32(model.std)
    x = _conv(x, params["Conv_0"]["kernel"], 2)
    x = np.maximum(_norm(x, params["BatchNorm_0"], stats["BatchNorm_0"]), 0)
    x = _block(x, params["BasicBlock_0"], stats["BasicBlock_0"], 1)
    x = _block(x, params["BasicBlock_1"], stats["BasicBlock_1"], 2)
    return x.mean((1, 2)) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]


def test_forward_agrees_with_numpy(model, variables, images):
    logits = model.apply(variables, images)
    assert (logits.shape, logits.dtype) == ((5, 4), jnp.float32)
    np.testing.assert_allclose(logits, _twin(model, variables, images), rtol=2e-4, atol=2e-5)


def test_train_mode_uses_the_batch_and_moves_the_averages(model, variables, images):
    logits, moved = model.apply(variables, images, train=True)
    assert not np.allclose(logits, model.apply(variables, images))
    old = variables["batch_stats"]["BatchNorm_0"]["mean"]
    normalised = (images - np.float32(model.mean)) / np.float32(model.std)
    kernel = np.asarray(variables["params"]["Conv_0"]["kernel"])
    batch_mean = _conv(normalised, kernel, 2).mean((0, 1, 2))
    expected = 0.9 * old + 0.1 * batch_mean
    np.testing.assert_allclose(moved["BatchNorm_0"]["mean"], expected, rtol=1e-4, atol=1e-6)


def test_eval_mode_sees_each_image_alone(model, variables, images):
    together = model.apply(variables, images)
    alone = model.apply(variables, images[:1])
    np.testing.assert_allclose(together[:1], alone, rtol=1e-4, atol=1e-5)


def test_init_is_plain_float32(model):
    variables = model.init(jax.random.key(0), SHAPE)
    assert type(variables) is dict
    assert set(variables) == {"params", "batch_stats"}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@pytest.mark.slow
def test_bfloat16_is_near_and_logits_are_float32(model, variables, images):
    narrow = models.create("testing", 4, mean=model.mean, std=model.std, dtype="bfloat16")
    logits = narrow.apply(variables, images)
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, model.apply(variables, images), rtol=0.1, atol=0.05)


def test_equal_models_share_one_trace(variables, images):
    num_traces = 0

    @jax.jit
    def ask(predict_fn, images):
        nonlocal num_traces
        num_traces += 1
        return predict_fn(images)

    first, second = (models.create("testing", 4) for _ in range(2))
    assert first is not second
    later = jax.tree.map(lambda leaf: 1.5 * leaf, variables)
    a = ask(first.predict_fn(variables), images)
    b = ask(second.predict_fn(later), images)
    assert num_traces == 1
    assert not np.allclose(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["testing", "resnet18", "resnet50"])
def test_imagenet_stem_divides_resolution_by_four_more(name):
    model = models.create(name, 3, stem="imagenet", widths=(4, 8, 8, 8)[: _stages(name)])
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), (64, 64, 3)))
    assert shapes["params"]["Conv_0"]["kernel"].shape == (7, 7, 3, 4)
    images = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    logits = jax.eval_shape(model.apply, shapes, images)
    assert (logits.shape, logits.dtype) == ((2, 3), jnp.float32)


def _stages(name):
    return len(models.create(name, 2).widths)


@pytest.mark.slow
def test_bottleneck_strides_on_its_middle_convolution():
    # Of two images that differ only in odd pixels, a stride on the 1x1 sees no difference.
    plain = design.Design(2, "cifar", (2,), "batch", 0.0, jnp.dtype("float32"))
    block = resnet.BottleneckBlock(2, 2, plain)
    x = jnp.zeros((1, 4, 4, 3))
    variables = jax.jit(block.init, static_argnums=2)(jax.random.key(0), x, False)
    apply_fn = jax.jit(block.apply, static_argnums=2)
    odd = x.at[:, 1::2, 1::2].set(1.0)
    assert not np.allclose(apply_fn(variables, odd, False), apply_fn(variables, x, False))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet81"}, "did you mean 'resnet1"),
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"stem": "cfar"}, "did you mean 'cifar'"),
        ({"dtype": "float16"}, "dtype must be one of float32, bfloat16"),
        ({"mean": (0.5, 0.5)}, "mean must hold 3 numbers"),
        ({"std": (0.5, 0.0, 0.5)}, "std must be above 0"),
        ({"widths": (8, 8, 8)}, "widths of 'testing' must hold 2 numbers"),
        ({"widths": (8, 0)}, "widths must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.create(**{"name": "testing", "num_classes": 4} | arguments)
