"""What a terminal gets beside the lines: progress, colours, tables; nothing of it in a pipe."""

import io
import sys

import pytest

import anw_jax
from anw_jax.cli import output
from anw_jax.cli.format import verdict_lines
from anw_jax.cli.main import run
from tests.audit.conftest import hand_over, write_suspect


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def on_terminal(monkeypatch):
    """Standard output and error become terminals with colours; pytest resets them per phase."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    return out, err


GREEN, YELLOW, RED = "\x1b[32m\x1b[1m", "\x1b[33m\x1b[1m", "\x1b[31m\x1b[1m"


@pytest.mark.parametrize(
    ("line", "colour", "words"),
    [
        ("  Shown at level 0.05: evidence under the committed plan.", GREEN, "evidence"),
        ("  Shown at level 0.05, if", YELLOW, "if"),
        ("  Shown at level 0.05: experiment key, not evidence.", YELLOW, "not evidence"),
        ("  Not shown at level 1e-06.", YELLOW, "1e-06"),
        ("net: NOT queried correctly, 5 queries", RED, "correctly"),
        ("  error: the range is wrong: give bytes", RED, "error:"),
        ("warning: a key was used before", YELLOW, "warning:"),
        ("ann against net: shown (p 0.01, level 0.05)", "", ""),
    ],
)
def test_colours_on_a_terminal_only(monkeypatch, line, colour, words):
    on_terminal(monkeypatch)
    seen = output.coloured(line)
    assert colour in seen
    assert (seen == line) == (not colour)
    if colour:
        assert words in seen.partition(colour)[2].partition("\x1b[0m")[0]
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as here:
            here.setenv(name, value)
            assert output.coloured(line) == line
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert output.coloured(line) == line


def test_an_error_has_a_red_prefix_on_a_terminal(monkeypatch):
    terminal = on_terminal(monkeypatch)
    assert run(["probe", "nowhere"]) == 1
    assert terminal[1].getvalue().startswith(f"{RED}anw:\x1b[0m the case folder nowhere")
    monkeypatch.setenv("NO_COLOR", "1")
    terminal[1].truncate(0), terminal[1].seek(0)
    run(["probe", "nowhere"])
    assert terminal[1].getvalue() == "anw: the case folder nowhere is not there\n"


def test_escape_codes_of_others_stay_escaped(monkeypatch):
    terminal = on_terminal(monkeypatch)
    output.show(False, {}, ["Not shown at level 0.05. \x1b[2J"])
    assert "\x1b[2J" not in terminal[0].getvalue()
    assert "\\x1b[2J" in terminal[0].getvalue()


def test_the_version(anw):
    ran = anw("--version")
    assert (ran.code, ran.out, ran.err) == (0, f"anw {anw_jax.__version__}\n", "")


def test_progress_shows_the_time_left_and_an_unknown_total(monkeypatch):
    _, err = on_terminal(monkeypatch)
    with output.ProgressLines() as lines:
        reading = lines.of("photos")("reading ann")
        reading(1, 3), reading(3, 3)
        lines.of("queries")("net")(48, 0)
        lines.of("rows")("rows of net")(1, 2)
    shown = [part.strip() for part in err.getvalue().replace("\r", "\n").splitlines()]
    assert [part for part in shown if part] == [
        "reading ann: 1 of 3 photos",
        "reading ann: 3 of 3 photos",
        "net: 48 queries",
        "rows of net: 1 of 2 rows",
    ]
    assert err.getvalue().endswith("\n")


def test_no_progress_where_standard_error_is_piped(monkeypatch):
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    with output.ProgressLines() as lines:
        lines.of("photos")("reading ann")(1, 3)
    assert err.getvalue() == ""


def test_every_step_of_a_case_reports_progress(tmp_path, monkeypatch):
    case_dir = tmp_path / "case"
    case_dir.mkdir()
    hand_over(tmp_path, case_dir)
    write_suspect(case_dir, tmp_path / "ann_marked" / "published")
    terminal, said = on_terminal(monkeypatch), {}
    for words in (
        ("probe", case_dir),
        ("declare", case_dir),
        ("audit", case_dir),
        ("verdict", case_dir, "--key", tmp_path / "ann.key"),
        ("replay", case_dir, "--key", tmp_path / "ann.key", "--ask", "0.2"),
        ("bundle", case_dir, "--key", tmp_path / "ann.key", "--out", tmp_path / "case.zip"),
    ):
        terminal[1].truncate(0), terminal[1].seek(0)
        assert run([str(word) for word in words]) in (0, 9), terminal[1].getvalue()
        said[words[0]] = terminal[1].getvalue()
    assert all("reading ann: 12 of 12 photos" in text for text in said.values())
    assert "net: " in said["probe"]
    assert " queries" in said["probe"]
    assert "net: 132 of 132 queries" in said["audit"]
    for word in ("replay", "bundle"):  # which replays before it writes
        assert "rows of net: 132 of 132 rows" in said[word]
    assert "querying net again: 3 of 3 rows" in said["replay"]


def test_a_table_comes_first_where_a_terminal_reads_several_tests():
    test = {"outcome": "not shown", "p_text": "0.2", "alpha": 0.01, "num_units": 12}
    test |= {"reason": "", "statistic": "losses", "text": "T.", "how_many": None, "which": None}
    end = {"claim": "each model", "outcome": "not shown", "reason": "", "named": []}
    end |= {"correction": "Bonferroni", "level": 0.01, "num_tests": 2}
    case = {"owners": {}, "suspects": {}, "despite_probe": False}
    case |= {"declared_sha256": "a", "blind_sha256": "b"}
    body = {"mode": "sealed", "tests": {"ann": {"one": test, "two": test}}, "corrected": end}
    body |= {"case": case, "blind_compared": True}
    lines = verdict_lines(body, as_table=True)
    assert [line.split() for line in lines[:4]] == [
        ["owner", "suspect", "outcome", "p", "level", "units"],
        ["ann", "one", "not", "shown", "0.2", "0.01", "12"],
        ["ann", "two", "not", "shown", "0.2", "0.01", "12"],
        [],
    ]
    assert lines[4:] == verdict_lines(body)
