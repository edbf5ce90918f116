"""The arbitrator's commands: plan, probe, declare, audit, verdict, replay."""

import pathlib
from typing import Any

import click

from anw_jax.cli import exit_codes
from anw_jax.cli import format as telling
from anw_jax.cli.options import by_owner, parse_beacon_value
from anw_jax.cli.output import ProgressLine, json_option, show
from anw_jax.keys import MODES, MarkKey
from anw_jax.keys.plan_fields import FITS
from anw_jax.stats import DEFAULT_ALPHA, INVERSIONS
from anw_jax.suspects import Declaration, JaxSuspect, Suspect
from anw_jax.suspects.access import KINDS

_CASE = click.argument("case", type=click.Path(path_type=pathlib.Path))
_KEYS = click.option(
    "--key",
    "key_files",
    multiple=True,
    metavar="[OWNER=]FILE",
    help="The key file of each owner.",
)


def _workdir(fields: Any) -> Suspect:
    """The newest checkpoint of a run, with its network; needs the extra 'run'."""
    folder, declared = fields.beside("file"), fields.table("declaration")
    if declared.get("identity"):
        raise ValueError("declaration must name no identity: it is computed from the weights")
    try:
        from anw_jax.train import load_model
    except ImportError:
        from anw_jax.suspects.adapters.base import missing

        raise missing("asking a workdir", "run") from None
    inside = folder / "checkpoints"
    model, variables = load_model(inside if inside.is_dir() else folder)
    declaration = Declaration.from_json({"num_classes": model.num_classes, **declared})
    return JaxSuspect(model.predict_fn(variables), declaration)


MAKERS = {"workdir": _workdir}


@click.command(short_help="Estimate photos and queries, or show the state of a case.")
@click.argument("case", required=False, type=click.Path(path_type=pathlib.Path))
@click.option(
    "--alpha",
    default=DEFAULT_ALPHA,
    show_default=True,
    help="The level: the largest p that counts as shown.",
)
@click.option("--power", default=0.9, show_default=True, help="Probability of reaching it.")
@click.option(
    "--access",
    type=click.Choice(KINDS),
    default="logits",
    show_default=True,
    help="Which part of an answer is used.",
)
@click.option("--no-labels", is_flag=True, help="Labels are the model's own.")
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="sealed",
    show_default=True,
    help="All units at once, or one by one until the level is reached.",
)
@click.option("--slots", default=12, show_default=True, help="Number of hues on the circle.")
@click.option(
    "--augmentations", default=1, show_default=True, help="Queries for each photo and slot."
)
@click.option(
    "--images-per-unit",
    default=1,
    show_default=True,
    help="Photos of an album that share a hue.",
)
@click.option(
    "--effect",
    type=float,
    default=None,
    help="How far a marked unit's score lies above chance, in standard deviations; by default "
    "as measured in results/.",
)
@click.option("--study", default=None, help="The results from which the effect is taken.")
@click.option(
    "--max-units",
    default=2000,
    show_default=True,
    help="Largest number of units tried.",
)
@json_option
def plan(
    case,
    alpha,
    power,
    access,
    no_labels,
    mode,
    slots,
    augmentations,
    images_per_unit,
    effect,
    study,
    max_units,
    as_json,
) -> int | None:
    """Estimate photos and queries before the first one; with CASE, show its state and results.

    \b
    Examples:
      anw plan --alpha 1e-6 --power 0.9
      anw plan --access label --no-labels
      anw plan --mode sequential --effect 1.5 --json
      anw plan case
    """
    from anw_jax import audit

    if case is not None:
        body = telling.state_of(audit.Case(case))
        show(as_json, body, telling.state_lines(body))
        return
    body = audit.estimate(
        access=access,
        effect=effect,
        study=study,
        true_labels=not no_labels,
        num_slots=slots,
        alpha=alpha,
        power=power,
        mode=mode,
        images_per_unit=images_per_unit,
        augmentations=augmentations,
        max_units=max_units,
        on_progress=ProgressLine("simulated", "audits"),
    )
    show(as_json, body, telling.estimate_lines(body, alpha, power, slots))


