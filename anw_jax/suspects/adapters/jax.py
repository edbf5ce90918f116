"""Adapters for any function of a NumPy batch, and for any model of JAX."""

import dataclasses
import functools
import hashlib
import types
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from anw_jax import _check, verify
from anw_jax.suspects.adapters.base import (
    ADDRESS,
    PreparedSuspect,
    check_no_address,
    needs_name,
    next_power_of_two,
    with_identity,
)
from anw_jax.suspects.declaration import Declaration
from anw_jax.verify.losses import LossFn, as_partial
from anw_jax.verify.tracing import check_binds_arrays

# As in `verify`: answers do not depend on TF32 or bfloat16 passes.
_PRECISION = "highest"


class CallableSuspect(PreparedSuspect):
    """A function from prepared pictures to answers.

    Args:
      fun: takes float32 batches as in `declaration`; returns logits or probabilities
        `[b, C]`, integer labels `[b]`, or for "top_k" a pair (labels, scores) `[b, k]`.
      declaration: which pictures it takes and how it answers.
      identity: names the model, so that its answers are never taken for another's: code cannot
        be hashed. Not needed if the declaration has one.
      together: largest number of pictures in one call; None for no limit.

    Raises:
      TypeError, ValueError: `fun` cannot be called, or there is no identity.

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
        together: int | None = None,
    ):
        if not callable(fun):
            raise TypeError(f"fun must be callable, got {type(fun).__name__}")
        declaration = with_identity(declaration, identity)
        if not declaration.identity:
            raise ValueError("identity must name the model: code cannot be hashed")
        super().__init__(declaration, together=together)
        self._fun = fun

    def _run(self, batch: np.ndarray) -> Any:
        return self._fun(batch)


class JaxSuspect(PreparedSuspect):
    """A model of JAX that carries its weights: `jax.tree_util.Partial(apply, variables)`.

    `models.Model.predict_fn(variables)` gives one for this project's own networks. It is
    compiled once for each size of batch, filled up to the next power of two, with full float32
    products. Without a cache, `verify.loss_table` computes the same table in one program.

    Args:
      predict: maps a batch, as in `declaration`, to logits or probabilities. What is
        bound to the function is traced: arrays only. Flags and modules go into the function,
        as in `Partial(functools.partial(apply, train=False), variables)`.
      declaration: its identity becomes the SHA-256 of the function's name, of what is bound to
        it, and of structure and weights. The caller must name the model if these do not tell
        models apart: for a lambda or a function defined inside another one, also as a field
        of a module.

    Raises:
      TypeError: `predict` is not a `Partial`, or holds something else than arrays.
      ValueError: no identity although one is needed.

    Example:
      >>> predict = jax.tree_util.Partial(lambda w, x: x.mean((1, 2)) @ w, np.eye(3)[:, :2])
      >>> suspect = JaxSuspect(predict, Declaration(2, identity="two colours"))
      >>> suspect.answers(np.zeros((3, 4, 4, 3), np.float32)).scores.shape
      (3, 2)
    """

    def __init__(self, predict: jax.tree_util.Partial, declaration: Declaration):
        _check.is_instance(jax.tree_util.Partial, predict=predict)
        check_binds_arrays(predict)
        super().__init__(with_identity(declaration, lambda: digest_of(predict)))
        self._predict = predict

    @property
    def predict(self) -> jax.tree_util.Partial:
        """The model itself, for `verify.gradient_search`."""
        return self._predict

    def _filled(self, number: int) -> int:
        return next_power_of_two(number)

    def _run(self, batch: np.ndarray) -> Any:
        verify.check_jax()
        with jax.default_matmul_precision(_PRECISION):
            answers = _answer(self._predict, batch)
        return jax.tree.map(np.asarray, answers)


class LossSuspect(PreparedSuspect):
    """A model of JAX that answers with a loss of `verify.losses` that needs no targets.

    Such as `denoising_error` of a diffusion model or `reconstruction_error` of an auto-encoder.
    Without a cache, `verify.loss_table` computes the same table in one program.

    Args:
      loss: maps the model, a batch as in `declaration` and None to losses `[b]`, at least 0. A
        function, or a `Partial` with its own arrays.
      predict: the model, as for `JaxSuspect`, with any arguments and output.
      declaration: with `answer="error"`; its identity becomes the SHA-256 of both, see
        `JaxSuspect`. The losses of `verify` want channels last in [0, 1].

    Raises:
      TypeError: `predict` is not a `Partial`, or one of both holds something else than arrays.
      ValueError: another answer, or no identity although one is needed.

    Example:
      >>> halve = jax.tree_util.Partial(lambda factor, x: x * factor, 0.5)
      >>> suspect = LossSuspect(verify.reconstruction_error, halve,
      ...                       Declaration(answer="error", identity="halves"))
      >>> suspect.answers(np.ones((2, 4, 4, 3), np.float32)).scores.tolist()
      [[0.25], [0.25]]
    """

    def __init__(self, loss: LossFn, predict: jax.tree_util.Partial, declaration: Declaration):
        _check.is_instance(jax.tree_util.Partial, predict=predict)
        if not callable(loss):
            raise TypeError(f"loss must be callable, got {type(loss).__name__}")
        self._loss, self._predict = as_partial(loss), predict
        for part in (self._loss, predict):
            check_binds_arrays(part)
        _check.is_instance(Declaration, declaration=declaration)
        if declaration.answer != "error":
            raise ValueError(f"answer must be 'error' for a loss, got {declaration.answer!r}")
        super().__init__(
            with_identity(declaration, lambda: f"{digest_of(self._loss)} {digest_of(predict)}")
        )

    def _filled(self, number: int) -> int:
        return next_power_of_two(number)

    def _run(self, batch: np.ndarray) -> Any:
        verify.check_jax()
        with jax.default_matmul_precision(_PRECISION):
            return np.asarray(_error(self._loss, self._predict, batch))


@jax.jit
def _error(loss: LossFn, predict: jax.tree_util.Partial, batch: jax.Array) -> jax.Array:
    return loss(predict, batch, None)


@jax.jit
def _answer(predict: jax.tree_util.Partial, batch: jax.Array) -> Any:
    return predict(batch)


_TAG = b"anw_jax/v1/weights\0"
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def digest_of(predict: jax.tree_util.Partial) -> str:
    """Return the SHA-256 of function, structure and weights; the same in every process.

    A function is identified by its name, unless it is a lambda or defined inside another one.
    What is bound to it, and fields of dataclasses, enter with their values.

    Raises:
      ValueError: only its memory address identifies a part of it.

    Example:
      >>> digest_of(jax.tree_util.Partial(max, np.ones(2)))[:16]
      '3dc741a98717b885'
    """
    parts = (predict.args, predict.keywords)
    parts = jax.tree.map(_with_its_digest, parts, is_leaf=_has_address)
    structure = check_no_address(str(jax.tree_util.tree_structure(parts)))
    message = hashlib.sha256(_TAG + f"{_text_of(predict.func)} {structure}".encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(parts):
        message.update(f"{jax.tree_util.keystr(path)}{_text_of(leaf)}".encode())
    return message.hexdigest()


def _has_address(part: Any) -> bool:
    """Return whether part is a `Partial` whose function only its address tells from others."""
    return isinstance(part, jax.tree_util.Partial) and ADDRESS in repr(part.func)


def _with_its_digest(leaf: Any) -> Any:
    return f"partial {digest_of(leaf)}" if _has_address(leaf) else leaf


def _text_of(value: Any) -> str:
    """Return a text that identifies a value; arrays by their digest."""
    if isinstance(value, _PLAIN) or isinstance(value, np.dtype):
        return repr(value)
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return _text_of_array(value)
    if isinstance(value, tuple | list):
        return f"{type(value).__name__}[{', '.join(map(_text_of, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_text_of(k)}: {_text_of(v)}' for k, v in value.items())}}}"
    if callable(value) and (text := _text_of_callable(value)):
        return text
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
        return f"{_name_of(type(value))}{_text_of(fields)}"
    raise needs_name(value)


def _text_of_array(array: Any) -> str:
    if jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
        return f"key {jax.random.key_impl(array)} {_text_of_array(jax.random.key_data(array))}"
    values = np.asarray(array)
    digest = hashlib.sha256(values.tobytes()).hexdigest()
    return f"{values.dtype}{values.shape} {digest}"


def _text_of_callable(fun: Any) -> str:
    """Return the text of functions, classes, partials and methods; "" of other callables."""
    if isinstance(fun, functools.partial):
        return f"partial({_text_of([fun.func, fun.args, fun.keywords])})"
    if isinstance(fun, types.MethodType):
        return f"{fun.__name__} of {_text_of(fun.__self__)}"
    if isinstance(fun, type | types.BuiltinFunctionType | np.ufunc):
        return _name_of(fun)
    if isinstance(fun, types.FunctionType):
        if fun.__closure__ or "<" in fun.__qualname__:
            raise needs_name(fun)
        return _name_of(fun)
    # JAX wraps compiled functions and partials.
    inner = getattr(fun, "__wrapped__", None)
    if inner is None and type(fun).__module__.startswith("jax."):
        inner = getattr(fun, "fun", None)
    return "" if inner is None else f"wrapped {_text_of(inner)}"


def _name_of(fun: Any) -> str:
    return f"{getattr(fun, '__module__', '')}.{getattr(fun, '__qualname__', repr(fun))}"
