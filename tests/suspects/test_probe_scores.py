"""Scores that are no logits are an error; honest logits of any kind are none."""

import numpy as np
import pytest

from anw_jax.suspects import CallableSuspect, Declaration, probe
from anw_jax.suspects.probing.findings import findings_on_logits
from tests.suspects import twins

pytestmark = pytest.mark.usefixtures("few_sizes")

PHOTOS = twins.photos(48, seed=5)
UNIT = PHOTOS.astype(np.float32) / np.float32(255)
LABELS = twins.logits(UNIT).argmax(1)


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def logits_of(num_classes=5, number=48, scale=3.0, seed=0):
    return np.random.default_rng(seed).normal(size=(number, num_classes)) * scale


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


NO_LOGITS = {
    "probabilities": softmax(logits_of()),
    "probabilities in half precision": softmax(logits_of()).astype(np.float16),
    "probabilities of two digits": softmax(logits_of()).round(2),
    "probabilities at a temperature": softmax(logits_of() / 10),
    "percentages": 100 * softmax(logits_of()),
    "percentages of two classes": 100 * softmax(logits_of(2)),
    "whole percentages": (100 * softmax(logits_of(10))).round(),
    "percentages of three photos": 100 * softmax(logits_of(number=3)),
    "per mille": 1000 * softmax(logits_of()),
    "bytes": (255 * softmax(logits_of(10))).round(),
    "a sum of 7.3": 7.3 * softmax(logits_of()),
    "a thousand classes in percent": 100 * softmax(logits_of(1000)),
    "with noise below zero": 100 * softmax(logits_of(scale=20)) - 1e-6,
    "sigmoids": sigmoid(logits_of()),
    "sigmoids of one photo in two classes": sigmoid(logits_of(2)),
    "scores over the largest": softmax(logits_of()) / softmax(logits_of()).max(1)[:, None],
    "similarities": 0.2 + 0.1 * sigmoid(logits_of()),
    "one-hot answers": np.eye(5)[logits_of().argmax(1)],
    "negated probabilities": -softmax(logits_of()),
    "negated percentages": -100 * softmax(logits_of()),
    "negated sigmoids": -sigmoid(logits_of()),
    "negated log-probabilities": -np.log(softmax(logits_of())),
}

LOGITS = {
    "logits": logits_of(),
    "of two photos": logits_of(number=2),
    "of two classes": logits_of(2),
    "of two classes, z and -z": np.stack([logits_of()[:, 0], -logits_of()[:, 0]], 1),
    "small ones": logits_of(scale=0.01),
    "large ones": logits_of(scale=1e6),
    "in half precision": logits_of(scale=10).astype(np.float16),
    "after a ReLU": np.maximum(logits_of(), 0),
    "after a ReLU, two classes": np.maximum(logits_of(2), 0),
    "after a ReLU, a thousand classes": np.maximum(logits_of(1000), 0),
    "after a ReLU, whole numbers": np.maximum(logits_of(1000, scale=9), 0).round(),
    "after a leaky ReLU": np.where(logits_of() > 0, logits_of(), 0.01 * logits_of()),
    "large, after a ReLU": np.maximum(logits_of(scale=500), 0),
    "all far above zero": logits_of() + 40,
    "all far below zero": logits_of() - 40,
    "of zero sum": logits_of() - logits_of().mean(1, keepdims=True),
    "log-probabilities": np.log(softmax(logits_of())),
    "log-probabilities of unsure answers": np.log(softmax(logits_of(2, scale=0.2))),
    "cosines": np.tanh(logits_of(scale=0.3)),
    "squared distances, negated": -(logits_of() ** 2) - 2,
}


@pytest.mark.parametrize("scores", NO_LOGITS.values(), ids=NO_LOGITS)
def test_what_is_no_logit_is_an_error(scores):
    (finding,) = findings_on_logits(np.asarray(scores, np.float64))
    assert (finding.name, finding.severity) == ("answer_kind", "error")
    assert finding.seen.startswith("answers declared as logits are ")


@pytest.mark.parametrize("scores", LOGITS.values(), ids=LOGITS)
def test_logits_pass(scores):
    assert findings_on_logits(np.asarray(scores, np.float64)) == []


def test_logits_pass_whatever_the_seed():
    """After a ReLU, of few classes and photos: no sum seems constant by accident."""
    alarms = 0
    for seed in range(600):
        number, num_classes = 2 + seed % 9, 2 + seed % 4
        scores = np.maximum(logits_of(num_classes, number, 4.0, seed), 0)
        if scores.max() > 1:
            alarms += bool(findings_on_logits(scores))
    assert alarms <= 2


@pytest.mark.parametrize(
    ("fun", "words"),
    [
        (lambda x: 100 * softmax(x), "sum to 100, as percentages do"),
        (sigmoid, "all in [0, 1], as sigmoids and similarities are"),
        (lambda x: -softmax(x), "sum to -1, as negated probabilities do"),
        (lambda x: -np.log(softmax(x)), "as negated log-probabilities are"),
        (softmax, "positive and sum to 1, as probabilities do"),
    ],
)
def test_the_probe_says_what_the_scores_are(fun, words):
    suspect = CallableSuspect(lambda b: fun(twins.logits(b)), Declaration(5), identity="a")
    report = probe(suspect, PHOTOS, LABELS)
    assert not report.is_fit
    (finding,) = [f for f in report.findings if f.name == "answer_kind"]
    assert words in finding.seen


@pytest.mark.parametrize("num_classes", [2, 5])
def test_scores_that_are_lower_for_a_likelier_class(num_classes):
    """Such as distances: nothing but the labels shows it."""

    def fun(batch):
        return -twins.logits(batch)[:, :num_classes] + 3

    labels = twins.logits(UNIT)[:, :num_classes].argmax(1)
    suspect = CallableSuspect(fun, Declaration(num_classes), identity="a")
    report = probe(suspect, PHOTOS, labels)
    assert ("error", "negated") in [(f.severity, f.name) for f in report.findings]
    assert "by the lowest score, 0 % by the highest" in report.findings[0].seen


def test_log_probabilities_are_logits():
    suspect = CallableSuspect(
        lambda b: np.log(softmax(twins.logits(b))), Declaration(5), identity="a"
    )
    assert probe(suspect, PHOTOS, LABELS).findings == ()


def sigmoids_as_top_k(batch):
    scores = sigmoid(twins.logits(batch) - 6)
    best = np.argsort(-scores, axis=1)
    return best, np.take_along_axis(scores, best, axis=1)


@pytest.mark.parametrize(
    ("fun", "declaration", "do"),
    [
        (
            lambda b: sigmoid(twins.logits(b)),
            Declaration(5, "probabilities"),
            "give one probability for each class, with a sum of 1 (sigmoids have none)",
        ),
        (
            sigmoids_as_top_k,
            Declaration(5, "top_k", k=5),
            "give probabilities with the labels: not logits, sigmoids or percent",
        ),
    ],
)
def test_sigmoids_are_no_probabilities(fun, declaration, do):
    report = probe(CallableSuspect(fun, declaration, identity="a"), PHOTOS, LABELS)
    assert do in [f.do for f in report.findings if f.severity == "error"]
