"""The arbitrator's commands: plan, probe, declare, audit, verdict."""

import contextlib
import pathlib
import shlex
import sys
from collections.abc import Iterator
from typing import Any

import click

from anw_jax import audit
from anw_jax.audit.case import is_case_of_models
from anw_jax.cli import model_case, output
from anw_jax.cli.format import (
    audit_lines,
    blind_lines,
    declared_lines,
    digest_line,
    estimate_lines,
    probe_lines,
    state_body,
    state_lines,
    state_of,
    verdict_lines,
)
from anw_jax.cli.next_step import after_probe, bundle_command, is_fit, next_lines
from anw_jax.cli.options import (
    by_owner,
    json_option,
    key_words,
    parse_beacon_value,
    pop_label_source,
    rule_options,
)
from anw_jax.cli.output import ProgressLine, ProgressLines, show, stamps_lines, then
from anw_jax.cli.signing import signature_lines
from anw_jax.keys import MODES, MarkKey
from anw_jax.keys.plan_fields import KINDS
from anw_jax.marks.named import NAMES as MARKS
from anw_jax.stats import DEFAULT_ALPHA
from anw_jax.suspects import Declaration, JaxSuspect, Suspect

CASE = click.argument("case", type=click.Path(path_type=pathlib.Path))
KEYS = click.option(
    "--key",
    "key_files",
    multiple=True,
    metavar="[OWNER=]FILE",
    help="The key file of each owner.",
)


def _workdir(fields: Any) -> Suspect:
    """Open the newest checkpoint of a run of this project; needs the extra 'run'."""
    folder, declared = fields.beside("file"), fields.table("declaration")
    if declared.get("identity"):
        raise ValueError("declaration must name no identity: it is computed from the weights")
    try:
        from anw_jax.train import load_model
    except ImportError:
        from anw_jax.suspects.adapters.base import missing

        raise missing("querying a workdir", "run") from None
    inside = folder / "checkpoints"
    model, variables = load_model(inside if inside.is_dir() else folder)
    declaration = Declaration.from_json({"num_classes": model.num_classes, **declared})
    return JaxSuspect(model.predict_fn(variables), declaration)


MAKERS = {"workdir": _workdir}


@click.command()
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
@click.option(
    "--mark",
    type=click.Choice(MARKS),
    default="light",
    show_default=True,
    help="The mark, at its default strength.",
)
@click.option("--no-labels", is_flag=True, help="Use the model's own answers as labels.")
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="sealed",
    show_default=True,
    help="Test all units at once, or one by one until the level is reached.",
)
@click.option(
    "--slots", default=12, show_default=True, help="Number of slots, slot 0 included."
)
@click.option(
    "--augmentations", default=1, show_default=True, help="Queries for each photo and slot."
)
@click.option("--references", default=0, show_default=True, help="Number of reference models.")
@click.option(
    "--images-per-unit",
    default=1,
    show_default=True,
    help="Number of photos that share one hue, for example an album.",
)
@click.option(
    "--effect",
    type=float,
    default=None,
    help="Score of a marked unit above chance, in standard deviations; by default as measured "
    "in results/ for this mark.",
)
@click.option("--study", default=None, help="The results in which the effect was measured.")
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
    mark,
    no_labels,
    mode,
    slots,
    augmentations,
    references,
    images_per_unit,
    effect,
    study,
    max_units,
    as_json,
) -> int | None:
    """Estimate how many photos and queries an audit needs; with CASE, show its state.

    \b
    Examples:
      anw plan --alpha 1e-6 --power 0.9
      anw plan --access label --no-labels --mark hue
      anw plan --mode sequential --effect 1.5 --json
      anw plan case
    """
    if case is not None:
        with ProgressLines() as lines:
            opened = (
                model_case.case_of_models(case)
                if is_case_of_models(case)
                else audit.Case(case, lines.of("photos"))
            )
            body = state_of(opened)
            after = next_lines(opened, case, body["steps"])
        show(as_json, body, [*state_lines(body), *after])
        return
    body = audit.estimate(
        access=access,
        mark=mark,
        effect=effect,
        study=study,
        true_labels=not no_labels,
        num_slots=slots,
        alpha=alpha,
        power=power,
        mode=mode,
        images_per_unit=images_per_unit,
        augmentations=augmentations,
        references=references,
        max_units=max_units,
        on_progress=ProgressLine("simulated", "audits"),
    )
    show(as_json, body, estimate_lines(body, alpha, power, slots))


