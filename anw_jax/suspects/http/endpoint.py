"""A model behind an HTTP endpoint."""

import concurrent.futures
import copy
import dataclasses
import hashlib
import json
import threading
import time
import warnings
from collections.abc import Callable
from typing import Self

import numpy as np

from anw_jax import _check
from anw_jax.errors import RefusedPictureError, SuspectError
from anw_jax.progress import format_seconds
from anw_jax.suspects.adapters.base import with_identity
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.http.answer import AnswerTemplate
from anw_jax.suspects.http.client import (
    BrokenOffError,
    NoAnswerError,
    PooledClient,
    Reply,
    TooSlowError,
    UnreachableError,
)
from anw_jax.suspects.http.replies import (
    LOADING,
    REFUSED,
    Pace,
    Reader,
    back_off,
    is_for_now,
    retry_after,
)
from anw_jax.suspects.http.request import RequestTemplate
from anw_jax.suspects.http.secrets import Secrets, checked_headers, checked_url, shown_url
from anw_jax.suspects.pictures import prepare
from anw_jax.suspects.protocol import Answers, Ledger

# A wait of this many seconds is reported.
_LONG_WAIT = 10.0
_FACTOR_OF_LOADING = 4


@dataclasses.dataclass(frozen=True)
class HttpOptions:
    """Time-outs, attempts and speed; they change no answer.

    Attributes:
      timeout_seconds: for each attempt, from connecting to the last byte.
      max_attempts: of one request; an answer that arrived is never requested again.
      first_back_off_seconds: before the second attempt; doubles with each attempt, and is four
        times as long after status 503, which services send while they load a model.
      max_wait_seconds: longest Retry-After to wait for; a longer one is an error.
      in_flight: largest number of concurrent requests.
      per_second: largest number of requests in a second; None for no limit.
      max_answer_bytes: largest size of an answer's body, unpacked.
    """

    timeout_seconds: float = 30.0
    max_attempts: int = 6
    first_back_off_seconds: float = 0.5
    max_wait_seconds: float = 600.0
    in_flight: int = 8
    per_second: float | None = None
    max_answer_bytes: int = 2**24

    def __post_init__(self):
        _check.positive(timeout_seconds=self.timeout_seconds)
        _check.integer_at_least(1, max_attempts=self.max_attempts)
        _check.in_interval(0.0, 60.0, first_back_off_seconds=self.first_back_off_seconds)
        _check.positive(max_wait_seconds=self.max_wait_seconds)
        _check.integer_at_least(1, in_flight=self.in_flight)
        _check.integer_at_least(1, max_answer_bytes=self.max_answer_bytes)
        if self.per_second is not None:
            _check.positive(per_second=self.per_second)


