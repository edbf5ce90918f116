"""One network that PyTorch trained, as a suspect of every make."""

import contextlib
import os
import pathlib
import subprocess
import sys
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax.suspects import (
    Access,
    AnswerTemplate,
    Declaration,
    HttpSuspect,
    JaxSuspect,
    KerasSuspect,
    OnnxSuspect,
    RecordedSuspect,
    RequestTemplate,
    Suspect,
    TorchSuspect,
)
from anw_jax.suspects.protocol import Answers
from benchmarks import _measure

SERVER = _measure.REPOSITORY / "tests" / "suspects" / "server_torch.py"
IMAGES_PER_REQUEST = 32
RECORDING = "answers.npz"

# The learner's normalisation, which the arbitrator gets with the model.
_NORMALISED = {"mean": (0.5,) * 3, "std": (0.25,) * 3}


def weights_of(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Return the learner's state dict as arrays."""
    import torch

    state = torch.load(folder / "weights.pt", weights_only=True)
    return {name: tensor.numpy() for name, tensor in state.items()}


def layers_of(weights: dict[str, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (weight, bias) of three convolutions and the dense layer, in PyTorch's layout."""
    numbers = sorted({int(name.split(".")[0]) for name in weights})
    return [(weights[f"{i}.weight"], weights[f"{i}.bias"]) for i in numbers]


def declaration_of(
    weights: dict[str, np.ndarray], layout: str, answer: str = "logits", **others
) -> Declaration:
    num_classes = len(layers_of(weights)[-1][1])
    return Declaration(num_classes, answer, layout=layout, **_NORMALISED, **others)


def _forward(layers, x):
    *convolutions, (dense, offset) = layers
    for number, (kernel, bias) in enumerate(convolutions):
        if number:
            x = jax.lax.reduce_window(
                x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
            )
        x = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jnp.maximum(x + bias.reshape(1, 1, 1, -1), jnp.float32(0))
    return x.mean((1, 2)) @ dense + offset.reshape(1, -1)


def _channels_last(weights: dict[str, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return kernels `[H, W, in, out]` and a dense matrix `[in, out]`."""
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}
    return [
        (np.ascontiguousarray(weight.transpose(axes[weight.ndim])), bias)
        for weight, bias in layers_of(weights)
    ]


def in_jax(folder: pathlib.Path) -> JaxSuspect:
    weights = weights_of(folder)
    layers = jax.tree.map(jnp.asarray, _channels_last(weights))
    predict = jax.tree_util.Partial(_forward, layers)
    return JaxSuspect(predict, declaration_of(weights, "NHWC"))


def in_torch(folder: pathlib.Path) -> TorchSuspect:
    declaration = declaration_of(weights_of(folder), "NCHW")
    return TorchSuspect.from_script(folder / "script.pt", declaration)


def in_keras(folder: pathlib.Path) -> KerasSuspect:
    # JAX is installed anyway, so Keras needs no other framework.
    os.environ.setdefault("KERAS_BACKEND", "jax")
    path, weights = folder / "net.keras", weights_of(folder)
    declaration = declaration_of(weights, "NHWC")
    try:
        import keras
    except ImportError:
        return KerasSuspect(None, declaration)  # says which extra brings it
    if not path.exists():
        layers = _channels_last(weights)
        net = keras.Sequential([keras.Input((None, None, 3))])
        for number, (kernel, _) in enumerate(layers[:-1]):
            if number:
                net.add(keras.layers.MaxPooling2D())
            net.add(keras.layers.Conv2D(kernel.shape[-1], 3, padding="same", activation="relu"))
        net.add(keras.layers.GlobalAveragePooling2D())
        net.add(keras.layers.Dense(len(layers[-1][1])))
        net.set_weights([array for pair in layers for array in pair])
        net.save(path)
    return KerasSuspect.from_file(path, declaration)


def in_onnx(folder: pathlib.Path) -> OnnxSuspect:
    path, weights = folder / "net.onnx", weights_of(folder)
    if not path.exists():
        write_onnx(path, weights)
    return OnnxSuspect(path, declaration_of(weights, "NCHW"))


def write_onnx(path: pathlib.Path, weights: dict[str, np.ndarray]) -> None:
    """Write the graph node by node, since PyTorch's exporter needs another library."""
    from onnx import TensorProto, helper, numpy_helper

    *convolutions, (dense, offset) = layers_of(weights)
    nodes, constants, before = [], [], "images"

    def node(kind: str, inputs: list[str], **attributes) -> str:
        name = f"x{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(name: str, array: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    for number, (kernel, bias) in enumerate(convolutions):
        if number:
            before = node("MaxPool", [before], kernel_shape=[2, 2], strides=[2, 2])
        inputs = [before, constant(f"w{number}", kernel), constant(f"b{number}", bias)]
        before = node("Relu", [node("Conv", inputs, pads=[1, 1, 1, 1])])
    flat = node("Flatten", [node("GlobalAveragePool", [before])])
    node("Gemm", [flat, constant("w", dense), constant("b", offset)], transB=1)
    size = [None, 3, None, None]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, size)],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, [None, None])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


class Recorder:
    """A suspect that records the queries to another one, and their answers."""

    def __init__(self, suspect: Suspect):
        self._suspect, self._asked, self._given = suspect, [], []

    @property
    def declaration(self) -> Declaration:
        return self._suspect.declaration

    def answers(self, images: np.ndarray) -> Answers:
        self._asked.append(np.rint(images * 255).astype(np.uint8))
        self._given.append(self._suspect.answers(images))
        return self._given[-1]

    def save(self, path: pathlib.Path) -> None:
        pictures, given = np.concatenate(self._asked), Answers.joined(self._given)
        partial = path.with_name(path.name + ".partial")
        RecordedSuspect.of(pictures, given, self.declaration).save(partial)
        os.replace(partial, path)


def recorded(folder: pathlib.Path) -> RecordedSuspect:
    return RecordedSuspect.load(folder / RECORDING)


def over_http(folder: pathlib.Path, port: int, access: Access) -> HttpSuspect:
    """Return the endpoint that answers exactly what the rung needs."""
    weights = weights_of(folder)
    kinds = {
        "logits": ("logits", "logits", {}),
        "rounded": (
            f"probabilities/{access.decimals}",
            "probabilities",
            {"decimals": access.decimals},
        ),
        "label": ("label", "label", {}),
    }
    path, answer, others = kinds[access.kind]
    read = {"labels": "label"} if answer == "label" else {"scores": "scores"}
    return HttpSuspect(
        f"http://127.0.0.1:{port}/{path}",
        declaration_of(weights, "NCHW", answer, **others),
        request=RequestTemplate(
            template={"tensor": "$float32", "shape": "$shape"},
            images_per_request=IMAGES_PER_REQUEST,
        ),
        answer=AnswerTemplate(pictures="predictions", **read),
    )


class Service:
    """The network in another process, started when its port is first used; a context."""

    def __init__(self, folder: pathlib.Path):
        self._folder, self._process, self._port = folder, None, None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()

    @property
    def port(self) -> int:
        if self._process is None:
            command = [sys.executable, str(SERVER), str(self._folder / "script.pt")]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            self._port = int(self._process.stdout.readline())
        return self._port


@contextlib.contextmanager
def opened(make: str, folder: pathlib.Path, access: Access, service: Service):
    """Open the suspect of a make, one of `MAKES`, that answers at least `access`; a context."""
    if make == "HTTP":
        with over_http(folder, service.port, access) as suspect:
            yield suspect
    else:
        yield _PLAIN[make](folder)


_PLAIN = {
    "PyTorch": in_torch,
    "JAX": in_jax,
    "ONNX": in_onnx,
    "Keras": in_keras,
    "recorded": recorded,
}
MAKES = ("PyTorch", "JAX", "ONNX", "Keras", "HTTP", "recorded")
