"""`bounded_log_losses`: its naive twin, its edges, and what must not matter."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax import stats
from anw_jax.stats import scores as bounded

NAME = "bounded_log_losses"
BELOW, ABOVE, LARGEST_SCALE, CENTRING = 0.75, 1.5, 1.0, 0.5

_losses = st.one_of(
    st.floats(0, 8),
    st.sampled_from([0.0, 20.0, 1e3, 1e29, -1e29, 1e31, math.nan, math.inf, 5e-324, -2.0]),
)


def _is_usable(row) -> bool:
    return all(abs(x) <= 1e30 for x in row)


def _naive_logs(row) -> list[float]:
    scores = [-math.log(max(x, 0.0) + 0.3) for x in row]
    return [s - statistics.median(scores) for s in scores]


def _naive_row(rows, spreads) -> list[float]:
    """A unit's bounded row, from its images' logs and the spreads that set the scale."""
    varied = [s for s in spreads if s > 1e-6]
    scale = min(LARGEST_SCALE, statistics.median(varied)) if varied else LARGEST_SCALE
    low, high = -BELOW * scale, ABOVE * scale
    sums = [sum(min(max(x, low), high) for x in column) for column in zip(*rows, strict=True)]
    root, middle = math.sqrt(len(rows)), statistics.median(sums)
    return [min(max(s - middle, low * root), high * root) for s in sums]


def _naive_sealed(table, units, num_units):
    """Written out entry by entry; `table` holds valid slots only."""
    logs = [_naive_logs(row) if _is_usable(row) else None for row in table]
    spreads = [statistics.pstdev(row) for row in logs if row]
    rows = []
    for unit in range(num_units):
        mine = [row for row, u in zip(logs, units, strict=True) if row and u == unit]
        rows.append(_naive_row(mine, spreads) if mine else None)
    scores = []
    for unit, row in enumerate(rows):
        others = [other for u, other in enumerate(rows) if other and u != unit]
        if row and others:
            means = [sum(column) / len(others) for column in zip(*others, strict=True)]
            row = [x - CENTRING * m for x, m in zip(row, means, strict=True)]
        scores.append(row or [0.0] * len(table[0]))
    return scores


def _naive_sequential(table, units, num_units):
    spreads, earlier, scores = [], [], []
    for unit in range(num_units):
        rows = [r for r, u in zip(table, units, strict=True) if u == unit and _is_usable(r)]
        logs = [_naive_logs(row) for row in rows]
        spreads += [statistics.pstdev(row) for row in logs]
        if not logs:
            scores.append([0.0] * len(table[0]))
            continue
        row = _naive_row(logs, spreads)
        means = [sum(column) / len(earlier) for column in zip(*earlier, strict=True)]
        means = means or [0.0] * len(row)
        scores.append([x - CENTRING * m for x, m in zip(row, means, strict=True)])
        earlier.append(row)
    return scores


def _in_order(table, units, num_units):
    """The sequential scores of all units, in their order."""
    scorer = stats.RowScorer(NAME)
    return np.array([scorer.score(table[units == unit]) for unit in range(num_units)])


def _with_slot_zero(table):
    return np.insert(np.asarray(table, float), 0, np.nan, axis=1)


@st.composite
def _tables(draw):
    """A table of valid slots and the unit of each image, every unit with an image."""
    columns = draw(st.integers(1, 6))
    row = st.lists(_losses, min_size=columns, max_size=columns)
    table = np.array(draw(st.lists(row, min_size=1, max_size=7)))
    drawn = draw(st.lists(st.integers(0, 3), min_size=len(table), max_size=len(table)))
    return table, np.unique(drawn, return_inverse=True)[1]


@settings(derandomize=True, deadline=None, max_examples=80)
@given(_tables())
def test_scores_are_the_naive_ones(plain_units, drawn):
    table, units = drawn
    num_units, num_slots = units.max() + 1, table.shape[1] + 1
    of_table = plain_units(num_units, num_slots, unit_of_image=units)
    np.testing.assert_allclose(
        stats.score_units(_with_slot_zero(table), of_table, NAME),
        _naive_sealed(table.tolist(), units.tolist(), num_units),
        atol=1e-9,
    )
    np.testing.assert_allclose(
        _in_order(table, units, num_units),
        _naive_sequential(table.tolist(), units.tolist(), num_units),
        atol=1e-9,
    )


def test_the_twins_have_the_same_numbers():
    limits = bounded.BOUNDS[NAME]
    ours = limits.below, limits.above, bounded.LARGEST_SCALE, bounded.CENTRING
    assert ours == (BELOW, ABOVE, LARGEST_SCALE, CENTRING)


# --- Edges. ---

_KNOWN = [2.0] * 10 + [0.05]  # a photo the model knows at one hue


@pytest.mark.parametrize(
    ("row", "lowest", "highest"),
    [
        (_KNOWN, 0.0, "cut"),
        ([2.0] * 11, 0.0, 0.0),
        ([1e29] * 11, 0.0, 0.0),
        ([-1e29] * 11, 0.0, 0.0),
        ([1e29] + [2.0] * 10, "cut", 0.0),
        ([1e29] * 5 + [2.0] * 6, "cut", 0.0),
        ([1e29] * 6 + [2.0] * 5, 0.0, "cut"),  # six absurd hues are the median
        ([1e29] * 10 + [2.0], 0.0, "cut"),
        ([-1e29] * 5 + [1e29] * 6, 0.0, "cut"),
        ([20.0] * 3 + [2.0] * 8, "cut", 0.0),
        ([math.nan] + [2.0] * 10, 0.0, 0.0),
        ([math.nan] * 11, 0.0, 0.0),
        ([1e31, *_KNOWN[1:]], 0.0, 0.0),
        ([-math.inf] + [2.0] * 10, 0.0, 0.0),
    ],
)
def test_one_row(row, lowest, highest, plain_units):
    """Alone there is no other unit to centre by; rows that vary are cut at their own scale."""
    scores = stats.score_units(_with_slot_zero([row]), plain_units(1), NAME)[0]
    np.testing.assert_array_equal(scores, _in_order(np.array([row]), np.array([0]), 1)[0])
    scale = 1.0
    if lowest == "cut" or highest == "cut":
        scale = min(1.0, statistics.pstdev(_naive_logs(row)))
    assert scores.min() == pytest.approx(-BELOW * scale if lowest == "cut" else 0.0)
    assert scores.max() == pytest.approx(ABOVE * scale if highest == "cut" else 0.0)


def test_a_unit_without_answers_stays_constant_and_out_of_the_means(rng, plain_units):
    table = rng.exponential(size=(5, 12))
    without = stats.score_units(table[:4], plain_units(4), NAME)
    for value in (math.nan, math.inf, 1e31):
        table[4, 7] = value
        scores = stats.score_units(table, plain_units(5), NAME)
        np.testing.assert_array_equal(scores[4], 0.0)
        np.testing.assert_array_equal(scores[:4], without)


def test_two_units_of_which_one_answers_are_not_centred(rng, plain_units):
    table = rng.exponential(size=(2, 12))
    alone = stats.score_units(table[:1], plain_units(1), NAME)
    table[1, 3] = math.nan
    both = stats.score_units(table, plain_units(2), NAME)
    np.testing.assert_array_equal(both, [alone[0], np.zeros(11)])


@pytest.mark.parametrize("absurd", [20.0, 1e3, 1e29, -1e29, math.nan, math.inf])
@pytest.mark.parametrize("num_hues", range(1, 12))
def test_what_absurd_rows_can_reach(absurd, num_hues, rng, plain_units):
    """A row never spans more than (BELOW + ABOVE) of the scale that the other photos set."""
    table = rng.exponential(size=(50, 12))
    clean = stats.score_units(table, plain_units(50), NAME)
    for num_photos in range(1, 6):
        table[:num_photos, 1 : 1 + num_hues] = absurd
        scores = stats.score_units(table, plain_units(50), NAME)
        span = np.ptp(scores[:num_photos], axis=1)
        assert (span <= (1 + CENTRING) * (BELOW + ABOVE) * LARGEST_SCALE).all()
        assert np.abs(scores[5:] - clean[5:]).max() < 0.4  # the honest rows hardly move
        if not np.isfinite(absurd):
            np.testing.assert_array_equal(scores[:num_photos], 0.0)


def test_most_photos_set_the_scale():
    assert bounded.scale_of(np.array([0.4] * 48 + [30.0] * 2)) == 0.4
    assert bounded.scale_of(np.array([0.4] * 26 + [30.0] * 24)) == 0.4
    assert bounded.scale_of(np.array([0.0] * 40 + [1e-9] * 7 + [0.4] * 3)) == 0.4
    assert bounded.scale_of(np.array([30.0] * 3)) == LARGEST_SCALE
    assert bounded.scale_of(np.zeros(0)) == LARGEST_SCALE


# --- What must not matter. ---


@settings(derandomize=True, deadline=None, max_examples=30)
@given(_tables(), st.randoms(use_true_random=False))
def test_order_and_copies_change_no_bit(plain_units, drawn, random):
    """Images in another order, units in another order, images entered twice."""
    table, units = drawn
    num_units, num_slots = units.max() + 1, table.shape[1] + 1
    scores = stats.score_units(
        _with_slot_zero(table),
        plain_units(num_units, num_slots, unit_of_image=units),
        NAME,
    )
    images, names = list(range(len(table))), list(range(num_units))
    random.shuffle(images)
    random.shuffle(names)
    again = [random.choice(images) for _ in range(3)]
    new_name = np.array(names)[units]
    other = stats.score_units(
        _with_slot_zero(table[images + again]),
        plain_units(
            num_units,
            num_slots,
            unit_of_image=new_name[images + again],
            is_copy=[False] * len(images) + [True] * 3,
        ),
        NAME,
    )
    np.testing.assert_array_equal(other[names], scores)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(_tables(), st.randoms(use_true_random=False))
def test_sequential_scores_look_at_no_later_unit(drawn, random):
    table, units = drawn
    num_units = units.max() + 1
    whole = _in_order(table, units, num_units)
    for stop in range(num_units):
        changed = table.copy()
        changed[units > stop] = random.choice([0.0, 1e29, math.nan, 3.0])
        np.testing.assert_array_equal(
            _in_order(changed, units, num_units)[: stop + 1], whole[: stop + 1]
        )
    # Images of a unit in another order.
    order = sorted(range(len(table)), key=lambda image: (units[image], random.random()))
    np.testing.assert_array_equal(_in_order(table[order], units[order], num_units), whole)


def test_a_photo_that_is_harder_at_all_hues_counts_the_same(rng, plain_units):
    """Of log(loss + .3) only what differs between hues is kept."""
    table = rng.exponential(size=(9, 12))
    before = stats.score_units(table, plain_units(9), NAME)
    table[4] = (table[4] + 0.3) * 7.0 - 0.3
    table[2] = (table[2] + 0.3) * 1.5 - 0.3
    after = stats.score_units(table, plain_units(9), NAME)
    np.testing.assert_allclose(after, before, atol=1e-12)


def test_what_all_photos_share_is_halved(rng, plain_units):
    """Equal rows keep half of their shape, ties stay ties, and slots tell nothing."""
    table = np.tile(np.r_[0.0, 0.5, 0.5, rng.uniform(0.4, 0.6, 9)], (20, 1))
    scores = stats.score_units(table, plain_units(20), NAME)
    alone = stats.score_units(table[:1], plain_units(1), NAME)
    np.testing.assert_allclose(scores, np.tile(alone / 2, (20, 1)), atol=1e-12)
    assert (scores[:, 0] == scores[:, 1]).all()


def test_each_photo_is_bounded_before_its_albums_sum(plain_units):
    """One absurd photo of an album leaves the others' evidence in the unit's row."""
    album = np.tile(_KNOWN, (4, 1))
    album[0, :5] = 1e29
    album[0, 10] = 1e29
    scores = stats.score_units(
        _with_slot_zero(album), plain_units(1, unit_of_image=[0] * 4), NAME
    )[0]
    assert scores.argmax() == 10
    assert scores[10] >= 1.5
    raw = stats.unit_losses(_with_slot_zero(album), plain_units(1, unit_of_image=[0] * 4))[0]
    assert raw.argmin() != 10  # what the sum of losses says


def test_row_scorers_of_other_statistics_score_rows_alone(rng):
    rows = rng.exponential(size=(4, 11))
    for statistic in stats.ROW_STATISTICS:
        scorer = stats.RowScorer(statistic)
        assert not scorer.takes_images
        for row in rows:
            np.testing.assert_array_equal(scorer.score(row), stats.score_row(row, statistic))
    assert stats.RowScorer(NAME).takes_images
    with pytest.raises(ValueError, match="bounded_log_errors; got 'centred'"):
        stats.RowScorer("centred")
    with pytest.raises(ValueError, match="statistic must be one of log_losses, losses, ranks"):
        stats.score_row(rows[0], NAME)


# --- Every key, and near lies. ---


def _absurd_table(name, num_units, num_slots):
    """Innocent answers, some absurd; no slot is looked at."""
    table = np.random.default_rng(6).exponential(size=(num_units, num_slots))
    if name == "absurd":
        table[0, 1 : 1 + num_slots // 2] = 1e29
        table[1, -1] = -1e29
    if name == "partly NaN":
        table[0, 1] = table[2, 2] = math.nan
    if name == "all alike":
        table[:] = table[0]
    return table


def _violated(p_values) -> bool:
    """Whether some attained t has #{p ≤ t} / n > t."""
    ordered = np.sort(p_values)
    return bool((np.arange(1, len(ordered) + 1) / len(ordered) > ordered * (1 + 1e-9)).any())