@click.command(short_help="Look for mistakes in how a suspect is asked.")
@_CASE
@click.option("--photos", default=48, show_default=True, help="Originals to ask about.")
@json_option
def probe(case, photos, as_json) -> int:
    """Look for common mistakes in how a suspect is asked, before any evidence is gathered.

    Values of 0–255 in place of 0–1, BGR in place of RGB, channels first, wrong size, answers
    that change, and so on. Only unmarked originals are asked. If there is an error, correct
    suspects/<name>.toml and probe again.

    \b
    Example:
      anw probe case
    """
    from anw_jax import audit

    opened = audit.Case(case)
    with opened.locked():
        body = audit.probe_case(opened, photos, MAKERS)
    show(as_json, body, telling.probe_lines(body))
    is_fit = all(report["is_fit"] for report in body["suspects"].values())
    return exit_codes.DONE if is_fit else exit_codes.UNFIT


@click.command(short_help="Fix what will be asked, before the first query.")
@_CASE
@click.option("--access", type=click.Choice(KINDS), help="Which part of an answer is used.")
@click.option(
    "--no-labels", is_flag=True, help="Labels are the model's own answers on originals."
)
@click.option("--own-labels", is_flag=True, help="Labels are yours, in CASE/labels.")
@click.option("--augmentations", type=int, help="Queries for each photo and slot.")
@click.option("--decimals", type=int, help="For --access rounded.")
@click.option("--top", "k", type=int, help="For --access top_k.")
@click.option("--budget", type=int, help="Largest number of queries to one suspect.")
@click.option(
    "--save-queries",
    type=int,
    metavar="STRIDE",
    help="Ask about every STRIDE-th hue first, then around the best ones; 0 asks about all.",
)
@click.option("--best", type=int, help="With --save-queries: how many best hues; 0 for none.")
@click.option("--fit", type=click.Choice(FITS), help="How photos are resized.")
@click.option(
    "--bound-level", type=float, help="Level of the lower bound on the number of units used."
)
@click.option("--bound-by", type=click.Choice(INVERSIONS), help="What the lower bound counts.")
@click.option("--list-rate", type=float, help="Expected share of wrong entries in the list.")
@click.option(
    "--beacon",
    multiple=True,
    metavar="[OWNER=]HEX|FILE",
    help="The value of an owner's beacon, or the JSON that you saved from its address.",
)
@click.option("--despite-probe", is_flag=True, help="Ignore a missing probe or its errors.")
@json_option
def declare(
    case, no_labels, own_labels, save_queries, best, beacon, despite_probe, as_json, **given
) -> None:
    """Fix what will be asked, in CASE/declared.json, before the first query.

    The owners' plans say what is asked for each kind of access; the suspect is asked at the
    highest kind that it offers. The options may repeat the plan, or choose where it leaves a
    menu; p is then multiplied by the number of its entries. A plan of version 1 leaves them
    open, and the verdict says so. Also writes CASE/statements.toml, where you state what no
    file can show; fill it in before the verdict.

    \b
    Examples:
      anw declare case --beacon round.json
      anw declare case --access label --augmentations 16 --budget 20000
    """
    from anw_jax import audit

    if no_labels and own_labels:
        raise click.UsageError("--no-labels and --own-labels exclude one another")
    if best is not None and save_queries is None:
        raise click.UsageError("--best belongs to --save-queries")
    source = "model" if no_labels else "arbitrator" if own_labels else None
    saving = (save_queries, 1 if best is None else best) if save_queries is not None else None
    opened = audit.Case(case)
    beacons = by_owner("--beacon", beacon, opened.owners) if beacon else {}
    options = audit.Options(
        **given,
        label_source=source,
        saving=saving,
        beacons=tuple(
            (name, parse_beacon_value(opened.owners[name].published.plan, text))
            for name, text in beacons.items()
        ),
    )
    with opened.locked():
        body = audit.declare(opened, options, despite_probe=despite_probe, makers=MAKERS)
    show(as_json, body, telling.declared_lines(opened, body))


