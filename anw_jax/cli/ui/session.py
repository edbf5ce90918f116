"""What the page works on: one folder of photos, and one job at a time."""

import dataclasses
import pathlib
import threading
from collections.abc import Callable
from typing import Any

from anw_jax import data
from anw_jax.audit import FolderReport, ThrowAwayMark, report_on
from anw_jax.cli import output
from anw_jax.errors import CaseError, SourceError
from anw_jax.keys import MarkKey
from anw_jax.progress import Estimator, ProgressFn, format_seconds

_LARGEST_SIDE = 900


class StoppedError(Exception):
    """The person at the page stopped the job."""


@dataclasses.dataclass
class Job:
    """One step that takes a while.

    Attributes:
      name: of the step.
      done: things done, of `total`; 0 of 0 before the first report.
      total: things in all.
      left: the time left, as text; "" where it is not known.
      lines: what a command would print; known at the end.
      link: a page that the step wrote, relative to the token's address.
      error: the error, as one line.
      code: the exit code of the command; None while it runs.
    """

    name: str
    done: int = 0
    total: int = 0
    left: str = ""
    lines: tuple[str, ...] = ()
    link: str = ""
    error: str = ""
    code: int | None = None


@dataclasses.dataclass(frozen=True)
class Result:
    """What a step returns: lines, exit code, and a page to link to."""

    lines: tuple[str, ...]
    code: int = output.DONE
    link: str = ""


StepFn = Callable[[ProgressFn], Result]


class Session:
    """The folder and the job of one page.

    Args:
      work: a temporary folder: dropped photos, previews and reports.
    """

    def __init__(self, work: pathlib.Path):
        self.work = work
        self.folder: pathlib.Path | None = None
        self.report: FolderReport | None = None
        self.job: Job | None = None
        # So that marks keep their places while the strength changes; never the owner's key.
        self._mark_key = MarkKey.generate()
        self._lock, self._is_stopped = threading.Lock(), threading.Event()
        self._small: tuple[pathlib.Path, Any] | None = None

    def open(self, folder: pathlib.Path) -> None:
        """Choose a folder of photos.

        Raises:
          SourceError: no such folder, or no photo in it.
        """
        report = report_on(folder)
        with self._lock:
            self.folder, self.report, self._small = folder, report, None

    def chosen(self) -> pathlib.Path:
        """Return the chosen folder.

        Raises:
          CaseError: there is none yet.
        """
        if self.folder is None:
            raise CaseError("choose a folder of photos first")
        return self.folder

    def picture(self, number: int, mark: str | None, strength: float | None) -> bytes:
        """Return a small JPEG of a photo; with a random mark unless `mark` is None.

        The mark is applied to the small picture, which looks as the marked photo made small.

        Raises:
          SourceError: no such photo in the chosen folder, or it cannot be read.
          TypeError, ValueError: another mark or strength.
        """
        small = self._small_photo(number)
        if mark is not None:
            small = ThrowAwayMark(mark, strength, self._mark_key).apply(small)
        return data.jpeg_of(small)

    def _small_photo(self, number: int) -> Any:
        with self._lock:
            folder, report, known = self.folder, self.report, self._small
        if folder is None or report is None or not 0 <= number < len(report.photos):
            raise SourceError(f"there is no photo number {number}")
        file = report.photos[number]
        if not file.resolve().is_relative_to(folder.resolve()):
            raise SourceError(f"{report.names[number]} is a link that leaves the chosen folder")
        if known is not None and known[0] == file:
            return known[1]
        original = data.read_original(file)
        small = data.thumbnail(original.pixels, _LARGEST_SIDE, original.colour)
        with self._lock:
            self._small = (file, small)
        return small

    def start(self, name: str, step: StepFn) -> None:
        """Run a step in a thread.

        Raises:
          CaseError: another step is running.
        """
        with self._lock:
            if self.job is not None and self.job.code is None:
                raise CaseError(f"wait until {self.job.name} is done, or stop it")
            self._is_stopped.clear()
            self.job = Job(name)
        threading.Thread(target=self._run, args=(self.job, step), daemon=True).start()

    def stop(self) -> None:
        """Stop the job when it next reports its progress."""
        self._is_stopped.set()

    def _run(self, job: Job, step: StepFn) -> None:
        estimator = Estimator()

        def on_progress(done: int, total: int) -> None:
            if self._is_stopped.is_set():
                raise StoppedError
            left = estimator.update(done, total) if total else None
            job.done, job.total = done, total
            job.left = "" if left is None or done >= total else format_seconds(left)

        try:
            result = step(on_progress)
        except StoppedError:
            job.error, job.code = "stopped; do the step again to continue", output.INTERRUPTED
        except Exception as error:  # as the command does
            job.error, job.code = output.line_of_error(error), output.code_of_error(error)
        else:
            job.lines, job.link = tuple(map(output.printable, result.lines)), result.link
            job.code = result.code

    def as_json(self) -> dict[str, Any]:
        """Return what the page shows."""
        report = self.report
        return {
            "folder": None if self.folder is None else str(self.folder),
            "names": [] if report is None else list(report.names),
            "job": None if self.job is None else dataclasses.asdict(self.job),
        }
