"""What a workdir's training took and where it was made: `training.json`, once for all readers.

Several experiments may be read from one training. Only sittings that took steps count, and
what they count is written while they train, so that a kill loses seconds of it at most.
"""

import time
from typing import Any

from anw_jax import _jax_settings, train
from anw_jax.errors import SettingsError
from anw_jax.lab.provenance import provenance
from anw_jax.lab.workdir import Workdir

_FILE = "training.json"
# Each note waits for the disk: a resumed training reads it.
_SECONDS_BETWEEN_NOTES = 10.0


class TrainingRecord:
    """Callbacks of `train.train` that count a sitting; begin it just before training.

    Args:
      workdir: whose training.
    """

    def __init__(self, workdir: Workdir):
        self._workdir = workdir
        self._before = workdir.read_json(_FILE) if workdir.exists(_FILE) else None
        self._start = self._last_note = time.monotonic()
        self._origin: dict[str, Any] | None = None
        self._seconds_before: float | None = 0.0

    def on_start(self, start: train.StartReport) -> None:
        """Takes note of code and machine, if there are steps to take."""
        if start.first_step >= start.num_steps:
            return
        self._origin = provenance()
        if self._before is not None:
            self._seconds_before = self._before["seconds"]
        elif start.first_step:
            self._seconds_before = None  # begun before there was such a record
        self._note(is_completed=False)

    def on_segment(self, _: train.SegmentReport) -> None:
        """Writes what was counted so far, now and then."""
        if time.monotonic() - self._last_note >= _SECONDS_BETWEEN_NOTES:
            self._note(is_completed=False)

    def end(self, *, is_completed: bool) -> None:
        """Writes what this sitting adds; one that only took up the model adds nothing."""
        if self._origin is not None:
            self._note(is_completed=is_completed)
        elif is_completed and self._before is None:
            self._write(None, self._first_origin(), [], is_completed=True)
        elif is_completed and not self._before["completed"]:  # killed after the last step
            self._workdir.write_json(_FILE, self._before | {"completed": True})

    def _note(self, *, is_completed: bool) -> None:
        self._last_note = time.monotonic()
        seconds = None
        if self._seconds_before is not None:
            seconds = self._seconds_before + self._last_note - self._start
        self._write(seconds, self._origin, self._earlier_commits(), is_completed=is_completed)

    def _earlier_commits(self) -> list[str | None]:
        """Commits other than this one that took steps of the same training."""
        if self._before is None:
            return []
        found = [*self._before["earlier_commits"], self._before["provenance"]["commit"]]
        return [c for c in dict.fromkeys(found) if c != self._origin["commit"]]

    def _first_origin(self) -> dict[str, Any] | None:
        """Who began a workdir whose training nobody counted."""
        name = "provenance.json"
        return self._workdir.read_json(name) if self._workdir.exists(name) else None

    def _write(
        self,
        seconds: float | None,
        origin: dict[str, Any] | None,
        earlier_commits: list[str | None],
        *,
        is_completed: bool,
    ) -> None:
        record = {
            "completed": is_completed,
            "seconds": seconds,
            "provenance": origin,
            "earlier_commits": earlier_commits,
        }
        self._workdir.write_json(_FILE, record)


def check_same_jax(workdir: Workdir, settings: dict[str, Any]) -> str | None:
    """Refuses to go on with a training under other settings of jax: its numbers would change.

    Args:
      workdir: whose training.
      settings: `verify.jax_record()["settings"]` of this process.

    Returns:
      A note where the training was begun before these were recorded, else None.

    Raises:
      SettingsError: names the settings that differ, and both values.
    """
    if not workdir.exists(_FILE):
        return None
    before = jax_of(workdir.read_json(_FILE)["provenance"])
    if before is None:
        return "the training here was begun before settings of jax were recorded: not compared"
    names = _jax_settings.differing(before, settings)
    if names:
        raise SettingsError(
            f"{workdir.path} holds a training under other settings of jax "
            f"({', '.join(names)}): set them as they were, or choose another --workdir"
        )
    return None


def jax_of(origin: dict[str, Any] | None) -> dict[str, Any] | None:
    """The settings of jax in a provenance; None where it has none."""
    return ((origin or {}).get("jax") or {}).get("settings")


def training_of(workdir: Workdir) -> dict[str, Any]:
    """Seconds (None: unknown) and provenance of the finished training, for the results.

    `earlier_commits` are those that took its first steps, where it was resumed with others.
    """
    record = workdir.read_json(_FILE)
    return {name: record[name] for name in ("seconds", "provenance", "earlier_commits")}
