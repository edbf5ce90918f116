"""One small network with fixed weights, in every make that a suspect can have."""

import base64
import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax.suspects import (
    AnswerTemplate,
    CallableSuspect,
    Declaration,
    HttpSuspect,
    JaxSuspect,
    KerasSuspect,
    OnnxSuspect,
    RequestTemplate,
    TorchSuspect,
)
from anw_jax.suspects.http.client import Reply

SIDE, NUM_CLASSES, WIDTH = 8, 5, 6
NHWC = Declaration(NUM_CLASSES, input_size=(SIDE, SIDE))
NCHW = dataclasses.replace(NHWC, layout="NCHW")


def photos(number: int, seed: int = 0) -> np.ndarray:
    """Photos of one colour each, with noise: uint8 `[number, 8, 8, 3]`."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(40, 216, (number, 1, 1, 3))
    noise = rng.integers(-40, 41, (number, SIDE, SIDE, 3))
    return (colours + noise).astype(np.uint8)


def _weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    weights = {
        "kernel": rng.normal(size=(3, 3, 3, WIDTH)) / 2,  # height, width, in, out
        "bias": rng.normal(size=WIDTH) / 4,
        "dense": rng.normal(size=(WIDTH, NUM_CLASSES)),
        "offset": np.zeros(NUM_CLASSES),
    }
    weights = {name: value.astype(np.float32) for name, value in weights.items()}
    # On the photos above classes are about equally frequent, and answers spread.
    scores = forward(weights, photos(200, seed=1).astype(np.float32) / 255)
    weights["dense"] = weights["dense"] * (3 / (scores - scores.mean(0)).std())
    scores = forward(weights, photos(200, seed=1).astype(np.float32) / 255)
    weights["offset"] = -scores.mean(0)
    return weights


def forward(weights: dict[str, np.ndarray], images: np.ndarray, xp=np) -> np.ndarray:
    """Logits: 3x3 convolution, ReLU, mean over places, dense layer."""
    padded = xp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    side = images.shape[1]
    hidden = weights["bias"].reshape(1, 1, 1, -1)
    for row in range(3):
        for column in range(3):
            window = padded[:, row : row + side, column : column + side]
            hidden = hidden + window @ weights["kernel"][row, column]
    features = xp.maximum(hidden, np.float32(0)).mean((1, 2))
    return features @ weights["dense"] + weights["offset"].reshape(1, -1)


WEIGHTS = _weights()


def logits(images: np.ndarray) -> np.ndarray:
    """The network in NumPy; refuses other pictures than 8x8x3, as a real one does."""
    if images.shape[1:] != (SIDE, SIDE, 3):
        raise ValueError(f"want [b, {SIDE}, {SIDE}, 3], got {images.shape}")
    return forward(WEIGHTS, images)


def called() -> CallableSuspect:
    return CallableSuspect(logits, NHWC, identity="twin")


def _jax_forward(weights, images):
    return forward(weights, images, jnp)


def in_jax() -> JaxSuspect:
    predict = jax.tree_util.Partial(_jax_forward, jax.tree.map(jnp.asarray, WEIGHTS))
    return JaxSuspect(predict, NHWC)


def torch_module():
    import torch

    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, WIDTH, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(WIDTH, NUM_CLASSES),
    )
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor(WEIGHTS["kernel"].transpose(3, 2, 0, 1)))
        module[0].bias.copy_(torch.tensor(WEIGHTS["bias"]))
        module[4].weight.copy_(torch.tensor(WEIGHTS["dense"].T))
        module[4].bias.copy_(torch.tensor(WEIGHTS["offset"]))
    return module


def in_torch() -> TorchSuspect:
    return TorchSuspect(torch_module(), NCHW)


def keras_model():
    import keras  # on the backend that the environment names

    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Conv2D(WIDTH, 3, padding="same", activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(NUM_CLASSES),
        ]
    )
    model.set_weights([WEIGHTS[name] for name in ("kernel", "bias", "dense", "offset")])
    return model


def in_keras() -> KerasSuspect:
    return KerasSuspect(keras_model(), NHWC)


def write_onnx(path: pathlib.Path, batch: int | str = "batch") -> pathlib.Path:
    """The network as an ONNX file, operator by operator."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def constant(name, value):
        return numpy_helper.from_array(np.ascontiguousarray(value), name)

    nodes = [
        helper.make_node("Conv", ["images", "kernel", "bias"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "dense", "offset"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "twin",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, NUM_CLASSES])],
        [
            constant("kernel", WEIGHTS["kernel"].transpose(3, 2, 0, 1)),
            constant("bias", WEIGHTS["bias"]),
            constant("dense", WEIGHTS["dense"]),
            constant("offset", WEIGHTS["offset"]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def in_onnx(folder: pathlib.Path) -> OnnxSuspect:
    return OnnxSuspect(write_onnx(folder / "twin.onnx"), NCHW, num_threads=1)


# What an endpoint is sent here, and how it answers.
REQUEST = RequestTemplate(
    template={"tensor": "$float32", "shape": "$shape"}, images_per_request=3
)
ANSWER = AnswerTemplate(pictures="predictions", scores="scores")


def http_answer(body: bytes) -> dict:
    """What the endpoint says to one request of `REQUEST`."""
    asked = json.loads(body)
    batch = np.frombuffer(base64.b64decode(asked["tensor"]), "<f4").reshape(asked["shape"])
    return {"predictions": [{"scores": row} for row in logits(batch).tolist()]}


@dataclasses.dataclass
class Asked:
    """One request as a `FakeClient` sees it."""

    content: bytes
    headers: dict[str, str]


class FakeClient:
    """A `PooledClient` without sockets: `handler` takes an `Asked` and gives a `Reply`."""

    def __init__(self, handler):
        self._handler = handler

    def send(self, method, url, body, headers, seconds, max_bytes):
        """See `PooledClient.send`."""
        return self._handler(Asked(body, headers))


def replied(value: object, status: int = 200) -> Reply:
    """A reply of JSON."""
    return Reply(status, body=json.dumps(value).encode())


def over_http(handler=None, **options) -> HttpSuspect:
    """The endpoint behind a client that opens no socket."""

    def answer(request: Asked) -> Reply:
        return replied(http_answer(request.content))

    client = FakeClient(handler or answer)
    options = {"request": REQUEST, "answer": ANSWER, "sleep": lambda seconds: None} | options
    return HttpSuspect("http://model.test/predict", NHWC, client=client, **options)
