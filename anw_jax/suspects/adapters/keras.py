"""Adapter for a Keras 3 model, on any backend of Keras."""

import hashlib
import json
import os
import pathlib
import tempfile
import types
from typing import Any, Self

import numpy as np

from anw_jax import _json
from anw_jax.errors import MissingLibraryError, SuspectError
from anw_jax.suspects.adapters.base import (
    PreparedSuspect,
    cause_of,
    missing,
    next_power_of_two,
    with_identity,
)
from anw_jax.suspects.adapters.files import damage_in, kind_of, names_in, read_file
from anw_jax.suspects.declaration import Declaration

_TAG = b"anw_jax/v1/keras weights\0"


class KerasSuspect(PreparedSuspect):
    """A model of Keras 3, in inference mode (`predict_on_batch`).

    Keras chooses the backend: set the environment variable `KERAS_BACKEND=jax` before anything
    imports keras to need no other framework. Batches are filled up to the next power of two
    with the last picture, so that few sizes are compiled.

    Args:
      model: `keras.Model` with one picture input.
      declaration: its identity becomes the SHA-256 of configuration and weights; names of
        layers do not enter it, because Keras numbers them within a process.
      together: largest number of pictures in one call; None for no limit.

    Raises:
      MissingLibraryError: keras, or its backend, is not installed.
      TypeError: `model` is not a model of Keras.
    """

    def __init__(self, model: Any, declaration: Declaration, *, together: int | None = None):
        keras = _keras()
        if not isinstance(model, keras.Model):
            raise TypeError(f"model must be a keras.Model, got {type(model).__name__}")
        declaration = with_identity(declaration, lambda: _digest(keras, model))
        super().__init__(declaration, together=together)
        self._model = model

    @classmethod
    def from_file(
        cls, path: str | os.PathLike, declaration: Declaration, *, together: int | None = None
    ) -> Self:
        """Open a `.keras` file in safe mode: code in it (lambda layers) is refused.

        Raises:
          SuspectError: no file, not a `.keras` archive, or one that safe mode refuses, such as
            one that reads weights or vocabularies from other files. Files of the older `.h5`
            format can contain code and are not opened.
        """
        keras, path = _keras(), pathlib.Path(path)
        body, digest = read_file(path)
        declaration = with_identity(declaration, digest)
        _check_archive(path, body)
        # Keras needs a path: a copy is opened, so that the bytes are those of the digest.
        with tempfile.TemporaryDirectory() as folder:
            copy = pathlib.Path(folder) / "model.keras"
            copy.write_bytes(body)
            try:
                model = keras.saving.load_model(copy, compile=False, safe_mode=True)
            except Exception as error:
                cause = cause_of(error, 300).replace(str(copy), str(path))
                raise SuspectError(
                    f"{path} cannot be opened by Keras in safe mode ({cause}): it is "
                    "damaged, or has layers that carry code of their own"
                ) from error
        return cls(model, declaration, together=together)

    def _filled(self, number: int) -> int:
        return next_power_of_two(number)

    def _run(self, batch: np.ndarray) -> Any:
        answers = self._model.predict_on_batch(batch)
        if isinstance(answers, (tuple, list, dict)):
            return answers  # of a model with several outputs
        return np.asarray(answers)


def _keras() -> types.ModuleType:
    try:
        import keras
    except ImportError as error:
        if error.name in (None, "keras"):
            raise missing("querying a Keras model", "keras") from None
        raise MissingLibraryError(
            f"Keras cannot load its backend ({error.name} is not installed): install that, or "
            "set the environment variable KERAS_BACKEND=jax"
        ) from None
    return keras


def _check_archive(path: pathlib.Path, body: bytes) -> None:
    if "config.json" not in (names_in(body) or ()):
        kind = kind_of(body)
        hint = f", but {kind}" if kind else ""
        raise SuspectError(
            f"{path} is not a .keras file (an archive with config.json){hint}: save it with "
            "model.save('model.keras')"
        )
    if damage := damage_in(body):
        raise SuspectError(f"{path} is a damaged .keras file ({damage})")


def _digest(keras: types.ModuleType, model: Any) -> str:
    config = _without_names(_json.loads(model.to_json(), allow_nan=True), {})
    message = hashlib.sha256(_TAG + json.dumps(config).encode())
    for weight in model.weights:
        array = np.asarray(keras.ops.convert_to_numpy(weight.value))
        message.update(f"{array.shape}{array.dtype}".encode() + array.tobytes())
    return message.hexdigest()


def _without_names(config: Any, places: dict[str, str]) -> Any:
    """Return a configuration with the place of each layer as its name, also in its inputs.

    Only there: a layer may be called "relu", and what it computes must stay in the digest.
    `places` maps the names of the layers so far, and grows.
    """
    if isinstance(config, list):
        if _is_wire(config) and config[0] in places:
            return [places[config[0]], *config[1:]]
        return [_without_names(value, places) for value in config]
    if not isinstance(config, dict):
        return config
    inner, found = config.get("config"), dict(config)
    if "class_name" in config and isinstance(inner, dict) and "name" in inner:
        place = places.setdefault(str(inner["name"]), f"layer {len(places)}")
        found["config"] = {**inner, "name": place}
        if "name" in config:
            found["name"] = place
    # The name of a dtype policy decides answers.
    return {
        key: value if key == "dtype" else _without_names(value, places)
        for key, value in found.items()
    }


def _is_wire(value: list) -> bool:
    """Return whether a list is [layer, node, tensor], Keras's source of an input."""
    return len(value) == 3 and [type(part) for part in value] == [str, int, int]
