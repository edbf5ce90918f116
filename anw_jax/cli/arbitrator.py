"""The arbitrator's commands: plan, probe, declare, audit, verdict, replay."""

import pathlib

import click

from anw_jax.cli import exit_codes, telling
from anw_jax.cli.named import beacon_value, by_owner
from anw_jax.cli.output import ProgressLine, json_option, show
from anw_jax.cli.workdirs import MAKERS
from anw_jax.keys import MODES, MarkKey
from anw_jax.keys.access_rules import FITS
from anw_jax.stats import DEFAULT_ALPHA, INVERSIONS
from anw_jax.suspects.access import KINDS

_CASE = click.argument("case", type=click.Path(path_type=pathlib.Path))
_KEYS = click.option(
    "--key",
    "key_files",
    multiple=True,
    metavar="[OWNER=]FILE",
    help="The key file of each owner.",
)


@click.command(short_help="What an audit takes, or what a case has reached.")
@click.argument("case", required=False, type=click.Path(path_type=pathlib.Path))
@click.option("--alpha", default=DEFAULT_ALPHA, show_default=True, help="The level.")
@click.option("--power", default=0.9, show_default=True, help="The chance to reach it.")
@click.option(
    "--access",
    type=click.Choice(KINDS),
    default="logits",
    show_default=True,
    help="What of an answer is used.",
)
@click.option("--no-labels", is_flag=True, help="The model's own labels stand in.")
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="sealed",
    show_default=True,
    help="All at once, or unit by unit until the level is reached.",
)
@click.option("--slots", default=12, show_default=True, help="Hues on the circle.")
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
    help="Separation of a unit's score, in "
    "standard deviations; by default the one measured in results/.",
)
@click.option("--study", default=None, help="Which results the effect is taken from.")
@click.option("--max-units", default=2000, show_default=True, help="Where the search ends.")
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
    """What an audit takes before its first query; with CASE, what was declared and reached.

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


@click.command(short_help="Looks for mistakes in how a suspect is asked.")
@_CASE
@click.option("--photos", default=48, show_default=True, help="Originals to ask about.")
@json_option
def probe(case, photos, as_json) -> int:
    """Looks for the classic mistakes in how a suspect is asked, before evidence is gathered.

    0–255 against 0–1, BGR, channels first, wrong size, answers that change, and so on. Asks
    about unmarked originals only. Mend suspects/<name>.toml and probe again.

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


@click.command(short_help="Fixes what will be asked, before the first query.")
@_CASE
@click.option("--access", type=click.Choice(KINDS), help="What of an answer is used.")
@click.option(
    "--no-labels", is_flag=True, help="The model's own answers on originals stand in."
)
@click.option("--own-labels", is_flag=True, help="The class numbers are in CASE/labels.")
@click.option("--augmentations", type=int, help="Queries for each photo and slot.")
@click.option("--decimals", type=int, help="For --access rounded.")
@click.option("--top", "k", type=int, help="For --access top_k.")
@click.option("--budget", type=int, help="Most queries of one suspect.")
@click.option(
    "--save-queries",
    type=int,
    metavar="STRIDE",
    help="Ask every STRIDE-th slot first, then around the best; 0 asks all.",
)
@click.option("--best", type=int, help="With --save-queries: around how many; 0 for none.")
@click.option("--fit", type=click.Choice(FITS), help="How photos get the model's shape.")
@click.option("--bound-level", type=float, help="Level of the lower bound.")
@click.option("--bound-by", type=click.Choice(INVERSIONS), help="What the lower bound counts.")
@click.option("--list-rate", type=float, help="Expected share of wrong entries in the list.")
@click.option(
    "--beacon",
    multiple=True,
    metavar="[OWNER=]HEX|FILE",
    help="The value of an owner's beacon, or the JSON that you saved from its address.",
)
@click.option("--despite-probe", is_flag=True, help="Without a probe, or against its findings.")
@json_option
def declare(
    case, no_labels, own_labels, save_queries, best, beacon, despite_probe, as_json, **given
) -> None:
    """Fixes what will be asked, in CASE/declared.json, before the first query.

    The owners' plans say what is asked for each kind of access; the suspect is asked at the
    highest that it offers. The options may repeat the plan, or choose where it leaves a menu
    open, which multiplies p by the number of entries. Under a plan of version 1 they are free,
    and the verdict says so. Also writes CASE/statements.toml, for you to fill in before the
    verdict: what no file shows.

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
            (name, beacon_value(opened.owners[name].published.plan, text))
            for name, text in beacons.items()
        ),
    )
    with opened.locked():
        body = audit.declare(opened, options, despite_probe=despite_probe, makers=MAKERS)
    show(as_json, body, telling.declared_lines(opened, body))


@click.command(short_help="Asks the suspects and seals the result.")
@_CASE
@click.option(
    "--opener",
    default=None,
    help="Sequential mode: a command that answers {request} with {opening}, run for each unit "
    "of each {owner}.",
)
@click.option(
    "--stop",
    is_flag=True,
    help="Sequential mode: close the audit now; an owner who "
    "has not opened the leaf that is due loses the stakes.",
)
@click.option("--budget", type=int, default=None, help="In place of the declared budget.")
@json_option
def audit(case, opener, stop, budget, as_json) -> int:
    """Asks the suspects, and seals the result; killed at any time, the same command goes on.

    Sealed mode: every table is filled and sealed in CASE/blind.json; no key comes in.
    Sequential mode: asks every suspect about an owner's next unit, writes their rows and bets,
    then waits for the owner's opening (exit code 5, which names all owners who are waited for),
    or runs --opener for it, until each record has reached its level or cannot reach it.

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


@click.command(short_help="Opens the keys and states the result.")
@_CASE
@_KEYS
@click.option(
    "--blind",
    metavar="SHA256",
    help="The SHA-256 of blind.json (closed.json) as you noted it at the audit.",
)
@json_option
def verdict(case, key_files, blind, as_json) -> int:
    """Opens the keys, makes each declared test once, and states the result.

    A sequential case needs no key: its records are replayed line by line, and held against one
    another. CASE/statements.toml says what no file shows; what is not stated there is a
    condition. Exit code 0 shown, 3 not shown, 4 inconclusive, after the correction for all
    tests of the case; 9 shown, but no evidence; 10 shown, on conditions.

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


@click.command(short_help="Recomputes a verdict from the files of a case.")
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
    """Recomputes rows from answers and the verdict from rows, and compares; writes nothing.

    Anybody with the case folder can do it. A sealed case needs the opened keys; with the key of
    a sequential one, leaves that do not come from it are reported. Exit code 8 where anything
    differs from what is written, else that of the verdict.

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
