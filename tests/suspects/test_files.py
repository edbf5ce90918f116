"""Files that are not what they are taken for, and libraries that are not there."""

import pickle
import sys
import zipfile

import numpy as np
import pytest

from anw_jax.errors import MissingLibraryError, SuspectError
from anw_jax.suspects import (
    Answers,
    Declaration,
    HttpSuspect,
    JaxSuspect,
    KerasSuspect,
    OnnxSuspect,
    RecordedSuspect,
    TorchSuspect,
)
from tests.suspects import twins

ZEROS = np.zeros((3, 8, 8, 3), np.float32)


def says(call, *arguments, **options) -> str:
    with pytest.raises(SuspectError) as error:
        call(*arguments, **options)
    return str(error.value)


class Harmful:
    """What a pickle can do: it leaves a mark when it is opened."""

    def __reduce__(self):
        return (exec, ("import sys; sys.modules['harmful_was_run'] = sys",))


@pytest.fixture
def onnx():
    pytest.importorskip("onnxruntime", reason="onnxruntime is an optional library")
    return pytest.importorskip("onnx", reason="onnx makes the files that are asked")


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is an optional library")


@pytest.fixture
def keras(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    return pytest.importorskip("keras", reason="keras is an optional library")


def test_no_onnx_model(onnx, tmp_path):
    path = tmp_path / "model.onnx"
    assert says(OnnxSuspect, path, twins.NCHW) == (
        f"{path} cannot be read: No such file or directory"
    )
    for body, message in [
        (b"<html>404</html>", "is a web page and no model: fetch the file behind it"),
        (b"", "is empty"),
        (b"not a model", "is not an ONNX model, or is damaged or cut off (no field at byte 1)"),
        (
            b"\x08\x09",
            "cannot be opened as an ONNX model (InvalidArgument: No graph was found ",
        ),
    ]:
        path.write_bytes(body)
        assert says(OnnxSuspect, path, twins.NCHW).startswith(f"{path} {message}")


def test_an_onnx_model_cut_off(onnx, tmp_path):
    path = twins.write_onnx(tmp_path / "model.onnx")
    path.write_bytes(path.read_bytes()[:200])
    assert "is not an ONNX model, or is damaged or cut off (a field at" in says(
        OnnxSuspect, path, twins.NCHW
    )


def test_an_onnx_model_with_a_name_that_is_no_text(onnx, tmp_path):
    path = twins.write_onnx(tmp_path / "model.onnx")
    path.write_bytes(path.read_bytes().replace(b"logits", b"\xb5ogits"))
    message = "cannot be opened as an ONNX model (UnicodeDecodeError: "
    assert message in says(OnnxSuspect, path, twins.NCHW)


def test_an_onnx_model_asked_in_another_shape(onnx, tmp_path):
    path = twins.write_onnx(tmp_path / "model.onnx")
    assert says(OnnxSuspect(path, twins.NHWC).answers, ZEROS) == (
        f"{path} takes [?, 3, 8, 8] and was asked with [b, 8, 8, 3]: declare its "
        "input_size and layout"
    )


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_an_onnx_model_of_one_batch_size(onnx, tmp_path, batch):
    suspect = OnnxSuspect(twins.write_onnx(tmp_path / "model.onnx", batch), twins.NCHW)
    pictures = twins.photos(7).astype(np.float32) / 255
    np.testing.assert_allclose(
        suspect.answers(pictures).scores, twins.logits(pictures), atol=1e-5
    )


def test_an_onnx_model_with_two_inputs_or_text(onnx, tmp_path):
    from onnx import TensorProto, helper

    path = tmp_path / "model.onnx"
    for inputs, message in [
        (
            [("a", TensorProto.FLOAT), ("b", TensorProto.FLOAT)],
            f"{path} must have one input, has 2: a, b",
        ),
        (
            [("a", TensorProto.INT64)],
            f"{path} must take pictures as tensor(float), tensor(float16), tensor(double), "
            "tensor(uint8); takes tensor(int64)",
        ),
    ]:
        values = [helper.make_tensor_value_info(name, kind, [1]) for name, kind in inputs]
        node = helper.make_node("Identity", ["a"], ["y"])
        output = helper.make_tensor_value_info("y", inputs[0][1], [1])
        graph = helper.make_graph([node], "g", values, [output])
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        )
        path.write_bytes(model.SerializeToString())
        assert says(OnnxSuspect, path, twins.NCHW) == message


def test_outputs_and_providers_are_named(onnx, tmp_path):
    path = twins.write_onnx(tmp_path / "model.onnx")
    named = OnnxSuspect(path, twins.NCHW, output="logits")
    assert named.declaration.identity.endswith(" output logits")
    with pytest.raises(ValueError, match=r"output must be one of logits; got 'logit'; did you"):
        OnnxSuspect(path, twins.NCHW, output="logit")
    with pytest.raises(ValueError, match=r"provider must be one of .*CPUExecutionProvider"):
        OnnxSuspect(path, twins.NCHW, providers=("CPU",))


