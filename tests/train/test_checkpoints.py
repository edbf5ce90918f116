import dataclasses
import errno
import pathlib
import shutil

import jax
import numpy as np
import pytest

from anw_jax import models, train
from anw_jax.errors import CheckpointError
from anw_jax.train import checkpoints as checkpoints_module
from anw_jax.train import runner
from anw_jax.train.checkpoints import Checkpoints, find_damage
from anw_jax.train.classifier import first_state


@pytest.fixture(scope="module")
def finished_run(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    train.train(*tiny, segment_steps=4, checkpoint_dir=folder, checkpoint_seconds=0.0)
    return folder


@pytest.fixture
def folder(finished_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished_run, copy)
    return copy


def _state(model, settings):
    """A state of zeros, without compiling what draws its weights."""
    step = train.classification_step(model, settings, steps_per_epoch=4)
    shapes = jax.eval_shape(lambda: first_state(step, model, settings, (8, 8, 3)))
    return jax.tree.map(lambda leaf: jax.device_put(np.zeros(leaf.shape, leaf.dtype)), shapes)


def _truncate(folder: pathlib.Path, pattern: str):
    files = [path for path in folder.rglob(pattern) if path.is_file()]
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_the_latest_two_are_kept(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["12", "16"]


@pytest.mark.parametrize("pattern", ["d/*", "manifest.ocdbt", "_METADATA"])
def test_a_damaged_checkpoint_is_named_with_its_repair(tiny, folder, pattern):
    _truncate(folder / "16", pattern)
    with pytest.raises(CheckpointError, match=r"copy/16 cannot be read .*delete that folder"):
        train.train(*tiny, checkpoint_dir=folder)
    with pytest.raises(CheckpointError, match="copy/16 cannot be read"):
        train.load_variables(folder)
    shutil.rmtree(folder / "16")
    result = train.train(*tiny, checkpoint_dir=folder)
    assert [report.step for report in result.reports] == [16]


def test_a_changed_bit_a_lost_file_and_a_torn_list_are_named(folder):
    step = folder / "16"
    (array,) = sorted(step.glob("state/d/*"))[:1]
    original = array.read_bytes()
    array.write_bytes(bytes([original[0] ^ 1]) + original[1:])
    assert find_damage(step).endswith("has changed since it was written")
    array.unlink()
    assert find_damage(step).endswith("is missing")
    (step / "file_digests.json").write_text("{")
    assert find_damage(step) == "file_digests.json is damaged"


def test_damage_is_named_without_a_list_of_digests(folder):
    (folder / "16" / "file_digests.json").unlink()
    assert find_damage(folder / "16") is None
    _truncate(folder / "16", "_METADATA")
    with pytest.raises(CheckpointError, match="copy/16 cannot be read"):
        train.load_variables(folder)


def test_a_failed_save_leaves_nothing_and_can_be_repeated(
    model, settings, tmp_path, monkeypatch
):
    state = _state(model, settings)
    with Checkpoints(tmp_path, {}) as checkpoints:
        for kept in ("there is none before it", "that of step 0 is kept"):
            with monkeypatch.context() as patch:
                patch.setattr(checkpoints_module, "write_file_list", _no_space)
                with pytest.raises(CheckpointError) as raised:
                    checkpoints.save(state, segment_steps=1)
            assert str(raised.value) == (
                f"the checkpoint of step {int(state.step)} cannot be written to {tmp_path} "
                f"(No space left on device); {kept}: free space or fix permissions there, "
                "and run again"
            )
            assert not (tmp_path / str(int(state.step))).exists()
            checkpoints.save(state, segment_steps=1)
            assert checkpoints.latest_step == int(state.step)
            state = dataclasses.replace(state, step=state.step + 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def _no_space(folder):
    raise OSError(errno.ENOSPC, "no room", str(folder))


@pytest.mark.parametrize("error", [ValueError("OUT_OF_RANGE: a\nb"), RuntimeError()])
def test_errors_of_orbax_become_one_line(model, settings, tmp_path, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    state = _state(model, settings)
    with Checkpoints(tmp_path, {}) as checkpoints:
        monkeypatch.setattr(checkpoints._checkpointer, "save", fail)
        said = "OUT_OF_RANGE: a" if str(error) else "RuntimeError"
        with pytest.raises(CheckpointError, match=rf"written to \S+ \({said}\); there is none"):
            checkpoints.save(state, segment_steps=1)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"kept in \S+/file/run \(Not a directory\)"):
        Checkpoints(tmp_path / "file" / "run", {})


def test_other_settings_are_named(tiny, folder):
    model, settings, *rest = tiny
    other = dataclasses.replace(settings, learning_rate=0.07, seed=9)
    with pytest.raises(CheckpointError) as raised:
        train.train(model, other, *rest, checkpoint_dir=folder)
    assert "settings.learning_rate is 0.05 there and 0.07 here" in str(raised.value)
    assert "settings.seed is 3 there and 9 here" in str(raised.value)


def test_other_data_plan_and_devices_are_named(tiny, folder):
    model, settings, images, labels, indices_fn = tiny
    with pytest.raises(CheckpointError, match=r"dataset is .* there and"):
        train.train(model, settings, 255 - images, labels, indices_fn, checkpoint_dir=folder)
    with pytest.raises(CheckpointError, match=r"batch_plan is .* there and"):
        train.train(
            *tiny[:-1],
            lambda first_step, num_steps: np.zeros((num_steps, 16), np.int32),
            checkpoint_dir=folder,
        )
    with pytest.raises(CheckpointError, match="num_devices is 2 there and 1 here"):
        train.train(*tiny, checkpoint_dir=folder, num_devices=1)


def test_another_jax_and_another_kind_of_device_are_named(tiny, folder, monkeypatch):
    _change_fingerprint(
        monkeypatch, lambda now: now | {"jax_version": "99", "device_kind": "b"}
    )
    with pytest.raises(CheckpointError) as raised:
        train.train(*tiny, checkpoint_dir=folder)
    message = str(raised.value)
    assert f"jax_version is {jax.__version__!r} there and '99' here" in message
    assert "device_kind is 'cpu' there and 'b' here" in message
    assert message.endswith("use another folder, or the settings, JAX and devices of that run")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("jax_enable_x64", True, marks=pytest.mark.slow),
        pytest.param("jax_default_prng_impl", "rbg", marks=pytest.mark.slow),
        ("jax_default_matmul_precision", "bfloat16"),
    ],
)
def test_other_settings_of_jax_are_named(tiny, folder, name, value):
    before = getattr(jax.config, name)
    jax.config.update(name, value)
    try:
        with pytest.raises(CheckpointError) as raised:
            train.train(*tiny, checkpoint_dir=folder)
    finally:
        jax.config.update(name, before)
    assert f"jax.{name.upper()} is {before!r} there and {value!r} here" in str(raised.value)


def test_other_flags_of_xla_are_named(tiny, folder, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_other=1")
    with pytest.raises(CheckpointError, match=r"jax.XLA_FLAGS is .* and '--xla_other=1' here"):
        train.train(*tiny, checkpoint_dir=folder)


def test_a_checkpoint_from_before_these_were_recorded_is_resumed(tiny, tmp_path, monkeypatch):
    def before(now):
        return {name: value for name, value in now.items() if name != "jax"}

    with monkeypatch.context() as patch:
        _change_fingerprint(patch, before)
        first = train.train(*tiny, checkpoint_dir=tmp_path)
    again = train.train(*tiny, checkpoint_dir=tmp_path)
    assert int(again.state.step) == int(first.state.step)


@pytest.mark.slow
def test_only_a_finished_training_of_another_driver_is_resumed(tiny, tmp_path, monkeypatch):
    """Earlier versions named the program that took the steps; there is one now."""
    with monkeypatch.context() as patch:
        _change_fingerprint(patch, lambda now: now | {"driver": "loop"})
        options = {"segment_steps": 8, "checkpoint_dir": tmp_path}
        train.train(*tiny, **options, should_stop=lambda: True)
    with pytest.raises(CheckpointError, match="driver is 'loop' there and missing here"):
        train.train(*tiny, checkpoint_dir=tmp_path)
    with monkeypatch.context() as patch:
        _change_fingerprint(patch, lambda now: now | {"driver": "loop"})
        finished = train.train(*tiny, checkpoint_dir=tmp_path)
    again = train.train(*tiny, checkpoint_dir=tmp_path)
    assert (again.completed, again.reports) == (True, ())
    assert int(again.state.step) == int(finished.state.step)


def _change_fingerprint(patch, change):
    real = runner.Checkpoints
    patch.setattr(runner, "Checkpoints", lambda folder, now: real(folder, change(now)))


def test_other_segment_length_is_named(tiny, folder):
    with pytest.raises(CheckpointError, match="segment_steps is 4 in the checkpoint and 5"):
        train.train(*tiny, checkpoint_dir=folder, segment_steps=5)


def test_up_to_five_differing_leaves_are_named(settings, tmp_path):
    def state(widths):
        model = models.create("testing", 4, widths=widths)
        return _state(model, settings)

    with Checkpoints(tmp_path, {}) as checkpoints:
        checkpoints.save(state((8, 16)), segment_steps=1)
        with pytest.raises(CheckpointError) as raised:
            checkpoints.restore(state((8, 12)), num_steps=9)
    message = str(raised.value)
    assert "BasicBlock_1" in message
    assert "float32[16] there and float32[12] here" in message
    assert message.count(" there and ") == 5
    assert "more" in message


def test_missing_checkpoints_are_named(folder, tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        train.load_variables(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 5 .* are: \[12, 16\]"):
        train.load_variables(folder, step=5)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(CheckpointError, match=r"no checkpoints in .*: name a run's folder"):
        train.load_variables(empty)
