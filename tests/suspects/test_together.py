"""One picture at a time, some at a time, and models that drop the axis of a batch of one."""

import dataclasses

import jax
import numpy as np
import pytest

from anw_jax.errors import SuspectError
from anw_jax.suspects import (
    CallableSuspect,
    Declaration,
    JaxSuspect,
    KerasSuspect,
    OnnxSuspect,
    TorchSuspect,
    probe,
)
from tests.suspects import twins

PICTURES = twins.photos(5).astype(np.float32) / 255


def by_batch(batch):
    """As dynamic quantisation does, it takes its scale from the whole batch."""
    scale = np.abs(batch).max() / 7
    return twins.logits(np.round(batch / scale) * scale)


def test_a_model_of_batches_is_asked_one_by_one():
    together = CallableSuspect(by_batch, twins.NHWC, identity="q")
    alone = CallableSuspect(by_batch, twins.NHWC, identity="q", together=1)
    photos = np.concatenate([twins.photos(4) // 3, twins.photos(4)])
    (found,) = [f for f in probe(together, photos).findings if f.severity == "error"]
    assert found.name == "batch_mates"
    assert "dynamically quantised" in found.do
    assert "options.together = 1" in found.do
    assert [f.name for f in probe(alone, photos).findings] == ["no_labels"]
    assert alone.declaration.identity == "q asked 1 at a time"


def with_zero_point(batch):
    low, scale = batch.min(), np.ptp(batch) / 7
    return twins.logits(np.round((batch - low) / scale) * scale + low)


def by_percentile(batch):
    scale = np.percentile(batch, 99) / 7
    return twins.logits(np.round(np.clip(batch / scale, 0, 7)) * scale)


def by_statistics(batch):
    return twins.logits((batch - batch.mean()) / batch.std() * 0.2 + 0.5)


def less_the_mean(batch):
    return twins.logits(batch) - twins.logits(batch).mean(0)


def with_the_neighbours(batch):
    scores = twins.logits(batch)
    return scores + 0.3 * np.roll(scores, 1, axis=0) * (len(batch) > 1)


def by_rank(batch):
    scores = twins.logits(batch)
    rank = np.argsort(np.argsort(scores[:, :1], axis=0), axis=0)
    return scores * (1 + 0.2 * rank / len(batch))


@pytest.mark.parametrize("brightest", [0, 1, 4, 7])
@pytest.mark.parametrize(
    "fun",
    [
        by_batch,
        with_zero_point,
        by_percentile,
        by_statistics,
        less_the_mean,
        with_the_neighbours,
        by_rank,
    ],
)
def test_answers_that_hang_on_the_batch_are_seen_whichever_photo_sets_the_scale(fun, brightest):
    photos = twins.photos(8) // 3
    photos[brightest] *= 3
    found = probe(CallableSuspect(fun, twins.NHWC, identity="q"), photos).findings
    assert [f.name for f in found if f.severity == "error"] == ["batch_mates"]
    alone = CallableSuspect(fun, twins.NHWC, identity="q", together=1)
    assert "batch_mates" not in {f.name for f in probe(alone, photos).findings}


@pytest.mark.parametrize("together", [1, 2, 5, 9])
def test_every_number_at_a_time_gives_the_same_answers(together):
    sizes = []

    def fun(batch):
        sizes.append(len(batch))
        return twins.logits(batch)

    suspect = CallableSuspect(fun, twins.NHWC, identity="t", together=together)
    np.testing.assert_allclose(
        suspect.answers(PICTURES).scores, twins.logits(PICTURES), atol=1e-5
    )
    assert max(sizes) <= together
    assert sum(sizes) == 5


@pytest.mark.parametrize("together", [0, -1, 1.5, True, "1"])
def test_numbers_that_are_none(together):
    with pytest.raises((TypeError, ValueError), match="together must be"):
        CallableSuspect(by_batch, twins.NHWC, identity="q", together=together)


def test_an_identity_is_still_needed():
    with pytest.raises(ValueError, match="identity must name the model"):
        CallableSuspect(by_batch, twins.NHWC, together=1)


def squeezed(batch):
    return twins.logits(batch).squeeze()


def in_torch(together):
    torch = pytest.importorskip("torch")

    class Squeeze(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = twins.torch_module()

        def forward(self, batch):
            return self.net(batch).squeeze()

    return TorchSuspect(Squeeze(), twins.NCHW, together=together)


def in_jax(together):
    predict = jax.tree_util.Partial(
        lambda x: twins.forward(twins.WEIGHTS, x, jax.numpy).squeeze()
    )
    return JaxSuspect(predict, dataclasses.replace(twins.NHWC, identity="squeezed"))


def called(together):
    return CallableSuspect(squeezed, twins.NHWC, identity="squeezed", together=together)


@pytest.mark.parametrize("make", [called, in_torch, in_jax])
@pytest.mark.parametrize(("number", "together"), [(1, None), (3, 2), (2, 1)])
def test_an_axis_that_was_dropped_is_put_back(make, number, together):
    scores = make(together).answers(PICTURES[:number]).scores
    np.testing.assert_allclose(scores, twins.logits(PICTURES[:number]), atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, "batch"])
def test_an_onnx_file_that_drops_the_axis(tmp_path, batch):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    path = twins.write_onnx(tmp_path / "model.onnx", batch)
    model = onnx.load(path)
    model.graph.node.append(onnx.helper.make_node("Squeeze", ["logits"], ["flat"]))
    del model.graph.output[:]
    model.graph.output.append(
        onnx.helper.make_tensor_value_info("flat", onnx.TensorProto.FLOAT, None)
    )
    path.write_bytes(model.SerializeToString())
    for number in (1, 3):
        suspect = OnnxSuspect(path, twins.NCHW, together=1 if number == 3 else None)
        scores = suspect.answers(PICTURES[:number]).scores
        np.testing.assert_allclose(scores, twins.logits(PICTURES[:number]), atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_keras_model_of_several_outputs_and_one_at_a_time(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    keras = pytest.importorskip("keras")
    model = twins.keras_model()
    suspect = KerasSuspect(model, twins.NHWC, together=2)
    np.testing.assert_allclose(
        suspect.answers(PICTURES).scores, twins.logits(PICTURES), atol=1e-5
    )
    inputs = keras.Input((8, 8, 3))
    logits = model(inputs)
    for outputs, says in [
        (
            {"logits": logits, "p": keras.layers.Softmax()(logits)},
            "a dict with the keys 'logits'",
        ),
        ([logits, logits], "a list of 2"),
    ]:
        with pytest.raises(SuspectError, match="must answer with an array .* got " + says):
            KerasSuspect(keras.Model(inputs, outputs), twins.NHWC).answers(PICTURES)


def test_a_batch_axis_of_another_length_is_an_error():
    suspect = CallableSuspect(lambda b: twins.logits(b)[:-1], twins.NHWC, identity="short")
    with pytest.raises(SuspectError, match=r"was given 5 pictures .* shape \(4, 5\)"):
        suspect.answers(PICTURES)
    wrong = CallableSuspect(squeezed, Declaration(4), identity="wrong")
    with pytest.raises(SuspectError, match="declares 4 classes and answers with 5"):
        wrong.answers(PICTURES[:1])
