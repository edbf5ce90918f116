"""Requests over kept connections: the one file that knows an HTTP library."""

import dataclasses
import time
import types
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, Protocol

from anw_jax.suspects.libraries import missing

# No answer about a picture is as long; a service that sends on and on fills no memory.
LONGEST_BODY = 64 * 2**20
_PIECE = 2**16


@dataclasses.dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
      status: of HTTP.
      headers: names in lower case.
      body: bytes, decompressed.
    """

    status: int
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""


class Unreachable(Exception):
    """No connection: the service did nothing."""


class TooSlow(Exception):
    """The time is over; the service may have worked."""


class BrokenOff(Exception):
    """The connection was cut before the reply was whole; says by what."""


class TooLong(Exception):
    """The reply has more than `LONGEST_BODY` bytes."""


class Client(Protocol):
    """Sends requests for several threads at once."""

    def send(
        self, method: str, url: str, body: bytes, headers: dict[str, str], seconds: float
    ) -> Reply:
        """Sends one request and waits for the whole reply; follows no redirect.

        Raises:
          Unreachable, TooSlow, BrokenOff, TooLong: there is no whole reply.
        """

    def close(self) -> None:
        """Ends the connections."""


class PooledClient:
    """A `Client` on urllib3; goes through the proxy that the environment names.

    Certificates are checked against those of the system.

    Args:
      url: of the service; only its scheme and host matter here.
      connections: kept open at most.

    Raises:
      MissingLibraryError: urllib3 is not installed.
      ValueError: no URL.
    """

    def __init__(self, url: str, connections: int):
        self._urllib3 = _urllib3()
        try:
            parts = self._urllib3.util.parse_url(url)
        except self._urllib3.exceptions.LocationParseError:
            raise ValueError(f"url must be a URL, got {url!r}") from None
        options = {"maxsize": connections, "retries": False}
        proxy = urllib.request.getproxies().get(parts.scheme)
        if proxy is None or urllib.request.proxy_bypass(parts.host):
            self._pool = self._urllib3.PoolManager(**options)
        else:
            self._pool = self._urllib3.ProxyManager(proxy, **_signed(proxy), **options)

    def send(
        self, method: str, url: str, body: bytes, headers: dict[str, str], seconds: float
    ) -> Reply:
        """See `Client.send`."""
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
            return self._whole(response, deadline)
        # A refused connection is a NewConnectionError, a name that is not known one too.
        except (errors.NewConnectionError, errors.ConnectTimeoutError) as error:
            raise Unreachable(type(error).__name__) from None
        except (errors.ProxyError, errors.SSLError) as error:
            raise Unreachable(type(error).__name__) from None
        except errors.TimeoutError:
            raise TooSlow from None
        except errors.HTTPError as error:
            raise BrokenOff(_cause(error)) from None

    def close(self) -> None:
        """See `Client.close`."""
        self._pool.clear()

    def _whole(self, response: Any, deadline: float) -> Reply:
        """Reads to the end; a service that drips must not hold the audit for ever."""
        body = bytearray()
        try:
            while piece := response.read1(_PIECE, decode_content=True):
                body += piece
                if len(body) > LONGEST_BODY:
                    raise TooLong
                if time.monotonic() > deadline:
                    raise TooSlow
        except BaseException:
            response.close()
            raise
        response.release_conn()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status, headers, bytes(body))


def _signed(proxy: str) -> dict[str, Any]:
    """The user and password that a proxy's URL may hold, as a header."""
    parts = urllib.parse.urlsplit(proxy)
    if parts.username is None:
        return {}
    words = (urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
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