@click.command()
@CASE
@click.option("--photos", default=48, show_default=True, help="Number of originals used.")
@json_option
@model_case.or_models(model_case.probe)
def probe(case, photos, as_json) -> int:
    """Check for common mistakes in how a suspect is queried, before any evidence is gathered.

    Values of 0–255 instead of 0–1, BGR instead of RGB, channels first, a wrong size, answers
    that change, and so on. Only unmarked originals are used. If there is an error, correct
    suspects/<name>.toml and probe again. In a case of models (owners hold mark.json): can
    each suspect be read, or asked for its outputs?

    \b
    Example:
      anw probe case
    """
    with opened_case(case) as (opened, lines):
        body = audit.probe_case(opened, photos, MAKERS, lines.of("queries"))
        after = after_probe(opened, case, body)
    show(as_json, body, [*probe_lines(body), *after])
    return output.DONE if is_fit(body) else output.UNFIT


@click.command()
@CASE
@rule_options
@click.option("--budget", type=int, help="Largest number of queries to one suspect.")
@click.option(
    "--beacon",
    multiple=True,
    metavar="[OWNER=]HEX|FILE",
    help="The value of an owner's beacon, or the JSON file downloaded from its URL.",
)
@click.option("--despite-probe", is_flag=True, help="Ignore a missing probe or its errors.")
@click.option(
    "--despite-missing",
    is_flag=True,
    help="Continue although originals are lost; that is a condition of the verdict.",
)
@json_option
@model_case.or_models(model_case.declare, "beacon", "despite_probe")
def declare(case, top, save_queries, best, beacon, as_json, **given) -> None:
    """Fix how the suspects are queried, in CASE/declared.json, before the first query.

    The owners' plans have a rule for each kind of access, and a suspect is queried at the most
    detailed kind that it offers. The options may repeat the plan, or choose where it leaves a
    choice; p is then multiplied by the number of choices. A plan of version 1 leaves all of
    them open, and the verdict says so. Also writes CASE/statements.toml, in which you state
    facts that cannot be derived from files; fill it in before the verdict.

    \b
    Examples:
      anw declare case --beacon round.json
      anw declare case --access label --augmentations 16 --budget 20000
    """
    if best is not None and save_queries is None:
        raise click.UsageError("--best belongs to --save-queries")
    saving = None if save_queries is None else (save_queries, 1 if best is None else best)
    source = pop_label_source(given)
    despite = {name: given.pop(name) for name in ("despite_probe", "despite_missing")}
    with opened_case(case) as (opened, _):
        beacons = by_owner("--beacon", beacon, opened.owners) if beacon else {}
        options = audit.Options(
            **given,
            k=top,
            label_source=source,
            saving=saving,
            beacons=tuple(
                (name, parse_beacon_value(opened.owners[name].published.plan, text))
                for name, text in beacons.items()
            ),
        )
        audit.check_signatures(opened)
        stamps = audit.stamps_of(opened)
        body = audit.declare(opened, options, **despite, makers=MAKERS)
    lines = [*stamps_lines(stamps), *declared_lines(opened, body)]
    show(as_json, body, [*lines, then("anw", "audit", case)])


