"""Estimate how long runs take, from recorded ones."""

import pathlib
import statistics
from collections.abc import Mapping
from typing import Any

from anw_jax import _json
from anw_jax.report.reading import training_seconds
from tools.reproduction.study import Study

# A queue adds to a result: wall-clock seconds of its process, and whether it trained.
SITTING = "sitting"

# Folder below the results for runs that were repeated with other settings.
SUPERSEDED = "superseded"


class Durations:
    """Recorded seconds of trainings by case, and of audits by study and arm.

    Example:
      >>> durations = Durations()
      >>> durations.add({"name": "a", "arm": "main", "settings": {"case": "a"},
      ...                "stage_seconds": {"train": 500.0},
      ...                "sitting": {"seconds": 520.0, "trained": True}})
      >>> durations.training("a"), durations.audit("a", "main")
      (500.0, 20.0)
    """

    def __init__(self):
        self._training: dict[str, list[float]] = {}
        self._audit: dict[tuple[str, str], list[float]] = {}

    @classmethod
    def of(cls, results: pathlib.Path) -> "Durations":
        """Read the result files of a folder, except damaged and superseded ones."""
        found = cls()
        for file in sorted(results.glob("*/**/seed*.json")):
            if SUPERSEDED in file.relative_to(results).parts:
                continue
            try:
                found.add(_json.loads(file.read_text(encoding="utf-8")))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
        return found

    def add(self, values: Mapping[str, Any]) -> None:
        """Add the durations of one result."""
        train = training_seconds(values)
        sitting = values.get(SITTING) or {"seconds": sum(values["stage_seconds"].values())}
        trained = bool(sitting.get("trained", True))
        if trained and train is None:
            return  # the share of training is not known
        if trained:
            case = values["settings"].get("case") or values["name"]
            self._training.setdefault(case, []).append(train)
        audit = max(0.0, float(sitting["seconds"]) - (train if trained else 0.0))
        self._audit.setdefault((values["name"], values.get("arm", "main")), []).append(audit)

    def training(self, case: str) -> float | None:
        """Return the median seconds of a training of this case; None if none is recorded."""
        return _median(self._training.get(case))

    def audit(self, name: str, arm: str) -> float | None:
        """Return the median seconds of the rest of a run; None if none is recorded."""
        return _median(self._audit.get((name, arm)))

    def expected(self, study: Study, arm: str, case: str, *, trains: bool) -> float | None:
        """Return the seconds that a run will take; None if nothing is known.

        Without a record it is the config's estimate, which may be too high for an arm that
        shares a training.
        """
        declared = None if study.minutes is None else 60.0 * study.minutes
        training, audit = self.training(case) if trains else 0.0, self.audit(study.name, arm)
        if training is None or audit is None:
            return declared
        return training + audit


def _median(seconds: list[float] | None) -> float | None:
    return statistics.median(seconds) if seconds else None
