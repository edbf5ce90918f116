"""An endpoint in all its moods, behind a transport that opens no socket."""

import dataclasses
import json
import threading
import time

import numpy as np
import pytest

from anw_jax.errors import BudgetError, SuspectError
from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation
from anw_jax.suspects import (
    AnswerCache,
    AnswerTemplate,
    Declaration,
    HttpOptions,
    HttpSuspect,
    RequestTemplate,
    ask,
    probe,
)
from anw_jax.suspects.http.client import (
    BrokenOffError,
    NoAnswerError,
    Reply,
    TooSlowError,
    UnreachableError,
)
from anw_jax.suspects.http.replies import Pace
from tests.suspects import twins

URL = "http://model.test/predict"
PICTURES = twins.photos(6).astype(np.float32) / np.float32(255)
SPACE, MARK = SignatureSpace(4), HueRotation()
OPTIONS = HttpOptions(max_attempts=3, in_flight=1, timeout_seconds=2)


def good(request):
    return twins.replied(twins.http_answer(request.content))


def says(handler, **options) -> str:
    with (
        twins.over_http(handler, options=OPTIONS, **options) as suspect,
        pytest.raises(SuspectError) as error,
    ):
        suspect.answers(PICTURES[:3])
    return str(error.value)


def raises(error):
    def handler(request):
        raise error

    return handler


def body(text, status=200):
    return lambda request: Reply(status, body=text.encode())


MOODS = {
    "down": (raises(UnreachableError()), "cannot be reached, in 3 attempts"),
    "slow": (raises(TooSlowError()), "does not answer within 2 s, in 3 attempts"),
    "cut off": (
        raises(BrokenOffError("RemoteDisconnected")),
        "breaks off its answer (RemoteDisconnected), in 3 attempts",
    ),
    "too long": (raises(NoAnswerError("answers with too much")), "answers with too much"),
    "429": (body("slow down", 429), "answers with status 429: 'slow down', in 3 attempts"),
    "500": (body("oops", 500), "answers with status 500: 'oops', in 3 attempts"),
    "404": (body("no such  model", 404), "answers with status 404: 'no such model'"),
    "302": (body("", 302), "answers with status 302: ''"),
    "HTML": (
        body("<!DOCTYPE html><html>Log in</html>"),
        "answers with HTML, not JSON: '<!DOCTYPE html><html>Log in</html>'",
    ),
    "truncated": (
        body('{"predictions": [{"scores": [0.1, 0.'),
        "answers with JSON that is cut off or malformed at character 35: "
        '\'{"predictions": [{"scores": [0.1, 0.\'',
    ),
    "empty": (body(""), "answers with an empty body"),
    "classes": (
        body(json.dumps({"predictions": [{"scores": [0.5] * 7}] * 3})),
        ": the suspect declares 5 classes and answers with 7",
    ),
    "too few": (
        body(json.dumps({"predictions": [{"scores": [0.5] * 5}] * 2})),
        ": the answer must have as many entries at 'predictions' as pictures were sent, "
        "1; got 2; if the whole answer is about one picture, set pictures = false",
    ),
    "no path": (
        body('{"error": "quota"}'),
        ": the answer has nothing at 'predictions' (it stops at 'predictions'): "
        '{"error": "quota"}',
    ),
    "text": (
        body(json.dumps({"predictions": [{"scores": ["high"] * 5}] * 3})),
        ": scores must be numbers, got 'high'",
    ),
    "ragged": (
        body(json.dumps({"predictions": [{"scores": [1] * n} for n in (5, 4, 5)]})),
        ": the suspect declares 5 classes and answers with 4",
    ),
}


@pytest.mark.parametrize(("handler", "message"), MOODS.values(), ids=MOODS)
def test_bad_answers_are_told_exactly(handler, message):
    said = says(handler)
    assert said == (URL + message if message.startswith(":") else f"{URL} {message}")


@pytest.mark.parametrize("text", ["NaN", "null", "Infinity"])
def test_numbers_that_are_none_pass_as_unusable(text):
    scores = f'{{"scores": [1, 2, {text}, 4, 5]}}'
    handler = body(f'{{"predictions": [{scores}, {scores}, {scores}]}}')
    with twins.over_http(handler) as suspect:
        answers = suspect.answers(PICTURES[:3])
        assert not np.isfinite(answers.scores[:, 2]).any()
        table = ask(suspect, twins.photos(3), [0, 1, 2], MARK, SPACE)
    assert np.isnan(table).all()


