"""An owner of a filter, and suspects that are asked for its task: files and services."""

import json
import pathlib
import re
import tomllib

import numpy as np

from anw_jax import schemes
from anw_jax.keys import MarkKey, Plan
from tests.cli.test_outputs import PAGE, VALUE, barrier, smooth, write

# The suspects' files on the page, by their kind.
FILES = {
    tomllib.loads(block)["kind"]: block
    for block in re.findall("```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
}
NUM_QUERIES = 12
# The owner's model: a mild blur, the same for all colours.
OWN = np.zeros((7, 7, 3, 3), np.float32)
OWN[2:5, 2:5] = 0.1 * np.eye(3)
OWN[3, 3] += 0.1 * np.eye(3)
# Of somebody else: another blur, and colours of its own.
OTHER = np.zeros((7, 7, 3, 3), np.float32)
OTHER[3, 3] = np.diag([0.95, 1.0, 0.9])


def answered(images: np.ndarray, *kernels: np.ndarray) -> np.ndarray:
    """Filter uint8 images by the owner's kernel, or by others, mirrored at the border."""
    values = images / 255.0
    for kernel in kernels or (OWN,):
        padded = np.pad(values, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7), axis=(1, 2))
        values = np.einsum("nhwcij,ijco->nhwo", windows, kernel)
    return np.rint(255.0 * np.clip(values, 0.0, 1.0)).astype(np.uint8)


def owner_in(root: pathlib.Path) -> pathlib.Path:
    """Write the owner's folders, and commit."""
    queries = smooth(1, NUM_QUERIES)
    for name, images in (
        ("queries", queries),
        ("outputs", answered(queries)),
        ("public", answered(smooth(3, 12))),
    ):
        write(root / name, images)
    write_onnx(root / "model.onnx")
    assert barrier(root, "--alpha", "1e-4", bits=["mixing=6", "odd=30"]) == 0
    return root


def case_in(root: pathlib.Path, suspect: str) -> pathlib.Path:
    """Write a case with one owner and the file of one suspect."""
    ann, suspects = root / "case" / "owners" / "ann", root / "case" / "suspects"
    ann.mkdir(parents=True)
    suspects.mkdir()
    for name in ("mark.json", "decoder.npz"):
        (ann / name).write_bytes((root / "mark" / name).read_bytes())
    (suspects / "found.toml").write_text(suspect)
    return root / "case"


def decoder_in(root: pathlib.Path) -> schemes.barrier.Decoder:
    return schemes.barrier.load_decoder(root / "mark" / "decoder.npz")


def copied_kernels(root: pathlib.Path) -> tuple[np.ndarray, ...]:
    """The owner's filter, and after it the mark's: what a copy learns."""
    key = MarkKey.load(root / "mark" / "mark.key")
    plan = Plan.from_json(json.loads((root / "mark" / "mark.json").read_text())["plan"])
    decoder = decoder_in(root)
    bits = schemes.keygen(key, decoder, plan, beacon=bytes.fromhex(VALUE))
    mark = schemes.barrier.keyed_kernel(decoder, bits)
    mark[3, 3] += np.eye(3, dtype=np.float32)
    return OWN, mark


def write_onnx(path: pathlib.Path, *kernels: np.ndarray, clip: bool = True, **sides: int):
    """Write a network of convolutions, from pictures `[b, 3, H, W]` to pictures."""
    from onnx import TensorProto, checker, helper, numpy_helper, save_model

    constants = {
        "low": np.float32(0),
        "high": np.float32(1),
        "pads": np.array([0, 0, 3, 3, 0, 0, 3, 3]),
    }
    nodes, last = [], "in"
    for number, kernel in enumerate(kernels or (OWN,)):
        constants[f"kernel{number}"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        pad, conv = f"pad{number}", f"conv{number}"
        nodes.append(helper.make_node("Pad", [last, "pads"], [pad], mode="reflect"))
        nodes.append(helper.make_node("Conv", [pad, f"kernel{number}"], [conv]))
        last = conv
    bounds = ["low", "high"] if clip else []
    nodes.append(helper.make_node("Clip", [last, *bounds], ["out"]))
    ways_in = ["b", 3, sides.get("height", "height"), sides.get("width", "width")]
    ways_out = ["b", kernel.shape[3], "rows", "columns"]
    graph = helper.make_graph(
        nodes,
        "copy",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, ways_in)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ways_out)],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save_model(model, path)
