"""Each classic mistake is found and named; a right declaration is left alone."""

import dataclasses

import numpy as np
import pytest

from anw_jax.errors import SuspectError
from anw_jax.suspects import CallableSuspect, Declaration, Finding, probe
from tests.suspects import twins

PHOTOS = twins.photos(60, seed=3)
UNIT = PHOTOS.astype(np.float32) / np.float32(255)
RIGHT = twins.logits(UNIT).argmax(1)
# One photo in ten is labelled otherwise: no model is perfect.
LABELS = np.where(np.arange(60) % 10 == 0, (RIGHT + 1) % 5, RIGHT)


pytestmark = pytest.mark.usefixtures("few_sizes")


def suspect_of(fun, declaration=twins.NHWC):
    return CallableSuspect(fun, declaration, identity="probed")


def names(report):
    return [(finding.severity, finding.name) for finding in report.findings]


def wants_bytes(batch):
    return twins.logits(batch / np.float32(255))


def wants_bgr(batch):
    return twins.logits(batch[..., ::-1])


def wants_imagenet(batch):
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    return twins.logits(batch * std + mean)


def wants_channels_first(batch):
    return twins.logits(batch.transpose(0, 2, 3, 1))


def any_layout(batch):
    """Reads eight rows of 24 numbers as channels first, whatever they are."""
    return twins.logits(batch.reshape(-1, 3, 8, 8).transpose(0, 2, 3, 1))


def wants_64(batch):
    if batch.shape[1:3] != (64, 64):
        raise ValueError(f"expected 64x64, got {batch.shape}")
    return twins.logits(batch[:, ::8, ::8])


def test_a_right_declaration_is_left_alone():
    report = probe(suspect_of(twins.logits), PHOTOS, LABELS)
    assert report.findings == ()
    assert report.is_fit
    assert report.accuracy == 0.9


MISREAD = {
    "0-255": (wants_bytes, "value_range", 'value_range="bytes" and no mean or std'),
    "BGR": (wants_bgr, "channels", 'channels="BGR"'),
    "normalised": (wants_imagenet, "normalisation", "the mean and std of ImageNet on [0, 1]"),
    "any layout": (any_layout, "layout", 'layout="NCHW"'),
}


@pytest.mark.parametrize(("fun", "name", "text"), MISREAD.values(), ids=MISREAD)
def test_a_wrong_reading_is_an_error_and_names_the_right_one(fun, name, text):
    report = probe(suspect_of(fun, Declaration(5)), PHOTOS, LABELS)
    assert ("error", name) in names(report)
    assert not report.is_fit
    (finding,) = [finding for finding in report.findings if finding.name == name]
    declared = round(100 * report.accuracy)
    assert finding.seen == (
        f"90 % of 60 photos get their label when read with {text}, {declared} % as declared"
    )
    assert (
        finding.do
        == f"check whether the model expects {text}; if so declare it and probe again"
    )


def test_once_declared_rightly_the_finding_is_gone():
    for fun, changes in [
        (wants_bytes, {"value_range": "bytes"}),
        (wants_bgr, {"channels": "BGR"}),
        (any_layout, {"layout": "NCHW"}),
    ]:
        declaration = dataclasses.replace(twins.NHWC, **changes)
        assert probe(suspect_of(fun, declaration), PHOTOS, LABELS).findings == ()


def test_the_reverse_of_each_reading():
    declaration = Declaration(5, value_range="bytes")
    report = probe(suspect_of(twins.logits, declaration), PHOTOS, LABELS)
    assert ("error", "value_range") in names(report)
    assert 'read with value_range="unit"' in report.findings[0].seen
    declaration = Declaration(5, channels="BGR")
    report = probe(suspect_of(twins.logits, declaration), PHOTOS, LABELS)
    assert 'read with channels="RGB"' in report.findings[0].seen


@pytest.mark.parametrize(
    ("fun", "name", "do"),
    [
        (wants_channels_first, "layout", 'declare layout="NCHW"'),
        (wants_64, "input_size", "declare input_size=(64, 64)"),
    ],
)
def test_a_suspect_that_fails_is_tried_at_other_shapes(fun, name, do):
    report = probe(suspect_of(fun, Declaration(5)), PHOTOS, LABELS)
    assert names(report) == [("error", "fails"), ("error", name)]
    assert report.findings[0].seen.startswith(
        "the suspect does not answer: the suspect fails on a batch of shape (60, 8, 8, 3) ("
    )
    assert report.findings[1].do == do
    assert report.accuracy is None


def test_wrong_size_of_a_model_that_takes_any():
    """It answers at 8x8 as well, with no skill."""

    def fun(batch):
        small = batch[:, ::8, ::8] if batch.shape[1] == 64 else batch[:, :, ::-1] * 0 + 0.5
        scores = twins.forward(twins.WEIGHTS, small)
        return scores + batch.reshape(len(batch), -1)[:, :1] * 1e-3

    report = probe(suspect_of(fun, Declaration(5)), PHOTOS, LABELS)
    assert ("error", "input_size") in names(report)
    assert "read with input_size=(64, 64)" in report.findings[0].seen


def test_batch_norm_in_training_mode():
    def fun(batch):
        scores = twins.logits(batch)
        return (scores - scores.mean(0)) / scores.std(0)

    report = probe(suspect_of(fun), PHOTOS, LABELS)
    assert ("error", "batch_mates") in names(report)
    (finding,) = [f for f in report.findings if f.name == "batch_mates"]
    assert finding.seen == "30 of 30 answers depend on the other pictures of the batch"


