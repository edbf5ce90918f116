"""Console and file logging, progress reporting, and Ctrl-C handling for a run."""

import contextlib
import dataclasses
import datetime
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, TextIO

from anw_jax import _json, train
from anw_jax.lab.workdir import Workdir, plain
from anw_jax.progress import Estimator, format_seconds

# A small file once a second costs nothing beside the work that it reports.
_SECONDS_BETWEEN_BEATS = 1.0

# Slow enough to read on a terminal, and short in a log file.
_SECONDS_BETWEEN_LINES = 5.0


class Journal:
    """Print one line per event, append it to `log.jsonl`, and keep `progress.json` current.

    Args:
      workdir: of the log; experiments of one case share it.
      stream: where lines are printed; standard output by default.
      times_file: stores the seconds of each stage of one experiment.
      experiment: its settings; seconds stored under other settings are ignored.
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
        """Wall-clock seconds of each stage so far, over all processes of the experiment."""
        return dict(self._stage_seconds)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Name the current stage, and time it."""
        self._stage, start = name, time.monotonic()
        try:
            yield
        finally:
            before = self._stage_seconds.get(name, 0.0)
            self._stage_seconds[name] = before + time.monotonic() - start
            kept = {"made_from": self._experiment, "seconds": self._stage_seconds}
            self._workdir.write_json(self._times_file, kept)

    def say(self, text: str, **event: Any) -> None:
        """Print a line and log it with its numbers."""
        print(f"[{self._stage}]".ljust(9), text, file=self._stream or sys.stdout, flush=True)
        record = {
            "time_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "stage": self._stage,
            "text": text,
            **event,
        }
        line = _json.dumps(plain(record))
        with self._workdir.file("log.jsonl").open("a+b") as file:
            # A kill may have left half a line; this one must not be appended to it.
            if file.tell() and not _ends_in_newline(file):
                line = "\n" + line
            file.write(line.encode() + b"\n")

    def beat(
        self, done: int, total: int, estimator: Estimator, text: str, **event: Any
    ) -> None:
        """Report progress with the time left: update the file, and sometimes print a line."""
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


class TrainingLog:
    """Callbacks of `train.train` that write to a journal.

    Args:
      journal: where the lines go.
      what: begins each line if several networks are trained, "student: " for instance.
    """

    def __init__(self, journal: Journal, what: str = ""):
        self._journal, self._what = journal, what
        self._estimator = Estimator()

    def on_start(self, start: train.StartReport) -> None:
        """Report the first step and the expected duration."""
        begins = "resumed at" if start.first_step else "starts at"
        left = (
            f"about {format_seconds(start.remaining_seconds)} of training on this machine "
            f"({start.num_devices} device(s))"
        )
        if start.first_step >= start.num_steps:
            left = "the training is complete"
        self._estimator.update(start.first_step, start.num_steps)
        self._journal.say(
            f"{self._what}{begins} step {start.first_step} of {start.num_steps}; {left}",
            **dataclasses.asdict(start),
        )

    def on_segment(self, report: train.SegmentReport) -> None:
        """Report step, loss, accuracy if there is one, and speed."""
        accuracy = report.metrics.get("accuracy")
        shown = "" if accuracy is None else f"accuracy {accuracy:6.1%}   "
        text = (
            f"{self._what}step {report.step:>5}/{report.num_steps}   "
            f"loss {report.loss:6.3f}   {shown}"
            f"{report.examples_per_second:5.0f} images/s"
        )
        self._journal.beat(
            report.step,
            report.num_steps,
            self._estimator,
            text,
            step=report.step,
            num_steps=report.num_steps,
            **report.metrics,
            images_per_second=report.examples_per_second,
            seconds=report.seconds,
        )


class StoppedError(Exception):
    """Ctrl-C was pressed; everything up to the last segment is saved."""


@contextlib.contextmanager
def stop_on_interrupt(journal: Journal) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C was pressed or SIGTERM received.

    The first one is noted, so that the run can save and stop; a second one stops at once.
    Outside the main thread (a notebook's worker, for instance) signals are not handled.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return

    def handle(signum: int, frame: object) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        journal.say("stopping at the end of this segment …")

    before = {kind: signal.signal(kind, handle) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield pressed.is_set
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
