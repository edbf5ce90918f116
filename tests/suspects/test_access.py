"""Each rung of the ladder against the formula that its docstring states."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.suspects import Access, Answers, Augmentation, Declaration

TINY = float(np.finfo(np.float32).tiny)


def softmax(row):
    powers = [math.exp(value - max(row)) for value in row]
    return [power / sum(powers) for power in powers]


def naive(access, row, label, listed=None):
    """One answer's number, from a row of probabilities."""
    if access.kind in ("logits", "probabilities"):
        return -math.log(max(row[label], TINY))
    if access.kind == "rounded":
        return -math.log(max(round(row[label], access.decimals), 0.5 * 10**-access.decimals))
    order = sorted(range(len(row)), key=lambda c: (-row[c], c))[: access.k]
    if access.kind == "label":
        return float(order[0] != label)
    if label in order:
        return -math.log(max(row[label], TINY))
    rest = (1 - sum(row[c] for c in order)) / max(1, len(row) - access.k)
    return -math.log(max(min(max(rest, 0), min(row[c] for c in order)), TINY))


ACCESSES = [
    Access("logits"),
    Access("probabilities"),
    Access("rounded", decimals=1),
    Access("rounded", decimals=3),
    Access("top_k", k=1),
    Access("top_k", k=3),
    Access("top_k", k=4),
    Access("label"),
]


@pytest.mark.parametrize("access", ACCESSES, ids=Access.describe)
@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    row=st.lists(st.floats(-20, 20, width=32), min_size=4, max_size=4),
    label=st.integers(0, 3),
)
def test_each_rung_is_its_naive_twin(access, row, label):
    declaration = Declaration(4)
    answers = Answers("logits", np.array([row], np.float64))
    (value,) = access.losses(answers, np.array([label]), declaration)
    shares = softmax(row)
    if access.kind == "label":
        expected = float(max(range(4), key=lambda c: (row[c], -c)) != label)
    else:
        expected = naive(access, shares, label)
    if access.kind == "rounded":
        # The half may fall to either side of float64's rounding.
        near_half = abs(shares[label] * 10**access.decimals % 1 - 0.5) < 1e-6
        if near_half:
            return
    atol = 1e-6
    if access.kind == "top_k" and math.isfinite(expected):
        atol += 1e-15 * math.exp(expected)  # what 1 minus a sum near 1 loses of a small share
    np.testing.assert_allclose(value, expected, atol=atol, rtol=1e-6)


@pytest.mark.parametrize(
    ("listed", "scores", "label", "share"),
    [
        ([2, 0], [0.7, 0.2], 2, 0.7),
        ([2, 0], [0.7, 0.2], 0, 0.2),
        ([2, 0], [0.7, 0.2], 4, 0.1 / 3),
        ([2, 0], [0.5, 0.01], 4, 0.01),  # never above what is listed
        ([2, 0], [0.7, 0.31], 4, TINY),  # a sum above one leaves nothing
        ([2, 0], [1.0, 0.0], 0, TINY),
    ],
)
def test_what_the_top_k_leaves_to_the_others(listed, scores, label, share):
    answers = Answers("top_k", np.array([scores]), np.array([listed]))
    declaration = Declaration(5, "top_k", k=2)
    (value,) = Access("top_k").losses(answers, np.array([label]), declaration)
    assert value == pytest.approx(-math.log(share))


def test_a_suspect_that_rounds_has_its_floor():
    answers = Answers("probabilities", np.array([[1.0, 0.0]]))
    declaration = Declaration(2, "probabilities", decimals=2)
    (value,) = Access("probabilities").losses(answers, np.array([1]), declaration)
    assert value == pytest.approx(-math.log(0.005))


