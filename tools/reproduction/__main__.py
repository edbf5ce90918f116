"""`python -m tools.reproduction plan | run | figures | document`."""

import argparse
import pathlib
import sys
from collections.abc import Callable, Sequence

from anw_jax import _console, _files
from anw_jax.errors import AnwError
from tools.reproduction.document import document
from tools.reproduction.durations import Durations
from tools.reproduction.figures import write_figure
from tools.reproduction.plan import items_of, plan_table
from tools.reproduction.queue import Queue
from tools.reproduction.study import VARIANTS, Study, load_studies

_NAME = "tools.reproduction"


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; mistakes are one line on standard error.

    Returns:
      The exit code: 0; 1 if a run failed or an input is wrong; 2 for a wrong command line;
      130 if it was interrupted.
    """
    _console.make_streams_total()
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as stopped:  # argparse has said why
        return int(stopped.code or 0)
    try:
        return _COMMANDS[options.command](options)
    except (AnwError, OSError, ValueError) as error:
        sys.stderr.write(f"{_NAME}: {' '.join(str(error).split())}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{_NAME}: stopped; the same command resumes here\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {_NAME}", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    plan = commands.add_parser("plan", help="print which row is read from which training")
    run = commands.add_parser("run", help="run what is missing, in the order of the plan")
    figures = commands.add_parser("figures", help="draw every figure again from results")
    written = commands.add_parser("document", help="write docs/reproduction.md from results")
    for command in (plan, run, figures, written):
        command.add_argument("--experiments", default="experiments", type=pathlib.Path)
        command.add_argument("--results", default="results", type=pathlib.Path)
    for command in (plan, run):
        command.add_argument("--variant", choices=VARIANTS, default="paper")
    for command in (plan, run, figures):
        command.add_argument("--rows", nargs="+", help="fig3g or 'Fig. 3g'; all if left out")
    run.add_argument("--seeds", nargs="+", type=int, help="all if left out")
    run.add_argument("--max_minutes", type=float, help="begin no run that would end later")
    run.add_argument("--workdir", default="workdir", type=pathlib.Path)
    figures.add_argument("--out", default="docs/figures", type=pathlib.Path)
    written.add_argument("--out", default="docs/reproduction.md", type=pathlib.Path)
    return parser


def _studies(options: argparse.Namespace, variant: str) -> list[Study]:
    return load_studies(options.experiments, variant, options.rows)


def _plan(options: argparse.Namespace) -> int:
    studies = _studies(options, options.variant)
    sys.stdout.write(plan_table(studies, Durations.of(options.results)))
    return 0


def _run(options: argparse.Namespace) -> int:
    items = items_of(_studies(options, options.variant), options.seeds)
    queue = Queue(items, options.results, options.workdir, max_minutes=options.max_minutes)
    return queue.run().exit_code


def _figures(options: argparse.Namespace) -> int:
    for study in [study for variant in VARIANTS for study in _studies(options, variant)]:
        if study.figure is not None:
            figure = study.figure(study.runs(options.results))
            if path := write_figure(figure, options.out, study.name):
                sys.stdout.write(f"{path}\n")
    return 0


def _document(options: argparse.Namespace) -> int:
    text = document(options.experiments, options.results)
    _files.write_whole(options.out, text.encode())
    sys.stdout.write(f"{options.out}\n")
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "plan": _plan,
    "run": _run,
    "figures": _figures,
    "document": _document,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
