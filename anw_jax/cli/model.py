"""Watermarks in models: `anw model log | keygen | embed | release | claim | vote`.

The commands for customers' copies are in `model_copies`.
"""

import contextlib
import pathlib
import shutil
from typing import Any

import click
import numpy as np

from anw_jax import _check, _files, _json
from anw_jax.cli import model_copies, outputs
from anw_jax.cli.model_copies import network_at
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
from anw_jax.cli.output import NOT_SHOWN, ProgressLine, code_of_outcome, show
from anw_jax.cli.owner_format import beacon_line
from anw_jax.errors import AnwError, CaseError
from anw_jax.keys import MarkKey, Plan, check_scheme_commitment, commit_scheme, one_time_key


@click.group()
def model() -> None:
    """Put a secret mark into a model, and decide with others whose model it is.

    Needs the extras 'run' and 'stamp'. In order: log, keygen, vote (each node, to say that it
    has seen the commitment), the beacon's value, embed, release; in a dispute claim and vote.
    For a mark in the outputs of a model: barrier, the beacon's value, protect.
    For copies with a code for each customer: log, setup, vote, issue, accept; then trace.
    """


for _command in (outputs.barrier, outputs.protect, *model_copies.COMMANDS):
    model.add_command(_command)


@model.command(short_help="Start a public log, or show it.")
@click.argument("folder", type=path_type)
@click.option("--node", "nodes", multiple=True, metavar="HEX", help="Public key of a node.")
@click.option("--sign", type=path_type, help="Your signing key, to start the log.")
@held_option
@json_option
def log(folder, nodes, sign, held, as_json) -> None:
    """Start a log in FOLDER that names its nodes; without --node verify and show it.

    Nobody sees from a log alone that its last records were cut off. Keep a copy of the newest
    record that you signed or saw, and compare it with --held before you sign the next.

    \b
    Examples:
      anw model log shared/log --node 9f0c… --node 12ab… --node 77de… --sign ann.sign
      anw model log shared/log --held 0007.json
    """
    from anw_jax.schemes import protocol
    from anw_jax.schemes.log import check_held, read_started_log

    if nodes:
        if sign is None:
            raise click.UsageError("a log is started with --sign KEY")
        protocol.open_log(folder, nodes, sign)
    records = read_started_log(folder)
    check_held(records, held)
    tallies = [protocol.tally(records, r.number) for r in records if r.kind == "claim"]
    lines = [f"{r.number:4d} {r.kind:8s} {r.author[:16]}…" for r in records]
    for one in tallies:
        level = "" if one.level is None else f" at level {one.level:g}"
        lines.append(f"claim {one.claim}: {one.outcome}{level} ({_counts(one.counts)})")
        lines += [f"  of votes for shown: {standing}" for standing in one.open]
    body = {
        "newest": records[-1].digest,
        "records": [{"number": r.number, "kind": r.kind, "author": r.author} for r in records],
        "claims": [
            {
                "claim": one.claim,
                "outcome": one.outcome,
                "level": one.level,
                **one.counts,
                "open": [*one.open],
            }
            for one in tallies
        ],
    }
    show(as_json, body, [*lines, f"newest record: {records[-1].digest}"])


