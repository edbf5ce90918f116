"""How much memory a loss table takes, measured from outside in a process of its own."""

import json
import pathlib
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]

PROGRAM = """
import json, pathlib, sys
import jax
import numpy as np
from anw_jax import keys, marks, models, verify

num_images, num_slots = int(sys.argv[1]), int(sys.argv[2])
model = models.create("testing", 10)
predict = model.predict_fn(model.init(jax.random.key(0), (32, 32, 3)))
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (num_images, 32, 32, 3), dtype=np.uint8)
labels = rng.integers(0, 10, num_images)

def kilobytes(field):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))

before = kilobytes("VmRSS")
table = verify.loss_table(
    predict, images, labels, marks.HueRotation(), keys.SignatureSpace(num_slots)
)
assert np.isfinite(table).all()
print(json.dumps({"extra_bytes": 1024 * (kilobytes("VmHWM") - before)}))
"""


def _extra_bytes(num_images, num_slots):
    if not pathlib.Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc/self/status")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(num_images), str(num_slots)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)["extra_bytes"]


@pytest.mark.slow
def test_a_small_table_stays_under_half_a_gibibyte():
    # 12 chunks; the compiler's own memory is counted too.
    assert _extra_bytes(500, 12) < 2**29


@pytest.mark.slow
def test_a_hundred_thousand_images_at_36_hues_stay_under_2_gibibytes():
    assert _extra_bytes(100_000, 36) < 2**31
