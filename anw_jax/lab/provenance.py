"""Describe the origin of numbers: code, versions, machine, command."""

import datetime
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from typing import Any

import jax

from anw_jax import verify

_PACKAGES = (
    "jax",
    "jaxlib",
    "numpy",
    "scipy",
    "flax",
    "optax",
    "orbax-checkpoint",
    "ml-collections",
    "pillow",
    "scikit-image",
    "tensorflow-datasets",
)


def provenance() -> dict[str, Any]:
    """Return commit, uncommitted changes, versions, machine, command, time (UTC), and jax.

    "jax" is `verify.jax_record()`: the settings that decide numbers, and the self-check.

    Raises:
      JaxError: jax cannot start, or computes wrong numbers.
    """
    jax_record = verify.check_jax()
    return {
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_sha256": _dirty_digest(),
        "command": command_line(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "hardware": hardware(),
        "devices": [str(device) for device in jax.devices()],
        "jax": jax_record,
        "time_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def command_line() -> str:
    """Return the typed command, with the interpreter's name instead of its path.

    `python -m a.b c` stays as it is: `sys.argv` would name the file of `a.b`, and so a folder
    of this machine.
    """
    interpreter, *rest = sys.orig_argv or [sys.executable]
    return shlex.join([os.path.basename(interpreter), *rest])


def hardware() -> str:
    """Describe the devices in words.

    Example:
      >>> hardware().endswith("CPU cores") or "x" in hardware()
      True
    """
    devices = jax.devices()
    if devices[0].platform == "cpu":
        return f"{processor()}, {os.cpu_count()} CPU cores"
    return f"{len(devices)} x {devices[0].device_kind}"


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def version(name: str) -> str | None:
    """Return the version of an installed package; None if it is missing."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def git(*arguments: str) -> str | None:
    """Return git's output for the checkout of this package; None outside of one."""
    folder = pathlib.Path(__file__).resolve().parent
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _dirty_digest() -> str | None:
    """Digest the uncommitted changes to tracked files; None if there are none."""
    changes = git("diff", "HEAD")
    return hashlib.sha256(changes.encode()).hexdigest() if changes else None
