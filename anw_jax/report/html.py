"""Fill in the templates of the pages."""

import contextlib
import functools
import importlib.resources
import math
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jinja2

from anw_jax import _files, _json
from anw_jax.report import words


def page(template: str, **values: Any) -> str:
    """Return a whole page as text; names and settings are escaped.

    Args:
      template: name of the template, such as "report.html.j2".
      **values: what it uses, beside `words` and the style sheet.
    """
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_resource),
    )
    environment.filters |= {
        "log10": math.log10,
        "number": words.number,
        "percent": words.percent,
        "seconds": words.seconds,
        "time": words.time,
    }
    filled = environment.get_template(template)
    return filled.render(**values, words=words, style_sheet=style_sheet())


def write_page_of_run(
    workdir: str | os.PathLike,
    template: str,
    values_of: Callable[[dict[str, Any], pathlib.Path], dict[str, Any]],
) -> pathlib.Path:
    """Write `report.html` from the `results.json` of a run.

    The page is one file without scripts, and loads nothing. The same files give the same bytes.

    Args:
      workdir: the folder of the run.
      template: as for `page`.
      values_of: from results and folder to what the template uses beside `results`.

    Returns:
      The path of `report.html`.

    Raises:
      FileNotFoundError: there is no `results.json`.
      ValueError: a result file is damaged; names it.
    """
    folder = pathlib.Path(workdir)
    path = folder / "results.json"
    body = path.read_bytes()
    try:
        results = _json.loads(body)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    try:
        values = values_of(results, folder)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from None
    _files.write_whole(
        folder / "report.html", page(template, results=results, **values).encode()
    )
    return folder / "report.html"


@contextlib.contextmanager
def naming_damage(path: pathlib.Path) -> Iterator[None]:
    """Turn whatever goes wrong with a file's arrays into a ValueError that names the file."""
    try:
        yield
    except Exception as error:  # of numpy, zipfile and zlib, which share no base
        raise ValueError(f"{path} is damaged: {type(error).__name__}") from None


def style_sheet() -> str:
    """Return the style sheet of all pages."""
    return _resource("report.css")


@functools.cache
def _resource(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
