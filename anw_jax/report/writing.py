"""Columns as CSV."""

import csv
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anw_jax import _files


def write_csv(path: pathlib.Path, columns: Mapping[str, Sequence[Any] | np.ndarray]) -> None:
    """Writes columns of one length under their names; floats with nine digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow([_cell(value) for value in row])
    _files.write_whole(path, text.getvalue().encode())


def _cell(value: Any) -> Any:
    """Plain text; a leading sign that a spreadsheet would run as a formula is quoted."""
    if isinstance(value, (float, np.floating)):
        return f"{value:.9g}"
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        return "'" + value
    return value
