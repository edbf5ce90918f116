"""Train in another process, which may kill itself or fill the disk; see test_resume."""

import os
import pathlib
import resource
import signal
import sys

from anw_jax import train


def run(folder: str, kill_at: int, fill_at: int) -> None:
    """Train the tiny net; kill the process or fill the disk after a segment.

    At `kill_at` it dies without warning; from `fill_at` on no file can grow beyond 20 kB, so
    that a checkpoint breaks off half-way, as on a full disk.
    """
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import conftest

    def on_segment(report: train.SegmentReport) -> None:
        if report.step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if report.step == fill_at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))

    train.train(
        *conftest.tiny_arguments(),
        checkpoint_dir=folder,
        checkpoint_seconds=0.0,
        segment_steps=4,
        on_segment=on_segment,
    )


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
