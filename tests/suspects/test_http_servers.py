"""The suspect files of docs/adapters.md, against a small server that talks as each does."""

import base64
import http.server
import io
import json
import pathlib
import re
import threading
import tomllib
import urllib.parse

import numpy as np
import pytest
from PIL import Image

from anw_jax.audit.suspect_file import SuspectFile
from anw_jax.errors import CaseError
from anw_jax.suspects import HttpOptions, probe

pytest.importorskip("urllib3", reason="urllib3 is an optional library")
pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "adapters.md"
PARTS = PAGE.read_text().partition("## Services over HTTP")[2].split("\n### ")[1:]
FILES = {
    part.partition("\n")[0]: block
    for part in PARTS
    for block in re.findall("```toml\n(.*?)```", part, re.DOTALL)
    if "kind = " in block
}
NAMES = ("cat", "dog", "bird")
TOKEN = "Bearer k3y-of-the-service"


def shares(pictures: np.ndarray) -> np.ndarray:
    """Probabilities of pictures `[b, H, W, 3]` in [0, 1]: the reddest is a cat, and so on."""
    logits = 20 * pictures.mean((1, 2))
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def of_png(body: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(body)) as image:
        return np.asarray(image, np.float32)[None] / 255


def pipeline(body):
    found = shares(of_png(base64.b64decode(json.loads(body)["inputs"])))[0]
    best = np.argsort(-found)[:2]
    return [{"label": NAMES[n], "score": float(found[n])} for n in best]


def torchserve(body):
    return {entry["label"]: entry["score"] for entry in listed(shares(of_png(body))[0])}


def listed(found):
    return [{"label": NAMES[n], "score": float(found[n])} for n in np.argsort(-found)[:2]]


def triton(body):
    (given,) = json.loads(body)["inputs"]
    batch = np.asarray(given["data"], np.float32)
    assert given["datatype"] == "FP32"
    assert list(batch.shape) == given["shape"]
    found = np.log(shares(batch.transpose(0, 2, 3, 1)))
    output = {"name": "o", "datatype": "FP32", "shape": found.shape, "data": found.ravel()}
    return {"model_name": "pets", "outputs": [output | {"data": output["data"].tolist()}]}


def tf_serving(body):
    found = shares(np.asarray(json.loads(body)["instances"], np.float32))
    return {
        "predictions": [
            {"probabilities": row.tolist(), "classes": int(row.argmax())} for row in found
        ]
    }


def chat(body):
    (message,) = json.loads(body)["messages"]
    uri = message["content"][1]["image_url"]["url"]
    head, _, picture = uri.partition(",")
    assert head == "data:image/png;base64"
    name = NAMES[shares(of_png(base64.b64decode(picture)))[0].argmax()]
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": f"{name}\n"}}]}


SERVERS = {
    "Hugging Face image classification": pipeline,
    "TorchServe image classifier": torchserve,
    "Triton, KServe v2": triton,
    "TensorFlow Serving": tf_serving,
    "Chat with images, like OpenAI's API": chat,
}


def photos() -> tuple[np.ndarray, list[int]]:
    """Twelve photos, four of each class."""
    labels = [0, 1, 2] * 4
    rng = np.random.default_rng(5)
    images = rng.integers(60, 100, (12, 8, 8, 3), dtype=np.uint8)
    images[np.arange(12), :, :, labels] += 70
    return images, labels


