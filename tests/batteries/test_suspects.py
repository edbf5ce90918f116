"""What holds for every suspect: one small network, asked in every way."""

import dataclasses
import os

import numpy as np
import pytest

from anw_jax.errors import SuspectError
from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation
from anw_jax.suspects import (
    Access,
    AnswerCache,
    CallableSuspect,
    Declaration,
    KerasSuspect,
    RecordedSuspect,
    Suspect,
    TorchSuspect,
    ask,
    probe,
)
from anw_jax.verify import loss_table
from tests.suspects import twins

# Keras's own NumPy backend lags behind NumPy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

SPACE, MARK = SignatureSpace(4), HueRotation()
PHOTOS = twins.photos(7)
LABELS = np.array([0, 4, 1, 2, 3, 0, 1])

ACCESSES = {
    "logits": Access("logits"),
    "probabilities": Access("probabilities"),
    "rounded": Access("rounded", decimals=2),
    "top 2": Access("top_k", k=2),
    "label": Access("label", num_augmentations=4),
    "label once": Access("label", num_augmentations=1),
    "logits, own labels": Access("logits", true_labels=False),
    "label, own labels": Access("label", num_augmentations=4, true_labels=False),
}


def _script(folder):
    torch = pytest.importorskip("torch", reason="torch is an optional library")
    path = folder / "twin.pt"
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.script(twins.torch_module()).save(path)
    return TorchSuspect.from_script(path, twins.NCHW)


def _weights(folder):
    torch = pytest.importorskip("torch", reason="torch is an optional library")
    path, module = folder / "weights.pt", twins.torch_module()
    torch.save(module.state_dict(), path)
    with torch.no_grad():
        module[0].weight.zero_()
    return TorchSuspect.from_weights(path, module, twins.NCHW)


def _module(folder):
    pytest.importorskip("torch", reason="torch is an optional library")
    return twins.in_torch()


def _keras(folder):
    _need_keras()
    return twins.in_keras()


def _keras_file(folder):
    _need_keras()
    twins.keras_model().save(folder / "twin.keras")
    return KerasSuspect.from_file(folder / "twin.keras", twins.NHWC)


def _need_keras():
    # NumPy: no other framework, and none of this suite's strict settings of JAX in its way.
    os.environ.setdefault("KERAS_BACKEND", "numpy")
    pytest.importorskip("keras", reason="keras is an optional library")


def _onnx(folder):
    pytest.importorskip("onnxruntime", reason="onnxruntime is an optional library")
    pytest.importorskip("onnx", reason="onnx makes the file that is asked")
    return twins.in_onnx(folder)


def _http(folder):
    return twins.over_http()


def _recorded(folder):
    """Everything that the tests below ask, answered once and read back from a file."""
    asked = []

    def listen(batch):
        asked.append(np.rint(batch * 255).astype(np.uint8))
        return twins.logits(batch)

    spy = CallableSuspect(listen, twins.NHWC, identity="spy")
    for access in ACCESSES.values():
        ask(spy, PHOTOS, LABELS, MARK, SPACE, access=access, seed=b"public")
    pictures = np.concatenate([*asked, PROBED])
    answers = twins.called().answers(pictures.astype(np.float32) / np.float32(255))
    RecordedSuspect.of(pictures, answers, spy.declaration).save(folder / "answers.npz")
    return RecordedSuspect.load(folder / "answers.npz")


PROBED = twins.photos(24, seed=5)

MAKERS = {
    "callable": lambda folder: twins.called(),
    "jax": lambda folder: twins.in_jax(),
    "onnx": _onnx,
    "torch module": _module,
    "torch script": _script,
    "torch weights": _weights,
    "keras": _keras,
    "keras file": _keras_file,
    "http": _http,
    "recorded": _recorded,
}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def suspect(request, tmp_path) -> Suspect:
    made = request.param(tmp_path)
    assert isinstance(made, Suspect)
    return made


