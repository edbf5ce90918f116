"""Coarse to fine: full rows, few queries, and a rule that looks at answers only."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax import keys, sequential, stats


def _asker(losses, log=None):
    def ask(units, slots):
        if log is not None:
            log.extend(zip(units.tolist(), slots.tolist(), strict=True))
        return losses[units, slots - 1]

    return ask


def _naive(row, stride, num_best):
    """Twin: one row by sets and loops."""
    num_valid = len(row)
    asked = set(range(0, num_valid, stride))
    while True:
        best = sorted(asked, key=lambda column: (row[column], column))[:num_best]
        wanted = {c + step for c in best for step in (-1, 1) if 0 <= c + step < num_valid}
        if wanted <= asked:
            break
        asked |= wanted
    return [_naive_fill(row, asked, c) for c in range(num_valid)], len(asked)


def _naive_fill(row, asked, column):
    """Twin: steps along the circle to the first asked slot on either side."""
    around = len(row) + 1  # slot 0 lies between the last and the first
    down, up = (
        next(k for k in range(around) if (column + sign * k) % around in asked)
        for sign in (-1, 1)
    )
    if not down:
        return row[column]
    low, high = row[(column - down) % around], row[(column + up) % around]
    return (low * up + high * down) / (up + down)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(0, 500), st.integers(2, 14), st.integers(1, 6), st.integers(0, 3))
def test_rows_are_the_naive_twins_and_no_answer_is_asked_twice(seed, slots, stride, best):
    losses = np.random.default_rng(seed).integers(0, 6, (4, slots - 1)).astype(float)
    log: list = []
    rows = sequential.coarse_to_fine(
        _asker(losses, log), 4, slots, stride=stride, num_best=best
    )
    for unit in range(4):
        naive, count = _naive(losses[unit].tolist(), stride, best)
        np.testing.assert_allclose(rows.losses[unit], naive, rtol=1e-12, atol=1e-12)
        assert rows.asked[unit].sum() == count
    assert len(log) == len(set(log)) == rows.num_queries


def test_asked_answers_stay_as_they_are_and_no_fill_is_lower_than_all_of_them():
    losses = np.random.default_rng(1).exponential(size=(20, 11))
    rows = sequential.coarse_to_fine(_asker(losses), 20, 12, num_best=0)
    assert (rows.asked == (np.arange(11) % 3 == 0)).all()
    np.testing.assert_array_equal(rows.losses[rows.asked], losses[rows.asked])
    lowest = np.where(rows.asked, losses, np.inf).min(axis=1)
    np.testing.assert_array_equal(rows.losses.min(axis=1), lowest)
    assert stats.blind_argmin(rows.losses).tolist() == [
        1 + 3 * int(np.argmin(row[::3])) for row in losses
    ]


def test_stride_one_asks_all():
    losses = np.random.default_rng(0).random((3, 11))
    rows = sequential.coarse_to_fine(_asker(losses), 3, 12, stride=1)
    np.testing.assert_array_equal(rows.losses, losses)
    assert rows.num_queries == 33
    assert np.isnan(rows.table()[:, 0]).all()


def test_a_smooth_valley_is_found_with_half_the_queries():
    slots = np.arange(1, 12)
    centres = np.array([2, 5, 7, 10])
    losses = np.abs(slots - centres[:, None]) ** 1.5
    rows = sequential.coarse_to_fine(_asker(losses), 4, 12)
    assert stats.blind_argmin(rows.losses).tolist() == centres.tolist()
    assert rows.num_queries <= 0.65 * 44


def test_an_unusable_answer_makes_the_row_constant_and_ends_its_questions():
    losses = np.tile(np.arange(11.0), (2, 1))
    losses[0, 1] = np.nan
    rows = sequential.coarse_to_fine(_asker(losses), 2, 12)
    assert np.isnan(rows.losses[0]).all()
    assert rows.asked[0].sum() == 5  # slots 1, 4, 7, 10, and 2 beside the best
    assert np.isfinite(rows.losses[1]).all()


def test_bad_input():
    with pytest.raises(ValueError, match="one loss for each of 4 queries, got shape"):
        sequential.coarse_to_fine(lambda units, slots: np.ones(3), 1, 12)
    for name, least in (("stride", 1), ("num_best", 0)):
        with pytest.raises(ValueError, match=f"{name} must be at least {least}, got "):
            sequential.coarse_to_fine(lambda *_: np.ones(1), 1, 12, **{name: least - 1})


# --- Every key. ---


def _violations(p_values) -> list:
    ordered, num = sorted(map(float, p_values)), len(p_values)
    last = {p: position + 1 for position, p in enumerate(ordered)}
    return [p for p, count in last.items() if Fraction(count, num) > Fraction(p)]


def _every_slots(num_units, num_slots):
    return np.array(list(itertools.product(range(1, num_slots), repeat=num_units)))


def _completed(num_units, num_slots):
    rng = np.random.default_rng(4)
    curve = -np.cos(2 * np.pi * np.arange(1, num_slots) / num_slots)
    losses = curve + rng.normal(0, 0.5, (num_units, num_slots - 1))
    return losses, sequential.coarse_to_fine(_asker(losses), num_units, num_slots, stride=2)


@pytest.mark.parametrize("statistic", ["losses", "ranks", "hits", "log_losses"])
@pytest.mark.parametrize(("num_units", "num_slots"), [(4, 5), (2, 8)])
def test_every_key_sealed(statistic, num_units, num_slots):
    _, rows = _completed(num_units, num_slots)
    assert not rows.asked.all()
    space, units = keys.SignatureSpace(num_slots), np.arange(num_units)
    assignments = [
        keys.Assignment(keys.Units(units, space), s) for s in _every_slots(num_units, num_slots)
    ]
    p_values = stats.fresh_p_values(rows.table(), assignments, statistic)
    assert not _violations(p_values)


def test_every_key_sequential():
    _, rows = _completed(5, 5)
    wealth = stats.mixture_log_wealth(-rows.losses, _every_slots(5, 5))
    p_values = np.minimum(1, np.exp(-wealth.max(axis=1))) * (1 + 1e-9)
    assert not _violations(p_values)


def test_asking_the_key_slot_too_is_seen():
    """Near lie: the rule looks at the slot, whose own answer replaces the fill."""
    losses, rows = _completed(3, 6)
    lies = []
    for slots in _every_slots(3, 6):
        table = rows.table()
        table[np.arange(3), slots] = losses[np.arange(3), slots - 1]
        assignment = keys.Assignment(keys.Units(np.arange(3), keys.SignatureSpace(6)), slots)
        lies.append(stats.exact_test(table, assignment, statistic="ranks").p_value)
    assert _violations(lies)
