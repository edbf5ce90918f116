"""A mark in outputs, read from a service: it is sent a PNG, and answers with one."""

import contextlib
import http.server
import io
import json
import shutil
import threading

import numpy as np
import pytest

from anw_jax import data, suspects
from anw_jax.errors import SuspectError
from anw_jax.schemes import barrier
from tests.cli import outputs_asked as world
from tests.cli.test_outputs_asked import anw, declared, said

pytest.importorskip("urllib3", reason="urllib3 is an optional library")
Image = pytest.importorskip("PIL.Image")
pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

HTTP = (
    world.FILES["http"]
    .partition("[options]")[0]
    .replace("http://localhost:8080/restore", "{url}")
    + """
[options]
in_flight = 1
max_attempts = 2
first_back_off_seconds = 0
"""
)
SECRET = "Bearer q8w7e6r5t4"


class Service:
    """A model behind HTTP, which may break.

    Attributes:
      kernels: of the model.
      asked: number of requests.
      change: from the answer, its content type and the request's number to what is sent; None
        as the content type cuts the connection.
    """

    def __init__(self, *kernels: np.ndarray):
        self.kernels, self.asked = kernels, 0
        self.change = lambda body, kind, number: (body, kind)

    def answer(self, body: bytes) -> tuple[bytes, str | None]:
        self.asked += 1
        with Image.open(io.BytesIO(body), formats=["PNG"]) as image:
            pixels = np.array(image)[None]
        answer = data.png_of(world.answered(pixels, *self.kernels)[0])
        return self.change(answer, "image/png", self.asked)


@contextlib.contextmanager
def served(service: Service):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            status = 200 if self.headers["authorization"] == SECRET else 401
            answer, kind = service.answer(body) if status == 200 else (b"who?", "text/plain")
            if kind is None:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/restore"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def owner(tmp_path_factory):
    return world.owner_in(tmp_path_factory.mktemp("owner"))


