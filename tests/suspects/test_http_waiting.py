"""Services that are not ready: what is waited for, for how long, and what is said meanwhile."""

import email.utils
import json
import re
import time
import warnings

import numpy as np
import pytest

from anw_jax.errors import SuspectError
from anw_jax.suspects import HttpOptions, RequestTemplate, probe
from anw_jax.suspects.http.client import Reply, TooSlowError, UnreachableError
from anw_jax.suspects.http.replies import Pace, retry_after
from tests.suspects import twins

PICTURES = twins.photos(1).astype(np.float32) / np.float32(255)
LOADING = json.dumps({"error": "Model org/net is currently loading", "estimated_time": 20.0})
URL = "http://model.test/predict"


def asked(*moods, headers=None, **options):
    """Asks once; gives the waits, the warnings, and the error or None."""
    moods, waits, error = iter(moods), [], None

    def handler(request):
        mood = next(moods, "ok")
        if isinstance(mood, Exception):
            raise mood
        return twins.replied(twins.http_answer(request.content)) if mood == "ok" else mood

    options = HttpOptions(**{"max_attempts": 3, "in_flight": 1, **options})
    with (
        warnings.catch_warnings(record=True) as told,
        twins.over_http(
            handler, options=options, sleep=waits.append, headers=headers
        ) as suspect,
    ):
        warnings.simplefilter("always")
        try:
            suspect.answers(PICTURES)
        except SuspectError as caught:
            error = str(caught)
    return waits, [str(one.message) for one in told], error


def later(seconds):
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize("header", ["20", " 20 ", "20.0", "020"])
@pytest.mark.parametrize("status", [429, 503, 500])
def test_a_long_wait_is_told_with_its_reason(header, status):
    reply = Reply(status, {"retry-after": header}, LOADING.encode())
    waits, told, error = asked(reply)
    assert error is None
    assert waits == pytest.approx([20], abs=0.1)
    (line,) = told
    assert re.fullmatch(
        r"waiting 20 s, until \d\d:\d\d:\d\d: "
        + re.escape(f"{URL} answers with status {status}: {LOADING!r} (attempt 1 of 3)"),
        line,
    )


def test_a_wait_until_a_date():
    waits, told, error = asked(Reply(503, {"retry-after": later(90)}))
    assert 88 < waits[0] <= 90
    assert told[0].startswith("waiting 1 min ")
    assert error is None


@pytest.mark.parametrize(
    "header",
    ["0", "-1", "soon", "2031-01-01T00:00:00Z", "", "Sun, 01 Nov 2020 08:00:00 GMT"],
)
def test_what_asks_for_no_wait_is_answered_with_a_short_one(header):
    waits, told, error = asked(Reply(429, {"retry-after": header}))
    assert len(waits) == 1
    assert 0.3 < waits[0] <= 0.5
    assert (told, error) == ([], None)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("86400", "24 h 0 min"),
        ("601", "10 min 1 s"),
        ("999999999999", "277777777 h 46 min"),
    ],
)
def test_a_wait_beyond_the_limit_ends_at_once(header, words):
    waits, told, error = asked(Reply(429, {"retry-after": header}, b"quota"))
    assert (waits, told) == ([], [])
    assert error == (
        f"{URL} answers with status 429: 'quota'; it asks to wait {words} "
        "(Retry-After), which is longer than max_wait_seconds = 600: run this again then, the "
        "answers are kept"
    )
    dated = asked(Reply(503, {"retry-after": later(7300)}))
    assert dated[:2] == ([], [])
    assert "it asks to wait 2 h " in dated[2]
    assert asked(Reply(429, {"retry-after": "900"}), max_wait_seconds=1000)[2] is None


def test_a_service_that_goes_on_loading_is_given_up_with_its_last_words():
    waits, told, error = asked(*[Reply(503, body=LOADING.encode())] * 9, max_attempts=6)
    longest = [2, 4, 8, 16, 32]
    assert all(0.75 * most <= wait <= most for wait, most in zip(waits, longest, strict=True))
    assert [line.split(",")[0].split()[0] for line in told] == ["waiting"] * 2
    assert error == f"{URL} answers with status 503: {LOADING!r}, in 6 attempts"


def test_no_wait_tells_a_secret():
    headers = {"authorization": "Bearer s3cretword"}
    reply = Reply(429, {"retry-after": "20"}, b"slow down, s3cretword")
    _, told, error = asked(reply, headers=headers)
    assert error is None
    assert "(it repeats header 'authorization' and is not shown)" in told[0]
    assert "s3cret" not in told[0]


