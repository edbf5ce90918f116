"""Options shared by several commands, and the parsing of their values."""

import contextlib
import datetime
import pathlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import click

from anw_jax.audit.options import DEFAULT_MARK, Choices
from anw_jax.audit.suspect_file import MakerFn, digest_of_model
from anw_jax.keys import CLAIMS, MODES, SCHEMES, Denoising, Plan
from anw_jax.keys.beacons import drand_after, read_beacon, value_of
from anw_jax.keys.digests import is_digest
from anw_jax.keys.plan_fields import BOUNDS, FITS, KINDS
from anw_jax.marks.named import NAMES, STRENGTHS
from anw_jax.stats import DEFAULT_ALPHA, DEFAULT_STATISTIC, STATISTICS

path_type = click.Path(path_type=pathlib.Path)

log_option = click.option(
    "--log", required=True, type=path_type, help="Folder of the public log."
)
value_option = click.option(
    "--beacon-value", required=True, metavar="VALUE", help="Hexadecimal digits, or a file."
)
held_option = click.option(
    "--held",
    multiple=True,
    type=path_type,
    help="A record that somebody kept: LOG must have it; repeat.",
)
sign_option = click.option("--sign", required=True, type=path_type, help="Your signing key.")

# What a commitment fixes beside its rules: option, type, help.
_COMMITTED = (
    (
        "--scheme",
        click.Choice(SCHEMES),
        "What gets its own hue: each photo (default), each subfolder, or all photos together.",
    ),
    (
        "--slots",
        int,
        "Number of hue slots, including slot 0 (unmarked, never drawn); 12 by default.",
    ),
    (
        "--statistic",
        click.Choice(list(STATISTICS)),
        f"The one statistic of the test; {DEFAULT_STATISTIC} by default.",
    ),
    (
        "--alpha",
        float,
        f"The level: the largest p that counts as shown; {DEFAULT_ALPHA:g} by default.",
    ),
    (
        "--mode",
        click.Choice(MODES),
        "How hues are revealed: all at the end (sealed, default), or unit by unit.",
    ),
    (
        "--claim",
        click.Choice(CLAIMS),
        'What is claimed about several models; "one model" by default.',
    ),
    ("--place", str, "Where you publish your commitments, such as an address."),
    (
        "--labels",
        path_type,
        "CSV file with rows 'file,label', the only labels that audits will accept from you. A "
        "label is a class number, a word, or '-' if no class fits.",
    ),
    (
        "--labels-map",
        path_type,
        "CSV file with rows 'word,class number', for labels that are words; without it the "
        "arbitrator maps them.",
    ),
    (
        "--mark",
        click.Choice(list(NAMES)),
        "Type of mark: soft light and shade (light); rotation of all hues (hue); the same in a "
        "secret basis of your own (private_basis); a tone curve (tone); a tint (tint); or "
        f"rotation by a few degrees (hue_limited). {DEFAULT_MARK} by default.",
    ),
    (
        "--strength",
        float,
        "Strength of the mark; by default "
        f"{', '.join(f'{default:g} ({name})' for name, (default, _) in STRENGTHS.items())}. "
        "That of hue_limited is the largest rotation in degrees.",
    ),
    ("--private-basis", None, "The same as --mark private_basis."),
)
_VIEWS = "16 for labels, and for logits with --mark light; else 1"
# How a suspect is queried: option, type, help, default of a commitment.
_RULE = (
    (
        "--access",
        click.Choice(KINDS),
        "Which part of an answer is used",
        "the most detailed that a suspect offers",
    ),
    ("--augmentations", click.IntRange(min=1), "Queries for each photo and hue", _VIEWS),
    ("--decimals", click.IntRange(1, 12), "Number of decimals, for --access rounded", ""),
    ("--top", click.IntRange(min=1), "Number of labels, for --access top_k", ""),
    (
        "--save-queries",
        click.IntRange(min=0),
        "Query every STRIDE-th hue first, then the hues around the best; 0 queries all",
        "0",
    ),
    ("--best", click.IntRange(min=0), "Number of best hues for --save-queries", "1"),
    (
        "--fit",
        click.Choice(FITS),
        "How photos are resized to the model's input: squash, or crop the centre",
        "squash",
    ),
    (
        "--bound-level",
        float,
        "Level of the lower bound on the number of units used",
        "0.05",
    ),
    ("--bound-by", click.Choice(BOUNDS), "What the lower bound counts", "ranks"),
    ("--list-rate", float, "False discovery rate of the list of units", "0.05"),
    ("--no-labels", None, "Use the model's own answers on the originals as labels", ""),
    ("--own-labels", None, "Use labels that the arbitrator gives, not the owner", ""),
)
_MENUS = ("--access", "--augmentations", "--save-queries")


class _Several(click.ParamType):
    """Comma-separated values; more than one leave a choice to the arbitrator."""

    name = "list"

    def __init__(self, one: click.ParamType):
        self._one = one

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        found = tuple(self._one.convert(part, param, ctx) for part in parts)
        if len(set(found)) < len(found):
            self.fail(f"contains a value twice: {value}", param, ctx)
        return found


def _option(name: str, kind: Any, text: str) -> Callable[[Any], Any]:
    if kind is None:
        return click.option(name, is_flag=True, default=None, help=text)
    metavar = "STRIDE" if name == "--save-queries" else None
    return click.option(name, type=kind, help=text, metavar=metavar)


def rule_options(command: Any) -> Any:
    """Add the options for how a suspect is queried, with one value each."""
    for name, kind, text, _ in reversed(_RULE):
        command = _option(name, kind, f"{text}.")(command)
    return command


