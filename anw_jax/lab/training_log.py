"""What a person reads while a network trains: where it starts, and a line now and then."""

import dataclasses

from anw_jax import train
from anw_jax.lab.journal import Journal
from anw_jax.progress import Estimator, format_seconds


class TrainingLog:
    """Callbacks of `train.train` that write to a journal.

    Args:
      journal: takes the lines.
      what: put before each line where several networks are trained, such as "student: ".
    """

    def __init__(self, journal: Journal, what: str = ""):
        self._journal, self._what = journal, what
        self._estimator = Estimator()

    def on_start(self, start: train.StartReport) -> None:
        """Says where training starts and how long it may take."""
        begins = "resumed at" if start.first_step else "starts at"
        self._estimator.update(start.first_step, start.num_steps)
        self._journal.say(
            f"{self._what}{begins} step {start.first_step} of {start.num_steps}; about "
            f"{format_seconds(start.remaining_seconds)} of training on this machine "
            f"({start.num_devices} device(s))",
            **dataclasses.asdict(start),
        )

    def on_segment(self, report: train.SegmentReport) -> None:
        """Says how far it is, as often as the journal wants to hear it."""
        text = (
            f"{self._what}step {report.step:>5}/{report.num_steps}   "
            f"loss {report.loss:6.3f}   accuracy {report.metrics['accuracy']:6.1%}   "
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
