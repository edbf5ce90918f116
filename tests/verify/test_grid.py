"""Reading signatures off a table."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.keys import Assignment, Manifest, SignatureSpace
from anw_jax.verify import grid_search, infer_signatures


def _naive_search(table, grid):
    """Eq. 6 in plain Python: the slot with the least mean over rows that are all finite."""
    rows = [row for row in table.tolist() if all(abs(v) < float("inf") for v in row)]
    curve = [sum(row[s] for row in rows) / len(rows) for s in range(grid.num_slots)]
    ordered = sorted(curve)
    return curve, grid.degrees[curve.index(ordered[0])], ordered[1] - ordered[0]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), num_images=st.integers(1, 20), num_slots=st.integers(2, 40))
def test_search_equals_its_naive_twin(seed, num_images, num_slots):
    rng = np.random.default_rng(seed)
    table = rng.exponential(size=(num_images + 1, num_slots))
    broken = rng.random(num_images + 1) < 0.2
    broken[0] = False
    table[broken, rng.integers(num_slots)] = rng.choice([np.nan, np.inf, -np.inf])
    grid = SignatureSpace(num_slots)
    curve, degrees, margin = _naive_search(table, grid)
    result = grid_search(table, grid)
    np.testing.assert_allclose(result.curve, curve, rtol=1e-12)
    assert result.inferred_degrees == degrees
    assert result.margin == pytest.approx(margin, abs=1e-12)
    np.testing.assert_array_equal(result.degrees, grid.degrees)


def test_finer_grid_matches_within_tau_of_the_owners_space():
    table = np.ones((3, 36))
    table[:, 7] = 0.0  # 70 degrees
    result = grid_search(table, SignatureSpace(36))
    assert result.inferred_degrees == 70.0
    owner = SignatureSpace(12)
    assert result.matches(60.0, owner)
    assert not result.matches(90.0, owner)
    assert not result.matches(60.0, SignatureSpace(36))


def test_match_is_circular():
    table = np.ones((1, 36))
    table[0, 35] = 0.0
    result = grid_search(table, SignatureSpace(36))
    assert result.inferred_degrees == 350.0
    assert result.matches(0.0, SignatureSpace(12))
    assert result.matches(360.0, SignatureSpace(12))
    assert not result.matches(30.0, SignatureSpace(12))


def test_ties_go_to_the_lowest_slot_with_no_margin():
    result = grid_search(np.array([[2.0, 1.0, 1.0, 3.0]]), SignatureSpace(4))
    assert (result.inferred_degrees, result.margin) == (90.0, 0.0)


@pytest.mark.parametrize("rows", [0, 2])
def test_without_usable_rows_nothing_is_inferred(rows):
    result = grid_search(np.full((rows, 4), np.nan), SignatureSpace(4))
    assert np.isnan(result.inferred_degrees)
    assert np.isnan(result.curve).all()
    assert result.margin == 0.0
    assert not result.matches(0.0, SignatureSpace(4))


@pytest.mark.parametrize("shape", [(3,), (3, 5), (1, 3, 4)])
def test_shape_must_fit_the_grid(shape):
    message = f"loss_table must have shape (num_images, 4), got {shape}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        grid_search(np.zeros(shape), SignatureSpace(4))


def test_signatures_of_units_are_inferred_without_slots(rng):
    photos = rng.integers(0, 256, (5, 2, 2, 3), dtype=np.uint8)
    photos[4] = photos[0]  # a copy, counted once
    space = SignatureSpace(4)
    manifest = Manifest.of(photos, space, "per_group", ["a", "b", "a", "c", "a"])
    table = np.array(
        [
            [0.0, 1.0, 3.0, 2.0],
            [9.0, 2.0, 2.0, 5.0],  # a tie
            [0.0, 4.0, 1.0, 4.0],
            [0.0, 1.0, np.nan, 0.5],  # not usable
            [0.0, 0.0, 9.0, 9.0],  # the copy
        ]
    )
    # Unit a: rows 0 and 2 sum to (5, 4, 6) over the valid slots.
    assert infer_signatures(table, manifest).tolist() == [2, 1, 1]
    for slots in ([1, 1, 1], [3, 2, 3]):
        secret = Assignment(manifest.units, slots)
        assert infer_signatures(table, secret.units).tolist() == [2, 1, 1]
        with pytest.raises(TypeError, match="units must be a Units, got Assignment"):
            infer_signatures(table, secret)


def test_slot_zero_is_never_inferred(small_images):
    manifest = Manifest.of(small_images, SignatureSpace(3))
    table = np.tile([0.0, 5.0, 4.0], (6, 1))
    assert infer_signatures(table, manifest).tolist() == [2] * 6
