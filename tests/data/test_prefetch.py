import sys
import threading
import time

import pytest

from anw_jax import data, errors


@pytest.mark.parametrize("num_threads", [1, 3, None])
def test_results_come_in_order(num_threads):
    def slow_at_first(step):
        time.sleep(0.01 * (step < 6))
        return step

    steps = range(5, 40)
    assert list(data.prefetch(slow_at_first, steps, num_threads)) == list(steps)


def test_nothing_and_none_are_kept():
    assert list(data.prefetch(abs, range(0))) == []
    assert list(data.prefetch(lambda step: None, range(3))) == [None] * 3


def test_reads_ahead_but_not_far():
    read = []

    def note(step):
        read.append(step)
        return step

    items = data.prefetch(note, range(100), num_threads=4)
    assert read == []
    next(items)
    deadline = time.monotonic() + 10
    while len(read) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert 4 <= len(read) <= 10
    items.close()


def test_errors_arrive_as_they_are():
    def fail(step):
        if step == 3:
            raise errors.SourceError("photo 3 is bad")
        return step

    items = data.prefetch(fail, range(10))
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(errors.SourceError, match=r"^photo 3 is bad$"):
        next(items)


def test_threads_end_with_the_iterator():
    before = set(threading.enumerate())
    items = data.prefetch(abs, range(100), num_threads=3)
    next(items)
    new = set(threading.enumerate()) - before
    assert new
    del items
    deadline = time.monotonic() + 10
    while any(thread.is_alive() for thread in new) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(thread.is_alive() for thread in new)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"^num_threads must be at least 1, got 0$"):
        data.prefetch(abs, range(3), num_threads=0)
    with pytest.raises(TypeError, match=r"^steps must be a range, got list"):
        data.prefetch(abs, [1, 2])


def test_without_grain(monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(errors.SourceError) as caught:
        data.prefetch(abs, range(3))
    assert str(caught.value) == (
        "reading images ahead needs Grain: pip install 'grain>=0.2.18,<0.3'"
    )
