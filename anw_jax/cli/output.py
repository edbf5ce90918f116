"""What the command prints, and its exit codes."""

import contextlib
import os
import re
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

import click

from anw_jax import _json
from anw_jax.errors import (
    AnwError,
    BudgetError,
    ChangedFileError,
    CommitmentError,
    RecordError,
)
from anw_jax.keys.stamps import Stamp
from anw_jax.progress import Estimator, ReportFn, format_seconds

_SECONDS_BETWEEN = 0.2

# What is coloured on a terminal, by its colour.
_COLOURS = {
    "green": r"Shown at level \S+: evidence under the committed plan|: queried correctly",
    "yellow": r"Shown at level \S+, if$|Shown at level \S+: .*not evidence.*"
    r"|(Not shown|Inconclusive) at level [^ ]+(?=\.)|^ *warning:",
    "red": r": NOT queried correctly|^ *error:",
}

DONE, FAILED, USAGE, NOT_SHOWN, INCONCLUSIVE, WAITING, BUDGET, UNFIT, BROKEN = range(9)
NO_EVIDENCE, CONDITIONAL, PASSED_OVER, INTERRUPTED = 9, 10, 11, 130

MEANINGS = {
    DONE: "success; verdict: shown at the declared level, and evidence (no open condition)",
    FAILED: "an error in a file, a value or a suspect; the message says which",
    USAGE: "an error in the command line",
    NOT_SHOWN: "verdict: not shown (this does not establish that the photos were not used)",
    INCONCLUSIVE: "verdict: inconclusive; no result could have reached the level (for example, "
    "too few units), or a suspect refused more images than allowed",
    WAITING: "audit: waiting for owners to open units; rerun the command afterwards",
    BUDGET: "audit: the query budget is used up; the answers are kept",
    UNFIT: "probe: errors found in how a suspect is queried",
    BROKEN: "a commitment, a hash or a record does not match: a file was changed",
    NO_EVIDENCE: "verdict: shown, but not evidence (reason in the verdict)",
    CONDITIONAL: "verdict: shown, if the conditions that it lists hold",
    PASSED_OVER: "preview, commit, mark: success, but some pictures cannot be marked",
    INTERRUPTED: "interrupted; run the same command again to continue",
}

OF_OUTCOME = {"shown": DONE, "not shown": NOT_SHOWN, "inconclusive": INCONCLUSIVE}


def code_of_verdict(body: dict[str, Any]) -> int:
    """Return the exit code of a verdict: 0 only if all that is shown is also evidence."""
    owners = {owner for owner, *_ in body["corrected"]["named"]}
    standings = [test["standing"] for o in owners for test in body["tests"][o].values()]
    return code_of_outcome(body["corrected"]["outcome"], standings)


def code_of_outcome(outcome: str, standings: Sequence[str]) -> int:
    """Return the exit code of an outcome and the standings of the tests that it rests on."""
    from anw_jax.verify.verdict import is_conditional, is_evidence  # with jax and scipy

    code = OF_OUTCOME[outcome]
    if code != DONE or all(map(is_evidence, standings)):
        return code
    known = all(is_evidence(one) or is_conditional(one) for one in standings)
    return CONDITIONAL if known else NO_EVIDENCE


def exit_code_table() -> str:
    """Format the exit codes, one per line.

    Example:
      >>> exit_code_table().splitlines()[0]
      '  0  success; verdict: shown at the declared level, and evidence (no open condition)'
    """
    return "\n".join(f"{code:>3}  {text}" for code, text in MEANINGS.items())


def printable(text: str) -> str:
    r"""Escape terminal control characters, since a text may come from either side.

    Example:
      >>> printable("photo\x1b[2J.png ✓")
      'photo\\x1b[2J.png ✓'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def code_of_error(error: BaseException) -> int:
    """Return the exit code of an error."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        return USAGE
    if isinstance(error, BudgetError):
        return BUDGET
    if isinstance(error, (ChangedFileError, CommitmentError, RecordError)):
        return BROKEN
    return FAILED


