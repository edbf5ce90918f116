"""The owner's commands: a key, marked photos, opened leaves."""

import dataclasses
import pathlib

import click

from anw_jax.cli import exit_codes
from anw_jax.cli.named import hex_bytes
from anw_jax.cli.output import ProgressLine, json_option, show
from anw_jax.keys import CLAIMS, MODES, SCHEMES, MarkKey, Plan
from anw_jax.stats import DEFAULT_ALPHA, DEFAULT_STATISTIC, STATISTICS


@click.group()
def key() -> None:
    """The owner's secret."""


@key.command("new", short_help="Draws a key into a new file.")
@click.argument("file", type=click.Path(path_type=pathlib.Path))
@json_option
def key_new(file: pathlib.Path, as_json: bool) -> None:
    """Draws a key of 256 bits into FILE, readable by you alone; never overwrites.

    Use a new key for each publication, and keep a copy of it: without it nothing can be proved.

    \b
    Example:
      anw key new ann.key
    """
    try:
        MarkKey.generate().save(file)
    except FileExistsError:
        raise FileExistsError(f"{file} is there: a key is never overwritten") from None
    show(as_json, {"key": str(file)}, [f"{file} written. Keep it secret, and keep a copy."])


@click.command(short_help="Marks every photo below a folder, and commits to it.")
@click.argument("folder", type=click.Path(path_type=pathlib.Path))
@click.option("--key", "key_file", required=True, help="The key file.")
@click.option(
    "--out", required=True, type=click.Path(path_type=pathlib.Path), help="A new folder."
)
@click.option(
    "--scheme",
    type=click.Choice(SCHEMES),
    default="per_image",
    show_default=True,
    help="What gets a hue of its own: a photo, a subfolder, or you.",
)
@click.option("--slots", default=12, show_default=True, help="Hues on the circle.")
@click.option(
    "--statistic",
    type=click.Choice(list(STATISTICS)),
    default=DEFAULT_STATISTIC,
    show_default=True,
    help="The one statistic of the test.",
)
@click.option("--alpha", default=DEFAULT_ALPHA, show_default=True, help="The level.")
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="sealed",
    show_default=True,
    help="How slots are opened: all at the end, or unit by unit.",
)
@click.option(
    "--claim",
    type=click.Choice(CLAIMS),
    default="one model",
    show_default=True,
    help="What is claimed where several models are asked.",
)
@click.option(
    "--beacon",
    default="",
    help="Name of a public random value that does not exist "
    "yet: this call commits, a second one with --beacon-value marks.",
)
@click.option("--beacon-value", default="", help="That value, in hexadecimal digits.")
@click.option(
    "--labels",
    type=click.Path(path_type=pathlib.Path),
    default=None,
    help="Rows 'file,label': audits take no other labels from you. A label is a class number, "
    "a word, or '-' where no class fits.",
)
@click.option(
    "--labels-map",
    type=click.Path(path_type=pathlib.Path),
    default=None,
    help="Rows 'word,class number' for labels in words; else the arbitrator makes them.",
)
@click.option("--private-basis", is_flag=True, help="Your own colour basis instead of the hue.")
@json_option
def mark(
    folder,
    key_file,
    out,
    scheme,
    slots,
    statistic,
    alpha,
    mode,
    claim,
    beacon,
    beacon_value,
    private_basis,
    labels,
    labels_map,
    as_json,
) -> int:
    """Marks every photo below FOLDER: PNG files in OUT/published, originals untouched.

    Also writes OUT/manifest.json (for the arbitrator) and OUT/commitment.json: publish the
    commitment, or have it time-stamped, before you publish the photos. What --statistic,
    --alpha, --mode, --claim and --labels say is part of it. Pictures that cannot be marked
    (GIF, HEIC, RAW, animations, broken links) are named, and the exit code is 11.

    \b
    Examples:
      anw mark photos --key ann.key --out marked --labels labels.csv
      anw mark photos --key ann.key --out marked --mode sequential --alpha 1e-4
    """
    from anw_jax import audit

    plan = Plan(statistic, alpha, beacon=beacon, mode=mode, claim=claim)
    done = audit.mark_folder(
        folder,
        MarkKey.load(key_file),
        out,
        plan,
        scheme=scheme,
        num_slots=slots,
        private_basis=private_basis,
        beacon=hex_bytes("--beacon-value", beacon_value) if beacon_value else b"",
        labels=labels,
        labels_map=labels_map,
        on_progress=ProgressLine("marking", "photos"),
    )
    fields = {f.name: getattr(done, f.name) for f in dataclasses.fields(done)}
    body = fields | {"report": done.report.as_json()}
    show(as_json, body, [*_about(done, out, beacon), *audit.report_lines(done.report)])
    return exit_codes.PASSED_OVER if done.report.passed_over else exit_codes.DONE


def _about(done, out: pathlib.Path, beacon: str) -> list[str]:
    lines = [f"commitment {done.commitment}"]
    if done.needs_map:
        lines.append("labels are words: the arbitrator has to map them to class numbers")
    if done.num_without_class:
        lines.append(f"{done.num_without_class} photos have no class: their rows are constant")
    if not done.num_written:
        return [
            *lines,
            f"committed to {done.num_units} units in {out}; nothing is marked yet: publish the "
            f"commitment, wait for {beacon!r}, and run this again with --beacon-value",
        ]
    lines.append(
        f"{done.num_written} photos in {done.num_units} units marked in {out}/published; "
        "publish the commitment before them"
    )
    if done.num_unchanged:
        lines.append(f"{done.num_unchanged} photos are grey, and carry no mark")
    return lines


@click.command("open", short_help="Opens one unit for an arbitrator's request.")
@click.argument("request", type=click.Path(path_type=pathlib.Path))
@click.option("--key", "key_file", required=True, help="The key file.")
@click.option(
    "--from",
    "folder",
    required=True,
    type=click.Path(path_type=pathlib.Path),
    help="The folder that `anw mark` made.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=pathlib.Path),
    help="The opening to write.",
)
@json_option
def open_request(request, key_file, folder, out, as_json) -> None:
    """Opens one leaf for an arbitrator's REQUEST, if its bet stands in the record.

    Reveals the hue of this one unit and no other. Where several models are asked, the bets on
    all of them must stand. Every opening is logged in FOLDER/openings.jsonl; a unit is opened
    for one row of each model only.

    \b
    Example:
      anw open case/exchange/ann.request.json --key ann.key --from marked \\
          --out case/exchange/ann.opening.json
    """
    from anw_jax import audit

    done = audit.answer_request(request, MarkKey.load(key_file), folder, out)
    again = " (again)" if done.again else ""
    show(
        as_json,
        dataclasses.asdict(done),
        [f"unit {done.unit} opened{again}, {done.step} before it: {out}"],
    )
