"""A photo that the suspect refuses is a warning of the probe; many are an error."""

import numpy as np
import pytest

from anw_jax.suspects import CallableSuspect, HttpOptions, probe
from anw_jax.suspects.http.client import Reply, TooSlowError
from tests.suspects import twins

PHOTOS = twins.photos(40)
LABELS = twins.logits(PHOTOS.astype(np.float32) / 255).argmax(1)


def refuser(numbers, how):
    known = PHOTOS[list(numbers)].astype(np.float32) / np.float32(255)

    def fun(batch):
        logits = twins.logits(batch)
        near = np.abs(batch[:, None] - known[None]).max((2, 3, 4)) < 1e-4
        bad = near.any(axis=1)
        if bad.any() and how == "raises":
            raise ValueError("not this one")
        if bad.any() and how == "drops":
            return logits[~bad]
        return np.where(bad[:, None], np.nan, logits)

    return CallableSuspect(fun, twins.NHWC, identity="refuser")


@pytest.mark.parametrize("how", ["raises", "drops", "nan"])
@pytest.mark.parametrize("numbers", [[3], [0, 5, 39], [1, 2, 3, 4]])
def test_a_few_refused_photos_are_a_warning(how, numbers):
    report = probe(refuser(numbers, how), PHOTOS, LABELS)
    assert report.is_fit
    (finding,) = (f for f in report.findings if f.name == "refused")
    assert finding.severity == "warning"
    assert f"{len(numbers)} of 40 photos get no usable answer, first" in finding.seen
    assert f"number {numbers[0]} (" in finding.seen
    assert "inconclusive" in finding.do
    assert report.accuracy == 1.0


@pytest.mark.parametrize("how", ["raises", "nan"])
def test_many_are_an_error(how):
    assert not probe(refuser(range(5), how), PHOTOS, LABELS).is_fit


@pytest.mark.parametrize("reply", [Reply(400, body=b"policy"), Reply(500), TooSlowError()])
def test_a_service(reply):
    shown = []

    def handler(request):
        shown.append(1)
        answer = twins.http_answer(request.content)
        if answer == refused:
            if isinstance(reply, Exception):
                raise reply
            return reply
        return twins.replied(answer)

    request = twins.dataclasses.replace(twins.REQUEST, images_per_request=1)
    refused = None
    options = HttpOptions(max_attempts=2, in_flight=1)
    with twins.over_http(handler, options=options, request=request) as suspect:
        body, _ = request.content(PHOTOS[:1].astype(np.float32) / np.float32(255), twins.NHWC)
        refused = twins.http_answer(body)
        report = probe(suspect, PHOTOS, LABELS)
    assert report.is_fit
    assert "refused" in [finding.name for finding in report.findings]
