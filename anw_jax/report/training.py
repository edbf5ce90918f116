"""Which training a result was read from: how long it took, by which code, on what.

Several results may be read from one training. Results from before that was kept apart have
only what their own run took.
"""

from collections.abc import Mapping
from typing import Any


def training_seconds(results: Mapping[str, Any]) -> float | None:
    """Wall seconds of the training, over all sittings; None where nobody counted.

    Example:
      >>> training_seconds({"training": {"seconds": 600.0}, "stage_seconds": {"train": 7.0}})
      600.0
    """
    if "training" in results:
        return results["training"]["seconds"]
    return (results.get("stage_seconds") or {}).get("train")


def training_origin(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """Commit, machine and command of the training; empty where they are unknown."""
    held = results["training"] if "training" in results else results
    return held.get("provenance") or {}


def training_commits(results: Mapping[str, Any]) -> list[str]:
    """The commits that took its steps, the first of them first; "unknown" where it is."""
    earlier = (results.get("training") or {}).get("earlier_commits") or []
    return [
        commit or "unknown" for commit in (*earlier, training_origin(results).get("commit"))
    ]
