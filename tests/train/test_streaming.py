import dataclasses
import functools
import gc
import threading
import time

import chex
import jax
import numpy as np
import pytest

from anw_jax import data, train
from anw_jax.errors import CheckpointError, DivergenceError
from anw_jax.train.batches import Batches, StreamedFeed, data_mesh


def _streamed(images):
    """The same images, fed from the host."""
    labels = np.zeros(len(images), np.int32)
    return data.StreamedDataset.of(data.Dataset(images, labels, ("any",), "noise")).images


@pytest.fixture(scope="module")
def streamed(tiny):
    """Arguments of `train.train` with images that are not on the devices."""
    model, settings, images, labels, rows = tiny
    return model, settings, _streamed(images), labels, rows


@pytest.fixture(scope="module")
def in_memory(tiny):
    return train.train(*tiny, segment_steps=6)


@pytest.fixture(scope="module")
def by_stream(streamed):
    return train.train(*streamed, segment_steps=6)


def assert_same_training(first, second):
    """Batches are the same bit for bit; the steps are two programs, and XLA is free to round
    them differently: most often it does not, but 3e-6 of a value was seen."""
    close = functools.partial(chex.assert_trees_all_close, rtol=1e-4, atol=1e-6)
    close(first.params, second.params)
    close(first.model_state, second.model_state)
    assert int(first.step) == int(second.step)


@pytest.mark.slow
def test_streamed_training_is_that_in_memory(by_stream, in_memory):
    assert_same_training(by_stream.state, in_memory.state)
    assert by_stream.completed
    for given, wanted in zip(by_stream.reports, in_memory.reports, strict=True):
        assert (given.step, given.num_steps) == (wanted.step, wanted.num_steps)
        assert given.metrics["accuracy"] == wanted.metrics["accuracy"]
        assert given.loss == pytest.approx(wanted.loss, rel=1e-5)


@pytest.mark.slow
def test_on_one_device_as_well(tiny, streamed):
    one, wanted = (
        train.train(*arguments, num_devices=1, segment_steps=16)
        for arguments in (streamed, tiny)
    )
    chex.assert_trees_all_equal(one.state, wanted.state)


def test_published_photos_are_what_is_trained_on(tiny, streamed, by_stream):
    model, settings, images, labels, rows = tiny
    marked, own = images.copy(), np.array([5, 60, 2])
    marked[own] = 255 - marked[own]
    overlaid = (model, settings, streamed[2].replace(own, marked[own]), labels, rows)
    result = train.train(*overlaid, segment_steps=16)
    wanted = train.train(model, settings, marked, labels, rows, segment_steps=16)
    assert_same_training(result.state, wanted.state)
    with pytest.raises(AssertionError):
        assert_same_training(result.state, by_stream.state)


@pytest.mark.slow
def test_soft_targets_are_streamed_too(tiny, streamed):
    targets = np.eye(4, dtype=np.float32)[tiny[3]] * np.float32(0.8) + np.float32(0.05)
    result, wanted = (
        train.train(*arguments, targets=targets, segment_steps=16)
        for arguments in (streamed, tiny)
    )
    chex.assert_trees_all_equal(result.state, wanted.state)


@pytest.mark.slow
def test_stopped_and_resumed_is_bit_for_bit(streamed, by_stream, tmp_path):
    first = train.train(
        *streamed, segment_steps=6, checkpoint_dir=tmp_path, should_stop=lambda: True
    )
    assert int(first.state.step) == 6
    model, settings, images, labels, rows = streamed
    again = model, settings, images.take(np.arange(len(images))), labels, rows
    second = train.train(*again, checkpoint_dir=tmp_path)
    assert [report.step for report in second.reports] == [12, 16]
    chex.assert_trees_all_equal(second.state, by_stream.state)


def test_other_photos_are_another_run(streamed, tmp_path):
    model, settings, images, labels, rows = streamed
    train.train(*streamed, segment_steps=16, checkpoint_dir=tmp_path)
    other = images.replace([3], np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(CheckpointError, match=r"belong to another run: dataset is "):
        train.train(model, settings, other, labels, rows, checkpoint_dir=tmp_path)


def test_a_streamed_run_is_not_resumed_in_memory(tiny, streamed, tmp_path):
    train.train(*streamed, segment_steps=16, checkpoint_dir=tmp_path)
    with pytest.raises(CheckpointError, match=r"belong to another run: dataset is "):
        train.train(*tiny, checkpoint_dir=tmp_path)


def test_start_report_of_a_streamed_training(streamed):
    reports = []
    train.train(*streamed, on_start=reports.append, max_seconds=-np.inf)
    (report,) = reports
    assert report.num_steps == 16
    assert report.step_seconds > 0


def _wait_for_the_end_of(threads):
    deadline = time.monotonic() + 30
    while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["no time", "stop", "divergence"])
