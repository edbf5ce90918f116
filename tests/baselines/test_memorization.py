import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax import models
from anw_jax.baselines import memorization as mem
from anw_jax.data import BatchPlan
from anw_jax.train import TrainSettings
from anw_jax.train.cohort import make_cohort


def _lookup_table(trained_photos, trained_labels, asked, num_classes):
    """Learns each photo by heart; answers class 0 to any other."""
    known = {
        bytes(photo): label for photo, label in zip(trained_photos, trained_labels, strict=True)
    }
    return np.array([known.get(bytes(photo), 0) for photo in asked]) % num_classes


@pytest.fixture
def world():
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (60, 4, 4, 3), dtype=np.uint8)
    return images, rng.integers(0, 4, 60)


@pytest.fixture
def plan(world):
    images, _ = world
    marked = images[:20] ^ np.uint8(64)
    return mem.leave_user_out(images, np.arange(20), np.arange(40, 60), marked, seeds=[5, 6])


def _answers(world, plan, asked):
    """Correctness of lookup-table learners trained as `train_many` would."""
    images, labels = world
    correct = []
    for members, own in zip(plan.membership, plan.replacements, strict=True):
        seen = images.copy()
        seen[plan.replaced_rows] = own
        guess = _lookup_table(seen[members], labels[members], asked, 4)
        correct.append(guess == labels[:20])
    return np.array(correct)


def test_a_lookup_table_has_memorisation_one_minus_the_base_rate(world, plan):
    images, labels = world
    base = (labels[:20] == 0).mean()
    assert 0 < base < 1
    clean = _answers(world, plan, images[:20])
    marked = _answers(world, plan, images[:20] ^ np.uint8(64))
    found = mem.compare(clean, marked)
    for name in ("clean", "marked"):
        assert found[name]["value"] == pytest.approx(1 - base)
        assert found[name]["accuracy_with"] == 1.0
        assert found[name]["accuracy_without"] == pytest.approx(base)
        assert found[name]["standard_error"] == 0.0
    assert found["increase"] == pytest.approx(0.0)
    # Asked about photos they were not trained on, the same learners remember nothing.
    other = mem.compare(_answers(world, plan, images[20:40]), marked)
    assert other["clean"]["value"] == 0.0
    assert other["increase"] == pytest.approx(1 - base)


def test_leave_user_out_differs_in_nothing_else(world, plan):
    images, _ = world
    assert plan.seeds == (5, 5, 5, 6, 6, 6)
    assert (plan.membership.sum(axis=1) == 40).all()
    clean, marked, without = plan.membership[:3]
    np.testing.assert_array_equal(clean, np.arange(60) < 40)
    np.testing.assert_array_equal(marked, clean)
    np.testing.assert_array_equal(without, np.arange(60) >= 20)
    np.testing.assert_array_equal(plan.replacements[mem.CLEAN], images[:20])
    np.testing.assert_array_equal(plan.replacements[mem.MARKED], images[:20] ^ np.uint8(64))
    np.testing.assert_array_equal(plan.membership[3:], plan.membership[:3])
    assert set(plan.arguments()) == {"seeds", "membership", "replaced_rows", "replacements"}


def test_the_plan_is_one_that_train_many_takes(world, plan):
    images, labels = world
    model, settings = models.create("testing", 4), TrainSettings(batch_size=8)
    cohort = make_cohort(model, settings, images, labels, **plan.arguments())
    np.testing.assert_array_equal(cohort.photos_of(mem.MARKED)[0][:20], images[:20] ^ 64)
    np.testing.assert_array_equal(cohort.photos_of(mem.WITHOUT)[0], images[20:])
    rows = cohort.plan_of(0)(0, 5)
    np.testing.assert_array_equal(rows, BatchPlan(40, 8, 5).rows(0, 5))


