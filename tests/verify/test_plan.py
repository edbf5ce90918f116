"""The query plan: every pair once, chunks of one shape, a budget that is kept."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.verify import QueryPlan, plan_queries
from anw_jax.verify.tracing import traced_bytes_per_pair


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    num_images=st.integers(1, 40),
    num_slots=st.integers(1, 13),
    chunk_size=st.integers(1, 600),
)
def test_every_pair_is_asked_once_in_order(num_images, num_slots, chunk_size):
    plan = QueryPlan(num_images, num_slots, chunk_size)
    pairs, shapes = [], set()
    for chunk in plan:
        assert chunk.start == len(pairs)
        images = chunk.images[chunk.image_of_pair]
        pairs += list(zip(images, chunk.slot_of_pair, strict=True))[: chunk.num_pairs]
        shapes.add((chunk.images.shape, chunk.image_of_pair.shape, chunk.slot_of_pair.shape))
    assert pairs == [(i, s) for i in range(num_images) for s in range(num_slots)]
    assert len(shapes) == 1
    assert len(list(plan)) == len(plan)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    num_pairs=st.tuples(st.integers(1, 3000), st.integers(1, 40)),
    bytes_per_pair=st.integers(1, 10**7),
    memory_bytes=st.integers(1, 10**9),
    devices=st.integers(1, 8),
)
def test_budget_is_kept_and_little_is_padded(num_pairs, bytes_per_pair, memory_bytes, devices):
    plan = plan_queries(
        *num_pairs,
        bytes_per_pair=bytes_per_pair,
        memory_bytes=memory_bytes,
        multiple_of=devices,
    )
    assert plan.chunk_size % devices == 0
    # One pair on each device is the least that can be asked.
    within = plan.chunk_size * bytes_per_pair <= memory_bytes
    assert within or plan.chunk_size == devices
    padding = len(plan) * plan.chunk_size - plan.num_pairs
    assert padding < (64 + devices) * len(plan)


def test_explicit_chunk_size_is_taken_up_to_whole_devices():
    assert plan_queries(9, 4, bytes_per_pair=1, chunk_size=7).chunk_size == 7
    assert plan_queries(9, 4, bytes_per_pair=1, chunk_size=7, multiple_of=2).chunk_size == 8


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"chunk_size": 0}, ValueError, "chunk_size must be at least 1, got 0"),
        ({"chunk_size": 2.0}, TypeError, "chunk_size must be an integer, got 2.0"),
        ({"memory_bytes": 0}, ValueError, "memory_bytes must be at least 1, got 0"),
        ({"num_images": 0}, ValueError, "num_images must be at least 1, got 0"),
        ({"num_slots": 0}, ValueError, "num_slots must be at least 1, got 0"),
    ],
)
def test_bad_numbers_are_refused(change, kind, message):
    settings = {"num_images": 3, "num_slots": 4, "bytes_per_pair": 1} | change
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        plan_queries(**settings)


def _estimate(apply, weights):
    predict = jax.tree_util.Partial(apply, weights)
    return traced_bytes_per_pair(predict, (8, 8, 3), np.zeros(1, np.int32))


def test_estimate_is_the_largest_operation_doubled():
    def apply(weights, images):
        wide = images.reshape(images.shape[0], -1) @ weights  # 192 in, 1000 out
        return jnp.tanh(wide)[:, :4]  # 1000 in, 1000 out: the largest

    assert _estimate(apply, np.zeros((192, 1000), np.float32)) == 2 * 4 * 2000


def test_estimate_leaves_out_weights_and_looks_into_calls_and_branches():
    def apply(weights, images):
        flat = images.reshape(images.shape[0], -1)
        wide = jax.jit(lambda x, w: x @ w)(flat, weights)
        return jax.lax.cond(wide.sum() > 0, lambda x: jnp.tanh(x), lambda x: x, wide)[:, :4]

    # The weights' first axis is that of the traced batch, and they are large.
    inside = _estimate(apply, np.zeros((192, 3000), np.float32))
    assert inside == 2 * 4 * 6000

    def of_seven(weights, images):
        return images.mean((1, 2)) @ jnp.ones((3, 4)) + 0 * weights.sum()

    assert _estimate(of_seven, np.zeros((7, 10**6), np.float32)) < 10**4
