"""Run the timed benchmarks, each in its own process: about 8 minutes on two idle cores."""

import subprocess
import sys

from benchmarks import _measure

NAMES = ("marking", "exact_test", "train", "train_many", "loss_table", "suspects")


def main() -> None:
    for name in NAMES:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        subprocess.run(command, cwd=_measure.REPOSITORY, check=True)


if __name__ == "__main__":
    main()
