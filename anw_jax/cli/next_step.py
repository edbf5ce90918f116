"""Which command comes next in a case."""

import pathlib
import shlex
from collections.abc import Sequence
from typing import Any

from anw_jax.audit import Case
from anw_jax.cli.options import beacon_words, key_words
from anw_jax.cli.output import then

# The steps of a case, by the names of their files.
STEPS = ("probe", "declared", "blind", "closed", "verdict")


def is_fit(probe: dict[str, Any]) -> bool:
    """Return whether a probe found no error in any model."""
    return all(report["is_fit"] for report in probe["suspects"].values())


def after_probe(case: Case, path: pathlib.Path, probe: dict[str, Any]) -> list[str]:
    """Say what comes after a probe: the declaration, or another probe of what was corrected."""
    if is_fit(probe):
        return [then("anw", "declare", path, *beacon_words(case.owners))]
    return [f"correct the files in {path / 'suspects'}", then("anw", "probe", path)]


def next_lines(case: Case, path: pathlib.Path, steps: Sequence[str]) -> list[str]:
    """Say what comes after the steps done; what the user fills in is in capitals.

    Args:
      case: of photos or of models.
      path: of the case, as the user gave it.
      steps: those done, in the order of `STEPS`.
    """
    last = steps[-1] if steps else ""
    if last == "probe":
        return after_probe(case, path, case.read("probe.json"))
    if last in ("blind", "closed"):
        owners = case.read("declared.json")["owners"] if last == "blind" else ()
        return [then("anw", "verdict", path, *key_words(owners), "--blind", "SHA256")]
    command = {"": "probe", "declared": "audit", "verdict": "report"}[last]
    return [then("anw", command, path)]


def bundle_command(case: Case, path: pathlib.Path) -> str:
    """Say how the bundle of a finished case is made; that of a sequential one needs no key."""
    keys = [] if case.plan.mode == "sequential" else key_words(case.owners)
    words = ("anw", "bundle", str(path), *keys, "--out", "bundle.zip")
    return f"{shlex.join(words)} (all that it rests on, in one file)"
