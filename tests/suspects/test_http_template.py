"""What is sent and what is read, as plain data."""

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anw_jax.errors import SuspectError
from anw_jax.suspects import AnswerTemplate, Declaration, RequestTemplate
from anw_jax.suspects.http.replies import back_off, retry_after
from anw_jax.suspects.http.request import png_bytes

PLAIN = Declaration(3)
BATCH = np.linspace(0, 1, 2 * 4 * 5 * 3, dtype=np.float32).reshape(2, 4, 5, 3)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(height=st.integers(1, 20), width=st.integers(1, 20), seed=st.integers(0, 99))
def test_a_png_is_read_back_by_pillow(height, width, seed):
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(png_bytes(picture))) as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), picture)


def sent(template, batch=BATCH, declaration=PLAIN, **options):
    body, kind = RequestTemplate(template=template, **options).content(batch, declaration)
    assert kind == "application/json"
    return json.loads(body)


def test_each_placeholder():
    assert sent({"a": ["$batch"]}, images_per_request=2)["a"][0] == BATCH.tolist()
    assert sent({"a": "$picture", "n": 3}, BATCH[:1]) == {"a": BATCH[0].tolist(), "n": 3}
    both = sent({"x": "$float32", "shape": "$shape"}, images_per_request=2)
    array = np.frombuffer(base64.b64decode(both["x"]), "<f4").reshape(both["shape"])
    np.testing.assert_array_equal(array, BATCH)
    for text in (
        sent({"b64": "$png"}, BATCH[:1])["b64"],
        sent(["$pngs"], images_per_request=2)[0][0],
        sent("$png", BATCH[:1] * 255, Declaration(3, value_range="bytes")),
    ):
        with Image.open(io.BytesIO(base64.b64decode(text))) as image:
            np.testing.assert_array_equal(np.asarray(image), np.rint(BATCH[0] * 255))


def test_bare_bodies():
    body, kind = RequestTemplate(body="float32", images_per_request=2).content(BATCH, PLAIN)
    assert (body, kind) == (BATCH.tobytes(), "application/octet-stream")
    body, kind = RequestTemplate(body="png").content(BATCH[:1], PLAIN)
    assert kind == "image/png"
    assert body[:4] == b"\x89PNG"


READ = {
    "matrix": (
        AnswerTemplate("outputs.0.data"),
        Declaration(2),
        {"outputs": [{"data": [[1, 2], [3, 4]]}]},
        ([[1, 2], [3, 4]], None),
    ),
    "percent by name": (
        AnswerTemplate("r", "p", classes=("cat", "dog"), scale=0.01),
        Declaration(2, "probabilities"),
        {"r": [{"p": {"dog": 25, "cat": 75}}, {"p": {"cat": 0, "dog": 100, "cow": 0}}]},
        ([[0.75, 0.25], [0, 1]], None),
    ),
    "top k": (
        AnswerTemplate("r", "*.score", "*.label", classes=("a", "b", "c")),
        Declaration(3, "top_k", k=2),
        {
            "r": [
                [{"label": "b", "score": 0.5}, {"label": "a", "score": 0.25}],
                [{"label": "c", "score": 1.0}, {"label": "a", "score": 0.0}],
            ]
        },
        ([[0.5, 0.25], [1, 0]], [[1, 0], [2, 0]]),
    ),
    "labels": (
        AnswerTemplate("labels", None, ""),
        Declaration(9, "label"),
        {"labels": [3, "8"]},
        (None, [3, 8]),
    ),
}


@pytest.mark.parametrize(("template", "declaration", "body", "read"), READ.values(), ids=READ)
def test_answers_are_read(template, declaration, body, read):
    template.check_fits(declaration)
    answers = template.read(body, declaration, 2)
    for mine, theirs in zip((answers.scores, answers.labels), read, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            np.testing.assert_allclose(mine, theirs)


def test_an_answer_about_one_picture():
    template = AnswerTemplate(pictures=None, scores="scores")
    assert template.read({"scores": [1, 2]}, Declaration(2), 1).scores.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("template", "body", "message"),
    [
        ("classes", {"r": [{"l": "cow"}]}, "the answer's label 'cow' is none of the classes"),
        (
            None,
            {"r": [{"l": "cow"}]},
            "the answer's label must be a class number, got 'cow': name the classes in the "
            "answer template if they come as text",
        ),
        (
            None,
            {"r": [{"l": 1.5}]},
            "the answer's label must be a class number, got 1.5: name the classes in the "
            "answer template if they come as text",
        ),
        (None, {"r": [{"l": 2**70}]}, "the answer holds a number too large to be one"),
    ],
)
def test_labels_that_are_none(template, body, message):
    classes = ("cat", "dog") if template else None
    template = AnswerTemplate("r", None, "l", classes=classes)
    with pytest.raises(SuspectError) as error:
        template.read(body, Declaration(2, "label"), 1)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"body": "jpeg"}, "body must be one of json, png, float32; got 'jpeg'; did you"),
        ({"method": "GET"}, "method must be one of POST, PUT; got 'GET'"),
        ({"template": {"x": "$image"}}, "placeholder must be one of $batch, $picture, $png"),
        ({"template": {"x": 1}}, "template must hold one of $batch, $picture, $png, $pngs,"),
        (
            {"template": "$png", "images_per_request": 2},
            "$png needs images_per_request=1, got 2",
        ),
        (
            {"body": "png", "images_per_request": 2},
            "images_per_request must be 1 with body='png'",
        ),
        ({"body": "png", "template": 1}, "template belongs to body='json', got body='png'"),
    ],
)
def test_bad_templates(arguments, message):
    with pytest.raises(ValueError) as error:
        RequestTemplate(**arguments)
    assert str(error.value).startswith(message.removesuffix("; did you"))


def test_waiting_times():
    assert retry_after(None, 0) is None
    assert retry_after("120", 0) == 120
    assert retry_after("999999", 0) == 999999
    assert retry_after("Thu, 01 Jan 1970 00:00:09 GMT", 99) == 0
    longest = [1, 2, 4, 8, 16, 32, 60, 60]
    for attempt, most in enumerate(longest, 1):
        assert 0.75 * most <= back_off(attempt, 1.0) <= most
