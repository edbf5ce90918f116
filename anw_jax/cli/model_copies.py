"""Copies for customers: `anw model setup | issue | accept | trace`."""

import dataclasses
import pathlib
from typing import Any

import click

from anw_jax import _files, _json
from anw_jax.audit.files import read_json
from anw_jax.cli.options import (
    beacon_option,
    held_option,
    json_option,
    log_option,
    parse_beacon_value,
    path_type,
    sign_option,
    value_option,
)
from anw_jax.cli.output import code_of_outcome, show
from anw_jax.cli.owner_format import beacon_line
from anw_jax.errors import CaseError
from anw_jax.keys import MarkKey, Plan, check_scheme_commitment, commit_scheme, draw_bits

_FORMAT = "anw_jax fingerprint setup, version 1"
_CARRIER, _KEY = "carrier.json", "mark.key"


@click.command(short_help="Fix everything about the copies of a model, before any code exists.")
@click.argument("folder", type=path_type)
@click.option("--network", required=True, type=path_type, help="The clean model.")
@beacon_option
@click.option("--judge", required=True, metavar="HEX", help="Public key of the judge.")
@click.option("--customers", default=100, show_default=True, help="Copies that may be issued.")
@click.option("--disputes", default=1, show_default=True, help="Suspects that may be judged.")
@click.option("--epsilon", default=1e-6, show_default=True, help="Chance to name an innocent.")
@log_option
@sign_option
@json_option
def setup(
    folder, network, beacon, judge, customers, disputes, epsilon, log, sign, as_json
) -> None:
    """Write key and carrier to the new FOLDER, and append SETUP to the log.

    Keep FOLDER secret. Then let the nodes of the log see it (anw model vote), and wait for the
    beacon's value.

    \b
    Example:
      anw model setup copies --network clean.npz --customers 100 \\
        --judge 77de… --log shared/log --sign ann.sign
    """
    from anw_jax.schemes import fingerprint, plan_of
    from anw_jax.schemes.case import MODEL_MARK, ModelMark
    from anw_jax.schemes.log import read_started_log

    if folder.exists():
        raise FileExistsError(f"{folder} already exists: keys are never overwritten")
    read_started_log(log)
    key = MarkKey.generate()
    _, base = network_at(network)
    carrier = fingerprint.make_carrier(key, base, customers, num_disputes=disputes)
    claim = "one model" if disputes == 1 else "each model"
    plan = plan_of(carrier, alpha=epsilon, beacon=beacon, claim=claim)
    commitment = commit_scheme(key, plan)
    with _files.new_folder(folder) as whole:
        key.save(whole / _KEY)
        record = fingerprint.records.setup(log, plan, commitment, judge, sign)
        body = {
            "format": _FORMAT,
            "carrier": carrier.as_json(),
            "plan": plan.as_json(),
            "setup": record.number,
        }
        _json.write(whole / _CARRIER, body)
        mark = ModelMark(plan, commitment, carrier.as_json(), record.number)
        _json.write(whole / MODEL_MARK, mark.as_json())
    shown = {"record": record.number, "commitment": commitment, "weights": carrier.num_weights}
    lines = [f"setup {record.number}: {commitment}", f"keep {folder} secret"]
    lines += [
        "then, each node: anw model vote LOG",
        beacon_line(beacon),
        "then: anw model issue",
    ]
    show(as_json, shown, lines)


