"""The arbitrator's folder: a new one, and the report of a finished one."""

import pathlib

import click

from anw_jax import audit
from anw_jax.audit.new_case import SUSPECTS
from anw_jax.cli import model_case
from anw_jax.cli.arbitrator import CASE, opened_case
from anw_jax.cli.next_step import bundle_command
from anw_jax.cli.options import json_option
from anw_jax.cli.output import show, then

_PATH = click.Path(path_type=pathlib.Path)
_FOLDER = click.argument("folder", metavar="CASE", type=_PATH)


@click.group()
def case() -> None:
    """The folder of an audit."""


@case.command("new", short_help="Write a folder to fill in, with examples.")
@_FOLDER
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
    for option, names in (("--owner", owners), ("--suspect", tuple(kinds))):
        # Not every disk tells names apart by the case of their letters.
        if len({name.casefold() for name in names}) < len(names):
            raise click.UsageError(
                f"{option} names must differ by more than upper and lower case, got {names}"
            )
    files = audit.new_case(folder, owners, kinds)
    lines = [
        f"{folder} written, {len(files)} files; {folder / 'README.md'} says what goes where"
    ]
    lines += [f"put what {name} hands over into {folder / 'owners' / name}" for name in owners]
    lines += [f"fill in {folder / 'suspects' / f'{name}.toml'}" for name in kinds]
    if not kinds:
        lines.append(f"copy the closest file of {folder / 'examples'} to {folder / 'suspects'}")
    show(as_json, {"case": str(folder), "files": files}, [*lines, then("anw", "probe", folder)])


@click.command()
@CASE
@click.option(
    "--out",
    type=_PATH,
    metavar="FILE.html",
    help="A new file; by default CASE/report.html.",
)
@click.option(
    "--without-photos",
    is_flag=True,
    help="Show no originals, no pictures that the model was fed, and no file names.",
)
@json_option
@model_case.or_models(model_case.report, "out")
def report(case: pathlib.Path, out, without_photos: bool, as_json: bool) -> None:
    """Write the page of a finished case: outcome, conditions, figures, digests.

    The page is one file without scripts, which loads nothing. It needs no key, and changes no
    file of the case. It shows a few of the owners' photos, and what the model was really fed.

    \b
    Examples:
      anw report case
      anw report case --out verdict.html --without-photos
    """
    try:
        from anw_jax.report import write_case_report
    except ImportError as error:
        raise model_case.missing_for_report(error) from None
    with opened_case(case) as (opened, lines):
        path = write_case_report(
            opened,
            out,
            with_photos=not without_photos,
            on_progress=lines.of("tests")("drawing"),
        )
    after = f"then: {bundle_command(opened, case)}"
    show(as_json, {"report": str(path)}, [f"{path} written", after])
