"""Two marks under one slot, against marking twice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.keys import MarkKey, Plan, SignatureSpace
from anw_jax.marks import (
    Composed,
    HueRotation,
    LightField,
    LimitedHue,
    Tint,
    Tone,
    UserLCT,
    mark_named,
    publish,
)
from anw_jax.marks.composed import split_angle
from anw_jax.marks.publish import check_marks, stack_parameters

LIGHT = LightField(MarkKey.for_experiment(4).sub_key("light"), 0.4, cells=4, num_slots=3)
MARK = Composed(LIGHT, Tint(0.6, num_slots=5))


def _pairs(rows, columns):
    """The slots of both marks in each slot, by counting."""
    pairs, step, column = [], 1, 0
    for row in range(rows):
        for _ in range(columns):
            pairs.append((row, column))
            column += step
        column, step = column - step, -step
    return pairs


@pytest.mark.parametrize(("rows", "columns"), [(3, 5), (4, 3), (2, 2), (32, 32)])
def test_each_slot_is_one_pair_and_each_pair_one_slot(rows, columns):
    angles = SignatureSpace(rows * columns).degrees
    first, second = split_angle(angles, np.array([rows, columns], np.float64))
    found = np.stack([first * rows / 360, second * columns / 360], axis=1)
    np.testing.assert_allclose(found, _pairs(rows, columns), atol=1e-9)
    assert len(set(_pairs(rows, columns))) == rows * columns
    assert _pairs(rows, columns)[0] == (0, 0)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    rows=st.integers(2, 32),
    columns=st.integers(2, 32),
    turn=st.floats(0, 1, exclude_max=True),
)
def test_a_small_step_of_the_signature_is_a_small_step_of_both(rows, columns, turn):
    """But for the jump from the last slot back to slot 0."""
    num_slots = rows * columns
    position = turn * (num_slots - 1)
    step = 360 / num_slots * 1e-6
    numbers = np.array([rows, columns], np.float64)
    before = split_angle(position * 360 / num_slots, numbers)
    after = split_angle(position * 360 / num_slots + step, numbers)
    for count, one, two in zip((rows, columns), before, after, strict=True):
        assert abs(one - two) <= 360 / count * 2e-6


def test_a_composed_mark_publishes_what_marking_twice_does(small_images):
    for slot, (row, column) in enumerate(_pairs(3, 5)):
        once = publish(MARK.first, small_images, 120.0 * row)
        twice = publish(MARK.second, once, 72.0 * column)
        marked = publish(MARK, small_images, 24.0 * slot)
        np.testing.assert_array_equal(marked, twice)


def test_all_candidates_differ(small_images):
    angles = SignatureSpace(MARK.num_slots).degrees
    slots = np.stack([publish(MARK, small_images, degrees) for degrees in angles])
    changes = np.abs(slots[:, None].astype(int) - slots[None]).max(axis=(2, 3, 4, 5))
    assert (changes[~np.eye(len(angles), dtype=bool)] > 1).all()


@pytest.mark.slow
def test_the_loss_table_has_a_column_for_each_pair(small_images):
    from anw_jax.verify import loss_table

    stored = publish(MARK, small_images[:1], 24.0 * 8)[0] / np.float32(255)

    def remembers(batch):
        near = 200 * jnp.square(batch - stored).mean((1, 2, 3))
        return jnp.stack([-near, near], axis=1)

    space = SignatureSpace(MARK.num_slots)
    table = loss_table(remembers, small_images[:1], np.array([0]), MARK, space)
    assert table.shape == (1, 15)
    assert int(table.argmin()) == 8


def test_one_compiled_program_serves_marks_of_the_same_types(small_images):
    traces = []

    @jax.jit
    def publish_with(image, parameters):
        traces.append(image.shape)
        return Composed.publish_pixels(image, parameters)

    for strength in (0.2, 0.4):
        mark = Composed(LIGHT, Tint(strength, num_slots=5))
        marked = publish_with(small_images[0], mark.parameters(96.0))
        np.testing.assert_array_equal(marked, publish(mark, small_images[:1], 96.0)[0])
    other = Composed(LIGHT, Tone(0.2, num_slots=5))
    publish_with(small_images[0], other.parameters(96.0))
    assert len(traces) == 2


def test_marks_of_other_types_do_not_share_a_program():
    other = Composed(LIGHT, Tone(0.2, num_slots=5))
    marks, _ = check_marks([MARK, other], np.zeros(1, int), 1)
    with pytest.raises(TypeError, match="same two types"):
        stack_parameters([mark.parameters(np.zeros(1)) for mark in marks])


def test_the_plan_holds_both_and_the_order_counts():
    turned = Composed(MARK.second, MARK.first)
    for mark in (MARK, turned):
        plan = Plan("log_losses", 1e-3, mark=mark.description)
        assert mark_named(plan.mark, LIGHT.sub_key) == mark
    assert MARK.description != turned.description
    assert LIGHT.sub_key.hex() not in repr(MARK) + MARK.description


@pytest.mark.parametrize(
    "mark",
    [
        "composed",
        "composed:",
        "composed:tone:0.2:4",
        "composed:tone:0.2:4+tone:0.1:3",
        "composed:tone:0.2:4+tint:0.1:3+hue_limited:25.0:3",
        "composed:tone:0.2:4+hue_rotation",
        "composed:tone:0.5:4+tint:0.1:3",
        "composed:tone:0.2:4+own:tint",
        "composed:tone:0.2:4+composed:tone:0.2:4+tint:0.1:3",
    ],
)
def test_plans_refuse_what_no_composed_mark_says_of_itself(mark):
    with pytest.raises(ValueError, match="as a mark's description says it; got"):
        Plan("losses", 0.1, mark)


def test_refuses_marks_that_cannot_be_composed():
    for other in (HueRotation(), UserLCT.from_sub_key(bytes(32)), MARK):
        for make in (lambda o=other: Composed(o, Tone()), lambda o=other: Composed(Tone(), o)):
            with pytest.raises(TypeError, match="must be a mark with a number of slots, such"):
                make()
    with pytest.raises(TypeError, match="must differ, got two Tone"):
        Composed(Tone(0.1), Tone(0.2))
    with pytest.raises(ValueError, match="num_slots must be at most 1024, got 4096"):
        Composed(Tone(num_slots=64), Tint(num_slots=64))


def test_least_side_and_greys_are_those_of_the_parts():
    assert MARK.least_side == 4
    assert Composed(LimitedHue(), Tone()).least_side == 1
    assert Composed(LimitedHue(), Tone()).marks_grey