@pytest.mark.parametrize("name", ["absurd", "partly NaN", "all alike"])
@pytest.mark.parametrize(
    ("num_units", "num_slots"), [pytest.param(5, 4, marks=pytest.mark.slow), (3, 7)]
)
def test_every_key(name, num_units, num_slots, plain_assignment, every_outcome):
    table = _absurd_table(name, num_units, num_slots)
    p_values = [
        stats.exact_test(table, plain_assignment(slots, num_slots), statistic=NAME).p_value
        for slots in every_outcome(num_units, num_slots)
    ]
    assert not _violated(p_values)


@pytest.mark.parametrize("lie", ["truth", "slot 0", "means that know the slots"])
def test_the_enumeration_sees_lies(lie, plain_assignment, every_outcome):
    """Scores that are a function of the slots, or a null that holds the unmarked slot."""
    num_units, num_slots = 4, 5
    table = np.random.default_rng(8).exponential(size=(num_units, num_slots))
    table[:, 0] += 5.0  # the published photo is always answered worst
    logs = bounded.log_scores(table[:, 1:])
    units = np.arange(num_units)
    rows = bounded.bounded_rows(logs, units, num_units, bounded.scale_of(logs.std(axis=1)))
    p_values = []
    for slots in every_outcome(num_units, num_slots):
        if lie == "truth":
            scores = stats.score_units(table, plain_assignment(slots, num_slots).units, NAME)
        elif lie == "slot 0":
            scores, slots = bounded.bounded_scores(table, units, num_units), slots + 1
        else:
            # Every unit's own slot is left out of the others' means, as "its imprint".
            hidden = rows.copy()
            hidden[units, slots - 1] = np.nan
            with np.errstate(invalid="ignore"):
                means = [np.nan_to_num(_mean(np.delete(hidden, u, axis=0))) for u in units]
            scores = rows - np.array(means)
        observed = scores[units, slots - 1].sum()
        others = every_outcome(num_units, scores.shape[1] + 1)
        sums = scores[units, others - 1].sum(axis=1)
        p_values.append(np.mean(sums >= observed - 1e-9))
    assert _violated(p_values) == (lie != "truth")


def _mean(rows):
    known = np.isfinite(rows)
    return np.where(known, rows, 0.0).sum(axis=0) / known.sum(axis=0)
