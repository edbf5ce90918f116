"""The loss table against a naive double loop, of models in JAX and of other functions."""

import functools
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax import models
from anw_jax.keys import MarkKey, SignatureSpace
from anw_jax.marks import HueRotation, MarkTables, PixelMark, UserLCT, publish
from anw_jax.verify import chunks, loss_table
from anw_jax.verify.losses import as_partial, cross_entropy

MARKS = {
    "hue": HueRotation(),
    "user_lct": UserLCT.from_sub_key(MarkKey.for_experiment(2).sub_key("basis")),
}
SPACE = SignatureSpace(5)


def _naive_table(weights, images, labels, mark, space):
    """Mark, round, ask, log-softmax: one picture at a time, float64."""
    table = np.empty((len(images), space.num_slots))
    for i, image in enumerate(images):
        for s, degrees in enumerate(space.degrees):
            marked = np.clip(image.astype(np.float64) @ mark.matrix(degrees).T, 0, 255)
            rounded = np.rint(marked)
            # There the integers decide (see `publish`).
            near_half = np.abs(marked % 1 - 0.5) < 1e-3
            rounded[near_half] = publish(mark, image[None], degrees)[0][near_half]
            asked = rounded.ravel() / 255
            logits = np.tanh(asked @ weights["first"]) @ weights["second"]
            table[i, s] = np.log(np.exp(logits).sum()) - logits[labels[i]]
    return table


@pytest.mark.parametrize("mark", MARKS.values(), ids=MARKS)
@pytest.mark.parametrize("num_slots", [2, 5, 12])
def test_table_equals_a_naive_double_loop(
    traced, called, weights, small_images, labels, mark, num_slots
):
    space = SignatureSpace(num_slots)
    expected = _naive_table(weights, small_images, labels, mark, space)
    for predict, _ in (traced, called):
        table = loss_table(predict, small_images, labels, mark, space)
        assert table.shape == (6, num_slots)
        assert table.dtype == np.float32
        np.testing.assert_allclose(table, expected, atol=1e-5)


@pytest.mark.parametrize("chunk_size", [1, 3, 7, 29, 30, 31, 1000])
def test_chunk_size_does_not_matter(traced, called, small_images, labels, chunk_size):
    for predict, _ in (traced, called):
        usual = loss_table(predict, small_images, labels, HueRotation(), SPACE)
        chunked = loss_table(
            predict, small_images, labels, HueRotation(), SPACE, chunk_size=chunk_size
        )
        np.testing.assert_allclose(chunked, usual, atol=1e-6)


@pytest.fixture(scope="module")
def loud_convnet():
    """A convnet with a head scaled up until its losses are near a thousand nats."""
    model = models.create("testing", 4)
    variables = model.init(jax.random.key(0), (8, 8, 3))
    head = jax.tree.map(lambda leaf: leaf * np.float32(1000), variables["params"]["Dense_0"])
    params = variables["params"] | {"Dense_0": head}
    return model.predict_fn({"params": params, "batch_stats": variables["batch_stats"]})


@pytest.mark.parametrize("chunk_size", [1, 7, 29])
def test_chunk_size_matters_to_the_rounding_of_large_losses(
    loud_convnet, small_images, labels, chunk_size
):
    arguments = (loud_convnet, small_images, labels, HueRotation(), SPACE)
    usual = loss_table(*arguments)
    chunked = loss_table(*arguments, chunk_size=chunk_size)
    assert usual.max() > 300
    np.testing.assert_allclose(chunked, usual, rtol=0, atol=1e-6 * usual.max())


@pytest.mark.parametrize("default", ["bfloat16", "tensorfloat32"])
def test_models_are_traced_with_all_bits_of_float32(
    loud_convnet, small_images, labels, default
):
    tables = MarkTables.of(HueRotation(), None, 6, SPACE.degrees)
    arguments = (
        as_partial(cross_entropy),
        loud_convnet,
        tables.publish_pixels,
        tables.parameters,
    )
    arguments += (small_images, labels, tables.mark_of_image)
    pairs = np.zeros(3, np.int32)
    with jax.default_matmul_precision(default):
        text = chunks.chunk_losses.lower(*arguments, pairs, pairs).as_text()
    products = [line for line in text.splitlines() if "precision" in line]
    assert len(products) >= 5
    assert all("DEFAULT" not in line and "HIGHEST" in line for line in products)


def test_one_device_and_two_agree(weights, traced, small_images, labels):
    apply = traced[0].func
    tables = []
    for devices in (jax.devices()[:1], jax.devices()[1:2], jax.devices()):
        mesh = jax.sharding.Mesh(np.asarray(devices), ("all",))
        everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        predict = jax.tree_util.Partial(apply, jax.device_put(weights, everywhere))
        tables.append(loss_table(predict, small_images, labels, HueRotation(), SPACE))
    assert len(jax.devices()) == 2
    np.testing.assert_allclose(tables[1], tables[0], atol=1e-6)
    np.testing.assert_allclose(tables[2], tables[0], atol=1e-6)