def test_pickles_are_refused_unopened(torch, tmp_path):
    refused = (
        "{} is a pickle of Python objects, and opening one runs code that stands in it: ask "
        "for torch.save(model.state_dict()), TorchScript or ONNX instead"
    )
    whole, bare = tmp_path / "whole.pt", tmp_path / "bare.pt"
    torch.save(Harmful(), whole)
    bare.write_bytes(pickle.dumps(Harmful()))
    for path in (whole, bare):
        assert says(TorchSuspect.from_script, path, twins.NCHW) == refused.format(path)
        module = twins.torch_module()
        assert says(TorchSuspect.from_weights, path, module, twins.NCHW) == refused.format(path)
    module_file = tmp_path / "module.pt"
    torch.save(twins.torch_module(), module_file)
    assert says(TorchSuspect.from_script, module_file, twins.NCHW) == (
        refused.format(module_file)
    )
    assert "harmful_was_run" not in sys.modules


def test_files_of_torch_taken_for_each_other(torch, tmp_path):
    weights, script = tmp_path / "weights.pt", tmp_path / "script.pt"
    torch.save(twins.torch_module().state_dict(), weights)
    assert says(TorchSuspect.from_script, weights, twins.NCHW) == (
        f"{weights} holds weights and no network: name what builds the network that they "
        'belong to, module = "file.py:make" (in Python: TorchSuspect.from_weights)'
    )
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.script(twins.torch_module()).save(script)
    module = twins.torch_module()
    assert says(TorchSuspect.from_weights, script, module, twins.NCHW) == (
        f"{script} is TorchScript and needs no module: leave module out (in Python: "
        "TorchSuspect.from_script)"
    )
    other = torch.nn.Linear(3, 5)
    assert says(TorchSuspect.from_weights, weights, other, twins.NCHW) == (
        f"{weights} does not fit the module given: it lacks 'weight' and 1 more, it has "
        "'0.weight' and 3 more"
    )
    text = tmp_path / "text.pt"
    text.write_text("not a model")
    assert (
        says(TorchSuspect.from_script, text, twins.NCHW) == f"{text} is not a file of PyTorch"
    )
    with pytest.raises(TypeError, match=r"module must be a torch\.nn.Module, got dict"):
        TorchSuspect({}, twins.NCHW)


def test_a_module_in_train_mode_is_asked_as_it_is_and_probed(torch):
    from anw_jax.suspects import probe

    module = torch.nn.Sequential(torch.nn.BatchNorm2d(3), twins.torch_module()).train()
    names = [f.name for f in probe(TorchSuspect(module, twins.NCHW), twins.photos(8)).findings]
    assert "changes" in names or "batch_mates" in names
    assert module.training
    assert "fails" not in names
    names = [
        f.name for f in probe(TorchSuspect(module.eval(), twins.NCHW), twins.photos(8)).findings
    ]
    assert names == ["no_labels"]


def test_torch_asked_in_another_shape(torch):
    said = says(TorchSuspect(twins.torch_module(), twins.NHWC).answers, ZEROS)
    assert said.startswith("the suspect fails on a batch of shape (3, 8, 8, 3) (")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_no_keras_file(keras, tmp_path):
    path = tmp_path / "model.keras"
    assert says(KerasSuspect.from_file, path, twins.NHWC).startswith(f"{path} cannot be read")
    path.write_text("no archive")
    assert says(KerasSuspect.from_file, path, twins.NHWC) == (
        f"{path} is not a .keras file (an archive with config.json): save it with "
        "model.save('model.keras')"
    )
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Lambda(lambda x: x)])
    model.save(path)
    said = says(KerasSuspect.from_file, path, twins.NHWC)
    assert said.startswith(f"{path} cannot be opened by Keras in safe mode (")
    with pytest.raises(TypeError, match=r"model must be a keras\.Model, got dict"):
        KerasSuspect({}, twins.NHWC)


def test_recordings(tmp_path):
    four = twins.photos(4)
    photos = four[:3]
    answers = Answers("logits", twins.logits(photos.astype(np.float32) / 255))
    suspect = RecordedSuspect.of(photos, answers, twins.NHWC)
    asked = four.astype(np.float32) / np.float32(255)
    assert says(suspect.answers, asked) == (
        "the recording lacks answers to 1 of 4 pictures: ask the suspect for them, or see "
        "whether originals, mark and slots are those recorded"
    )
    suspect.save(tmp_path / "answers.npz")
    again = RecordedSuspect.load(tmp_path / "answers.npz")
    assert again.declaration == suspect.declaration
    np.testing.assert_array_equal(again.answers(asked[[2, 0]]).scores, answers.scores[[2, 0]])
    with pytest.raises(SuspectError, match="was given 3 pictures and must answer with"):
        RecordedSuspect.of(photos, answers.rows(slice(2)), twins.NHWC)


