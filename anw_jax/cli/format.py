"""Format the results of commands as lines of text."""

import dataclasses
from collections.abc import Callable
from typing import Any

from anw_jax.audit import AuditState, Case, RecordState, Replayed, reached
from anw_jax.audit.case import is_case_of_models
from anw_jax.audit.checks import source_table
from anw_jax.audit.declared import Declared
from anw_jax.audit.labels import Labels
from anw_jax.audit.statements import NAME as STATEMENTS
from anw_jax.cli.next_step import STEPS
from anw_jax.cli.tables import (
    columns,
    pairs_of,
    record_lines,
    refusal_lines,
    verdict_table,
    wealth_text,
)
from anw_jax.stats import format_p_value


def estimate_lines(body: dict[str, Any], alpha: float, power: float, slots: int) -> list[str]:
    """Format how many units and queries an audit will need."""
    if body["num_units"] is None:
        return [f"{body['access']}: {body['reason']}"]
    lines = [
        f"{body['num_units']} units, {slots - 1} slots each, {body['num_queries']:,} queries "
        f"reach p ≤ {alpha:g} with power {power:g} ({body['access']})"
    ]
    if body.get("num_reference_queries"):
        lines.append(f"and {body['num_reference_queries']:,} queries to reference models")
    if "fill" in body:
        how = {"black": "with black", "reflect": "by reflection"}[body["fill"]]
        lines.append(f"what a shifted view uncovers is filled {how}")
    if body.get("num_evaluations"):
        lines.append(f"{body['num_evaluations']:,} evaluations of a diffusion model's network")
    # A sealed audit makes all its queries; only a sequential one can end earlier.
    if body["median_queries"] < body["num_queries"]:
        lines.append(
            f"half of such audits end after {body['median_units']} units, "
            f"{body['median_queries']:,} queries"
        )
    lines.append(f"effect {body['effect']:.2f} ({body['source']}); an estimate, not a promise")
    if hardest := body.get("hardest"):
        lines.append(
            f"other photos can need more: {_needed(hardest)} on those of "
            f"results/{hardest['study']}"
        )
    if calibrated := body.get("with_base"):
        lines.append(
            f"{_needed(calibrated)} with the model that a suspect was fine-tuned from as a "
            "reference: --references 1"
        )
    return lines


def _needed(other: dict[str, Any]) -> str:
    units = other["num_units"]
    return f"{units:,} units" if units else "more units than --max-units"


def state_of(case: Case) -> dict[str, Any]:
    """Gather the state of a case: the steps done; of photos, what was declared and reached."""
    body: dict[str, Any] = {"steps": [s for s in STEPS if case.has(f"{s}.json")]}
    if is_case_of_models(case.path):  # whose files have other fields
        return body
    if case.has("declared.json"):
        declared = Declared(case, case.read("declared.json"))
        body["budget"] = declared.body.get("budget")
        body["suspects"] = {n: declared.access_text(n) for n in declared.body["suspects"]}
        if declared.body.get("references"):
            body["references"] = list(declared.body["references"])
        body["owners"] = {
            name: {f: owner[f] for f in ("num_units", "num_images", "num_slots")}
            for name, owner in declared.body["owners"].items()
        }
    if case.has("verdict.json"):
        body["reached"] = reached(case)
    return body


def state_lines(body: dict[str, Any]) -> list[str]:
    """Format the state of a case."""
    lines = [f"steps done: {', '.join(body['steps']) or 'none'}"]
    for name, owner in body.get("owners", {}).items():
        lines.append(
            f"{name}: {owner['num_units']} units, {owner['num_images']} photos, "
            f"{owner['num_slots'] - 1} slots"
        )
    lines += [f"{name}: {text}" for name, text in body.get("suspects", {}).items()]
    lines += [f"reference {name}" for name in body.get("references", [])]
    for row in body.get("reached", []):
        effect = "" if row["effect"] is None else f", effect {row['effect']:.2f}"
        lines.append(
            f"{row['owner']} against {row['suspect']}: p {row['p_text']} after "
            f"{row['num_units']} units, {row['num_queries']:,} queries{effect}"
        )
    if body.get("reached"):
        lines.append(
            "each p is that of one test, not corrected for the other tests: see anw verdict"
        )
    return lines


def probe_lines(body: dict[str, Any]) -> list[str]:
    """Format the findings of a probe, the worst first."""
    lines = []
    for name, report in body["suspects"].items():
        state = "queried correctly" if report["is_fit"] else "NOT queried correctly"
        accuracy = report["accuracy"]
        right = "" if accuracy is None else f", {100 * accuracy:.0f} % of the labels right"
        why = f" ({report['unprobed']})" if "unprobed" in report else ""
        lines.append(f"{name}: {state}{right}, {report['num_queries']} queries{why}")
        for finding in report["findings"]:
            lines.append(f"  {finding['severity']}: {finding['seen']}: {finding['do']}")
    return lines


def digest_line(case: Case, name: str) -> str:
    """Format the digest of a file, which both sides should note."""
    return f"SHA-256 of {name}, for both sides: {case.digest(name)}"


