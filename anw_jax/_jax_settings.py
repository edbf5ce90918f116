"""What decides jax's numbers, in plain values: its settings, its flags, its devices."""

import enum
import os
import pathlib
import shlex
from typing import Any

import jax

from anw_jax import _jax_flags
from anw_jax.errors import JaxError

# Settings of jax that change results; each is set by the variable of the same name in capitals.
_SETTINGS = (
    "jax_enable_x64",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_random_seed_offset",
    "jax_high_dynamic_range_gumbel",
    "jax_default_matmul_precision",
    "jax_default_dtype_bits",
    "jax_numpy_dtype_promotion",
    "jax_allow_f16_reductions",
    "jax_softmax_custom_jvp",
    "jax_disable_jit",
    "jax_disable_most_optimizations",
    "jax_optimization_level",
    "jax_exec_time_optimization_effort",
)
# Variables that compilers and drivers read behind jax's back.
_VARIABLES = ("LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE", "XLA_PYTHON_CLIENT_USE_TF32")
# Flags that only write files, or make devices, which are counted.
_HARMLESS = ("--xla_dump_", "--xla_force_host_platform_device_count", "--xla_hlo_profile")


def number_settings() -> dict[str, Any]:
    """Return the jax configuration that affects numerical results, by setting or variable.

    Starts jax's backend. Excludes settings and variables that are not set, and XLA flags that
    only write files.

    Returns:
      Plain values: settings by their variable, "XLA_FLAGS" in alphabetical order, "platform",
      "device_kind" and "num_devices" of the default backend.

    Raises:
      JaxError: jax cannot start.
    """
    found = devices()
    settings = {
        name.upper(): getattr(jax.config, name)
        for name in _SETTINGS
        if hasattr(jax.config, name)
    }
    plain = {name: _plain(value) for name, value in settings.items()}
    # "strict" raises errors where "standard" promotes, and otherwise computes the same.
    if plain.get("JAX_NUMPY_DTYPE_PROMOTION") == "strict":
        plain["JAX_NUMPY_DTYPE_PROMOTION"] = "standard"
    variables = {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}
    return {
        **plain,
        **variables,
        "XLA_FLAGS": " ".join(_flags_of_xla()),
        "platform": found[0].platform,
        "device_kind": found[0].device_kind,
        "num_devices": len(found),
    }


def devices() -> list[jax.Device]:
    """Jax's devices; what starts its backend.

    Raises:
      JaxError: it cannot start; names the platform and the variable that asks for it.
    """
    try:
        found = jax.devices()
        found[0].device_kind  # noqa: B018 - some backends fail only here
        return found
    except Exception as error:  # RuntimeError, AssertionError, by version and platform
        platforms = jax.config.jax_platforms or jax.config.jax_platform_name
        asked = f" on platform {platforms!r} (JAX_PLATFORMS)" if platforms else ""
        cause = (str(error).strip().splitlines() or ["no such devices here"])[0]
        raise JaxError(
            f"jax cannot start{asked}: {cause:.160}; unset JAX_PLATFORMS, or install the jax "
            "that knows that platform"
        ) from None


def differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two `number_settings`, in words; a name that one lacks is None.

    Example:
      >>> differing({"JAX_ENABLE_X64": False}, {"JAX_ENABLE_X64": True})
      ['JAX_ENABLE_X64 was False, now True']
    """
    return [
        f"{name} was {before.get(name)!r}, now {now.get(name)!r}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]


def _flags_of_xla() -> list[str]:
    """The flags that XLA got, from the variable or the file it names, without harmless ones."""
    text = os.environ.get("XLA_FLAGS", "")
    if _jax_flags.names_a_file(text):
        try:
            text = pathlib.Path(text.strip()).read_text()
        except (OSError, ValueError):
            pass  # XLA has ended the process, or never looked
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    return sorted({word for word in words if not word.startswith(_HARMLESS)})


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        value = value.value
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)
