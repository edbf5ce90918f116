"""From a test to what is said of it: statements, conditions, factor, text."""

import dataclasses
import math
from typing import Any

from anw_jax.audit.case import Case
from anw_jax.audit.corrections import SHOWN
from anw_jax.audit.declare import labels_by, menu_of
from anw_jax.audit.statements import CaseStatements
from anw_jax.errors import ChangedFileError
from anw_jax.stats import format_p
from anw_jax.verify import Statements
from anw_jax.verify.statements import as_stated
from anw_jax.verify.verdict import (
    EVIDENCE,
    NOT_COMPARED,
    is_conditional,
    is_evidence,
    on_conditions,
    verdict_text,
)

CONTROL = "control"

_OVERRIDDEN = (
    "the suspect was asked correctly (there was no probe, or its findings were overridden)"
)
_RECORDED = (
    "the answers are those of the suspect, asked correctly (they were recorded before "
    "the declaration, and no probe could ask it)"
)
_FREELY_DECLARED = (
    "the declaration was not chosen among several by their results (a plan of version 1 leaves "
    "access, views and saving rule to the arbitrator)"
)
_LABELS_SEEN = (
    "the class numbers were given by somebody who did not know the hues (nobody stated that)"
)


@dataclasses.dataclass(frozen=True)
class Basis:
    """What one owner's test against one suspect rests on.

    Attributes:
      statements: of the arbitrator.
      menu: M, how many declarations the plan left open.
      conditions: what is open beyond plan and statements.
      stated: all that the arbitrator stated of both, in words.
    """

    statements: Statements
    menu: int
    conditions: tuple[str, ...]
    stated: tuple[str, ...]

    @property
    def factor(self) -> float:
        """By which p is multiplied: K / B · T · M."""
        return self.statements.factor * self.menu


def check_blind(case: Case, name: str, given: str | None) -> bool:
    """Whether the digest that both sides noted at the audit was compared.

    Args:
      case: with a blind result.
      name: its file, "blind.json" or "closed.json".
      given: what was noted; None for nothing.

    Raises:
      ChangedFileError: the file is another one.
    """
    if given is None:
        return False
    now = case.digest(name)
    if given.strip().lower() != now:
        raise ChangedFileError(
            f"{case.file(name)} is not the one noted at the audit: its SHA-256 is {now}, and "
            f"{given!r:.80} was noted"
        )
    return True


def basis_of(
    case: Case,
    declared: dict[str, Any],
    statements: CaseStatements,
    owner: str,
    suspect: str,
    is_compared: bool,
) -> Basis:
    """Gathers what a test rests on."""
    plan = case.owners[owner].published.plan
    conditions = []
    if not is_compared:
        conditions.append(NOT_COMPARED)
    conditions += _of_probe(case, declared, suspect)
    if plan.version == 1:
        conditions.append(_FREELY_DECLARED)
    source = labels_by(declared, owner)
    table = case.owners[owner].originals.table
    # Words that were committed to become numbers by a map that somebody made afterwards.
    is_mapped = source == "owner" and table is not None and table.by_arbitrators_map
    are_fixed = source == "model" or (source == "owner" and plan.beacon and not is_mapped)
    were_blind = statements.owners[owner]["labels_given_blind"]
    if not are_fixed and not were_blind:
        conditions.append(_LABELS_SEEN)
    said, model = statements.of(owner, suspect), statements.suspects[suspect]
    more = []
    if not are_fixed and were_blind:
        more.append("the class numbers were given by somebody who did not know the hues")
    if model["released"]:
        source = f", from {model['released_from']}" if model["released_from"] else ""
        more.append(f"the suspect was released on {model['released']}{source}")
    stated = (*said.lines(), *as_stated(more))
    return Basis(said, menu_of(declared, suspect), tuple(conditions), stated)


