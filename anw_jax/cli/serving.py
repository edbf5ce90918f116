"""The server of `anw model protect --serve`: sends marked outputs of a model, and no others.

It has no accounts and no TLS. A browser lets no page of another site send PNG files here: they
are not among the content types that need no permission. A site that points its own name to this
machine gets past that; like all others it gets marked outputs alone.
"""

import contextlib
import socket
import threading
import time
from collections import Counter

import numpy as np

from anw_jax import data
from anw_jax.cli import http_server, output
from anw_jax.schemes import barrier
from anw_jax.suspects import Suspect, images_fn
from anw_jax.suspects.http.png import png_size, read_png
from anw_jax.suspects.protocol import RemoteSuspect

_MOST_BYTES, _MOST_PIXELS = 2**26, 2**24
# Requests in work; others are told to come back. This bounds the memory.
_MOST_AT_ONCE = 8
_SECONDS_TO_FINISH = 10.0
_PIECE = 2**16
_FAILED = 500
_TEXT = "text/plain; charset=utf-8"


class RefusedError(Exception):
    """A request that is not answered.

    Args:
      code: HTTP status.
      text: why, one line.
    """

    def __init__(self, code: int, text: str):
        super().__init__(text)
        self.code = code


class MarkingServer(http_server.Server):
    """Answers each PNG that is posted with the model's marked output.

    Args:
      model: the owner's; it gives images for images.
      kernel: of `barrier.keyed_kernel`. **Secret**.
      host: name or address of this machine at which to listen, IPv4 or IPv6.
      port: 0 for any that is free.

    Attributes:
      counts: of requests "served", "refused" (the request's fault) and "failed" (the model's).
      places: one for each request in work.

    Raises:
      OSError: the port is taken, or this machine has no such address.
    """

    def __init__(self, model: Suspect, kernel: np.ndarray, host: str, port: int):
        self._size, self._kernel = model.declaration.input_size, kernel
        self._ask = images_fn(model)
        # A model in this process answers one request at a time; a service has its own limit.
        is_remote = isinstance(model, RemoteSuspect)
        self._turn = contextlib.nullcontext() if is_remote else threading.Lock()
        self.counts: Counter[str] = Counter(served=0, refused=0, failed=0)
        self._counting = threading.Lock()
        self.places = threading.BoundedSemaphore(_MOST_AT_ONCE)
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise OSError(
                "--serve must be a free address of this machine, got "
                f"{_joined(host, port)} ({error.strerror})"
            ) from None

    @property
    def address(self) -> str:
        """Where PNG files are posted."""
        return f"http://{_joined(*self.server_address[:2])}/"

    def picture(self, body: bytes) -> np.ndarray:
        """Read what was posted, uint8 `[H, W, 3]`.

        Raises:
          RefusedError: no PNG of 8-bit RGB, or one of another size than the model takes.
        """
        try:
            size = png_size(body)
            if size[0] * size[1] > _MOST_PIXELS:
                text = f"send at most {_MOST_PIXELS:,} pixels, got {size[0]}x{size[1]}"
                raise RefusedError(413, text)
            if self._size not in (None, size):
                wanted = f"{self._size[0]}x{self._size[1]}"
                text = f"send a picture of {wanted} pixels, got {size[0]}x{size[1]}"
                raise RefusedError(422, text)
            return read_png(body, size)
        except ValueError as error:
            raise RefusedError(422, f"send a PNG file, got {error}") from None

    def marked(self, picture: np.ndarray) -> bytes:
        """Return the PNG of the model's marked output: as `anw model protect --out` writes it.

        Raises:
          RefusedError: the model fails. Only its owner is told why, on standard error.
        """
        try:
            with self._turn:
                outputs = self._ask(picture[None])
            return data.png_of(barrier.protect(self._kernel, outputs)[0])
        except Exception as error:  # models have errors of their own
            output.say("anw: no answer:", output.line_of_error(error), "red")
            raise RefusedError(_FAILED, "the model has no answer to this picture") from None

    def count(self, what: str) -> None:
        """Count a request."""
        with self._counting:
            self.counts[what] += 1

    def finish(self) -> None:
        """Wait for the requests in work, but not for ever."""
        end = time.monotonic() + _SECONDS_TO_FINISH
        for _ in range(_MOST_AT_ONCE):
            self.places.acquire(timeout=max(0.0, end - time.monotonic()))


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Handler(http_server.Handler):
    server: MarkingServer
    # Also of what the standard library refuses: one line.
    error_message_format, error_content_type = "%(message)s\n", _TEXT

    def do_POST(self) -> None:
        """Answer with a marked output, or with one line."""
        if not self.server.places.acquire(blocking=False):
            self._refuse(RefusedError(503, "too many requests at once: send it again later"))
            return
        try:
            body = self.server.marked(self.server.picture(self._body()))
            self._send(200, body, "image/png")
            self.server.count("served")
        except RefusedError as error:
            self._refuse(error)
        finally:
            self.server.places.release()

    def _body(self) -> bytes:
        kind = self.headers.get_content_type()
        if kind != "image/png":
            raise RefusedError(415, f"Content-Type must be image/png, got {kind!r:.40}")
        try:
            return self.body(_MOST_BYTES)
        except ValueError as error:
            raise RefusedError(413, str(error)) from None
        except TimeoutError:
            raise RefusedError(408, f"send the picture within {self.timeout} seconds") from None

    def _refuse(self, error: RefusedError) -> None:
        self.server.count("failed" if error.code == _FAILED else "refused")
        self._send(error.code, f"{error}\n".encode(), _TEXT)
        # A client that is still sending sees the answer only if its body is taken.
        end = time.monotonic() + _SECONDS_TO_FINISH
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1.0)
            while self.rfile.read1(_PIECE) and time.monotonic() < end:
                pass

    def _send(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