def test_prefetching_ends_with_the_training(streamed, monkeypatch, ends):
    """And does not wait for the garbage collector: a host trains hundreds of models."""
    before, seen = set(threading.enumerate()), set()
    model, settings, images, labels, rows = streamed
    # So many steps are left that threads would go on reading.
    longer = dataclasses.replace(settings, num_epochs=60)
    arguments = model, longer, images, labels, _noting(rows, seen)
    gc.disable()
    try:
        if ends == "no time":
            train.train(*arguments, max_seconds=-np.inf)
        elif ends == "stop":
            train.train(*arguments, segment_steps=6, should_stop=lambda: True)
        else:
            monkeypatch.setattr("anw_jax.train.runner._finite", lambda *of: False)
            with pytest.raises(DivergenceError):
                train.train(*arguments, segment_steps=6)
        assert seen - before
        _wait_for_the_end_of(seen - before)
    finally:
        gc.enable()


def _noting(rows, threads):
    """A batch plan that notes which threads ask it."""

    def noting(first_step, num_steps):
        threads.add(threading.current_thread())
        return rows(first_step, num_steps)

    return noting


def test_a_closed_feed_begins_afresh(feed, tiny):
    source, _ = feed
    next(source.pieces(0, 5))
    source.close()
    source.close()
    for first in (5, 7):
        (batch,) = _batches(source, first, 1)
        np.testing.assert_array_equal(batch.images, tiny[2][tiny[4](first, 1)[0]])


def test_evaluation_is_that_in_memory(model, tiny, in_memory):
    _, _, images, labels, _ = tiny
    predict = model.predict_fn(in_memory.state.variables)
    wanted = train.evaluate(predict, images, labels, batch_size=24)
    assert train.evaluate(predict, _streamed(images), labels, batch_size=24) == wanted


def test_a_damaged_photo_stops_the_training_by_its_name(streamed):
    class Broken:
        def __init__(self, records):
            self.records = records

        def __len__(self):
            return len(self.records)

        def read(self, rows):
            if 40 in rows:
                raise ValueError("photo 40 is bad")
            return self.records.read(rows)

        def identity(self):
            return b""

    model, settings, images, labels, rows = streamed
    broken = dataclasses.replace(images, records=Broken(images.records))
    with pytest.raises(ValueError, match=r"^photo 40 is bad$"):
        train.train(model, settings, broken, labels, rows)


@pytest.fixture
def feed(tiny):
    """A feed of 10 steps, and the steps that were read."""
    _, settings, images, labels, rows = tiny
    read = []

    def noted(first_step, num_steps):
        read.append(first_step)
        return rows(first_step, num_steps)

    mesh = data_mesh(settings.batch_size)
    columns = train.Batch(_streamed(images), labels)
    return StreamedFeed(Batches(columns, noted, (settings.batch_size,)), mesh, 10), read


def _batches(source, first, count):
    """Batches of a feed, each of which is a piece without rows."""
    pieces = list(source.pieces(first, count))
    assert all(rows is None and steps == 1 for _, rows, steps in pieces)
    return [columns for columns, _, _ in pieces]


@pytest.mark.parametrize("segments", [[(0, 10)], [(0, 3), (3, 4), (7, 3)], [(4, 2), (0, 2)]])
def test_the_feed_follows_the_plan(feed, tiny, segments):
    _, _, images, labels, rows = tiny
    for first, count in segments:
        batches = _batches(feed[0], first, count)
        assert len(batches) == count
        for step, batch in enumerate(batches, start=first):
            (wanted,) = rows(step, 1)
            np.testing.assert_array_equal(batch.images, images[wanted])
            np.testing.assert_array_equal(batch.labels, labels[wanted])
            assert batch.targets is None
            assert len(batch.images.sharding.device_set) == len(jax.devices())


def test_the_feed_reads_each_step_once_and_none_after_the_last(feed):
    source, read = feed
    for first in (0, 4, 8):
        _batches(source, first, min(4, 10 - first))
    assert sorted(read) == list(range(10))


def test_the_feed_goes_past_the_end_where_it_is_asked_to(feed, tiny):
    # A step is timed on a few more steps than may be left.
    batches = _batches(feed[0], 8, 4)
    (wanted,) = tiny[4](11, 1)
    np.testing.assert_array_equal(batches[-1].images, tiny[2][wanted])
