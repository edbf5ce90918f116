"""A model behind an HTTP endpoint."""

import concurrent.futures
import copy
import dataclasses
import hashlib
import json
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import Self

import numpy as np

from anw_jax import _check
from anw_jax.errors import RefusedPictureError, SuspectError
from anw_jax.suspects.answers import Answers, checked
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.http_client import (
    BrokenOffError,
    Client,
    NoAnswerError,
    PooledClient,
    Reply,
    TooSlowError,
    UnreachableError,
)
from anw_jax.suspects.http_pacing import Pace, back_off, retry_after
from anw_jax.suspects.http_template import AnswerTemplate, RequestTemplate
from anw_jax.suspects.identity import with_identity
from anw_jax.suspects.preparing import prepare
from anw_jax.suspects.protocol import Ledger

# Statuses of a service that is there and will not answer now. It did no work for these two.
_REFUSED = (429, 503)
_TRY_AGAIN = (*_REFUSED, 408, 500, 502, 504)


@dataclasses.dataclass(frozen=True)
class HttpOptions:
    """How patiently and how fast an endpoint is asked; changes no answer.

    Attributes:
      timeout_seconds: for each attempt, from connecting to the last byte.
      max_attempts: of one request; answers that came are never asked again.
      first_back_off_seconds: before the second attempt; doubles with each.
      in_flight: requests under way at once.
      per_second: most requests in a second; None for no limit.
      max_answer_bytes: most bytes of an answer's body, unpacked.
    """

    timeout_seconds: float = 30.0
    max_attempts: int = 6
    first_back_off_seconds: float = 0.5
    in_flight: int = 8
    per_second: float | None = None
    max_answer_bytes: int = 2**24

    def __post_init__(self):
        _check.positive(timeout_seconds=self.timeout_seconds)
        _check.integer_at_least(1, max_attempts=self.max_attempts)
        _check.in_interval(0.0, 60.0, first_back_off_seconds=self.first_back_off_seconds)
        _check.integer_at_least(1, in_flight=self.in_flight)
        _check.integer_at_least(1, max_answer_bytes=self.max_answer_bytes)
        if self.per_second is not None:
            _check.positive(per_second=self.per_second)


