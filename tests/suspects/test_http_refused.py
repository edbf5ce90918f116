"""A picture that a service refuses is told apart from a service that refuses everything."""

import base64
import json

import numpy as np
import pytest

from anw_jax.errors import RefusedPictureError, SuspectError
from anw_jax.suspects import AnswerTemplate, Declaration, HttpOptions, RequestTemplate
from anw_jax.suspects.http.client import Reply
from tests.suspects import twins

PICTURES = twins.photos(7).astype(np.float32) / np.float32(255)
BAD = (2, 5)
OPTIONS = HttpOptions(max_attempts=2, in_flight=2)


class Book:
    """A ledger that keeps all that it is told."""

    def __init__(self):
        self.answered_ones, self.failures, self.sent = {}, {}, []

    def sending(self, positions):
        self.sent.append(list(positions))

    def answered(self, positions, answers):
        for row, position in enumerate(positions):
            assert position not in self.answered_ones
            self.answered_ones[position] = answers.rows(slice(row, row + 1))

    def refused(self, positions):
        pass

    def failed(self, positions, error):
        for position in positions:
            self.failures[position] = error


def batch_of(request):
    asked = json.loads(request.content)
    return np.frombuffer(base64.b64decode(asked["tensor"]), "<f4").reshape(asked["shape"])


def is_bad(picture) -> bool:
    return any(np.array_equal(picture, PICTURES[position]) for position in BAD)


def ask(handler, size=3, **options):
    book, error = Book(), None
    request = RequestTemplate(template=twins.REQUEST.template, images_per_request=size)
    with twins.over_http(handler, request=request, options=OPTIONS, **options) as suspect:
        try:
            suspect.ask_each(PICTURES, book)
        except SuspectError as caught:
            error = caught
    return book, error


def answers_but(status, body=b"content policy"):
    def handler(request):
        if any(map(is_bad, batch_of(request))):
            return Reply(status, body=body)
        return twins.replied(twins.http_answer(request.content))

    return handler


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("status", [400, 406, 409, 413, 415, 422, 424, 451, 499])
def test_a_4xx_is_narrowed_down_to_its_picture(status, size):
    book, error = ask(answers_but(status), size)
    assert error is None
    assert sorted(book.failures) == list(BAD)
    for one in book.failures.values():
        assert type(one) is RefusedPictureError
        assert str(one) == (
            f"http://model.test/predict answers with status {status}: 'content policy'"
        )
    assert sorted(book.answered_ones) == [0, 1, 3, 4, 6]
    for position, answer in book.answered_ones.items():
        wanted = twins.logits(PICTURES[position][None])
        np.testing.assert_allclose(answer.scores, wanted, atol=1e-5)
    singles = [group for group in book.sent if len(group) == 1]
    assert all([position] in singles for position in BAD)


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 407, 408, 410, 429, 500, 503, 302])
def test_other_statuses_are_of_the_whole_service(status):
    book, error = ask(answers_but(status))
    assert type(error) is SuspectError
    assert f"answers with status {status}: 'content policy'" in str(error)
    assert not any(isinstance(one, RefusedPictureError) for one in book.failures.values())


SHORT = {
    "null": lambda row: None,
    "null within": lambda row: {"scores": None},
    "nothing within": lambda row: {"error": "filtered"},
    "no scores": lambda row: {"scores": []},
}


