"""Which model a function of JAX with its weights is: a digest of what decides answers."""

import dataclasses
import functools
import hashlib
import types
from typing import Any

import jax
import numpy as np

from anw_jax.suspects.identity import check_no_address, needs_name

_TAG = b"anw_jax/v1/weights\0"
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def digest_of(predict: jax.tree_util.Partial) -> str:
    """SHA-256 of function, structure and weights; the same in every process.

    A function is known by its name where that says which it is: not one made inside another,
    nor a lambda. What is bound to it, and fields of dataclasses, count with their values.

    Raises:
      ValueError: something in it is told from others by nothing but its address.

    Example:
      >>> digest_of(jax.tree_util.Partial(max, np.ones(2)))[:16]
      '3dc741a98717b885'
    """
    parts = (predict.args, predict.keywords)
    structure = check_no_address(str(jax.tree_util.tree_structure(parts)))
    message = hashlib.sha256(_TAG + f"{_text_of(predict.func)} {structure}".encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(parts):
        message.update(f"{jax.tree_util.keystr(path)}{_text_of(leaf)}".encode())
    return message.hexdigest()


def _text_of(value: Any) -> str:
    """What tells a value from others, arrays by their digest."""
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
    """Of functions, classes, partials, methods and jitted ones; "" of other callables."""
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
    # JAX wraps what it compiles, and puts a shim around partials.
    inner = getattr(fun, "__wrapped__", None)
    if inner is None and type(fun).__module__.startswith("jax."):
        inner = getattr(fun, "fun", None)
    return "" if inner is None else f"wrapped {_text_of(inner)}"


def _name_of(fun: Any) -> str:
    return f"{getattr(fun, '__module__', '')}.{getattr(fun, '__qualname__', repr(fun))}"