@click.command(short_help="Make one customer's copy, and record it.")
@click.argument("folder", type=path_type)
@click.option("--network", required=True, type=path_type, help="The clean model.")
@click.option("--customer", required=True, metavar="HEX", help="The customer's public key.")
@click.option("--nonce", required=True, metavar="HEX", help="64 digits that the customer drew.")
@click.option("--strength", default=0.05, show_default=True, help="Change, as a share.")
@click.option("--out", required=True, type=path_type, help="The copy, a new .npz file.")
@click.option("--data", "source", help="Images of the task, to repair the copy by training.")
@click.option("--image-size", default=32, show_default=True, help="Pixels of a side.")
@value_option
@log_option
@sign_option
@json_option
def issue(
    folder,
    network,
    customer,
    nonce,
    strength,
    out,
    source,
    image_size,
    beacon_value,
    log,
    sign,
    as_json,
) -> None:
    """Write the customer's copy to OUT, and append ISSUE to the log before it is handed over.

    \b
    Example:
      anw model issue copies --network clean.npz --customer 12ab… --nonce 5c1f… \\
        --beacon-value round.json --out bob.npz --log shared/log --sign ann.sign
    """
    from anw_jax.schemes import fingerprint, save_network, weights_digest
    from anw_jax.schemes.fingerprint.delivered import check_copies
    from anw_jax.schemes.log import read_started_log

    if out.exists():
        raise FileExistsError(f"{out} already exists: it is never overwritten")
    carrier, plan, setup_number = _opened(folder / _CARRIER)
    key = MarkKey.load(folder / _KEY)
    setup = fingerprint.records.setup_of(read_started_log(log), setup_number)
    check_scheme_commitment(setup.commitment, key, plan)
    value = parse_beacon_value(plan, beacon_value)
    net, base = network_at(network)
    one = fingerprint.Issue(0, customer, nonce, "", None)
    code = one.code(key, plan, carrier.num_bits, value)
    common = draw_bits(key, plan, carrier.num_owner_bits, beacon=value)
    copy = fingerprint.embed(carrier, base, code, common, strength=strength)
    if source is not None:
        copy = _repaired(carrier, net, base, copy, source, image_size)
    digest = weights_digest(copy)
    # What the judge would refuse is not sold.
    given = dataclasses.replace(one, weights=digest, accepted=0)
    check_copies(carrier, base, [given], [code], lambda _: copy)
    record = fingerprint.records.issue(log, setup_number, customer, nonce, digest, sign)
    save_network(out, net, copy)
    body = {"record": record.number, "weights": digest}
    show(as_json, body, [f"issue {record.number}: {out}, weights {digest}"])


@click.command(short_help="As a customer: sign that you hold a copy.")
@click.argument("log", type=path_type)
@click.option("--issue", "number", required=True, type=int, help="Number of the issue.")
@click.option("--network", required=True, type=path_type, help="The copy that you received.")
@click.option("--nonce", required=True, metavar="HEX", help="The 64 digits that you drew.")
@sign_option
@json_option
def accept(log, number, network, nonce, sign, as_json) -> None:
    """Append ACCEPT to LOG: the copy has the weights and the nonce that the issue names.

    Keep a copy of the record: it shows to anybody if the log is cut before it.

    \b
    Example:
      anw model accept shared/log --issue 7 --network bob.npz --nonce 5c1f… --sign bob.sign
    """
    from anw_jax.schemes import fingerprint, weights_digest
    from anw_jax.schemes.log import record_files

    digest = weights_digest(network_at(network)[1])
    record = fingerprint.records.accept(log, number, nonce, digest, sign)
    body = {"record": record.number, "weights": digest}
    kept = record_files(log)[record.number - 1]
    show(as_json, body, [f"accepted: issue {number}", f"keep a copy of {kept}"])


