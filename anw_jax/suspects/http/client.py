"""Send requests over pooled connections: the one file that imports an HTTP library."""

import contextlib
import dataclasses
import functools
import json
import socket
import ssl
import threading
import time
import types
from collections.abc import Mapping
from typing import Any, Self

from anw_jax.suspects.adapters.base import missing
from anw_jax.suspects.http.secrets import checked_url, password_of, proxy_for

_PIECE = 2**16
_GRACE = 0.2
# The client requests no compression. Decompressing these is bounded; a body compressed twice
# could fill the memory.
_PACKINGS = ("", "identity", "gzip", "deflate")


@dataclasses.dataclass(frozen=True)
class Reply:
    """A whole reply.

    Attributes:
      status: HTTP status.
      headers: by name in lower case.
      body: bytes, unpacked.
    """

    status: int
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""

    @property
    def text(self) -> str:
        """The body as UTF-8, 16 or 32, whatever charset the service names."""
        return self.body.decode(json.detect_encoding(self.body), "replace")


class UnreachableError(Exception):
    """Could not connect, so the request was not processed; the message may give the reason."""


class TooSlowError(Exception):
    """Timed out; the service may have processed the request."""


class BrokenOffError(Exception):
    """The connection was cut before the reply was complete; the message gives the cause."""


class NoAnswerError(Exception):
    """The reply is not an answer, and was paid for; the message continues after the URL."""


class PooledClient:
    """Sends requests from several threads; uses the proxy that the environment names.

    Certificates are checked against those of the system. Errors describe the cause without
    showing what was sent: messages of urllib3 contain headers, URLs and proxy passwords.

    Args:
      url: of the service; only its scheme and host matter here.
      connections: largest number of open connections.

    Attributes:
      secrets: passwords that the client sends, by what messages call them.

    Raises:
      MissingLibraryError: urllib3 is not installed.
      ValueError: not a URL, or a proxy that is not one.
    """

    def __init__(self, url: str, connections: int):
        self._urllib3 = _urllib3()
        proxy = proxy_for(checked_url(url))
        options = {"maxsize": connections, "retries": False}
        self._through, self.secrets = "", {}
        if proxy is None:
            self._pool = self._urllib3.PoolManager(**options)
        else:
            name, address = proxy
            self._through = f", through the proxy of {name}"
            if (words := password_of(address)) is not None:
                signed = self._urllib3.make_headers(proxy_basic_auth=":".join(words))
                options["proxy_headers"] = signed
                self.secrets = {f"the password in {name}": words[1]} if words[1] else {}
            self._pool = self._urllib3.ProxyManager(address, **options)
        self._pool.pool_classes_by_scheme = _watched_pools()

    def send(
        self,
        method: str,
        url: str,
        body: bytes,
        headers: dict[str, str],
        seconds: float,
        max_bytes: int,
    ) -> Reply:
        """Send one request and wait for the whole reply; follow no redirect.

        Args:
          method: of HTTP.
          url: of the service.
          body: to send.
          headers: to send.
          seconds: from now to the last byte.
          max_bytes: largest size of the unpacked reply.

        Raises:
          UnreachableError, TooSlowError, BrokenOffError, NoAnswerError: no whole reply.
        """
        deadline, errors = time.monotonic() + seconds, self._urllib3.exceptions
        with _Watch(seconds) as watch:
            try:
                response = self._pool.request(
                    method,
                    url,
                    body=body,
                    headers=headers,
                    timeout=self._urllib3.Timeout(total=seconds),
                    redirect=False,
                    preload_content=False,
                )
                reply = _whole(response, deadline, max_bytes)
            except (TooSlowError, NoAnswerError):
                if not watch.is_over:
                    raise
            except (errors.HTTPError, ValueError, OSError) as error:
                if not watch.is_over:
                    raise self._plain(error) from None
        if watch.is_over:  # a reply that the watch cut off may look like a whole one
            raise TooSlowError
        return reply

    def _plain(self, error: Exception) -> Exception:
        """Return the error of this module for one of urllib3 or of the standard library."""
        errors = self._urllib3.exceptions
        unreached = errors.NewConnectionError, errors.ConnectTimeoutError, errors.ProxyError
        if isinstance(error, unreached):  # refused, or an unknown host name
            return UnreachableError(type(error).__name__ + self._through)
        if isinstance(error, errors.SSLError):
            # Without a trusted certificate nothing was sent; else the request may have been.
            causes = (error.__cause__, *error.args)
            if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
                return UnreachableError("its certificate is not trusted")
            return BrokenOffError(type(error).__name__)
        if isinstance(error, errors.TimeoutError):
            return TooSlowError()
        if isinstance(error, errors.DecodeError):
            return NoAnswerError("answers with a body that does not unpack")
        if isinstance(error, errors.HTTPError):
            # The name of the wrapped error is the plainest word for what happened.
            inner = error.args[-1] if error.args else None
            error = inner if isinstance(inner, Exception) else error
        return BrokenOffError(type(error).__name__)  # messages of these show values

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


