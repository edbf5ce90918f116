import chex
import jax
import numpy as np
import optax
import pytest

from anw_jax import data, train
from anw_jax.errors import DivergenceError


@pytest.mark.slow
def test_reports_have_progress_and_speed(tiny):
    started, reports = [], []
    result = train.train(
        *tiny, segment_steps=6, on_start=started.append, on_segment=reports.append
    )
    assert result.completed
    assert result.reports == tuple(reports)
    assert [report.step for report in reports] == [6, 12, 16]
    (start,) = started
    assert (start.first_step, start.num_steps, start.segment_steps) == (0, 16, 6)
    assert start.num_devices == 2
    assert start.remaining_seconds == pytest.approx(16 * start.step_seconds)
    for report in reports:
        assert 0 < report.loss < 10
        assert 0 <= report.metrics["accuracy"] <= 1
        assert report.examples_per_second > 0
    # 4 epochs of 4 steps: the thirds end before steps 5 and 10; means over 6, 6 and 4 steps.
    rates = [report.metrics["learning_rate"] for report in reports]
    wanted = [(5 * 0.05 + 0.005) / 6, (4 * 0.005 + 2 * 0.0005) / 6, 0.0005]
    np.testing.assert_allclose(rates, wanted, rtol=1e-5)


@pytest.mark.slow
def test_the_start_report_leaves_out_compilation(tiny):
    reports = []
    train.train(*tiny, on_start=reports.append, max_seconds=-np.inf)
    (report,) = reports
    assert report.num_steps == 16
    assert 0 < report.step_seconds < report.compile_seconds
    assert report.segment_steps == 16


def test_should_stop_ends_after_a_segment_and_keeps_a_checkpoint(tiny, tmp_path):
    stops = iter([False, True])
    stopped = train.train(
        *tiny, checkpoint_dir=tmp_path, segment_steps=4, should_stop=lambda: next(stops)
    )
    assert not stopped.completed
    assert int(stopped.state.step) == 8
    chex.assert_trees_all_equal(train.load_variables(tmp_path), stopped.state.variables)


def test_no_segment_is_started_that_would_end_too_late(tiny):
    result = train.train(*tiny, segment_steps=4, max_seconds=0.0)
    assert not result.completed
    assert result.reports == ()
    assert int(result.state.step) == 0


def test_divergence_names_the_steps_and_keeps_the_checkpoint_before(tmp_path):
    def loss_fn(params, model_state, batch, rng):
        return (params["w"] * batch).mean() ** 2, (model_state, {})

    # The first step has rate 0; the next ones have rates at which the weight overflows.
    step = train.make_step(loss_fn, optax.sgd(lambda count: 1e38 * count.astype(np.float32)))
    batches = train.Batches(np.ones(16, np.float32), data.BatchPlan(16, 4, seed=0).rows)
    options = {"segment_steps": 1, "checkpoint_seconds": 0.0, "checkpoint_dir": tmp_path}
    state = step.init({"w": np.float32(1)}, {})
    with pytest.raises(DivergenceError, match=r"in steps (\d) to \1 .* of step \1 is from"):
        train.fit(step, state, batches, num_steps=8, key=jax.random.key(0), **options)
    variables = train.load_variables(tmp_path)
    chex.assert_tree_all_finite(variables)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((16, 15), np.int32), r"integers of shape \(1, 16\), got int32"),
        (np.zeros((1, 16)), "got float64"),
        (np.full((1, 16), 64), r"rows in \[0, 64\), got \[64, 64\]"),
        (np.full((1, 16), -1), "rows in"),
    ],
)
def test_a_wrong_batch_plan_is_refused(tiny, rows, message):
    *rest, _ = tiny
    with pytest.raises(ValueError, match=message):
        train.train(*rest, lambda first_step, num_steps: rows)


def test_wrong_data_is_refused(tiny):
    model, settings, images, labels, indices_fn = tiny
    with pytest.raises(ValueError, match="labels must be below num_classes = 4, got 4"):
        train.train(model, settings, images, labels * 0 + 4, indices_fn)
    with pytest.raises(ValueError, match="batch_size must be at most"):
        train.train(model, settings, images[:8], labels[:8], indices_fn)
    with pytest.raises(TypeError, match="settings must be a TrainSettings"):
        train.train(model, {"batch_size": 16}, images, labels, indices_fn)
    with pytest.raises(ValueError, match="segment_steps must be at least 1"):
        train.train(*tiny, segment_steps=0)
