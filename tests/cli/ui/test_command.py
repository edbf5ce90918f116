"""`anw ui` prints the address, opens a browser on request only, and leaves nothing behind."""

import pathlib
import re
import socket
import stat

import pytest

from anw_jax.cli import output
from anw_jax.cli.ui import command

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C as soon as the server runs; returns the servers' temporary folders."""
    seen = []

    def serve(server):
        seen.append(server.session.work)
        assert server.session.work.is_dir()
        raise KeyboardInterrupt

    monkeypatch.setattr(command.Server, "serve_forever", serve)
    return seen


def test_the_address_is_printed_and_nothing_is_left(anw, interrupted):
    ran = anw("ui", "--no-browser")
    assert ran.code == output.DONE
    assert re.match(r"http://127\.0\.0\.1:\d+/[\w-]{43}/\n", ran.out)
    assert [work.exists() for work in interrupted] == [False]


def test_the_browser_is_not_told_the_token_by_its_arguments(anw, interrupted, monkeypatch):
    opened = []

    def browse(address):
        page = pathlib.Path(address.removeprefix("file://"))
        opened.append((address, page.read_text(), stat.S_IMODE(page.stat().st_mode)))

    class AtOnce:
        def __init__(self, target, args, daemon):
            self._work = lambda: target(*args)

        def start(self):
            self._work()

    monkeypatch.setattr(command.webbrowser, "open", browse)
    monkeypatch.setattr(command.threading, "Thread", AtOnce)
    ran = anw("ui")
    token = re.match(r"http://[^/]+/([^/]+)/", ran.out)[1]
    ((address, page, mode),) = opened
    assert token not in address
    assert f"/{token}/" in page
    assert mode == 0o600


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--port", "70000"), "70000 is not in the range 0<=x<=65535"),
        (("--port", "-1"), "-1 is not in the range 0<=x<=65535"),
        (("--port", "http"), "'http' is not a valid integer range"),
        (("--host", "0.0.0.0"), "No such option"),
        (("photos",), "Got unexpected extra argument"),
    ],
)
def test_bad_options_are_named(anw, words, text):
    ran = anw("ui", "--no-browser", *words)
    assert (ran.code, ran.out) == (output.USAGE, "")
    assert text in ran.err


def test_a_port_that_is_taken_is_named(anw):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = anw("ui", "--no-browser", "--port", port)
    assert ran.code == output.FAILED
    assert f"--port must be free, got {port} (" in ran.err
