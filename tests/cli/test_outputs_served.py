"""`anw model protect --serve`: who posts a PNG gets the model's output, marked, or one line."""

import base64
import http.client
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from anw_jax import data, schemes, suspects
from anw_jax.cli import serving
from anw_jax.keys import MarkKey
from tests.cli import outputs_asked as world
from tests.cli.outputs_served import (
    BAD,
    KERNEL,
    NEGATIVE,
    OWN,
    PNG,
    TOML,
    WHY,
    as_files,
    ask,
    bits_of,
    model_in,
    opened,
    own,
    told,
    words,
)
from tests.cli.test_outputs import barrier, smooth, write

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1", "::1"])]


@pytest.fixture(scope="module")
def owner(tmp_path_factory):
    place = tmp_path_factory.mktemp("owner")
    write(place / "queries", smooth(1, 12))
    write(place / "outputs", own(smooth(1, 12)))
    write(place / "public", own(smooth(3, 12)))
    (place / "model.onnx").write_bytes(b"a model")
    assert barrier(place) == 0
    return place


@pytest.fixture
def place(owner, tmp_path):
    return shutil.copytree(owner, tmp_path / "place")


@pytest.fixture
def protect(anw, monkeypatch):
    """Runs the command, and `do(server)` while it serves; then Ctrl-C."""
    forever = serving.MarkingServer.serve_forever

    def call(place, do, *more, **how):
        def serve_forever(server):
            thread = threading.Thread(target=forever, args=(server, 0.01))
            thread.start()
            try:
                do(server)
            finally:
                server.shutdown()
                thread.join()
            raise KeyboardInterrupt

        monkeypatch.setattr(serving.MarkingServer, "serve_forever", serve_forever)
        monkeypatch.chdir(place)
        return anw(*words(place, *more, **how))

    return call


def test_what_is_served_is_what_a_folder_of_outputs_becomes(anw, protect, place):
    pictures = [*smooth(5, 3), smooth(6, 1)[0][:9, :13]]
    wanted = as_files(anw, place, [own(picture[None])[0] for picture in pictures])
    got = []

    def do(server):
        got.extend(ask(server, data.png_of(picture)) for picture in pictures)

    model_in(place)
    ran = protect(place, do, "--json")
    assert [body for _, body, _ in got] == wanted
    assert {status for status, *_ in got} == {200}
    assert {headers["Content-Type"] for *_, headers in got} == {"image/png"}
    assert json.loads(ran.out) == {"served": 4, "refused": 0, "failed": 0}
    assert ran.code == 0
    assert re.fullmatch(r"post PNG files to http://127\.0\.0\.1:\d+/; Ctrl-C ends\n", ran.err)


def test_a_model_in_a_file_of_onnx_is_served(anw, protect, tmp_path):
    pytest.importorskip("onnx", reason="onnx makes the file")
    pytest.importorskip("onnxruntime", reason="onnxruntime is an optional library")
    world.owner_in(tmp_path)
    declaration = suspects.Declaration(answer="image", layout="NCHW")
    model = suspects.images_fn(suspects.OnnxSuspect(tmp_path / "model.onnx", declaration))
    wanted = as_files(anw, tmp_path, [model(one[None])[0] for one in smooth(5, 2)])
    toml = world.FILES["onnx"].replace("found.onnx", "model.onnx")
    (tmp_path / "denoiser.toml").write_text(toml + "input_size = [16, 16]\n")
    got = []

    def do(server):
        got.extend(ask(server, data.png_of(picture))[1] for picture in smooth(5, 2))
        status, text, _ = ask(server, data.png_of(smooth(5, 1)[0][:8]))
        assert (status, text) == (422, b"send a picture of 16x16 pixels, got 8x16\n")

    ran = protect(tmp_path, do, "--base", tmp_path / "model.onnx")
    assert got == wanted
    assert (
        ran.out
        == "2 marked images served; 1 requests refused, 0 without an answer from the model\n"
    )


def test_a_service_is_wrapped_and_a_suspect_of_its_outputs_matches(protect, place):
    pytest.importorskip("urllib3", reason="urllib3 is an optional library")
    from tests.cli.test_outputs_http import SECRET, Service, served

    service = Service()
    service.answer = lambda body: (
        data.png_of(own(np.array(opened(body))[None])[0]),
        "image/png",
    )
    declaration = suspects.Declaration(answer="image")
    found = []

    def do(server):
        with suspects.HttpSuspect(server.address, declaration) as suspect:
            found.append(schemes.barrier.extract(decoder, suspects.images_fn(suspect)))

    decoder = world.decoder_in(place)
    with served(service) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODEL_AUTHORIZATION", SECRET)
        (place / "denoiser.toml").write_text(
            f'kind = "http"\nurl = "{url}"\n[declaration]\nanswer = "image"\n'
            '[headers_from_env]\nAuthorization = "MODEL_AUTHORIZATION"\n'
        )
        ran = protect(place, do, "--json")
    assert json.loads(ran.out)["served"] == len(decoder.queries)
    assert np.sign(found[0]).tolist() == bits_of(place).signs.tolist()