@model.command(short_help="Create the keys of a model's marks, and publish their commitments.")
@click.argument("folder", type=path_type)
@click.option("--network", required=True, type=path_type, help="The clean model: run or .npz.")
@click.option("--tap", "taps", multiple=True, required=True, help="A layer to read; repeat.")
@beacon_option
@click.option("--keys", "num_keys", default=2, show_default=True, help="One for each claim.")
@click.option("--bits", default=300, show_default=True, help="Bits of each key.")
@click.option("--image-size", default=32, show_default=True, help="Pixels of a side.")
@click.option("--alpha", default=1e-6, show_default=True, help="Level of the test.")
@click.option("--log", type=path_type, help="Folder of the public log; needs --sign.")
@click.option("--sign", type=path_type, help="Your signing key.")
@json_option
def keygen(
    folder, network, taps, beacon, num_keys, bits, image_size, alpha, log, sign, as_json
) -> None:
    """Write keys and decoders to the new FOLDER, and publish the commitments in the log.

    Do this after the clean model is trained and before the beacon's value appears. Without a
    log, hand the commitments to an arbitrator before that moment. Keep FOLDER secret.

    \b
    Example:
      anw model keygen mark --network runs/clean/checkpoints --tap BasicBlock_0 \\
        --tap BasicBlock_1 --log shared/log --sign ann.sign
    """
    from anw_jax.audit.signatures import public_key_of
    from anw_jax.schemes import multitask, plan_of, settings_digest, weights_digest
    from anw_jax.schemes.log import read_started_log
    from anw_jax.schemes.scheme import check_can_be_shown

    if (log is None) != (sign is None):
        raise click.UsageError("--log and --sign belong together")
    _check.integer_at_least(1, keys=num_keys)
    _check.in_open_interval(0.0, 1.0, alpha=alpha)
    check_can_be_shown(bits, alpha, num_keys)
    net, variables = network_at(network)
    net.taps(variables, np.zeros((1, image_size, image_size, 3), np.float32), taps)
    base, settings = weights_digest(variables), settings_digest(net)
    if folder.exists():
        raise FileExistsError(f"{folder} already exists: keys are never overwritten")
    if log is not None:
        read_started_log(log)
        public_key_of(sign)
    master, made = MarkKey.generate(), []
    shape = (image_size, image_size, 3)
    for number in range(1, num_keys + 1):
        key = one_time_key(master, number)
        decoder = multitask.make_decoder(
            key, base, taps, num_bits=bits, image_shape=shape, settings=settings
        )
        # Each says how many there are: whoever opens one has had the choice among all.
        plan = plan_of(decoder, alpha=alpha, beacon=beacon, number=num_keys)
        made.append((decoder, plan, commit_scheme(key, plan)))
    published = _publish_keys(folder, master, made, log, sign)
    lines = [
        f"key {one['number']}: {_published(one['record'])}, {one['commitment']}"
        for one in published
    ]
    first = folder / "key1.json"
    after = f"hand these to the arbitrator now, or have each stamped: anw stamp {first}"
    after = "then, each node: anw model vote LOG" if log else after
    lines += [f"keep {folder} secret", after, beacon_line(beacon), "then: anw model embed"]
    show(as_json, {"keys": published}, lines)


@model.command(short_help="Embed the bits of all keys into the clean model.")
@click.argument("folder", type=path_type)
@click.option("--network", required=True, type=path_type, help="The clean model: run or .npz.")
@click.option("--data", "source", required=True, help="Images of the task, as in `data.load`.")
@value_option
@click.option("--out", required=True, type=path_type, help="The marked model, a new .npz file.")
@click.option("--steps", default=400, show_default=True, help="Steps of the embedding.")
@json_option
def embed(folder, network, source, beacon_value, out, steps, as_json) -> None:
    """Embed the bits of FOLDER's keys, which the beacon's value determines, and write OUT.

    After Ctrl-C or a kill the same command continues from the folder OUT.unfinished.

    \b
    Example:
      anw model embed mark --network runs/clean/checkpoints --data tfds:cifar10 \\
        --beacon-value pulse.json --out marked.npz
    """
    from anw_jax import data
    from anw_jax.schemes import keygen as draw
    from anw_jax.schemes import multitask, save_network

    unfinished, line = out.with_name(out.name + ".unfinished"), ProgressLine("embed", "steps")
    if out.exists():
        shutil.rmtree(unfinished, ignore_errors=True)  # what a kill left of the last line
        raise FileExistsError(f"{out} already exists: it is never overwritten")
    net, variables = network_at(network)
    decoders = []
    for key, decoder, plan, _ in _keys(folder):
        value = parse_beacon_value(plan, beacon_value)
        decoders.append((decoder, draw(key, decoder, plan, beacon=value)))
        side = decoder.image_shape[0]
    task = data.load(source, image_size=side).train
    with contextlib.closing(line):
        embeddings = multitask.embed(
            net,
            variables,
            decoders,
            task.images,
            task.labels,
            multitask.EmbedSettings(num_steps=steps),
            checkpoint_dir=unfinished,
            on_segment=lambda report: line(report.step, report.num_steps),
        )
    digest = save_network(out, net, embeddings[0].variables)
    shutil.rmtree(unfinished)
    found = [
        {"number": number, "share_right": one.share_right, "mean_margin": one.mean_margin}
        for number, one in enumerate(embeddings, 1)
    ]
    lines = [
        f"key {one['number']}: {one['share_right']:.1%} of the bits are in, by "
        f"{one['mean_margin']:.2f} standard deviations"
        for one in found
    ]
    show(as_json, {"weights": digest, "keys": found}, [*lines, f"{out}: weights {digest}"])


