"""What a suspect's code prints, where it goes, and what it imports, stays its own affair."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys

import pytest

from anw_jax.suspects.adapters.surroundings import Surroundings

PRINTS = {
    "print": "print('noise')",
    "below Python": "os.write(1, b'noise\\n')",
    "the first stream": "sys.__stdout__.write('noise\\n')",
    "a program": "os.system('echo noise')",
    "C": "ctypes.CDLL(None).printf(b'noise\\n')",
    "C without a line's end": "ctypes.CDLL(None).printf(b'noise')",
    "a log": "logging.StreamHandler(sys.stdout).emit(logging.makeLogRecord({'msg': 'noise'}))",
    "another stream": "sys.stdout = open(os.devnull, 'w'); os.write(1, b'noise\\n')",
    "at the end": "atexit.register(print, 'noise')",
    "at the end, by C": "atexit.register(os.write, 1, b'noise\\n')",
}
CHILD = """
import atexit, ctypes, json, logging, os, sys
from anw_jax.cli import main
from anw_jax.suspects.adapters.surroundings import Surroundings

def run(arguments):
    with Surroundings():
        exec(arguments[0])
    print(json.dumps({"result": 1}))
    return 0

main.run = run
main.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", PRINTS)
def test_standard_output_holds_nothing_but_the_result(way):
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, PRINTS[way]], capture_output=True, text=True, timeout=120
    )
    assert (ran.returncode, json.loads(ran.stdout)) == (0, {"result": 1}), ran.stderr
    assert "noise" in ran.stderr


@pytest.mark.parametrize("way", ["print", "below Python", "the first stream", "a program"])
def test_output_goes_to_standard_error(capfd, way):
    with Surroundings():
        exec(PRINTS[way], {"os": os, "sys": sys})
    print("result")
    out, err = capfd.readouterr()
    assert (out, err.strip()) == ("result\n", "noise")


def test_the_working_folder_is_each_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = Surroundings(), Surroundings()
    with first:
        os.chdir("a")
    assert pathlib.Path.cwd() == tmp_path
    with second:
        assert pathlib.Path.cwd() == tmp_path
        os.chdir("b")
    with first:
        assert pathlib.Path.cwd() == tmp_path / "a"
    with second:
        os.chdir("..")
    with second:
        assert pathlib.Path.cwd() == tmp_path


def test_a_working_folder_that_was_removed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone").mkdir()
    surroundings = Surroundings()
    with surroundings:
        os.chdir("gone")
        (tmp_path / "gone").rmdir()
    assert pathlib.Path.cwd() == tmp_path
    with surroundings:
        assert pathlib.Path.cwd() == tmp_path


def test_an_error_leaves_everything_as_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, stdout = sys.path[:], sys.stdout
    with contextlib.suppress(ZeroDivisionError), Surroundings():
        os.chdir("/")
        sys.path.insert(0, "/somewhere")
        sys.stdout = None
        raise ZeroDivisionError
    assert (pathlib.Path.cwd(), sys.path, sys.stdout) == (tmp_path, path, stdout)


def test_modules_of_one_name_are_told_apart(tmp_path):
    found = []
    for name in ("a", "b", "a"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "helper_of_a_suspect.py").write_text(f"name = {name!r}\n")
    ours = {name: Surroundings(tmp_path / name) for name in ("a", "b")}
    for name in ("a", "b", "a"):
        with ours[name]:
            sys.path.insert(0, str(tmp_path / name))
            import helper_of_a_suspect

            found.append(helper_of_a_suspect.name)
        assert "helper_of_a_suspect" not in sys.modules
    assert found == ["a", "b", "a"]
    assert not list(tmp_path.rglob("__pycache__"))


def test_code_that_was_read_is_told(tmp_path):
    (tmp_path / "one.py").write_text("import two\n")
    (tmp_path / "two.py").write_text("")
    told = []
    surroundings = Surroundings(tmp_path)
    surroundings.on_code = lambda files: told.append({file.name for file in files})
    with surroundings:
        sys.path.insert(0, str(tmp_path))
        __import__("one")
    with surroundings:
        __import__("one")
    assert told == [{"one.py", "two.py"}]
