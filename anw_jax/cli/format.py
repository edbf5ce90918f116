"""Format the results of commands as lines of text."""

import dataclasses
import math
from typing import Any

from anw_jax.audit import Case, RecordStanding, Replayed, Standing, reached, refusals
from anw_jax.audit.checks import source_table
from anw_jax.audit.corrections import uses_e_values
from anw_jax.audit.declare import menu_of, refusal_limit
from anw_jax.audit.labels import Labels
from anw_jax.audit.statements import NAME as STATEMENTS
from anw_jax.stats import format_p


def estimate_lines(body: dict[str, Any], alpha: float, power: float, slots: int) -> list[str]:
    """What an audit will take."""
    if body["num_units"] is None:
        return [f"{body['access']}: {body['reason']}"]
    lines = [
        f"{body['num_units']} units, {slots - 1} slots each, {body['num_queries']:,} queries "
        f"reach p ≤ {alpha:g} with power {power:g} ({body['access']})"
    ]
    # A sealed audit asks everything; only a sequential one can be through earlier.
    if body["median_queries"] < body["num_queries"]:
        lines.append(
            f"half of such audits end after {body['median_units']} units, "
            f"{body['median_queries']:,} queries"
        )
    return [
        *lines,
        f"effect {body['effect']:.2f} ({body['source']}); an estimate, not a promise",
    ]


def state_of(case: Case) -> dict[str, Any]:
    """How far a case is, and what it reached."""
    steps = ("probe", "declared", "blind", "closed", "verdict")
    body: dict[str, Any] = {"steps": [s for s in steps if case.has(f"{s}.json")]}
    if case.has("declared.json"):
        declared = case.read("declared.json")
        body["budget"] = declared.get("budget")
        body["suspects"] = {n: access_text(declared, n) for n in declared["suspects"]}
        body["owners"] = {
            name: {f: owner[f] for f in ("num_units", "num_images", "num_slots")}
            for name, owner in declared["owners"].items()
        }
    if case.has("verdict.json"):
        body["reached"] = reached(case)
    return body


def state_lines(body: dict[str, Any]) -> list[str]:
    """The same in words."""
    lines = [f"steps done: {', '.join(body['steps']) or 'none'}"]
    for name, owner in body.get("owners", {}).items():
        lines.append(
            f"{name}: {owner['num_units']} units, {owner['num_images']} photos, "
            f"{owner['num_slots'] - 1} slots"
        )
    lines += [f"{name}: {text}" for name, text in body.get("suspects", {}).items()]
    for row in body.get("reached", []):
        effect = "" if row["effect"] is None else f", effect {row['effect']:.2f}"
        lines.append(
            f"{row['owner']} against {row['suspect']}: p {row['p_text']} after "
            f"{row['num_units']} units, {row['num_queries']:,} queries{effect}"
        )
    if body.get("reached"):
        lines.append(
            "each p is that of one test and not corrected for the others: anw verdict says "
            "what is shown"
        )
    return lines


def probe_lines(body: dict[str, Any]) -> list[str]:
    """Findings, the worst first."""
    lines = []
    for name, report in body["suspects"].items():
        state = "asked correctly" if report["is_fit"] else "NOT asked correctly"
        accuracy = report["accuracy"]
        right = "" if accuracy is None else f", {100 * accuracy:.0f} % of the labels right"
        why = f" ({report['unprobed']})" if "unprobed" in report else ""
        lines.append(f"{name}: {state}{right}, {report['num_queries']} queries{why}")
        for finding in report["findings"]:
            lines.append(f"  {finding['severity']}: {finding['seen']}: {finding['do']}")
    return lines


def digest_line(case: Case, name: str) -> str:
    """What binds whoever holds the file, once others have it in writing."""
    return f"SHA-256 of {name}, for both sides: {case.digest(name)}"


def declared_lines(case: Case, body: dict[str, Any]) -> list[str]:
    """What was fixed."""
    lines = [
        f"{case.file('declared.json')} written: nothing may be changed now",
        digest_line(case, "declared.json"),
    ]
    for name, owner in body["owners"].items():
        plan = owner["plan"]
        lines.append(
            f"owner {name}: {owner['num_units']} units, {owner['num_images']} photos; "
            f"{plan['statistic']} at level {plan['alpha']:g}, as committed to"
        )
        lines.append(f"class numbers of {name} come from: {owner['labels_by']}")
        table = source_table(case, name, owner["labels_by"])
        lines += [] if table is None else _without_class(table)
    for name in body["suspects"]:
        menu = menu_of(body, name)
        times = (
            f"; one of {menu} that the plan allows: p is multiplied by {menu}"
            if menu > 1
            else ""
        )
        lines.append(f"suspect {name}: {access_text(body, name)}{times}")
        lines.append(
            f"suspect {name} may leave up to {100 * refusal_limit(body, name):g} % of an "
            "owner's photos without a usable answer; above that its test is inconclusive"
        )
    stops = body.get("sequential", {"num_tests": 1})
    if stops["num_tests"] > 1:
        lines.append(f"{stops['num_tests']} records, each may stop at level {stops['level']:g}")
    return [
        *lines,
        "send the SHA-256 above to both sides before the first query",
        f"fill in {case.file(STATEMENTS)} before the verdict: what no file can show",
    ]