def test_logit_tables_are_those_of_the_library(suspect):
    expected = loss_table(twins.logits, PHOTOS, LABELS, MARK, SPACE)
    table = ask(suspect, PHOTOS, LABELS, MARK, SPACE)
    assert table.dtype == np.float32
    np.testing.assert_allclose(table, expected, atol=2e-5)
    assert expected.std() > 0.5  # the twin does tell hues apart


@pytest.mark.parametrize("access", ACCESSES.values(), ids=ACCESSES)
def test_every_rung_gives_the_table_of_the_twin(suspect, access):
    arguments = (PHOTOS, LABELS, MARK, SPACE)
    expected = ask(twins.called(), *arguments, access=access, seed=b"public")
    table = ask(suspect, *arguments, access=access, seed=b"public", batch_size=5)
    # What lies on a half may be rounded to either side: relative, one unit of .01 at most.
    slack = 2.2 if access.kind == "rounded" else 5e-5
    np.testing.assert_allclose(table, expected, atol=slack)
    assert (np.abs(table - expected) > 5e-5).mean() < 0.1
    assert len(np.unique(expected)) > 1


def test_nothing_is_asked_twice_from_one_cache(suspect, tmp_path):
    with AnswerCache(tmp_path / "answers", suspect.declaration) as cache:
        first = ask(suspect, PHOTOS, LABELS, MARK, SPACE, cache=cache)
        assert cache.num_queries == len(PHOTOS) * SPACE.num_slots
    with AnswerCache(tmp_path / "answers", suspect.declaration) as cache:
        second = ask(suspect, PHOTOS, LABELS, MARK, SPACE, cache=cache, budget=0)
        assert cache.num_queries == len(PHOTOS) * SPACE.num_slots
    np.testing.assert_array_equal(first, second)


def test_a_wrong_number_of_classes_is_refused(suspect):
    declaration = dataclasses.replace(suspect.declaration, num_classes=7)
    if isinstance(suspect, RecordedSuspect):
        with pytest.raises(SuspectError, match="declares 7 classes and answers with 5"):
            RecordedSuspect(suspect._keys, suspect._answers, declaration)
        return
    other = suspect.with_declaration(declaration)
    with pytest.raises(SuspectError) as error:
        other.answers(np.zeros((2, 8, 8, 3), np.float32))
    said = "the suspect declares 7 classes and answers with 5"
    assert str(error.value).removeprefix("http://model.test/predict: ") == said


def test_the_probe_finds_nothing_wrong(suspect):
    labels = twins.logits(PROBED.astype(np.float32) / 255).argmax(1)
    report = probe(suspect, PROBED, labels)
    assert report.findings == ()
    assert report.is_fit
    assert report.accuracy == 1.0
    assert report.num_queries == 24 + 24 + 12 + 1


def test_an_identity_tells_models_apart(suspect):
    assert suspect.declaration.identity
    assert suspect.declaration.digest != twins.NHWC.digest
    assert suspect.declaration.digest != twins.NCHW.digest


def test_the_same_file_is_the_same_suspect(tmp_path):
    """A cache made today serves tomorrow: identities hold no address and no date."""
    for name, maker in MAKERS.items():
        folders = [tmp_path / name / str(i) for i in range(2)]
        for folder in folders:
            folder.mkdir(parents=True)
        if name in ("torch script", "keras file", "torch weights"):
            continue  # the formats date their archives; the digest is of the file's bytes
        try:
            digests = {maker(folder).declaration.digest for folder in folders}
        except pytest.skip.Exception:
            continue
        assert len(digests) == 1, name


def apply_linear(weights, images):
    return images.mean((1, 2)) @ weights


def test_other_weights_are_another_suspect():
    import jax

    from anw_jax.suspects import JaxSuspect

    weights = [np.ones((3, 2), np.float32), np.zeros((3, 2), np.float32)]
    one, two = (
        JaxSuspect(jax.tree_util.Partial(apply_linear, w), Declaration(2)) for w in weights
    )
    assert one.declaration.digest != two.declaration.digest