def committed_options(command: Any) -> Any:
    """Add every option that a commitment fixes; some take several values."""
    limit = "Largest share of your photos that a suspect may refuse; 0.1 by default."
    command = _option("--refusals", float, limit)(command)
    for name, kind, text, default in reversed(_RULE):
        text += f"; default: {default}" if default else ""
        if name in _MENUS:
            kind = _Several(kind)
            text += (
                ". Comma-separated values leave the choice to the arbitrator, and multiply p"
            )
            text += " by the number of choices"
        command = _option(name, kind, f"{text}.")(command)
    for name, kind, text in reversed(_COMMITTED):
        command = _option(name, kind, text)(command)
    return command


def mark_options(command: Any) -> Any:
    """Add the options of a commitment that choose the mark."""
    for name, kind, text in reversed(_COMMITTED):
        if name in ("--mark", "--strength"):
            command = _option(name, kind, text)(command)
    return command


def json_option(command: Any) -> Any:
    """Add --json."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
    )(command)


def pop_label_source(given: dict[str, Any]) -> str | None:
    """Take --no-labels and --own-labels from the options given; None for neither.

    Raises:
      click.UsageError: labels from two sources.
    """
    no_labels, own_labels = given.pop("no_labels"), given.pop("own_labels")
    if sum(map(bool, (no_labels, own_labels, given.get("labels")))) > 1:
        raise click.UsageError(
            "--labels, --own-labels and --no-labels are mutually exclusive: class numbers come "
            "from one source"
        )
    return "model" if no_labels else "arbitrator" if own_labels else None


def choices_of(
    given: dict[str, Any], beacon: str | None, makers: Mapping[str, MakerFn]
) -> Choices:
    """Return the owner's choices from the options given.

    Args:
      given: values by option.
      beacon: name of the beacon; None for the one committed to.
      makers: further kinds of reference models.

    Raises:
      click.UsageError: labels from two sources, or a reference that is neither a digest nor a
        file.
    """
    given = dict(given)
    references = tuple(_reference(text, makers) for text in given.pop("reference"))
    source = pop_label_source(given)
    del given["labels"], given["labels_map"]
    if given.pop("private_basis"):
        if given["mark"] not in (None, "private_basis"):
            raise click.UsageError(f"--private-basis and --mark {given['mark']} differ")
        given["mark"] = "private_basis"
    return Choices(**given, beacon=beacon, label_source=source, references=references or None)


def known_beacon(_context, _option, beacon: str | None) -> str | None:
    """Refuse a beacon of no known kind: every verdict would be conditional, seen too late.

    Plans that have one, made in Python or by earlier versions, stay readable.
    """
    if beacon is not None and not read_beacon(beacon).kind:
        raise click.UsageError(
            "--beacon must have the form drand:CHAIN HASH:ROUND, nist:CHAIN:PULSE or "
            f"arbitrator:WHO, got {beacon!r:.100}; leave it out to go on with an older "
            "commitment that names such a text"
        )
    return beacon


def _beacon_of_a_model(context, option, beacon: str | None) -> str:
    return known_beacon(context, option, beacon) or drand_after(
        datetime.datetime.now(datetime.UTC)
    )


beacon_option = click.option(
    "--beacon",
    callback=_beacon_of_a_model,
    help="A public value that appears later: drand:CHAIN:ROUND, nist:CHAIN:PULSE or "
    "arbitrator:WHO; by default a drand round two hours ahead.",
)


def _reference(text: str, makers: Mapping[str, MakerFn]) -> str:
    """Return a reference's digest: as given, or of the model that a file describes."""
    if is_digest(text):
        return text
    path = pathlib.Path(text)
    if path.suffix not in (".toml", ".json") or not path.is_file():
        raise click.UsageError(
            "--reference must be 64 lower-case hex digits, or a file that describes the model "
            f"as in references/<name>.toml, got {text!r:.80}"
        )
    return digest_of_model(path, makers, Denoising())


def by_owner(option: str, given: tuple[str, ...], owners: Iterable[str]) -> dict[str, str]:
    """Parse an option that is given once for each owner: NAME=VALUE, or VALUE for the only one.

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


def beacon_words(owners: Mapping[str, Any]) -> list[str]:
    """Return the options with which the values of the owners' beacons are given."""
    names = [name for name, owner in owners.items() if owner.published.plan.beacon]
    return _words_by_owner("--beacon", "FILE", names, len(owners))


def key_words(owners: Collection[str]) -> list[str]:
    """Return the options with which the owners' keys are given."""
    return _words_by_owner("--key", "KEY", owners, len(owners))


def _words_by_owner(
    option: str, value: str, names: Iterable[str], num_owners: int
) -> list[str]:
    values = [f"{name}={value}" if num_owners > 1 else value for name in names]
    return [word for one in values for word in (option, one)]


def parse_beacon_value(plan: Plan, text: str) -> bytes:
    """Read the value of a plan's beacon from digits, from JSON, or from a file of either.

    Raises:
      click.UsageError: a value where the plan names no beacon.
      ValueError: no digits, another round's JSON, or another length.
    """
    if not plan.beacon:
        raise click.UsageError(
            f"got a beacon value ({text!r:.40}), but the plan names no beacon"
        )
    path, is_file = pathlib.Path(text), False
    with contextlib.suppress(OSError, ValueError):
        if is_file := path.is_file():
            text = path.read_text(encoding="utf-8")
    is_name = path.suffix and not text.lstrip().startswith("{")  # no digits, no JSON
    if is_name and not is_file:
        raise ValueError(
            f"the file {text[:1000]!r} with the beacon's value is not there: save the beacon's "
            "value in it first"
        )
    if plan.version == 1:
        return bytes.fromhex(text)
    return value_of(plan.beacon, text)
