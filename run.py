"""Runs an experiment: python run.py --config=experiments/quickstart.py."""

import pathlib
import shutil
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from anw_jax.errors import AnwError
from anw_jax.lab import config as lab_config
from anw_jax.lab import run, settings_from_config

_EPILOG = "Fields are overridden like --config.seed=3; the same command again resumes."
_CONFIG = config_flags.DEFINE_config_file("config", None, "Settings file. " + _EPILOG)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where to leave results; default workdir/<name>/seed<seed>."
)
_SAVE = flags.DEFINE_string("save_results", None, "Also copy results.json to this file.")


def main(argv: list[str]) -> None:
    """Flags → checked settings → the run; errors are one line and exit code 1 or 2."""
    if len(argv) > 1:
        _stop(f"unexpected argument {argv[1]!r}: settings go in as --config.<field>=<value>", 2)
    try:
        settings = settings_from_config(_CONFIG.value)
        workdir = _WORKDIR.value or f"workdir/{settings.name}/seed{settings.seed}"
        results = run(settings, workdir)
        if results is not None and _SAVE.value:
            target = pathlib.Path(_SAVE.value)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(pathlib.Path(workdir, "results.json"), target)
    except AnwError as error:
        _stop(str(error), 1)
    except OSError as error:
        _stop(
            f"{error}; what was computed is kept: mend this and run the same command again", 1
        )
    except KeyboardInterrupt:
        _stop("stopped at once; the same command resumes from the last checkpoint", 130)
    if results is None:
        sys.exit(130)


def _parse_flags(argv: list[str]) -> list[str]:
    """Parses flags; a mistake becomes one line instead of a traceback."""
    file = next((a.split("=", 1)[1] for a in argv if a.startswith("--config=")), None)
    if file is None and not any(a.startswith("--help") for a in argv):
        _stop("name a settings file: python run.py --config=experiments/quickstart.py", 2)
    try:
        if file is not None:
            lab_config.check_overrides(lab_config.load_config(file), argv)
        # absl's default is INFO, and Orbax has much to say; --verbosity=0 brings it back.
        logging.set_verbosity(logging.WARNING)
        return flags.FLAGS(argv)
    except (flags.Error, AnwError, AttributeError, KeyError, TypeError, ValueError) as error:
        message = str(error.args[0] if error.args else error)
        _stop(message.strip().splitlines()[-1], 2)


def _stop(message: str, code: int) -> None:
    print(f"run.py: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    app.run(main, flags_parser=_parse_flags)
