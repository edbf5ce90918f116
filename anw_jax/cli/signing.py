"""Time stamps and signatures: `anw stamp`, `anw sign`, `anw verify-signature`."""

import pathlib
import shlex
from typing import Any

import click

from anw_jax import audit
from anw_jax.audit.case import MODEL_MARK
from anw_jax.audit.files import read_json
from anw_jax.audit.marking import DIGESTS, DIGESTS_FORMAT
from anw_jax.audit.published import COMMITMENT
from anw_jax.audit.stamps import stamp_files, stamps_json
from anw_jax.cli.model_case import needing_run
from anw_jax.cli.options import json_option
from anw_jax.cli.output import show, then
from anw_jax.errors import CaseError
from anw_jax.keys import Plan
from anw_jax.keys.beacons import read_beacon
from anw_jax.keys.stamps import KINDS

_PATH = click.Path(path_type=pathlib.Path)
# An authority that answers anybody; any other does as well.
_AUTHORITY = "https://freetsa.org/tsr"

sign_option = click.option(
    "--sign",
    "signing_key",
    type=_PATH,
    default=None,
    help="Sign what is written, with this key.",
)


def stamp_lines(path: pathlib.Path, kind: str) -> list[str]:
    """Write the request for a stamp, and return the lines that say how to get the stamp.

    Args:
      path: as `anw stamp` takes it.
      kind: one of `keys.stamps.KINDS`.
    """
    check, document = shlex.join(["anw", "stamp", str(path), "--anchor"]), _document(path)
    response, proof = stamp_files(document)
    if kind == "opentimestamps":
        return [
            f"have it time-stamped: ots stamp {shlex.quote(str(document))}; a day later: ots "
            f"upgrade {shlex.quote(str(proof))}; then: {check} HEADER",
        ]
    request = audit.write_request(document)
    command = [
        *("curl", "-sS", "-H", "Content-Type: application/timestamp-query"),
        *("--data-binary", f"@{request}", "-o", str(response), _AUTHORITY),
    ]
    return [
        f"have it time-stamped, at this authority or another: {shlex.join(command)}",
        f"then, with the authority's root certificate from its site: {check} ROOT.pem",
    ]


def _document(path: pathlib.Path) -> pathlib.Path:
    """Return the file that is stamped: a folder's commitment.json or mark.json, or a file."""
    if not path.is_dir():
        return path
    is_model = (path / MODEL_MARK).exists() and not (path / COMMITMENT).exists()
    return path / (MODEL_MARK if is_model else COMMITMENT)


def _plan_of(document: pathlib.Path) -> Plan | None:
    """Return the plan whose beacon a stamp must precede; None for the list of marked files."""
    if document.name == DIGESTS:
        read_json(document, DIGESTS_FORMAT)
        return None
    if document.name == COMMITMENT:
        return audit.read_published(document.parent).plan
    with needing_run():
        from anw_jax.schemes.case import ModelMark
    return ModelMark.load(document).plan


@click.command()
@click.argument("path", type=_PATH)
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    type=_PATH,
    metavar="FILE",
    help="What you trust: an authority's root certificate (PEM or DER), or a Bitcoin block's "
    "header (160 hex digits in a file); may be repeated.",
)
@json_option
def stamp(path, anchors, as_json) -> None:
    """Verify PATH/commitment.tsr (RFC 3161) and PATH/commitment.json.ots (OpenTimestamps).

    Works offline. An RFC 3161 stamp must be at least 1 hour older than the value of the
    beacon, an OpenTimestamps block 24 hours; otherwise that is an error. Without a stamp there
    this writes PATH/commitment.tsq, the request, and prints the command that sends it.
    Needs the extra 'stamp'. PATH may also be a model's mark: its folder with mark.json, or one
    file of `anw model keygen`; its stamps are mark.tsr and mark.json.ots. Of published.json,
    the list of marked files, a stamp shows that they existed; no test rests on it.

    \b
    Examples:
      anw stamp marked
      anw stamp marked --anchor freetsa_root.pem
      anw stamp marked/published.json
      anw stamp mark/key1.json
    """
    document = _document(path)
    plan = _plan_of(document)
    if not any(file.exists() for file in stamp_files(document)):
        if anchors:
            names = " or ".join(file.name for file in stamp_files(document))
            raise CaseError(f"--anchor needs a time stamp to verify, and {path} has no {names}")
        show(as_json, {"stamps": []}, stamp_lines(path, KINDS[0]))
        return
    stamps = audit.read_stamps(document, audit.read_trust_anchors(anchors))
    if plan is None:
        what = "these marked files existed then; keep the stamp, and publish only them"
        show(as_json, stamps_json(stamps), [*map(str, stamps), what])
        return
    appears = read_beacon(plan.beacon).time if plan.version > 1 else None
    early = [one for one in stamps if appears is not None and one.precedes(appears)]
    if appears is not None and not early:
        raise CaseError(
            f"{stamps[0]} must be at least {stamps[0].least_hours} h before the beacon's "
            f"value, which appears at {appears.isoformat()}: it does not show that the "
            "commitment is older"
        )
    what = (
        "the beacon's name gives no time of its value: compare it yourself"
        if appears is None
        else f"early enough for the beacon's value, which appears at {appears.isoformat()}"
    )
    after = []
    if early and plan.is_of_scheme:
        after = [f"keep the stamp, and hand it over beside {MODEL_MARK}"]
    elif early:
        after = ["keep the stamp; then, when the value has appeared: anw mark"]
    show(as_json, stamps_json(stamps), [*map(str, stamps), what, *after])


