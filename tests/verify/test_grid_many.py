"""The grid search of many users: the numbers of `grid_search`, user by user."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.keys import SignatureSpace
from anw_jax.verify import grid_search

GRID = SignatureSpace(4)


@settings(derandomize=True, deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 10**6),
    num_images=st.integers(0, 60),
    num_users=st.integers(1, 12),
    num_slots=st.integers(2, 40),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_every_user_gets_the_answer_of_grid_search(
    seed, num_images, num_users, num_slots, dtype
):
    rng = np.random.default_rng(seed)
    grid = SignatureSpace(num_slots)
    # Few different losses, so that there are ties.
    table = rng.choice([0.1, 0.3, 0.7, 2.5], (num_images, num_slots)).astype(dtype)
    broken = rng.random(num_images) < 0.2
    table[broken, rng.integers(num_slots)] = rng.choice([np.nan, np.inf, -np.inf])
    user_of_image = rng.integers(0, num_users, num_images)
    num_users = int(user_of_image.max(initial=-1)) + 1
    many = grid_search(table, grid, user_of_image)
    for user in range(num_users):
        one = grid_search(table[user_of_image == user], grid)
        np.testing.assert_array_equal(many.curve[user], one.curve)
        np.testing.assert_array_equal(many.inferred_degrees[user], one.inferred_degrees)
        np.testing.assert_array_equal(many.margin[user], one.margin)
        assert many.num_usable[user] == (~broken & (user_of_image == user)).sum()
        for starts in (1, num_slots):
            np.testing.assert_array_equal(
                many.lowest_degrees(starts)[:, user], one.lowest_degrees(starts)
            )
        for true in (0.0, grid.degrees[-1]):
            truths = np.full(num_users, true)
            assert many.matches(truths, grid)[user] == one.matches(true, grid)
    np.testing.assert_array_equal(many.degrees, grid.degrees)


def test_users_without_usable_images_are_inferred_as_nothing():
    table = np.array([[1.0, np.nan, 2.0, 3.0], [2.0, 1.0, 1.5, 3.0]])
    result = grid_search(table, GRID, [0, 2])
    np.testing.assert_array_equal(result.inferred_degrees, [np.nan, np.nan, 90.0])
    np.testing.assert_array_equal(result.margin, [0.0, 0.0, 0.5])
    assert np.isnan(result.curve[[0, 1]]).all()
    assert result.num_usable.tolist() == [0, 0, 1]
    assert result.matches(np.array([0.0, 90.0, 80.0]), GRID).tolist() == [False, False, True]
    # Somewhere to start, for all of them.
    assert result.lowest_degrees(2).T.tolist() == [[0, 90], [0, 90], [90, 180]]


def test_no_users_at_all():
    result = grid_search(np.zeros((0, 4)), GRID, [])
    assert result.curve.shape == (0, 4)
    assert result.inferred_degrees.shape == result.margin.shape == (0,)
    assert result.lowest_degrees(2).shape == (2, 0)


def test_lowest_slots_come_first_and_ties_go_to_the_lower():
    result = grid_search(np.array([[2.0, 1.0, 1.0, 0.5]]), GRID)
    assert result.lowest_degrees(3).tolist() == [270.0, 90.0, 180.0]
    for num_starts, message in (
        (0, "num_starts must be at least 1, got 0"),
        (5, "num_starts must be at most 4 slots, got 5"),
    ):
        with pytest.raises(ValueError, match=f"^{message}$"):
            result.lowest_degrees(num_starts)


REFUSED = {
    "width": (
        {"loss_table": np.zeros((3, 5))},
        ValueError,
        "loss_table must have shape (num_images, 4), got (3, 5)",
    ),
    "grid": ({"grid": 4}, TypeError, "grid must be a SignatureSpace, got int: 4"),
    "users": (
        {"user_of_image": [0, 1]},
        ValueError,
        "user_of_image must have shape (3,), got (2,)",
    ),
    "negative": (
        {"user_of_image": [0, 1, -1]},
        ValueError,
        "user_of_image must be at least 0, got -1",
    ),
}


@pytest.mark.parametrize(("change", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused(change, kind, message):
    arguments = {"loss_table": np.zeros((3, 4)), "user_of_image": [0, 1, 2], "grid": GRID}
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        grid_search(**(arguments | change))
