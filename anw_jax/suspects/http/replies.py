"""What a reply means, and when the next request may be sent."""

import email.utils
import json
import random
import re
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

import numpy as np

from anw_jax import _check, _json
from anw_jax.errors import RefusedPictureError, SuspectError
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.http.answer import AnswerTemplate
from anw_jax.suspects.http.client import Reply
from anw_jax.suspects.http.png import read_png
from anw_jax.suspects.http.secrets import Secrets, not_shown, shown_url
from anw_jax.suspects.protocol import Answers

# Statuses of a service that is running and does not answer now; it did no work for them.
LOADING = 503
REFUSED = (429, LOADING)
_TRY_AGAIN = (408, 429)

_ANSWERED = (200, 201)
# The statuses 4xx that are not about one picture: credentials, payment, address, method,
# proxy, time, a service that is gone, speed.
_OF_ALL = (401, 402, 403, 404, 405, 407, 408, 410, 429)


def is_for_now(status: int) -> bool:
    """Return whether another attempt may be answered: after 408, 429 and 5xx."""
    return status in _TRY_AGAIN or status >= 500


class Reader:
    """Reads the replies of one service and writes every message about them.

    Args:
      url: of the service.
      template: of an answer.
      secrets: which no message may repeat.
    """

    def __init__(self, url: str, template: AnswerTemplate, secrets: Secrets):
        self._url, self._template, self._secrets = url, template, secrets

    def trouble(self, what: str, said: str | None = None) -> str:
        """Return a message: the URL, what happened, and the beginning of the reply.

        Args:
          what: happened; contains no text of the service.
          said: text of the service.
        """
        message = f"{shown_url(self._url)} {what}"
        return message if said is None else f"{message}: {self._secrets.shown(said)}"

    def quoting(self, what: str, separator: str = ": ") -> str:
        """Return a message with text of the service inside ours, `separator` after the URL."""
        name = self._secrets.repeated_in(what)
        if name is not None:
            what, separator = f"the answer is not as declared {not_shown(name)}", ": "
        return f"{shown_url(self._url)}{separator}{what}"

    def status(self, reply: Reply) -> str:
        """Return a message about a reply that is not an answer."""
        what = f"answers with status {reply.status}"
        location = reply.headers.get("location")
        if not 300 <= reply.status < 400 or location is None:
            return self.trouble(what, reply.text)
        try:
            place = shown_url(urllib.parse.urljoin(self._url, location))
        except ValueError:
            place = shown_url(location)
        place = f"{self._secrets.shown(place)}: give the address that answers as url"
        return self.trouble(f"{what}, which points to {place}")

    def answers(
        self, reply: Reply, declaration: Declaration, num_images: int
    ) -> list[Answers | RefusedPictureError]:
        """Return an answer for each picture, or the error why it has none.

        Raises:
          RefusedPictureError: one or more of the pictures are refused; it is not known which.
          SuspectError: an error of the whole service.
        """
        self._check_status(reply)
        body = self._parsed(reply)
        try:
            found = self._template.read_each(body, declaration, num_images)
        except RecursionError:  # of quoting it
            raise SuspectError(self.trouble(_TOO_DEEP)) from None
        except SuspectError as error:
            raise type(error)(self.quoting(str(error))) from None
        return [
            RefusedPictureError(self.quoting(str(one)))
            if isinstance(one, RefusedPictureError)
            else one
            for one in found
        ]

    def image(self, reply: Reply, size: tuple[int, int]) -> np.ndarray:
        """Return the image of a reply whose body is a PNG file, uint8 `[H, W, 3]`.

        Args:
          reply: to one picture.
          size: (H, W) of the picture.

        Raises:
          RefusedPictureError: the picture is refused.
          SuspectError: another content type, no whole PNG, or one of another size, depth or
            number of channels.
        """
        self._check_status(reply)
        kind = _media_type(reply)
        if kind not in ("", "image/png"):
            said = reply.text if kind.startswith("text/") or "json" in kind else None
            what = f"answers with content type {self._secrets.shown(kind)}, not 'image/png'"
            raise SuspectError(self.trouble(what, said))
        try:
            return read_png(reply.body, size)
        except ValueError as error:
            raise SuspectError(self.trouble(f"answers with {error}")) from None

    def _check_status(self, reply: Reply) -> None:
        if reply.status not in _ANSWERED:
            is_of_picture = 400 <= reply.status < 500 and reply.status not in _OF_ALL
            raise (RefusedPictureError if is_of_picture else SuspectError)(self.status(reply))

    def _parsed(self, reply: Reply) -> Any:
        text = reply.text.removeprefix("\ufeff")
        try:
            return _json.loads(text, allow_nan=True)
        except RecursionError:
            raise SuspectError(self.trouble(_TOO_DEEP)) from None
        except ValueError as error:
            problem = _problem(reply, text, error)
        kind = _media_type(reply)
        if problem.endswith("JSON") and kind and "json" not in kind:
            problem += f" but {self._secrets.shown(kind)}"
        said = None if reply.body[:2] == _GZIP or not text.strip() else text
        raise SuspectError(self.trouble(problem, said))


