"""Commands about a suspect that is asked for its outputs, killed at any write."""

import os
import signal
import subprocess
import sys

import pytest

from tests.cli import outputs_asked as world
from tests.cli.test_killed import REPOSITORY, Forks, check_killed
from tests.cli.test_outputs_asked import CALLED, anw, declared
from tests.cli.test_outputs_http import HTTP, SECRET, Service, served

pytestmark = pytest.mark.slow

STEPS = {
    "probe": ("probe", "case"),
    "declare": ("declare", "case", "--beacon", world.VALUE),
    "audit": ("audit", "case"),
    "verdict": ("verdict", "case", "--key", "mark/mark.key"),
}
CODES = {"verdict": 3}


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    top = tmp_path_factory.mktemp("killed_outputs")
    root, before = top / "now", {}
    root.mkdir()
    world.owner_in(root)
    (root / "model.onnx").unlink()
    suspects = world.case_in(root, CALLED) / "suspects"
    (suspects / "found.py").write_text("def answer(batch):\n    return 0.9 * batch\n")
    forks = Forks(top)
    for step, words in STEPS.items():
        before[step] = forks.first(root, top / step, words, CODES.get(step, 0))
    yield forks, before
    forks.close()


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_write(story, tmp_path, step):
    refused = "exist" if step == "declare" else ""
    check_killed(story, tmp_path, step, STEPS[step], CODES.get(step, 0), refused)


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_killed_series_of_queries_to_a_service_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL_AUTHORIZATION", SECRET)
    world.owner_in(tmp_path)
    service, killed = Service(world.OTHER), 5
    with served(service) as url:
        case = world.case_in(tmp_path, HTTP.format(url=url))
        declared(case)
        words = [sys.executable, "-m", "anw_jax.cli", "audit", str(case)]
        process = []

        def change(body, kind, number):
            if number == killed:
                process[0].send_signal(signal.SIGKILL)
                process[0].wait()
            return body, kind

        service.asked, service.change = 0, change
        environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        process.append(subprocess.Popen(words, cwd=REPOSITORY, env=environment))
        assert process[0].wait(timeout=300) == -signal.SIGKILL
        assert not (case / "blind.json").exists()
        service.asked, service.change = 0, lambda b, k, n: (b, k)
        assert anw("audit", case) == 0
    # The query that was in flight is asked again, and no other one.
    assert service.asked == world.NUM_QUERIES - killed + 1
