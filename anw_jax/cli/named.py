"""Options that are given once for each owner: NAME=VALUE, or VALUE where there is one."""

from collections.abc import Iterable

import click


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


def hex_bytes(option: str, text: str) -> bytes:
    """Bytes from hexadecimal digits.

    Raises:
      click.UsageError: other characters, or none.
    """
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if not value:
        raise click.UsageError(f"{option} must be hexadecimal digits, got {text!r:.60}")
    return value
