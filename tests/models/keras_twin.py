"""A small ResNet-50 v1 as Keras and TensorFlow.js write it, and its layers run one by one."""

import json

import numpy as np

DEPTHS, WIDTHS, NUM_CLASSES = (1, 2), (4, 8), 5
SHARD_BYTES = 4001  # no multiple of 4: a number may lie across two shards
BGR_MEANS = np.array([103.939, 116.779, 123.68])


# The network as Keras writes it down: every padding and stride is an entry of its own.


def _layer(kind, name, inputs, **config):
    nodes = [[[name, 0, 0, {}] for name in inputs]] if inputs else []
    return {"class_name": kind, "name": name, "config": config, "inbound_nodes": nodes}


def _conv_layers(source, suffix, width, size, stride, relu=True):
    padding = "same" if size == 3 else "valid"
    conv, norm = f"res{suffix}", f"bn{suffix}"
    config = {"filters": width, "kernel_size": [size] * 2, "strides": [stride] * 2}
    yield _layer("Conv2D", conv, [source], padding=padding, **config)
    yield _layer("BatchNormalization", norm, [conv], epsilon=0.001)
    if relu:
        yield _layer("Activation", f"relu{suffix}", [norm], activation="relu")


def _block_layers(source, name, width, stride, projects):
    a, b, c = (f"{name}_branch2{letter}" for letter in "abc")
    yield from _conv_layers(source, a, width, 1, stride)
    yield from _conv_layers(f"relu{a}", b, width, 3, 1)
    yield from _conv_layers(f"relu{b}", c, 4 * width, 1, 1, relu=False)
    if projects:
        yield from _conv_layers(source, f"{name}_branch1", 4 * width, 1, stride, relu=False)
        source = f"bn{name}_branch1"
    yield _layer("Add", f"add{name}", [f"bn{c}", source])
    yield _layer("Activation", f"out{name}", [f"add{name}"], activation="relu")


def layers():
    yield _layer("InputLayer", "input_1", [])
    yield _layer("ZeroPadding2D", "conv1_pad", ["input_1"], padding=[[3, 3], [3, 3]])
    stem = {"filters": WIDTHS[0], "kernel_size": [7, 7], "strides": [2, 2]}
    yield _layer("Conv2D", "conv1", ["conv1_pad"], padding="valid", **stem)
    yield _layer("BatchNormalization", "bn_conv1", ["conv1"], epsilon=0.001)
    yield _layer("Activation", "relu1", ["bn_conv1"], activation="relu")
    yield _layer("ZeroPadding2D", "pool1_pad", ["relu1"], padding=[[1, 1], [1, 1]])
    pool = {"pool_size": [3, 3], "strides": [2, 2], "padding": "valid"}
    yield _layer("MaxPooling2D", "pool1", ["pool1_pad"], **pool)
    source = "pool1"
    for stage, (depth, width) in enumerate(zip(DEPTHS, WIDTHS, strict=True)):
        for index in range(depth):
            name = f"{stage + 2}{'abc'[index]}"
            stride = 2 if stage and not index else 1
            yield from _block_layers(source, name, width, stride, index == 0)
            source = f"out{name}"
    yield _layer("GlobalAveragePooling2D", "avg_pool", [source])
    yield _layer("Dense", f"fc{NUM_CLASSES}", ["avg_pool"], units=NUM_CLASSES)


def draw_weights(layers, rng):
    """Keras's arrays of those layers, their input widths found by walking the graph."""
    widths, arrays = {"input_1": 3}, {}

    def draw(name, low, high, *shape):
        arrays[name] = rng.uniform(low, high, shape).astype(np.float32)

    for layer in layers[1:]:
        name, config = layer["name"], layer["config"]
        width_in = widths[layer["inbound_nodes"][0][0][0]]
        width = widths[name] = config.get("filters") or config.get("units") or width_in
        scale = (width_in * np.prod(config.get("kernel_size", 1))) ** -0.5
        if layer["class_name"] in ("Conv2D", "Dense"):
            draw(
                f"{name}/kernel", -scale, scale, *config.get("kernel_size", ()), width_in, width
            )
            draw(f"{name}/bias", -0.2, 0.2, width)
        if layer["class_name"] == "BatchNormalization":
            draw(f"{name}/gamma", 0.7, 1.3, width)
            draw(f"{name}/beta", -0.2, 0.2, width)
            draw(f"{name}/moving_mean", -0.2, 0.2, width)
            # Small enough for epsilon to matter.
            draw(f"{name}/moving_variance", 0.01, 0.2, width)
    # Levels are as far as 255 from zero; without this the stem would dominate.
    arrays["conv1/kernel"] /= 64
    return arrays


