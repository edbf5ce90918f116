"""The flag of `import anw_jax`: appended where jax needs it, and nowhere else."""

import os
import subprocess
import sys

import pytest

from anw_jax import _jax_flags

FLAG = "--xla_cpu_experimental_ynn_fusion_type="


@pytest.fixture
def fresh(monkeypatch):
    """A process whose backend has not started, on an affected version, without flags."""
    monkeypatch.setattr(_jax_flags, "backend_has_started", lambda: False)
    monkeypatch.setattr(_jax_flags, "_jaxlib_version", lambda: "0.10.2")
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, FLAG),
        ("", FLAG),
        ("  ", FLAG),
        ("--xla_dump_to=x", f"--xla_dump_to=x {FLAG}"),
        (" --xla_a=1  --xla_b=2 ", f"--xla_a=1  --xla_b=2 {FLAG}"),
        # What the user set stands.
        (FLAG, FLAG),
        (f"{FLAG}-reduce --xla_a=1", f"{FLAG}-reduce --xla_a=1"),
        (FLAG.rstrip("="), FLAG.rstrip("=")),
        # A file of flags: XLA would look for a file of the longer name, and end the process.
        ("flags.txt", "flags.txt"),
    ],
)
def test_the_flag_is_appended_once_and_the_users_stands(fresh, before, after):
    if before is not None:
        fresh.setenv("XLA_FLAGS", before)
    for _ in range(2):
        _jax_flags.append_flag()
        assert os.environ["XLA_FLAGS"] == after


@pytest.mark.parametrize("version", sorted(_jax_flags.AFFECTED))
def test_every_affected_version_gets_it(fresh, version):
    fresh.setattr(_jax_flags, "_jaxlib_version", lambda: version)
    _jax_flags.append_flag()
    assert os.environ["XLA_FLAGS"] == FLAG


@pytest.mark.parametrize("version", [None, "0.4.38", "0.12.1", "0.13.0", "0.11.0.dev1"])
def test_an_unknown_version_is_left_alone(fresh, version):
    fresh.setattr(_jax_flags, "_jaxlib_version", lambda: version)
    _jax_flags.append_flag()
    assert "XLA_FLAGS" not in os.environ


def test_a_backend_that_has_started_is_left_alone(fresh):
    fresh.setattr(_jax_flags, "backend_has_started", lambda: True)
    _jax_flags.append_flag()
    assert "XLA_FLAGS" not in os.environ


def test_importing_the_package_sets_the_flag_and_loads_no_jax():
    script = (
        "import os, sys; before = dict(os.environ); import anw_jax; "
        "changed = {n for n in os.environ if os.environ[n] != before.get(n)}; "
        "print(sorted(changed), 'jax' in sys.modules, 'numpy' in sys.modules)"
    )
    environment = {n: v for n, v in os.environ.items() if n != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    changed = ["XLA_FLAGS"] if _jax_flags._jaxlib_version() in _jax_flags.AFFECTED else []
    assert done.stdout.strip() == f"{changed} False False"
