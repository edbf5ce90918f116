"""Run what is missing, in the order of the plan, until all is done, stopped or out of time.

The queue may be killed at any time: a training resumes from its checkpoint, a result file is
written whole at the end, and the same command runs what is still missing.
"""

import contextlib
import dataclasses
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from anw_jax import lab
from anw_jax.errors import SettingsError
from anw_jax.lab import Settings, Workdir
from anw_jax.progress import format_seconds
from tools.reproduction.durations import SITTING, Durations
from tools.reproduction.plan import Item
from tools.reproduction.runs import ResultError, result_text

# Settings and a workdir to results, or None where the run was interrupted.
Runner = Callable[[Settings, pathlib.Path], Mapping[str, Any] | None]


@dataclasses.dataclass
class Outcome:
    """The outcome of a queue.

    Attributes:
      done: labels of completed runs.
      failed: labels of runs that raised an error.
      elsewhere: labels of runs that another process works on.
      left: number of runs that were not begun.
      interrupted: whether the queue was interrupted.
      untrainable: trainings that failed: runs that share them are not tried.
    """

    done: list[str] = dataclasses.field(default_factory=list)
    failed: list[str] = dataclasses.field(default_factory=list)
    elsewhere: list[str] = dataclasses.field(default_factory=list)
    left: int = 0
    interrupted: bool = False
    untrainable: set[tuple[str, int]] = dataclasses.field(default_factory=set)

    @property
    def exit_code(self) -> int:
        """0; 1 if a run failed; 130 if it was interrupted."""
        return 130 if self.interrupted else int(bool(self.failed))


