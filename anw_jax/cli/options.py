"""Options shared by several commands, and the parsing of their values."""

import contextlib
import pathlib
from collections.abc import Iterable
from typing import Any

import click

from anw_jax.audit.options import MARKS, Choices
from anw_jax.keys import CLAIMS, MODES, SCHEMES, Plan
from anw_jax.keys.beacons import value_of
from anw_jax.keys.plan_fields import BOUNDS, FITS, KINDS
from anw_jax.stats import DEFAULT_ALPHA, DEFAULT_STATISTIC, STATISTICS


class _Several(click.ParamType):
    """Values with commas between them: more than one is a menu."""

    name = "list"

    def __init__(self, one: click.ParamType):
        self._one = one

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        found = tuple(self._one.convert(part, param, ctx) for part in parts)
        if len(set(found)) < len(found):
            self.fail(f"names one value twice: {value}", param, ctx)
        return found


_OPTIONS = (
    click.option(
        "--scheme",
        type=click.Choice(SCHEMES),
        help="What gets a hue of its own: a photo (default), a subfolder, or all your photos.",
    ),
    click.option("--slots", type=int, help="Number of hues on the circle; 12 by default."),
    click.option(
        "--statistic",
        type=click.Choice(list(STATISTICS)),
        help=f"The one statistic of the test; {DEFAULT_STATISTIC} by default.",
    ),
    click.option(
        "--alpha",
        type=float,
        help=f"The level: the largest p that counts as shown; {DEFAULT_ALPHA:g} by default.",
    ),
    click.option(
        "--mode",
        type=click.Choice(MODES),
        help="How hues are revealed: all at the end (sealed, default), or unit by unit.",
    ),
    click.option(
        "--claim",
        type=click.Choice(CLAIMS),
        help='What is claimed if several models are asked; "one model" by default.',
    ),
    click.option("--place", help="Where you publish your commitments, such as an address."),
    click.option(
        "--labels",
        type=click.Path(path_type=pathlib.Path),
        help="Rows 'file,label'; audits accept no other labels from you. A label is a class "
        "number, a word, or '-' where no class fits.",
    ),
    click.option(
        "--labels-map",
        type=click.Path(path_type=pathlib.Path),
        help="Rows 'word,class number' for labels in words; else the arbitrator maps them.",
    ),
    click.option(
        "--mark",
        type=click.Choice(MARKS),
        help="What is done to your photos: turn the hue (default), add soft light and shade, "
        "or turn the colours in a secret basis of your own.",
    ),
    click.option("--strength", type=float, help="Of --mark light, up to 1; 0.25 by default."),
    click.option(
        "--private-basis",
        is_flag=True,
        default=None,
        help="The same as --mark private_basis.",
    ),
    click.option(
        "--access",
        type=_Several(click.Choice(KINDS)),
        help="Kinds of access, separated by commas; by default the highest a suspect offers.",
    ),
    click.option(
        "--augmentations",
        type=_Several(click.INT),
        help="Queries for each photo and hue; by default 16 for labels, otherwise 1.",
    ),
    click.option("--decimals", type=int, help="For --access rounded."),
    click.option("--top", type=int, help="For top_k: how many labels are used."),
    click.option(
        "--save-queries",
        type=_Several(click.INT),
        metavar="STRIDE",
        help="Ask about every STRIDE-th hue first, then around the best; 0, the default, asks "
        "about all.",
    ),
    click.option(
        "--best", type=int, help="With --save-queries: the number of best hues; 1 by default."
    ),
    click.option(
        "--fit",
        type=click.Choice(FITS),
        help="How photos are brought to the model's input size: squash (default), or crop the "
        "centre.",
    ),
    click.option(
        "--refusals",
        type=float,
        help="Largest share of your photos that a suspect may refuse; 0.1 by default.",
    ),
    click.option(
        "--bound-level",
        type=float,
        help="Level of the lower bound on the number of units used; 0.05 by default.",
    ),
    click.option(
        "--bound-by",
        type=click.Choice(BOUNDS),
        help="What the lower bound counts; ranks by default.",
    ),
    click.option(
        "--list-rate",
        type=float,
        help="Expected share of wrong entries in the list of units; 0.05 by default.",
    ),
    click.option(
        "--no-labels", is_flag=True, help="Labels are the model's own answers on originals."
    ),
    click.option(
        "--own-labels", is_flag=True, help="Labels come from the arbitrator, not from you."
    ),
)


def committed_options(command: Any) -> Any:
    """Adds every option that a commitment fixes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def choices_of(given: dict[str, Any], beacon: str | None) -> Choices:
    """What was given on the command line.

    Raises:
      click.UsageError: labels from two sources.
    """
    given = dict(given)
    no_labels, own_labels = given.pop("no_labels"), given.pop("own_labels")
    labels, _ = given.pop("labels"), given.pop("labels_map")
    if sum([no_labels, own_labels, labels is not None]) > 1:
        raise click.UsageError(
            "--labels, --own-labels and --no-labels exclude one another: class numbers come "
            "from one source"
        )
    if given.pop("private_basis"):
        if given["mark"] not in (None, "private_basis"):
            raise click.UsageError(f"--private-basis and --mark {given['mark']} differ")
        given["mark"] = "private_basis"
    source = "model" if no_labels else "arbitrator" if own_labels else None
    return Choices(**given, beacon=beacon, label_source=source)


def by_owner(option: str, given: tuple[str, ...], owners: Iterable[str]) -> dict[str, str]:
    """Values by owner.

    Raises:
      click.UsageError: a bare value where there are several owners, or two for one.

    Example:
      >>> by_owner("--key", ("ann.key",), ["ann"])
      {'ann': 'ann.key'}
    """
    owners = list(owners)
    values: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or (name not in owners and len(owners) == 1):
            if len(owners) != 1:
                raise click.UsageError(
                    f"{option} must be NAME=VALUE where a case has several owners "
                    f"({', '.join(owners)}), got {text!r}"
                )
            name, value = owners[0], text
        if name in values:
            raise click.UsageError(f"{option} is given twice for {name!r}")
        values[name] = value
    return values


def parse_beacon_value(plan: Plan, text: str) -> bytes:
    """The value of a plan's beacon, given as digits, as JSON, or as a file that holds either.

    Raises:
      click.UsageError: a value where the plan names no beacon.
      ValueError: no digits, another round's JSON, or another length.
    """
    if not plan.beacon:
        raise click.UsageError(f"a beacon's value is given ({text!r:.40}), and none was named")
    path = pathlib.Path(text)
    with contextlib.suppress(OSError, ValueError):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
    if plan.version == 1:
        return bytes.fromhex(text)
    return value_of(plan.beacon, text)