def _naive(correct_with, correct_without):
    per_pair = []
    for with_user, without in zip(correct_with, correct_without, strict=True):
        per_pair.append(sum(with_user) / len(with_user) - sum(without) / len(without))
    mean = sum(per_pair) / len(per_pair)
    spread = sum((value - mean) ** 2 for value in per_pair) / (len(per_pair) - 1)
    return mean, (spread / len(per_pair)) ** 0.5


@settings(derandomize=True, deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(2, 9), st.integers(1, 30))
def test_estimate_is_its_naive_twin(seed, num_pairs, num_photos):
    rng = np.random.default_rng(seed)
    with_user = rng.random((num_pairs, num_photos)) < 0.8
    without = rng.random((num_pairs, num_photos)) < 0.3
    result = mem.memorization(with_user, without)
    mean, error = _naive(with_user.tolist(), without.tolist())
    assert result.value == pytest.approx(mean, abs=1e-12)
    assert result.standard_error == pytest.approx(error, abs=1e-12)
    assert result.value == pytest.approx(result.accuracy_with - result.accuracy_without)
    swapped = mem.memorization(without, with_user)
    assert swapped.value == pytest.approx(-result.value)


def test_standard_error_is_that_of_pairs():
    """Photos of a model that succeed or fail together are no more than one observation."""
    inside = outside = lying = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        # A model hits all its photos with probability .6; its twin none.
        with_user = np.repeat(rng.random((30, 1)) < 0.6, 50, axis=1)
        result = mem.memorization(with_user, np.zeros_like(with_user))
        inside += abs(result.value - 0.6) < 2 * result.standard_error
        outside += abs(result.value - 0.6) >= 2 * result.standard_error
        # The near lie: every photo an observation.
        lying += abs(result.value - 0.6) < 2 * with_user.std() / np.sqrt(with_user.size)
    assert inside + outside == 400
    assert inside >= 0.91 * 400  # 95 % less four standard deviations of 400 draws
    assert lying < 0.5 * 400


def test_one_pair_has_no_standard_error():
    assert (
        mem.memorization(np.ones((1, 4), bool), np.zeros((1, 4), bool)).standard_error is None
    )


TRUE = np.ones((2, 3), bool)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: mem.memorization(TRUE, TRUE[:1]),
            ValueError,
            "correct_without must have shape (2, 3) as correct_with, got (1, 3)",
        ),
        (
            lambda: mem.memorization(TRUE.astype(int), TRUE),
            TypeError,
            "correct_with must be bool, got int64",
        ),
        (
            lambda: mem.memorization(TRUE[:0], TRUE[:0]),
            ValueError,
            "correct_with must have shape [models, images], got (0, 3)",
        ),
        (
            lambda: mem.compare(TRUE, TRUE),
            ValueError,
            "correct_clean must have 3 models per pair, got 2",
        ),
        (
            lambda: mem.compare(np.ones((6, 3), bool), np.ones((3, 3), bool)),
            ValueError,
            "correct_marked must have 6 models as correct_clean, got 3",
        ),
        (
            lambda: mem.leave_user_out(
                np.zeros((4, 2, 2, 3), np.uint8),
                [0],
                [1, 2],
                np.zeros((1, 2, 2, 3), np.uint8),
                [0],
            ),
            ValueError,
            "spare_rows must be as many as user_rows, at least one, got shapes (2,) and (1,)",
        ),
        (
            lambda: mem.leave_user_out(
                np.zeros((4, 2, 2, 3), np.uint8),
                [0],
                [0],
                np.zeros((1, 2, 2, 3), np.uint8),
                [0],
            ),
            ValueError,
            "user_rows and spare_rows must name each row once",
        ),
        (
            lambda: mem.leave_user_out(
                np.zeros((4, 2, 2, 3), np.uint8),
                [0],
                [1],
                np.zeros((2, 2, 2, 3), np.uint8),
                [0],
            ),
            ValueError,
            "marked must have shape (1, 2, 2, 3), got (2, 2, 2, 3)",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()
