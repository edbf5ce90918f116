"""Scores in a sorted list are no scores in the order of the classes."""

import numpy as np
import pytest

from anw_jax.suspects import CallableSuspect, Declaration, probe
from tests.suspects import twins

pytestmark = pytest.mark.usefixtures("few_sizes")

PHOTOS = twins.photos(48, seed=5)
UNIT = PHOTOS.astype(np.float32) / np.float32(255)
LABELS = twins.logits(UNIT).argmax(1)


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def found(fun, declaration, labels, photos=PHOTOS):
    report = probe(CallableSuspect(fun, declaration, identity="a"), photos, labels)
    return [f.severity for f in report.findings if f.name == "sorted"]


def best_first(scores):
    return -np.sort(-scores, axis=1)


def padded(batch):
    scores = best_first(softmax(twins.logits(batch)))
    scores[:, 3:] = 0
    return scores / scores.sum(1, keepdims=True)


SORTED = {
    "probabilities": (lambda b: best_first(softmax(twins.logits(b))), "probabilities"),
    "logits": (lambda b: best_first(twins.logits(b)), "logits"),
    "worst first": (lambda b: np.sort(softmax(twins.logits(b)), axis=1), "probabilities"),
    "with ties": (lambda b: best_first(softmax(twins.logits(b)).round(1)), "logits"),
    "padded with zeros": (padded, "probabilities"),
    "sigmoids": (lambda b: best_first(1 / (1 + np.exp(-twins.logits(b)))), "logits"),
}


@pytest.mark.parametrize("with_labels", [True, False])
@pytest.mark.parametrize(("fun", "answer"), SORTED.values(), ids=SORTED)
def test_answers_that_all_come_sorted_are_an_error(fun, answer, with_labels):
    labels = LABELS if with_labels else None
    assert found(fun, Declaration(5, answer), labels) == ["error"]


def test_two_classes_best_first():
    def fun(batch):
        return best_first(softmax(twins.logits(batch)[:, :2]))

    declaration = Declaration(2, "probabilities")
    labels = twins.logits(UNIT)[:, :2].argmax(1)
    assert found(fun, declaration, labels) == ["error"]
    # Without labels, or with photos of the first class alone, it may be right.
    assert found(fun, declaration, None) == ["warning"]
    assert found(fun, declaration, np.zeros(48, int)) == []


def test_a_list_of_labels_that_never_changes():
    def fun(batch):
        shares = best_first(softmax(twins.logits(batch)))
        return np.tile([0, 1, 2], (len(batch), 1)), shares[:, :3]

    assert found(fun, Declaration(5, "top_k", k=3), LABELS) == ["error"]


def right_top_k(batch):
    shares = softmax(twins.logits(batch))
    best = np.argsort(-shares, axis=1)[:, :3]
    return best, np.take_along_axis(shares, best, axis=1)


def mostly_sorted(batch):
    scores = best_first(twins.logits(batch))
    scores[::7] = twins.logits(batch)[::7]
    return scores


HONEST = {
    "logits": (twins.logits, Declaration(5)),
    "probabilities": (lambda b: softmax(twins.logits(b)), Declaration(5, "probabilities")),
    "top k": (right_top_k, Declaration(5, "top_k", k=3)),
    "labels": (lambda b: twins.logits(b).argmax(1), Declaration(5, "label")),
    "two classes": (lambda b: twins.logits(b)[:, :2], Declaration(2)),
    "not all": (mostly_sorted, Declaration(5)),
    "constant": (lambda b: np.tile([3.0, 2.0, 1.0], (len(b), 1)), Declaration(3)),
}


@pytest.mark.parametrize(("fun", "declaration"), HONEST.values(), ids=HONEST)
def test_answers_in_the_order_of_classes_pass(fun, declaration):
    assert found(fun, declaration, np.minimum(LABELS, declaration.num_classes - 1)) == []


def test_photos_of_one_class_may_have_sorted_answers():
    """Reddish photos, most like class 0, then 1, then 2: other colours tell it is no list."""

    def fun(batch):
        means = batch.mean((1, 2))
        return means * [9, 6, 3]

    photos = np.clip(PHOTOS // 4 + np.array([150, 90, 20], np.uint8), 0, 255).astype(np.uint8)
    assert (np.diff(fun(photos / 255), axis=1) < 0).all()
    assert found(fun, Declaration(3), np.zeros(48, int), photos) == []


def test_a_suspect_that_takes_no_other_pictures_is_still_seen_to_sort():
    def fun(batch):
        if not any((batch[0] == photo).all() for photo in UNIT):
            raise ValueError("not one of the photos")
        return best_first(softmax(twins.logits(batch)))

    assert found(fun, Declaration(5, "probabilities"), LABELS) == ["error"]
