"""Requests over kept connections: the one file that knows an HTTP library."""

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
from typing import Any, Protocol, Self

from anw_jax.suspects.adapters.base import missing
from anw_jax.suspects.http.secrets import checked_url, password_of, proxy_for

_PIECE = 2**16
_GRACE = 0.2
# None is asked for. Unpacking these is bounded; packed twice, a body could fill any memory.
_PACKINGS = ("", "identity", "gzip", "deflate")


@dataclasses.dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
      status: of HTTP.
      headers: names in lower case.
      body: bytes, unpacked.
    """

    status: int
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""

    @property
    def text(self) -> str:
        """The body as UTF-8, 16 or 32; the service's word on its charset is not taken."""
        return self.body.decode(json.detect_encoding(self.body), "replace")


class UnreachableError(Exception):
    """No connection: the service did nothing; may say why."""


class TooSlowError(Exception):
    """The time is over; the service may have worked."""


class BrokenOffError(Exception):
    """The connection was cut before the reply was whole; says by what."""


class NoAnswerError(Exception):
    """What came is no answer, and was paid for; the message goes behind the URL."""


class Client(Protocol):
    """Sends requests for several threads at once."""

    def send(
        self,
        method: str,
        url: str,
        body: bytes,
        headers: dict[str, str],
        seconds: float,
        max_bytes: int,
    ) -> Reply:
        """Sends one request and waits for the whole reply; follows no redirect.

        Args:
          method: of HTTP.
          url: of the service.
          body: to send.
          headers: to send.
          seconds: from now to the last byte.
          max_bytes: most bytes of the unpacked reply.

        Raises:
          UnreachableError, TooSlowError, BrokenOffError, NoAnswerError: no whole reply.
        """

    def close(self) -> None:
        """Ends the connections."""


class PooledClient:
    """A `Client` on urllib3; goes through the proxy that the environment names.

    Certificates are checked against those of the system. Errors name what happened and show
    nothing of what was sent: texts of urllib3 hold headers, URLs and proxies with passwords.

    Args:
      url: of the service; only its scheme and host matter here.
      connections: kept open at most.

    Raises:
      MissingLibraryError: urllib3 is not installed.
      ValueError: no URL, or a proxy that is none.
    """

    def __init__(self, url: str, connections: int):
        self._urllib3 = _urllib3()
        proxy = proxy_for(checked_url(url))
        options = {"maxsize": connections, "retries": False}
        self._through = ""
        if proxy is None:
            self._pool = self._urllib3.PoolManager(**options)
        else:
            name, address = proxy
            self._through = f", through the proxy of {name}"
            self._pool = self._urllib3.ProxyManager(address, **_signed(address), **options)
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
        """See `Client.send`."""
        with _Watch(seconds) as watch:
            try:
                reply = self._sent(method, url, body, headers, seconds, max_bytes)
            except (UnreachableError, BrokenOffError, NoAnswerError):
                if not watch.is_over:
                    raise
        if watch.is_over:  # a reply that the watch cut off may look like a whole one
            raise TooSlowError
        return reply

    def _sent(
        self,
        method: str,
        url: str,
        body: bytes,
        headers: dict[str, str],
        seconds: float,
        max_bytes: int,
    ) -> Reply:
        errors, deadline = self._urllib3.exceptions, time.monotonic() + seconds
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
            return self._whole(response, deadline, max_bytes)
        except (
            errors.NewConnectionError,  # refused, or a name that nobody knows
            errors.ConnectTimeoutError,
            errors.ProxyError,
        ) as error:
            raise UnreachableError(type(error).__name__ + self._through) from None
        except errors.SSLError as error:
            # Without a trusted certificate nothing was sent; else the request may have been.
            is_before = isinstance(error.__cause__, ssl.SSLCertVerificationError)
            is_before |= any(isinstance(a, ssl.SSLCertVerificationError) for a in error.args)
            if is_before:
                raise UnreachableError("its certificate is not trusted") from None
            raise BrokenOffError(type(error).__name__) from None
        except errors.TimeoutError:
            raise TooSlowError from None
        except errors.DecodeError:
            raise NoAnswerError("answers with a body that does not unpack") from None
        except errors.HTTPError as error:
            raise BrokenOffError(_cause(error)) from None
        except (ValueError, OSError) as error:  # of the standard library, which shows values
            raise BrokenOffError(type(error).__name__) from None

    def close(self) -> None:
        """See `Client.close`."""
        self._pool.clear()

    def _whole(self, response: Any, deadline: float, max_bytes: int) -> Reply:
        """Reads to the end; a service that drips must not hold the audit for ever."""
        body = bytearray()
        headers = {name.lower(): value for name, value in response.headers.items()}
        try:
            packing = headers.get("content-encoding", "").strip().lower()
            if packing not in _PACKINGS:
                raise NoAnswerError(
                    f"answers packed as {packing!r:.40}, which was not asked for"
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
    """Cuts the connection of one request when its time is over, wherever it waits.

    The time-outs of sockets hold for each piece that comes: a service that drips its TLS
    handshake, its head, its chunks or its packing byte by byte would hold a thread for ever.
    """

    _of_thread = threading.local()

    def __init__(self, seconds: float):
        self.is_over = False
        self._connection: Any = None
        self._socket: Any = None
        self._opened: list[socket.socket] = []
        # Not before the time-out of the socket, which knows whether it was connecting.
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
        """Tells the watch of this thread, if there is one, which connection is used."""
        watch = getattr(cls._of_thread, "watch", None)
        if watch is not None:
            watch._connection = connection
            # The connection lets go of it at the head of a reply without a length.
            watch._socket = connection.sock or watch._socket

    @classmethod
    def see_opened(cls, opened: socket.socket) -> None:
        """Tells the watch of this thread of a socket before TLS takes it over."""
        watch = getattr(cls._of_thread, "watch", None)
        if watch is not None:
            # A handshake goes on in a socket that nobody sees before it is through.
            watch._opened.append(opened.dup())

    def _cut(self) -> None:
        self.is_over = True
        for one in (self._socket, getattr(self._connection, "sock", None), *self._opened):
            with contextlib.suppress(OSError, TypeError):  # closed, or not yet open
                socket.socket.shutdown(one, socket.SHUT_RDWR)  # also of a TLS socket


@functools.cache
def _watched_pools() -> dict[str, type]:
    """urllib3's pools, on connections that tell the watch when they are used."""

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


def _signed(proxy: str) -> dict[str, Any]:
    """The user and password that a proxy's URL may hold, as a header."""
    words = password_of(proxy)
    if words is None:
        return {}
    return {"proxy_headers": _urllib3().make_headers(proxy_basic_auth=":".join(words))}


def _cause(error: Exception) -> str:
    """The name of what urllib3 wrapped, as the plainest word for what happened."""
    inner = error.args[-1] if error.args else None
    return type(inner if isinstance(inner, Exception) else error).__name__


def _urllib3() -> types.ModuleType:
    try:
        import urllib3
    except ImportError:
        raise missing("asking an HTTP endpoint", "http") from None
    return urllib3
