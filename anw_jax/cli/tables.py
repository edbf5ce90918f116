"""Format results as tables of text."""

import math
from collections.abc import Iterator
from typing import Any

from anw_jax.audit import refusals
from anw_jax.audit.corrections import uses_e_values
from anw_jax.stats import format_p_value


def wealth_text(log_wealth: float | None) -> str:
    """Format a wealth of any size, rounded down so that it is never overstated.

    Example:
      >>> wealth_text(7.0), wealth_text(2000.0), wealth_text(None)
      ('1e+03', '10^868.5', '0')
    """
    if log_wealth is None:
        return "0"
    log10 = log_wealth / math.log(10)
    if abs(log10) > 300:
        return f"10^{math.floor(log10 * 10) / 10:.1f}"
    step = 10.0 ** (math.floor(log10) - 1)
    return f"{math.floor(math.exp(log_wealth) / step) * step:.2g}"


def columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Align rows of text in columns.

    Example:
      >>> columns([("a", "long"), ("word", "b")])
      ['a     long', 'word  b']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def pairs_of(tests: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield owner, suspect and test of each test."""
    for owner, by_name in tests.items():
        for name, test in by_name.items():
            yield owner, name, test


def verdict_table(body: dict[str, Any]) -> list[str]:
    """Format one row for each test of a sealed case, to be read before the texts."""
    rows = [("owner", "suspect", "outcome", "p", "level", "units")]
    for owner, name, test in pairs_of(body["tests"]):
        level = f"{test['alpha']:g}"
        units = f"{test['num_units']}"
        rows.append((owner, name, test["outcome"], test["p_text"], level, units))
    return [*columns(rows), ""]


def record_lines(body: dict[str, Any]) -> list[str]:
    """Format one table of all records, and then the text of each."""
    by_e = uses_e_values(body["corrected"]["claim"])
    rows = [("owner", "suspect", "units", "wealth", "e-value" if by_e else "p", "outcome", "")]
    shown, refused, rests_on = [], [], []
    for owner, name, test in pairs_of(body["tests"]):
        rows.append(
            (
                owner,
                name,
                f"{test['num_opened']} of {test['num_units']}",
                wealth_text(test["log_wealth"]),
                wealth_text(test["log_e_value"]) if by_e else test["p_text"],
                test["outcome"] + (f": {test['reason']}" if test["reason"] else ""),
                test["because"],
            )
        )
        if test["outcome"] != "shown":  # the text of a test that is shown has them
            rests_on += test["stated"]
        refused += refusal_lines(f"{owner} against {name}", test)
        if test["outcome"] == "shown":
            shown += f"{owner} against {name}: {test['text']}".splitlines()
    means = [
        f"{owner}: p of the mean {format_p_value(p)}"
        for owner, p in body["corrected"].get("p_values", {}).items()
    ]
    return [*columns(rows), *shown, *refused, *means, *dict.fromkeys(rests_on)]


def refusal_lines(whose: str, body: dict[str, Any]) -> list[str]:
    """Format which images a suspect gave no usable answers to, if there are any."""
    text = refusals.line(body.get("unusable"))
    return [f"{whose}: {text}"] if text else []