@pytest.fixture
def served(request):
    """The URL of a server that answers as one service does, and the tokens that it was sent."""
    tokens = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            tokens.append(self.headers.get("authorization"))
            body = self.rfile.read(int(self.headers["content-length"]))
            answer = json.dumps(request.param(body)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", tokens
    server.shutdown()
    thread.join()
    server.server_close()


def opened(folder, text, url):
    address = tomllib.loads(text)["url"]
    text = text.replace(address, url + urllib.parse.urlsplit(address).path)
    (folder / "net.toml").write_text(text)
    return SuspectFile.load(folder / "net.toml").open()


def test_every_server_of_the_page_is_run():
    assert list(FILES) == list(SERVERS)


@pytest.mark.parametrize(
    ("served", "name"),
    [(server, name) for name, server in SERVERS.items()],
    indirect=["served"],
)
def test_the_file_on_the_page_is_asked_as_it_wants_to_be(served, name, tmp_path, monkeypatch):
    url, tokens = served
    for variable in re.findall('"([A-Z_]+)"', FILES[name]):
        monkeypatch.setenv(variable, TOKEN + "\r\n")
    images, labels = photos()
    with opened(tmp_path, FILES[name], url) as suspect:
        report = probe(suspect, images, labels)
        answers = suspect.answers(images.astype(np.float32) / 255)
    assert report.findings == ()
    assert report.accuracy == 1.0
    assert set(tokens) == {TOKEN if "headers_from_env" in FILES[name] else None}
    if answers.scores is not None:
        wanted = np.sort(shares(images / 255.0))[:, ::-1]
        found = np.exp(answers.scores) if answers.kind == "logits" else answers.scores
        np.testing.assert_allclose(
            np.sort(found)[:, ::-1], wanted[:, : found.shape[1]], rtol=1e-4
        )


def test_the_options_on_the_page_are_those_there_are():
    (block,) = (text for text in re.findall("```toml\n(.*?)```", PARTS[-1], re.DOTALL))
    options = HttpOptions(**tomllib.loads(block)["options"])
    assert options == HttpOptions(per_second=20)


PLAIN = 'kind = "http"\nurl = "http://127.0.0.1:1/"\n[declaration]\nnum_classes = 3\n'


@pytest.mark.parametrize(
    "variable", ["Bearer k3y", "hf_k3y", "k3y", "sk-k3y", "K3Y=k3y", "", "a\\u0000k3y"]
)
def test_a_token_in_place_of_its_variable_is_not_shown(tmp_path, variable):
    text = PLAIN + f'[headers_from_env]\nAuthorization = "{variable}"\n'
    with pytest.raises(CaseError) as error:
        opened(tmp_path, text, "http://127.0.0.1:1")
    assert str(error.value) == (
        "the environment variable (its name is not shown) for header Authorization is not set"
    )


@pytest.mark.parametrize("value", ["a\nk3y", "k3y\u00e9", "\n", "k3\x7fy"])
def test_a_variable_that_cannot_be_sent_is_told_by_its_header(tmp_path, monkeypatch, value):
    monkeypatch.setenv("TOK", value)
    text = PLAIN + '[headers_from_env]\nAuthorization = "TOK"\n'
    with pytest.raises(CaseError, match=r"net\.toml: header Authorization must ") as error:
        opened(tmp_path, text, "http://127.0.0.1:1")
    assert "k3" not in str(error.value)


NONE = {
    "pictures = false": None,
    'pictures = "."': ".",
    'pictures = ""': "",
    "scores = false\nlabels = 'l'": "predictions",
    "labels = false": "predictions",
}


@pytest.mark.parametrize("line", NONE)
def test_toml_says_none(tmp_path, line):
    text = PLAIN.replace("[declaration]", f"[answer]\n{line}\n[declaration]")
    text += 'answer = "label"\n' * ("scores" in line)
    with opened(tmp_path, text, "http://127.0.0.1:1") as suspect:
        assert suspect._answer.pictures == NONE[line]


@pytest.mark.parametrize("line", ["pictures = true", "pictures = 0", 'labels = ["a"]'])
def test_what_is_no_path(tmp_path, line):
    text = PLAIN.replace("[declaration]", f"[answer]\n{line}\n[declaration]")
    with pytest.raises(CaseError, match="must be a path, or false for none, got"):
        opened(tmp_path, text, "http://127.0.0.1:1")