@pytest.fixture
def place(owner, tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL_AUTHORIZATION", SECRET)
    return shutil.copytree(owner, tmp_path / "place")


@pytest.mark.parametrize("is_thief", [True, False])
def test_a_service_is_judged(place, monkeypatch, is_thief):
    kernels = world.copied_kernels(place) if is_thief else (world.OTHER,)
    service = Service(*kernels)
    with served(service) as url:
        case = world.case_in(place, HTTP.format(url=url))
        declared(case)
        service.asked = 0
        assert anw("audit", case) == 0
    assert service.asked == world.NUM_QUERIES
    # What is left needs the answers, and neither the service nor a secret.
    monkeypatch.delenv("MODEL_AUTHORIZATION")
    key = ("--key", place / "mark" / "mark.key")
    code = anw("verdict", case, *key)
    assert code == (10 if is_thief else 3)
    assert anw("replay", case, *key) == code
    sealed = (case / "blind.json").read_text() + (case / "declared.json").read_text()
    assert SECRET.split()[1] not in sealed
    assert json.loads((case / "blind.json").read_text())["suspects"]["found"]["answers"]


def test_a_service_that_dies_after_half_of_the_queries_is_asked_on(place, capsys):
    service = Service(world.OTHER)
    half = world.NUM_QUERIES // 2
    with served(service) as url:
        case = world.case_in(place, HTTP.format(url=url))
        declared(case)
        service.asked = 0
        service.change = lambda b, k, number: (b, k if number <= half else None)
        capsys.readouterr()
        assert anw("audit", case) == 1
        lines = said(capsys).splitlines()
        assert "breaks off its answer" in lines[0]
        assert len(lines) == 1
        assert not (case / "blind.json").exists()
        assert not (case / "scores").exists()
        service.asked, service.change = 0, lambda b, k, number: (b, k)
        assert anw("audit", case) == 0
    assert service.asked == world.NUM_QUERIES - half
    blind = json.loads((case / "blind.json").read_text())["suspects"]["found"]
    assert blind["num_refused"] == 0


def grey(body, kind, number):
    with Image.open(io.BytesIO(body)) as image:
        buffer = io.BytesIO()
        image.convert("L").save(buffer, "PNG")
    return buffer.getvalue(), kind


BAD = {
    "a wrong content type": (
        lambda b, k, n: (b"<html>busy</html>", "text/html"),
        "answers with content type 'text/html', not 'image/png': '<html>busy</html>'",
    ),
    "what is no PNG": (
        lambda b, k, n: (b"GIF89a", k),
        "answers with something that is not a PNG file",
    ),
    "a truncated PNG": (lambda b, k, n: (b[:-40], k), "a PNG that is cut off or damaged"),
    "a damaged PNG": (
        lambda b, k, n: (b[:60] + bytes(20) + b[80:], k),
        "a PNG that is cut off or damaged",
    ),
    "another size": (
        lambda b, k, n: (data.png_of(np.zeros((8, 16, 3), np.uint8)), k),
        "a PNG of 8x16 pixels to a picture of 16x16: it is a model of another image size",
    ),
    "another number of channels": (grey, "a PNG of 8 bits and grey: it must have 8 bits and"),
    "one constant output": (
        lambda b, k, n: (data.png_of(np.full((16, 16, 3), 7, np.uint8)), k),
        "one constant output",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_answer_is_one_clear_error(place, capsys, name):
    service = Service(world.OTHER)
    service.change, text = BAD[name]
    with served(service) as url:
        case = world.case_in(place, HTTP.format(url=url))
        assert anw("probe", case) == 7
        found = said(capsys)
        assert text in found
        assert found.count("error: ") == 1
        assert anw("declare", case, "--beacon", world.VALUE, "--despite-probe") == 0
        capsys.readouterr()
        assert anw("audit", case) == 1
        lines = said(capsys).splitlines()
    assert text in lines[0]
    assert len(lines) == 1
    assert not (case / "blind.json").exists()
    assert not (case / "scores").exists()


@pytest.mark.parametrize("num_refused", [1, 2])
def test_a_query_that_is_refused_alone_favours_no_bit(place, capsys, num_refused):
    decoder = world.decoder_in(place)
    images = world.answered(decoder.queries, *world.copied_kernels(place))
    refused = {data.png_of(image) for image in images[3 : 3 + num_refused]}
    service = Service(*world.copied_kernels(place))
    with served(service) as url:
        case = world.case_in(place, HTTP.format(url=url))
        declared(case)
        service.change = lambda b, k, n: (b"", k) if b in refused else (b, k)
        capsys.readouterr()
        code = anw("audit", case)
    found = said(capsys)
    assert code == 0
    assert f"found: {12 + num_refused} queries, {num_refused} refused" in found  # and controls
    check_it_is_said(place, case, capsys, num_refused)
    if num_refused == 2:
        return
    filled = images.copy()
    filled[3] = decoder.outputs[3]
    with np.load(case / "scores" / "found.npz") as scores:
        wanted = barrier.scores(decoder, filled / 255.0)
        np.testing.assert_allclose(scores["ann"], wanted, rtol=1e-5)
    assert (
        json.loads((case / "blind.json").read_text())["suspects"]["found"]["num_refused"] == 1
    )


def check_it_is_said(place, case, capsys, num_refused):
    """A suspect must neither stop an audit by refusing, nor refuse without its being said."""
    key = ("--key", place / "mark" / "mark.key")
    code = anw("verdict", case, *key)
    found = said(capsys)
    assert f"he suspect refused {num_refused} of 12 queries" in found
    is_too_many = num_refused == 2  # more than a tenth
    assert ("The test is inconclusive: the suspect refused" in found) == is_too_many
    assert code == (4 if is_too_many else 10)
    assert anw("replay", case, *key) == code
    path = case / "blind.json"
    before, wanted = path.read_text(), f'"num_refused": {num_refused}'
    (case / "verdict.json").rename(case / "kept.json")
    for old, new in ((wanted, '"num_refused": 0'), ('"num_queries": 1', '"num_queries": ')):
        edited = before.replace(old, new)
        assert edited != before
        path.write_text(edited)
        assert anw("verdict", case, *key) in (4, 10)
        assert anw("replay", case, *key) == 8
        (case / "verdict.json").unlink()
    path.write_text(before)
    (case / "kept.json").rename(case / "verdict.json")


def test_no_message_shows_the_secret(place, capsys, monkeypatch):
    service = Service(world.OTHER)
    monkeypatch.setenv("MODEL_AUTHORIZATION", "Bearer wrong12345")
    with served(service) as url:
        case = world.case_in(place, HTTP.format(url=url))
        assert anw("probe", case) == 7
    found = said(capsys)
    assert "answers with status 401" in found
    assert "wrong12345" not in found
    monkeypatch.delenv("MODEL_AUTHORIZATION")
    assert anw("probe", case) == 1
    assert "MODEL_AUTHORIZATION for header Authorization is not set" in said(capsys)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"answer": suspects.AnswerTemplate()}, "answer must be left out for images"),
        (
            {"request": suspects.RequestTemplate(images_per_request=2)},
            "pictures must be a path where a request carries several",
        ),
    ],
)
def test_templates_that_do_not_fit_images_are_refused(more, text):
    declaration = suspects.Declaration(answer="image")
    with pytest.raises(ValueError, match=text):
        suspects.HttpSuspect("http://model.test/restore", declaration, **more)


def test_in_python_a_service_is_a_function_for_extract(place):
    decoder, service = world.decoder_in(place), Service(world.OTHER)
    with served(service) as url:
        asked = suspects.HttpSuspect(
            url,
            suspects.Declaration(answer="image"),
            headers={"Authorization": SECRET},
            options=suspects.HttpOptions(max_attempts=1),
        )
        with asked:
            scores = barrier.extract(decoder, suspects.images_fn(asked))
            plain = barrier.extract(decoder, lambda x: world.answered(x, world.OTHER))
            np.testing.assert_array_equal(scores, plain)
            service.change = lambda b, k, n: (b[:-1], k)
            with pytest.raises(SuspectError, match="cut off"):
                barrier.extract(decoder, suspects.images_fn(asked))