def _media_type(reply: Reply) -> str:
    return reply.headers.get("content-type", "").partition(";")[0].strip().lower()


_TOO_DEEP = "answers with JSON nested too deep"
_GZIP = b"\x1f\x8b"
_BEGINNINGS = '{["-0123456789tfnNI'  # of JSON, with NaN and Infinity


def _problem(reply: Reply, text: str, error: ValueError) -> str:
    """Return why a body is not JSON."""
    if not text.strip():
        return "answers with an empty body"
    if reply.body[:2] == _GZIP:
        return "answers with gzip that no content-encoding announces"
    if text.lstrip()[:1] == "<":
        return "answers with HTML, not JSON"
    if isinstance(error, _json.FieldTwiceError):
        return "answers with JSON in which one field stands twice"
    if not isinstance(error, json.JSONDecodeError):
        return "answers with a number too large to be one"
    if text.lstrip()[:1] not in _BEGINNINGS:
        return "answers with what is not JSON"
    if error.msg == "Extra data":
        return f"answers with JSON and more behind it at character {error.pos}"
    return f"answers with JSON that is cut off or malformed at character {error.pos}"


_LONGEST_BACK_OFF = 60.0
_LONGEST_DIGITS = 12
# Waits that end within this many seconds of each other are reported once.
_SAME_END = 5.0


class Pace:
    """Spaces the requests of all threads to one endpoint.

    Args:
      per_second: largest number of requests in a second; None for no limit.
      clock: seconds, monotonic.
      sleep: waits; takes seconds.

    Attributes:
      is_down: whether the last request ended without any answer of the service.
    """

    def __init__(
        self,
        per_second: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ):
        rate = None if per_second is None else _check.positive(per_second=per_second)
        self._gap = 0.0 if rate is None else 1.0 / rate
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._next = self._paused_until = self._logged_until = -float("inf")
        self.is_down = False

    def wait(self, sleep: Callable[[float], object] | None = None) -> None:
        """Wait until a request may be sent, or until `sleep` returns True.

        Args:
          sleep: in place of the one of the constructor, such as the `wait` of an event.
        """
        sleep = self._sleep if sleep is None else sleep
        start = self._next_turn()
        while True:
            left = start - self._clock()
            if left > 0 and sleep(left):
                return
            # There may be a new pause since this thread began to wait.
            with self._lock:
                if self._paused_until <= start:
                    return
            start = self._next_turn()

    def _next_turn(self) -> float:
        with self._lock:
            start = max(self._clock(), self._next)
            self._next = start + self._gap
        return start

    def pause(self, seconds: float) -> None:
        """Keep all threads from sending requests for some seconds."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)
            self._next = max(self._next, self._paused_until)

    def should_log(self, seconds: float) -> bool:
        """Return True if this wait should be logged (it ends later than any already logged).

        Several threads wait for one service; one warning reports all of them.
        """
        with self._lock:
            end = self._clock() + seconds
            if end <= self._logged_until + _SAME_END:
                return False
            self._logged_until = end
        return True


def back_off(attempt: int, first_seconds: float) -> float:
    """Return the seconds before attempt `attempt` + 1: doubled each time, at most a minute.

    Up to a quarter is subtracted at random, so that threads that failed together do not retry
    together; no answer depends on it.

    Example:
      >>> 3.0 <= back_off(3, 1.0) <= 4.0
      True
    """
    longest = min(_LONGEST_BACK_OFF, first_seconds * 2.0 ** (attempt - 1))
    return longest * random.uniform(0.75, 1.0)


def retry_after(header: str | None, now: float) -> float | None:
    """Return the seconds of a Retry-After header; None without a readable one.

    Args:
      header: a number of seconds, or a date (RFC 9110, section 10.2.3).
      now: seconds since the epoch.

    Example:
      >>> retry_after("7", 0.0), retry_after("Thu, 01 Jan 1970 00:00:09 GMT", 0.0)
      (7.0, 9.0)
      >>> retry_after("soon", 0.0)
    """
    if header is None:
        return None
    text = header.strip()
    if re.fullmatch(rf"[0-9]{{1,{_LONGEST_DIGITS}}}(\.[0-9]{{0,9}})?", text):
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):  # the header may be anything
        return None
    return max(0.0, moment - now)
