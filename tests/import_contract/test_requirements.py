"""Ranges of versions are written in several files, and are the same in all of them."""

import pathlib
import re
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def ranges(lines: list[str]) -> dict[str, str]:
    """The range of each package; names spelled as package indexes compare them."""
    found = {}
    for line in lines:
        name, bounds = re.fullmatch(r"([A-Za-z0-9._-]+)(.*)", line).groups()
        name = re.sub(r"[-_.]+", "-", name).lower()
        assert name not in found, f"{name} stands there twice"
        found[name] = bounds
    return found


def requirements(name: str) -> dict[str, str]:
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return ranges([line for line in lines if line and not line.startswith("-r ")])


def test_the_run_extra_is_requirements_txt():
    assert ranges(PROJECT["dependencies"] + EXTRAS["run"]) == requirements("requirements.txt")


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_package_has_one_range_wherever_it_stands(extra):
    core, dev = requirements("requirements.txt"), requirements("requirements-dev.txt")
    assert not set(core) & set(dev)
    elsewhere = {**core, **dev}
    wrong = {
        name: (bounds, elsewhere[name])
        for name, bounds in ranges(EXTRAS[extra]).items()
        if elsewhere.get(name, bounds) != bounds
    }
    assert wrong == {}


def test_a_bound_left_out_is_seen():
    assert ranges(["flax>=0.12.8"]) != ranges(["flax>=0.12.8,<0.13"])
    assert ranges(["ml_collections>=1"]) == ranges(["ml-collections>=1"])
    with pytest.raises(AssertionError, match="flax stands there twice"):
        ranges(["flax>=1", "Flax>=2"])
