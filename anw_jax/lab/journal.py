"""What a person sees while a run goes on, and the record it leaves."""

import contextlib
import datetime
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, TextIO

from anw_jax.lab.workdir import Workdir, plain, to_json
from anw_jax.progress import Estimator, format_seconds

# A heartbeat once a second costs nothing beside the work it reports.
_SECONDS_BETWEEN_BEATS = 1.0

# A line a few seconds apart is calm on a terminal and short in a log file.
_SECONDS_BETWEEN_LINES = 5.0


class Journal:
    """Prints one line per event, appends it to `log.jsonl`, and beats `progress.json`.

    Args:
      workdir: whose log; experiments of one case share it.
      stream: takes the lines; standard output by default.
      times_file: keeps the seconds of each stage, of one experiment.
      experiment: its settings; seconds of another that had the file are not its own.
    """

    def __init__(
        self,
        workdir: Workdir,
        stream: TextIO | None = None,
        *,
        times_file: str = "stage_seconds.json",
        experiment: Mapping[str, Any] | None = None,
    ):
        self._workdir = workdir
        self._times_file, self._experiment = times_file, plain(experiment)
        self._stream = stream
        self._stage = "start"
        self._stage_seconds: dict[str, float] = {}
        if workdir.exists(times_file):
            kept = workdir.read_json(times_file)
            if kept["made_from"] == self._experiment:
                self._stage_seconds = kept["seconds"]
        self._last_line = self._last_beat = float("-inf")

    @property
    def stage_seconds(self) -> dict[str, float]:
        """Wall seconds of each stage so far, over all processes of the experiment."""
        return dict(self._stage_seconds)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Names what comes next, and times it."""
        self._stage, start = name, time.monotonic()
        try:
            yield
        finally:
            before = self._stage_seconds.get(name, 0.0)
            self._stage_seconds[name] = before + time.monotonic() - start
            kept = {"made_from": self._experiment, "seconds": self._stage_seconds}
            self._workdir.write_json(self._times_file, kept)

    def say(self, text: str, **event: Any) -> None:
        """Prints a line and records it with its numbers."""
        print(f"[{self._stage}]".ljust(9), text, file=self._stream or sys.stdout, flush=True)
        record = {
            "time_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "stage": self._stage,
            "text": text,
            **event,
        }
        line = json.dumps(json.loads(to_json(record)))
        with self._workdir.file("log.jsonl").open("a+b") as file:
            # A kill may have left half a line, which must not swallow this one.
            if file.tell() and not _ends_in_newline(file):
                line = "\n" + line
            file.write(line.encode() + b"\n")

    def beat(
        self, done: int, total: int, estimator: Estimator, text: str, **event: Any
    ) -> None:
        """Reports progress with an ETA: a heartbeat always, a line now and then."""
        seconds_left = estimator.update(done, total)
        now = time.monotonic()
        if now - self._last_beat >= _SECONDS_BETWEEN_BEATS or done == total:
            self._last_beat = now
            beat = {"stage": self._stage, "done": done, "total": total}
            beat |= {"eta_seconds": seconds_left}
            self._workdir.write_json("progress.json", beat, durable=False)
        if now - self._last_line < _SECONDS_BETWEEN_LINES and done < total:
            return
        self._last_line = now
        eta = f"   {format_seconds(seconds_left)} left" if seconds_left else ""
        self.say(text + eta, done=done, total=total, **event)


def _ends_in_newline(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
