import json

import numpy as np
import pytest

from anw_jax import audit
from anw_jax.errors import CaseError
from anw_jax.suspects import Answers, Declaration, HttpSuspect, RecordedSuspect


def load(root, text, name="net.toml"):
    (root / name).write_text(text)
    return audit.SuspectFile.load(root / name)


def test_toml_and_json_say_the_same(root):
    toml = 'kind = "recorded"\nfile = "answers.npz"\n'
    fields = {"kind": "recorded", "file": "answers.npz"}
    first, second = load(root, toml), load(root, json.dumps(fields), "net.json")
    assert (first.name, first.kind, dict(first.fields)) == ("net", "recorded", fields)
    assert dict(second.fields) == fields
    assert first.digest != second.digest


def test_recorded_answers_answer_again(root):
    pictures = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    given = Answers("label", labels=np.array([1, 0]))
    RecordedSuspect.of(pictures, given, Declaration(2, "label")).save(root / "answers.npz")
    suspect = load(root, 'kind = "recorded"\nfile = "answers.npz"\n').open()
    assert suspect.answers(pictures.astype(np.float32) / 255).labels.tolist() == [1, 0]


def test_an_endpoint_with_its_templates(root, monkeypatch):
    monkeypatch.setenv("MODEL_TOKEN", "secret words")
    text = """
kind = "http"
url = "http://127.0.0.1:9/predict"

[headers_from_env]
Authorization = "MODEL_TOKEN"

[declaration]
num_classes = 2
answer = "probabilities"

[request]
images_per_request = 4

[answer]
pictures = "outputs"
scores = "p"

[options]
in_flight = 2
"""
    file = load(root, text)
    suspect = file.open()
    assert isinstance(suspect, HttpSuspect)
    assert "secret words" not in repr(file) + suspect.declaration.identity
    suspect.close()


def test_a_function_is_known_by_its_file(root):
    body = "import numpy as np\ndef net(batch):\n    return np.zeros((len(batch), 2))\n"
    text = 'kind = "callable"\nfunction = "net.py:net"\n[declaration]\nnum_classes = 2\n'
    (root / "net.py").write_text(body)
    first = load(root, text).open().declaration
    assert load(root, text).open().declaration == first
    (root / "net.py").write_text(body + "# changed\n")
    assert load(root, text).open().declaration.identity != first.identity
    assert not (root / "__pycache__").exists()


def test_a_function_is_known_by_the_files_it_reads_too(root):
    (root / "net.py").write_text("def net(batch):\n    return batch\n")
    (root / "weights.bin").write_bytes(b"1")
    text = 'kind = "callable"\nfunction = "net.py:net"\nfiles = ["weights.bin"]\n'
    text += "[declaration]\nnum_classes = 2\n"
    first = load(root, text).open().declaration.identity
    (root / "weights.bin").write_bytes(b"2")
    assert load(root, text).open().declaration.identity != first
    with pytest.raises(CaseError, match="files must be a list of file names, got 'weights"):
        load(root, text.replace('["weights.bin"]', '"weights.bin"')).open()


def test_a_file_may_define_dataclasses(root):
    (root / "net.py").write_text(
        "from __future__ import annotations\nimport dataclasses\nimport typing\n"
        "@dataclasses.dataclass\nclass Net:\n    size: typing.ClassVar[int] = 2\n"
        "    def __call__(self, batch):\n        return batch[:, 0, 0, :2]\n"
        "def net(batch):\n    return Net()(batch)\n"
    )
    text = 'kind = "callable"\nfunction = "net.py:net"\n[declaration]\nnum_classes = 2\n'
    assert len(load(root, text).open().answers(np.zeros((1, 2, 2, 3), np.float32))) == 1


def test_a_file_that_cannot_be_run_is_one_line(root):
    (root / "net.py").write_text("1 / 0\n")
    file = load(root, 'kind = "callable"\nfunction = "net.py:net"\n')
    with pytest.raises(CaseError) as error:
        file.open()
    assert str(error.value) == (
        f"{root / 'net.py'} cannot be run (ZeroDivisionError: division by zero)"
    )


def test_an_onnx_file(root):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0),
        ],
        "means",
        [helper.make_tensor_value_info("x", kind, ["b", 3, 4, 4])],
        [helper.make_tensor_value_info("m", kind, ["b", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(root / "net.onnx"))
    text = """
kind = "onnx"
file = "net.onnx"
[declaration]
num_classes = 3
layout = "NCHW"
[options]
num_threads = 1
"""
    pictures = np.random.default_rng(0).uniform(0, 1, (2, 4, 4, 3)).astype(np.float32)
    scores = load(root, text).open().answers(pictures).scores
    np.testing.assert_allclose(scores, pictures.mean((1, 2)), rtol=1e-5)