@pytest.mark.parametrize("steady", [True, False])
def test_dropout_in_training_mode(rng, steady):
    def fun(batch):
        return twins.logits(batch) * (rng.random((len(batch), 5)) < 0.9)

    declaration = dataclasses.replace(twins.NHWC, deterministic=steady)
    report = probe(suspect_of(fun, declaration), PHOTOS)
    assert names(report)[0] == ("error" if steady else "warning", "changes")
    assert report.findings[0].seen.endswith(
        " of 60 photos got another answer when queried again"
        + ("" if steady else ", as declared")
    )
    assert report.is_fit is not steady


def test_label_answers_that_change(rng):
    declaration = Declaration(5, "label")
    suspect = suspect_of(lambda batch: rng.integers(0, 5, len(batch)), declaration)
    assert ("error", "changes") in names(probe(suspect, PHOTOS, LABELS))


def test_rounding_is_not_a_change(rng):
    def fun(batch):
        return twins.logits(batch) * (1 + rng.normal(size=(len(batch), 5)) * 1e-5)

    assert probe(suspect_of(fun), PHOTOS, LABELS).findings == ()


def softmax(batch):
    scores = twins.logits(batch)
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


KINDS = {
    "probabilities as logits": (
        softmax,
        Declaration(5),
        Finding(
            "answer_kind",
            "error",
            "answers declared as logits are positive and sum to 1, as probabilities do",
            'declare answer="probabilities"',
        ),
    ),
    "constant": (
        lambda batch: np.ones((len(batch), 5)),
        Declaration(5),
        Finding(
            "constant",
            "error",
            "all 60 photos get the same answer",
            "check whether weights were loaded, and range and normalisation",
        ),
    ),
    "NaN": (
        lambda batch: np.where(np.arange(len(batch))[:, None] < 2, np.nan, twins.logits(batch)),
        Declaration(5),
        Finding(
            "not_finite",
            "error",
            "2 of 60 answers hold NaN or infinity",
            "check range and normalisation, and whether half precision overflows",
        ),
    ),
}


@pytest.mark.parametrize(("fun", "declaration", "finding"), KINDS.values(), ids=KINDS)
def test_answers_of_a_wrong_kind(fun, declaration, finding):
    assert finding in probe(suspect_of(fun, declaration), PHOTOS).findings


def test_logits_declared_as_probabilities():
    report = probe(suspect_of(twins.logits, Declaration(5, "probabilities")), PHOTOS)
    assert names(report)[0] == ("error", "answer_kind")
    assert report.findings[0].do == 'declare answer="logits", or scale what is given in percent'
    percent = suspect_of(lambda batch: 100 * softmax(batch), Declaration(5, "probabilities"))
    assert names(probe(percent, PHOTOS))[0] == ("error", "answer_kind")
    right = suspect_of(softmax, Declaration(5, "probabilities"))
    assert probe(right, PHOTOS, LABELS).findings == ()


def test_top_k_that_is_unsorted_or_no_probability():
    def listed(order, scale):
        def fun(batch):
            shares = softmax(batch)
            best = np.argsort(-shares, axis=1)[:, :2][:, ::order]
            return best, scale * np.take_along_axis(shares, best, axis=1)

        return suspect_of(fun, Declaration(5, "top_k", k=2))

    assert probe(listed(1, 1), PHOTOS, LABELS).findings == ()
    assert ("error", "order") in names(probe(listed(-1, 1), PHOTOS))
    assert ("error", "answer_kind") in names(probe(listed(1, 100), PHOTOS))


def test_classes_that_do_not_cover_the_labels():
    report = probe(suspect_of(twins.logits), PHOTOS, LABELS + 1)
    assert names(report) == [("error", "classes")]
    assert (
        report.findings[0].seen == "the photos have labels up to 5, the suspect has 5 classes"
    )


def test_classes_in_another_order():
    report = probe(suspect_of(lambda b: twins.logits(b)[:, [3, 0, 4, 2, 1]]), PHOTOS, RIGHT)
    assert ("warning", "no_skill") in names(report)


def test_without_labels_it_says_what_it_could_not_see():
    report = probe(suspect_of(wants_bgr), PHOTOS)
    assert names(report) == [("warning", "no_labels")]
    assert report.is_fit


def test_a_suspect_that_fails_later():
    calls = []

    def fun(batch):
        calls.append(1)
        if len(calls) > 1:
            raise SuspectError("gone")
        return twins.logits(batch)

    report = probe(suspect_of(fun), PHOTOS)
    assert names(report)[0] == ("error", "unstable")
    assert report.findings[0].seen == "it answered once and then not: gone"


def test_it_counts_what_it_asks():
    asked = []

    def fun(batch):
        asked.append(len(batch))
        return wants_bgr(batch)

    report = probe(suspect_of(fun), PHOTOS, LABELS)
    assert report.num_queries == sum(asked)


def test_the_right_reading_is_seldom_called_wrong():
    """Labels at random: no reading fits, so none may be called better (level .01)."""
    alarms = 0
    for seed in range(40):
        labels = np.random.default_rng(seed).integers(0, 5, 60)
        report = probe(suspect_of(twins.logits), PHOTOS, labels)
        alarms += any(f.severity == "error" for f in report.findings)
    assert alarms <= 4  # Bin(40, .01): P(X > 4) = 5e-5


def test_bad_photos():
    with pytest.raises(ValueError, match="images must be at least 2 photos, got 1"):
        probe(suspect_of(twins.logits), PHOTOS[:1])
    with pytest.raises(TypeError, match="suspect must be a Suspect, got function"):
        probe(twins.logits, PHOTOS)
