"""Requests over kept connections: the one file that knows an HTTP library."""

import dataclasses
import ssl
import time
import types
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, Protocol

from anw_jax.suspects.libraries import missing

_PIECE = 2**16
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
        """The body for messages; the service's word on its charset is not taken."""
        return self.body.decode("utf-8", "replace")


class UnreachableError(Exception):
    """No connection: the service did nothing."""


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
        self,
        method: str,
        url: str,
        body: bytes,
        headers: dict[str, str],
        seconds: float,
        max_bytes: int,
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
            return self._whole(response, deadline, max_bytes)
        except (
            errors.NewConnectionError,  # refused, or a name that nobody knows
            errors.ConnectTimeoutError,
            errors.ProxyError,
        ) as error:
            raise UnreachableError(type(error).__name__) from None
        except errors.SSLError as error:
            # Without a trusted certificate nothing was sent; else the request may have been.
            is_before = isinstance(error.__cause__, ssl.SSLCertVerificationError)
            is_before |= any(isinstance(a, ssl.SSLCertVerificationError) for a in error.args)
            failure = UnreachableError if is_before else BrokenOffError
            raise failure(type(error).__name__) from None
        except errors.TimeoutError:
            raise TooSlowError from None
        except errors.DecodeError:
            raise NoAnswerError("answers with a body that does not unpack") from None
        except errors.HTTPError as error:
            raise BrokenOffError(_cause(error)) from None

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
