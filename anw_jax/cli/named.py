"""Options that are given once for each owner: NAME=VALUE, or VALUE where there is one."""

import contextlib
import pathlib
from collections.abc import Iterable

import click

from anw_jax.keys import Plan
from anw_jax.keys.beacons import value_of


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


def beacon_value(plan: Plan, text: str) -> bytes:
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
