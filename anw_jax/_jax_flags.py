"""The flag without which several versions of jax compute wrong numbers on CPU.

XLA hands some products and sums on CPU to a library (YNNPACK), and the programs it makes of
them are wrong for some shapes, or crash. Measured here, without the flag and with it:

| jaxlib | `vmap(lambda r: (M @ r).sum())`, 3x3, 32,800 rows (JAX issue 39103) | `((E @ ones) * E).sum(-1)`, 5x60x60 | rank 7 or 8 (39257) |
|---|---|---|---|
| 0.10.0, 0.10.1 | wrong | right | right |
| 0.10.2 | wrong | wrong | crash |
| 0.11.0 | right | wrong | crash |
| 0.11.1, 0.11.2, 0.12.0, 0.12.0.1 | right | wrong | right |

With the flag all of them are right. `benchmarks/jax_numbers.py` makes the table anew.
"""  # noqa: E501

import os
import sys

FLAG = "--xla_cpu_experimental_ynn_fusion_type"

# Versions with one of the faults that know the flag: XLA ends the process at an unknown one.
AFFECTED = frozenset(
    {"0.10.0", "0.10.1", "0.10.2", "0.11.0", "0.11.1", "0.11.2", "0.12.0", "0.12.0.1"}
)


def append_flag() -> None:
    """Appends the flag to `XLA_FLAGS` where jax needs it; jax itself is not imported.

    Nothing is done where a backend has started (XLA reads its flags once), where the user set
    the flag, or where `XLA_FLAGS` names a file of flags: `verify.check_jax` then judges.
    """
    if _jaxlib_version() in AFFECTED and not backend_has_started():
        flags = with_flag(os.environ.get("XLA_FLAGS", ""))
        if flags != os.environ.get("XLA_FLAGS", ""):
            os.environ["XLA_FLAGS"] = flags


def with_flag(flags: str) -> str:
    """`XLA_FLAGS` with the flag, its value empty, unless the user has settled it.

    Example:
      >>> with_flag("--xla_dump_to=here")
      '--xla_dump_to=here --xla_cpu_experimental_ynn_fusion_type='
      >>> with_flag("--xla_cpu_experimental_ynn_fusion_type=-reduce")
      '--xla_cpu_experimental_ynn_fusion_type=-reduce'
    """
    if names_a_file(flags) or any(
        word.partition("=")[0] == FLAG for word in flags.replace("'", "").split()
    ):
        return flags
    return f"{flags.strip()} {FLAG}=".strip()


def names_a_file(flags: str) -> bool:
    """Whether XLA would take this value for the name of a file that holds flags."""
    return bool(flags.strip()) and not flags.strip().startswith("--")


def backend_has_started() -> bool:
    """Whether jax has read its flags in this process."""
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bridge is not None and bridge.backends_are_initialized()


def _jaxlib_version() -> str | None:
    """Return the version of jaxlib, which contains XLA; None if it is not installed."""
    try:
        from jaxlib.version import __version__
    except ImportError:
        return None
    return __version__
