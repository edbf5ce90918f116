"""The exit codes of the command, and errors as one line."""

from typing import Any

import click

from anw_jax.errors import (
    AnwError,
    BudgetError,
    ChangedFileError,
    CommitmentError,
    RecordError,
)
from anw_jax.verify.verdict import is_conditional, is_evidence

DONE, FAILED, USAGE, NOT_SHOWN, INCONCLUSIVE, WAITING, BUDGET, UNFIT, BROKEN = range(9)
NO_EVIDENCE, CONDITIONAL, PASSED_OVER, INTERRUPTED = 9, 10, 11, 130

MEANINGS = {
    DONE: "done; verdict: shown at the declared level, and evidence",
    FAILED: "an error in a file, a value or a suspect; the message says which",
    USAGE: "an error in the command line",
    NOT_SHOWN: "verdict: not shown (never 'innocent')",
    INCONCLUSIVE: "verdict: inconclusive; no result could have reached the level, or a suspect "
    "refused more images than allowed",
    WAITING: "audit: owners have to open units; then run the same command again",
    BUDGET: "audit: the query budget is spent; the answers are kept",
    UNFIT: "probe: a suspect is not queried correctly",
    BROKEN: "a commitment, a hash or a record does not match: a file was changed",
    NO_EVIDENCE: "verdict: shown, but not evidence; the verdict says why",
    CONDITIONAL: "verdict: shown, if the conditions that it lists hold",
    PASSED_OVER: "commit, mark: done, but pictures that cannot be marked were skipped",
    INTERRUPTED: "interrupted; run the same command again to continue",
}

OF_OUTCOME = {"shown": DONE, "not shown": NOT_SHOWN, "inconclusive": INCONCLUSIVE}


def of_verdict(body: dict[str, Any]) -> int:
    """The exit code of a verdict: 0 only if all that is shown is also evidence."""
    code = OF_OUTCOME[body["corrected"]["outcome"]]
    owners = {owner for owner, *_ in body["corrected"]["named"]}
    standings = [test["standing"] for o in owners for test in body["tests"][o].values()]
    if code != DONE or all(map(is_evidence, standings)):
        return code
    known = all(is_evidence(one) or is_conditional(one) for one in standings)
    return CONDITIONAL if known else NO_EVIDENCE


def table() -> str:
    """Format the exit codes, one per line.

    Example:
      >>> table().splitlines()[0]
      '  0  done; verdict: shown at the declared level, and evidence'
    """
    return "\n".join(f"{code:>3}  {text}" for code, text in MEANINGS.items())


def printable(text: str) -> str:
    r"""Escape the characters that control a terminal; a text may come from either side.

    Example:
      >>> printable("photo\x1b[2J.png ✓")
      'photo\\x1b[2J.png ✓'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def of_error(error: BaseException) -> int:
    """The exit code of an error."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        return USAGE
    if isinstance(error, BudgetError):
        return BUDGET
    if isinstance(error, (ChangedFileError, CommitmentError, RecordError)):
        return BROKEN
    return FAILED


def line_of(error: BaseException) -> str:
    """Format an error as one line."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "stopped; finished work is kept, run the same command again to continue"
    if isinstance(error, click.ClickException):
        return printable(" ".join(error.format_message().split()))
    text = printable(" ".join(str(error).split()))
    if isinstance(error, (AnwError, OSError, ValueError, TypeError)) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
