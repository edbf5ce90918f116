"""Files are written whole: to a neighbour, then renamed."""

import csv
import io
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def write_bytes(path: pathlib.Path, body: bytes) -> None:
    """Writes a file whole, or leaves the old one; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(body)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def write_csv(path: pathlib.Path, columns: Mapping[str, Sequence[Any] | np.ndarray]) -> None:
    """Writes columns of one length under their names; floats with nine digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow([_cell(value) for value in row])
    write_bytes(path, text.getvalue().encode())


def _cell(value: Any) -> Any:
    """Plain text; a leading sign that a spreadsheet would run as a formula is quoted."""
    if isinstance(value, (float, np.floating)):
        return f"{value:.9g}"
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        return "'" + value
    return value
