"""From a test to what is said of it: statements, conditions, factor, text."""

import dataclasses
from typing import Any

from anw_jax.audit.case import Case
from anw_jax.audit.declared import labels_by, menu_of
from anw_jax.audit.statements import CaseStatements
from anw_jax.errors import ChangedFileError
from anw_jax.verify import Statements
from anw_jax.verify.verdict import NOT_COMPARED, is_conditional, verdict_text

CONTROL = "control"

_OVERRIDDEN = (
    "the suspect was asked correctly (there was no probe, or its findings were overridden)"
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
    """

    statements: Statements
    menu: int
    conditions: tuple[str, ...]

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
    if declared.get("despite_probe", False) or case.digest("probe.json") is None:
        conditions.append(_OVERRIDDEN)
    if plan.version == 1:
        conditions.append(_FREELY_DECLARED)
    source = labels_by(declared, owner)
    table = case.owners[owner].originals.table
    # Words that were committed to become numbers by a map that somebody made afterwards.
    is_mapped = source == "owner" and table is not None and table.by_arbitrators_map
    are_fixed = source == "model" or (source == "owner" and plan.beacon and not is_mapped)
    if not are_fixed and not statements.owners[owner]["labels_given_blind"]:
        conditions.append(_LABELS_SEEN)
    said = statements.of(owner, suspect)
    return Basis(said, menu_of(declared, suspect), tuple(conditions))


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


def with_texts(tests: dict[str, dict[str, dict[str, Any]]], level: float | None) -> None:
    """Adds to each test its text, by the outcome after the correction."""
    for by_name in tests.values():
        for test in by_name.values():
            conditions = test["conditions"] if is_conditional(test["standing"]) else ()
            test["text"] = verdict_text(
                test["outcome"],
                test["alpha"] if level is None else level,
                test["sentence"],
                test["standing"],
                conditions,
                test["stated"],
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
