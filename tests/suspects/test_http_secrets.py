"""Values of headers, URLs and proxies stay out of every message, whatever a service echoes."""

import base64
import html
import json
import urllib.parse

import numpy as np
import pytest

from anw_jax.errors import SuspectError
from anw_jax.suspects import HttpOptions, HttpSuspect, RequestTemplate
from anw_jax.suspects.http.client import NoAnswerError, Reply, UnreachableError
from anw_jax.suspects.http.secrets import (
    Secrets,
    checked_headers,
    checked_url,
    password_of,
    proxy_for,
    shown_url,
)
from tests.suspects import twins

TOKEN = "s3cr3t-T0ken/+="
HEADERS = {"Authorization": f"Bearer {TOKEN}", "X-Team": "ann"}
PICTURES = twins.photos(1).astype(np.float32) / np.float32(255)
BODY, WHOLE = TOKEN.encode(), HEADERS["Authorization"].encode()

SPELLINGS = {
    "plain": TOKEN,
    "with its scheme": f"Bearer {TOKEN}",
    "upper case": TOKEN.upper(),
    "part": TOKEN[:9],
    "percent": urllib.parse.quote(TOKEN, safe=""),
    "percent, every letter": "".join(f"%{byte:02x}" for byte in BODY),
    "percent twice": urllib.parse.quote(urllib.parse.quote(TOKEN, safe=""), safe=""),
    "JSON escapes": "".join(f"\\u{byte:04x}" for byte in BODY),
    "JSON in JSON": json.dumps(json.dumps({"token": TOKEN})),
    "bytes of Python": repr(BODY),
    "escapes of bytes": "".join(f"\\x{byte:02x}" for byte in BODY),
    "base64": base64.b64encode(BODY).decode(),
    "base64 of the whole": base64.b64encode(WHOLE).decode(),
    "base64 of a text about it": base64.b64encode(b"sent: " + WHOLE + b"!").decode(),
    "base64 for URLs": base64.urlsafe_b64encode(b"?" + BODY).decode().rstrip("="),
    "hex": BODY.hex(),
    "hex with colons": BODY.hex(":"),
    "HTML": "".join(f"&#{byte};" for byte in BODY),
    "HTML names": html.escape(TOKEN),
    "quoted printable": "".join(f"={byte:02X}" for byte in BODY),
    "codes": json.dumps(list(BODY)),
    "spaced": " ".join(TOKEN),
    "broken up": TOKEN.replace("T", "\n T"),
    "wide letters": "".join(chr(byte + 0xFEE0) for byte in BODY),
}


def said(reply, headers=None, **options) -> str:
    options = {"options": HttpOptions(max_attempts=1, in_flight=1), **options}
    handler = reply if callable(reply) else lambda request: reply
    with (
        twins.over_http(handler, headers=headers or HEADERS, **options) as suspect,
        pytest.raises(SuspectError) as error,
    ):
        suspect.answers(PICTURES)
    return str(error.value)


def check_hidden(message: str, name: str = "header 'authorization'") -> None:
    """The message says what it leaves out, and holds no run of the token's letters."""
    assert f"(it repeats {name} and is not shown)" in message
    letters = "".join(c for c in message.lower() if c.isalnum())
    assert not any(part in letters for part in ("s3cr3t", "t0ken", BODY.hex()[:8]))
    for echo in SPELLINGS.values():
        assert echo not in message


@pytest.mark.parametrize("status", [401, 400, 429])
@pytest.mark.parametrize("echo", SPELLINGS.values(), ids=SPELLINGS)
def test_an_echo_in_an_error_body_is_not_shown(echo, status):
    message = said(Reply(status, body=f'{{"error": "Invalid credentials {echo}"}}'.encode()))
    assert message.startswith(f"http://model.test/predict answers with status {status}: (it ")
    check_hidden(message)


def scores(value) -> Reply:
    return twins.replied({"predictions": [{"scores": value}]})


PLACES = {
    "HTML": Reply(200, body=f"<html>hello {TOKEN}</html>".encode()),
    "no JSON": Reply(200, body=f"{TOKEN} is wrong".encode()),
    "cut off": Reply(200, body=f'{{"a": "{TOKEN}'.encode()),
    "UTF-16": Reply(401, body=f"bad {TOKEN}".encode("utf-16")),
    "a type": Reply(200, {"content-type": f"text/{TOKEN}"}, b"hello"),
    "no path": twins.replied({"error": f"quota of {TOKEN}"}),
    "no path in a picture": twins.replied({"predictions": [{"error": TOKEN}]}),
    "no list": scores(TOKEN),
    "no number": scores([TOKEN] * 5),
    "a name": Reply(404, body=json.dumps({TOKEN: 1}).encode()),
    "Location": Reply(302, {"location": f"/login/{TOKEN}"}),
    "Location, encoded": Reply(307, {"location": f"/in/{SPELLINGS['percent']}"}),
    "far in": Reply(500, body=(" " * 900 + TOKEN).encode()),
    "at the edge of what is shown": Reply(500, body=("x" * 92 + " " + TOKEN).encode()),
}