@click.command("audit")
@CASE
@click.option(
    "--opener",
    default=None,
    help="Sequential mode: a command that reads the file {request} and writes {opening}, run "
    "for each unit of each {owner}.",
)
@click.option(
    "--stop",
    is_flag=True,
    help="Sequential mode: close the audit now; any outstanding bet on an unopened leaf is "
    "forfeited.",
)
@click.option("--budget", type=int, default=None, help="Replaces the declared budget.")
@json_option
@model_case.or_models(model_case.run_audit)
def run_audit(case, opener, stop, budget, as_json) -> int:
    """Query the suspects and seal the result; if interrupted, run the same command again.

    Sealed mode: compute all loss tables and write their digests to CASE/blind.json. No key is
    needed.
    Sequential mode: queries every suspect about an owner's next unit, writes the rows and bets,
    and runs --opener; without one it stops with exit code 5 and names the owners who have to
    open a unit. It ends once each record has reached its significance level or cannot reach it
    any more.

    \b
    Examples:
      anw audit case
      anw audit case --stop
      anw audit case --opener "anw open {request} --key ann.key --from marked --out {opening}"
    """
    with opened_case(case) as (opened, lines):
        if _is_sequential(opened):
            return _run_rounds(opened, opener, stop, budget, as_json)
        if opener is not None or stop:
            raise click.UsageError("--opener and --stop belong to plans with mode 'sequential'")
        body = audit.seal_case(
            opened,
            budget=budget,
            makers=MAKERS,
            on_progress=lines.of("queries"),
        )
    keys = key_words(opened.owners)
    after = then("anw", "verdict", case, *keys, "--blind", opened.digest("blind.json"))
    show(as_json, body, [*blind_lines(opened, body), after])
    return output.DONE


def _run_rounds(opened, opener, stop, budget, as_json) -> int:
    state = audit.run_rounds(
        opened,
        opener=opener,
        stop=stop,
        budget=budget,
        makers=MAKERS,
        on_progress=ProgressLine("opened", "units"),
    )
    body, lines = state_body(state), audit_lines(state)
    if state.request:
        one = (state.request, state.opening) if len(state.waiting) == 1 else ("IN", "OUT")
        command = ("anw", "open", one[0], "--key", "KEY", "--from", "MARKED", "--out", one[1])
        lines.append(f"an owner answers with: {shlex.join(map(str, command))}")
        lines.append(then("anw", "audit", opened.path))
    else:
        body["closed_sha256"] = opened.digest("closed.json")
        after = then("anw", "verdict", opened.path, "--blind", body["closed_sha256"])
        lines += [digest_line(opened, "closed.json"), after]
    show(as_json, body, lines)
    return output.WAITING if state.request else output.DONE


@click.command()
@CASE
@KEYS
@click.option(
    "--blind",
    metavar="SHA256",
    help="The SHA-256 of blind.json (closed.json) as you noted it at the audit.",
)
@json_option
@model_case.or_models(model_case.verdict, "key_files", "blind")
def verdict(case, key_files, blind, as_json) -> int:
    """Open the keys, make each declared test once, and compute the result.

    A sequential case needs no key: its records are replayed line by line and compared with one
    another. CASE/statements.toml states facts that cannot be derived from files; what is not
    stated there becomes a condition. Exit code 0: shown, 3: not shown, 4: inconclusive, after
    the correction for all tests of the case; 9: shown, but not evidence; 10: shown, on
    conditions.

    \b
    Examples:
      anw verdict case --key ann.key --blind 1f0c…
      anw verdict case --key ann=ann.key --key bob=bob.key --json
    """
    with opened_case(case) as (opened, _):
        keys = keys_of(opened, key_files)
        judge = audit.judge_record if _is_sequential(opened) else audit.judge_case
        signatures = audit.check_signatures(opened)
        body = judge(opened, keys, blind=blind)
    before = [one for one in signatures if one["file"] != "verdict.json"]
    signed = signature_lines(before) if any(one["signer"] for one in before) else []
    after = f"{then('anw', 'report', case)} (a page to read), {bundle_command(opened, case)}"
    lines = verdict_lines(body, as_table=sys.stdout.isatty())
    show(as_json, body, [*lines, *signed, after])
    return output.code_of_verdict(body)


@contextlib.contextmanager
def opened_case(case: pathlib.Path) -> Iterator[tuple[audit.Case, ProgressLines]]:
    """Open and lock a case; the reading of its photos is shown as progress."""
    with ProgressLines() as lines:
        opened = audit.Case(case, lines.of("photos"))
        with opened.locked():
            yield opened, lines


def keys_of(opened, key_files) -> dict[str, MarkKey]:
    """Load the key of each owner from the option --key."""
    files = by_owner("--key", key_files, opened.owners)
    return {name: MarkKey.load(file) for name, file in files.items()}


def _is_sequential(opened) -> bool:
    return {one.published.plan.mode for one in opened.owners.values()} == {"sequential"}
