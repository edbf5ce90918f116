"""Commands about a finished case, for anyone: bundle, replay."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import click

from anw_jax import audit, progress
from anw_jax.audit import bundle_read
from anw_jax.audit.bundle_write import REPORT
from anw_jax.audit.case import is_case_of_models
from anw_jax.audit.replay import numbers_in
from anw_jax.audit.stamps import stamp_files_of
from anw_jax.cli import model_case, output
from anw_jax.cli.arbitrator import CASE, KEYS, MAKERS, keys_of, opened_case
from anw_jax.cli.format import replayed_lines, verdict_lines
from anw_jax.cli.model_case import or_models
from anw_jax.cli.options import by_owner, json_option, parse_beacon_value
from anw_jax.cli.output import ProgressLines, show, then
from anw_jax.cli.signing import signature_lines
from anw_jax.errors import ChangedFileError
from anw_jax.keys import MarkKey

# From a verdict to lines of text.
LinesFn = Callable[[dict[str, Any]], list[str]]

_PATH = click.Path(path_type=pathlib.Path)


def _bundle_models(case, as_json, key_files, out) -> int:
    with model_case.opened(case) as (opened, _):
        from anw_jax.schemes.bundles import bundle_models

        keys, text = keys_of(opened, key_files), ""
        if opened.has("verdict.json"):
            text = report_of(opened.read("verdict.json"), model_case.verdict_lines)
        done = bundle_models(opened, keys, out, text)
        needed = _to_read_again(opened)
    _show_bundled(done, as_json, [needed], [], "every bit")
    return output.DONE


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
@or_models(_bundle_models, "key_files", "out")
def bundle(case, key_files, out, with_names, as_json) -> None:
    """Write everything a verdict was made from, except photos and models, as one zip.

    Anyone can check it offline with anw replay FILE.zip, or with tools/replay.py of the
    repository, which uses none of this program. The bundle of a sealed case holds the opened
    keys, so they are spent. The commitment covers the photos' names: whoever checks a bundle
    without them also needs the owner's manifest.json (anw replay --manifest). The bundle of a
    case of models (owners hold mark.json) has the sealed scores and no networks.

    \b
    Examples:
      anw bundle case --key ann.key --out evidence.zip
      anw bundle case --key ann.key --out evidence.zip --with-names
    """
    with opened_case(case) as (opened, lines):
        keys = keys_of(opened, key_files)
        text = ""
        if opened.has("verdict.json"):
            text = report_of(opened.read("verdict.json"))
        done = audit.bundle_case(
            opened, keys, out, text, with_names=with_names, on_progress=lines.of("rows")
        )
    needed = (
        "it calls photos by the SHA-256 of their names: to check that they are those committed "
        "to, a reader also needs the owner's manifest.json"
    )
    anchors = [] if done.has_names else ["--manifest", "FILE"]
    _show_bundled(done, as_json, [] if done.has_names else [needed], anchors, "every slot")


def _to_read_again(opened: Any) -> str:
    """Say what the bundle of a case of models lacks."""
    return (
        "it holds no networks and no answers: to read the scores again, unpack it, put these "
        f"back into place: {opened.system.elsewhere}; then: anw replay FOLDER --key KEY --ask 1"
    )


def _show_bundled(
    done: audit.Bundled, as_json: bool, needed: list[str], anchors: list[str], secrets: str
) -> None:
    """Print what was bundled, how it is checked, and whose key it spends."""
    lines = [f"{done.path}: {done.num_members} files, SHA-256 {done.sha256}", *needed]
    anchors = ["--commitment", "HEX", "--beacon", "FILE", "--blind", "SHA256", *anchors]
    lines.append(f"anyone can check it, {then('anw', 'replay', done.path, *anchors)}")
    for name in done.spent_keys:
        output.say(
            "anw: warning:",
            f"the bundle holds the key of {name}, which is spent: whoever has the bundle knows "
            f"{secrets}; never use that key again",
            "yellow",
        )
    show(as_json, dataclasses.asdict(done), lines)


def report_of(verdict: dict[str, Any], lines_of: LinesFn = verdict_lines) -> str:
    """Format a verdict as the text of `report.txt`."""
    return "\n".join(map(output.printable, lines_of(verdict))) + "\n"


@click.command()
@CASE
@KEYS
@click.option(
    "--ask",
    type=float,
    default=0.0,
    metavar="SHARE",
    help="Also re-query the suspects about this share of the units, 0 to 1; in a case of "
    "models, above 0: read all scores again.",
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
        if manifests and is_case_of_models(opened.path):
            raise click.UsageError("--manifest belongs to bundles of photos")
        if roots and not stamp_files_of(opened):
            raise click.UsageError(f"--anchor needs time stamps to verify, and {case} has none")
        report = report if is_bundle else None
        done, lines = replayed(opened, keys, report, ask, shown.of("rows"))
        compared, left = audit.compare_anchors(opened, _anchors(opened, **given))
        signatures = audit.check_signatures(opened, signers)
        lines += signature_lines(signatures)
        if is_bundle:
            left += opened.unchecked
            for name, file in _values("--manifest", manifests, opened.owners).items():
                bundle_read.check_manifest(opened, name, pathlib.Path(file))
                compared.append(f"manifest of {name}")
            if not opened.has_names:
                needed = [f"manifest of {name}" for name in opened.owners]
                left += [one for one in needed if one not in compared]
            if stamp_files_of(opened):
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


def lines_fn_of(opened: audit.Case) -> LinesFn:
    """Return the function that formats verdicts of this kind of case."""
    return model_case.verdict_lines if is_case_of_models(opened.path) else verdict_lines


def replayed(
    opened: Any,
    keys: dict[str, MarkKey],
    report: str | None,
    ask: float = 0.0,
    on_progress: progress.ReportFn = progress.silent_parts,
) -> tuple[audit.Replayed, list[str]]:
    """Replay a case of photos or of models.

    Args:
      opened: the case.
      keys: opened, by owner.
      report: the text of `report.txt` of a bundle; None of a folder, which has none.
      ask: share of the units to query again.
      on_progress: as `audit.replay_case` takes it.

    Returns:
      The result, and lines about it.

    Raises:
      ChangedFileError: as `audit.replay_case`, and if the report states other numbers.
    """
    of_models, lines_of = is_case_of_models(opened.path), lines_fn_of(opened)
    how: dict[str, Any] = {"ask": ask, "on_progress": on_progress}
    if of_models:
        from anw_jax.schemes.bundles import replay_models

        done = replay_models(opened, keys, **how)
    else:
        done = audit.replay_case(opened, keys, makers=MAKERS, **how)
    lines = replayed_lines(done, lines_of, of_models)
    if report is not None:
        lines += _reworded_report(report, report_of(done.verdict, lines_of))
        lines += [_to_read_again(opened)] if of_models else []
    return done, lines


def _of_models(folder: pathlib.Path) -> Any:
    """Return the case of models that a bundle holds; the extra 'run' is needed."""
    with model_case.needing_run():
        from anw_jax.schemes.bundles import BundledModels
    return BundledModels(folder)


@contextlib.contextmanager
def opened_evidence(
    case: pathlib.Path, key_files: Any, ask: float, roots: Any
) -> Iterator[tuple[Any, dict[str, MarkKey], str]]:
    """Open the folder or the zip of a case: the case, its keys, the text of its report."""
    if case.is_dir() or not case.exists():
        open_folder = model_case.opened if is_case_of_models(case) else opened_case
        with open_folder(case) as (opened, _):
            yield opened, keys_of(opened, key_files), ""
        return
    if ask:
        raise click.UsageError("--ask needs the photos and the models: replay the case folder")
    with bundle_read.open_bundle(case, _of_models) as unpacked:
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


def _reworded_report(text: str, now: str) -> list[str]:
    """Compare `report.txt` with what this version prints; return lines if it differs."""
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
