"""Writes innocent_table.npz: real losses of photos that a real model never saw.

Command: python tests/golden/make_innocent_table.py WORKDIR
Made from `run.py --config=experiments/cifar10.py:quick --config.seed=100`, user "held_out":
50 CIFAR-10 test photos under 12 hues, float32 nats. It holds no pixel.
"""

import pathlib
import sys

import numpy as np

if __name__ == "__main__":
    with np.load(pathlib.Path(sys.argv[1]) / "tables" / "held_out.npz") as arrays:
        every_third = arrays["losses"][:, ::3]
    np.savez(pathlib.Path(__file__).with_name("innocent_table.npz"), losses=every_third)
