"""A service that has no usable answer to one picture, and one that is down."""

import base64
import json

import numpy as np
import pytest

from anw_jax.errors import SuspectError
from anw_jax.suspects import AnswerCache, HttpOptions, RequestTemplate
from anw_jax.suspects.http.client import (
    BrokenOffError,
    NoAnswerError,
    Reply,
    TooSlowError,
    UnreachableError,
)
from tests.suspects import twins
from tests.suspects.refusing import CLEAN, asked_all, check_only_one_is_lost, is_bad

OPTIONS = HttpOptions(max_attempts=2, in_flight=2)
ONE = RequestTemplate(template=twins.REQUEST.template)


def answering(reply):
    """An endpoint that gives `reply` to requests with the bad picture, whatever it is."""

    def handler(request):
        body = json.loads(request.content)
        pixels = np.frombuffer(base64.b64decode(body["tensor"]), "<f4")
        batch = pixels.reshape(body["shape"])
        bad = is_bad(batch)
        if not bad.any():
            return twins.replied(twins.http_answer(request.content))
        handler.num_bad += 1
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, Reply):
            return reply
        good = twins.http_answer(request.content)["predictions"]
        return twins.replied({"predictions": reply(good, bad)})

    handler.num_bad = 0
    return handler


def put(value):
    return lambda good, bad: [
        {"scores": value} if one else entry for one, entry in zip(bad, good, strict=True)
    ]


MOODS = {
    "400": (Reply(400, body=b"content policy"), 1, "status 400"),
    "413": (Reply(413, body=b"too large"), 1, "status 413"),
    "422": (Reply(422, body=b"unprocessable"), 1, "status 422"),
    "451": (Reply(451, body=b""), 1, "status 451"),
    "500 for ever": (Reply(500, body=b"oops"), 2, "status 500"),
    "503 for ever": (Reply(503, body=b"busy"), 2, "status 503"),
    "429 for ever": (Reply(429, body=b"slow"), 2, "status 429"),
    "time-out": (TooSlowError(), 2, "does not answer within"),
    "broken off": (BrokenOffError("IncompleteRead"), 2, "breaks off"),
    "no host": (UnreachableError(), 2, "cannot be reached"),
    "too long": (NoAnswerError("answers with too much"), 1, "too much"),
    "fewer": (put([0.5] * 3), 1, "3"),
    "empty list": (put([]), 1, "0"),
    "words": (put(["high"] * 5), 1, "high"),
    "no entry": (lambda good, bad: [], 1, "entries"),
    "an error": (Reply(200, body=b'{"error": "policy"}'), 1, "nothing at"),
    "HTML": (Reply(200, body=b"<html>blocked</html>"), 1, "HTML"),
}


@pytest.mark.parametrize(("reply", "num_asked", "why"), MOODS.values(), ids=MOODS)
def test_a_service_that_has_no_answer_to_one_picture(tmp_path, reply, num_asked, why):
    handler = answering(reply)
    with (
        twins.over_http(handler, options=OPTIONS, request=ONE) as suspect,
        AnswerCache(tmp_path / "file", suspect.declaration) as cache,
    ):
        table, session = asked_all(suspect, cache)
        check_only_one_is_lost(table, session, why)
        assert handler.num_bad == num_asked
        assert cache.num_unusable == 1
    with (
        twins.over_http(handler, options=OPTIONS, request=ONE) as suspect,
        AnswerCache(tmp_path / "file", suspect.declaration) as cache,
    ):
        before = cache.num_queries
        again, session = asked_all(suspect, cache)
        assert handler.num_bad == num_asked  # never asked or paid again
        assert cache.num_queries == before
        assert list(session.unusable) == [2]
    is_same = (again == table) | np.isnan(table)
    assert is_same.all()


@pytest.mark.parametrize("mood", ["400", "500 for ever", "fewer", "empty list"])
def test_a_request_of_several_pictures_is_narrowed_down(mood):
    reply, _, why = MOODS[mood]
    with twins.over_http(answering(reply), options=OPTIONS) as suspect:
        check_only_one_is_lost(*asked_all(suspect), why)


def test_numbers_that_are_none_count_as_well():
    def reply(good, bad):
        return put([None] * 5)(good, bad)

    with twins.over_http(answering(reply), options=OPTIONS) as suspect:
        check_only_one_is_lost(*asked_all(suspect), "NaN")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize("num_good", [0, 1, 13])
def test_a_service_that_goes_down_is_an_error(tmp_path, status, num_good):
    """Whatever it says: the pictures that it answered before have no answer now either."""
    served, is_down = [], True

    def handler(request):
        served.append(1)
        if is_down and len(served) > num_good:
            return Reply(status, body=b"no")
        return twins.replied(twins.http_answer(request.content))

    with (
        twins.over_http(handler, options=OPTIONS, request=ONE) as suspect,
        AnswerCache(tmp_path / "file", suspect.declaration) as cache,
    ):
        for _ in range(2):
            with pytest.raises(SuspectError, match=str(status)):
                asked_all(suspect, cache)
            assert cache.num_unusable == 0
            assert len(cache) == num_good
        is_down = False
        table, session = asked_all(suspect, cache)
    np.testing.assert_allclose(table, CLEAN, rtol=1e-4)
    assert not session.unusable
