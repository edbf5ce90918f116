"""Adapter for an ONNX file, and a check that the file contains the whole model.

A Protocol Buffers message is a sequence of fields, each with a number, a wire type and a value.
Only the fields in `_INSIDE` lead to tensors; all others are skipped.
"""

import os
import pathlib
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from anw_jax import _check
from anw_jax.errors import SuspectError
from anw_jax.suspects.adapters.base import PreparedSuspect, cause_of, missing, with_identity
from anw_jax.suspects.adapters.files import kind_of, read_file
from anw_jax.suspects.declaration import Declaration

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
# In addition to `_check_whole`: there are no files in the folder of external data, and no
# other format than ONNX is guessed from the bytes.
_SETTINGS = {
    "session.load_model_format": "ONNX",
    "session.model_external_initializers_file_folder_path": "/nonexistent/second/files",
}


class OnnxSuspect(PreparedSuspect):
    """A network in an ONNX file with one picture input.

    Args:
      path: the file.
      declaration: its identity becomes the SHA-256 of the file, and the output if one is named.
      output: name of the output to use; None for the first.
      providers: of ONNX Runtime, in order of preference.
      num_threads: inside one operator; None leaves it to ONNX Runtime.
      together: largest number of pictures in one call; 1 for a dynamically quantised model,
        whose scales come from the whole batch.

    Raises:
      MissingLibraryError: onnxruntime is not installed.
      SuspectError: no file, or not an ONNX model; one that keeps values of any tensor in
        another file, which the identity would not cover; a model with several inputs, an
        input that takes no pictures, or no such output.

    An input of type uint8 gets the prepared values rounded, so declare `value_range="bytes"`
    for it. If the file fixes a batch size, smaller batches are filled up with copies of the
    last picture.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        declaration: Declaration,
        *,
        output: str | None = None,
        providers: tuple[str, ...] = ("CPUExecutionProvider",),
        num_threads: int | None = None,
        together: int | None = None,
    ):
        self._path = pathlib.Path(path)
        runtime = _onnxruntime()
        body, digest = read_file(self._path)
        asked = digest if output is None else f"{digest} output {output}"
        super().__init__(with_identity(declaration, asked), together=together)
        _check_whole(self._path, body)
        self._session = _open(runtime, self._path, body, providers, num_threads)
        self._input = self._picture_input()
        names = [node.name for node in self._session.get_outputs()]
        self._output = names[0] if output is None else _check.one_of(names, output=output)

    def _picture_input(self) -> Any:
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(node.name for node in inputs)
            raise SuspectError(f"{self._path} must have one input, has {len(inputs)}: {names}")
        if inputs[0].type not in _TYPES:
            allowed = ", ".join(_TYPES)
            raise SuspectError(
                f"{self._path} must take pictures as {allowed}; takes {inputs[0].type}"
            )
        return inputs[0]

    @property
    def num_together(self) -> int:
        """The batch size that is fixed in the file, else 1."""
        return self._at_once or 1

    @property
    def _at_once(self) -> int | None:
        size = self._input.shape[0] if self._input.shape else None
        return size if isinstance(size, int) and size > 0 else None

    def _filled(self, number: int) -> int:
        return self._at_once or number

    def _run(self, batch: np.ndarray) -> Any:
        wanted = self._input.shape
        self._check_shape(batch.shape, wanted)
        dtype = _TYPES[self._input.type]
        if dtype == np.uint8:
            batch = np.clip(np.rint(batch), 0, 255)
        batch = batch.astype(dtype, copy=False)
        (answer,) = self._session.run([self._output], {self._input.name: batch})
        return answer

    def _check_shape(self, given: tuple[int, ...], wanted: list[int | str | None]) -> None:
        fits = len(wanted) == len(given) and all(
            not isinstance(side, int) or side == size
            for side, size in zip(wanted[1:], given[1:], strict=True)
        )
        if not fits:
            shape = ", ".join(str(side) if isinstance(side, int) else "?" for side in wanted)
            asked = ", ".join(map(str, given[1:]))
            raise SuspectError(
                f"{self._path} takes [{shape}] and was asked with [b, {asked}]: declare its "
                "input_size and layout"
            )


def _onnxruntime() -> types.ModuleType:
    try:
        import onnxruntime
    except ImportError:
        raise missing("querying an ONNX file", "onnx") from None
    return onnxruntime


def _open(
    runtime: types.ModuleType,
    path: pathlib.Path,
    body: bytes,
    providers: tuple[str, ...],
    num_threads: int | None,
) -> Any:
    for provider in providers:
        _check.one_of(runtime.get_available_providers(), provider=provider)
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # errors are raised; nothing is written to the screen
    for name, value in _SETTINGS.items():
        options.add_session_config_entry(name, value)
    if num_threads is not None:
        options.intra_op_num_threads = _check.integer_at_least(1, num_threads=num_threads)
    try:
        session = runtime.InferenceSession(body, options, providers=list(providers))
        for node in (*session.get_inputs(), *session.get_outputs()):
            _ = node.name, node.shape  # names that are not UTF-8 raise only here
        return session
    except Exception as error:  # onnxruntime has no base class for its errors
        raise SuspectError(
            f"{path} cannot be opened as an ONNX model ({cause_of(error, 400)})"
        ) from error


def _check_whole(path: pathlib.Path, body: bytes) -> None:
    """Raise SuspectError unless the bytes are a complete ONNX model."""
    if kind := kind_of(body):
        raise SuspectError(f"{path} is not an ONNX model but {kind}")
    try:
        outside = outside_in(body)
    except NotOnnxError as error:
        raise SuspectError(
            f"{path} is not an ONNX model, or is damaged or cut off ({error})"
        ) from None
    if outside:
        raise SuspectError(
            f"{path} is incomplete: {outside}, which could be replaced unnoticed; ask for one "
            "file with everything inside (onnx.save(model, path) without external data)"
        )


# By message: field number → message inside it. From onnx.proto of IR version 13.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse",
        23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_TENSOR_NAME, _DATA_LOCATION, _OP_TYPE = 8, 14, 4
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
# About a million are read in a second; whole models have some thousands.
_MOST_FIELDS = 20_000_000


class NotOnnxError(ValueError):
    """The bytes are not a message of ONNX, or one that readers may read differently."""


def outside_in(body: bytes) -> str:
    """Return what an ONNX model reads from outside its file; "" if it is self-contained.

    Covers every tensor that a model can contain: in graphs, attributes of nodes, graphs inside
    these, sparse tensors, functions and training steps. A tensor counts if *any* of its fields
    says that its values are elsewhere, even if a later field says otherwise.

    Raises:
      NotOnnxError: not Protocol Buffers, cut off, or in an unusual encoding.
    """
    view, waiting, left = memoryview(body), [("model", 0, len(body))], _MOST_FIELDS
    while waiting:
        kind, start, end = waiting.pop()
        inside, name, is_outside = _INSIDE[kind], "", False
        for number, wire, low, high in _fields(view, start, end):
            left -= 1
            if left < 0:
                raise NotOnnxError(f"it has more than {_MOST_FIELDS:,} fields")
            if wire == _BYTES and number in inside:
                waiting.append((inside[number], low, high))
            elif kind == "tensor":
                if number == _DATA_LOCATION:
                    is_outside |= wire != _VARINT or any(view[low:high])
                elif number == _TENSOR_NAME and wire == _BYTES:
                    name = bytes(view[low:high]).decode(errors="replace")
            elif kind == "node" and number == _OP_TYPE and view[low:high] == b"EPContext":
                return "it holds a node EPContext, whose program lies in a second file"
        if is_outside:
            return f"it keeps the values of tensor {name!r:.80} in a second file"
    return ""


def _fields(view: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, wire type, begin and end of the value of each field of a message."""
    at = start
    while at < end:
        tag, at = _varint(view, at, end, 5)
        number, wire = tag >> 3, tag & 7
        # Readers disagree on longer tags; groups are obsolete.
        if not number or tag >= 2**32:
            raise NotOnnxError(f"no field at byte {at}")
        if wire == _VARINT:
            low, (_, at) = at, _varint(view, at, end)
        elif wire == _BYTES:
            size, low = _varint(view, at, end)
            at = low + size
        elif wire in (_EIGHT, _FOUR):
            low, at = at, at + (8 if wire == _EIGHT else 4)
        else:
            raise NotOnnxError(f"no field at byte {at}")
        if at > end:
            raise NotOnnxError(f"a field at byte {low} ends beyond what holds it")
        yield number, wire, low, at


def _varint(view: memoryview, at: int, end: int, most: int = 10) -> tuple[int, int]:
    """Return a number of 7 bits a byte, and where it ends."""
    value = 0
    for place in range(most):
        if at + place >= end:
            raise NotOnnxError(f"it is cut off at byte {end}")
        byte = view[at + place]
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at + place + 1
    raise NotOnnxError(f"no number at byte {at}")
