"""Trains in a process of its own, and may kill itself; used by test_resume."""

import os
import pathlib
import signal
import sys

from anw_jax import train


def run(folder: str, kill_at: int) -> None:
    """Trains the tiny net; dies without warning when a segment ends at `kill_at`."""
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import conftest

    def on_segment(report: train.SegmentReport) -> None:
        if report.step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    train.train(
        *conftest.tiny_arguments(),
        checkpoint_dir=folder,
        checkpoint_seconds=0.0,
        segment_steps=4,
        on_segment=on_segment,
    )


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]))
