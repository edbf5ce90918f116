"""`python -m anw_jax.cli`, and the console script."""

import sys
from typing import NoReturn

from anw_jax.errors import MissingLibraryError


def main() -> NoReturn:
    """Run the command; one line says which library is missing, if one is."""
    try:
        from anw_jax.cli.main import main as run
    except MissingLibraryError as error:
        _stop(str(error))
    except ImportError as error:
        name = (error.name or "").partition(".")[0]
        if name == "anw_jax":
            raise
        is_missing = isinstance(error, ModuleNotFoundError) and name
        why = (
            f"{name} is not installed"
            if is_missing
            else " ".join(str(error).split()).rstrip(".")
        )
        _stop(f"{why}: pip install -r requirements.txt in the checkout")
    run()


def _stop(line: str) -> NoReturn:
    sys.stderr.write(f"anw: {line}\n")
    sys.exit(1)


if __name__ == "__main__":
    main()