@model.command(short_help="Name the released weights in the log.")
@click.argument("folder", type=path_type)
@click.option("--network", required=True, type=path_type, help="The marked model.")
@log_option
@sign_option
@json_option
def release(folder, network, log, sign, as_json) -> None:
    """Name the weights that hold the bits of FOLDER's keys, before they are handed out.

    \b
    Example:
      anw model release mark --network marked.npz --log shared/log --sign ann.sign
    """
    from anw_jax.schemes import check_released, protocol, weights_digest

    _, variables = network_at(network)
    check_released(variables)
    digest = weights_digest(variables)
    numbers = [_publication(number, last) for number, (*_, last) in enumerate(_keys(folder), 1)]
    record = protocol.release(log, numbers, digest, sign)
    body = {"record": record.number, "weights": digest}
    show(as_json, body, [f"released in record {record.number}: weights {digest}"])


@model.command(short_help="Open a key, and claim a model.")
@click.argument("folder", type=path_type)
@click.option("--number", required=True, type=int, help="Which key; each serves once.")
@click.option("--suspect", required=True, type=path_type, help="The model claimed.")
@value_option
@log_option
@sign_option
@json_option
def claim(folder, number, suspect, beacon_value, log, sign, as_json) -> None:
    """Open key NUMBER of FOLDER and claim the suspect; the key is spent by it.

    \b
    Example:
      anw model claim mark --number 1 --suspect found.npz --beacon-value pulse.json \\
        --log shared/log --sign ann.sign
    """
    from anw_jax.schemes import multitask, protocol, settings_digest, weights_digest
    from anw_jax.schemes.case import spending

    key, decoder, plan, publication = _one_key(folder, number)
    publication = _publication(number, publication)
    value = parse_beacon_value(plan, beacon_value)
    net, variables = network_at(suspect)
    multitask.check_answers(decoder, multitask.tapped(net, variables, decoder.taps))
    digest, settings = weights_digest(variables), settings_digest(net)
    with spending(folder, number, "a claim in the log", (AnwError, ValueError)):
        record = protocol.claim(log, publication, key, decoder, value, digest, sign, settings)
    body = {"record": record.number, "suspect": digest}
    show(
        as_json, body, [f"claim {record.number} on the weights {digest}: key {number} is spent"]
    )


@model.command("open", short_help="Write one key to a file, for an arbitrator's verdict.")
@click.argument("folder", type=path_type)
@click.option("--number", required=True, type=int, help="Which key; each serves once.")
@click.option("--out", required=True, type=path_type, help="The key, a new file.")
@json_option
def open_key(folder, number, out, as_json) -> None:
    """Write key NUMBER of FOLDER to OUT, for `anw verdict --key`; the key is spent by it.

    \b
    Example:
      anw model open mark --number 1 --out one.key
    """
    from anw_jax.schemes.case import spending

    key, *_ = _one_key(folder, number)
    with spending(folder, number, str(out.absolute()), (OSError, ValueError)):
        key.save(out)
    show(as_json, {"key": str(out)}, [f"{out} written: key {number} is spent"])


