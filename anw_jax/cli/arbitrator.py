"""The arbitrator's commands: plan, probe, declare, audit, verdict."""

import pathlib

import click

from anw_jax.cli import exit_codes, telling
from anw_jax.cli.named import by_owner, hex_bytes
from anw_jax.cli.output import ProgressLine, json_option, show
from anw_jax.cli.workdirs import MAKERS
from anw_jax.keys import MODES, MarkKey
from anw_jax.stats import DEFAULT_ALPHA, INVERSIONS
from anw_jax.suspects.access import KINDS

_CASE = click.argument("case", type=click.Path(path_type=pathlib.Path))


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
@click.option(
    "--access",
    type=click.Choice(KINDS),
    default=None,
    help="What of an answer is used; by default all of it.",
)
@click.option(
    "--no-labels", is_flag=True, help="The model's own answers on originals stand in."
)
@click.option(
    "--own-labels",
    is_flag=True,
    help="The labels are your own, given without a look at hues or answers.",
)
@click.option(
    "--augmentations", type=int, default=None, help="Queries for each photo and slot."
)
@click.option("--decimals", type=int, default=None, help="For --access rounded.")
@click.option("--top", "k", type=int, default=None, help="For --access top_k.")
@click.option("--budget", type=int, default=None, help="Most queries of one suspect.")
@click.option(
    "--save-queries",
    type=int,
    default=None,
    metavar="STRIDE",
    help="Ask every STRIDE-th slot first, then around the best.",
)
@click.option(
    "--best",
    type=int,
    default=1,
    show_default=True,
    help="With --save-queries: around how many; 0 for none.",
)
@click.option(
    "--bound-level",
    default=0.05,
    show_default=True,
    help="Level of the lower bound on how many units were used.",
)
@click.option(
    "--bound-by",
    type=click.Choice(INVERSIONS),
    default="ranks",
    show_default=True,
    help="What the lower bound counts: hues guessed right, or how high they rank.",
)
@click.option(
    "--list-rate",
    default=0.05,
    show_default=True,
    help="Expected share of wrong entries in the list of units.",
)
@click.option(
    "--beacon",
    multiple=True,
    metavar="[OWNER=]HEX",
    help="The value of an owner's beacon; fetch it yourself.",
)
@click.option("--despite-probe", is_flag=True, help="Without a probe, or against its findings.")
@json_option
def declare(
    case,
    access,
    no_labels,
    own_labels,
    augmentations,
    decimals,
    k,
    budget,
    save_queries,
    best,
    bound_level,
    bound_by,
    list_rate,
    beacon,
    despite_probe,
    as_json,
) -> None:
    """Fixes what will be asked, in CASE/declared.json, before the first query.

    \b
    Examples:
      anw declare case
      anw declare case --access label --augmentations 16 --budget 20000
      anw declare case --save-queries 3
    """
    from anw_jax import audit

    opened = audit.Case(case)
    beacons = by_owner("--beacon", beacon, opened.owners) if beacon else {}
    options = audit.Options(
        access=access,
        true_labels=not no_labels,
        own_labels=own_labels,
        augmentations=augmentations,
        decimals=decimals,
        k=k,
        budget=budget,
        saving=None if save_queries is None else (save_queries, best),
        bound_level=bound_level,
        bound_by=bound_by,
        list_rate=list_rate,
        beacons=tuple((name, hex_bytes("--beacon", text)) for name, text in beacons.items()),
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
    modes = {owner.published.plan.mode for owner in opened.owners.values()}
    if modes == {"sequential"}:
        standing = room.go_on(
            opened,
            opener=opener,
            stop=stop,
            budget=budget,
            makers=MAKERS,
            on_progress=ProgressLine("opened", "units"),
        )
        body = telling.standing_body(standing)
        show(as_json, body, telling.standing_lines(standing))
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
@click.option(
    "--key",
    "key_files",
    multiple=True,
    metavar="[OWNER=]FILE",
    help="Sealed mode: the key file of each owner.",
)
@json_option
def verdict(case, key_files, as_json) -> int:
    """Opens the keys, makes each declared test once, and states the result.

    A sequential case needs no key: its records are replayed line by line, and held against one
    another. Exit code 0 shown, 3 not shown, 4 inconclusive, after the correction for all tests
    of the case; 9 shown, but no evidence.

    \b
    Examples:
      anw verdict case --key ann.key
      anw verdict case --key ann=ann.key --key bob=bob.key --json
    """
    from anw_jax import audit as room

    opened = room.Case(case)
    files = by_owner("--key", key_files, opened.owners)
    keys = {name: MarkKey.load(file) for name, file in files.items()}
    modes = {owner.published.plan.mode for owner in opened.owners.values()}
    judge = room.judge_record if modes == {"sequential"} else room.judge_case
    with opened.locked():
        body = judge(opened, keys)
    show(as_json, body, telling.verdict_lines(body))
    return exit_codes.of_verdict(body)
