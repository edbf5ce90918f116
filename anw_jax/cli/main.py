"""The command group; turns every error into one line and an exit code."""

import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn

from anw_jax import __version__, _console, _json
from anw_jax.errors import MissingLibraryError, missing_library

try:
    import click
except ImportError:
    raise MissingLibraryError(
        "the anw command needs the extra 'cli': pip install '.[cli]' in the checkout"
    ) from None

from anw_jax.cli import output

# Of each command: its module, its function there, and the first line of its help, so that
# `anw --help` imports none of them.
_COMMANDS = {
    "audit": (
        "arbitrator",
        "run_audit",
        "Query the suspects and seal the result; if interrupted, run the same command again.",
    ),
    "bundle": (
        "evidence",
        "bundle",
        "Write everything a verdict was made from, except photos and models, as one zip.",
    ),
    "case": ("case", "case", "The folder of an audit."),
    "commit": (
        "owner",
        "commit",
        "Create a commitment to all photos in FOLDER, recursively; marks none "
        "(see `anw mark`).",
    ),
    "declare": (
        "arbitrator",
        "declare",
        "Fix how the suspects are queried, in CASE/declared.json, before the first query.",
    ),
    "key": ("owner", "key", "The owner's secret key, and keys to sign with."),
    "mark": (
        "owner",
        "mark",
        "Mark every photo in FOLDER, into OUT/published; originals are only read.",
    ),
    "model": (
        "model",
        "model",
        "Put a secret mark into a model, and decide with others whose model it is.",
    ),
    "open": (
        "owner",
        "open_request",
        "Open one leaf for an arbitrator's REQUEST, if the bet on it is already recorded.",
    ),
    "plan": (
        "arbitrator",
        "plan",
        "Estimate how many photos and queries an audit needs; with CASE, show its state.",
    ),
    "preview": (
        "preview",
        "preview",
        "Show every photo in FOLDER with a mark, and how visible it is; needs no key.",
    ),
    "probe": (
        "arbitrator",
        "probe",
        "Check for common mistakes in how a suspect is queried, before any "
        "evidence is gathered.",
    ),
    "replay": (
        "evidence",
        "replay",
        "Recompute rows from answers and the verdict from rows, and compare; write nothing.",
    ),
    "report": (
        "case",
        "report",
        "Write the page of a finished case: outcome, conditions, figures, digests.",
    ),
    "sign": (
        "signing",
        "sign",
        "Sign each of FILES with Ed25519, and write the signature beside it as FILE.sig.",
    ),
    "stamp": (
        "signing",
        "stamp",
        "Verify PATH/commitment.tsr (RFC 3161) and PATH/commitment.json.ots (OpenTimestamps).",
    ),
    "ui": (
        "ui.command",
        "ui",
        "Choose photos, see them with a mark, commit, mark and read a verdict, in a browser.",
    ),
    "verdict": (
        "arbitrator",
        "verdict",
        "Open the keys, make each declared test once, and compute the result.",
    ),
    "verify-signature": (
        "signing",
        "verify_signature",
        "Verify FILE.sig beside each of FILES; exit code 8 if one is not valid.",
    ),
}

_HELP = f"""Mark photos with secret hues, and test whether a model was trained on them.

\b
The owner:       anw key new, anw preview, anw commit, anw stamp, anw mark, anw open
                 (or all of these in a browser: anw ui)
The arbitrator:  anw case new, anw plan, anw probe, anw declare, anw audit, anw verdict
Both:            anw key signing, anw sign
Anyone:          anw report, anw bundle, anw replay, anw verify-signature
Marks in models: see anw model --help

\b
Examples:
  anw key new ann.key
  anw preview photos --out look
  anw commit photos --key ann.key --out marked
  anw mark photos --key ann.key --out marked --beacon-value round.json
  anw probe case && anw declare case && anw audit case
  anw verdict case --key ann.key

\b
Exit codes:
{output.exit_code_table()}
"""


class _Commands(click.Group):
    """Imports the one command that is run; the help page needs none of them."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, function, _ = _COMMANDS[cmd_name]
        try:
            return getattr(importlib.import_module(f"anw_jax.cli.{module}"), function)
        except ImportError as error:
            raise missing_library(error) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (*_, line) in _COMMANDS.items()])


@click.group(
    cls=_Commands,
    commands=dict.fromkeys(_COMMANDS),  # the names, for "did you mean"
    help=_HELP,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="anw %(version)s")
def anw() -> None:
    """See `_HELP`."""


def run(arguments: list[str]) -> int:
    """Run a command; an error is one line on standard error.

    Args:
      arguments: without the program's name.

    Returns:
      The exit code; `output.MEANINGS` says what it means.
    """
    _console.make_streams_total()
    shown, warnings.showwarning = warnings.showwarning, _show_once()
    try:
        code = anw.main(arguments, prog_name="anw", standalone_mode=False)
        return code or output.DONE
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), file=sys.stderr)
        return output.USAGE
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        # An audit is not done if a suspect's code exits with 0.
        line, code = output.line_of_error(error), output.code_of_error(error)
        output.say("anw:", line, "red")
        if "--json" in arguments:
            click.echo(_json.dumps({"error": line, "exit_code": code}), file=sys.stdout)
        return code
    finally:
        warnings.showwarning = shown


def _show_once() -> Callable[..., None]:
    """Return a function that shows each text of a warning once."""
    shown = set()

    def show(message, category, filename, lineno, file=None, line=None) -> None:
        text = output.printable(" ".join(str(message).split()))
        if text not in shown:
            shown.add(text)
            output.say("anw: warning:", text, "yellow")

    return show


def main() -> NoReturn:
    """Run the console script."""
    code = run(sys.argv[1:])
    # What a suspect's code prints while the process ends must not follow the result.
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        os.dup2(2, 1)
        sys.stdout = sys.stderr
    sys.exit(code)
