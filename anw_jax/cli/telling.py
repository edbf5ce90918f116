"""Results of the commands in words."""

import dataclasses
import math
from typing import Any

from anw_jax.audit import Case, Standing, reached
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
            f"half of such audits are through after {body['median_units']} units, "
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
        body |= {name: declared[name] for name in ("access_text", "budget", "saving")}
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
            f"{owner['num_slots'] - 1} slots; {body['access_text']}"
        )
    for row in body.get("reached", []):
        effect = "" if row["effect"] is None else f", effect {row['effect']:.2f}"
        lines.append(
            f"{row['owner']} against {row['suspect']}: p {row['p_text']} after "
            f"{row['num_units']} units, {row['num_queries']:,} queries{effect}"
        )
    return lines


def probe_lines(body: dict[str, Any]) -> list[str]:
    """Findings, the worst first."""
    lines = []
    for name, report in body["suspects"].items():
        state = "asked as it wants to be" if report["is_fit"] else "NOT asked as it wants to be"
        accuracy = report["accuracy"]
        right = "" if accuracy is None else f", {accuracy:.0%} of the labels right"
        why = f" ({report['unprobed']})" if "unprobed" in report else ""
        lines.append(f"{name}: {state}{right}, {report['num_queries']} queries{why}")
        for finding in report["findings"]:
            lines.append(f"  {finding['severity']}: {finding['seen']}: {finding['do']}")
    return lines


def _digest_line(case: Case, name: str) -> str:
    """What binds whoever holds the file, once others have it in writing."""
    return f"SHA-256 of {name}, for both sides: {case.digest(name)}"


def declared_lines(case: Case, body: dict[str, Any]) -> list[str]:
    """What was fixed."""
    lines = [
        f"{case.file('declared.json')} written: nothing may be changed now",
        _digest_line(case, "declared.json"),
    ]
    for name, owner in body["owners"].items():
        plan = owner["plan"]
        lines.append(
            f"owner {name}: {owner['num_units']} units, {owner['num_images']} photos; "
            f"{plan['statistic']} at level {plan['alpha']:g}, as committed to"
        )
    for name in body["suspects"]:
        lines.append(f"suspect {name}: {body['access_text']}")
    if body["access"]["true_labels"]:
        lines.append(f"labels were given by {body['labels_by']}")
    return lines


def blind_lines(case: Case, body: dict[str, Any]) -> list[str]:
    """What was sealed."""
    lines = [
        f"{case.file('blind.json')} sealed; a key may be opened now (anw verdict)",
        _digest_line(case, "blind.json"),
    ]
    for name, result in body["suspects"].items():
        doubt = f", {result['num_in_doubt']} in doubt" if result["num_in_doubt"] else ""
        lines.append(f"{name}: {result['num_queries']:,} queries{doubt}")
        for owner, blind in result["owners"].items():
            lines.append(f"  {owner}: table {blind['table']}")
    return lines


def standing_body(standing: Standing) -> dict[str, Any]:
    """A sequential audit's standing as plain values."""
    body = dataclasses.asdict(standing)
    return {n: str(v) if n in ("request", "opening") and v else v for n, v in body.items()}


def standing_lines(standing: Standing) -> list[str]:
    """The same in words."""
    so_far = (
        f"{standing.num_opened} of {standing.num_units} units opened, running p "
        f"{format_p(math.log10(standing.p_value))}"
    )
    if standing.request is None:
        return [f"closed: {standing.closed_because}; {so_far}"]
    return [so_far, f"waiting for the owner: {standing.request} → {standing.opening}"]


def verdict_lines(body: dict[str, Any]) -> list[str]:
    """The verdict of every test, then of the case."""
    lines = []
    for owner, by_name in body["tests"].items():
        for name, test in by_name.items():
            reason = f": {test['reason']}" if test["reason"] else ""
            level = body["corrected"]["level"]
            at = "" if level is None else f", level {level:g}"
            lines.append(
                f"{owner} against {name}: {test['outcome']}{reason} (p {test['p_text']}{at}, "
                f"{test['num_units']} units, {test['statistic']})"
            )
            lines += [f"  {test['sentence']}", f"  standing: {test['standing']}"]
            for part in ("how_many", "which"):
                if test[part] is not None:
                    lines.append(f"  {test[part]['text']}")
    end = body["corrected"]
    named = "; ".join(" against ".join(entry) for entry in end["named"])
    lines.append(
        f"{end['claim']}: {end['outcome']} ({end['correction']}){': ' * bool(named)}{named}"
    )
    return lines
