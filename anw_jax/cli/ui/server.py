"""The server of the page: this machine only, and only who knows the address.

Any program on this machine, and any web page in a browser on it, can send requests to a port of
127.0.0.1. So each is refused unless its path begins with a random token, its Host is this very
address (else a web site could rebind its own name to 127.0.0.1), and its Origin, which browsers
send with every POST, is this page.
"""

import hmac
import importlib.resources
import pathlib
import re
import secrets
import urllib.parse
from typing import Any

from anw_jax import _json
from anw_jax.audit.options import DEFAULT_MARK
from anw_jax.cli import http_server, output
from anw_jax.cli.ui import steps
from anw_jax.cli.ui.session import Session
from anw_jax.marks.named import NAMES, STRENGTHS

_MOST_JSON, _MOST_FILE = 2**20, 2**31
_CHUNK = 2**20
_PICTURE = re.compile(r"photo/(\d{1,9})\.jpg")

# Pages of previews and reports have their style inside; none has a script.
_OF_PAGE = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_OF_OTHERS = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".json": "application/json",
}
_PAGES = ("preview/preview.html", "preview/preview.png", "report.html")


class Server(http_server.Server):
    """The server.

    Args:
      session: what it shows.
      port: 0 for any that is free.

    Raises:
      OSError: the port is taken.
    """

    def __init__(self, session: Session, port: int = 0):
        self.session, self.token = session, secrets.token_urlsafe(32)
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def host(self) -> str:
        """What the Host header must be."""
        return f"127.0.0.1:{self.server_port}"

    @property
    def address(self) -> str:
        """The address of the page, with its token."""
        return f"http://{self.host}/{self.token}/"


class _Handler(http_server.Handler):
    server: Server

    def do_GET(self) -> None:
        """Answer with the page, a picture, or the state."""
        path = self._checked_path()
        if path is None:
            return
        if path in ("", "ui.css", "ui.js"):
            self._send(200, _static(path or "ui.html"), pathlib.Path(path or "ui.html").suffix)
        elif path == "state":
            self._send_json(200, self.server.session.as_json() | _choices())
        elif match := _PICTURE.fullmatch(path):
            self._answer(lambda: self._picture(int(match[1])), ".jpg")
        elif path in _PAGES and (file := self.server.session.work / path).is_file():
            self._send(200, file.read_bytes(), file.suffix, _OF_OTHERS)
        else:
            self._refuse(404, "there is no such page")

    def do_POST(self) -> None:
        """Do a step."""
        path = self._checked_path()
        if path is None:
            return
        if self.headers.get("Origin") != f"http://{self.server.host}":
            self._refuse(403, "the request does not come from the page")
        elif path == "drop":
            self._answer(self._drop, ".json")
        elif path == "stop":
            self.server.session.stop()
            self._send_json(200, {})
        elif path in steps.AT_ONCE or path in steps.JOBS:
            self._answer(lambda: self._step(path), ".json")
        else:
            self._refuse(404, "there is no such step")

    def _checked_path(self) -> str | None:
        """Return the path after the token; refuse others, and return None."""
        token, _, path = self.path.partition("?")[0].removeprefix("/").partition("/")
        origin = self.headers.get("Origin")
        if self.headers.get_all("Host") != [self.server.host]:
            self._refuse(403, "the Host of the request is another")
        elif origin not in (None, f"http://{self.server.host}"):
            self._refuse(403, "the request does not come from the page")
        elif not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(404, "the address has no token, or an old one: anw ui prints it")
        else:
            return path
        return None

    def _answer(self, work: Any, ending: str) -> None:
        """Send what some work returns; its error as one line."""
        try:
            body = work()
        except Exception as error:
            self._send_json(400, {"error": output.line_of_error(error)})
        else:
            self._send(200, body, ending)

    def _picture(self, number: int) -> bytes:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        mark = query.get("mark", [None])[0]
        strength = query.get("strength", [None])[0]
        return self.server.session.picture(
            number, mark, None if strength is None else float(strength)
        )

    def _step(self, name: str) -> bytes:
        given = _json.loads(self.body(_MOST_JSON))
        if not isinstance(given, dict):
            raise ValueError(f"the request must be an object, got {given!r:.40}")
        session = self.server.session
        if name in steps.JOBS:
            session.start(name, steps.JOBS[name](session, given))
            return b"{}"
        lines = steps.AT_ONCE[name](session, given)
        return _json.dumps({"lines": list(map(output.printable, lines))}).encode()

    def _drop(self) -> bytes:
        """Store a dropped file."""
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        file = steps.dropped_file(self.server.session, query.get("name", [""])[0])
        left = self.length(_MOST_FILE)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as target:
            while left:
                part = self.rfile.read(min(left, _CHUNK))
                if not part:
                    raise OSError(f"{file.name} was cut short")
                target.write(part)
                left -= len(part)
        steps.set_time(file, query.get("modified", [""])[0])
        return b"{}"

    def _refuse(self, code: int, why: str) -> None:
        self._send_json(code, {"error": why})

    def _send_json(self, code: int, body: dict[str, Any]) -> None:
        self._send(code, _json.dumps(body).encode(), ".json")

    def _send(self, code: int, body: bytes, ending: str, policy: str = _OF_PAGE) -> None:
        self.send_response(code)
        for name, value in (
            ("Content-Type", _KINDS[ending]),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", policy),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "same-origin"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _static(name: str) -> bytes:
    """Return a file of the page; the style sheet begins with that of the reports."""
    body = importlib.resources.files(__package__).joinpath(name).read_bytes()
    if name != "ui.css":
        return body
    from anw_jax.report.html import style_sheet

    return style_sheet().encode() + body


def _choices() -> dict[str, Any]:
    """Return the marks to choose from, with default and largest strength."""
    return {"marks": {name: STRENGTHS.get(name) for name in NAMES}, "mark": DEFAULT_MARK}
