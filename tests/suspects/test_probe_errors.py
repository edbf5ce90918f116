"""What a probe says of suspects that answer with a loss of their own."""

import numpy as np
import pytest

from anw_jax.errors import SuspectError
from anw_jax.suspects import CallableSuspect, Declaration, probe
from tests.suspects import twins

PHOTOS = twins.photos(20, seed=3)


def roughness(batch):
    """Like a model of photos: small for one colour with little noise."""
    return batch.std((1, 2)).mean(1) + 0.01 * batch.mean((1, 2, 3))


def probed(fun, photos=PHOTOS, labels=None, **declared):
    declaration = Declaration(answer="error", **declared)
    report = probe(CallableSuspect(fun, declaration, identity="probed"), photos, labels)
    return report, [(finding.severity, finding.name) for finding in report.findings]


def test_a_model_of_photos_is_left_alone():
    report, names = probed(roughness)
    assert names == []
    assert (report.is_fit, report.accuracy) == (True, None)
    # 20 photos, again, half, one alone, and 8 pictures of random pixels.
    assert report.num_queries == 20 + 20 + 10 + 1 + 8


@pytest.mark.parametrize("labels", [None, np.full(20, 9)])
def test_labels_are_not_used(labels):
    assert probed(roughness, labels=labels)[1] == []


def test_large_photos_are_compared_with_noise_of_the_input_size():
    large = PHOTOS.repeat(16, axis=1).repeat(16, axis=2)
    assert probed(roughness, large, input_size=(8, 8))[1] == []


WRONG = {
    "not finite": (lambda batch: roughness(batch) * np.nan, ("error", "not_finite")),
    "constant": (lambda batch: np.ones(len(batch)), ("error", "constant")),
    "better is higher": (lambda batch: 1 / roughness(batch), ("warning", "no_fit")),
    "negative": (lambda batch: -roughness(batch), ("error", "fails")),
    "a list of scores": (lambda batch: batch.mean((1, 2)), ("error", "fails")),
    "depends on the batch": (
        lambda batch: roughness(batch) / roughness(batch).mean(),
        ("error", "batch_mates"),
    ),
}


@pytest.mark.parametrize(("fun", "finding"), WRONG.values(), ids=WRONG)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_is_wrong_is_found(fun, finding):
    assert finding in probed(fun)[1]


def test_small_errors_are_compared_by_their_own_size():
    """An error that moves by a hundredth moves too far, however large the largest one is."""
    calls = []

    def moving(batch):
        calls.append(len(batch))
        errors = np.arange(1, len(batch) + 1) ** 4.0
        return errors * (1.01 if len(calls) == 2 else 1.0)

    assert ("error", "changes") in probed(moving)[1]


def test_a_model_may_refuse_random_pixels():
    def strict(batch):
        if (batch.std((1, 2)) > 0.25).any():
            raise SuspectError("no photos")
        return roughness(batch)

    assert probed(strict)[1] == []