@pytest.mark.parametrize("reply", PLACES.values(), ids=PLACES)
def test_an_echo_elsewhere_is_not_shown(reply):
    check_hidden(said(reply))


def test_a_packing_that_is_the_token():
    def handler(request):
        raise NoAnswerError(f"answers with encoding {TOKEN!r:.40}, which was not requested")

    check_hidden(said(handler))


def test_the_query_of_a_redirect_is_not_shown():
    place = "https://ann:pw@login.test/in?next=/x&session=abc#f"
    assert said(Reply(301, {"location": place})) == (
        "http://model.test/predict answers with status 301, which points to "
        "'https://login.test/in?...': give the address that answers as url"
    )


@pytest.mark.parametrize(
    ("value", "echo"),
    [
        ("Basic " + base64.b64encode(b"ann:hunter22").decode(), "wrong password hunter22"),
        ("Basic " + base64.b64encode(b"ann:pass word").decode(), "pass%20word"),
        ("session=abcdef99; theme=dark", "no session abcdef99"),
        ('Digest username="ann", response="99aa88bb77"', "got 99AA88BB77"),
        ("k3y", "bad key k3y"),
        ("&$%!", "bad key &$%!"),
        ("Token abcdef99", "no abcdef99"),
    ],
)
def test_each_part_of_a_value_is_known(value, echo):
    message = said(Reply(403, body=echo.encode()), {"Authorization": value})
    assert message.endswith("403: (it repeats header 'authorization' and is not shown)")


def test_what_repeats_nothing_is_shown():
    headers = {**HEADERS, "Accept": "application/json", "User-Agent": "audit"}
    message = said(Reply(404, body=b"no Bearer of an application/json audit"), headers)
    assert message.endswith("404: 'no Bearer of an application/json audit'")
    assert "status 500: '\u2026'" in said(Reply(500, body="\u2026".encode()), headers)
    assert Secrets({}).repeated_in("anything") is None


SENT = {
    "Bearer abc\n": "Bearer abc",
    "Bearer abc\r\n": "Bearer abc",
    "Bearer abc\r": "Bearer abc",
    "\ufeffBearer abc \t\n\n": "Bearer abc",
    "Bearer abc\0": "Bearer abc",
    " abc": "abc",
}


@pytest.mark.parametrize("value", SENT)
def test_line_ends_around_a_value_are_cut_off(value):
    assert checked_headers({"X-Key": value}) == {"x-key": SENT[value]}


NOT_SENT = {
    "S3CRET\nX: y": "must be one line of printable ASCII; its value is not shown",
    "S3\rCRET": "must be one line of printable ASCII; its value is not shown",
    "S3\0CRET": "must be one line of printable ASCII; its value is not shown",
    "S3CRET\u2026": "must be one line of printable ASCII; its value is not shown",
    "S3\x1bCRET": "must be one line of printable ASCII; its value is not shown",
    "S3\x85CRET": "must be one line of printable ASCII; its value is not shown",
    "\n": "must not be empty",
}


@pytest.mark.parametrize("value", NOT_SENT)
def test_a_value_that_cannot_be_sent_is_refused_by_the_header(value):
    with pytest.raises(ValueError) as error:
        HttpSuspect("http://model.test/", twins.NHWC, headers={"X-Key": value})
    assert str(error.value) == f"header X-Key {NOT_SENT[value]}"


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Bearer S3CRET": "x"}, "the name of a header must be letters, digits and dashes"),
        ({"X-A": b"S3CRET"}, "header X-A must be a str, got bytes"),
        ({"Content-Type": "x"}, "header Content-Type must be left out: it is written by the"),
        ({"X-A": "1", "x-a": "2"}, "header x-a must be left out: it stands twice"),
        (["S3CRET"], "headers must be"),
    ],
)
def test_what_is_no_header(headers, message):
    with pytest.raises((TypeError, ValueError)) as error:
        checked_headers(headers)
    assert str(error.value).startswith(message)
    assert message == "headers must be" or "S3CRET" not in str(error.value)


