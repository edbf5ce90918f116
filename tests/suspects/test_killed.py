"""A real server, a real audit in a process of its own, and SIGKILL at random moments."""

import json
import pathlib
import random
import signal
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest

pytest.importorskip("urllib3", reason="urllib3 is an optional library")

ROOT = pathlib.Path(__file__).resolve().parents[2]
NUM_IMAGES, NUM_SLOTS, IN_FLIGHT = 60, 6, 4
AUDIT = f"""
import sys
import numpy as np
from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation
from anw_jax.suspects import *

url, folder = sys.argv[1:]
suspect = HttpSuspect(
    url, Declaration(4), request=RequestTemplate(body="float32"),
    answer=AnswerTemplate(pictures=None, scores="scores"),
    options=HttpOptions(in_flight={IN_FLIGHT}))
images = np.random.default_rng(0).integers(0, 256, ({NUM_IMAGES}, 4, 4, 3), dtype=np.uint8)
with suspect, AnswerCache(folder + "/answers", suspect.declaration) as cache:
    print("ready", flush=True)
    table = ask(suspect, images, np.zeros(len(images), int), HueRotation(),
                SignatureSpace({NUM_SLOTS}), cache=cache)
    np.savez(folder + "/table", table=table, queries=cache.num_queries,
             doubt=cache.num_in_doubt)
"""


def run_audit(url: str, folder: pathlib.Path, kill_after: float | None) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", AUDIT, url, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "ready\n"
    if kill_after is not None:
        time.sleep(kill_after)
        child.send_signal(signal.SIGKILL)
    child.communicate(timeout=300)
    assert child.returncode == (0 if kill_after is None else -signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.enable_socket
def test_an_audit_killed_again_and_again_loses_nothing_and_pays_nothing_twice(tmp_path):
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks._http_model", "--seconds", "0.05"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/"
        moments = random.Random(4)
        num_kills = 5
        for _ in range(num_kills):
            run_audit(url, tmp_path, moments.uniform(0.1, 0.8))
        assert not (tmp_path / "table.npz").exists()
        run_audit(url, tmp_path, None)
        with urllib.request.urlopen(url) as answer:
            times_asked = list(json.loads(answer.read()).values())
    finally:
        server.kill()
        server.communicate()
    with np.load(tmp_path / "table.npz") as stored:
        assert np.isfinite(stored["table"]).all()
        queries, doubt = int(stored["queries"]), int(stored["doubt"])
    questions = NUM_IMAGES * NUM_SLOTS
    assert len(times_asked) <= questions  # equal pictures are one question
    # Only what was in the air at a kill was asked again, and the book says so.
    again = sum(times_asked) - len(times_asked)
    assert again <= doubt <= num_kills * IN_FLIGHT
    assert queries == len(times_asked) + doubt
    assert max(times_asked) <= 1 + num_kills
