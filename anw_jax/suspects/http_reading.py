"""Reading an answer from a service that may send too much, too slowly, or packed twice."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

# Packings whose unpacking is bounded: at most about a thousand times the bytes received.
_PACKINGS = ("", "identity", "gzip", "deflate")

ASK_FOR = {"accept-encoding": "gzip, deflate"}


class TooSlowError(Exception):
    """The last byte did not come in time."""


class NoAnswerError(Exception):
    """What came is no answer; the message goes behind the URL."""


@dataclasses.dataclass(frozen=True)
class Reply:
    """A response that was read to its end.

    Attributes:
      status: of HTTP.
      retry_after: the header, None without it.
      body: unpacked.
    """

    status: int
    retry_after: str | None
    body: bytes

    @property
    def text(self) -> str:
        """The body for messages; the service's word on its charset is not taken."""
        return self.body.decode("utf-8", "replace")


def read_reply(
    response: Any,
    deadline: float,
    max_bytes: int,
    clock: Callable[[], float] = time.monotonic,
) -> Reply:
    """Reads a streamed response of httpx.

    A time-out of httpx is one for each read: a byte now and then would hold an audit for ever.
    A body that is unpacked may be a thousand times what was sent, and packed twice a million.

    Args:
      response: of `Client.stream`.
      deadline: on `clock`, for the last byte.
      max_bytes: most bytes of the unpacked body.
      clock: seconds, monotonic.

    Raises:
      TooSlowError: the deadline has passed.
      NoAnswerError: a body that is too long, or packed in another way than asked for.
    """
    packing = response.headers.get("content-encoding", "").strip().lower()
    if packing not in _PACKINGS:
        raise NoAnswerError(f"answers packed as {packing!r:.40}, which was not asked for")
    parts, size = [], 0
    for part in response.iter_bytes():
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise NoAnswerError(
                f"answers with more than {max_bytes:,} bytes: raise max_answer_bytes if they "
                "are an answer"
            )
        if clock() > deadline:
            raise TooSlowError
    header = response.headers.get("retry-after")
    return Reply(response.status_code, header, b"".join(parts))