def line_of_error(error: BaseException) -> str:
    """Format an error as one line."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "stopped; finished work is kept, run the same command again to continue"
    if isinstance(error, click.ClickException):
        text = printable(" ".join(error.format_message().split()))
        context = getattr(error, "ctx", None)
        is_wrong_word = isinstance(error, (click.BadParameter, click.NoSuchOption))
        if context and (is_wrong_word or text.startswith("No such command")):
            text += f" (see: {context.command_path} --help)"
        return text
    text = printable(" ".join(str(error).split()))
    if isinstance(error, (AnwError, OSError, ValueError, TypeError)) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def has_colours(stream: TextIO) -> bool:
    """Return whether a stream is a terminal, and NO_COLOR is not set."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not is_plain


def coloured(line: str) -> str:
    """Colour the words of a line that tell its outcome; on a terminal only."""
    if not has_colours(sys.stdout):
        return line
    for colour, pattern in _COLOURS.items():
        found = re.search(pattern, line)
        if found:
            start, end = found.span()
            shown = click.style(line[start:end], fg=colour, bold=True)
            return f"{line[:start]}{shown}{line[end:]}"
    return line


def show(as_json: bool, body: dict[str, Any], lines: Iterable[str]) -> None:
    """Print the result of a command: its lines, or the whole body as JSON.

    Raises:
      OSError: it cannot be written.
    """
    texts = [_json.dumps(body)] if as_json else map(coloured, map(printable, lines))
    try:
        # Named, since click would write UTF-8 where standard output is ASCII.
        for text in texts:
            click.echo(text, file=sys.stdout)
    except BrokenPipeError:  # click would end with a code and no message
        raise OSError(
            "standard output was closed by its reader; all files were written nevertheless"
        ) from None


def stamps_lines(stamps: Mapping[str, Iterable[Stamp]]) -> list[str]:
    """Format the verified time stamps of commitments, by owner."""
    return [f"owner {name}: {stamp}" for name, found in stamps.items() for stamp in found]


def then(*words: object) -> str:
    """Say which command comes next; what the user fills in is in capitals.

    Example:
      >>> then("anw", "audit", "my case")
      "then: anw audit 'my case'"
    """
    return f"then: {shlex.join(map(str, words))}"


def say(prefix: str, text: str, colour: str) -> None:
    """Print a line on standard error; its prefix is coloured on a terminal."""
    if has_colours(sys.stderr):
        prefix = click.style(prefix, fg=colour, bold=True)
    # Named, since click would write UTF-8 where standard error is ASCII.
    click.echo(f"{prefix} {text}", file=sys.stderr)


class ProgressLine:
    """A line with the time left on a terminal; silent where standard error is piped.

    Where the total is not known (0) the line counts what is done.

    Args:
      what: the text before the numbers.
      unit: what is counted.
    """

    def __init__(self, what: str, unit: str):
        self._what, self._unit = what, unit
        self._estimator, self._last = Estimator(), 0.0
        self._is_shown, self._is_open = sys.stderr.isatty(), False

    def __call__(self, done: int, total: int) -> None:
        """Show the progress, a few times per second."""
        left = self._estimator.update(done, total) if total else None
        is_last = 0 < total <= done
        now = time.monotonic()
        if not self._is_shown or (now - self._last < _SECONDS_BETWEEN and not is_last):
            return
        self._last = now
        eta = "" if left is None or is_last else f", {format_seconds(left)} left"
        of_total = f" of {total:,}" if total else ""
        text = f"{self._what}: {done:,}{of_total} {self._unit}{eta}"
        # Padded, so that a shorter line overwrites a longer one.
        click.echo(f"\r{text:<78}", nl=is_last, err=True)
        self._is_open = not is_last

    def close(self) -> None:
        """End a line whose total was not known or not reached."""
        if self._is_open:
            click.echo(err=True)
        self._is_open = False


class ProgressLines(contextlib.AbstractContextManager):
    """Progress lines of the parts of a command, one after the other."""

    def __init__(self):
        self._line: ProgressLine | None = None

    def of(self, unit: str) -> ReportFn:
        """Return a function that begins the line of a part; `unit` is what is counted."""

        def begin(what: str) -> ProgressLine:
            self.__exit__()
            self._line = ProgressLine(what, unit)
            return self._line

        return begin

    def __exit__(self, *_) -> None:
        if self._line is not None:
            self._line.close()
