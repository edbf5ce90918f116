"""Tables in Markdown."""

import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""A table; a vertical bar in a cell is escaped, so that it ends no cell.

    Example:
      >>> print(table(("a", "b"), [("1", "x|y")]), end="")
      | a | b |
      |---|---|
      | 1 | x\|y |
    """
    lines = [_line(head), "|" + "---|" * len(head), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(re.sub(r"\|", r"\\|", " ".join(c.split())) for c in cells) + " |"
