"""Any function of a NumPy batch, and any model of JAX."""

import hashlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from anw_jax import _check
from anw_jax.errors import SuspectError
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.identity import with_identity
from anw_jax.suspects.protocol import PreparedSuspect

_TAG = b"anw_jax/v1/weights\0"

# As in `verify`: answers do not hang on TF32 or passes of bfloat16.
_PRECISION = "highest"

# What functions raise at pictures of a shape that they do not know.
_SHAPE_ERRORS = (TypeError, ValueError, IndexError)


class CallableSuspect(PreparedSuspect):
    """A function from prepared pictures to answers.

    Args:
      fun: takes float32 batches as `declaration` wants them; returns logits or probabilities
        `[b, C]`, integer labels `[b]`, or for "top_k" a pair (labels, scores) `[b, k]`.
      declaration: how it wants pictures and what it answers.
      identity: names the model, so that its answers are never taken for another's: code cannot
        be hashed. Not needed where the declaration has one.

    Raises:
      TypeError, ValueError: `fun` that cannot be called, no identity.

    Example:
      >>> suspect = CallableSuspect(lambda batch: np.zeros((len(batch), 2)), Declaration(2),
      ...                           identity="always undecided")
      >>> suspect.answers(np.zeros((3, 4, 4, 3), np.float32)).scores.shape
      (3, 2)
    """

    def __init__(
        self,
        fun: Callable[[np.ndarray], Any],
        declaration: Declaration,
        *,
        identity: str | None = None,
    ):
        if not callable(fun):
            raise TypeError(f"fun must be callable, got {type(fun).__name__}")
        super().__init__(with_identity(declaration, identity))
        if not self.declaration.identity:
            raise ValueError("identity must name the model: code cannot be hashed")
        self._fun = fun

    def _run(self, batch: np.ndarray) -> Any:
        try:
            return self._fun(batch)
        except _SHAPE_ERRORS as error:
            raise _cannot_answer(batch, error) from error


class JaxSuspect(PreparedSuspect):
    """A model of JAX that carries its weights: `jax.tree_util.Partial(apply, variables)`.

    `models.Model.predict_fn(variables)` gives one for this project's own networks; reading
    the variables from a checkpoint is for rooms above this one. Compiled once
    for each size of batch, which is filled up to the next power of two, with float32 products
    of all bits. Where no cache is wanted, `verify.loss_table` asks the same questions in one
    program.

    Args:
      predict: maps a batch, as `declaration` wants it, to logits or probabilities.
      declaration: its identity becomes the SHA-256 of structure and weights.

    Raises:
      TypeError: `predict` that is no `Partial`.

    Example:
      >>> predict = jax.tree_util.Partial(lambda w, x: x.mean((1, 2)) @ w, np.eye(3)[:, :2])
      >>> suspect = JaxSuspect(predict, Declaration(2))
      >>> suspect.answers(np.zeros((3, 4, 4, 3), np.float32)).scores.shape
      (3, 2)
    """

    def __init__(self, predict: jax.tree_util.Partial, declaration: Declaration):
        _check.is_instance(jax.tree_util.Partial, predict=predict)
        super().__init__(with_identity(declaration, _digest(predict)))
        self._predict = predict

    @property
    def predict(self) -> jax.tree_util.Partial:
        """The model itself; `verify.gradient_search` takes it."""
        return self._predict

    def _run(self, batch: np.ndarray) -> np.ndarray:
        size = len(batch)
        filled = 1 << max(0, size - 1).bit_length()
        # Filled up with the last picture: zeros could make a model of batches answer otherwise.
        batch = np.concatenate([batch, np.repeat(batch[-1:], filled - size, axis=0)])
        try:
            with jax.default_matmul_precision(_PRECISION):
                answers = _answer(self._predict, batch)
        except _SHAPE_ERRORS as error:
            raise _cannot_answer(batch[:size], error) from error
        return jax.tree.map(lambda part: np.asarray(part)[:size], answers)


def _cannot_answer(batch: np.ndarray, error: Exception) -> SuspectError:
    first = (str(error).strip().splitlines() or [""])[0]
    return SuspectError(f"the model cannot answer to shape {batch.shape}: {first:.120}")


@jax.jit
def _answer(predict: jax.tree_util.Partial, batch: jax.Array) -> Any:
    return predict(batch)


def _digest(predict: jax.tree_util.Partial) -> str:
    """SHA-256 of the tree and its leaves, and of what the function calls itself."""
    message = hashlib.sha256(_TAG + _name_of(predict.func).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(predict):
        array = np.asarray(leaf)
        message.update(f"{jax.tree_util.keystr(path)}{array.shape}{array.dtype}".encode())
        message.update(array.tobytes())
    return message.hexdigest()


def _name_of(fun: Any) -> str:
    # A plain function's repr holds an address, which is another in every process.
    name = getattr(fun, "__qualname__", None)
    return f"{fun.__module__}.{name}" if name else repr(fun)
