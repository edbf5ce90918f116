"""Draw the first parameters of a network."""

from collections.abc import Callable, Hashable
from typing import Any

import jax


def drawn(draw_fn: Callable[..., Any], key: jax.Array, *described: Hashable) -> Any:
    """Draw parameters in one program, which the compiler does not optimise: it runs once.

    LLVM would spend seconds, or minutes, on the random numbers of each kernel.

    Args:
      draw_fn: from the key and `described` to parameters. A function of a module compiles once
        for equal `described`; a lambda compiles at each call.
      key: typed PRNG key; inside another jit, the program becomes a part of that one.
      *described: what the parameters depend on, such as the network and shapes.
    """
    if isinstance(key, jax.core.Tracer):
        return draw_fn(key, *described)  # only the outermost jit takes options of the compiler
    is_cpu = jax.default_backend() == "cpu"
    options = {"xla_backend_optimization_level": 0} if is_cpu else None
    static = tuple(range(1, 1 + len(described)))
    return jax.jit(draw_fn, static_argnums=static, compiler_options=options)(key, *described)
