"""The owner's commands: create a key, commit to photos, mark them, open leaves."""

import dataclasses
import datetime
import pathlib
from collections.abc import Sequence
from typing import Any

import click

from anw_jax import audit, data
from anw_jax.audit.folder_report import plural
from anw_jax.audit.published import COMMITMENT
from anw_jax.cli import output
from anw_jax.cli.arbitrator import MAKERS
from anw_jax.cli.options import (
    choices_of,
    committed_options,
    json_option,
    known_beacon,
    parse_beacon_value,
)
from anw_jax.cli.output import ProgressLine, show, then
from anw_jax.cli.owner_format import commitment_lines, file_lines, marked_lines
from anw_jax.cli.signing import key_signing, sign_option, stamp_lines
from anw_jax.data.photo_files import FORMATS
from anw_jax.keys import MarkKey
from anw_jax.keys.beacons import drand_after, read_beacon
from anw_jax.keys.stamps import KINDS as STAMPS
from anw_jax.keys.stamps import hours_ahead
from anw_jax.shards import num_cores

_PATH = click.Path(path_type=pathlib.Path)
_KEY = click.option("--key", "key_file", required=True, help="The key file.")


@click.group()
def key() -> None:
    """The owner's secret key, and keys to sign with."""


key.add_command(key_signing)


@key.command("new", short_help="Create a key in a new file.")
@click.argument("file", type=_PATH)
@json_option
def key_new(file: pathlib.Path, as_json: bool) -> None:
    """Create a random key of 256 bits in FILE, readable only by you; never overwrite one.

    Use a new key for each publication, and keep a copy: without it nothing can be proved.

    \b
    Example:
      anw key new ann.key
    """
    try:
        MarkKey.generate().save(file)
    except FileExistsError:
        raise FileExistsError(f"{file} already exists: a key is never overwritten") from None
    lines = [f"{file} written. Keep it secret, and keep a copy."]
    lines.append(then("anw", "preview", "PHOTOS", "--out", "LOOK"))
    show(as_json, {"key": str(file)}, lines)


def _commit_options(command: Any) -> Any:
    """Add the arguments and options that `anw commit` and `anw mark` share."""
    for add in (
        json_option,
        click.option(
            "--again", is_flag=True, help="Allow photos that you have committed to before."
        ),
        click.option(
            "--beacon",
            default=None,
            callback=known_beacon,
            metavar="NAME",
            help="drand:CHAIN:ROUND, nist:CHAIN:PULSE or arbitrator:WHO: a public random value "
            "that does not exist yet.",
        ),
        click.option(
            "--reference",
            multiple=True,
            metavar="FILE|DIGEST",
            help="A model whose losses are subtracted from a suspect's, such as the base that "
            "it may be tuned from; may be repeated. FILE describes it as suspects/<name>.toml "
            "describes a suspect.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            default=None,
            metavar="N",
            help="Processes that read and write photos; by default one for each core.",
        ),
        committed_options,
        click.option("--out", required=True, type=_PATH, help="A new folder."),
        _KEY,
        click.argument("folder", type=_PATH),
    ):
        command = add(command)
    return command


def clock() -> datetime.datetime:
    """Return the time, in UTC."""
    return datetime.datetime.now(datetime.UTC)