def declared_lines(case: Case, body: dict[str, Any]) -> list[str]:
    """Format a declaration."""
    declared = Declared(case, body)
    lines = [
        f"{case.file('declared.json')} written: from now on nothing may be changed",
        digest_line(case, "declared.json"),
    ]
    for name, owner in body["owners"].items():
        plan = owner["plan"]
        lines += [
            f"owner {name}: {owner['num_units']} units, {owner['num_images']} photos; "
            f"{plan['statistic']} at level {plan['alpha']:g}, as committed to",
            f"class numbers of {name} come from: {owner['labels_by']}",
        ]
        if missing := owner.get("missing"):
            lines.append(
                f"photos of {name} that are missing: {len(missing)}; their rows are constant, "
                "they stay in the test, and the verdict is conditional"
            )
        table = source_table(case, name, owner["labels_by"])
        lines += [] if table is None else _without_class(table)
    for name in body["suspects"]:
        menu = declared.menu(name)
        times = f"; one of {menu} that the plan allows: p is multiplied by {menu}"
        lines += [
            f"suspect {name}: {declared.access_text(name)}{times if menu > 1 else ''}",
            f"suspect {name} may leave up to {100 * declared.refusal_limit(name):g} % of an "
            "owner's photos without a usable answer; above that its test is inconclusive",
        ]
    lines += _reference_lines(declared)
    stops = body.get("sequential", {"num_tests": 1})
    if stops["num_tests"] > 1:
        lines.append(f"{stops['num_tests']} records, each may stop at level {stops['level']:g}")
    return [
        *lines,
        "send the SHA-256 above to both sides before the first query",
        f"state what no file can show in {case.file(STATEMENTS)} before the verdict",
    ]


def _reference_lines(declared: Declared) -> list[str]:
    """Format which references calibrate the suspects, and what they cost p."""
    lines = []
    models = {
        name: model["declaration_digest"]
        for name, model in (declared.body.get("references") or {}).items()
    }
    for owner, one in declared.body["owners"].items():
        planned = one["plan"].get("references", [])
        for name, digest in models.items():
            where = "in the plan" if digest in planned else "not in the plan: p is doubled"
            lines.append(f"reference {name} ({digest}), for {owner}: {where}")
            lines += declared.lines_left_out(name, owner)
        lines += [
            f"reference {digest} of the plan of {owner} is not in the case: p is doubled, and "
            "the verdict is conditional"
            for digest in planned
            if digest not in models.values()
        ]
    return lines


def _without_class(table: Labels) -> list[str]:
    """Format how many photos will have a constant row, and which words have no class."""
    if not table.num_without:
        return []
    words = ", ".join(table.unknown_words)
    which = f" (without a class number: {words})" if words else ""
    counts = f"{table.num_without} of {len(table.classes)} photos"
    return [
        f"  {counts} have no class{which}: their rows are constant, and they stay in the test"
    ]


def blind_lines(case: Case, body: dict[str, Any]) -> list[str]:
    """Format a blind result."""
    lines = [
        f"{case.file('blind.json')} sealed; keys may be opened now (anw verdict)",
        digest_line(case, "blind.json"),
    ]
    for name, result in body["suspects"].items():
        in_doubt = result["num_in_doubt"]
        doubt = f", of which {in_doubt} may have been paid for unanswered" if in_doubt else ""
        lines.append(f"{name}: {result['num_queries']:,} queries{doubt}")
        for owner, blind in result["owners"].items():
            without = blind["num_unusable"]
            doubt = f", {without} units without usable answers" if without else ""
            lines.append(f"  {owner}: table {blind['table']}{doubt}")
            lines += refusal_lines(f"  {owner}", blind)
        for reference, sealed in (result.get("references") or {}).items():
            for owner, one in sealed["owners"].items():
                without = one["num_unusable"]
                doubt = f", {without} units without usable answers" if without else ""
                lines.append(f"  reference {reference}, {owner}: table {one['table']}{doubt}")
    for name, result in (body.get("references") or {}).items():
        lines.append(f"reference {name}: {result['num_queries']:,} queries")
    return lines


def state_body(state: AuditState) -> dict[str, Any]:
    """Return the state of a sequential audit as plain values."""
    waiting = [
        {name: str(value) for name, value in dataclasses.asdict(one).items()}
        for one in state.waiting
    ]
    return {
        "closed_because": state.closed_because,
        "request": waiting[0]["request"] if waiting else None,
        "opening": waiting[0]["opening"] if waiting else None,
        "num_opened": state.num_opened,
        "num_units": state.num_units,
        "p_value": state.p_value,
        "waiting": waiting,
        "records": [dataclasses.asdict(record) for record in state.records],
    }


def audit_lines(state: AuditState) -> list[str]:
    """Format the state of a sequential audit."""
    if len(state.records) == 1:
        so_far = (
            f"{state.num_opened} of {state.num_units} units opened, running p "
            f"{format_p_value(state.p_value)}"
        )
        if not state.waiting:
            return [f"closed: {state.closed_because}; {so_far}"]
        lines = [so_far]
    else:
        head = ("owner", "suspect", "units", "wealth", "running p", "")
        lines = columns([head, *map(_record_row, state.records)])
        if not state.waiting:
            return [*lines, "closed"]
    waits = "; ".join(f"{one.request} → {one.opening}" for one in state.waiting)
    who = "owner" if len(state.waiting) == 1 else "owners"
    return [*lines, f"waiting for the {who}: {waits}"]