@model.command(short_help="As a node: state what you have seen, or judge a claim.")
@click.argument("log", type=path_type)
@click.option("--claim", "number", type=int, help="Number of the claim; without it, see only.")
@click.option("--base", type=path_type, help="The clean model that the claim's decoder names.")
@click.option("--suspect", type=path_type, help="The model claimed, as you obtained it.")
@click.option("--beacon-value", metavar="VALUE", help="As you fetched it: digits, or a file.")
@click.option("--models-tried", type=int, help="You state: models on which the key was tried.")
@click.option("--nothing-else", is_flag=True, help="You state: the key had no other use.")
@sign_option
@json_option
def vote(
    log, number, base, suspect, beacon_value, models_tried, nothing_else, sign, as_json
) -> None:
    """Sign that you hold all records of LOG now; with --claim read the suspect and vote.

    Exit codes of a vote are those of `anw verdict`: 0 for shown and evidence, 10 for shown on
    conditions (what you do not state is one), 3 for not shown or refused, 4 for inconclusive.

    \b
    Examples:
      anw model vote shared/log --sign node.sign
      anw model vote shared/log --claim 14 --base clean.npz --suspect found.npz \\
        --beacon-value pulse.json --models-tried 1 --nothing-else --sign node.sign
    """
    from anw_jax.schemes import protocol
    from anw_jax.stats import format_log10_p

    if number is None:
        record = protocol.see(log, sign)
        seen = record.body["up_to"]
        show(as_json, {"record": record.number, **record.body}, [f"seen: {seen} records"])
        return 0
    if None in (base, suspect, beacon_value):
        raise click.UsageError("a vote on a claim needs --base, --suspect and --beacon-value")
    stated = {"models_tried": models_tried, "nothing_else": nothing_else}
    value = parse_beacon_value(protocol.plan_of_claim(log, number), beacon_value)
    networks = (network_at(base), network_at(suspect))
    record = protocol.vote(log, number, *networks, value, sign, **stated)
    outcome = record.body["outcome"]
    why = record.body.get("reason") or f"log10 p = {format_log10_p(record.body['log10_p'])}"
    if outcome == "shown":
        why += f"; {record.body['standing']}"
    body = {"record": record.number, **record.body}
    show(as_json, body, [f"vote {record.number} on claim {number}: {outcome}", why])
    if outcome == "refused":
        return NOT_SHOWN
    return code_of_outcome(outcome, [record.body["standing"]])


def _keys(folder: pathlib.Path):
    """Yield key, decoder, plan and publication of each key of a folder, in order."""
    from anw_jax.schemes.case import ModelMark

    master = MarkKey.load(folder / "mark.key")
    paths = sorted(folder.glob("key*.json"), key=lambda path: int(path.stem[3:] or 0))
    for number, path in enumerate(paths, 1):
        mark, key = ModelMark.load(path), one_time_key(master, number)
        check_scheme_commitment(mark.commitment, key, mark.plan)
        yield key, mark.open_decoder(), mark.plan, mark.publication


def _one_key(folder: pathlib.Path, number: int) -> tuple[Any, ...]:
    keys = list(_keys(folder))
    if not 1 <= number <= len(keys):
        raise ValueError(f"number must be 1 to {len(keys)}, got {number}")
    return keys[number - 1]


def _publication(number: int, record: int | None) -> int:
    if record is None:
        raise CaseError(f"key {number} is in no log: it was made without --log")
    return record


def _publish_keys(
    folder: pathlib.Path,
    master: MarkKey,
    made: list[tuple[Any, Plan, str]],
    log: pathlib.Path | None,
    sign: pathlib.Path | None,
) -> list[dict[str, Any]]:
    """Write the folder of the keys, and publish their commitments if there is a log."""
    from anw_jax.schemes import protocol
    from anw_jax.schemes.case import ModelMark

    published = []
    with _files.new_folder(folder) as whole:
        master.save(whole / "mark.key")
        for number, (decoder, plan, commitment) in enumerate(made, 1):
            record = None
            if log is not None:
                record = protocol.publish(log, plan, commitment, sign).number
            mark = ModelMark(plan, commitment, decoder.as_json(), record)
            _json.write(whole / f"key{number}.json", mark.as_json())
            published.append({"number": number, "record": record, "commitment": commitment})
    return published


def _published(record: int | None) -> str:
    return "not published" if record is None else f"published as record {record}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no votes"
