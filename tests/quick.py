"""Compile two to four times as fast, for tests whose programs run once on tiny arrays."""

import contextlib
import functools
from collections.abc import Iterator

import jax
from jax._src import compiler

# Compiling takes longer than running: LLVM does not optimise, and XLA's older emitters of
# loops take half the time of the new ones.
_UNOPTIMISED = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
_OLD_EMITTERS = {"xla_cpu_use_fusion_emitters": False}


@functools.cache
def compiler_options() -> dict[str, int | bool]:
    """Return options for one `jax.jit`, without those that this XLA does not know."""
    try:
        jax.jit(lambda number: number + 1, compiler_options=_OLD_EMITTERS)(1)
    except jax.errors.JaxRuntimeError:
        return _UNOPTIMISED
    return _UNOPTIMISED | _OLD_EMITTERS


@contextlib.contextmanager
def quick_compilation() -> Iterator[None]:
    """Give these options to all programs; numbers may differ in the last bits."""
    options, made_before = compiler_options(), compiler.get_compile_options

    @functools.wraps(made_before)
    def get_compile_options(*arguments, env_options_overrides=None, **named):
        own = options | dict(env_options_overrides or {})
        return made_before(*arguments, env_options_overrides=own, **named)

    compiler.get_compile_options = get_compile_options
    try:
        yield
    finally:
        compiler.get_compile_options = made_before
