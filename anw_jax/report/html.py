"""Fill in the templates of the pages."""

import functools
import importlib.resources
import math
from typing import Any

import jinja2

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


def style_sheet() -> str:
    """Return the style sheet of all pages."""
    return _resource("report.css")


@functools.cache
def _resource(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
