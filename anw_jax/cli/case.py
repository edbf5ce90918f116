"""The arbitrator's folder: a new one, and the report of a finished one."""

import pathlib

import click

from anw_jax import audit
from anw_jax.audit.new_case import SUSPECTS
from anw_jax.cli.options import json_option
from anw_jax.cli.output import show

_CASE = click.argument("folder", metavar="CASE", type=click.Path(path_type=pathlib.Path))


@click.group()
def case() -> None:
    """The folder of an audit."""


@case.command("new", short_help="Write a folder to fill in, with examples.")
@_CASE
@click.option(
    "--owner", "owners", multiple=True, metavar="NAME", help="An owner; may be repeated."
)
@click.option(
    "--suspect",
    "suspects",
    multiple=True,
    metavar="NAME=KIND",
    help=f"A suspect and the example to copy, one of {', '.join(SUSPECTS)}; may be repeated.",
)
@json_option
def case_new(folder: pathlib.Path, owners, suspects, as_json: bool) -> None:
    """Write the folder CASE, with instructions and commented examples; never overwrite one.

    CASE/README.md says what to put where. CASE/examples has a file for every kind of suspect;
    with --suspect one is copied to where it is read.

    \b
    Examples:
      anw case new case
      anw case new case --owner ann --suspect net=onnx
    """
    kinds: dict[str, str] = {}
    for text in suspects:
        name, equals, kind = text.partition("=")
        if not equals or name in kinds or kind not in SUSPECTS:
            raise click.UsageError(
                f"--suspect must be NAME=KIND, each name once and KIND one of "
                f"{', '.join(SUSPECTS)}; got {text!r:.80}"
            )
        kinds[name] = kind
    if len(set(owners)) < len(owners):
        raise click.UsageError(f"--owner must be given once for each name, got {owners}")
    files = audit.new_case(folder, owners, kinds)
    lines = [
        f"{folder} written, {len(files)} files; {folder / 'README.md'} says what goes where"
    ]
    lines += [f"put what {name} hands over into {folder / 'owners' / name}" for name in owners]
    lines += [f"fill in {folder / 'suspects' / f'{name}.toml'}" for name in kinds]
    if not kinds:
        lines.append(f"copy the closest file of {folder / 'examples'} to {folder / 'suspects'}")
    show(as_json, {"case": str(folder), "files": files}, [*lines, f"then: anw probe {folder}"])
