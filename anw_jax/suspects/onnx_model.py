"""An ONNX file, asked through ONNX Runtime."""

import os
import pathlib
import types
from typing import Any

import numpy as np

from anw_jax import _check
from anw_jax.errors import SuspectError
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.identity import read_file, with_identity
from anw_jax.suspects.libraries import missing
from anw_jax.suspects.protocol import PreparedSuspect, cannot_answer

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


class OnnxSuspect(PreparedSuspect):
    """A network in an ONNX file with one picture input.

    Args:
      path: the file.
      declaration: its identity becomes the SHA-256 of the file.
      output: name of the output that answers; None for the first.
      providers: of ONNX Runtime, in order of preference.
      num_threads: inside one operator; None leaves it to ONNX Runtime.

    Raises:
      MissingLibraryError: onnxruntime is not installed.
      SuspectError: no file, or one that is no ONNX model; a model with several inputs, an input
        that takes no pictures, or no such output.

    A file that keeps its weights in another one is refused: the identity would not cover them.

    An input that wants uint8 gets the prepared values rounded, so declare
    `value_range="bytes"` for it. A fixed batch size in the file is kept: smaller batches are
    filled up with copies of the last picture.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        declaration: Declaration,
        *,
        output: str | None = None,
        providers: tuple[str, ...] = ("CPUExecutionProvider",),
        num_threads: int | None = None,
    ):
        self._path = pathlib.Path(path)
        runtime = _onnxruntime()
        body, digest = read_file(self._path)
        super().__init__(with_identity(declaration, digest))
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
        size = self._input.shape[0] if self._input.shape else 1
        return size if isinstance(size, int) else 1

    def _run(self, batch: np.ndarray) -> np.ndarray:
        wanted = self._input.shape
        self._check_shape(batch.shape, wanted)
        dtype = _TYPES[self._input.type]
        if dtype == np.uint8:
            batch = np.clip(np.rint(batch), 0, 255)
        batch = batch.astype(dtype, copy=False)
        size = wanted[0] if wanted and isinstance(wanted[0], int) else len(batch)
        parts = [self._ask(batch[i : i + size], size) for i in range(0, len(batch), size)]
        return np.concatenate(parts)

    def _ask(self, part: np.ndarray, size: int) -> np.ndarray:
        number = len(part)
        if number < size:
            part = np.concatenate([part, np.repeat(part[-1:], size - number, axis=0)])
        try:
            (answer,) = self._session.run([self._output], {self._input.name: part})
        except Exception as error:  # onnxruntime has no base class for its errors
            raise cannot_answer(str(self._path), part.shape, error) from error
        # A model may ignore its batch axis; the check of the answers then tells the shapes.
        return answer[:number] if np.ndim(answer) else np.atleast_1d(answer)

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
        raise missing("asking an ONNX file", "onnx") from None
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
    if num_threads is not None:
        options.intra_op_num_threads = _check.integer_at_least(1, num_threads=num_threads)
    try:
        return runtime.InferenceSession(body, options, providers=list(providers))
    except Exception as error:  # onnxruntime has no base class for its errors
        raise SuspectError(
            f"{path} cannot be opened as an ONNX model ({type(error).__name__}): it is another "
            "kind of file, cut off, keeps weights in a second file (save them inside), or "
            "needs operators that this ONNX Runtime lacks"
        ) from error