def _record_row(record: RecordState) -> tuple[str, ...]:
    return (
        record.owner,
        record.suspect,
        f"{record.num_opened} of {record.num_units}",
        wealth_text(record.log_wealth),
        format_p_value(record.p_value),
        record.closed_because or "open",
    )


def verdict_lines(body: dict[str, Any], as_table: bool = False) -> list[str]:
    """Format the verdict of every test, then that of the case.

    Args:
      body: the verdict.
      as_table: whether a table of several tests comes first, for a reader at a terminal.
    """
    end, level = body["corrected"], body["corrected"]["level"]
    if body["mode"] == "sequential" and end["num_tests"] > 1:
        lines = record_lines(body)
    else:
        lines = verdict_table(body) if as_table and end["num_tests"] > 1 else []
        for owner, name, test in pairs_of(body["tests"]):
            reason = f": {test['reason']}" if test["reason"] else ""
            at = "" if level is None else f", level {level:g}"
            opened = f"{test['num_opened']} of " if "num_opened" in test else ""
            lines.append(
                f"{owner} against {name}: {test['outcome']}{reason} (p {test['p_text']}{at}, "
                f"{opened}{test['num_units']} units, {test['statistic']})"
            )
            lines += [f"  {line}" for line in test["text"].splitlines()]
            lines += refusal_lines(f"  {name}", test)
            found = [test[part] for part in ("how_many", "which") if test[part] is not None]
            lines += [f"  {part['text']}" for part in found]
    for owner, text in end.get("texts", {}).items():
        lines += f"{owner}, at least one of the models: {text}".splitlines()
    for owner, name, test in pairs_of(body.get("controls", {})):
        lines.append(f"control {name}, not a suspect: {owner}'s p {test['p_text']}")
    return [*lines, *_case_lines(body), _end_line(end)]


def _case_lines(body: dict[str, Any]) -> list[str]:
    """Format what the verdict rests on: commitments, beacons, access, digests."""
    case, lines = body["case"], []
    for name, owner in case["owners"].items():
        lines.append(
            f"{name}: commitment {owner['commitment']} (number {owner['number']}; found: "
            f"{owner['stated']['found'] or 'not stated'}), beacon {owner['beacon'] or 'none'}, "
            f"class numbers by {owner['labels_by']}"
        )
    for name, suspect in case["suspects"].items():
        tried = suspect["stated"]["models_tried"] or "not stated"
        lines.append(f"{name}: {suspect['access']}; models tried: {tried}")
    for name, reference in case.get("references", {}).items():
        lines.append(f"reference {name}: model {reference['model']}")
    probe = "overridden" if case["despite_probe"] else "passed"
    compared = "compared" if body["blind_compared"] else "not compared"
    return [
        *lines,
        f"probe: {probe}; SHA-256 of declared.json {case['declared_sha256']}, of the sealed "
        f"result {case['blind_sha256']} ({compared} with the one noted at the audit)",
    ]


def _end_line(end: dict[str, Any]) -> str:
    named = "; ".join(" against ".join(entry) for entry in end["named"])
    reason = f", {end['reason']}" if end["reason"] else ""
    body = f"{end['claim']}: {end['outcome']}{reason} ({end['correction']})"
    return f"{body}: {named}" if named else body


def replayed_lines(
    done: Replayed,
    lines_of: Callable[[dict[str, Any]], list[str]],
    of_models: bool,
) -> list[str]:
    """Format the result of a replay.

    Args:
      done: the result.
      lines_of: formats a verdict of this kind of case.
      of_models: whether the case is one of models.
    """
    what = f"{done.num_rows} rows from the answers, and the verdict from the rows"
    if of_models:
        what = f"{done.num_rows} scores from the answers, and " if done.num_rows else ""
        what += "the verdict from the sealed scores"
    lines = [f"replayed: {what}: nothing differs from the files"]
    if done.wording:
        lines += [
            f"verdict.json is worded differently: {done.wording}; this version prints",
            *lines_of(done.verdict),
        ]
    if done.num_asked:
        asked = ("read", "scores", "scores") if of_models else ("queried", "units", "answers")
        lines.append(
            f"{asked[0]} again: {done.num_asked} {asked[1]}, {done.num_differing} of them "
            f"with other {asked[2]} than those sealed"
        )
    if done.verdict["blind_compared"]:
        lines.append(
            "verdict.json says that the digest noted at the audit was compared; compare it "
            f"with your own note: {done.verdict['case']['blind_sha256']}"
        )
    for owner, units in (done.foreign_leaves or {}).items():
        what = f"units {units}" if units else "none"
        lines.append(f"{owner}: leaves that do not come from the key: {what}")
    return [*lines, _end_line(done.verdict["corrected"])]
