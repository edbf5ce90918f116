"""Output goes through any code page, and a missing library is one line."""

import builtins
import errno
import io
import os
import pathlib
import runpy
import subprocess
import sys

import pytest

from anw_jax import _console
from anw_jax.cli import __main__ as program
from anw_jax.cli.main import run
from tools.reproduction.__main__ import main as reproduce

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
ENCODINGS = ["cp1252", "latin-1", "ascii", "cp437", "koi8-r", "cp932", "utf-8"]


def can_say(encoding, text):
    return text.encode(encoding, "replace").decode(encoding) == text


@pytest.fixture
def piped(monkeypatch):
    """Standard streams as a pipe has them under an encoding; returns what was written."""

    def pipe(encoding, errors="strict"):
        streams = {}
        for name in ("stdout", "stderr"):
            streams[name] = io.TextIOWrapper(io.BytesIO(), encoding, errors)
            monkeypatch.setattr(sys, name, streams[name])

        def written(name):
            streams[name].flush()
            return streams[name].buffer.getvalue().decode(encoding)

        return written

    return pipe


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_words_that_the_encoding_lacks(piped, encoding):
    written = piped(encoding)
    _console.make_streams_total()
    for stream in (sys.stdout, sys.stderr):
        stream.write("p ≤ .001 → case/é.png … \udcff 猫\n")
    for name in ("stdout", "stderr"):
        assert written(name).startswith("p ")
        assert "\\udcff" in written(name)
        for lacking, spelt in (("≤", "<="), ("→", "->"), ("…", "...")):
            text = spelt if not can_say(encoding, lacking) else lacking
            assert text in written(name)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_plan_and_errors(piped, encoding):
    written = piped(encoding)
    assert run(["plan", "--effect", "3", "--alpha", "1e-3"]) == 0
    sign = "≤" if can_say(encoding, "≤") else "<="
    assert f"reach p {sign} 0.001" in written("stdout")
    assert run(["audit", "猫/\udcff"]) == 1
    assert "the case folder" in written("stderr")
    assert run(["plan", "--mode", "猫"]) == 2


def test_reproduce(piped):
    written = piped("ascii")
    assert reproduce(["plan", "--experiments", "猫"]) == 1
    assert "\\u732b" in written("stderr")


def test_a_reader_that_goes_away_is_one_line(monkeypatch, capsys):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", Closed())
    assert run(["plan", "--effect", "3"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "anw: standard output was closed by its reader; all files were written nevertheless"
    ]


def test_streams_that_are_stand_ins_or_none(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", None)
    _console.make_streams_total()


def test_without_click_one_line_says_what_to_install(monkeypatch, capsys):
    for name in [n for n in sys.modules if n.split(".")[0] == "click"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "click", None)
    monkeypatch.delitem(sys.modules, "anw_jax.cli.main")
    with pytest.raises(SystemExit) as stopped:
        program.main()
    assert stopped.value.code == 1
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err == (
        "anw: the anw command needs the extra 'cli': pip install '.[cli]' in the checkout\n"
    )


@pytest.mark.parametrize("library", ["jax", "numpy", "scipy", "jax.numpy"])
def test_without_a_library_of_the_core_too(library, monkeypatch, capsys):
    """Modules that are loaded already hold their libraries: only the first import fails."""

    def fail(name, *arguments, **options):
        if name == "anw_jax.cli.main":
            raise ModuleNotFoundError(f"No module named {library!r}", name=library)
        return real(name, *arguments, **options)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(SystemExit) as stopped:
        program.main()
    assert stopped.value.code == 1
    package = library.partition(".")[0]
    assert capsys.readouterr().err == (
        f"anw: {package} is not installed: pip install -r requirements.txt in the checkout\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("libraries", ["jax", "numpy", "scipy", "click", "click jax", "jaxlib"])
def test_a_bare_machine_sees_one_line(libraries):
    code = (
        "import sys\n"
        "sys.argv[1:] = ['plan']\n"
        f"sys.modules |= dict.fromkeys({libraries.split()})\n"
        "from anw_jax.cli.__main__ import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "pip install" in done.stderr


def test_help_needs_neither_jax_nor_scipy():
    """They take seconds to import."""
    code = (
        "import sys\n"
        "sys.modules |= dict.fromkeys(['jax', 'scipy'])\n"
        "from anw_jax.cli.__main__ import main\nmain()"
    )
    words = [sys.executable, "-W", "error", "-c", code, "--help"]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "anw key new" in done.stdout


def test_the_module_and_the_console_script_are_one(monkeypatch, capsys):
    assert 'anw = "anw_jax.cli.__main__:main"' in (REPOSITORY / "pyproject.toml").read_text()
    monkeypatch.setattr(sys, "argv", ["anw", "--help"])
    monkeypatch.delitem(sys.modules, "anw_jax.cli.__main__")
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module("anw_jax.cli", run_name="__main__")
    assert stopped.value.code == 0
    assert "anw key new" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_programs_under_a_code_page(encoding, tmp_path):
    runs = {
        "anw": ["-m", "anw_jax.cli", "plan", "--effect", "3", "--alpha", "1e-3"],
        "reproduce": ["-m", "tools.reproduction", "plan"],
        "run": [
            "run.py",
            "--config=experiments/quickstart.py",
            "--config.train.num_epochs=3",
            "--config.data.num_train=300",
            f"--workdir={tmp_path}",
        ],
    }
    for name, words in runs.items():
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run(
            [sys.executable, *words], cwd=REPOSITORY, env=environment, capture_output=True
        )
        assert done.returncode == 0, (name, done.stderr[-500:])
        done.stdout.decode(encoding)