BAD_URLS = {
    "http://": "url must name a host, got 'http://'",
    "https://": "url must name a host, got 'https://'",
    "http:///predict": "url must name a host, got 'http:///predict'",
    "http://:80/": "url must name a host, got 'http://:80/'",
    "http://?key=S3CRET": "url must name a host, got 'http://?...'",
    "http:/model.test": "url must begin with http:// or https://, got 'http:/model.test'",
    "ann:S3CRET@model.test/": "url must begin with http:// or https://, got 'model.test/'",
    "ftp://ann:S3CRET@x/?a=S3CRET": "url must begin with http:// or https://, got 'ftp://x/?...'",
    "http://a:port/": "url must be a URL, got 'http://a:port/'",
    "http://a:0/": "url must be a URL, got 'http://a:0/'",
    "http://a:99999/": "url must be a URL, got 'http://a:99999/'",
    "http://[::1/": "url must be a URL, got 'http://[::1/'",
    "http://a..b/": "url must be a URL, got 'http://a..b/'",
    "http://ann:S3CRET@x:port/": "url must be a URL, got 'http://x:port/'",
    "http://ann:S3CRET@x/": "url must hold no name or password: give them as a header",
    "http://S3CRET@x/": "url must hold no name or password: give them as a header",
    "http://ann:S3CRET%40x/": "url must be a URL, got 'http://x/'",
    "http://x/\nS3CRET": "url must hold no spaces, line ends or backslashes",
    "http://x\\@S3CRET/": "url must hold no spaces, line ends or backslashes",
    "http://x/?key=S3CRET": "url must hold no secret: give 'key' as a header",
    "http://x/?a=1&api_key=S3CRET": "url must hold no secret: give 'api_key' as a header",
    "http://x/?a=1;token=S3CRET": "url must hold no secret: give 'token' as a header",
    "http://x/?X-Amz-Signature=S3CRET": "url must hold no secret: give 'X-Amz-Signature'",
    "http://x/?subscription-KEY=S3CRET": "url must hold no secret: give 'subscription-KEY'",
    "http://x/?%6bey=S3CRET": "url must hold no secret: give 'key' as a header",
    "http://x/?sig=S3CRET": "url must hold no secret: give 'sig' as a header",
}


@pytest.mark.parametrize("url", BAD_URLS)
def test_what_is_no_url_is_refused_at_once(url):
    with pytest.raises(ValueError) as error:
        HttpSuspect(url, twins.NHWC)
    assert str(error.value).startswith(BAD_URLS[url])
    assert "S3CRET" not in str(error.value)


def test_the_rest_of_a_query_is_asked_and_not_shown():
    handler = [Reply(404, body=b"no")].__getitem__
    found = []
    for model in ("a", "b"):
        with HttpSuspect(
            f"http://model.test/p?k={model}S3CRET",
            twins.NHWC,
            request=twins.REQUEST,
            client=twins.FakeClient(lambda request: handler(0)),
        ) as suspect:
            with pytest.raises(SuspectError) as error:
                suspect.answers(PICTURES)
            assert str(error.value) == "http://model.test/p?... answers with status 404: 'no'"
            found.append(suspect.declaration.identity)
    assert "S3CRET" not in "".join(found)
    assert found[0] != found[1]  # another query may be another model
    assert shown_url("http://h/p") == checked_url("http://h/p") == "http://h/p"


def test_a_template_with_a_secret_is_not_shown():
    with pytest.raises(ValueError) as error:
        RequestTemplate(template={"key": "S3CRET"})
    assert str(error.value) == (
        "template must hold one of $batch, $picture, $png, $pngs, $float32"
    )


@pytest.mark.parametrize(
    "value",
    [
        "proxy.corp:3128",
        "ann:S3CRET@proxy:3128",
        "socks5://ann:S3CRET@x",
        "http://",
        "http://x:y",
    ],
)
@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY"])
def test_a_proxy_that_is_none_is_named_by_its_variable(monkeypatch, variable, value):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(SuspectError) as error:
        HttpSuspect("http://model.test/", twins.NHWC)
    assert str(error.value) == (
        f"the environment variable {variable} must be http://host:port or https://host:port; "
        "its value is not shown"
    )


def test_the_password_of_a_proxy_is_a_secret(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://ann:hunter%2022@proxy.test:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    name, proxy = proxy_for("http://model.test/")
    assert (name, password_of(proxy)) == ("http_proxy", ("ann", "hunter 22"))
    with HttpSuspect("http://model.test/", twins.NHWC, request=twins.REQUEST) as suspect:
        reply = Reply(407, body=b"not hunter 22")
        monkeypatch.setattr(suspect._client, "send", lambda *arguments: reply)
        with pytest.raises(SuspectError) as error:
            suspect.answers(PICTURES)
    assert str(error.value) == (
        "http://model.test/ answers with status 407: (it repeats the password in http_proxy "
        "and is not shown)"
    )


def test_why_nobody_is_reached_is_said():
    def handler(request):
        raise UnreachableError("ProxyError, through the proxy of https_proxy")

    assert said(handler) == (
        "http://model.test/predict cannot be reached (ProxyError, through the proxy of "
        "https_proxy), in 1 attempt"
    )