def test_it_is_patient_and_asks_an_answered_question_never_again():
    moods = iter([429, 503, "timeout", 502, "ok", "ok"])
    bodies, waits = [], []

    def handler(request):
        bodies.append(request.content)
        mood = next(moods)
        if mood == "ok":
            return good(request)
        if mood == "timeout":
            raise TooSlowError
        return Reply(mood, {"retry-after": "7"} if mood == 503 else {})

    options = HttpOptions(max_attempts=5, in_flight=1, first_back_off_seconds=1)
    with twins.over_http(handler, options=options, sleep=waits.append) as suspect:
        answers = suspect.answers(PICTURES)
    np.testing.assert_allclose(answers.scores, twins.logits(PICTURES), atol=1e-5)
    assert len(bodies) == 6
    assert len(set(bodies)) == 2
    assert 0.75 <= waits[0] <= 1  # after 429
    assert 6.9 < waits[1] <= 7  # as Retry-After says
    assert 3 <= waits[2] <= 4
    assert 6 <= waits[3] <= 8


def test_a_probe_asks_once_what_a_service_may_not_take():
    """It breaks off on every shape but one, and is busy once: no back-off for each reading."""
    waits, sides, moods = [], [], iter(["busy"])

    def handler(request):
        sides.append(json.loads(request.content)["shape"][1])
        if sides[-1] != 48:
            raise BrokenOffError("RemoteDisconnected")
        return Reply(503) if next(moods, "ok") == "busy" else twins.replied(answer)

    answer = {"predictions": [{"scores": row} for row in twins.logits(PICTURES[:2]).tolist()]}
    with twins.over_http(handler, options=OPTIONS, sleep=waits.append) as suspect:
        wrong = dataclasses.replace(suspect.declaration, input_size=(20, 20))
        report = probe(suspect.with_declaration(wrong), twins.photos(3))
    assert [finding.do for finding in report.findings][1:] == ["declare input_size=(48, 48)"]
    # As declared three times, then layout, own size, 28 and 32 once each; 48 after its "busy".
    assert sides == [20, 20, 20, 3, 8, 28, 32, 48, 48]
    assert len(waits) == 3


def test_only_what_may_have_been_done_counts(tmp_path):
    """429, 503 and no connection are free; a time-out and 500 may have been paid."""
    moods = iter([429, 503, "down", "timeout", 500, "ok"])

    def handler(request):
        mood = next(moods)
        if mood == "ok":
            return good(request)
        if mood == "down":
            raise UnreachableError
        if mood == "timeout":
            raise TooSlowError
        return Reply(mood)

    options = HttpOptions(max_attempts=6, in_flight=1)
    with (
        twins.over_http(handler, options=options) as suspect,
        AnswerCache(tmp_path / "file", suspect.declaration) as cache,
    ):
        ask(suspect, twins.photos(1)[:, :, :8], [0], MARK, SignatureSpace(3), cache=cache)
        assert cache.num_queries == 3 * 3  # a request carries three pictures
        assert cache.num_in_doubt == 2 * 3


def test_the_budget_holds_with_many_in_flight(tmp_path):
    served = []

    def handler(request):
        served.append(1)
        return good(request)

    request = RequestTemplate(template=twins.REQUEST.template)
    options = HttpOptions(in_flight=8)
    with (
        twins.over_http(handler, options=options, request=request) as suspect,
        AnswerCache(tmp_path / "file", suspect.declaration) as cache,
    ):
        arguments = (suspect, twins.photos(10), np.zeros(10, int), MARK, SPACE)
        with pytest.raises(BudgetError, match="the budget of 23 queries is spent"):
            ask(*arguments, cache=cache, budget=23)
        assert len(served) == len(cache) == cache.num_queries == 23
        ask(*arguments, cache=cache, budget=40)
    assert len(served) == 40