def test_one_trace_serves_all_chunks_and_checkpoints(traced, weights, small_images, labels):
    predict, traces = traced
    arguments = (small_images, labels, HueRotation(), SPACE)
    tables = [loss_table(predict, *arguments, chunk_size=4)]
    # Two devices: chunks of 4 stay 4. One trace of the shapes alone, one of the program.
    assert [shape[0] for shape in traces] == [7, 4]
    for scale in (0.5, 2.0):
        other = jax.tree_util.Partial(
            predict.func, jax.tree.map(lambda leaf, by=scale: leaf * np.float32(by), weights)
        )
        tables.append(loss_table(other, *arguments, chunk_size=4))
    assert len(traces) == 2
    assert np.abs(tables[1] - tables[2]).max() > 0.1


def test_one_trace_serves_all_marks_of_a_type(traced, small_images, labels):
    predict, traces = traced
    tables = [
        loss_table(predict, small_images, labels, mark, SPACE, chunk_size=4)
        for mark in (HueRotation(), *(UserLCT.from_sub_key(bytes([i]) * 32) for i in range(3)))
    ]
    assert [shape[0] for shape in traces] == [7, 4]
    assert all(np.abs(table - tables[0]).max() > 0.01 for table in tables[1:])


def test_pixel_marks_are_asked_as_published(traced, called, weights, small_images, labels):
    mark = PixelMark(bytes(32), 8, 8, num_pixels=20)
    expected = np.empty((6, SPACE.num_slots))
    for s, degrees in enumerate(SPACE.degrees):
        for i, asked in enumerate(publish(mark, small_images, degrees) / 255):
            logits = np.tanh(asked.ravel() @ weights["first"]) @ weights["second"]
            expected[i, s] = np.log(np.exp(logits).sum()) - logits[labels[i]]
    for predict, _ in (traced, called):
        table = loss_table(predict, small_images, labels, mark, SPACE)
        np.testing.assert_allclose(table, expected, atol=1e-5)
    message = "image must have shape (9, 8, 3), for which this mark's pixels were chosen, got "
    wrong = PixelMark(bytes(32), 9, 8, num_pixels=20)
    for predict, _ in (traced, called):
        with pytest.raises(ValueError, match="^" + re.escape(message)):
            loss_table(predict, small_images, labels, wrong, SPACE)


def test_padding_is_not_asked_of_a_called_model(called, small_images, labels):
    predict, sizes = called
    loss_table(predict, small_images, labels, HueRotation(), SPACE, chunk_size=8)
    assert sizes == [8, 8, 8, 6]


@pytest.mark.parametrize("which", ["traced", "called"])
def test_progress_rises_to_the_total(request, which, small_images, labels):
    predict, _ = request.getfixturevalue(which)
    reports = []
    loss_table(
        predict,
        small_images,
        labels,
        HueRotation(),
        SPACE,
        chunk_size=8,
        on_progress=lambda done, total: reports.append((done, total)),
    )
    assert reports == [(8, 30), (16, 30), (24, 30), (30, 30)]


def test_memory_budget_sets_the_chunk(called, small_images, labels):
    predict, sizes = called
    budget = 3 * 16 * 8 * 8 * 3  # three pairs
    loss_table(predict, small_images, labels, HueRotation(), SPACE, memory_bytes=budget)
    assert sizes == [3] * 10


def test_budget_of_a_traced_model_sets_the_chunk(traced, small_images, labels):
    predict, traces = traced
    arguments = (predict, small_images, labels, HueRotation(), SPACE)
    usual = loss_table(*arguments)
    tight = loss_table(*arguments, memory_bytes=8000)
    assert traces[-2][0] == 30
    assert traces[-1][0] <= 8000 // (2 * 4 * 192)
    np.testing.assert_allclose(tight, usual, atol=1e-6)


def _breaks_on_bright(images, xp):
    logits = images.mean((1, 2)) - xp.asarray([0.1, 0.2, 0.3], np.float32)[None]
    bright = images.mean((1, 2, 3)) > 0.9
    return xp.where(bright[:, None], xp.asarray(np.nan, np.float32), logits)


def test_nan_logits_give_nan_entries(small_images):
    small_images[2] = 255
    labels = np.array([0, 1, 2, 0, 1, 2])
    models = (
        jax.tree_util.Partial(lambda images: _breaks_on_bright(images, jnp)),
        lambda images: _breaks_on_bright(images, np),
    )
    for predict in models:
        table = loss_table(predict, small_images, labels, HueRotation(), SPACE)
        assert np.isnan(table[2]).all()
        assert np.isfinite(np.delete(table, 2, axis=0)).all()


@pytest.mark.parametrize("largest", [1e4, 3e38, np.inf])
def test_extreme_logits_do_not_raise(small_images, labels, largest):
    row = np.array([largest, 0.0, 0.0, -largest], np.float32)
    models = (
        jax.tree_util.Partial(lambda row, images: jnp.tile(row, (images.shape[0], 1)), row),
        lambda images: np.tile(row, (len(images), 1)),
    )
    tables = [loss_table(p, small_images, labels, HueRotation(), SPACE) for p in models]
    np.testing.assert_allclose(*tables, rtol=1e-6)


