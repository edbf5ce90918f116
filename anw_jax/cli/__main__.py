"""`python -m anw_jax.cli`, and the console script."""

import sys
from typing import NoReturn

from anw_jax.errors import MissingLibraryError


def main() -> NoReturn:
    """Runs the command; one line says what to install where a library is missing."""
    try:
        from anw_jax.cli.main import main as run
    except MissingLibraryError as error:
        sys.stderr.write(f"anw: {error}\n")
        sys.exit(1)
    run()


if __name__ == "__main__":
    main()
