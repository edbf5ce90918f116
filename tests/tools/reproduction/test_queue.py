"""The queue with a stand-in for a run: order, resume, locks, limits, failures."""

import io
import json
import pathlib

import pytest

from anw_jax.lab import Workdir
from tools.reproduction.plan import items_of
from tools.reproduction.queue import Queue


class FakeRunner:
    """Notes what it is asked for, takes a made-up time, and leaves results."""

    def __init__(self, made_up, studies):
        self.seen: list[str] = []
        self.now = 0.0
        self.seconds = 600.0
        self.on_call = lambda label: None
        self._made_up = made_up
        self._studies = {study.name: study for study in studies}

    def __call__(self, settings, folder):
        study = self._studies[settings.name]
        arm = next(a for a in study.arms if study.settings(a, settings.seed) == settings)
        label = study.label(arm, settings.seed)
        self.seen.append(label)
        reply = self.on_call(label)
        if reply is not None:
            return None
        pathlib.Path(folder, "tables").mkdir(parents=True, exist_ok=True)
        self.now += self.seconds
        values = self._made_up.result(study, arm, settings.seed)
        del values["arm"]
        return {**values, "stage_seconds": {"train": 480.0}}


@pytest.fixture
def studies(write_study, load):
    """Two rows of one training, and one with two trainings of its own."""
    write_study("fig1", {"case": "base"}, {"seeds": (0, 1)})
    write_study(
        "fig2",
        {},
        {"seeds": (0,), "arms": {"a": {"model.stem": "tiny"}, "b": {"exclude": ["keyed"]}}},
    )
    write_study("fig3", {"case": "base"}, {"seeds": (0,)})
    return load()


@pytest.fixture
def runner(made_up, studies):
    return FakeRunner(made_up, studies)


@pytest.fixture
def queue_of(studies, runner, tmp_path):
    """Makes a queue as another call of the same command would."""

    def make(**options):
        return Queue(
            items_of(studies),
            tmp_path / "results",
            tmp_path / "workdir",
            runner=runner,
            stream=options.pop("stream", io.StringIO()),
            clock=lambda: runner.now,
            **options,
        )

    return make


ALL = ["fig1/seed0", "fig3/seed0", "fig2/a/seed0", "fig2/b/seed0", "fig1/seed1"]


def test_all_runs_are_made_once_in_the_order_of_the_plan(queue_of, runner, tmp_path):
    outcome = queue_of().run()
    assert runner.seen == outcome.done == ALL
    assert outcome.exit_code == 0
    written = json.loads((tmp_path / "results" / "fig2" / "a" / "seed0.json").read_text())
    assert (written["name"], written["arm"], written["seed"]) == ("fig2", "a", 0)
    assert written["sitting"] == {"seconds": 600.0, "trained": True}
    shared = json.loads((tmp_path / "results" / "fig3" / "seed0.json").read_text())
    assert shared["sitting"]["trained"] is False
    assert queue_of().run().done == []
    assert runner.seen == ALL


def test_runs_of_one_case_work_in_one_folder(queue_of, runner, tmp_path):
    queue_of().run()
    found = {
        path.parent.relative_to(tmp_path / "workdir").as_posix()
        for path in (tmp_path / "workdir").rglob("tables")
    }
    assert found == {"base/seed0", "base/seed1", "fig2/a/seed0", "fig2/b/seed0"}


def test_an_interrupted_queue_goes_on_with_the_run_it_was_at(queue_of, runner):
    runner.on_call = lambda label: "stop" if label == "fig2/a/seed0" else None
    outcome = queue_of().run()
    assert (outcome.exit_code, outcome.interrupted, outcome.left) == (130, True, 3)
    runner.on_call = lambda label: None
    assert queue_of().run().done == ALL[2:]


def test_a_second_ctrl_c_stops_at_once(queue_of, runner, tmp_path):
    def press(label):
        raise KeyboardInterrupt

    runner.on_call = press
    assert queue_of().run().exit_code == 130
    assert not (tmp_path / "results").exists()


def test_a_kill_leaves_no_half_result(queue_of, runner, tmp_path, monkeypatch):
    """Killed between writing and renaming: the run is made again."""
    import os

    def killed(source, target):
        raise SystemExit(9)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(SystemExit):
            queue_of().run()
    assert not list((tmp_path / "results").rglob("seed*.json"))
    assert queue_of().run().done == ALL


