"""One network in every make, as files of one case, asked through `anw`."""

import contextlib
import http.server
import importlib.util
import json
import os
import threading

import numpy as np
import pytest

from anw_jax import marks
from anw_jax.keys import SignatureSpace
from anw_jax.suspects import RecordedSuspect
from tests.audit.conftest import hand_over
from tests.suspects import twins

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

DECLARATION = "[declaration]\nnum_classes = 5\ninput_size = [8, 8]\n"
NCHW = DECLARATION + 'layout = "NCHW"\n'
FILES = f"files = [{json.dumps(twins.__file__)}]\n"
MODULE = """
from tests.suspects import twins
def make():
    return twins.torch_module()
"""
HTTP = """kind = "http"
url = "{url}"

[request]
images_per_request = 5
template = {{tensor = "$float32", shape = "$shape"}}

[answer]
pictures = "predictions"
scores = "scores"

"""


def add_callable(folder, url):
    (folder / "net.py").write_text("from tests.suspects import twins\nanswer = twins.logits\n")
    return f'kind = "callable"\nfunction = "net.py:answer"\n{FILES}' + DECLARATION


def add_onnx(folder, url):
    twins.write_onnx(folder / "net.onnx")
    return 'kind = "onnx"\nfile = "net.onnx"\noptions = {num_threads = 1}\n' + NCHW


def add_script(folder, url):
    import torch

    torch.jit.save(
        torch.jit.trace(twins.torch_module(), torch.zeros(2, 3, 8, 8)), folder / "s.pt"
    )
    return 'kind = "torch"\nfile = "s.pt"\n' + NCHW


def add_weights(folder, url):
    import torch

    torch.save(twins.torch_module().state_dict(), folder / "w.pt")
    (folder / "module.py").write_text(MODULE)
    return f'kind = "torch"\nfile = "w.pt"\nmodule = "module.py:make"\n{FILES}' + NCHW


def add_keras(folder, url):
    os.environ.setdefault("KERAS_BACKEND", "numpy")
    twins.keras_model().save(folder / "net.keras")
    return 'kind = "keras"\nfile = "net.keras"\n' + DECLARATION


def add_http(folder, url):
    return HTTP.format(url=url) + DECLARATION


def add_recorded(folder, url):
    """Everything that will be asked, answered beforehand by somebody else."""
    from anw_jax import data

    originals = sorted((folder.parent / "owners" / "ann" / "originals").iterdir())
    images = np.stack([data.read_photo(file) for file in originals])
    asked = [
        marks.publish(marks.HueRotation(), images, np.full(len(images), float(degrees)))
        for degrees in SignatureSpace().degrees
    ]
    # The probe asks for other forms of the originals; what it cannot get it leaves out.
    pictures = np.concatenate(asked)
    answers = twins.called().answers(pictures.astype(np.float32) / np.float32(255))
    RecordedSuspect.of(pictures, answers, twins.NHWC).save(folder / "answers.npz")
    return 'kind = "recorded"\nfile = "answers.npz"\n'


MAKES = {
    "callable": (add_callable, None),
    "onnx": (add_onnx, "onnxruntime"),
    "script": (add_script, "torch"),
    "weights": (add_weights, "torch"),
    "keras": (add_keras, "keras"),
    "http": (add_http, "urllib3"),
    "recorded": (add_recorded, None),
}


class Service(http.server.BaseHTTPRequestHandler):
    """The network behind HTTP."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        status = 200
        try:
            answer = json.dumps(twins.http_answer(body)).encode()
        except ValueError:  # the probe asks in other forms too
            status, answer = 400, b"wrong shape"
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        """Says nothing."""


@contextlib.contextmanager
def served():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
# What torch says of its own trace and of TorchScript's age is no concern of a case.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_every_make_gives_the_same_sealed_table(anw, root):
    case_dir = root / "case"
    hand_over(root, case_dir, claim="each model")
    folder = case_dir / "suspects"
    folder.mkdir(parents=True)
    with served() as url:
        for name, (add, library) in MAKES.items():
            if library is None or importlib.util.find_spec(library):
                (folder / f"{name}.toml").write_text(add(folder, url))
        names = {file.stem for file in folder.glob("*.toml")}
        for words in (("probe",), ("declare",), ("audit",)):
            ran = anw(*words, case_dir)
            assert ran.code == 0, (words, ran.out, ran.err)
    tables = {}
    for name in names:
        with np.load(case_dir / "tables" / f"{name}.npz") as stored:
            tables[name] = stored["ann"]
    assert {"callable", "recorded"} <= set(tables)
    for name, table in tables.items():
        np.testing.assert_allclose(
            table, tables["callable"], rtol=1e-4, atol=1e-5, err_msg=name
        )
    ran = anw("verdict", case_dir, "--key", root / "ann.key", "--json")
    tests = json.loads(ran.out)["tests"]["ann"]
    assert set(tests) == names
    assert ran.code == 3  # nobody trained on anything
    for test in tests.values():
        assert test["p_value"] == pytest.approx(tests["callable"]["p_value"], rel=0.05)
