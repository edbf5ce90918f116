"""Seconds and commit of a training, over sittings that train, resume, die or only read."""

import types

import pytest

from anw_jax.errors import SettingsError
from anw_jax.lab import training
from anw_jax.lab.training import TrainingRecord, check_same_jax, training_of
from anw_jax.lab.workdir import Workdir


@pytest.fixture
def sitting(tmp_path, monkeypatch):
    """One sitting of `seconds` that takes the steps from `first` to `last` of 10."""
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(training.time, "monotonic", lambda: clock.now)

    def sit(commit: str, first: int, last: int, seconds: float, killed: bool = False):
        monkeypatch.setattr(training, "provenance", lambda: {"commit": commit})
        record = TrainingRecord(Workdir(tmp_path))
        record.on_start(types.SimpleNamespace(first_step=first, num_steps=10))
        clock.now += seconds
        if last > first:
            record.on_segment(None)
        if not killed:
            record.end(is_completed=last == 10)
        return Workdir(tmp_path)

    return sit


def test_one_training_is_counted_once(sitting):
    first = training_of(sitting("a", 0, 10, 60.0))
    assert first == {"seconds": 60.0, "provenance": {"commit": "a"}, "earlier_commits": []}
    assert training_of(sitting("b", 10, 10, 7.0)) == first


def test_a_resumed_training_adds_up_and_names_every_commit(sitting):
    sitting("a", 0, 3, 30.0)
    sitting("b", 3, 5, 20.0, killed=True)
    sitting("b", 5, 6, 2.0)
    assert training_of(sitting("c", 6, 10, 50.0)) == {
        "seconds": 102.0,
        "provenance": {"commit": "c"},
        "earlier_commits": ["a", "b"],
    }


def test_a_training_whose_sitting_was_killed_at_its_end_keeps_its_commit(sitting):
    sitting("a", 0, 10, 60.0, killed=True)
    found = training_of(sitting("b", 10, 10, 7.0))
    assert (found["seconds"], found["provenance"]) == (60.0, {"commit": "a"})


def test_a_training_from_before_the_record_has_unknown_seconds(sitting, tmp_path):
    Workdir(tmp_path).write_json("provenance.json", {"commit": "old"})
    found = training_of(sitting("b", 10, 10, 7.0))
    assert found == {"seconds": None, "provenance": {"commit": "old"}, "earlier_commits": []}


def test_steps_that_nobody_counted_make_the_sum_unknown(sitting):
    assert training_of(sitting("b", 4, 10, 30.0))["seconds"] is None


SETTINGS = {
    "JAX_ENABLE_X64": False,
    "JAX_DEFAULT_PRNG_IMPL": "threefry2x32",
    "JAX_DEFAULT_MATMUL_PRECISION": None,
    "XLA_FLAGS": "",
    "platform": "cpu",
    "num_devices": 1,
}


@pytest.fixture
def begun(tmp_path):
    """A workdir in which a training was begun under `SETTINGS`."""
    origin = {"commit": "a", "jax": {"settings": SETTINGS}}
    Workdir(tmp_path).write_json("training.json", {"provenance": origin})
    return Workdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JAX_ENABLE_X64", True),
        ("JAX_DEFAULT_PRNG_IMPL", "rbg"),
        ("JAX_DEFAULT_MATMUL_PRECISION", "bfloat16"),
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math=true"),
        ("platform", "gpu"),
        ("num_devices", 4),
        ("NVIDIA_TF32_OVERRIDE", "0"),
    ],
)
def test_a_training_is_not_resumed_under_other_settings_of_jax(begun, name, value):
    with pytest.raises(SettingsError) as raised:
        check_same_jax(begun, SETTINGS | {name: value})
    assert f"{name} was {SETTINGS.get(name)!r}, now {value!r}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_same_settings_pass_and_where_nothing_was_recorded_it_is_said(begun, tmp_path):
    assert check_same_jax(begun, dict(SETTINGS)) is None
    assert check_same_jax(Workdir(tmp_path / "new"), SETTINGS) is None
    begun.write_json("training.json", {"provenance": {"commit": "old"}})
    assert "not compared" in check_same_jax(begun, SETTINGS)
