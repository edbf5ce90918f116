"""A thread that works ahead, and ends."""

import itertools
import threading

import pytest

from anw_jax.suspects.query import prefetch


def test_order_and_end():
    assert list(prefetch(iter(range(100)))) == list(range(100))
    assert list(prefetch(iter([]))) == []


def test_an_error_comes_in_its_place():
    def items():
        yield 1
        raise KeyError("no more")

    received = []
    with pytest.raises(KeyError, match="no more"):
        received.extend(prefetch(items()))
    assert received == [1]


def test_it_runs_no_further_ahead_than_asked():
    made = []

    def items():
        for number in itertools.count():
            made.append(number)
            yield number

    stream = prefetch(items(), depth=2)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    stream.close()
    assert len(made) <= 3 + 2 + 1 + 1  # taken, waiting, in hand, and the next


def test_the_thread_ends_with_its_reader():
    before = threading.active_count()
    stream = prefetch(itertools.count())
    next(stream)
    assert threading.active_count() == before + 1
    stream.close()
    assert threading.active_count() == before
