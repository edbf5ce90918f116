"""What the servers of `anw` share: a thread for each request, bounded bodies, no log."""

import http.server
import os
import re
import time
from typing import Any

_SECONDS = 60
_PIECE = 2**16


class Server(http.server.ThreadingHTTPServer):
    """A server on this machine.

    Raises:
      OSError: the port is taken, or this machine has no such address.
    """

    daemon_threads = True
    # On Windows it would let another program take the port over.
    allow_reuse_address = os.name == "posix"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away is no error."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request."""

    timeout = _SECONDS
    server_version, sys_version = "anw", ""

    def log_message(self, *_: Any) -> None:
        """Log nothing: an address may hold a token."""

    def length(self, most: int) -> int:
        """Return the length of the body.

        Raises:
          ValueError: it is not given, or more than `most` bytes.
        """
        text = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,12}", text) or int(text) > most:
            raise ValueError(f"Content-Length must be at most {most:,}, got {text!r:.40}")
        return int(text)

    def body(self, most: int) -> bytes:
        """Return the body, or what a client sends of it before it stops sending.

        Raises:
          ValueError: as `length`.
          TimeoutError: it takes longer than `timeout`, in seconds, however it is sent.
        """
        body, length = bytearray(), self.length(most)
        end = time.monotonic() + self.timeout
        while left := length - len(body):
            self.connection.settimeout(max(1e-3, end - time.monotonic()))
            part = self.rfile.read1(min(left, _PIECE))
            if not part:
                break
            body += part
        self.connection.settimeout(self.timeout)
        return bytes(body)