def test_a_time_out_that_took_long_is_told(monkeypatch):
    now = iter(range(0, 10_000, 15))  # each look at the clock is 15 s after the last
    monkeypatch.setattr("anw_jax.suspects.http.endpoint.time.monotonic", lambda: next(now))
    _, told, error = asked(TooSlowError())
    assert error is None
    assert "does not answer within 30 s (attempt 1 of 3)" in told[0]


def test_short_waits_are_silent():
    waits, told, error = asked(UnreachableError("refused"), Reply(500), max_attempts=3)
    assert len(waits) == 2
    assert (told, error) == ([], None)


def test_waits_of_several_threads_are_told_once():
    now = [0.0]
    pace = Pace(clock=lambda: now[0])
    assert [pace.should_log(20) for _ in range(8)] == [True] + [False] * 7
    now[0] = 1
    assert not pace.should_log(20)
    assert pace.should_log(40)
    now[0] = 41
    assert pace.should_log(20)


def test_a_probe_waits_once_for_a_service_that_is_down():
    waits = []
    options = HttpOptions(max_attempts=3, in_flight=1)

    def down(request):
        raise UnreachableError("NewConnectionError")

    with twins.over_http(down, options=options, sleep=waits.append) as suspect:
        report = probe(suspect, twins.photos(3))
    assert report.findings[0].seen == (
        f"the suspect does not answer: {URL} cannot be reached (NewConnectionError), "
        "in 3 attempts"
    )
    assert len(waits) == 2


@pytest.mark.parametrize("status", [408, 429, 500, 501, 502, 503, 504, 507, 520, 529])
def test_what_may_pass_is_asked_again(status):
    waits, _, error = asked(Reply(status))
    assert len(waits) == 1
    assert error is None


REDIRECTS = {
    (301, "/plain/"): "'http://model.test/plain/'",
    (302, "https://other.test/x"): "'https://other.test/x'",
    (303, "next"): "'http://model.test/next'",
    (307, "//host.test/a?b=c"): "'http://host.test/a?...'",
    (308, "http://[bad/"): "'http://[bad/'",
}


@pytest.mark.parametrize(("status", "place"), REDIRECTS)
def test_a_redirect_names_the_place(status, place):
    error = asked(Reply(status, {"location": place}, b"moved"))[2]
    assert error == (
        f"{URL} answers with status {status}, which points to {REDIRECTS[status, place]}: give "
        "the address that answers as url"
    )


def test_a_redirect_without_a_place():
    assert (
        asked(Reply(307, {}, b"gone  away"))[2] == f"{URL} answers with status 307: 'gone away'"
    )


def test_readable_waits():
    assert retry_after("1.5", 0) == 1.5
    assert retry_after("1.", 0) == 1.0
    assert retry_after("1e9", 0) is None
    assert retry_after("9" * 13, 0) is None


@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_bad_limits(value):
    with pytest.raises(ValueError, match="max_wait_seconds"):
        HttpOptions(max_wait_seconds=value)


TEMPLATES = {
    "${png}": "placeholder must be one of $batch, ",
    "$image": "placeholder must be one of $batch, ",
    "see $picture": "$picture must be a whole value: within a longer text stand only $png and",
    "$png$batch": "$batch must be a whole value",
    "$shape of $float32": "$shape must be a whole value",
    "data:$pngs": "$pngs must be a whole value",
    "$PNG": "placeholder must be one of $batch, ",
    "$png_x": "placeholder must be one of $batch, ",
    "data:image/png;base64,$pgn": "placeholder must be one of $batch, ",
}


@pytest.mark.parametrize("text", TEMPLATES)
def test_a_placeholder_is_filled_or_refused(text):
    with pytest.raises(ValueError) as error:
        RequestTemplate(template={"inputs": "$png", "other": [text]})
    assert str(error.value).startswith(TEMPLATES[text])


def test_placeholders_within_a_text_are_filled():
    template = {"a": "data:image/png;base64,$png", "b": "$png.$float32", "c": "$5, $.x and $"}
    body, _ = RequestTemplate(template=template).content(PICTURES, twins.NHWC)
    sent = json.loads(body)
    plain = json.loads(
        RequestTemplate(template=["$png", "$float32"]).content(PICTURES, twins.NHWC)[0]
    )
    assert sent == {
        "a": f"data:image/png;base64,{plain[0]}",
        "b": f"{plain[0]}.{plain[1]}",
        "c": "$5, $.x and $",
    }


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"$png": 1, "a": "$png"}, r"\$png must be a value of the template, not a name in it"),
        ({"a": "$png", "b": float("nan")}, "template must be JSON"),
        ({"a": "$png", "b": b"x"}, "template must be JSON"),
        ({"a": "$png", "b": {1, 2}}, "template must be JSON"),
    ],
)
def test_templates_that_are_no_json(template, message):
    with pytest.raises(ValueError, match=message):
        RequestTemplate(template=template)