def _of_probe(case: Case, declared: dict[str, Any], suspect: str) -> list[str]:
    """What the probe leaves open of how a suspect is asked, whatever `declared.json` says."""
    if declared.get("despite_probe", False) or not case.has("probe.json"):
        return [_OVERRIDDEN]
    report = case.read("probe.json")["suspects"].get(suspect, {})
    is_fit = report.get("is_fit") is True
    if not is_fit or report.get("file") != case.suspects[suspect].digest:
        return [_OVERRIDDEN]
    return [_RECORDED] if "unprobed" in report else []


def circumstances(
    case: Case, declared: dict[str, Any], statements: CaseStatements, blind: str
) -> dict[str, Any]:
    """What a verdict states of the case beside its tests: digests, beacons, who said what."""
    return {
        "declared_sha256": case.digest("declared.json"),
        "blind_sha256": case.digest(blind),
        "statements_sha256": statements.digest,
        "despite_probe": declared.get("despite_probe", False),
        "owners": {
            name: {
                "commitment": owner.published.commitment,
                "number": owner.published.plan.number,
                "beacon": owner.published.plan.beacon,
                "beacon_value": declared["beacons"].get(name, ""),
                "labels_by": labels_by(declared, name),
                "stated": statements.owners[name],
            }
            for name, owner in case.owners.items()
        },
        "suspects": {
            name: {
                "access": one.get("access_text", declared.get("access_text")),
                "menu": menu_of(declared, name),
                "stated": statements.suspects[name],
            }
            for name, one in declared["suspects"].items()
        },
    }


def with_texts(tests: dict[str, dict[str, dict[str, Any]]], end: dict[str, Any]) -> None:
    """Adds to each test its text, by the outcome after the correction.

    Under "any model" no test is shown by itself: each owner of whom the claim is shown has a
    text in `end`, with the conditions of all tests whose e-values it rests on.
    """
    level = end["level"]
    for by_name in tests.values():
        for test in by_name.values():
            conditions = test["conditions"] if is_conditional(test["standing"]) else ()
            test["text"] = verdict_text(
                test["outcome"],
                test["alpha"] if level is None else level,
                test["sentence"],
                test["standing"],
                conditions,
                (*_factor_line(test["factor"]), *test["stated"]),
            )
    if "p_values" in end:
        end["texts"] = {
            owner: _text_of_any(list(tests[owner].values()), level, end["p_values"][owner])
            for (owner,) in end["named"]
        }


def _factor_line(factor: float) -> list[str]:
    if factor == 1.0:
        return []
    return [
        f"p is {factor:g} times that of the test alone, for the commitments found, the models "
        "tried and the declarations left open"
    ]


def _text_of_any(tests: list[dict[str, Any]], level: float, p_value: float) -> str:
    """That at least one of an owner's suspects met the photos, and on what it rests."""
    conditions = list(dict.fromkeys(text for test in tests for text in test["conditions"]))
    no_evidence = [
        test["standing"]
        for test in tests
        if not is_evidence(test["standing"]) and not is_conditional(test["standing"])
    ]
    standing = on_conditions(conditions) if conditions else EVIDENCE
    sentence = (
        f"If all of these {len(tests)} models had been made without these marked photos, "
        "whatever else they learned from, a mean of e-values this large would occur with "
        f"probability at most {format_p(math.log10(p_value))}."
    )
    return verdict_text(
        SHOWN,
        level,
        sentence,
        no_evidence[0] if no_evidence else standing,
        () if no_evidence else conditions,
        list(dict.fromkeys(line for test in tests for line in test["stated"])),
    )


def split_controls(
    tests: dict[str, dict[str, dict[str, Any]]], statements: CaseStatements
) -> tuple[dict[str, dict[str, dict[str, Any]]], dict[str, dict[str, dict[str, Any]]]]:
    """Tests of suspects, and of controls, which are shown and accused of nothing."""
    suspects: dict[str, dict[str, dict[str, Any]]] = {owner: {} for owner in tests}
    controls: dict[str, dict[str, dict[str, Any]]] = {owner: {} for owner in tests}
    for owner, by_name in tests.items():
        for name, test in by_name.items():
            group = controls if statements.is_control(name) else suspects
            group[owner][name] = test
    return suspects, controls
