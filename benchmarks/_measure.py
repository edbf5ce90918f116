"""Time two sides in turns, and write the results to a file."""

import json
import os
import pathlib
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable

from anw_jax.lab import provenance

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "results" / "benchmarks"
_PACKAGES = (
    "jax",
    "jaxlib",
    "numpy",
    "scipy",
    "flax",
    "optax",
    "torch",
    "onnx",
    "onnxruntime",
    "keras",
    "urllib3",
)


def alternate(
    sides: dict[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the seconds of each side, timed in turns so that a busy machine slows both alike.

    Every side runs once beforehand, for compilation and caches. `time.process_time` as the
    clock counts the seconds of all cores that this process used.
    """
    for fun in sides.values():
        fun()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        # Every other round is reversed, so that no side always follows the same other side.
        for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
            start = clock()
            sides[name]()
            seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: dict[str, list[float]], ours: str, other: str) -> dict[str, float]:
    """Return how many times as fast `ours` is as `other`: median and spread over rounds."""
    ratios = [b / a for a, b in zip(seconds[ours], seconds[other], strict=True)]
    return {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}


def say(label: str, value: dict[str, float]) -> None:
    """Print a ratio with its spread."""
    print(f"{label}: {value['median']:.2f} ({value['low']:.2f} to {value['high']:.2f})")


def write(name: str, results: dict, folder: pathlib.Path = RESULTS) -> None:
    """Write results to `folder`, with what is needed to repeat them."""
    folder.mkdir(parents=True, exist_ok=True)
    body = {
        "benchmark": name,
        "command": " ".join(
            ["python", "-m", f"benchmarks.{name}", *map(shlex.quote, sys.argv[1:])]
        ),
        "commit": provenance.git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(
            provenance.git("status", "--porcelain", "--", ":/anw_jax", ":/benchmarks")
        ),
        "hardware": {
            "processor": provenance.processor(),
            "cores": os.cpu_count(),
            "load_average_1_min": os.getloadavg()[0],
        },
        "versions": {"python": platform.python_version(), **_versions()},
        "results": results,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(body, indent=1) + "\n")
    print(f"wrote {path.relative_to(REPOSITORY)}")


def _versions() -> dict[str, str]:
    found = {package: provenance.version(package) for package in _PACKAGES}
    return {package: version for package, version in found.items() if version is not None}