@click.command("signing", short_help="Create a key to sign with, in a new file.")
@click.argument("file", type=_PATH)
@json_option
def key_signing(file, as_json) -> None:
    """Create an Ed25519 key in FILE, readable only by you, and print its public key.

    Owner and arbitrator each have one, for all their files; it has nothing to do with the
    marks. Give the public key to the other side in a way that it trusts. Needs the extra
    'stamp'.

    \b
    Example:
      anw key signing ann.sign
    """
    try:
        public = audit.new_signing_key(file)
    except FileExistsError:
        raise FileExistsError(f"{file} already exists: a key is never overwritten") from None
    show(
        as_json,
        {"key": str(file), "public_key": public},
        [
            f"{file} written. Keep it secret, and use it for all your files.",
            f"public key, for everybody: {public}",
            f"send it to the other side; {then('anw', 'sign', 'FILES', '--key', file)}",
        ],
    )


@click.command()
@click.argument("files", type=_PATH, nargs=-1, required=True)
@click.option("--key", "key_file", required=True, type=_PATH, help="Your signing key.")
@json_option
def sign(files, key_file, as_json) -> None:
    """Sign each of FILES with Ed25519, and write the signature beside it as FILE.sig.

    The owner signs commitment.json and openings; the arbitrator declared.json, blind.json (or
    closed.json) and verdict.json. `anw declare`, `anw verdict` and `anw replay` verify each
    signature in a case. Needs the extra 'stamp'.

    \b
    Examples:
      anw sign marked/commitment.json --key ann.sign
      anw sign case/declared.json case/blind.json --key jane.sign
    """
    signed = [(file, audit.sign_file(file, key_file).signer) for file in files]
    lines = [f"{file}.sig written, by {signer}" for file, signer in signed]
    check = ("anw", "verify-signature", *files, "--signer", signed[0][1])
    lines.append(f"keep each beside its file; anyone can check it, {then(*check)}")
    show(as_json, {"signed": _pairs(signed)}, lines)


def _pairs(signed: list[tuple[pathlib.Path, str]]) -> list[dict[str, str]]:
    return [{"file": str(file), "signer": signer} for file, signer in signed]


@click.command("verify-signature")
@click.argument("files", type=_PATH, nargs=-1, required=True)
@click.option(
    "--signer",
    default=None,
    metavar="HEX",
    help="The public key that the signatures must be of, as you had it from its holder.",
)
@json_option
def verify_signature(files, signer, as_json) -> None:
    """Verify FILE.sig beside each of FILES; exit code 8 if one is not valid.

    Without --signer this shows only that one key signed these bytes, not whose it is. Needs
    the extra 'stamp'.

    \b
    Example:
      anw verify-signature marked/commitment.json --signer 9f0c…
    """
    found = [(file, audit.check_signature(file, signer).signer) for file in files]
    lines = [f"{file} is signed by {signer}" for file, signer in found]
    show(as_json, {"signatures": _pairs(found)}, lines)


def signature_lines(signatures: list[dict[str, Any]]) -> list[str]:
    """Format which files of a case are signed, and by whom."""
    signed = [one for one in signatures if one["signer"]]
    if not signed:
        return ["signatures: none"]
    lines = [f"signature of {one['file']}: valid, by {one['signer']}" for one in signed]
    without = ", ".join(one["file"] for one in signatures if not one["signer"])
    return [*lines, f"not signed: {without}"] if without else lines
