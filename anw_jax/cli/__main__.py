"""`python -m anw_jax.cli`, and the console script."""

import sys
from typing import NoReturn

from anw_jax.errors import missing_library


def main() -> NoReturn:
    """Run the command; one line says which library is missing, if one is."""
    try:
        from anw_jax.cli.main import main as run
    except ImportError as error:
        sys.stderr.write(f"anw: {missing_library(error)}\n")
        sys.exit(1)
    run()


if __name__ == "__main__":
    main()