def test_each_bad_request_is_one_line_and_the_next_is_served(protect, place):
    model_in(place)
    got = {}

    def do(server):
        for name, (request, *_) in BAD.items():
            got[name] = ask(server, **request)
            assert ask(server, PNG)[0] == 200

    ran = protect(place, do, "--json")
    for name, (_, status, text) in BAD.items():
        assert got[name][0] == status, name
        line = got[name][1].decode()
        assert text in line
        assert line.count("\n") == 1
        assert got[name][2]["Content-Type"].startswith("text/plain")
    # The standard library refuses another method, before any counting.
    assert json.loads(ran.out) == {"served": len(BAD), "refused": 9, "failed": 4}
    lines = ran.err.splitlines()[1:]
    assert len(lines) == len(WHY)
    for line, why in zip(lines, WHY, strict=True):
        assert line.startswith("anw: no answer: ")
        assert why in line


def test_nothing_that_is_sent_or_printed_holds_the_key(protect, place):
    model_in(place)
    got = []

    def do(server):
        for request, *_ in BAD.values():
            got.append(ask(server, **request))
        got.append(ask(server, PNG))

    ran = protect(place, do)
    seen = repr(got).encode() + b"".join(b for _, b, _ in got) + (ran.out + ran.err).encode()
    secret = MarkKey.load(place / "mark" / "mark.key").secret
    for form in (secret, secret.hex().encode(), base64.b64encode(secret)):
        assert form[:16] not in seen
    assert str(place).encode() not in b"".join(b for _, b, _ in got)


def test_more_requests_than_places_are_told_to_come_back(protect, place, monkeypatch):
    monkeypatch.setattr(serving, "_MOST_AT_ONCE", 1)
    model_in(place)

    def do(server):
        with server.places:
            assert ask(server, PNG)[:2] == (
                503,
                b"too many requests at once: send it again later\n",
            )
        assert ask(server, PNG)[0] == 200

    ran = protect(place, do)
    assert ran.out.startswith("1 marked images served; 1 requests refused, 0 without")