@click.command(short_help="Ask the suspects and seal the result.")
@_CASE
@click.option(
    "--opener",
    default=None,
    help="Sequential mode: a command that reads the file {request} and writes {opening}, run "
    "for each unit of each {owner}.",
)
@click.option(
    "--stop",
    is_flag=True,
    help="Sequential mode: close the audit now; bets on a leaf that is due and not opened are "
    "lost.",
)
@click.option("--budget", type=int, default=None, help="Used in place of the declared budget.")
@json_option
def audit(case, opener, stop, budget, as_json) -> int:
    """Ask the suspects, and seal the result; if interrupted, run the same command again.

    Sealed mode: every table is filled and sealed in CASE/blind.json, without any key.
    Sequential mode: asks every suspect about an owner's next unit, writes their rows and bets,
    and runs --opener, or stops with exit code 5 and names the owners who have to open a unit;
    until each record has reached its level or can no longer reach it.

    \b
    Examples:
      anw audit case
      anw audit case --stop
      anw audit case --opener "anw open {request} --key ann.key --from marked --out {opening}"
    """
    from anw_jax import audit as room

    opened = room.Case(case)
    with opened.locked():
        return _audit(room, opened, opener, stop, budget, as_json)


def _audit(room, opened, opener, stop, budget, as_json) -> int:
    if _is_sequential(opened):
        standing = room.go_on(
            opened,
            opener=opener,
            stop=stop,
            budget=budget,
            makers=MAKERS,
            on_progress=ProgressLine("opened", "units"),
        )
        body = telling.standing_body(standing)
        lines = telling.standing_lines(standing)
        if not standing.request:
            body["closed_sha256"] = opened.digest("closed.json")
            lines.append(telling.digest_line(opened, "closed.json"))
        show(as_json, body, lines)
        return exit_codes.WAITING if standing.request else exit_codes.DONE
    if opener is not None or stop:
        raise click.UsageError("--opener and --stop belong to plans with mode 'sequential'")
    body = room.seal_case(
        opened, budget=budget, makers=MAKERS, on_progress=lambda n: ProgressLine(n, "queries")
    )
    show(as_json, body, telling.blind_lines(opened, body))
    return exit_codes.DONE


@click.command(short_help="Open the keys and state the result.")
@_CASE
@_KEYS
@click.option(
    "--blind",
    metavar="SHA256",
    help="The SHA-256 of blind.json (closed.json) as you noted it at the audit.",
)
@json_option
def verdict(case, key_files, blind, as_json) -> int:
    """Open the keys, make each declared test once, and state the result.

    A sequential case needs no key: its records are replayed line by line and compared with one
    another. CASE/statements.toml states what no file can show; what is not stated there
    becomes a condition. Exit code 0 shown, 3 not shown, 4 inconclusive, after the correction
    for all tests of the case; 9 shown, but not evidence; 10 shown, on conditions.

    \b
    Examples:
      anw verdict case --key ann.key --blind 1f0c…
      anw verdict case --key ann=ann.key --key bob=bob.key --json
    """
    from anw_jax import audit as room

    opened = room.Case(case)
    keys = _keys(opened, key_files)
    judge = room.judge_record if _is_sequential(opened) else room.judge_case
    with opened.locked():
        body = judge(opened, keys, blind=blind)
    show(as_json, body, telling.verdict_lines(body))
    return exit_codes.of_verdict(body)


@click.command(short_help="Compute a verdict again from the files of a case.")
@_CASE
@_KEYS
@click.option(
    "--ask",
    type=float,
    default=0.0,
    metavar="SHARE",
    help="Also ask the suspects again about this share of the units, 0 to 1.",
)
@json_option
def replay(case, key_files, ask, as_json) -> int:
    """Compute rows from answers and the verdict from rows, and compare; writes nothing.

    Anybody with the case folder can do it. A sealed case needs the opened keys. With the key of
    a sequential case, leaves that do not come from it are reported. Exit code 8 if anything
    differs from the files, otherwise that of the verdict.

    \b
    Examples:
      anw replay case --key ann.key
      anw replay case --key ann.key --ask 0.05
    """
    from anw_jax import audit as room

    opened = room.Case(case)
    keys = _keys(opened, key_files)
    with opened.locked():
        done = room.replay_case(opened, keys, ask=ask, makers=MAKERS)
    show(as_json, telling.replayed_body(done), telling.replayed_lines(done))
    if done.num_differing:
        return exit_codes.BROKEN
    return exit_codes.of_verdict(done.verdict)


def _keys(opened, key_files) -> dict[str, MarkKey]:
    files = by_owner("--key", key_files, opened.owners)
    return {name: MarkKey.load(file) for name, file in files.items()}


def _is_sequential(opened) -> bool:
    return {one.published.plan.mode for one in opened.owners.values()} == {"sequential"}
