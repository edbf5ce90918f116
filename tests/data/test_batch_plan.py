import jax
import numpy as np
import pytest

from anw_jax import data
from anw_jax.data import batches


def test_each_epoch_sees_each_row_at_most_once():
    plan = data.BatchPlan(num_examples=23, batch_size=5, seed=3)
    assert plan.steps_per_epoch == 4
    for epoch in range(3):
        rows = plan.rows(epoch * 4, 4)
        assert len(np.unique(rows)) == 20
        assert rows.min() >= 0
        assert rows.max() < 23


def test_the_dropped_rows_change_from_epoch_to_epoch():
    plan = data.BatchPlan(num_examples=23, batch_size=5, seed=3)
    assert len(np.unique(plan.rows(0, 40))) == 23


def test_rows_are_indices_row_by_row():
    plan = data.BatchPlan(num_examples=23, batch_size=5, seed=3)
    rows = plan.rows(2, 9)
    assert rows.dtype == np.int32
    for offset, row in enumerate(rows):
        np.testing.assert_array_equal(row, plan.indices(*divmod(2 + offset, 4)))


@pytest.mark.parametrize("first_step", [0, 1, 3, 4, 10])
@pytest.mark.parametrize("num_steps", [1, 3, 9])
def test_resume_needs_only_the_step(first_step, num_steps):
    whole = data.BatchPlan(num_examples=23, batch_size=5, seed=3).rows(0, 20)
    again = data.BatchPlan(num_examples=23, batch_size=5, seed=3)
    part = again.rows(first_step, num_steps)
    np.testing.assert_array_equal(part, whole[first_step : first_step + num_steps])


def test_returned_rows_may_be_changed_without_harm():
    plan = data.BatchPlan(num_examples=8, batch_size=4, seed=0)
    before = plan.rows(0, 2)
    plan.rows(0, 2)[:] = 0
    np.testing.assert_array_equal(plan.rows(0, 2), before)
    with pytest.raises(ValueError, match="read-only"):
        plan.indices(0, 0)[0] = 1


def test_seeds_and_epochs_differ():
    def order(seed, epoch):
        return tuple(data.BatchPlan(50, 50, seed).indices(epoch, 0))

    assert len({order(s, e) for s in (0, 1, 2**32 - 1) for e in range(3)}) == 9


def test_is_the_permutation_it_says():
    def draw(epoch):
        key = jax.random.key(7, impl="threefry2x32")
        return jax.random.permutation(jax.random.fold_in(key, epoch), 50)

    row = data.BatchPlan(50, 50, 7).indices(2, 0)
    np.testing.assert_array_equal(row, draw(2))
    np.testing.assert_array_equal(row, jax.jit(draw)(2))


def test_settings_of_the_caller_change_nothing():
    wanted = data.BatchPlan(51, 51, 7).rows(0, 2)
    batches._epoch_order.cache_clear()
    with jax.enable_x64(True), jax.default_prng_impl("rbg"):
        np.testing.assert_array_equal(data.BatchPlan(51, 51, 7).rows(0, 2), wanted)


def test_numpy_integers_serve():
    plan = data.BatchPlan(np.int64(23), np.int32(5), np.int64(3))
    np.testing.assert_array_equal(plan.rows(0, 4), data.BatchPlan(23, 5, 3).rows(0, 4))


def test_golden_first_row():
    plan = data.BatchPlan(num_examples=1000, batch_size=8, seed=0)
    assert plan.rows(0, 1).tolist() == GOLDEN_FIRST
    assert plan.rows(125, 1).tolist() == GOLDEN_SECOND_EPOCH


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((3, 4, 0), "batch_size must be at most num_examples = 3, got 4"),
        ((4, 0, 0), "batch_size must be at least 1, got 0"),
        ((0, 1, 0), "num_examples must be at least 1, got 0"),
        ((4, 2, -1), "seed must be at least 0, got -1"),
        ((4, 2, 2**32), "seed must be below 2**32, got 4294967296"),
    ],
)
def test_bad_plans(numbers, message):
    with pytest.raises(ValueError) as caught:
        data.BatchPlan(*numbers)
    assert str(caught.value) == message


def test_bad_steps():
    plan = data.BatchPlan(num_examples=10, batch_size=4, seed=0)
    with pytest.raises(ValueError, match=r"^step_in_epoch must be below 2, got 2$"):
        plan.indices(0, 2)
    with pytest.raises(ValueError, match=r"^first_step must be at least 0, got -1$"):
        plan.rows(-1, 1)
    with pytest.raises(ValueError, match=r"^num_steps must be at least 1, got 0$"):
        plan.rows(0, 0)


GOLDEN_FIRST = [[341, 895, 454, 55, 666, 16, 878, 189]]
GOLDEN_SECOND_EPOCH = [[967, 453, 570, 322, 999, 250, 511, 970]]