def test_a_failed_run_is_one_line_and_the_others_go_on(queue_of, runner, tmp_path):
    def fail(label):
        if label == "fig2/a/seed0":
            raise ValueError("two\nlines")

    runner.on_call = fail
    stream = io.StringIO()
    outcome = queue_of(stream=stream).run()
    assert outcome.failed == ["fig2/a/seed0"]
    assert outcome.done == [label for label in ALL if label != "fig2/a/seed0"]
    assert outcome.exit_code == 1
    assert "[queue]  fig2/a/seed0: FAILED: ValueError: two lines\n" in stream.getvalue()
    assert "1 failed (fig2/a/seed0)" in stream.getvalue()
    assert not (tmp_path / "results" / "fig2" / "a").exists()


def test_what_shares_a_failed_training_is_not_tried(queue_of, runner):
    def fail(label):
        if label == "fig1/seed0":
            raise ArithmeticError("diverged")

    runner.on_call = fail
    outcome = queue_of().run()
    assert outcome.failed == ["fig1/seed0", "fig3/seed0"]
    assert "fig3/seed0" not in runner.seen


def test_another_runner_is_left_alone(queue_of, runner, tmp_path):
    with Workdir(tmp_path / "workdir" / ".queue" / "base" / "seed0").lock():
        outcome = queue_of().run()
    assert outcome.elsewhere == ["fig1/seed0", "fig3/seed0"]
    assert outcome.done == ALL[2:]
    assert outcome.exit_code == 0


def test_what_another_runner_has_finished_meanwhile_is_not_done_again(
    queue_of, runner, studies, made_up, tmp_path
):
    queue = queue_of()
    made_up.write(tmp_path / "results", studies[0], seed=1)
    queue.run()
    assert "fig1/seed1" not in runner.seen


def test_a_finished_training_is_read_before_another_is_begun(
    queue_of, runner, studies, made_up, tmp_path
):
    (tmp_path / "workdir" / "fig2" / "b" / "seed0" / "tables").mkdir(parents=True)
    queue_of().run()
    assert runner.seen == ["fig2/b/seed0", *[label for label in ALL if "b" not in label]]


def test_no_run_is_begun_that_would_end_too_late(queue_of, runner):
    """Each takes 10 minutes; nothing is known before the first has ended."""
    stream = io.StringIO()
    outcome = queue_of(max_minutes=25.0, stream=stream).run()
    # fig3/seed0, an audit alone, is not known; what is unknown is begun while time is left.
    assert outcome.done == ALL[:3]
    assert (outcome.left, outcome.exit_code) == (2, 0)
    assert "fig2/b/seed0: not begun" in stream.getvalue()


def test_recorded_runs_are_what_a_limit_goes_by(queue_of, runner, studies, made_up, tmp_path):
    sitting = {"seconds": 600.0, "trained": True}
    for study, arm, seed in ((studies[0], "main", 0), (studies[2], "main", 0)):
        made_up.write(
            tmp_path / "results", study, arm, seed, sitting=sitting,
            stage_seconds={"train": 480.0},
        )  # fmt: skip
    queue = queue_of(max_minutes=29.0)
    assert queue.run().done == ["fig2/a/seed0", "fig2/b/seed0"]
    assert queue_of(max_minutes=9.0).run().done == []
    assert queue_of(max_minutes=10.0).run().done == ["fig1/seed1"]


def test_progress_says_what_is_left(queue_of, runner):
    stream = io.StringIO()
    queue_of(stream=stream).run()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "[queue]  5 runs, 0 of them done before"
    assert lines[1] == "[queue]  fig1/seed0: begins; 5 left"
    assert lines[2] == "[queue]  fig1/seed0: done in 10 min 0 s"
    assert lines[-3] == "[queue]  fig1/seed1: begins; 1 left, about 10 min 0 s"
    assert lines[-1] == "[queue]  5 runs done in 50 min 0 s"


def test_results_of_other_settings_are_said_and_not_taken_as_done(
    queue_of, runner, studies, made_up, tmp_path
):
    """Settings changed after the run: the file is kept, nothing is redone."""
    made_up.write(tmp_path / "results", studies[0], seed=0)
    file = tmp_path / "results" / "fig1" / "seed0.json"
    values = json.loads(file.read_text())
    values["settings"]["train"]["num_epochs"] += 1
    file.write_text(json.dumps(values))
    stream = io.StringIO()
    outcome = queue_of(stream=stream).run()
    assert outcome.failed == ["fig1/seed0"]
    assert outcome.exit_code == 1
    assert "fig1/seed0: FAILED: results/fig1/seed0.json was made with train.num_epochs" in (
        stream.getvalue()
    )
    assert "remove the file and run again" in stream.getvalue()
    assert "fig1/seed0" not in runner.seen