@pytest.mark.parametrize("spoil", SHORT.values(), ids=SHORT)
@pytest.mark.parametrize("size", [1, 3])
def test_an_entry_without_an_answer_is_a_refused_picture(spoil, size):
    def handler(request):
        answer = twins.http_answer(request.content)["predictions"]
        for row, picture in enumerate(batch_of(request)):
            if is_bad(picture):
                answer[row] = spoil(answer[row])
        return twins.replied({"predictions": answer})

    book, error = ask(handler, size)
    assert error is None
    assert sorted(book.failures) == list(BAD)
    assert all(type(one) is RefusedPictureError for one in book.failures.values())
    assert sorted(book.answered_ones) == [0, 1, 3, 4, 6]
    assert max(map(len, book.sent)) == size
    assert len(book.sent) == -(-7 // size)  # what was answered is not asked again


def test_an_answer_that_lacks_entries_is_narrowed_down():
    def handler(request):
        keep = [not is_bad(picture) for picture in batch_of(request)]
        rows = twins.http_answer(request.content)["predictions"]
        return twins.replied({"predictions": [r for r, k in zip(rows, keep, strict=True) if k]})

    book, error = ask(handler)
    assert error is None
    assert sorted(book.failures) == list(BAD)
    assert str(book.failures[2]) == (
        "http://model.test/predict: the answer must have as many entries at 'predictions' as "
        "pictures were sent, 1; got 0"
    )


def test_a_probe_and_answers_stop_at_a_refused_picture():
    with (
        twins.over_http(answers_but(422), options=OPTIONS) as suspect,
        pytest.raises(RefusedPictureError, match="answers with status 422"),
    ):
        suspect.answers(PICTURES)


def test_a_refusal_does_not_repeat_a_token():
    book, _ = ask(answers_but(400, b"no, k3y-of-ann!"), headers={"X-Key": "k3y-of-ann"})
    for one in book.failures.values():
        assert "(it repeats header 'x-key' and is not shown)" in str(one)
        assert "k3y" not in str(one)


TOP = Declaration(3, "top_k", k=2)
NAMED = ("cat", "dog", "bird")
LACKING = {
    "fewer labels": (
        AnswerTemplate(False, "*.s", "*.l", NAMED),
        TOP,
        [{"l": "cat", "s": 0.9}],
        "the suspect declares 2 labels for each picture and answers with 1",
    ),
    "no labels": (
        AnswerTemplate(False, "*.s", "*.l", NAMED),
        TOP,
        [],
        "the suspect declares 2 labels for each picture and answers with 0",
    ),
    "fewer names": (
        AnswerTemplate(False, "", classes=NAMED),
        TOP,
        {"cat": 0.9},
        "the suspect declares 2 labels for each picture and answers with 1",
    ),
    "a class is missing": (
        AnswerTemplate(False, "", classes=NAMED),
        Declaration(3, "probabilities"),
        {"cat": 0.9, "dog": 0.1},
        "the answer has no score for class 'bird'; of a service that lists the best alone "
        "declare top_k",
    ),
    "other words": (
        AnswerTemplate(False, None, "text", NAMED),
        Declaration(3, "label"),
        {"text": "I cannot help with that."},
        "the answer's label 'I cannot help with that.' is none of the classes",
    ),
    "null label": (
        AnswerTemplate(False, None, "text", NAMED),
        Declaration(3, "label"),
        {"text": None},
        "the answer has null at 'text'",
    ),
}


@pytest.mark.parametrize(
    ("template", "declaration", "body", "message"), LACKING.values(), ids=LACKING
)
def test_an_answer_with_too_little_is_a_refused_picture(template, declaration, body, message):
    template.check_fits(declaration)
    with pytest.raises(RefusedPictureError) as error:
        template.read(body, declaration, 1)
    assert str(error.value) == message


WRONG = {
    "the whole lacks it": ({"error": "quota"}, "the answer has nothing at '*.s'"),
    "more labels": ([{"l": n, "s": 0.1} for n in NAMED], "declares 2 labels for each picture"),
    "one twice": ([{"l": "cat", "s": 0.1}] * 2, "the answer lists class 'cat' twice"),
    "no words": ([{"l": 1, "s": 0.1}] * 2, "must be one of the names in classes, got 1"),
    "no numbers": ([{"l": "cat", "s": "x"}], "scores must be numbers, got 'x'"),
}


@pytest.mark.parametrize(("body", "message"), WRONG.values(), ids=WRONG)
def test_an_answer_of_another_kind_is_no_refusal(body, message):
    with pytest.raises(SuspectError, match=message.replace("*", "[*]")) as error:
        AnswerTemplate(False, "*.s", "*.l", NAMED).read(body, TOP, 1)
    assert type(error.value) is SuspectError
