"""Progress and remaining time of long computations. Prints nothing itself.

Long functions of this package take `on_progress`, a callable `(done, total) → None`;
`Estimator` turns such calls into an estimate that excludes the first interval, which includes
compilation.
"""

import dataclasses
import time
from collections.abc import Callable

ProgressFn = Callable[[int, int], None]

# From the name of a part of the work to the function that is told of its progress.
ReportFn = Callable[[str], ProgressFn]


def silent(done: int, total: int) -> None:
    """Ignore progress; the default of every `on_progress`."""


def silent_parts(name: str) -> ProgressFn:
    """Ignore the progress of every part; the default where work has several parts."""
    return silent


@dataclasses.dataclass
class Estimator:
    """Estimates the seconds left from the rate since the first report.

    The clock starts at the *first* call of `update`, so compilation and work done before a
    resume do not affect the rate.

    Example:
      >>> ticks = iter([0.0, 10.0])
      >>> estimator = Estimator(clock=lambda: next(ticks))
      >>> estimator.update(1, 11)  # no rate yet
      >>> estimator.update(3, 11)  # 2 items in 10 s, 8 to go
      40.0
    """

    clock: Callable[[], float] = time.monotonic
    _start: tuple[float, int] | None = None

    def update(self, done: int, total: int) -> float | None:
        """Return the seconds left, or None if there is no rate yet."""
        now = self.clock()
        if self._start is None:
            self._start = (now, done)
            return None
        start_time, start_done = self._start
        if done <= start_done:
            return None
        return (now - start_time) / (done - start_done) * (total - done)


def format_seconds(seconds: float) -> str:
    """Format seconds as hours, minutes and seconds.

    Example:
      >>> format_seconds(8), format_seconds(95), format_seconds(7320)
      ('8 s', '1 min 35 s', '2 h 2 min')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
