"""The owner's look at a mark, before anything is committed to."""

import contextlib
import pathlib
import shlex
from collections.abc import Iterator

import click

from anw_jax import audit
from anw_jax.audit.folder_report import UNCHANGED, named_lines, plural
from anw_jax.audit.preview import Preview, check_preview_out
from anw_jax.cli import output
from anw_jax.cli.options import json_option, mark_options
from anw_jax.cli.output import ProgressLine, show
from anw_jax.errors import MissingLibraryError
from anw_jax.shards import num_cores

_PATH = click.Path(path_type=pathlib.Path)


@contextlib.contextmanager
def page_libraries() -> Iterator[None]:
    """Say which extra holds a library that is missing.

    Raises:
      MissingLibraryError: one is.
    """
    try:
        yield
    except ImportError as error:
        raise MissingLibraryError(
            f"this needs {error.name}, of the extra 'report': pip install '.[report]' in the "
            "checkout"
        ) from None


@click.command()
@click.argument("folder", type=_PATH)
@click.option(
    "--out",
    required=True,
    type=_PATH,
    help="A new folder, or that of an earlier preview, which is replaced.",
)
@mark_options
@json_option
def preview(folder: pathlib.Path, out: pathlib.Path, mark, strength, as_json: bool) -> int:
    """Show every photo in FOLDER with a mark, and how visible it is; needs no key.

    Writes OUT/preview.html and OUT/preview.png, with photos before and after, and
    OUT/preview.json. Marks are drawn from a random key that is thrown away, never from yours:
    an owner who saw the real marks before committing could choose photos by them, and no
    verdict would be valid. So each preview shows other marks of the same kind and strength.

    Measures the colour difference CIEDE2000 (about 1 is just noticeable), the similarity SSIM,
    and clipped pixels, for each photo and in all, and says which p to expect where that was
    measured. Give the same --mark and --strength to anw commit. If a picture cannot be marked,
    the exit code is 11.

    \b
    Examples:
      anw preview photos --out look
      anw preview photos --out look --strength 0.2
    """
    check_preview_out(folder, out)
    progress = ProgressLine("previewing", "photos")
    with page_libraries():
        from anw_jax.report import write_preview

        done = audit.preview_folder(folder, mark, strength, progress, workers=num_cores())
        page = write_preview(done, folder, out)
    show(as_json, done.as_json(), [*preview_lines(done), *_next(done, folder, page)])
    return output.PASSED_OVER if done.report.passed_over else output.DONE


def preview_lines(done: Preview) -> list[str]:
    """Format what a preview found."""
    typical, most = done.typical, done.most_changed
    lines = [
        *audit.report_lines(done.report),
        f"{plural(len(done.photos), 'photo')} with the mark {done.mark_text}",
        f"colour difference (CIEDE2000), median of the photos: {typical.ciede2000_median:.2f}, "
        f"95th percentile {typical.ciede2000_p95:.2f}; similarity (SSIM) {typical.ssim:.3f}; "
        f"clipped pixels {typical.num_clipped / typical.num_pixels:.2%}",
        f"changes most: {most.file}, median {most.quality.ciede2000_median:.2f}, 95th "
        f"percentile {most.quality.ciede2000_p95:.2f}",
    ]
    if done.unchanged:
        lines.append(f"WOULD CARRY NO MARK: {plural(len(done.unchanged), 'photo')}")
        lines += named_lines([(name, UNCHANGED) for name in done.unchanged])
    return lines + done.evidence_lines


def mark_words(done: Preview) -> list[str]:
    """Return the options that give `anw commit` the mark of a preview."""
    strength = [] if done.strength is None else ["--strength", f"{done.strength!r}"]
    return ["--mark", done.mark, *strength]


def _next(done: Preview, folder: pathlib.Path, page: pathlib.Path) -> list[str]:
    words = ["anw", "commit", str(folder), "--key", "KEY", "--out", "OUT", *mark_words(done)]
    return [f"look at {page}; then: {shlex.join(words)}"]