def _whole(response: Any, deadline: float, max_bytes: int) -> Reply:
    """Read a response to its end, in bounded time and memory."""
    body = bytearray()
    headers = {name.lower(): value for name, value in response.headers.items()}
    try:
        packing = headers.get("content-encoding", "").strip().lower()
        if packing not in _PACKINGS:
            raise NoAnswerError(
                f"answers with encoding {packing!r:.40}, which was not requested"
            )
        while piece := response.read1(_PIECE, decode_content=True):
            body += piece
            if len(body) > max_bytes:
                raise NoAnswerError(
                    f"answers with more than {max_bytes:,} bytes: raise max_answer_bytes "
                    "if they are an answer"
                )
            if time.monotonic() > deadline:
                raise TooSlowError
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return Reply(response.status, headers, bytes(body))


class _Watch:
    """Cuts the connection of one request when its time is over.

    A socket's time-out starts anew with each piece of data: a service that sends its TLS
    handshake, headers, chunks or compressed body byte by byte would block a thread for ever.
    """

    _of_thread = threading.local()

    def __init__(self, seconds: float):
        self.is_over = False
        self._connection: Any = None
        self._socket: Any = None
        self._opened: list[socket.socket] = []
        # Later than the socket's time-out, which knows whether it was still connecting.
        self._timer = threading.Timer(seconds + _GRACE, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._of_thread.watch = self
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()
        self._of_thread.watch = None
        for one in self._opened:
            one.close()

    @classmethod
    def see(cls, connection: Any) -> None:
        """Pass the connection in use to the watch of this thread, if there is one."""
        watch = getattr(cls._of_thread, "watch", None)
        if watch is not None:
            watch._connection = connection
            # The connection drops its socket after the headers of a reply without a length.
            watch._socket = connection.sock or watch._socket

    @classmethod
    def see_opened(cls, opened: socket.socket) -> None:
        """Pass a socket to the watch of this thread before TLS wraps it."""
        watch = getattr(cls._of_thread, "watch", None)
        if watch is not None:
            # During the handshake no other object refers to the TLS socket.
            watch._opened.append(opened.dup())

    def _cut(self) -> None:
        self.is_over = True
        for one in (self._socket, getattr(self._connection, "sock", None), *self._opened):
            with contextlib.suppress(OSError, TypeError):  # closed, or not yet open
                socket.socket.shutdown(one, socket.SHUT_RDWR)  # also of a TLS socket


@functools.cache
def _watched_pools() -> dict[str, type]:
    """Return urllib3's pool classes with connections that report to the watch."""

    class Watched:
        def connect(self):
            _Watch.see(self)
            return super().connect()

        def _new_conn(self):
            opened = super()._new_conn()
            _Watch.see_opened(opened)
            return opened

        def request(self, *arguments, **options):
            _Watch.see(self)
            return super().request(*arguments, **options)

        def getresponse(self):
            _Watch.see(self)
            return super().getresponse()

    found = {}
    for scheme, pool in _urllib3().poolmanager.pool_classes_by_scheme.items():
        connection = type("WatchedConnection", (Watched, pool.ConnectionCls), {})
        found[scheme] = type("WatchedPool", (pool,), {"ConnectionCls": connection})
    return found


def _urllib3() -> types.ModuleType:
    try:
        import urllib3
    except ImportError:
        raise missing("querying an HTTP endpoint", "http") from None
    return urllib3