class HttpSuspect:
    """Asks an endpoint, several requests at a time; a context manager.

    Tried again, after a growing pause or as long as Retry-After says: no connection, time-out,
    a connection cut off, and statuses 408, 429, 500, 502, 503, 504. Any other status, and any
    body that is no answer, is an error at once: it was paid for, and a second try would be
    an answer asked again because it was unwelcome. Redirects are not followed.

    What counts against the budget: each picture of each attempt, except where the service
    surely did nothing (no connection, 429, 503).

    Args:
      url: of the endpoint.
      declaration: its identity becomes the URL with a digest of the templates, unless it has
        one; name the model's version there if the service tells it.
      request: how a request is written.
      answer: how an answer is read.
      headers: sent along, such as an authorisation; they enter no digest and no error message.
      options: time-outs, attempts, speed.
      client: to use instead of a new `PooledClient`; the caller closes it.
      sleep: waits in place of the suspect, which wakes at an error and at Ctrl-C; takes
        seconds.

    Raises:
      MissingLibraryError: urllib3 is not installed.
      TypeError, ValueError: a URL that is not http or https; templates that do not fit the
        declaration.
    """

    def __init__(
        self,
        url: str,
        declaration: Declaration,
        *,
        request: RequestTemplate | None = None,
        answer: AnswerTemplate | None = None,
        headers: dict[str, str] | None = None,
        options: HttpOptions | None = None,
        client: Client | None = None,
        sleep: Callable[[float], object] | None = None,
    ):
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"url must begin with http:// or https://, got {url!r}")
        if "@" in urllib.parse.urlsplit(url).netloc:
            # The URL stands in declarations and messages. It is not shown here either.
            raise ValueError("url must hold no name or password: give them as a header")
        self._url = url
        self._request = RequestTemplate() if request is None else request
        self._answer = AnswerTemplate() if answer is None else answer
        self._declaration = with_identity(declaration, self._identity())
        self._request.check_fits(self._declaration)
        self._answer.check_fits(self._declaration)
        if self._answer.pictures is None and self._request.images_per_request > 1:
            raise ValueError("pictures must be a path where a request carries several pictures")
        self._options = HttpOptions() if options is None else options
        self._headers = dict(headers or {})
        self._given = client
        self._client = client or PooledClient(url, self._options.in_flight)
        self._is_trial = False
        self._sleep = sleep
        self._pace = Pace(self._options.per_second)
        self._pool = concurrent.futures.ThreadPoolExecutor(self._options.in_flight)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def declaration(self) -> Declaration:
        """How the endpoint wants pictures and how it answers."""
        return self._declaration

    @property
    def num_together(self) -> int:
        """Pictures that are under way at once."""
        return self._options.in_flight * self._request.images_per_request

    @property
    def images_per_request(self) -> int:
        """Pictures in one request."""
        return self._request.images_per_request

    def with_declaration(self, declaration: Declaration) -> Self:
        """The same endpoint, read in another way; shares connections and pace.

        Raises:
          ValueError: a declaration that the templates do not fit.
        """
        self._request.check_fits(declaration)
        self._answer.check_fits(declaration)
        other = copy.copy(self)
        other._declaration = _check.is_instance(Declaration, declaration=declaration)
        return other

    def as_trial(self) -> Self:
        """The same endpoint, asked again only where it surely did nothing (429, 503, no host).

        For questions that it may not take, such as pictures of another size: to these many a
        service answers with status 500, or not at all, however often it is asked.
        """
        other = copy.copy(self)
        other._is_trial = True
        return other

    def close(self) -> None:
        """Ends threads and connections."""
        self._pool.shutdown(cancel_futures=True)
        if self._given is None:
            self._client.close()

    def answers(self, images: np.ndarray) -> Answers:
        """See `Suspect.answers`; keeps no book of queries."""
        collected = _Collector()
        self.ask_each(images, collected)
        return collected.joined(len(images))

    def ask_each(self, images: np.ndarray, ledger: Ledger) -> None:
        """See `RemoteSuspect`. After an error no further request leaves."""
        batch, size = prepare(images, self._declaration), self._request.images_per_request
        groups = [
            list(range(start, min(start + size, len(batch))))
            for start in range(0, len(batch), size)
        ]
        stop = threading.Event()

        def work(group: list[int]) -> None:
            if stop.is_set():
                return
            try:
                self._ask_group(batch[group], group, ledger, stop)
            except RefusedPictureError as error:
                ledger.failed(group, error)  # the others are asked nevertheless
            except SuspectError as error:
                stop.set()
                ledger.failed(group, error)
                raise
            except BaseException:
                stop.set()
                raise

        futures = []
        try:
            for group in groups:
                futures.append(self._pool.submit(work, group))
            for future in futures:
                future.result()
        finally:
            # What is in flight is paid for: wait until it is written down.
            stop.set()
            concurrent.futures.wait(futures)

    def _ask_group(
        self, batch: np.ndarray, group: list[int], ledger: Ledger, stop: threading.Event
    ) -> None:
        body, media_type = self._request.content(batch, self._declaration)
        headers = {**self._headers, "content-type": media_type}
        limit, trouble = self._options.max_attempts, ""
        for attempt in range(1, limit + 1):
            self._pace.wait(self._sleeper(stop))
            if stop.is_set():
                return
            ledger.sending(group)
            reply, trouble, did_nothing = self._send(body, headers)
            if reply is not None and reply.status not in _TRY_AGAIN:
                answers = self._read(reply, len(group))
                ledger.answered(group, answers)
                return
            if did_nothing:
                ledger.refused(group)
            elif self._is_trial:
                raise SuspectError(f"{self._url} {trouble}")
            if attempt < limit:
                self._wait_before(attempt + 1, reply, stop)
        raise SuspectError(f"{self._url} {trouble}, in {limit} attempts")

    def _send(self, body: bytes, headers: dict[str, str]) -> tuple[Reply | None, str, bool]:
        """A reply or None, what went wrong, and whether the service surely did nothing."""
        options = self._options
        seconds = options.timeout_seconds
        try:
            reply = self._client.send(
                self._request.method,
                self._url,
                body,
                headers,
                seconds,
                options.max_answer_bytes,
            )
        except NoAnswerError as error:  # it was paid for
            raise SuspectError(f"{self._url} {error}") from None
        except UnreachableError:
            return None, "cannot be reached", True
        except TooSlowError:
            return None, f"does not answer within {seconds:g} s", False
        except BrokenOffError as error:
            return None, f"breaks off its answer ({error})", False
        return reply, f"answers with status {reply.status}", reply.status in _REFUSED

    def _wait_before(self, attempt: int, reply: Reply | None, stop: threading.Event) -> None:
        asked = None
        if reply is not None:
            asked = retry_after(reply.headers.get("retry-after"), time.time())
        if asked is not None:
            # The service speaks to all of us, not only to this request.
            self._pace.pause(asked)
        elif not stop.is_set():
            seconds = back_off(attempt - 1, self._options.first_back_off_seconds)
            self._sleeper(stop)(seconds)

    def _sleeper(self, stop: threading.Event) -> Callable[[float], object]:
        """What waits some seconds, and ends early when the run stops."""
        return self._sleep or stop.wait

    def _read(self, reply: Reply, num_images: int) -> Answers:
        if reply.status != 200:
            raise SuspectError(
                f"{self._url} answers with status {reply.status}: {_shown(reply.text)}"
            )
        try:
            body = json.loads(reply.text)
        except ValueError as error:
            raise SuspectError(f"{self._url} {_what_is(reply.text, error)}") from None
        except RecursionError:
            raise SuspectError(f"{self._url} answers with JSON nested too deep") from None
        try:
            return checked(
                self._answer.read(body, self._declaration, num_images),
                self._declaration,
                num_images,
            )
        except SuspectError as error:
            raise SuspectError(f"{self._url}: {error}") from None

    def _identity(self) -> str:
        parts = [dataclasses.asdict(part) for part in (self._request, self._answer)]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"{self._url} {digest}"


class _Collector:
    """A ledger that keeps the answers and nothing else."""

    def __init__(self):
        self._parts: dict[int, Answers] = {}

    def sending(self, positions: list[int]) -> None:
        """See `Ledger`."""

    def answered(self, positions: list[int], answers: Answers) -> None:
        """See `Ledger`."""
        for row, position in enumerate(positions):
            self._parts[position] = answers.rows(slice(row, row + 1))

    def refused(self, positions: list[int]) -> None:
        """See `Ledger`."""

    def failed(self, positions: list[int], error: SuspectError) -> None:
        """See `Ledger`."""
        raise error

    def joined(self, size: int) -> Answers:
        return Answers.joined([self._parts[position] for position in range(size)])


def _what_is(text: str, error: ValueError) -> str:
    if text.lstrip()[:1] == "<":
        return f"answers with HTML, not JSON: {_shown(text)}"
    if not isinstance(error, json.JSONDecodeError):
        return "answers with a number too large to be one"
    where = f"cut off or malformed at character {error.pos}"
    return f"answers with JSON that is {where}: {_shown(text)}"


def _shown(text: str) -> str:
    text = " ".join(text[:1000].split())
    return repr(text if len(text) <= 60 else text[:57] + "...")
