"""Run an experiment: python run.py --config=experiments/quickstart.py."""

import pathlib
import shlex
import shutil
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from anw_jax import _console
from anw_jax.errors import AnwError
from anw_jax.lab import config as lab_config
from anw_jax.lab import run, settings_from_config

_EPILOG = "Override fields like --config.seed=3; the same command again resumes."
_CONFIG = config_flags.DEFINE_config_file("config", None, "Settings file. " + _EPILOG)
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Folder for results; default workdir/<case>/seed<seed>. A config without a case has its "
    "name as case; configs of one case share a training.",
)
_SAVE = flags.DEFINE_string("save_results", None, "Also copy results.json to this file.")


def main(argv: list[str]) -> None:
    """Run the experiment of the flags; an error is one line, with exit code 1 or 2."""
    if len(argv) > 1:
        _stop(f"unexpected argument {argv[1]!r}: settings go in as --config.<field>=<value>", 2)
    workdir = _WORKDIR.value
    try:
        plain, study = lab_config.split_study(_CONFIG.value)
        arms = (study or {}).get("arms")
        if arms:
            named = config_flags.get_config_filename(flags.FLAGS["config"])
            _stop(
                f"config has several trainings ({', '.join(arms)}): "
                f"{_row_command(named)} takes them all",
                2,
            )
        settings = settings_from_config(plain)
        workdir = workdir or f"workdir/{settings.case}/seed{settings.seed}"
        results = run(settings, workdir)
        if results is not None and _SAVE.value:
            target = pathlib.Path(_SAVE.value)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(pathlib.Path(workdir, "results.json"), target)
    except AnwError as error:
        _stop(str(error), 1)
    except OSError as error:
        _stop(f"workdir {workdir}: {error}; finished work is kept; the same command resumes", 1)
    except KeyboardInterrupt:
        _stop("stopped at once; the same command resumes from what was saved", 130)
    except Exception as error:
        _stop(f"{type(error).__name__}: {error!s:.200} (see {workdir}/FAILED.txt)", 1)
    if results is None:
        sys.exit(130)


def _row_command(file_and_variant: str) -> str:
    """Return the command that runs all trainings of a config, at the same scale."""
    file, _, variant = file_and_variant.partition(":")
    path = pathlib.Path(file)
    words = ["python", "-m", "tools.reproduction", "run", "--rows", path.stem]
    if path.parent != pathlib.Path("experiments"):
        words += ["--experiments", str(path.parent)]
    if variant:
        words += ["--variant", variant]
    return shlex.join(words)


def _config_file(argv: list[str]) -> str | None:
    """Return the settings file of the arguments: "--config=FILE" or "--config FILE"."""
    for word, following in zip(argv, [*argv[1:], None], strict=True):
        if word == "--config":
            return following
        if word.startswith("--config="):
            return word.removeprefix("--config=")
    return None


def _parse_flags(argv: list[str]) -> list[str]:
    """Parse flags; a mistake becomes one line instead of a traceback."""
    file = _config_file(argv)
    if file is None and not any(word.startswith("--help") for word in argv):
        _stop("name a settings file: python run.py --config=experiments/quickstart.py", 2)
    try:
        if file is not None:
            lab_config.check_overrides(lab_config.load_config(file), argv)
        # At INFO, absl's default, Orbax logs much; --verbosity=0 restores it.
        logging.set_verbosity(logging.WARNING)
        return flags.FLAGS(argv)
    except (flags.Error, AnwError, AttributeError, KeyError, TypeError, ValueError) as error:
        lines = str(error.args[0] if error.args else error).strip().splitlines()
        _stop(lines[-1] if lines else type(error).__name__, 2)


def _stop(message: str, code: int) -> None:
    print("run.py:", " ".join(message.split()), file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    _console.make_streams_total()
    app.run(main, flags_parser=_parse_flags)