class Queue:
    """Run items whose result file is missing.

    Args:
      items: in the order of the plan, see `plan.items_of`.
      results: the folder of result files.
      workdir: runs work in `<workdir>/<case>/seed<k>`.
      runner: does one run; `anw_jax.lab.run`, or a stand-in.
      max_minutes: no run is begun that would, as far as is known, end after this.
      stream: takes one line per event; standard output by default.
      clock: gives seconds.
    """

    def __init__(
        self,
        items: Sequence[Item],
        results: pathlib.Path,
        workdir: pathlib.Path,
        *,
        runner: Runner = lab.run,
        max_minutes: float | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._results, self._workdir, self._runner = results, workdir, runner
        self._stream, self._clock = stream or sys.stdout, clock
        self._start = clock()
        self._deadline = None if max_minutes is None else self._start + 60.0 * max_minutes
        self._durations = Durations.of(results)
        self._done_before = [item for item in items if self._is_done(item)]
        self._todo = _trained_first([i for i in items if not self._is_done(i)], self._has_work)
        self._num_items = len(items)

    def run(self) -> Outcome:
        """Run until nothing is left, time is up, or it is interrupted."""
        outcome, todo = Outcome(), list(self._todo)
        self._say(f"{self._num_items} runs, {self._num_items - len(todo)} of them done before")
        self._refuse_stale(outcome)
        while todo:
            item = todo.pop(0)
            if not self._fits(item):
                outcome.left = len(todo) + 1
                self._say(self._out_of_time(item, outcome.left))
                break
            if item.training in outcome.untrainable:
                outcome.failed.append(item.label)
                self._say(f"{item.label}: FAILED: so did its training")
                continue
            self._say(f"{item.label}: begins; {self._forecast([item, *todo])}")
            if not self._run_one(item, outcome):
                outcome.interrupted, outcome.left = True, len(todo) + 1
                self._say("stopped; the same command resumes here")
                break
        self._say(_summary(outcome, self._clock() - self._start))
        return outcome

    def _refuse_stale(self, outcome: Outcome) -> None:
        """Report results of settings that a study no longer has as failed, not as done."""
        for item in self._done_before:
            try:
                item.study.check_result(item.arm, item.seed, self._results)
            except ResultError as error:
                outcome.failed.append(item.label)
                self._say(f"{item.label}: FAILED: {error}")

    def _run_one(self, item: Item, outcome: Outcome) -> bool:
        """Run one item under its lock; False if it was interrupted."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._lock(item))
            except SettingsError:
                outcome.elsewhere.append(item.label)
                self._say(f"{item.label}: another process works on it")
                return True
            if self._is_done(item):
                outcome.done.append(item.label)
                return True
            try:
                return self._finish(item, outcome)
            except KeyboardInterrupt:
                return False
            except Exception as error:
                outcome.failed.append(item.label)
                if not self._has_work(item):
                    outcome.untrainable.add(item.training)
                text = " ".join(f"{type(error).__name__}: {error!s:.300}".split())
                self._say(f"{item.label}: FAILED: {text}")
                return True

    def _finish(self, item: Item, outcome: Outcome) -> bool:
        start, trained = self._clock(), not self._has_work(item)
        found = self._runner(item.settings, self._folder(item))
        if found is None:
            return False
        seconds = self._clock() - start
        values = {**found, "arm": item.arm}
        values[SITTING] = {"seconds": seconds, "trained": trained}
        Workdir(self._results).write_text(item.result_file, result_text(values))
        with contextlib.suppress(KeyError, TypeError):
            self._durations.add(values)
        outcome.done.append(item.label)
        self._say(f"{item.label}: done in {format_seconds(seconds)}")
        return True

    def _is_done(self, item: Item) -> bool:
        return (self._results / item.result_file).is_file()

    def _folder(self, item: Item) -> pathlib.Path:
        return self._workdir / item.settings.case / f"seed{item.seed}"

    def _has_work(self, item: Item) -> bool:
        """Whether the workdir of an item holds its finished training."""
        return (self._folder(item) / "tables").is_dir()

    @contextlib.contextmanager
    def _lock(self, item: Item) -> Iterator[None]:
        """Keep other queues from this training; the run itself takes another lock."""
        folder = self._workdir / ".queue" / item.settings.case / f"seed{item.seed}"
        with Workdir(folder).lock():
            yield

    def _expected(self, item: Item, trains: bool) -> float | None:
        return self._durations.expected(item.study, item.arm, item.settings.case, trains=trains)

    def _fits(self, item: Item) -> bool:
        if self._deadline is None:
            return True
        expected = self._expected(item, trains=not self._has_work(item)) or 0.0
        return self._clock() < self._deadline and self._clock() + expected <= self._deadline

    def _forecast(self, left: Sequence[Item]) -> str:
        """Say how many runs are left, and how long the known ones take."""
        seen, total, unknown = set(), 0.0, 0
        for item in left:
            trains = item.training not in seen and not self._has_work(item)
            seen.add(item.training)
            seconds = self._expected(item, trains)
            unknown += seconds is None
            total += seconds or 0.0
        text = f"{len(left)} left"
        if unknown < len(left):
            text += f", about {format_seconds(total)}"
        return text + (f" and {unknown} of unknown length" if 0 < unknown < len(left) else "")

    def _out_of_time(self, item: Item, left: int) -> str:
        expected = self._expected(item, trains=not self._has_work(item)) or 0.0
        return (
            f"{item.label}: not begun, it would take about {format_seconds(expected)}; "
            f"{left} left; the same command resumes here"
        )

    def _say(self, text: str) -> None:
        self._stream.write(f"[queue]  {text}\n")
        self._stream.flush()


def _trained_first(items: Sequence[Item], has_work: Callable[[Item], bool]) -> list[Item]:
    """Put runs with a finished training first; else keep the order."""
    return sorted(items, key=lambda item: not has_work(item))


def _summary(outcome: Outcome, seconds: float) -> str:
    parts = [f"{len(outcome.done)} runs done in {format_seconds(seconds)}"]
    if outcome.failed:
        parts.append(f"{len(outcome.failed)} failed ({', '.join(outcome.failed)})")
    if outcome.elsewhere:
        parts.append(f"{len(outcome.elsewhere)} left to another process")
    if outcome.left:
        parts.append(f"{outcome.left} left")
    return ", ".join(parts)
