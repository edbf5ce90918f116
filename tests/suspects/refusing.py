"""Photos, one of whose pictures is refused, and what is left of their table."""

import pathlib

import numpy as np

from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation
from anw_jax.suspects import CallableSuspect, QuerySession
from tests.suspects import twins

SPACE, MARK = SignatureSpace(4), HueRotation()
PHOTOS, LABELS = twins.photos(6), np.zeros(6, int)


def picture(image: int, slot: int) -> np.ndarray:
    """One picture as it is asked, uint8 `[H, W, 3]`."""
    seen = []

    def spy(batch):
        seen.append(np.rint(batch * 255).astype(np.uint8))
        return twins.logits(batch)

    suspect = CallableSuspect(spy, twins.NHWC, identity="spy")
    QuerySession(suspect, PHOTOS, LABELS, MARK, SPACE).losses([image], [slot])
    return seen[0][0]


BAD = picture(2, 1)


def is_bad(batch: np.ndarray) -> np.ndarray:
    """Which pictures are the bad one, bool `[b]`."""
    return (np.rint(batch * 255).astype(np.uint8) == BAD).all(axis=(1, 2, 3))


def session_of(suspect, cache=None, **options) -> QuerySession:
    """A session about all photos."""
    return QuerySession(suspect, PHOTOS, LABELS, MARK, SPACE, cache=cache, **options)


def asked_all(suspect, cache=None, **options) -> tuple[np.ndarray, QuerySession]:
    """Every picture asked, and by whom."""
    session = session_of(suspect, cache, **options)
    table = session.losses(*np.indices((6, 4)).reshape(2, -1)).reshape(6, 4)
    return table, session


CLEAN, _ = asked_all(twins.called())


def check_only_one_is_lost(table: np.ndarray, session: QuerySession, why: str) -> None:
    """Image 2 is unusable; the others are as if nothing had been."""
    others = [0, 1, 3, 4, 5]
    np.testing.assert_allclose(table[others], CLEAN[others], rtol=1e-4)
    assert not abs(table[2, 1]) <= 1e30  # neither is NaN
    assert list(session.unusable) == [2]
    assert why in session.unusable[2]


def write_refusing_onnx(path: pathlib.Path) -> pathlib.Path:
    """A model that looks up row 7 of a table of one where a picture begins like the bad one."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def constant(name, value, dtype):
        return numpy_helper.from_array(np.array(value, dtype), name)

    nodes = [
        helper.make_node("Sub", ["x", "bad"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["distance"]),
        helper.make_node("Slice", ["distance", "first", "last", "axes"], ["corner"]),
        helper.make_node("ReduceMin", ["corner"], ["nearest"], keepdims=0),
        helper.make_node("Less", ["nearest", "close"], ["is_bad"]),
        helper.make_node("Cast", ["is_bad"], ["as_number"], to=TensorProto.INT64),
        helper.make_node("Mul", ["as_number", "seven"], ["row"]),
        helper.make_node("Gather", ["table", "row"], ["factor"], axis=0),
        helper.make_node("ReduceMean", ["x"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["plain"]),
        helper.make_node("Mul", ["plain", "factor"], ["logits"]),
    ]
    constants = [
        constant("bad", float(BAD[0, 0, 0]) / 255, np.float32),
        constant("close", 1e-4, np.float32),
        constant("first", [0, 0, 0], np.int64),
        constant("last", [1, 1, 1], np.int64),
        constant("axes", [1, 2, 3], np.int64),
        constant("seven", 7, np.int64),
        constant("table", np.ones((1, 5)), np.float32),
        constant("weights", np.random.default_rng(0).normal(size=(3, 5)), np.float32),
    ]
    graph = helper.make_graph(
        nodes,
        "refuser",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 5])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
