"""Effects of the flag of `anw_jax._jax_flags`, and of another jax, on each stage's numbers.

    python -m benchmarks.jax_numbers [--python PATH_OF_ANOTHER_PYTHON]

Runs marks, loss tables, training steps and gradients once with the flag and once without it,
each in its own process, with this Python and with others (of another jax), and compares all of
them with this Python with the flag. Committed results up to November 2026 were made
with jax 0.10.2 *without* the flag. Also counts the compiled programs with a
`__ynn_fusion`, which the flag turns off.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

from benchmarks import _measure

_VERSIONS = (
    "import sys, jax, jaxlib; "
    "print(sys.version.split()[0], jax.__version__, jaxlib.__version__)"
)


def side(python: str, flag: str, folder: pathlib.Path) -> dict[str, Any]:
    """Return versions, numbers and programs of one Python, with the flag or without it."""
    out, dump = folder / "numbers.npz", folder / "programs"
    environment = {name: v for name, v in os.environ.items() if name != "XLA_FLAGS"} | {
        "XLA_FLAGS": f"--xla_dump_to={dump} --xla_dump_hlo_as_text",
        "JAX_PLATFORMS": "cpu",
    }
    command = [python, "-m", "benchmarks._jax_stages", str(out), flag]
    subprocess.run(command, cwd=_measure.REPOSITORY, env=environment, check=True)
    said = subprocess.run([python, "-c", _VERSIONS], capture_output=True, text=True, check=True)
    programs = list(dump.glob("*after_optimizations.txt"))
    fused = [p.name for p in programs if "__ynn_fusion" in p.read_text(errors="replace")]
    names = sorted({name.split(".")[1] for name in fused if name.count(".") > 1})
    with np.load(out) as arrays:
        return {
            "versions": dict(
                zip(("python", "jax", "jaxlib"), said.stdout.split(), strict=True)
            ),
            "flag": flag == "with",
            "num_programs": len(programs),
            "num_programs_with_ynn_fusion": len(fused),
            "programs_with_ynn_fusion": names,
            "numbers": dict(arrays),
        }


def compare(reference: dict[str, np.ndarray], numbers: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return each stage's largest relative difference; compare marks bit for bit."""
    found: dict[str, Any] = {}
    for name, right in reference.items():
        if name.startswith("self_check/") or name.endswith("/numpy"):
            continue
        got = numbers[name]
        if name.startswith("marks/"):
            found[name] = bool((got == right).all() and (got == numbers[f"{name}/numpy"]).all())
        else:
            difference = np.abs(got.astype(np.float64) - right).max() / np.abs(right).max()
            found[name] = float(f"{difference:.2e}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", action="append", default=[], help="of another jax")
    pythons = [sys.executable, *parser.parse_args().python]
    sides = []
    for python in pythons:
        for flag in ("with", "without"):
            with tempfile.TemporaryDirectory() as folder:
                sides.append(side(python, flag, pathlib.Path(folder)))
            print({k: v for k, v in sides[-1].items() if k != "numbers"}, flush=True)
    reference = sides[0]["numbers"]
    for one in sides:
        numbers = one.pop("numbers")
        one["self_check"] = {
            name.removeprefix("self_check/"): float(v) if np.isfinite(v) else None
            for name, v in numbers.items()
            if name.startswith("self_check/")
        }
        # Marks: whether they equal those of NumPy; others: the difference from the first side.
        one["differences"] = compare(reference, numbers)
        worst: dict[str, float] = {}
        for name, value in one["differences"].items():
            if not isinstance(value, bool):
                stage = name.partition("/")[0]
                worst[stage] = max(worst.get(stage, 0.0), value)
        one["largest_difference"] = worst
        print(one["versions"], one["flag"], worst, flush=True)
    _measure.write("jax_numbers", {"sides": sides})


if __name__ == "__main__":
    main()
