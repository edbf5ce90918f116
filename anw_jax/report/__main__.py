"""`python -m anw_jax.report <folder>`: a table of seeds, or the page of a workdir."""

import pathlib
import sys

from anw_jax import _json
from anw_jax.report import (
    results_table,
    write_copies_report,
    write_outputs_report,
    write_pictures_report,
    write_report,
    write_scheme_report,
)

# What writes the page of a run, by a field that only its kind of results has.
_PAGES = {
    "marks": write_scheme_report,
    "simulated": write_copies_report,
    "marked": write_outputs_report,
    "served": write_pictures_report,
}


def main(arguments: list[str]) -> int:
    """Write to standard output; an error is one line on standard error.

    Returns:
      The exit code: 0; 1 if the folder cannot be read; 2 if no folder was given.
    """
    if len(arguments) != 1:
        sys.stderr.write("name a folder: python -m anw_jax.report results/<experiment>\n")
        return 2
    folder = pathlib.Path(arguments[0])
    try:
        path = folder / "results.json"
        if path.is_file():
            results = _json.loads(path.read_bytes())
            fitting = (write for field, write in _PAGES.items() if field in results)
            text = f"{next(fitting, write_report)(folder)}\n"
        else:
            text = results_table(folder)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"anw_jax.report: {error}\n")
        return 1
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
