"""Scores and the classes that they belong to: matched by name, or refused, never guessed."""

import numpy as np
import pytest

from anw_jax.errors import SuspectError
from anw_jax.suspects import AnswerTemplate, Declaration

NAMES = ("cat", "dog", "bird")
FULL, TOP, LABEL = (
    Declaration(3, "probabilities"),
    Declaration(3, "top_k", k=2),
    Declaration(3, "label"),
)
# Best first, as most services list them.
LISTED = [
    {"label": "bird", "score": 0.7},
    {"label": "cat", "score": 0.2},
    {"label": "dog", "score": 0.1},
]
NO_ORDER = (
    "scores come as a list, whose order the names in classes do not give: give labels a path"
)

READ = {
    "a list with labels": (("*.score", "*.label", NAMES), FULL, LISTED, [0.2, 0.1, 0.7], None),
    "two lists": (
        ("scores", "labels", NAMES),
        FULL,
        {"scores": [0.7, 0.2, 0.1], "labels": ["bird", "cat", "dog"]},
        [0.2, 0.1, 0.7],
        None,
    ),
    "class numbers": (
        ("s", "l", None),
        FULL,
        {"s": [0.7, 0.2, 0.1], "l": [2, "0", 1]},
        [0.2, 0.1, 0.7],
        None,
    ),
    "an object": (
        ("", None, NAMES),
        FULL,
        {"bird": 0.7, "dog": 0.1, "cat": 0.2},
        [0.2, 0.1, 0.7],
        None,
    ),
    "an object of numbers": (
        ("", None, None),
        FULL,
        {"2": 0.7, "0": 0.2, "1": 0.1},
        [0.2, 0.1, 0.7],
        None,
    ),
    "others beside": (
        ("*.score", "*.label", NAMES),
        FULL,
        [{"label": "nothing", "score": 0.5}, *LISTED],
        [0.2, 0.1, 0.7],
        None,
    ),
    "class order without names": (
        ("", None, None),
        FULL,
        [0.2, 0.1, 0.7],
        [0.2, 0.1, 0.7],
        None,
    ),
    "logits too": (
        ("*.score", "*.label", NAMES),
        Declaration(3, "logits"),
        LISTED,
        [0.2, 0.1, 0.7],
        None,
    ),
    "top k": (("*.score", "*.label", NAMES), TOP, LISTED[:2], [0.7, 0.2], [2, 0]),
    "top k, worst first": (
        ("*.score", "*.label", NAMES),
        TOP,
        LISTED[1::-1],
        [0.7, 0.2],
        [2, 0],
    ),
    "top k of an object": (
        ("", None, NAMES),
        TOP,
        {"cat": 0.2, "bird": 0.7},
        [0.7, 0.2],
        [2, 0],
    ),
    "a name with a space": ((None, "t", NAMES), LABEL, {"t": " dog\n"}, None, 1),
}


@pytest.mark.parametrize("name", READ)
def test_scores_stand_with_their_classes(name):
    paths, declaration, body, scores, labels = READ[name]
    template = AnswerTemplate(None, *paths)
    template.check_fits(declaration)
    answers = template.read(body, declaration, 1)
    if scores is not None:
        np.testing.assert_allclose(answers.scores[0], scores)
    if labels is not None:
        np.testing.assert_array_equal(answers.labels[0], labels)


@pytest.mark.parametrize("scores", ["*.score", "outputs.*.s", "*", "a.*"])
@pytest.mark.parametrize("kind", ["probabilities", "logits"])
def test_a_path_to_a_list_under_classes_is_refused_at_once(scores, kind):
    template = AnswerTemplate(None, scores, classes=NAMES)
    with pytest.raises(ValueError) as error:
        template.check_fits(Declaration(3, kind))
    assert str(error.value).startswith(NO_ORDER)


@pytest.mark.parametrize(
    ("scores", "body"),
    [
        ("", [0.7, 0.2, 0.1]),
        ("s", {"s": [0.7, 0.2, 0.1]}),
        ("0", [[0.7, 0.2, 0.1]]),
        ("s", {"s": []}),
    ],
)
def test_a_list_that_comes_under_classes_is_refused(scores, body):
    template = AnswerTemplate(None, scores, classes=NAMES)
    template.check_fits(FULL)
    with pytest.raises(SuspectError) as error:
        template.read(body, FULL, 1)
    assert str(error.value).startswith(NO_ORDER)


BESIDE = {
    "label": ("*.score", LISTED),
    "name, in class order": ("*.p", [{"name": name, "p": 0.1} for name in NAMES]),
    "further in": ("out.*.score", {"out": LISTED}),
    "a number as text": ("*.p", [{"id": str(n), "p": 0.1} for n in range(3)]),
    "in the last alone": ("*.p", [{"p": 0.1}, {"p": 0.1}, {"p": 0.8, "class": "cat"}]),
}


@pytest.mark.parametrize("name", BESIDE)
def test_scores_beside_names_that_nobody_reads_are_refused(name):
    scores, body = BESIDE[name]
    template = AnswerTemplate(None, scores)
    template.check_fits(FULL)
    with pytest.raises(SuspectError, match="each score has a name beside it"):
        template.read(body, FULL, 1)