@click.command(short_help="Trace a suspect to the copies that it derives from.")
@click.argument("log", type=path_type)
@click.option("--carrier", required=True, type=path_type, help="carrier.json of the owner.")
@click.option("--suspect", required=True, type=path_type, help="The model found.")
@click.option("--dispute", type=int, help="As the judge: number of the dispute.")
@click.option("--base", type=path_type, help="As the judge: the clean model.")
@click.option("--key", type=path_type, help="As the judge, after reading: the owner's key.")
@click.option("--copies", type=path_type, help="With --key: folder with all accepted copies.")
@click.option("--beacon-value", metavar="VALUE", help="With --key: as you fetched it.")
@click.option("--models-tried", type=int, help="You state: models on which the key was tried.")
@click.option("--nothing-else", is_flag=True, help="You state: the key had no other use.")
@held_option
@sign_option
@json_option
def trace(
    log,
    carrier,
    suspect,
    dispute,
    base,
    key,
    copies,
    beacon_value,
    models_tried,
    nothing_else,
    held,
    sign,
    as_json,
) -> int | None:
    """Append DISPUTE as the owner, EXTRACT as the judge, and with --key the VERDICT.

    The judge reads the suspect before getting the owner's key. Exit codes of a verdict are
    those of `anw verdict`: 0 if a customer is named and it is evidence, 10 if named on
    conditions (what the judge does not state is one), 3 if none is. A dispute has one verdict:
    repeated, the command finds it, and other statements are refused. Compare with --held your
    own last record, what the owner signed and others kept, and receipts that the owner kept.

    \b
    Examples:
      anw model trace shared/log --carrier copies/carrier.json --suspect found.npz \\
        --sign ann.sign
      anw model trace shared/log --dispute 12 --carrier carrier.json --base clean.npz \\
        --suspect found.npz --held 0009.json --sign judge.sign
      anw model trace shared/log --dispute 12 --carrier carrier.json --base clean.npz \\
        --suspect found.npz --key mark.key --copies copies --beacon-value round.json \\
        --models-tried 1 --nothing-else --sign judge.sign
    """
    from anw_jax.schemes import fingerprint
    from anw_jax.schemes.copies import copies_in
    from anw_jax.schemes.log import check_held, read_log

    check_held(read_log(log), held)
    opened, _, setup_number = _opened(carrier)
    found = network_at(suspect)[1]
    if dispute is None:
        record = fingerprint.open_dispute(log, opened, setup_number, found, sign)
        digest = record.body["suspect"]
        body = {"record": record.number, "suspect": digest}
        show(as_json, body, [f"dispute {record.number}: weights {digest}"])
        return None
    if base is None:
        raise click.UsageError("the judge reads a suspect with --base")
    given = (log, dispute, opened, network_at(base)[1], found)
    if key is None:
        record = fingerprint.read_suspect(*given, sign)
        show(as_json, {"record": record.number, **record.body}, ["read: the key may be opened"])
        return None
    if copies is None or beacon_value is None:
        raise click.UsageError("a verdict needs --copies and --beacon-value")
    plan = fingerprint.records.plan_of_dispute(log, dispute)
    value = parse_beacon_value(plan, beacon_value)
    record, verdict = fingerprint.judge_dispute(
        *given,
        MarkKey.load(key),
        value,
        copies_in(copies),
        sign,
        models_tried=models_tried,
        nothing_else=nothing_else,
    )
    show(as_json, {"record": record.number, **record.body}, _verdict_lines(verdict))
    return code_of_outcome(verdict.outcome, [verdict.standing])


COMMANDS = (setup, issue, accept, trace)


def _verdict_lines(verdict: Any) -> list[str]:
    """Format the p of each issue, and the verdict."""
    from anw_jax.stats import format_log10_p

    lines = [
        f"issue {one.number}: customer {one.customer[:16]}…, log10 p = "
        + format_log10_p(log10_p)
        + (" (no receipt)" if one.accepted is None else "")
        for one, log10_p in zip(verdict.issues, verdict.trace.smallest, strict=True)
    ]
    return [*lines, *verdict.text.splitlines()]


def _opened(path: pathlib.Path) -> tuple[Any, Plan, int]:
    """Read carrier, plan and number of the setup."""
    from anw_jax.schemes import fingerprint

    body = read_json(path, _FORMAT)
    try:
        carrier = fingerprint.Carrier.from_json(body["carrier"])
        return carrier, Plan.from_json(body["plan"]), body["setup"]
    except (KeyError, TypeError, ValueError) as error:
        raise CaseError(f"{path} is damaged: {error}") from None


def _repaired(
    carrier: Any, net: Any, base: Any, copy: Any, source: str, image_size: int
) -> dict[str, Any]:
    """Train a copy for one epoch, and restore its code."""
    from anw_jax import data, train
    from anw_jax.schemes import fingerprint

    task = data.load(source, image_size=image_size).train.in_memory()
    how = fingerprint.RepairSettings(batch_size=min(64, len(task)))
    given = (carrier, net, base, copy, task.images, task.labels, how)
    return fingerprint.repair(*given, train_settings=train.TrainSettings(schedule="cosine"))


def network_at(path: pathlib.Path) -> tuple[Any, dict[str, Any]]:
    """Read a network: a run's folder of checkpoints, or a file of `anw model embed`."""
    from anw_jax.schemes.weights import open_network

    return open_network(path)