def access_text(declared: dict[str, Any], suspect: str) -> str:
    """How a suspect is asked; older files have one way for all."""
    return declared["suspects"][suspect].get("access_text") or declared["access_text"]


def _without_class(table: Labels) -> list[str]:
    """How many photos will have a constant row, and which words have no class."""
    if not table.num_without:
        return []
    words = ", ".join(table.unknown_words)
    which = f" (without a class number: {words})" if words else ""
    counts = f"{table.num_without} of {len(table.classes)} photos"
    return [
        f"  {counts} have no class{which}: their rows are constant, and they stay in the test"
    ]


def blind_lines(case: Case, body: dict[str, Any]) -> list[str]:
    """What was sealed."""
    lines = [
        f"{case.file('blind.json')} sealed; a key may be opened now (anw verdict)",
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
            lines += _refusal_lines(f"  {owner}", blind)
    return lines


def _refusal_lines(whose: str, body: dict[str, Any]) -> list[str]:
    """Which images a suspect gave no usable answers to, where there are any."""
    text = refusals.line(body.get("unusable"))
    return [f"{whose}: {text}"] if text else []


def standing_body(standing: Standing) -> dict[str, Any]:
    """A sequential audit's standing as plain values."""
    waiting = [
        {name: str(value) for name, value in dataclasses.asdict(owner).items()}
        for owner in standing.waiting
    ]
    first = waiting[0] if waiting else {}
    return {
        "closed_because": standing.closed_because,
        "request": first.get("request"),
        "opening": first.get("opening"),
        "num_opened": standing.num_opened,
        "num_units": standing.num_units,
        "p_value": standing.p_value,
        "waiting": waiting,
        "records": [dataclasses.asdict(record) for record in standing.records],
    }


def standing_lines(standing: Standing) -> list[str]:
    """The same in words."""
    if len(standing.records) == 1:
        so_far = (
            f"{standing.num_opened} of {standing.num_units} units opened, running p "
            f"{format_p(math.log10(standing.p_value))}"
        )
        if not standing.waiting:
            return [f"closed: {standing.closed_because}; {so_far}"]
        lines = [so_far]
    else:
        head = ("owner", "suspect", "units", "wealth", "running p", "")
        lines = columns([head, *map(_record_row, standing.records)])
        if not standing.waiting:
            return [*lines, "closed"]
    waits = "; ".join(f"{owner.request} → {owner.opening}" for owner in standing.waiting)
    who = "owner" if len(standing.waiting) == 1 else "owners"
    return [*lines, f"waiting for the {who}: {waits}"]


def _record_row(record: RecordStanding) -> tuple[str, ...]:
    return (
        record.owner,
        record.suspect,
        f"{record.num_opened} of {record.num_units}",
        wealth_text(record.log_wealth),
        format_p(math.log10(record.p_value)),
        record.closed_because or "continues",
    )


def wealth_text(log_wealth: float | None) -> str:
    """A wealth of any size, rounded down: in words never more than it is.

    Example:
      >>> wealth_text(7.0), wealth_text(2000.0), wealth_text(None)
      ('1e+03', '10^868.5', '0')
    """
    if log_wealth is None:
        return "0"
    log10 = log_wealth / math.log(10)
    if abs(log10) > 300:
        return f"10^{math.floor(log10 * 10) / 10:.1f}"
    step = 10.0 ** (math.floor(log10) - 1)
    return f"{math.floor(math.exp(log_wealth) / step) * step:.2g}"


def columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows of text under one another.

    Example:
      >>> columns([("a", "long"), ("word", "b")])
      ['a     long', 'word  b']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def verdict_lines(body: dict[str, Any]) -> list[str]:
    """The verdict of every test, then of the case."""
    if body["mode"] == "sequential" and body["corrected"]["num_tests"] > 1:
        lines = [*_record_lines(body), *_claim_lines(body["corrected"])]
        return [*lines, *_case_lines(body), _end_line(body["corrected"])]
    lines = []
    for owner, by_name in body["tests"].items():
        for name, test in by_name.items():
            reason = f": {test['reason']}" if test["reason"] else ""
            level = body["corrected"]["level"]
            at = "" if level is None else f", level {level:g}"
            opened = f"{test['num_opened']} of " if "num_opened" in test else ""
            lines.append(
                f"{owner} against {name}: {test['outcome']}{reason} (p {test['p_text']}{at}, "
                f"{opened}{test['num_units']} units, {test['statistic']})"
            )
            lines += [f"  {line}" for line in test["text"].splitlines()]
            lines += _refusal_lines(f"  {name}", test)
            for part in ("how_many", "which"):
                if test[part] is not None:
                    lines.append(f"  {test[part]['text']}")
    lines += [*_claim_lines(body["corrected"]), *_control_lines(body)]
    return [*lines, *_case_lines(body), _end_line(body["corrected"])]


def _claim_lines(end: dict[str, Any]) -> list[str]:
    """What is shown of an owner's suspects together, and on which conditions."""
    return [
        line
        for owner, text in end.get("texts", {}).items()
        for line in f"{owner}, at least one of the models: {text}".splitlines()
    ]


def _control_lines(body: dict[str, Any]) -> list[str]:
    return [
        f"control {name}, not a suspect: {owner}'s p {test['p_text']}"
        for owner, by_name in body.get("controls", {}).items()
        for name, test in by_name.items()
    ]


def _case_lines(body: dict[str, Any]) -> list[str]:
    """What the verdict rests on: commitments, beacons, access, digests."""
    case = body["case"]
    lines = []
    for name, owner in case["owners"].items():
        beacon = owner["beacon"] or "none"
        found = owner["stated"]["found"] or "not stated"
        lines.append(
            f"{name}: commitment {owner['commitment']} (number {owner['number']}; found: "
            f"{found}), beacon {beacon}, class numbers by {owner['labels_by']}"
        )
    for name, suspect in case["suspects"].items():
        tried = suspect["stated"]["models_tried"] or "not stated"
        lines.append(f"{name}: {suspect['access']}; models tried: {tried}")
    probe = "overridden" if case["despite_probe"] else "passed"
    compared = "compared" if body["blind_compared"] else "not compared"
    return [
        *lines,
        f"probe: {probe}; SHA-256 of declared.json {case['declared_sha256']}, of the sealed "
        f"result {case['blind_sha256']} ({compared} with the one noted at the audit)",
    ]


def replayed_body(done: Replayed) -> dict[str, Any]:
    """A replay as plain values."""
    return dataclasses.asdict(done)


def replayed_lines(done: Replayed) -> list[str]:
    """The same in words."""
    lines = [
        f"replayed: {done.num_rows} rows from the answers, and the verdict from the rows: "
        "nothing differs from the files"
    ]
    if done.wording:
        lines += [
            f"verdict.json is worded otherwise: {done.wording}; by this version it reads",
            *verdict_lines(done.verdict),
        ]
    if done.num_asked:
        lines.append(
            f"asked again: {done.num_asked} units, {done.num_differing} of them with other "
            "answers than those sealed"
        )
    if done.verdict["blind_compared"]:
        lines.append(
            "verdict.json says that the digest noted at the audit was compared; who noted it "
            f"can compare again: {done.verdict['case']['blind_sha256']}"
        )
    for owner, units in (done.foreign_leaves or {}).items():
        what = f"units {units}" if units else "none"
        lines.append(f"{owner}: leaves that do not come from the key: {what}")
    return [*lines, _end_line(done.verdict["corrected"])]


def _end_line(end: dict[str, Any]) -> str:
    named = "; ".join(" against ".join(entry) for entry in end["named"])
    reason = f", {end['reason']}" if end["reason"] else ""
    body = f"{end['claim']}: {end['outcome']}{reason} ({end['correction']})"
    return f"{body}: {named}" if named else body


def _record_lines(body: dict[str, Any]) -> list[str]:
    """One table of all records, and what holds of each."""
    by_e = uses_e_values(body["corrected"]["claim"])
    head = ("owner", "suspect", "units", "wealth", "e-value" if by_e else "p", "outcome", "")
    rows, standings = [head], []
    for owner, by_name in body["tests"].items():
        for name, test in by_name.items():
            value = wealth_text(test["log_e_value"]) if by_e else test["p_text"]
            reason = f": {test['reason']}" if test["reason"] else ""
            units = f"{test['num_opened']} of {test['num_units']}"
            wealth = wealth_text(test["log_wealth"])
            outcome = test["outcome"] + reason
            rows.append((owner, name, units, wealth, value, outcome, test["because"]))
            standings += [f"{owner}: {test['standing']}", *test["stated"]]
    sentences = [
        line
        for owner, by_name in body["tests"].items()
        for name, test in by_name.items()
        if test["outcome"] == "shown"
        for line in f"{owner} against {name}: {test['text']}".splitlines()
    ]
    p_values = body["corrected"].get("p_values", {})
    of_means = [
        f"{owner}: p of the mean {format_p(math.log10(p))}" for owner, p in p_values.items()
    ]
    refused = [
        text
        for owner, by_name in body["tests"].items()
        for name, test in by_name.items()
        for text in _refusal_lines(f"{owner} against {name}", test)
    ]
    return [*columns(rows), *sentences, *refused, *of_means, *dict.fromkeys(standings)]
