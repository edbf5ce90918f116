"""Any function of a NumPy batch, and any model of JAX."""

import functools
import hashlib
import types
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from anw_jax import _check
from anw_jax.errors import SuspectError
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.identity import with_identity
from anw_jax.suspects.protocol import PreparedSuspect, cannot_answer

_TAG = b"anw_jax/v1/weights\0"

# As in `verify`: answers do not hang on TF32 or passes of bfloat16.
_PRECISION = "highest"

# In the repr of what has none of its own; another number in every process.
_ADDRESS = " at 0x"


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
        except SuspectError:
            raise
        except Exception as error:  # whatever library is behind it has errors of its own
            raise cannot_answer("the model", batch.shape, error) from error


class JaxSuspect(PreparedSuspect):
    """A model of JAX that carries its weights: `jax.tree_util.Partial(apply, variables)`.

    `models.Model.predict_fn(variables)` gives one for this project's own networks; reading
    the variables from a checkpoint is for rooms above this one. Compiled once
    for each size of batch, which is filled up to the next power of two, with float32 products
    of all bits. Where no cache is wanted, `verify.loss_table` asks the same questions in one
    program.

    Args:
      predict: maps a batch, as `declaration` wants it, to logits or probabilities. What it is
        given beside the function is traced: arrays only. Flags and modules go into the
        function, as in `Partial(functools.partial(apply, train=False), variables)`.
      declaration: its identity becomes the SHA-256 of the function's name and of structure and
        weights. It must name the model itself where that does not tell models apart: a function
        made inside another one (a closure), or with parts whose `repr` is an address.

    Raises:
      TypeError: `predict` that is no `Partial`, or holds a flag or another object than arrays.
      ValueError: no identity where one is needed.

    Example:
      >>> predict = jax.tree_util.Partial(lambda w, x: x.mean((1, 2)) @ w, np.eye(3)[:, :2])
      >>> suspect = JaxSuspect(predict, Declaration(2))
      >>> suspect.answers(np.zeros((3, 4, 4, 3), np.float32)).scores.shape
      (3, 2)
    """

    def __init__(self, predict: jax.tree_util.Partial, declaration: Declaration):
        _check.is_instance(jax.tree_util.Partial, predict=predict)
        _check_leaves(predict)
        super().__init__(with_identity(declaration, lambda: _digest(predict)))
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
            return jax.tree.map(lambda part: np.asarray(part)[:size], answers)
        except Exception as error:  # libraries of layers have errors of their own
            shape = (size, *batch.shape[1:])
            raise cannot_answer("the model", shape, error) from error


@jax.jit
def _answer(predict: jax.tree_util.Partial, batch: jax.Array) -> Any:
    return predict(batch)


def _check_leaves(predict: jax.tree_util.Partial) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path((predict.args, predict.keywords)):
        dtype = getattr(leaf, "dtype", None) or np.asarray(leaf).dtype
        if isinstance(leaf, bool) or dtype.kind in "OUSMm":
            raise TypeError(
                f"predict must hold arrays only, has {type(leaf).__name__} at "
                f"{jax.tree_util.keystr(path)}: bind flags and functions into its function "
                "(functools.partial)"
            )


def _digest(predict: jax.tree_util.Partial) -> str:
    """SHA-256 of the tree and its leaves, and of what the function calls itself."""
    parts = (predict.args, predict.keywords)
    text = f"{_name_of(predict.func)} {jax.tree_util.tree_structure(parts)}"
    if _ADDRESS in text:
        raise ValueError(
            "declaration must have an identity that names the model: its function or its tree "
            "has a part that only an address tells from others"
        )
    message = hashlib.sha256(_TAG + text.encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(parts):
        array = np.asarray(leaf)
        message.update(f"{jax.tree_util.keystr(path)}{array.shape}{array.dtype}".encode())
        message.update(array.tobytes())
    return message.hexdigest()


def _name_of(fun: Any) -> str:
    """What tells a function from others; with an address in it where nothing else does."""
    # JAX puts a shim around a partial to compare it by identity.
    fun = getattr(fun, "fun", fun) if type(fun).__module__.startswith("jax.") else fun
    if isinstance(fun, functools.partial):
        return f"partial({_name_of(fun.func)}, {fun.args!r}, {fun.keywords!r})"
    owner = getattr(fun, "__self__", None)
    if owner is not None and not isinstance(owner, types.ModuleType):
        return f"{fun.__qualname__} of {owner!r}"
    name = getattr(fun, "__qualname__", None)
    # What a function of a function has caught decides its answers and stands in no name.
    is_plain = name is not None and not getattr(fun, "__closure__", None)
    return f"{fun.__module__}.{name}" if is_plain else repr(fun)