@click.command()
@_commit_options
@click.option(
    "--no-beacon", is_flag=True, help="Use no beacon; every verdict is then conditional."
)
@click.option(
    "--stamp",
    type=click.Choice(STAMPS),
    default=None,
    help="The kind of time stamp that you will get, which decides how far ahead the default "
    "beacon lies: 2 hours (rfc3161, default), or 48 (opentimestamps).",
)
def commit(
    folder, key_file, out, beacon, no_beacon, stamp, again, workers, as_json, **given
) -> int:
    """Create a commitment to all photos in FOLDER, recursively; marks none (see `anw mark`).

    Writes OUT/commitment.json. Hues depend on the commitment and on the value of a public
    beacon that appears later, by default a drand round two hours ahead, so that no one can
    select keys or photos based on the resulting hues. The options below are part of the
    commitment. Publish the commitment before the beacon value appears; the output gives the
    time, the URL and the next command. To prove the order, have the commitment time-stamped
    at least 1 hour before (24 hours with OpenTimestamps); see `anw stamp`.
    Pictures that cannot be marked (GIF, RAW, animations, damaged files) are listed, and
    the exit code is then 11.

    \b
    Examples:
      anw commit photos --key ann.key --out marked --labels labels.csv
      anw commit photos --key ann.key --out marked --beacon "arbitrator:Jane Doe"
    """
    if beacon and no_beacon:
        raise click.UsageError("--beacon and --no-beacon exclude one another")
    if stamp and (beacon or no_beacon):
        raise click.UsageError("--stamp sets the default beacon: give no --beacon, --no-beacon")
    now = clock()
    if no_beacon:
        beacon = ""
    elif beacon is None and not (out / COMMITMENT).exists():
        beacon = drand_after(now, hours_ahead(stamp or STAMPS[0]))
    done = _commit(folder, key_file, out, beacon, again, given, workers, now=now)
    lines = commitment_lines(done, folder, key_file, out)
    if read_beacon(done.beacon).kind in ("drand", "nist"):
        lines[-2:-2] = stamp_lines(out, stamp or STAMPS[0])
    show(as_json, _body(done), lines)
    return code_of(done.report)


def _encoding_options(command: Any) -> Any:
    """Add the options that say how marked files are written."""
    for add in (
        click.option(
            "--dry-run", is_flag=True, help="Say what would become of each file; write nothing."
        ),
        click.option("--strip-all", is_flag=True, help="Keep no metadata; profiles stay."),
        click.option("--strip-gps", is_flag=True, help="Remove the place from EXIF and XMP."),
        click.option(
            "--quality",
            type=int,
            default=None,
            help="Quality of JPEG, WebP, AVIF and HEIC files, 1 to 100; by default that of "
            "each original where its file tells.",
        ),
        click.option(
            "--format",
            "file_format",
            type=click.Choice(FORMATS),
            default="same",
            help="Format of the marked files; by default that of each original.",
        ),
    ):
        command = add(command)
    return command


@click.command()
@_commit_options
@_encoding_options
@click.option(
    "--beacon-value",
    default=None,
    metavar="HEX|FILE",
    help="The value of the beacon: hexadecimal digits, or the JSON file downloaded from "
    "its URL.",
)
def mark(
    folder,
    key_file,
    out,
    beacon,
    beacon_value,
    again,
    file_format,
    quality,
    strip_gps,
    strip_all,
    dry_run,
    workers,
    as_json,
    **given,
) -> int:
    """Mark every photo in FOLDER, into OUT/published; originals are only read.

    After `anw commit`, give --beacon-value; all other options are read from OUT. Without a
    commitment in OUT this commits and marks at once, without a beacon; a verdict can then be
    "shown, if …" at best. With --beacon NAME it only commits, like `anw commit`.

    Files keep their format, names, folders, colour profiles and metadata. Pictures inside a
    file (thumbnails, gain maps, motion videos) show the unmarked photo and are removed.
    OUT/report.json says of every file whether it is marked, carries no mark, or was passed
    over, and why; OUT/published.json holds the SHA-256 of each marked file. If a picture was
    passed over, or a photo that was committed to could not be marked, the exit code is 11.

    \b
    Examples:
      anw mark photos --key ann.key --out marked --beacon-value round.json
      anw mark photos --key ann.key --out marked --strip-gps --dry-run
      anw mark photos --key ann.key --out marked --labels labels.csv
      anw mark photos --key ann.key --out marked --mode sequential --alpha 1e-4
    """
    encoding = data.Encoding(file_format, quality, strip_gps, strip_all)
    is_committed = (out / COMMITMENT).exists()
    if beacon_value is not None and not is_committed:
        raise click.UsageError(
            f"--beacon-value needs a commitment, and {out} has none: run anw commit first"
        )
    if dry_run:
        return _dry_run(folder, key_file, out, encoding, given, workers, as_json)
    beacon = beacon or (None if is_committed else "")
    done = _commit(folder, key_file, out, beacon, again, given, workers, decode=False)
    if done.beacon and beacon_value is None:
        show(as_json, _body(done), commitment_lines(done, folder, key_file, out))
        return code_of(done.report)
    published = audit.read_published(out)
    value = b"" if beacon_value is None else parse_beacon_value(published.plan, beacon_value)
    marked = audit.publish_folder(
        folder,
        key_file,
        out,
        beacon=value,
        encoding=encoding,
        workers=workers or num_cores(),
        on_progress=ProgressLine("marking", "photos"),
    )
    show(as_json, _body(done, marked), marked_lines(done, marked, out))
    return code_of(marked.report, marked.lost)