class HttpSuspect:
    """A model behind an endpoint, queried with concurrent requests; a context manager.

    There is another attempt, after a growing pause or after Retry-After, if there was no
    connection, a time-out, a cut connection, or a status 408, 429 or 5xx. A warning reports
    waits of ten seconds and more. Any other status, and a body that is not an answer, is an
    error at once: the query was billed, and retrying would amount to rejecting an inconvenient
    answer. Redirects are not followed.

    A picture that the service refuses (another status 4xx, or an answer that lacks it) does
    not stop the others, and the ledger records which one it is. If a request with several
    pictures is refused, they are queried one by one.

    Each picture of each attempt counts against the budget, unless the service certainly did no
    work (no connection, 429, 503).

    Args:
      url: of the endpoint.
      declaration: its identity becomes the URL with a digest of the templates, unless it has
        one; put the model's version there if the service reports it.
      request: template of a request; None for {"instances": batch}, or for a model that
        answers with images for the PNG file as the body.
      answer: template of an answer; None for images, which are PNG files of 8-bit RGB.
      headers: sent with each request, such as an authorisation; they enter no digest. No
        message shows their values, or text of the service that repeats one in any spelling.
      options: time-outs, attempts, speed.
      client: in place of a new `PooledClient`, or any object with its methods; the caller
        closes it.
      sleep: takes seconds; waits in place of the default, which an error and Ctrl-C wake.

    Raises:
      MissingLibraryError: urllib3 is not installed.
      TypeError, ValueError: a URL that is not http or https, or holds a secret; headers that
        cannot be sent; templates that do not fit the declaration.
      SuspectError: the proxy that the environment names is not one.
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
        client: PooledClient | None = None,
        sleep: Callable[[float], object] | None = None,
    ):
        self._url = checked_url(url)
        self._headers = checked_headers({} if headers is None else headers)
        is_of_images = declaration.answer == "image"
        if is_of_images and answer is not None:
            raise ValueError("answer must be left out for images: the body is the PNG file")
        if request is None:
            request = RequestTemplate(body="png") if is_of_images else RequestTemplate()
        self._request = request
        self._answer = AnswerTemplate() if answer is None else answer
        self._declaration = with_identity(declaration, self._identity())
        self._check_fits(self._declaration)
        is_of_one = self._answer.pictures is None or is_of_images
        if is_of_one and self._request.images_per_request > 1:
            raise ValueError("pictures must be a path where a request carries several pictures")
        self._options = HttpOptions() if options is None else options
        self._owns_client = client is None
        try:
            self._client = client or PooledClient(url, self._options.in_flight)
        except ValueError as error:  # the environment is wrong, not an argument
            raise SuspectError(str(error)) from None
        secrets = Secrets(self._headers, getattr(self._client, "secrets", None))
        self._reader = Reader(url, self._answer, secrets)
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
        """What the endpoint takes and how it answers."""
        return self._declaration

    @property
    def num_together(self) -> int:
        """Number of pictures in all concurrent requests."""
        return self._options.in_flight * self._request.images_per_request

    @property
    def images_per_request(self) -> int:
        """Number of pictures in one request."""
        return self._request.images_per_request

    def with_declaration(self, declaration: Declaration) -> Self:
        """Return the same endpoint under another declaration; connections and pace are shared.

        Raises:
          ValueError: a declaration that the templates do not fit.
        """
        self._check_fits(_check.is_instance(Declaration, declaration=declaration))
        other = copy.copy(self)
        other._declaration = declaration
        return other

    def as_trial(self) -> Self:
        """Return the same endpoint with retries only if it did no work (429, 503, no host).

        For queries that it may not take, such as pictures of another size: many services
        answer these with status 500, or not at all, at every attempt.
        """
        other = copy.copy(self)
        other._is_trial = True
        return other

    def _check_fits(self, declaration: Declaration) -> None:
        self._request.check_fits(declaration)
        self._answer.check_fits(declaration)

    def close(self) -> None:
        """End threads and connections."""
        self._pool.shutdown(cancel_futures=True)
        if self._owns_client:
            self._client.close()

    def answers(self, images: np.ndarray) -> Answers:
        """See `Suspect.answers`; queries are not counted."""
        collected = _Collector()
        self.ask_each(images, collected)
        return collected.joined(len(images))

    def ask_each(self, images: np.ndarray, ledger: Ledger) -> None:
        """See `RemoteSuspect`. Any error but a refused picture ends the call."""
        batch, size = prepare(images, self._declaration), self._request.images_per_request
        groups = [
            list(range(start, min(start + size, len(batch))))
            for start in range(0, len(batch), size)
        ]
        stop = threading.Event()

        def work(group: list[int]) -> None:
            try:
                self._ask_group(batch, group, ledger, stop)
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
            # Requests in flight are paid for: wait until they are recorded.
            stop.set()
            concurrent.futures.wait(futures)

    def _ask_group(
        self, batch: np.ndarray, group: list[int], ledger: Ledger, stop: threading.Event
    ) -> None:
        """Query some pictures in one request; one by one if it is refused."""
        if stop.is_set():
            return
        try:
            found = self._exchange(batch[group], group, ledger, stop)
        except RefusedPictureError as error:
            if len(group) == 1:
                ledger.failed(group, error)
            else:
                for position in group:
                    self._ask_group(batch, [position], ledger, stop)
            return
        except SuspectError as error:
            ledger.failed(group, error)
            raise
        pairs = list(zip(group, found, strict=False))  # `found` is empty after a stop
        good = [(position, one) for position, one in pairs if isinstance(one, Answers)]
        if good:
            positions, answers = zip(*good, strict=True)
            ledger.answered(list(positions), Answers.joined(answers))
        for position, one in pairs:
            if isinstance(one, RefusedPictureError):
                ledger.failed([position], one)

    def _exchange(
        self, batch: np.ndarray, group: list[int], ledger: Ledger, stop: threading.Event
    ) -> list[Answers | RefusedPictureError]:
        """Send one request until it is answered; return nothing after a stop."""
        body, media_type = self._request.content(batch, self._declaration)
        headers = {**self._headers, "content-type": media_type}
        limit = 1 if self._is_trial and self._pace.is_down else self._options.max_attempts
        for attempt in range(1, limit + 1):
            self._pace.wait(self._sleep or stop.wait)
            if stop.is_set():
                return []
            start = time.monotonic()
            ledger.sending(group)
            reply, trouble, did_nothing = self._send(body, headers)
            if reply is not None and not is_for_now(reply.status):
                found = self._read(reply, batch)
                self._pace.is_down = False
                return found
            if did_nothing:
                ledger.refused(group)
            elif self._is_trial:
                raise SuspectError(trouble)
            if attempt < limit:
                seconds = self._seconds_before(attempt + 1, reply, trouble)
                if seconds + time.monotonic() - start >= _LONG_WAIT:
                    self._warn(seconds, f"{trouble} (attempt {attempt} of {limit})")
                self._wait(seconds, reply, stop)
        self._pace.is_down = did_nothing
        raise SuspectError(f"{trouble}, in {limit} attempt{'s' * (limit > 1)}")

    def _read(self, reply: Reply, asked: np.ndarray) -> list[Answers | RefusedPictureError]:
        if self._declaration.answer == "image":
            sides = asked.shape[2:] if self._declaration.layout == "NCHW" else asked.shape[1:]
            levels = self._reader.image(reply, sides[:2])
            is_reversed = self._declaration.channels == "BGR"
            return [Answers("image", levels[None, ..., ::-1] if is_reversed else levels[None])]
        return self._reader.answers(reply, self._declaration, len(asked))

    def _send(self, body: bytes, headers: dict[str, str]) -> tuple[Reply | None, str, bool]:
        """Return a reply or None, the trouble, and if the service certainly did no work."""
        options, say = self._options, self._reader.trouble
        seconds = options.timeout_seconds
        try:
            method, most = self._request.method, options.max_answer_bytes
            reply = self._client.send(method, self._url, body, headers, seconds, most)
        except NoAnswerError as error:  # it was paid for
            raise SuspectError(self._reader.quoting(str(error), " ")) from None
        except UnreachableError as error:
            why = f" ({error})" if str(error) else ""
            return None, say(f"cannot be reached{why}"), True
        except TooSlowError:
            return None, say(f"does not answer within {seconds:g} s"), False
        except BrokenOffError as error:
            return None, say(f"breaks off its answer ({error})"), False
        if not is_for_now(reply.status):
            return reply, "", False
        return reply, self._reader.status(reply), reply.status in REFUSED

    def _seconds_before(self, attempt: int, reply: Reply | None, trouble: str) -> float:
        """Return how long to wait before an attempt.

        Raises:
          SuspectError: the service requests a longer wait than is allowed.
        """
        first, asked = self._options.first_back_off_seconds, None
        if reply is not None:
            asked = retry_after(reply.headers.get("retry-after"), time.time())
        if asked is None:
            is_loading = reply is not None and reply.status == LOADING
            return back_off(attempt - 1, first * (_FACTOR_OF_LOADING if is_loading else 1))
        longest = self._options.max_wait_seconds
        if asked > longest:
            raise SuspectError(
                f"{trouble}; it asks to wait {format_seconds(asked)} (Retry-After), which is "
                f"longer than max_wait_seconds = {longest:g}: run this again then, the answers "
                "are kept"
            )
        return max(asked, back_off(attempt - 1, first))

    def _wait(self, seconds: float, reply: Reply | None, stop: threading.Event) -> None:
        if reply is not None and "retry-after" in reply.headers:
            # It applies to all threads, not only to this request.
            self._pace.pause(seconds)
        elif not stop.is_set():
            (self._sleep or stop.wait)(seconds)

    def _warn(self, seconds: float, trouble: str) -> None:
        """Report a long wait once, for all threads that wait for the same."""
        if self._pace.should_log(seconds):
            # The time of day makes each warning unique; Python shows equal ones only once.
            until = time.strftime("%H:%M:%S", time.localtime(time.time() + seconds))
            warnings.warn(
                f"waiting {format_seconds(seconds)}, until {until}: {trouble}", stacklevel=2
            )

    def _identity(self) -> str:
        parts = [dataclasses.asdict(part) for part in (self._request, self._answer)]
        shown = shown_url(self._url)
        if shown != self._url:  # the hidden part also distinguishes models
            parts.append(self._url)
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"{shown} {digest}"


class _Collector(Ledger):
    """A ledger that keeps the answers and nothing else."""

    def __init__(self):
        self._parts: dict[int, Answers] = {}

    def answered(self, positions: list[int], answers: Answers) -> None:
        """See `Ledger`."""
        for row, position in enumerate(positions):
            self._parts[position] = answers.rows(slice(row, row + 1))

    def failed(self, positions: list[int], error: SuspectError) -> None:
        """See `Ledger`."""
        raise error

    def joined(self, size: int) -> Answers:
        return Answers.joined([self._parts[position] for position in range(size)])
