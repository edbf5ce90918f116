"""An ONNX file is one file: what takes values from another is refused wherever it hides."""

import sys

import numpy as np
import pytest

from anw_jax.errors import SuspectError
from anw_jax.suspects import OnnxSuspect
from anw_jax.suspects.adapters.onnx import NotOnnxError, outside_in
from tests.suspects import twins

pytest.importorskip("onnxruntime", reason="onnxruntime is an optional library")
onnx = pytest.importorskip("onnx", reason="onnx makes the files that are asked")
helper, numpy_helper, kinds = onnx.helper, onnx.numpy_helper, onnx.TensorProto


def outside(name="w", location="weights.bin", size=4):
    tensor = helper.make_tensor(name, kinds.FLOAT, [size], np.zeros(size, "f4"))
    tensor.ClearField("float_data")
    tensor.data_location = kinds.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


def inside(name="v"):
    return numpy_helper.from_array(np.zeros(4, "f4"), name)


def sparse(values, indices=None):
    found = onnx.SparseTensorProto()
    found.values.CopyFrom(values)
    found.indices.CopyFrom(indices or numpy_helper.from_array(np.arange(4), "i"))
    found.dims.append(8)
    return found


def graph(nodes=(), tensors=()):
    return helper.make_graph(list(nodes), "g", [], [], list(tensors))


def node(kind="Constant", **attributes):
    return helper.make_node(kind, [], ["y"], **attributes)


def model(main=None, **more):
    made = helper.make_model(main or graph(), **more)
    made.ir_version = 8
    return made


def in_training(field):
    made, step = model(), onnx.TrainingInfoProto()
    getattr(step, field).CopyFrom(graph(tensors=[outside()]))
    made.training_info.append(step)
    return made


def in_function(**kinds_of_field):
    made = model()
    function = helper.make_function("my", "F", [], ["y"], [node()], [])
    for name, value in kinds_of_field.items():
        getattr(function, name).append(value)
    made.functions.append(function)
    return made


def in_sparse_initializer(**parts):
    made = model()
    made.graph.sparse_initializer.append(sparse(**parts))
    return made


def nested(depth):
    inner = graph(tensors=[outside()])
    for _ in range(depth):
        inner = graph([node("If", then_branch=inner)])
    return model(inner)


HIDDEN = {
    "initializer": lambda: model(graph(tensors=[inside(), outside()])),
    "attribute": lambda: model(graph([node(value=outside())])),
    "attribute of several": lambda: model(graph([node(values=[inside(), outside()])])),
    "subgraph": lambda: nested(1),
    "deep subgraph": lambda: nested(30),
    "several subgraphs": lambda: model(
        graph([node(branches=[graph(), graph(tensors=[outside()])])])
    ),
    "sparse attribute": lambda: model(graph([node(sparse_value=sparse(outside()))])),
    "sparse attributes": lambda: model(
        graph([node(many=[sparse(inside()), sparse(outside())])])
    ),
    "sparse initializer": lambda: in_sparse_initializer(values=outside()),
    "sparse indices": lambda: in_sparse_initializer(values=inside(), indices=outside()),
    "function": lambda: in_function(node=node(value=outside())),
    "default of a function": lambda: in_function(
        attribute_proto=helper.make_attribute("a", outside())
    ),
    "training": lambda: in_training("algorithm"),
    "start of training": lambda: in_training("initialization"),
}


@pytest.mark.parametrize("where", HIDDEN)
def test_values_in_a_second_file_are_refused_wherever_they_are(tmp_path, monkeypatch, where):
    path = tmp_path / "model.onnx"
    path.write_bytes(HIDDEN[where]().SerializeToString())
    (tmp_path / "weights.bin").write_bytes(np.zeros(8, "f4").tobytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SuspectError) as error:
        OnnxSuspect(path, twins.NCHW)
    assert str(error.value).startswith(
        f"{path} is incomplete: it keeps the values of tensor 'w'"
    )
    assert "ask for one file with everything inside" in str(error.value)


