"""A server of `anw ui` on this machine, and requests to it as any program could send them."""

import dataclasses
import http.client
import json
import threading
import time

import pytest

from anw_jax.cli.ui.server import Server
from anw_jax.cli.ui.session import Session
from tests.audit.test_marked_files import picture


@dataclasses.dataclass
class Answer:
    code: int
    body: bytes
    headers: dict

    @property
    def json(self):
        return json.loads(self.body)


class Client:
    """Sends the headers that the page's browser would send, unless told otherwise."""

    def __init__(self, server: Server):
        self.server, self.session = server, server.session

    def ask(self, method, path, body=None, token=None, **headers) -> Answer:
        sent = {"Host": self.server.host}
        if method == "POST":
            sent["Origin"] = f"http://{self.server.host}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            sent["Content-Length"] = str(len(body))
        sent |= headers
        line = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=60)
        token = self.server.token if token is None else token
        line.putrequest(method, f"/{token}/{path}", skip_host=True)
        for name, value in sent.items():
            if value is not None:
                line.putheader(name, value)
        line.endheaders(body)
        found = line.getresponse()
        answer = Answer(found.status, found.read(), dict(found.getheaders()))
        line.close()
        return answer

    def get(self, path, **more) -> Answer:
        return self.ask("GET", path, **more)

    def post(self, path, body=None, **more) -> Answer:
        return self.ask("POST", path, {} if body is None else body, **more)

    def job(self) -> dict:
        """Wait for the job."""
        for _ in range(1200):
            job = self.get("state").json["job"]
            if job["code"] is not None:
                return job
            time.sleep(0.05)
        raise AssertionError(f"still running: {job}")


@pytest.fixture
def client(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    with Server(Session(work)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Client(server)
        server.shutdown()


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for seed, name in enumerate(("a.jpg", "b.png", "sub/c.png")):
        picture(seed).save(folder / name)
    return folder