def test_scores_beside_numbers_are_read_in_their_order():
    body = [{"p": 0.2, "id": 0}, {"p": 0.1, "id": 1}, {"p": 0.7, "id": 2}]
    assert AnswerTemplate(None, "*.p").read(body, FULL, 1).scores.tolist() == [[0.2, 0.1, 0.7]]


UNUSED = {
    "numbers as labels": ((None, "l"), LABEL, {"l": 1}),
    "digits as labels": ((None, "l"), LABEL, {"l": "1"}),
    "numbers in the top k": (("s", "l"), TOP, {"s": [0.7, 0.2], "l": [2, 0]}),
    "digits in the top k": (("", None), TOP, {"2": 0.7, "0": 0.2}),
    "numbers beside all scores": (("s", "l"), FULL, {"s": [0.7, 0.2, 0.1], "l": [2, 0, 1]}),
    "digits in an object": (("", None), FULL, {"2": 0.7, "0": 0.2, "1": 0.1}),
    "a list": (("", None), FULL, [0.7, 0.2, 0.1]),
    "a list in the top k": (("s", None), TOP, {"s": [0.7, 0.2]}),
}


@pytest.mark.parametrize("name", UNUSED)
def test_no_answer_is_read_without_the_names_that_are_given(name):
    paths, declaration, body = UNUSED[name]
    with pytest.raises(SuspectError):
        AnswerTemplate(None, *paths, classes=NAMES).read(body, declaration, 1)


WRONG = {
    "lists apart": (
        ("s", "l", NAMES),
        {"s": [0.7, 0.3], "l": ["cat"]},
        "as many labels at 'l' as",
    ),
    "one twice": (
        ("*.score", "*.label", NAMES),
        [*LISTED, LISTED[0]],
        "the answer lists class 'bird' twice",
    ),
    "a class too many": (
        ("s", "l", None),
        {"s": [0.7, 0.2, 0.1], "l": [0, 1, 3]},
        "declares 3 classes and answers with label 3",
    ),
    "labels in an object": (
        ("s", "l", None),
        {"s": {"0": 1}, "l": [0]},
        "must be a list of numbers",
    ),
    "true": (
        ("", None, NAMES),
        {"cat": True, "dog": 1, "bird": 0},
        "must be numbers, got True",
    ),
    "more scores": (("", None, None), [0.1] * 4, "declares 3 classes and answers with 4"),
    "fewer scores": (("", None, None), [0.1] * 2, "declares 3 classes and answers with 2"),
}


@pytest.mark.parametrize(("paths", "body", "message"), WRONG.values(), ids=WRONG)
def test_answers_that_do_not_fit(paths, body, message):
    with pytest.raises(SuspectError, match=message):
        AnswerTemplate(None, *paths).read(body, FULL, 1)


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        ("cat", TypeError, "classes must be a list of names, got 'cat'"),
        (["cat", 2, "x"], TypeError, "classes must be a list of names"),
        (["cat", " ", "x"], TypeError, "classes must be a list of names"),
        (["cat", "cat ", "x"], ValueError, "must name each class once, has 'cat' 2 times"),
        (3, TypeError, "classes must be a list of names, got 3"),
    ],
)
def test_bad_classes(classes, error, message):
    with pytest.raises(error, match=message):
        AnswerTemplate(classes=classes)


def test_no_classes_at_all_are_refused():
    with pytest.raises(ValueError, match="classes must name the 3 declared classes, got 0"):
        AnswerTemplate(None, classes=[]).check_fits(FULL)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_one_flat_list_holds_all_pictures_in_order(number):
    rows = np.arange(3.0 * number).reshape(number, 3)
    template = AnswerTemplate("outputs.0.data")
    body = {"outputs": [{"data": rows.ravel().tolist()}]}
    read = template.read(body, Declaration(3), number).scores
    np.testing.assert_array_equal(read, rows)
    for wrong in (rows.ravel()[1:], np.append(rows.ravel(), 1)):
        with pytest.raises(SuspectError):
            template.read({"outputs": [{"data": wrong.tolist()}]}, Declaration(3), number)


def test_the_hint_for_an_answer_about_one_picture():
    for body in (LISTED, {"cat": 1}):
        with pytest.raises(SuspectError, match="set pictures = false"):
            AnswerTemplate(".", "*.score", "*.label", NAMES).read(body, FULL, 1)
        with pytest.raises(SuspectError, match="set pictures = false"):
            AnswerTemplate("predictions").read(body, FULL, 1)


def test_numbers_that_are_none_are_kept_as_unusable():
    template = AnswerTemplate(None, "*.s", "*.l", NAMES)
    body = [{"l": "cat", "s": None}, {"l": "dog", "s": 0.5}]
    answers = template.read(body, TOP, 1)
    assert answers.labels.tolist() == [[1, 0]]
    assert np.isnan(answers.scores[0, 1])
