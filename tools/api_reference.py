"""Write the API reference, HTML pages made from the docstrings, with pdoc.

    python -m tools.api_reference [FOLDER]

FOLDER is build/api by default; open its index.html. A warning, such as a type that cannot be
resolved, is an error.
"""

import argparse
import pathlib
import warnings

import pdoc


def write_reference(folder: pathlib.Path) -> None:
    """Write a page for every public module of anw_jax."""
    pdoc.render.configure(docformat="google", show_source=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # chex.ArrayTree refers to itself by a name that only chex can resolve.
        warnings.filterwarnings("ignore", ".* name 'ArrayTree' is not defined")
        pdoc.pdoc("anw_jax", r"!anw_jax(\.\w+)*\._", output_directory=folder)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default="build/api")
    folder = parser.parse_args().folder
    write_reference(folder)
    print(f"{folder / 'index.html'} written")


if __name__ == "__main__":
    main()
