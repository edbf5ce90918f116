"""Writing the report of one run."""

import os
import pathlib

from anw_jax import _files
from anw_jax.report import figures, page, reading


def write_report(workdir: str | os.PathLike) -> pathlib.Path:
    """Writes `figures/` and `report.html` of a run from the files it left.

    Reads `results.json` and, where they are there, `provenance.json`, `commitments.json`,
    `log.jsonl`, `examples.npz`, `tables/`, `nulls/` and `manifests/`; never a key. The page
    is one file: styles and pictures are inside, it has no script and loads nothing. The
    same files give the same bytes.

    Args:
      workdir: the folder of a run.

    Returns:
      The path of `report.html`.

    Raises:
      FileNotFoundError: there is no `results.json`.
      ValueError: a result file is damaged; names it.
      OSError: the folder cannot be written.
    """
    folder = pathlib.Path(workdir)
    record = reading.read_run(folder)
    drawings = figures.draw_all(record, folder / "figures")
    path = folder / "report.html"
    _files.write_whole(path, page.render(record, drawings).encode())
    return path