def test_what_was_in_flight_is_kept(tmp_path):
    """One request is interrupted while seven are under way: their answers are written down."""
    started, served = threading.Barrier(8), []

    def handler(request):
        if len(served) < 8:
            served.append(1)
            number = len(served)
            started.wait(timeout=30)
            if number == 8:
                raise KeyboardInterrupt
        else:
            served.append(1)
        return good(request)

    request = RequestTemplate(template=twins.REQUEST.template)
    with (
        twins.over_http(handler, options=HttpOptions(in_flight=8), request=request) as suspect,
        AnswerCache(tmp_path / "file", suspect.declaration) as cache,
    ):
        arguments = (suspect, twins.photos(4), np.zeros(4, int), MARK, SPACE)
        with pytest.raises(KeyboardInterrupt):
            ask(*arguments, cache=cache)
        assert len(cache) >= 7
        assert cache.num_queries == len(served)
        assert cache.num_in_doubt == 1
        ask(*arguments, cache=cache)
    assert len(served) == 16 + 1


def test_secrets_stay_out_of_digests_and_messages():
    options = {"headers": {"authorization": "Bearer s3cret"}}
    seen = []

    def handler(request):
        seen.append(request.headers["authorization"])
        return Reply(403, body=b"no")

    with twins.over_http(handler, **options) as suspect:
        with pytest.raises(SuspectError) as error:
            suspect.answers(PICTURES)
        assert seen[0] == "Bearer s3cret"
        assert "s3cret" not in str(error.value)
        assert "s3cret" not in json.dumps(suspect.declaration.as_json())
        with twins.over_http() as plain:
            assert plain.declaration == suspect.declaration


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "model.test"}, "url must begin with http:// or https://, got 'model.test'"),
        (
            {"declaration": Declaration(5, "label")},
            "labels must be a path for answers of label",
        ),
        (
            {"request": RequestTemplate(body="png"), "declaration": twins.NCHW},
            "a PNG holds 8-bit pictures, channels last: declare no mean, std or NCHW for a "
            "service that is sent PNG files (it normalises by itself)",
        ),
        (
            {"answer": AnswerTemplate(classes=("a", "b"))},
            "classes must name the 5 declared classes, got 2",
        ),
        (
            {
                "answer": AnswerTemplate(pictures=None),
                "request": RequestTemplate(images_per_request=2),
            },
            "pictures must be a path where a request carries several pictures",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError) as error:
        HttpSuspect(**({"url": URL, "declaration": twins.NHWC} | arguments))
    assert str(error.value) == message


def test_the_pace_spaces_requests():
    now, waits = [0.0], []

    def sleep(seconds):
        waits.append(seconds)
        now[0] += seconds

    pace = Pace(per_second=4, clock=lambda: now[0], sleep=sleep)
    for _ in range(4):
        pace.wait()
    assert waits == [0.25] * 3
    pace.pause(10)
    pace.wait()
    assert waits[-1] == pytest.approx(10)


def test_a_pause_holds_for_those_who_sleep_towards_their_turn():
    now, left_at = [0.0], []

    def sleep(seconds):
        if now[0] == 0:
            pace.pause(60)  # another thread is told to
        now[0] += seconds

    pace = Pace(per_second=1, clock=lambda: now[0], sleep=sleep)
    pace.wait()
    for _ in range(3):
        pace.wait()
        left_at.append(now[0])
    assert left_at == [60, 61, 62]


def test_an_error_wakes_those_who_wait_as_long_as_a_service_asks():
    """So does Ctrl-C, by the same event."""
    both = threading.Barrier(2)

    def handler(request):
        if both.wait(30) == 0:
            return Reply(429, headers={"retry-after": "600"})
        return Reply(404)

    options = HttpOptions(in_flight=2, max_attempts=2)
    request = RequestTemplate(template=twins.REQUEST.template)
    start = time.monotonic()
    with (
        twins.over_http(handler, options=options, request=request, sleep=None) as suspect,
        pytest.warns(UserWarning, match="waiting 10 min 0 s, until .* answers with status 429"),
        pytest.raises(SuspectError, match="answers with status 404"),
    ):
        suspect.answers(PICTURES[:2])
    assert time.monotonic() - start < 60


def test_as_many_are_in_flight_as_allowed():
    now, most, lock = [0], [0], threading.Lock()

    def handler(request):
        with lock:
            now[0] += 1
            most[0] = max(most)  # the largest so far
            most.append(now[0])
        time.sleep(0.01)
        with lock:
            now[0] -= 1
        return good(request)

    request = RequestTemplate(template=twins.REQUEST.template)
    with twins.over_http(handler, options=HttpOptions(in_flight=4), request=request) as suspect:
        suspect.answers(np.concatenate([PICTURES] * 4))
    assert max(most) == 4
