"""A process that is killed for good, at no moment of its own choosing."""

import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

from anw_jax import audit
from tests.audit.conftest import NUM_PHOTOS, hand_over, write_suspect

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]

SLOW = """
import pathlib, time
COUNT = pathlib.Path(__file__).parent / "asked.txt"

def slow(batch):
    with COUNT.open("a") as file:
        file.write(f"{len(batch)}\\n")
    time.sleep(0.4)
    return answer(batch)
"""


@pytest.mark.slow
def test_killed_by_the_system_and_given_again(root, case_dir, monkeypatch):
    hand_over(root, case_dir, choices={"augmentations": (4,)})
    write_suspect(case_dir, root / "ann_marked" / "published")
    code = case_dir / "suspects" / "net_code"
    (code / "model.py").write_text((code / "model.py").read_text() + SLOW)
    toml = case_dir / "suspects" / "net.toml"
    toml.write_text(toml.read_text().replace(":answer", ":slow"))
    audit.declare(audit.Case(case_dir), audit.Options(), despite_probe=True)
    tried = np.loadtxt(code / "asked.txt", int, ndmin=1).sum()  # by declare, whose answers go
    child = subprocess.Popen(
        [sys.executable, str(pathlib.Path(__file__).with_name("kill_child.py")), str(case_dir)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    answers = case_dir / "answers" / "net.answers"
    try:
        deadline = time.monotonic() + 120
        while not (answers.exists() and answers.stat().st_size > 1000):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        child.kill()
        child.wait()
    assert not (case_dir / "blind.json").exists()
    blind = audit.seal_case(audit.Case(case_dir))["suspects"]["net"]
    total = NUM_PHOTOS * 11 * 4
    assert blind["num_queries"] == total
    asked = np.loadtxt(code / "asked.txt", int)
    # Nothing that had been answered is asked again; one batch may have been under way.
    assert total <= asked.sum() - tried <= total + asked.max()
    assert len(asked) > 2
