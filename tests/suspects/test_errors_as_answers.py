"""Suspects that answer with one number for each picture, a loss of their own."""

import numpy as np
import pytest

from anw_jax.errors import SuspectError
from anw_jax.keys import SignatureSpace
from anw_jax.keys.plan_fields import KINDS
from anw_jax.marks import HueRotation
from anw_jax.suspects import (
    Access,
    AnswerCache,
    Answers,
    AnswerTemplate,
    CallableSuspect,
    Declaration,
    RecordedSuspect,
    ask,
)
from anw_jax.suspects.access import reachable
from anw_jax.suspects.adapters.returned import read_answers
from anw_jax.verify import loss_table
from anw_jax.verify.losses import reconstruction_error
from tests.suspects import twins

SPACE, MARK = SignatureSpace(5), HueRotation()
PHOTOS = twins.photos(6)
ERRORS = Declaration(answer="error")


def blur(images):
    """A poor auto-encoder: the mean colour of each picture."""
    return images.mean((1, 2), keepdims=True) + 0 * images


def errors_of(batch):
    return np.asarray(reconstruction_error(blur, batch))


def suspect(fun=errors_of):
    return CallableSuspect(fun, ERRORS, identity="auto-encoder")


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_the_table_is_that_of_the_loss(shape):
    table = ask(
        suspect(lambda batch: errors_of(batch).reshape(shape)), PHOTOS, None, MARK, SPACE,
        batch_size=7,
    )  # fmt: skip
    expected = loss_table(blur, PHOTOS, (), MARK, SPACE, loss=reconstruction_error)
    np.testing.assert_allclose(table, expected, rtol=1e-5)
    assert table[0].std() > 0


def test_labels_change_nothing():
    plain = ask(suspect(), PHOTOS, None, MARK, SPACE)
    for labels, access in ((np.arange(6), Access("error")), (None, Access("error", False))):
        assert np.array_equal(ask(suspect(), PHOTOS, labels, MARK, SPACE, access=access), plain)


def test_views_are_averaged():
    access = Access("error", num_augmentations=3)
    seen = []

    def noted(batch):
        seen.extend(errors_of(batch))
        return errors_of(batch)

    table = ask(suspect(noted), PHOTOS[:1], None, MARK, SPACE, access=access, seed=b"public")
    np.testing.assert_allclose(table[0], np.reshape(seen, (5, 3)).mean(axis=1), rtol=1e-6)


def test_an_answer_that_is_no_number_makes_its_photo_unusable():
    target = PHOTOS[2].astype(np.float32) / np.float32(255)

    def broken(batch):
        is_target = (batch == target).all((1, 2, 3))
        return np.where(is_target, np.float32(np.nan), errors_of(batch))

    table = ask(suspect(broken), PHOTOS, None, MARK, SPACE)
    assert np.isnan(table[2]).any()
    assert np.isfinite(np.delete(table, 2, axis=0)).all()


def test_a_kind_of_access_of_its_own():
    assert reachable(ERRORS) == ("error",)
    assert Access.best_of(ERRORS) == Access("error")
    assert not Access("error").needs_labels
    for answer in ("logits", "probabilities", "label"):
        assert "error" not in reachable(Declaration(3, answer))
        with pytest.raises(ValueError, match=r"can be audited by .*got kind='error'"):
            Access("error").check_fits(Declaration(3, answer))
    for kind in set(KINDS) - {"error", "rounded"}:
        with pytest.raises(ValueError, match=f"can be audited by error; got kind='{kind}'"):
            Access(kind).check_fits(ERRORS)
    said = "a loss that the model's own code computes, no labels, 1 query per image and slot"
    assert Access("error").describe() == said


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.ones((2, 2)), "declares 1 error for each picture and answers with 2"),
        (np.ones(3), r"must answer with error \[b, 1\]; the answer has shape \(3,\)"),
        (np.float32(1), r"must answer with error \[b, 1\]"),
        (
            np.array([0.5, -0.25]),
            "are at least 0, and answers with -0.25: give a loss of which",
        ),
        ({"loss": np.ones(2)}, "got a dict with the keys 'loss': return the value that holds"),
        (np.array(["a", "b"]), "return numbers, not text"),
        (None, "got None: end the function with return"),
    ],
)
def test_answers_that_are_no_errors(values, words):
    with pytest.raises(SuspectError, match=words):
        read_answers(values, ERRORS, 2)


@pytest.mark.parametrize("value", [0.5, [0.5], [[0.5]], np.float32(0.5)])
def test_one_picture_may_have_no_batch_axis(value):
    assert read_answers(value, ERRORS, 1).scores.tolist() == [[0.5]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_classes": 10, "answer": "error"}, "num_classes must be left out.*got 10"),
        ({"answer": "error", "k": 2}, "k must be given with answer='top_k'"),
        ({"answer": "error", "decimals": 2}, "decimals must be None unless"),
    ],
)
def test_declarations_that_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        Declaration(**arguments)
    with pytest.raises(ValueError, match=words):
        Declaration.from_json(arguments)


def test_a_classifier_s_declaration_names_its_classes():
    with pytest.raises(ValueError, match="a declaration must name num_classes"):
        Declaration.from_json({"answer": "logits"})
    with pytest.raises(TypeError, match="num_classes must be an integer, got None"):
        Declaration(answer="logits")


def test_other_declarations_keep_their_digest():
    assert Declaration(10, "logits", (32, 32), layout="NCHW").digest[:16] == "f763a208f283d7b7"
    assert Declaration.from_json(ERRORS.as_json()) == ERRORS


def test_answers_are_stored_and_recorded(tmp_path):
    answers = Answers("error", np.array([[0.5], [np.nan]], np.float64))
    with AnswerCache(tmp_path / "answers", ERRORS) as cache:
        cache.store([b"a" * 32, b"b" * 32], answers)
    with AnswerCache(tmp_path / "answers", ERRORS) as cache:
        assert cache.get(b"a" * 32).scores.tolist() == [[0.5]]
        assert np.isnan(cache.get(b"b" * 32).scores).all()
    recorded = RecordedSuspect.of(PHOTOS[:2], answers.rows(np.array([0, 0])), ERRORS)
    recorded.save(tmp_path / "recorded.npz")
    again = RecordedSuspect.load(tmp_path / "recorded.npz")
    assert again.answers(PHOTOS[1:2].astype(np.float32) / 255).scores.tolist() == [[0.5]]


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({"predictions": [0.5, 0.25]}, {}),
        ({"predictions": [[0.5], [0.25]]}, {}),
        ({"predictions": [{"loss": 0.5}, {"loss": 0.25}]}, {"scores": "loss"}),
        ({"a": [50, 25]}, {"pictures": "a", "scale": 0.01}),
    ],
)
def test_services_may_answer_with_errors(body, paths):
    template = AnswerTemplate(**paths)
    template.check_fits(ERRORS)
    assert template.read(body, ERRORS, 2).scores.tolist() == [[0.5], [0.25]]


@pytest.mark.parametrize("paths", [{"labels": "label"}, {"classes": ("a", "b")}])
def test_a_service_s_errors_have_no_labels(paths):
    with pytest.raises(ValueError, match="labels and classes must be left out for answers of"):
        AnswerTemplate(**paths).check_fits(ERRORS)
