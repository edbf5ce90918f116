"""jax against NumPy: a jax that is wrong fills no table and trains nothing."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from anw_jax import _jax_settings, models, train, verify
from anw_jax.errors import JaxError
from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation
from anw_jax.verify import self_check


def test_this_jax_is_right_and_says_under_which_settings():
    record = verify.check_jax()
    assert record["self_check"]["passed"]
    assert max(record["self_check"]["errors"].values()) < 1e-5
    assert record["jax"] == jax.__version__
    settings = record["settings"]
    assert settings["JAX_ENABLE_X64"] is False
    assert settings["JAX_DEFAULT_PRNG_IMPL"] == "threefry2x32"
    assert (settings["platform"], settings["num_devices"]) == ("cpu", 2)


@pytest.mark.parametrize("wrong", ["row_sums", "broadcast_product", "loss_table"])
@pytest.mark.parametrize("error", [2.8, None, 1e-3])
def test_a_wrong_jax_is_one_error_that_names_the_flag(wrong, error, monkeypatch):
    errors = {"row_sums": 0.0, "broadcast_product": 0.0, "loss_table": 1e-7, wrong: error}
    monkeypatch.setattr(self_check, "_errors", lambda: tuple(errors.items()))
    with pytest.raises(JaxError, match=f"computes wrong numbers on cpu: {wrong} by") as raised:
        verify.check_jax()
    assert "set XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type= " in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not verify.jax_record()["self_check"]["passed"]  # a record is given all the same


def test_a_wrong_jax_fills_no_table_searches_nothing_and_trains_nothing(monkeypatch):
    monkeypatch.setattr(self_check, "_errors", lambda: (("row_sums", 2.8),))
    images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, np.int32)
    model = models.create("testing", 2)
    predict = model.predict_fn(model.init(jax.random.key(0), (8, 8, 3)))
    settings = train.TrainSettings(batch_size=4, num_epochs=1)
    mark = HueRotation()
    with pytest.raises(JaxError):
        verify.loss_table(predict, images, labels, mark, SignatureSpace(12))
    with pytest.raises(JaxError):
        verify.gradient_search(predict, images, labels, mark)
    with pytest.raises(JaxError):
        train.train(model, settings, images, labels, lambda first, n: np.zeros((n, 4), int))
    with pytest.raises(JaxError):
        train.train_many(model, settings, images, labels, seeds=[0, 1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jax_enable_x64", True),
        ("jax_default_prng_impl", "rbg"),
        ("jax_default_matmul_precision", "bfloat16"),
        ("jax_threefry_partitionable", False),
        ("jax_random_seed_offset", 7),
    ],
)
def test_a_setting_that_decides_numbers_is_seen(name, value):
    before, was = _jax_settings.number_settings(), getattr(jax.config, name)
    try:
        jax.config.update(name, value)
        after = _jax_settings.number_settings()
    finally:
        jax.config.update(name, was)
    [line] = _jax_settings.differing(before, after)
    assert line == f"{name.upper()} was {before[name.upper()]!r}, now {value!r}"


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ("", ""),
        ("--xla_dump_to=here --xla_dump_hlo_as_text", ""),
        ("--xla_force_host_platform_device_count=4", ""),
        ("--xla_b=2 --xla_a=1", "--xla_a=1 --xla_b=2"),
        ("--xla_a=1 --xla_b=2 --xla_a=1", "--xla_a=1 --xla_b=2"),
        ("--xla_a='1 2'", "--xla_a=1 2"),
        ("--xla_a='1", "--xla_a='1"),
    ],
)
def test_flags_of_xla_are_compared_without_order_and_without_harmless_ones(
    flags, kept, monkeypatch
):
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert _jax_settings.number_settings()["XLA_FLAGS"] == kept


def test_a_file_of_flags_counts_by_what_it_holds(tmp_path, monkeypatch):
    (tmp_path / "flags").write_text("--xla_a=1\n--xla_dump_to=x\n")
    monkeypatch.setenv("XLA_FLAGS", str(tmp_path / "flags"))
    assert _jax_settings.number_settings()["XLA_FLAGS"] == "--xla_a=1"
    monkeypatch.setenv("XLA_FLAGS", str(tmp_path / "none"))
    assert str(tmp_path / "none") in _jax_settings.number_settings()["XLA_FLAGS"]


@pytest.mark.parametrize(
    "error",
    [AssertionError(), RuntimeError("no driver\nat all"), IndexError("list")],
)
def test_a_platform_that_is_not_there_is_named_in_one_line(error, monkeypatch):
    def fail():
        raise error

    monkeypatch.setattr(jax, "devices", fail)
    before = jax.config.jax_platforms
    jax.config.update("jax_platforms", "cuda")
    try:
        with pytest.raises(JaxError, match="cannot start on platform 'cuda'") as raised:
            verify.check_jax()
    finally:
        jax.config.update("jax_platforms", before)
    assert "\n" not in str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setup", "flags", "is_right"),
    [
        ("import anw_jax, jax; jax.devices()", None, True),
        ("import jax, anw_jax", None, True),
        ("import jax, anw_jax", "--xla_cpu_use_fusion_emitters=true", True),
        ("import jax; jax.devices(); import anw_jax", None, False),
        ("import anw_jax", "--xla_cpu_experimental_ynn_fusion_type=individual_dot", False),
    ],
)
def test_in_a_process_of_its_own(setup, flags, is_right):
    """On versions with the fault: right with the flag, whatever is imported first."""
    from anw_jax import _jax_flags

    if _jax_flags._jaxlib_version() not in _jax_flags.AFFECTED:
        pytest.skip("this jax is not known to be wrong")
    environment = {n: v for n, v in os.environ.items() if n != "XLA_FLAGS"}
    if flags is not None:
        environment["XLA_FLAGS"] = flags
    script = f"{setup}; from anw_jax import verify; print(verify.jax_record()['self_check'])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert f"'passed': {is_right}" in done.stdout
