"""What a person, or a program, sees of a command."""

import sys
import time
from collections.abc import Iterable
from typing import Any

import click

from anw_jax import _json
from anw_jax.cli.exit_codes import printable
from anw_jax.progress import Estimator, format_seconds

_SECONDS_BETWEEN = 0.2


def json_option(command: Any) -> Any:
    """Adds --json."""
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON object on standard output."
    )(command)


def show(as_json: bool, body: dict[str, Any], lines: Iterable[str]) -> None:
    """The result of a command: its lines, or all of it as JSON.

    Raises:
      OSError: it cannot be written.
    """
    texts = [_json.dumps(body)] if as_json else map(printable, lines)
    try:
        # Named, since click would write UTF-8 where standard output is ASCII.
        for text in texts:
            click.echo(text, file=sys.stdout)
    except BrokenPipeError:  # click would end with nothing but a code
        raise OSError(
            "nobody reads standard output any more; the files are written all the same"
        ) from None


class ProgressLine:
    """A line with the time left on a terminal; silent where standard error is piped.

    Args:
      what: stands before the numbers.
      unit: what is counted.
    """

    def __init__(self, what: str, unit: str):
        self._what, self._unit = what, unit
        self._estimator, self._last = Estimator(), 0.0
        self._is_shown = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Shows how far it is, a few times in a second."""
        left = self._estimator.update(done, total)
        is_last = done >= total
        now = time.monotonic()
        if not self._is_shown or (now - self._last < _SECONDS_BETWEEN and not is_last):
            return
        self._last = now
        eta = "" if left is None or is_last else f", {format_seconds(left)} left"
        text = f"{self._what}: {done:,} of {total:,} {self._unit}{eta}"
        # Padded, so that a shorter line leaves nothing of a longer one.
        click.echo(f"\r{text:<78}", nl=is_last, err=True)