@pytest.mark.parametrize("body", [b"PK", b"PK\x03\x04", pickle.dumps(Harmful())])
def test_no_recording(tmp_path, body):
    path = tmp_path / "answers.npz"
    path.write_bytes(body)
    said = says(RecordedSuspect.load, path)
    assert said.startswith(f"{path} is not a file of recorded answers (")
    assert "harmful_was_run" not in sys.modules
    np.savez(path, digests=np.array(["00"]))
    assert says(RecordedSuspect.load, path) == (
        f"{path} is not a file of recorded answers (KeyError): it is damaged or another kind "
        "of file"
    )
    assert says(RecordedSuspect.load, tmp_path / "none") == (
        f"{tmp_path / 'none'} cannot be read: No such file or directory"
    )


def test_a_recording_has_one_answer_to_a_picture():
    photos = twins.photos(2)[[0, 1, 0]]
    scores = twins.logits(photos.astype(np.float32) / 255)
    suspect = RecordedSuspect.of(photos, Answers("logits", scores), twins.NHWC)
    assert len(suspect.answers(photos[:1] / np.float32(255))) == 1
    scores[2] += 1
    with pytest.raises(SuspectError, match=r"two answers to one picture \(numbers 0 and 2\)"):
        RecordedSuspect.of(photos, Answers("logits", scores), twins.NHWC)
    with pytest.raises(SuspectError, match="answers of kind logits have no scores"):
        RecordedSuspect.of(photos[:1], Answers("logits"), twins.NHWC)


def test_jax_needs_a_partial():
    with pytest.raises(TypeError, match="predict must be a Partial, got function"):
        JaxSuspect(lambda x: x, Declaration(2))


MISSING = {
    "onnxruntime": ("onnx", "querying an ONNX file", lambda p: OnnxSuspect(p, twins.NCHW)),
    "torch": ("torch", "querying a PyTorch model", lambda p: TorchSuspect(None, twins.NCHW)),
    "keras": ("keras", "querying a Keras model", lambda p: KerasSuspect(None, twins.NHWC)),
    "urllib3": (
        "http",
        "querying an HTTP endpoint",
        lambda p: HttpSuspect("http://a", twins.NHWC),
    ),
}


@pytest.mark.parametrize("library", MISSING)
def test_a_missing_library_names_its_extra(monkeypatch, tmp_path, library):
    extra, doing, make = MISSING[library]
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingLibraryError) as error:
        make(tmp_path / "model")
    assert str(error.value) == (
        f"{doing} needs the extra {extra!r}: pip install '.[{extra}]' in the checkout"
    )


def test_a_missing_backend_of_keras_is_named(monkeypatch):
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "keras":
                raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    for name in [name for name in sys.modules if name.partition(".")[0] == "keras"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(MissingLibraryError) as error:
        KerasSuspect(None, twins.NHWC)
    assert str(error.value) == (
        "Keras cannot load its backend (tensorflow is not installed): install that, or set the "
        "environment variable KERAS_BACKEND=jax"
    )


def test_every_extra_is_one_of_the_package():
    import pathlib
    import tomllib

    project = pathlib.Path(__file__).resolve().parents[2] / "pyproject.toml"
    extras = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    assert {extra for extra, _, _ in MISSING.values()} <= set(extras)


def test_recordings_whose_parts_are_no_numbers(tmp_path):
    photos = twins.photos(3)
    answers = Answers("logits", twins.logits(photos.astype(np.float32) / 255))
    path = tmp_path / "answers.npz"
    RecordedSuspect.of(photos, answers, twins.NHWC).save(path)
    with np.load(path) as stored:
        parts = dict(stored)
    good = parts["scores"]
    for scores in (
        good * 1j,
        good > 0,
        good.astype(str),
        good.astype(int),
        np.zeros(3, "i4,f4"),
    ):
        np.savez(path, **{**parts, "scores": scores})
        assert "is not a file of recorded answers (ValueError)" in says(
            RecordedSuspect.load, path
        )
    for scores in (good.astype(">f8"), good.astype("f8")):
        np.savez(path, **{**parts, "scores": scores})
        kept = RecordedSuspect.load(path).answers(photos / np.float32(255)).scores
        np.testing.assert_array_equal(kept, good)
    with zipfile.ZipFile(path, "a") as packed:
        packed.writestr("labels.npy", b"no array")
    assert "is not a file of recorded answers (ValueError)" in says(RecordedSuspect.load, path)
