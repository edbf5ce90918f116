"""Each new family against the same network written in NumPy, layer by layer."""

import jax
import numpy as np
import pytest

from anw_jax import models


def _conv(x, params, stride=1, margin=None):
    """A convolution written as a sum over the pixels of its kernel."""
    kernel = params["kernel"]
    size = kernel.shape[0]
    margin = size // 2 if margin is None else margin
    padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    out = (padded.shape[1] - size) // stride + 1
    total = params.get("bias", 0.0)
    for i in range(size):
        for j in range(size):
            rows, columns = (
                slice(i, i + stride * out, stride),
                slice(j, j + stride * out, stride),
            )
            total = total + padded[:, rows, columns][:, :out, :out] @ kernel[i, j]
    return total


def _pool(x, size, reduce_fn, margin=0):
    """Windows of stride 2."""
    margins = ((0, 0), (margin, margin), (margin, margin), (0, 0))
    x = np.pad(x, margins, constant_values=-np.inf)
    out = (x.shape[1] - size) // 2 + 1
    rows = [
        [reduce_fn(x[:, 2 * i : 2 * i + size, 2 * j : 2 * j + size], axis=(1, 2))]
        for i in range(out)
        for j in range(out)
    ]
    return np.stack([r[0] for r in rows], axis=1).reshape(len(x), out, out, -1)


class Layers:
    """Hands out a network's layers of one kind in order, as Flax numbers them."""

    def __init__(self, params, stats, norm):
        self.params, self.stats, self.norm_kind = params, stats, norm
        self.counts = {}

    def _next(self, kind):
        index = self.counts.get(kind, 0)
        self.counts[kind] = index + 1
        return f"{kind}_{index}"

    def conv(self, x, **options):
        return _conv(x, self.params[self._next("Conv")], **options)

    def dense(self, x):
        params = self.params[self._next("Dense")]
        return x @ params["kernel"] + params["bias"]

    def act(self, x):
        """Normalisation and ReLU."""
        if self.norm_kind == "batch":
            name = self._next("BatchNorm")
            x = (x - self.stats[name]["mean"]) / np.sqrt(self.stats[name]["var"] + 1e-5)
        else:
            name = self._next("GroupNorm")
            batch, height, width, channels = x.shape
            pairs = x.reshape(batch, height * width, -1, 2)  # all widths here are below 64
            mean, var = (f(pairs, axis=(1, 3), keepdims=True) for f in (np.mean, np.var))
            x = ((pairs - mean) / np.sqrt(var + 1e-5)).reshape(batch, height, width, channels)
        return np.maximum(x * self.params[name]["scale"] + self.params[name]["bias"], 0)

    def inside(self, kind):
        name = self._next(kind)
        return Layers(self.params[name], self.stats.get(name, {}), self.norm_kind)


def _alexnet(layers, x, stem):
    is_small = stem != "imagenet"
    strides, is_pooled = (4, 1, 1, 1, 1), (True, True, False, False, True)
    for index, stride in enumerate(strides):
        margin = 2 if index == 0 and not is_small else None
        x = np.maximum(layers.conv(x, stride=stride, margin=margin), 0)
        if is_pooled[index]:
            x = _pool(x, 2 if is_small else 3, np.max)
    x = np.maximum(layers.dense(x.reshape(len(x), -1)), 0)
    return layers.dense(x)


def _vgg(layers, x, stem):
    for depth in (1, 2):
        for _ in range(depth):
            x = layers.act(layers.conv(x))
        x = _pool(x, 2, np.max)
    if stem == "imagenet":
        x = np.maximum(layers.dense(x.reshape(len(x), -1)), 0)
        return layers.dense(x)
    return layers.dense(x.mean((1, 2)))


def _wide_resnet(layers, x, stem):
    x = layers.conv(x, stride=2)
    x = _pool(x, 3, np.max, margin=1) if stem != "cifar" else x
    for stride in (1, 2):
        block = layers.inside("WideBlock")
        activated = block.act(x)
        y = block.conv(block.act(block.conv(activated, stride=stride)))
        x = y + _conv(activated, block.params["shortcut_conv"], stride=stride)
    return layers.dense(layers.act(x).mean((1, 2)))


def _densenet(layers, x, stem):
    x = layers.conv(x, stride=2)
    if stem != "cifar":
        x = _pool(layers.act(x), 3, np.max, margin=1)
    for block, depth in enumerate((1, 2)):
        if block > 0:
            transition = layers.inside("Transition")
            x = _pool(transition.conv(transition.act(x)), 2, np.mean)
        for _ in range(depth):
            layer = layers.inside("DenseLayer")
            new = layer.conv(layer.act(layer.conv(layer.act(x))))
            x = np.concatenate((x, new), axis=-1)
    return layers.dense(layers.act(x).mean((1, 2)))


# Sides at which the grid before the dense layers is what is left: it averages nothing but
# VGG's small images, and `test_layers.py` has the rest.
CASES = [
    ("alexnet_testing", _alexnet, "cifar", 32, "batch"),
    ("alexnet_testing", _alexnet, "tiny", 64, "batch"),
    ("alexnet_testing", _alexnet, "imagenet", 224, "batch"),
    ("vgg_testing", _vgg, "cifar", 8, "batch"),
    ("vgg_testing", _vgg, "cifar", 8, "group"),
    ("vgg_testing", _vgg, "imagenet", 28, "batch"),
    ("wide_resnet_testing", _wide_resnet, "cifar", 8, "batch"),
    ("wide_resnet_testing", _wide_resnet, "cifar", 8, "group"),
    ("wide_resnet_testing", _wide_resnet, "tiny", 16, "batch"),
    ("densenet_testing", _densenet, "cifar", 8, "batch"),
    ("densenet_testing", _densenet, "cifar", 8, "group"),
    ("densenet_testing", _densenet, "tiny", 16, "batch"),
]


@pytest.mark.parametrize(
    ("name", "twin", "stem", "side", "norm"),
    CASES,
    ids=[f"{name}-{stem}-{norm}" for name, _, stem, _, norm in CASES],
)
def test_forward_agrees_with_numpy(rng, draw, quick_jit, name, twin, stem, side, norm):
    model = models.create(name, 4, stem=stem, norm=norm)
    variables = draw(model, side)
    images = rng.random((2, side, side, 3), dtype=np.float32)
    layers = Layers(variables["params"], variables["batch_stats"], norm)
    expected = twin(layers, (images - 0.5) / 0.25, stem)
    got = quick_jit(model.apply)(variables, images)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(got / scale, expected / scale, rtol=1e-3, atol=1e-4)


def test_wide_bottleneck_is_wide_inside_only():
    plain, wide = (
        jax.eval_shape(
            lambda name=name: models.create(name, 10).init(jax.random.key(0), (32, 32, 3))
        )["params"]["BottleneckBlock_3"]
        for name in ("resnet50", "wide_resnet50_2")
    )
    shapes = [[block[f"Conv_{i}"]["kernel"].shape for i in range(3)] for block in (plain, wide)]
    assert shapes[0] == [(1, 1, 256, 128), (3, 3, 128, 128), (1, 1, 128, 512)]
    assert shapes[1] == [(1, 1, 256, 256), (3, 3, 256, 256), (1, 1, 256, 512)]
