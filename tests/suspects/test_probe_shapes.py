"""A probe asks the batches and the sizes that an audit will ask."""

import numpy as np
import pytest

from anw_jax.suspects import CallableSuspect, Declaration, probe
from anw_jax.suspects.pictures import batch_size_for, queried_batch_sizes
from tests.suspects import twins

pytestmark = pytest.mark.usefixtures("few_sizes")

PHOTOS = twins.photos(20, seed=7)


def report_of(fun, photos=PHOTOS, **options):
    suspect = CallableSuspect(fun, Declaration(5), identity="a")
    return probe(suspect, photos, **options)


def error_of(report):
    (finding,) = [f for f in report.findings if f.severity == "error"]
    return finding


def squeezed(batch):
    return twins.logits(batch).squeeze()


def only(sizes):
    def fun(batch):
        if len(batch) not in sizes:
            raise ValueError(f"no batch of {len(batch)}")
        return twins.logits(batch)

    return fun


def mixed_beyond(size):
    """Right up to a size; beyond it pictures get one another's answers."""

    def fun(batch):
        return twins.logits(batch)[:: -1 if len(batch) > size else 1]

    return fun


def test_a_picture_alone_is_always_asked():
    def fun(batch):
        if len(batch) == 1:
            raise ValueError("a batch of one")
        return twins.logits(batch)

    finding = error_of(report_of(fun))
    assert finding.name == "batch_size"
    assert finding.seen.startswith("it does not answer one picture alone: ")


@pytest.mark.parametrize("size", [1, 2, 11, 24, 256])
def test_each_size_of_batch_is_asked(size):
    sizes = [1, 2, 11, 24, 256]
    taken = {20, 10, *sizes} - {size}
    finding = error_of(report_of(only(taken), batch_sizes=sizes))
    assert finding.name == "batch_size"
    assert f"no batch of {size}" in finding.seen
    assert report_of(only({20, 10, *sizes}), batch_sizes=sizes).is_fit


def test_answers_that_change_in_a_large_batch():
    finding = error_of(report_of(mixed_beyond(100), batch_sizes=[1, 101]))
    assert finding.name == "batch_mates"
    assert finding.seen.endswith(" of 101 answers depend on the other pictures of the batch")
    assert report_of(mixed_beyond(101), batch_sizes=[1, 101]).is_fit


def test_an_axis_dropped_by_squeeze_costs_no_audit():
    """Put back by the adapter, or told by the probe; never found out by the audit."""
    report = report_of(squeezed)
    assert report.is_fit or error_of(report).name == "batch_size"


def sized(height, width, number=2):
    rng = np.random.default_rng(height * width)
    return rng.integers(0, 256, (number, height, width, 3), dtype=np.uint8)


def wants_8(batch):
    if batch.shape[1:3] != (8, 8):
        raise ValueError(f"expected 8x8, got {batch.shape[1:3]}")
    return twins.logits(batch)


def wants_square(batch):
    if batch.shape[1] != batch.shape[2]:
        raise ValueError("not square")
    return twins.logits(batch[:, :8, :8])


def nan_if_wide(batch):
    scores = twins.logits(batch[:, :8, :8])
    return scores * np.nan if batch.shape[2] > 8 else scores


@pytest.mark.parametrize(
    ("fun", "seen"),
    [
        (wants_8, "photos of 8x10 (the first of 3 sizes): "),
        (wants_square, "photos of 8x10 (the first of 2 sizes): "),
        (nan_if_wide, "photos of 8x10 (the first of 2 sizes): an answer holds NaN or infinity"),
    ],
)
def test_every_other_size_is_asked(fun, seen):
    others = [sized(8, 10), sized(12, 12), sized(12, 8, 1)]
    if fun is nan_if_wide:
        others = [sized(8, 10), sized(12, 12)]
    finding = error_of(report_of(fun, other_sizes=others))
    assert finding.name == "photo_size"
    assert finding.seen.startswith(f"it does not answer {seen}")
    assert finding.do == "declare the input_size that the model expects, then probe again"


def test_a_model_that_takes_any_size_is_fit():
    def fun(batch):
        return twins.logits(batch[:, :8, :8])

    others = [sized(8, 10), sized(12, 12), sized(300, 9, 1)]
    assert report_of(fun, other_sizes=others).is_fit


def test_photos_of_all_sizes_at_once_where_the_size_is_declared():
    asked = []

    def fun(batch):
        asked.append(batch.shape[1:])
        return twins.logits(batch)

    suspect = CallableSuspect(fun, Declaration(5, input_size=(8, 8)), identity="a")
    photos = [*sized(8, 8, 4), *sized(30, 8), *sized(9, 40), *sized(1, 1)]
    assert probe(suspect, photos).is_fit
    assert set(asked) == {(8, 8, 3)}


def test_photos_of_several_sizes_need_a_declared_one():
    with pytest.raises(ValueError, match=r"images must be of one size, got \(8, 8, 3\) and"):
        report_of(twins.logits, photos=[*sized(8, 8), *sized(8, 9)])


def test_sizes_of_batches():
    suspect = CallableSuspect(twins.logits, Declaration(5), identity="a")
    assert queried_batch_sizes(suspect, [440], 256) == {1, 184, 256}
    assert queried_batch_sizes(suspect, [256], 256) == {1, 256}
    assert queried_batch_sizes(suspect, [257, 3], 256) == {1, 3, 256}
    assert batch_size_for(suspect, (8, 8, 3)) == 256
    assert batch_size_for(suspect, (6000, 4000, 3)) == 1
    # What is resized at once takes three bytes for each pixel.
    assert batch_size_for(twins.called(), (6000, 4000, 3)) == 3