def test_a_model_in_this_process_answers_one_request_at_a_time(protect, place):
    model_in(place)
    got = []

    def do(server):
        post = lambda: got.append(ask(server, told(5, 0, 0))[0])  # noqa: E731
        threads = [threading.Thread(target=post) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    protect(place, do)
    assert got == [200] * 3


def test_ctrl_c_waits_for_a_request_in_work(protect, place):
    model_in(place)
    got, begun = [], threading.Event()
    thread = threading.Thread(target=lambda: got.append(ask(begun.server, told(5, 0, 0))))

    def do(server):
        begun.server, picture = server, server.picture

        def watched(body):
            begun.set()
            return picture(body)

        server.picture = watched
        thread.start()
        assert begun.wait(30)

    ran = protect(place, do, "--json")
    thread.join()
    assert got[0][0] == 200
    assert json.loads(ran.out)["served"] == 1


@pytest.mark.parametrize(
    ("toml", "change"),
    [(TOML, "0.9 * batch"), (TOML + 'value_range = "signed"\n', OWN)],
)
def test_a_model_that_is_not_the_committed_one_is_refused(protect, place, toml, change):
    model_in(place, toml, change)
    ran = protect(place, lambda server: pytest.fail("it is served"))
    assert ran.code == 8
    assert "levels of 255 away from the committed outputs, and 1 is allowed" in ran.err
    assert ran.err.count("\n") == 1


def test_outputs_that_are_marked_already_are_refused(protect, place):
    model_in(place, change=f"marking({OWN})")
    kernel = place / "kernel.npy"
    np.save(kernel, schemes.barrier.keyed_kernel(world.decoder_in(place), bits_of(place)))
    code = (place / "model.py").read_text() + (
        "\ndef marking(values):\n"
        "    from anw_jax.schemes import barrier\n"
        f"    kernel = np.load({str(kernel)!r})\n"
        "    pixels = np.rint(255 * values).astype(np.uint8)\n"
        "    return barrier.protect(kernel, pixels) / 255.0\n"
    )
    (place / "model.py").write_text(code)
    ran = protect(place, lambda server: pytest.fail("it is served"))
    assert ran.code == 8
    assert "or its outputs are marked already" in ran.err


def test_a_rounding_more_or_less_is_no_other_model(protect, place):
    model_in(place, change=f"{OWN} + 0.9 / 255")
    assert protect(place, lambda server: None).code == 0


def test_a_client_that_sends_drop_by_drop_loses_its_place(protect, place, monkeypatch):
    monkeypatch.setattr(serving._Handler, "timeout", 0.5)
    monkeypatch.setattr(serving, "_MOST_AT_ONCE", 1)
    model_in(place)
    got = []

    def do(server):
        with socket.create_connection(server.server_address) as line:
            head = f"Content-Type: image/png\r\nContent-Length: {len(PNG)}"
            line.sendall(f"POST / HTTP/1.1\r\n{head}\r\n\r\n".encode())
            for byte in PNG[:20]:
                line.sendall(bytes([byte]))
                time.sleep(0.1)
                if select.select([line], [], [], 0)[0]:
                    break
            line.shutdown(socket.SHUT_WR)
            got.append(line.makefile("rb").read())
        assert ask(server, PNG)[0] == 200

    ran = protect(place, do, "--json")
    assert b" 408 " in got[0].splitlines()[0]
    assert got[0].endswith(b"send the picture within 0.5 seconds\n")
    assert json.loads(ran.out) == {"served": 1, "refused": 1, "failed": 0}


def test_it_is_served_over_ipv6(protect, place):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    model_in(place)

    def do(server):
        assert ask(server, PNG)[0] == 200
        with pytest.raises(OSError, match=rf"got \[::1\]:{server.server_port} \(Address"):
            serving.MarkingServer(NEGATIVE, KERNEL, "::1", server.server_port)

    ran = protect(place, do, serve="[::1]:0")
    assert re.match(r"post PNG files to http://\[::1\]:\d+/; Ctrl-C", ran.err)
    assert ran.out.startswith("1 marked images served")


def test_sigterm_ends_it_as_ctrl_c_does(protect, place):
    model_in(place)
    before = signal.getsignal(signal.SIGTERM)

    def do(server):
        assert ask(server, PNG)[0] == 200
        assert signal.getsignal(signal.SIGTERM) != before
        signal.raise_signal(signal.SIGTERM)

    ran = protect(place, do)
    assert ran.code == 0
    assert ran.out.startswith("1 marked images served; 0 requests refused, 0 without")
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    "text",
    ["", "x", "1:2:3", "[::1]", "[::1]80", "::1:80", "[x]:80", "65536", "-1", "8080:", "٣"],
)
def test_what_is_no_address_is_refused(protect, place, text):
    model_in(place)
    ran = protect(place, lambda server: pytest.fail("it is served"), serve=text)
    assert ran.code == 2
    assert f"must be [HOST:]PORT, such as 8080, or [IPV6]:PORT, got {text!r}" in ran.err


def test_a_port_that_is_taken_is_one_line(protect, place):
    model_in(place)

    def do(server):
        port = server.server_port
        with pytest.raises(OSError, match=rf"free address .* got 127.0.0.1:{port} \(Address"):
            serving.MarkingServer(NEGATIVE, KERNEL, "127.0.0.1", port)

    assert protect(place, do).code == 0


def test_a_file_of_no_image_model_is_refused(protect, place):
    never = lambda server: pytest.fail("it is served")  # noqa: E731
    model_in(place, TOML.replace('answer = "image"', "num_classes = 3"))
    assert "answer must be 'image', for a mark in outputs" in protect(place, never).err
    model_in(place, 'kind = "answers"\nfolder = "queries"\n')
    assert "kind must be one of onnx, torch" in protect(place, never).err
    (place / "denoiser.toml").unlink()
    assert "denoiser.toml is not there" in protect(place, never).err


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_count(place, sent):
    model_in(place)
    command = [sys.executable, "-m", "anw_jax.cli", *words(place)]
    root = pathlib.Path(__file__).resolve().parents[2]
    served = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    try:
        port = int(re.search(r"127\.0\.0\.1:(\d+)/", served.stderr.readline())[1])
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        line.request("POST", "/", PNG, {"Content-Type": "image/png"})
        assert line.getresponse().status == 200
        served.send_signal(sent)
        out, err = served.communicate(timeout=60)
    finally:
        served.kill()
    assert served.returncode == 0
    assert out.startswith("1 marked images served; 0 requests refused, 0 without")
    assert err == ""