def write_package(folder, layers, arrays):
    """A TensorFlow.js model whose shards cut through arrays and numbers."""
    folder.mkdir(parents=True)
    stream = b"".join(array.astype("<f4").tobytes() for array in arrays.values())
    pieces = [stream[i : i + SHARD_BYTES] for i in range(0, len(stream), SHARD_BYTES)]
    paths = [f"shard{i}of{len(pieces)}.bin" for i in range(1, len(pieces) + 1)]
    for path, piece in zip(paths, pieces, strict=True):
        (folder / path).write_bytes(piece)
    weights = [
        {"name": name, "shape": list(array.shape), "dtype": "float32"}
        for name, array in arrays.items()
    ]
    index = {
        "modelTopology": {"model_config": {"config": {"layers": layers}}},
        "weightsManifest": [{"paths": paths, "weights": weights}],
    }
    (folder / "model.json").write_text(json.dumps(index))


# The twin: the layer graph, one layer at a time, in float64.


def _pad(x, vertical, horizontal, value=0.0):
    return np.pad(x, ((0, 0), vertical, horizontal, (0, 0)), constant_values=value)


def _windows(x, size, stride):
    """Yield for each pixel of the kernel its inputs, `[b, h, w, c]`."""
    rows, columns = ((length - size) // stride + 1 for length in x.shape[1:3])
    for i in range(size):
        for j in range(size):
            window = x[:, i : i + stride * rows : stride, j : j + stride * columns : stride]
            yield (i, j), window[:, :rows, :columns]


def _run_layer(kind, config, inputs, own):
    x = inputs[0]
    if kind == "ZeroPadding2D":
        return _pad(x, *config["padding"])
    if kind == "Conv2D":
        (size, _), (stride, _) = config["kernel_size"], config["strides"]
        if config["padding"] == "same":
            assert (size, stride) == (3, 1)
            x = _pad(x, (1, 1), (1, 1))
        return own["bias"] + sum(
            window @ own["kernel"][at] for at, window in _windows(x, size, stride)
        )
    if kind == "BatchNormalization":
        scaled = (x - own["moving_mean"]) / np.sqrt(own["moving_variance"] + config["epsilon"])
        return own["gamma"] * scaled + own["beta"]
    if kind == "MaxPooling2D":
        assert config["padding"] == "valid"
        windows = _windows(x, config["pool_size"][0], config["strides"][0])
        return np.max([window for _, window in windows], axis=0)
    if kind == "Activation":
        assert config["activation"] == "relu"
        return np.maximum(x, 0.0)
    if kind == "Add":
        return inputs[0] + inputs[1]
    if kind == "GlobalAveragePooling2D":
        return x.mean((1, 2))
    assert kind == "Dense"  # without its softmax
    return x @ own["kernel"] + own["bias"]


def logits(layers, arrays, images):
    """Logits of float RGB images in [0, 1], preprocessed as Keras does ("caffe" mode)."""
    values = {layers[0]["name"]: 255.0 * images[..., ::-1].astype(np.float64) - BGR_MEANS}
    for layer in layers[1:]:
        name = layer["name"]
        inputs = [values[node[0]] for node in layer["inbound_nodes"][0]]
        own = {
            path.partition("/")[2]: array.astype(np.float64)
            for path, array in arrays.items()
            if path.partition("/")[0] == name
        }
        values[name] = _run_layer(layer["class_name"], layer["config"], inputs, own)
    return values[name]