def _dry_run(folder, key_file, out, encoding, given, workers, as_json) -> int:
    """Print what `mark` would do."""
    if (out / COMMITMENT).exists():
        mark_used = audit.read_published(out).mark
    else:
        choices = choices_of(given, "", MAKERS)
        mark_used = choices.make_mark(MarkKey.load(key_file), choices.slots or 12)
    found = audit.survey(
        folder,
        out,
        mark_used.least_side,
        encoding,
        workers=workers or num_cores(),
        on_progress=ProgressLine("reading", "photos"),
    )
    lines = [
        *audit.report_lines(found.report),
        f"{plural(len(found.marked), 'photo')} would be marked; nothing was written",
        *file_lines(found),
    ]
    show(as_json, found.as_json(), lines)
    return code_of(found.report, found.lost)


def code_of(report: audit.FolderReport, lost: Sequence[Any] = ()) -> int:
    """Return the exit code after committing or marking."""
    return output.PASSED_OVER if report.passed_over or lost else output.DONE


def _commit(
    folder, key_file, out, beacon, again, given, workers, decode=True, now=None
) -> audit.Committed:
    return audit.commit_folder(
        folder,
        key_file,
        out,
        choices_of(given, beacon, MAKERS),
        labels=given["labels"],
        labels_map=given["labels_map"],
        again=again,
        decode=decode,
        now=now,
        workers=workers or num_cores(),
        on_progress=ProgressLine("committing", "photos"),
    )


def _body(done: audit.Committed, marked: audit.Marked | None = None) -> dict[str, Any]:
    fields = {field.name: getattr(done, field.name) for field in dataclasses.fields(done)}
    del fields["without_mark"]  # in the report, as `anw mark` has it
    body = {**fields, "warnings": list(done.warnings)}
    source, removed = done if marked is None else marked, {}
    if marked is not None:
        body |= {"num_written": marked.num_written, "num_unchanged": marked.num_unchanged}
        removed = marked.removed
    without = [{"file": name, "reason": why} for name, why in source.without_mark]
    listed = {"no_mark": without, "removed": removed}
    listed = {name: value for name, value in listed.items() if value}
    return body | {"report": source.report.as_json() | listed}


@click.command("open")
@click.argument("request", type=_PATH)
@_KEY
@click.option(
    "--from", "folder", required=True, type=_PATH, help="The folder that `anw mark` wrote."
)
@click.option("--out", required=True, type=_PATH, help="The opening to write.")
@sign_option
@json_option
def open_request(request, key_file, folder, out, signing_key, as_json) -> None:
    """Open one leaf for an arbitrator's REQUEST, if the bet on it is already recorded.

    Reveals the hue of this one unit and of no other. If several models are tested, the bets on
    all of them must be recorded. Every opening is logged in FOLDER/openings.jsonl; a unit is
    opened for one row of each model only.

    \b
    Example:
      anw open case/exchange/ann.request.json --key ann.key --from marked \\
          --out case/exchange/ann.opening.json
    """
    done = audit.answer_request(request, MarkKey.load(key_file), folder, out)
    if signing_key is not None:
        audit.sign_file(out, signing_key)
    again = " (again)" if done.again else ""
    show(
        as_json,
        dataclasses.asdict(done),
        [
            f"unit {done.unit} opened{again}, {done.step} before it: {out}",
            f"send {out} to the arbitrator, and keep the key",
        ],
    )
