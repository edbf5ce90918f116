"""Commands about a finished case, for anyone: bundle, replay."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import click

from anw_jax import audit
from anw_jax.audit import bundle_read
from anw_jax.audit.bundle import REPORT
from anw_jax.audit.replay import numbers_in
from anw_jax.cli import output
from anw_jax.cli.arbitrator import CASE, KEYS, MAKERS, keys_of, opened_case
from anw_jax.cli.format import replayed_lines, verdict_lines
from anw_jax.cli.options import by_owner, json_option, parse_beacon_value
from anw_jax.cli.output import ProgressLines, show, then
from anw_jax.cli.signing import signature_lines
from anw_jax.errors import ChangedFileError
from anw_jax.keys import MarkKey

_PATH = click.Path(path_type=pathlib.Path)


@click.command()
@CASE
@KEYS
@click.option("--out", required=True, type=_PATH, metavar="FILE.zip", help="A new file.")
@click.option(
    "--with-names",
    is_flag=True,
    help="Keep the photos' file names; by default only their SHA-256.",
)
@json_option
def bundle(case, key_files, out, with_names, as_json) -> None:
    """Write everything a verdict was made from, except photos and models, as one zip.

    Anyone can check it offline with anw replay FILE.zip, or with tools/replay.py of the
    repository, which uses none of this program. The bundle of a sealed case holds the opened
    keys, so they are spent. The commitment covers the photos' names: whoever checks a bundle
    without them also needs the owner's manifest.json (anw replay --manifest).

    \b
    Examples:
      anw bundle case --key ann.key --out evidence.zip
      anw bundle case --key ann.key --out evidence.zip --with-names
    """
    with opened_case(case) as (opened, _):
        keys = keys_of(opened, key_files)
        text = ""
        if opened.has("verdict.json"):
            text = report_of(opened.read("verdict.json"))
        done = audit.bundle_case(opened, keys, out, text, with_names=with_names)
    lines = [f"{done.path}: {done.num_members} files, SHA-256 {done.sha256}"]
    if not done.has_names:
        lines.append(
            "it calls photos by the SHA-256 of their names: to check that they are those "
            "committed to, a reader also needs the owner's manifest.json"
        )
    anchors = ["--commitment", "HEX", "--beacon", "FILE", "--blind", "SHA256"]
    anchors += [] if done.has_names else ["--manifest", "FILE"]
    lines.append(f"anyone can check it, {then('anw', 'replay', out, *anchors)}")
    for name in done.spent_keys:
        output.say(
            "anw: warning:",
            f"the bundle holds the key of {name}, which is spent: whoever has the bundle knows "
            "every slot; never use that key again",
            "yellow",
        )
    show(as_json, dataclasses.asdict(done), lines)


def report_of(verdict: dict[str, Any]) -> str:
    """Format a verdict as the text of `report.txt`."""
    return "\n".join(map(output.printable, verdict_lines(verdict))) + "\n"


@click.command()
@CASE
@KEYS
@click.option(
    "--ask",
    type=float,
    default=0.0,
    metavar="SHARE",
    help="Also re-query the suspects about this share of the units, 0 to 1.",
)
@click.option(
    "--commitment",
    "commitments",
    multiple=True,
    metavar="[OWNER=]HEX",
    help="Compare the commitment with one that you got elsewhere.",
)
@click.option(
    "--beacon",
    "beacons",
    multiple=True,
    metavar="[OWNER=]HEX|FILE",
    help="Compare the beacon's value with the one that you fetched.",
)
@click.option(
    "--blind",
    metavar="SHA256",
    help="Compare the SHA-256 of blind.json (closed.json) with your own note of it.",
)
@click.option(
    "--manifest",
    "manifests",
    multiple=True,
    metavar="[OWNER=]FILE",
    help="For a bundle without names: the owner's manifest.json.",
)
@click.option(
    "--anchor",
    "roots",
    multiple=True,
    type=_PATH,
    metavar="FILE",
    help="For a bundle with time stamps: root certificate or block header that you trust.",
)
@click.option(
    "--signer",
    "signers",
    multiple=True,
    metavar="HEX",
    help="A public key that you had from its holder: it must have signed a file, and no other "
    "key than those given may have.",
)
@json_option
def replay(case, key_files, ask, as_json, manifests, roots, signers, **given) -> int:
    """Recompute rows from answers and the verdict from rows, and compare; write nothing.

    CASE is the folder, or the zip that anw bundle wrote, which holds the opened keys. Anyone
    can do this. A folder of a sealed case needs the opened keys. With the key of a sequential
    case, leaves that do not come from it are reported. Exit code 8 if anything differs from
    the files, otherwise that of the verdict.

    Files that were all made again fit one another. Only values from elsewhere show that they
    are the original ones: give the commitment, the beacon's value and the digest of the sealed
    result (and what a time stamp is verified against). Until all of them are compared, a
    bundle has exit code 10 instead of 0. The arbitrator's statements stand as the files have
    them: only the arbitrator's signature of statements.toml or verdict.json shows who made
    them (--signer).

    \b
    Examples:
      anw replay case --key ann.key
      anw replay case --key ann.key --ask 0.05
      anw replay evidence.zip --commitment 5f0c… --beacon round.json --blind 1f0c…
    """
    is_bundle = not case.is_dir()
    if (manifests or roots) and not is_bundle:
        raise click.UsageError(
            "--manifest and --anchor belong to a bundle: a folder has these files"
        )
    with (
        opened_evidence(case, key_files, ask, roots) as (opened, keys, report),
        ProgressLines() as shown,
    ):
        done = audit.replay_case(
            opened, keys, ask=ask, makers=MAKERS, on_progress=shown.of("rows")
        )
        compared, left = audit.compare_anchors(opened, _anchors(opened, **given))
        signatures = audit.check_signatures(opened, signers)
        lines = [*replayed_lines(done), *signature_lines(signatures)]
        if is_bundle:
            lines += reworded_report(report, done)
            for name, file in _values("--manifest", manifests, opened.owners).items():
                bundle_read.check_manifest(opened, name, pathlib.Path(file))
                compared.append(f"manifest of {name}")
            if not opened.has_names:
                needed = [f"manifest of {name}" for name in opened.owners]
                left += [one for one in needed if one not in compared]
            if bundle_read.has_stamps(opened):
                (compared if roots else left).append("anchors of the time stamps")
    body = dataclasses.asdict(done)
    if any(one["signer"] for one in signatures):
        body["signatures"] = signatures
    if is_bundle or compared:
        body["anchors"] = {"compared": compared, "not_compared": left}
        lines.append(_anchor_line(compared, left))
    show(as_json, body, lines)
    if done.num_differing:
        return output.BROKEN
    code = output.code_of_verdict(done.verdict)
    return output.CONDITIONAL if is_bundle and left and code == output.DONE else code


@contextlib.contextmanager
def opened_evidence(
    case: pathlib.Path, key_files: Any, ask: float, roots: Any
) -> Iterator[tuple[Any, dict[str, MarkKey], str]]:
    """Open the folder or the zip of a case: the case, its keys, the text of its report."""
    if case.is_dir() or not case.exists():
        with opened_case(case) as (opened, _):
            yield opened, keys_of(opened, key_files), ""
        return
    if ask:
        raise click.UsageError("--ask needs the photos and the models: replay the case folder")
    with bundle_read.open_bundle(case) as unpacked:
        if key_files and unpacked.mark_keys:
            raise click.UsageError("the bundle holds the opened keys: leave --key out")
        keys = unpacked.mark_keys or keys_of(unpacked.case, key_files)
        if roots:
            bundle_read.use_anchors(unpacked.case, roots)
        yield unpacked.case, keys, unpacked.report


def _anchors(opened, commitments, beacons, blind) -> audit.CaseAnchors:
    owners = opened.owners
    values = _values("--beacon", beacons, owners)
    return audit.CaseAnchors(
        _values("--commitment", commitments, owners),
        {n: parse_beacon_value(owners[n].published.plan, v) for n, v in values.items()},
        blind,
    )


def _values(option, given, owners) -> dict[str, str]:
    values = by_owner(option, given, owners)
    for name in values:
        if name not in owners:
            raise click.UsageError(
                f"{option} must name an owner of the case ({', '.join(owners)}), got {name!r}"
            )
    return values


def reworded_report(text: str, done: audit.Replayed) -> list[str]:
    """Compare `report.txt` with the verdict; return lines if it is worded differently."""
    now = report_of(done.verdict)
    if text == now:
        return []
    if numbers_in(text) != numbers_in(now):
        raise ChangedFileError(f"{REPORT} states other numbers than the verdict of the bundle")
    return [f"{REPORT} is worded differently; this version prints", *now.splitlines()]


def _anchor_line(compared: list[str], left: list[str]) -> str:
    """Say what was compared with values from elsewhere.

    Example:
      >>> _anchor_line([], ["commitment of ann"])
      'consistent, anchors not checked: commitment of ann'
    """
    if not left:
        return f"consistent, and the same as given: {', '.join(compared)}"
    if not compared:
        what = ", ".join(left)
        return f"consistent, anchors not checked: {what}"
    return (
        f"consistent, and the same as given: {', '.join(compared)}; anchors not checked: "
        f"{', '.join(left)}"
    )