def test_no_images_give_an_empty_table(traced, called, small_images):
    for predict, _ in (traced, called):
        table = loss_table(
            predict, small_images[:0], np.zeros(0, int), HueRotation(), SignatureSpace()
        )
        assert table.shape == (0, 12)


def test_eight_bit_floats_are_the_same_originals(called, small_images, labels):
    predict, _ = called
    arguments = (labels, HueRotation(), SPACE)
    np.testing.assert_array_equal(
        loss_table(predict, small_images / 255.0, *arguments),
        loss_table(predict, small_images, *arguments),
    )


def test_the_model_is_asked_what_is_published(called, small_images, labels):
    asked = []

    def predict(images):
        asked.append(images)
        return called[0](images)

    loss_table(predict, small_images, labels, HueRotation(), SPACE)
    columns = [publish(HueRotation(), small_images, degrees) for degrees in SPACE.degrees]
    published = np.stack(columns, axis=1).reshape(-1, 8, 8, 3)
    np.testing.assert_array_equal(
        np.concatenate(asked), published.astype(np.float32) / np.float32(255)
    )


def _brighter_if(weights, images, train):
    return images.mean((1, 2)) @ weights + (1 if train else 0)


REFUSED = {
    "labels beyond, traced": (
        {"labels": np.array([0, 3, 1, 2, 4, 0])},
        ValueError,
        "labels must be below the model's 4 classes, got 4",
    ),
    "labels beyond, called": (
        {
            "labels": np.array([0, 3, 1, 2, 4, 0]),
            "predict": lambda images: np.zeros((len(images), 4)),
        },
        ValueError,
        "labels must be below the model's 4 classes, got 4",
    ),
    "labels too few": (
        {"labels": np.array([0, 3])},
        ValueError,
        "labels must have shape (6,), got (2,)",
    ),
    "labels below 0": (
        {"labels": np.array([0, 3, 1, 2, -1, 0])},
        ValueError,
        "labels must be at least 0, got -1",
    ),
    "labels of floats": (
        {"labels": np.zeros(6)},
        TypeError,
        "labels must be integers, got float64",
    ),
    "called logits": (
        {"predict": lambda images: np.zeros((len(images), 2, 4))},
        ValueError,
        "predict must return logits [batch, num_classes] for a batch of 30, "
        "got shape (30, 2, 4)",
    ),
    "traced logits": (
        {"predict": jax.tree_util.Partial(lambda images: images.mean((1, 2, 3)))},
        ValueError,
        "predict must return logits [batch, num_classes], got shape (7,) for a batch of 7",
    ),
    "traced tuple": (
        {"predict": jax.tree_util.Partial(lambda images: (images, images))},
        ValueError,
        "predict must return logits [batch, num_classes], got tuple for a batch of 7",
    ),
    "a bound flag": (
        {"predict": jax.tree_util.Partial(_brighter_if, np.zeros((3, 4)), train=False)},
        TypeError,
        "predict must bind arrays only, since they are traced; got bool False at "
        "keywords['train']: bind flags and functions with functools.partial, as in "
        "Partial(functools.partial(apply, train=False), variables)",
    ),
    "not callable": ({"predict": 3}, TypeError, "predict must be callable, got int"),
    "a suspect": (
        {"predict": types.SimpleNamespace(answers=None)},
        TypeError,
        "predict must be callable, got SimpleNamespace: anw_jax.suspects.ask takes a suspect",
    ),
    "space": (
        {"space": 12},
        TypeError,
        "space must be a SignatureSpace, got int: 12",
    ),
    "images": (
        {"images": np.zeros((6, 3, 8, 8), np.uint8)},
        ValueError,
        "images must have shape [n, H, W, 3], got (6, 3, 8, 8): "
        "channels come last; transpose it",
    ),
    "chunk_size": (
        {"chunk_size": 0},
        ValueError,
        "chunk_size must be at least 1, got 0",
    ),
}


def test_flags_bound_to_the_function_are_not_traced(small_images, labels):
    weights = np.eye(3, 4, dtype=np.float32)
    bound = functools.partial(_brighter_if, train=False)
    predict = jax.tree_util.Partial(bound, weights)
    table = loss_table(predict, small_images, labels, HueRotation(), SPACE)
    expected = loss_table(
        lambda images: _brighter_if(weights, images, False),
        small_images,
        labels,
        HueRotation(),
        SPACE,
    )
    np.testing.assert_allclose(table, expected, atol=1e-5)


@pytest.mark.parametrize(("change", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused(traced, small_images, labels, change, kind, message):
    arguments = {
        "predict": traced[0],
        "images": small_images,
        "labels": labels,
        "mark": HueRotation(),
        "space": SPACE,
    }
    with pytest.raises(kind) as caught:
        loss_table(**(arguments | change))
    assert str(caught.value) == message
