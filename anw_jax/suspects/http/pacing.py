"""When the next request may leave: rate limit, pauses that a service asks for, back-off."""

import email.utils
import random
import re
import threading
import time
from collections.abc import Callable

from anw_jax import _check

_LONGEST_BACK_OFF = 60.0
_LONGEST_DIGITS = 12
# Waits that end within so many seconds of each other are told of once.
_SAME_END = 5.0


class Pace:
    """Spaces the requests of all threads; one for each endpoint.

    Args:
      per_second: most requests in a second; None for no limit.
      clock: seconds, monotonic.
      sleep: waits; takes seconds.

    Attributes:
      is_down: whether the service was last given up because it did not answer at all.
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
        self._next = self._paused_until = self._told_until = -float("inf")
        self.is_down = False

    def wait(self, sleep: Callable[[float], object] | None = None) -> None:
        """Returns when a request may leave, or once `sleep` comes back early.

        Args:
          sleep: in place of the one given at first, such as the `wait` of an event that ends
            all waiting.
        """
        sleep = self._sleep if sleep is None else sleep
        start = self._next_turn()
        while True:
            left = start - self._clock()
            if left > 0 and sleep(left):
                return
            # A pause may have been asked for while this thread slept towards its turn.
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
        """Lets no request of any thread leave for so long."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)
            self._next = max(self._next, self._paused_until)

    def is_news(self, seconds: float) -> bool:
        """Whether a wait of so long ends later than every wait that this was asked about.

        Several threads wait for one service; one line tells of all of them.
        """
        with self._lock:
            end = self._clock() + seconds
            if end <= self._told_until + _SAME_END:
                return False
            self._told_until = end
        return True


def back_off(attempt: int, first_seconds: float) -> float:
    """Seconds before attempt `attempt` + 1: doubled each time, at most a minute.

    Up to a quarter is taken off at random, so that threads that failed together do not come
    back together; when a request is sent decides nothing about its answer.

    Example:
      >>> 3.0 <= back_off(3, 1.0) <= 4.0
      True
    """
    longest = min(_LONGEST_BACK_OFF, first_seconds * 2.0 ** (attempt - 1))
    return longest * random.uniform(0.75, 1.0)


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks to wait; None without a readable one.

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
    except (ValueError, TypeError, IndexError, OverflowError):  # a service may send anything
        return None
    return max(0.0, moment - now)