@pytest.mark.parametrize("kind", ["logits", "probabilities", "rounded", "top_k", "label"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_unusable(kind, bad):
    options = {"rounded": {"decimals": 2}, "top_k": {"k": 1}}.get(kind, {})
    answers = Answers("logits", np.array([[0.0, 1.0, 0.0], [0.0, bad, 0.0]]))
    if kind != "logits":
        answers = Answers("probabilities", np.array([[0.2, 0.7, 0.1], [0.2, bad, 0.1]]))
    declaration = Declaration(3, answers.kind)
    values = Access(kind, **options).losses(answers, np.array([0, 0]), declaration)
    assert np.isfinite(values).tolist() == [True, False]
    assert np.isnan(values[1])


def test_merging_counts_hits_or_averages():
    misses = np.array([[0.0, 0, 0, 0], [1, 0, 1, 1], [1, 1, 1, 1]])
    merged = Access("label", num_augmentations=4).merge(misses)
    np.testing.assert_allclose(merged, -np.log([4.5 / 5, 1.5 / 5, 0.5 / 5]))
    np.testing.assert_allclose(Access("logits").merge(misses), misses.mean(1))
    assert np.isnan(Access("label", num_augmentations=2).merge(np.array([[np.nan, 0.0]])))


def test_lower_is_always_evidence():
    """A step of the model towards the label never raises the number, on any rung."""
    towards = np.linspace(-6, 6, 60)
    rows = np.stack([towards, 0 * towards, 0 * towards - 1], axis=1)
    for access in (Access("logits"), Access("rounded", decimals=2), Access("top_k", k=1)):
        values = access.losses(Answers("logits", rows), np.zeros(60, int), Declaration(3))
        assert (np.diff(values) <= 1e-9).all()
        assert values[-1] < values[0]


BAD = [
    (
        {"kind": "logit"},
        "kind must be one of logits, probabilities, rounded, top_k, label, error; got",
    ),
    ({"kind": "rounded"}, "decimals must be given with kind='rounded' and only there, got"),
    ({"decimals": 2}, "decimals must be given with kind='rounded' and only there, got"),
    ({"kind": "rounded", "decimals": 13}, "decimals must be at most 12, got 13"),
    ({"k": 2}, "k belongs to kind='top_k', got kind='logits'"),
    ({"num_augmentations": 0}, "num_augmentations must be at least 1, got 0"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_settings(arguments, message):
    with pytest.raises(ValueError) as error:
        Access(**arguments)
    assert str(error.value).startswith(message)


FITS = [
    (Declaration(5), Access("top_k", k=2), None),
    (
        Declaration(5, "label"),
        Access("logits"),
        "a suspect that answers with label can be audited by label; got kind='logits'",
    ),
    (
        Declaration(5, "probabilities"),
        Access("logits"),
        "a suspect that answers with probabilities can be audited by probabilities, rounded, "
        "top_k, label; got kind='logits'",
    ),
    (
        Declaration(5, "top_k", k=3),
        Access("rounded", decimals=2),
        "a suspect that answers with top_k can be audited by top_k, label; got kind='rounded'",
    ),
    (Declaration(5, "top_k", k=3), Access("top_k"), None),
    (
        Declaration(5, "top_k", k=3),
        Access("top_k", k=4),
        "k must be at most the 3 that the suspect lists",
    ),
    (
        Declaration(5),
        Access("top_k"),
        "k must be given for a suspect that answers with all classes",
    ),
]


@pytest.mark.parametrize(("declaration", "access", "message"), FITS)
def test_what_answers_can_become(declaration, access, message):
    if message is None:
        access.check_fits(declaration)
        return
    with pytest.raises(ValueError) as error:
        access.check_fits(declaration)
    assert str(error.value) == message


def test_descriptions():
    assert Access("label", true_labels=False).describe() == (
        "top-1 label, the model's own labels, 16 queries per image and slot"
    )
    black = Augmentation(fill="black")
    assert Access("logits", num_augmentations=4, augmentation=black).describe() == (
        "logits, true labels, 4 queries per image and slot, shifts filled with black"
    )
    assert Access("logits", augmentation=black).describe() == Access("logits").describe()
    assert Access("top_k", k=3).describe() == (
        "top 3 labels with probabilities, true labels, 1 query per image and slot"
    )