def test_weights_beside_the_model_or_under_the_working_folder(tmp_path, monkeypatch):
    path = twins.write_onnx(tmp_path / "model.onnx")
    whole = onnx.load(path)
    onnx.save_model(
        whole, path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    for folder in (tmp_path, tmp_path.parent):
        monkeypatch.chdir(folder)
        with pytest.raises(SuspectError, match="is incomplete: it keeps the values of tensor"):
            OnnxSuspect(path, twins.NCHW)


def field(number, body):
    """A field of bytes, as Protocol Buffers write it; short ones."""
    return bytes([number << 3 | 2, len(body)]) + body


TENSORS = {
    "said and taken back": b"\x70\x01\x70\x00",
    "taken back and said": b"\x70\x00\x70\x01",
    "a long number": b"\x70\x81\x80\x80\x80\x10",
    "a place that is not known yet": b"\x70\x02",
    "packed": b"\x72\x01\x01",
    "four bytes": b"\x75\x01\0\0\0",
    "a tag of two bytes": b"\xf0\x00\x01",
}


@pytest.mark.parametrize("way", TENSORS)
def test_every_way_to_say_it_counts(way):
    body = field(7, field(5, TENSORS[way]))
    assert outside_in(body) == "it keeps the values of tensor '' in a second file"
    # A message that comes twice is joined from both.
    assert outside_in(field(7, b"") + body + field(7, b""))


@pytest.mark.parametrize(
    "body",
    [
        b"\x3a\x05\x2a",  # ends beyond
        b"\x3a",  # no length
        b"\x3b\x3c",  # a group
        b"\x3f\x00",  # no wire type
        b"\x02\x00",  # field 0
        b"\xba\x80\x80\x80\x80\x00\x00",  # a tag of six bytes
        b"\xff" * 12,  # no number
        b"\x39\x00\x00",  # eight bytes
        b"\x3a\x02\x2a\x05",  # inside, beyond its graph
    ],
)
def test_what_readers_could_take_differently_is_refused(body):
    with pytest.raises(NotOnnxError):
        outside_in(body)


def test_a_model_inside_its_file_is_whole(tmp_path):
    path = twins.write_onnx(tmp_path / "model.onnx")
    assert outside_in(path.read_bytes()) == ""
    pictures = twins.photos(3).astype(np.float32) / 255
    scores = OnnxSuspect(path, twins.NCHW).answers(pictures).scores
    np.testing.assert_allclose(scores, twins.logits(pictures), atol=1e-5)


def test_a_program_of_a_vendor_lies_outside(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(
        model(graph([node("EPContext", ep_cache_context="p")])).SerializeToString()
    )
    with pytest.raises(SuspectError, match="a node EPContext, whose program lies in a second"):
        OnnxSuspect(path, twins.NCHW)


def test_other_formats_are_named(tmp_path):
    path = tmp_path / "model.onnx"
    for body, name in [
        (b"\x18\0\0\0ORTM" + bytes(20), r"ONNX Runtime's own format \(.ort\)"),
        (b"\x18\0\0\0TFL3" + bytes(20), "TensorFlow Lite"),
    ]:
        path.write_bytes(body)
        with pytest.raises(SuspectError, match="is not an ONNX model but a model .*" + name):
            OnnxSuspect(path, twins.NCHW)


def changed(path, change):
    made = onnx.load(path)
    change(made)
    path.write_bytes(made.SerializeToString())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda m: setattr(m, "ir_version", 99),
            r"\(Fail: Unsupported model IR version: 99, max",
        ),
        (
            lambda m: setattr(m.opset_import[0], "version", 99),
            r"\(Fail: ONNX Runtime .*Opset 99",
        ),
        (lambda m: setattr(m.graph.node[1], "op_type", "Nope"), "No Op registered for Nope"),
        (lambda m: setattr(m.graph.node[1], "domain", "my.ops"), "No opset import for domain"),
        (lambda m: m.graph.node[1].input.__setitem__(0, "lost"), "Node input 'lost' is not a"),
        (
            lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 11),
            "bound to diff",
        ),
    ],
)
def test_onnx_runtimes_own_sentence_is_passed_on(tmp_path, change, says):
    path = twins.write_onnx(tmp_path / "model.onnx")
    changed(path, change)
    with pytest.raises(
        SuspectError, match="cannot be opened as an ONNX model .*" + says
    ) as error:
        OnnxSuspect(path, twins.NCHW)
    assert "onnxruntime_src" not in str(error.value)
