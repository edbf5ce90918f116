"""Assemble a verdict: statements, conditions, the factor that multiplies p, and the texts."""

import dataclasses
from typing import Any

from anw_jax.audit import references
from anw_jax.audit.case import FORMATS, REFERENCES, Case
from anw_jax.audit.corrections import SHOWN
from anw_jax.audit.declare import check_unchanged
from anw_jax.audit.declared import Declared
from anw_jax.audit.originals import Originals
from anw_jax.audit.reference_checks import check_reference_ages
from anw_jax.audit.signatures import check_signatures
from anw_jax.audit.stamps import stamps_json, stamps_of
from anw_jax.audit.statements import (
    CaseStatements,
    check_controls,
    check_release,
    read_statements,
)
from anw_jax.errors import ChangedFileError
from anw_jax.stats import format_p_value
from anw_jax.verify import Statements
from anw_jax.verify.statements import prefix_statements
from anw_jax.verify.verdict import (
    EVIDENCE,
    NOT_COMPARED,
    is_conditional,
    is_evidence,
    on_conditions,
    verdict_text,
)

# Tests as `verdict.json` holds them: by owner, by suspect.
Tests = dict[str, dict[str, dict[str, Any]]]

OVERRIDDEN = (
    "the suspect was queried correctly (there was no probe, or its findings were overridden)"
)
RECORDED = (
    "the answers are those of the suspect, queried correctly (they were recorded before "
    "the declaration, and it could not be probed)"
)
_FREELY_DECLARED = (
    "the declaration was not chosen among several by their results (a plan of version 1 leaves "
    "access, views and saving rule to the arbitrator)"
)
_LOSS_FIXED_BLIND = (
    "the loss, its targets, steps and noise were fixed by somebody who did not know the hues"
)
_SCHEDULER_FIXED_BLIND = (
    "the scheduler is the model's own, or was chosen by somebody who did not know the hues"
)
_CODE_FIXED_BLIND = (
    "the code that runs the network was written by somebody who did not know the hues"
)
_LABELED_BLIND = "the class numbers were given by somebody who did not know the hues"
_MISSING = "none of the missing photos ({} of {}) was left out because of its mark"
_LABELS_SEEN = f"{_LABELED_BLIND} (nobody stated that)"


@dataclasses.dataclass(frozen=True)
class Basis:
    """What the test of one owner against one suspect rests on.

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


class CaseBasis:
    """What all tests of a case rest on: unchanged files, and the arbitrator's statements.

    Args:
      case: declared.

    Attributes:
      case: as given.
      declared: `declared.json`.
      statements: of the arbitrator.
      stamps: verified time stamps of the commitments, by owner.

    Raises:
      CaseError: nothing declared, wrong statements, a suspect released before the beacon
        value appeared, a reference released after it, or a time stamp that is not valid.
      ChangedFileError: a file was changed, or a signature is not valid.
    """

    def __init__(self, case: Case):
        self.case = case
        self.declared: Declared = check_unchanged(case)
        self.statements: CaseStatements = read_statements(case)
        check_signatures(case)
        self.stamps = stamps_of(case)
        check_controls(self.statements, self.declared.body)
        check_release(case, self.statements)
        declarations = {name: self.declared.declaration(name) for name in case.models}
        check_reference_ages(case, declarations, self.statements, self.declared.left_out)

    def of(self, owner: str, suspect: str, is_compared: bool) -> Basis:
        """Gather what the test of one owner against one suspect rests on.

        Args:
          owner: name.
          suspect: name.
          is_compared: whether the digest noted at the audit was compared.
        """
        published = self.case.owners[owner].published
        conditions = [] if is_compared else [NOT_COMPARED]
        conditions += self._of_probe(suspect)
        conditions += conditions_of_originals(self.case.owners[owner].originals)
        if published.plan.version == 1:
            conditions.append(_FREELY_DECLARED)
        source, table = self.declared.labels_by(owner), self.case.owners[owner].originals.table
        # Labels committed to as words are mapped to numbers by a map made afterwards.
        is_mapped = source == "owner" and table is not None and table.by_arbitrators_map
        has_labels = source != "model" and self.declared.rule(suspect).kind != "error"
        are_fixed = not has_labels or (
            source == "owner" and published.plan.beacon and not is_mapped
        )
        said, model = self.statements.of(owner, suspect), self.statements.suspects[suspect]
        said = dataclasses.replace(said, stamps=self.stamps[owner])
        more = []
        if not are_fixed:
            is_stated = self.statements.owners[owner]["labels_given_blind"]
            (more if is_stated else conditions).append(
                _LABELED_BLIND if is_stated else _LABELS_SEEN
            )
        if missing := self.declared.body["owners"][owner].get("missing"):
            text = _MISSING.format(len(missing), published.manifest.num_images)
            is_stated = self.statements.owners[owner]["missing_by_chance"]
            (more if is_stated else conditions).append(
                text if is_stated else f"{text} (nobody stated that)"
            )
        is_stated = model["loss_fixed_blind"]
        for text in self._open_of_loss(owner, suspect):
            (more if is_stated else conditions).append(
                text if is_stated else f"{text} (nobody stated that)"
            )
        if model["released"]:
            source = f", from {model['released_from']}" if model["released_from"] else ""
            more.append(f"the suspect was released on {model['released']}{source}")
        stated = (*said.lines(), *prefix_statements(more))
        return Basis(said, self.declared.menu(suspect), tuple(conditions), stated)

    def _open_of_loss(self, owner: str, suspect: str) -> list[str]:
        """List what the owner's plan leaves open about a loss that has no class numbers.

        A plan with `AccessRule.denoising` fixes steps and noise of a diffusion model. A digest
        in `Plan.references` covers the scheduler, which is the same for the suspect.
        """
        rule, file = self.declared.rule(suspect), self.case.suspects[suspect]
        if rule.kind != "error":
            return []
        if rule.denoising is None or file.kind != "denoiser":
            return [_LOSS_FIXED_BLIND]
        planned = self.case.owners[owner].published.plan.references
        is_fixed = not {*self.declared.digests_used(suspect, owner)}.isdisjoint(planned)
        return [
            *([] if is_fixed else [_SCHEDULER_FIXED_BLIND]),
            *([_CODE_FIXED_BLIND] if file.runs_code else []),
        ]

    def _of_probe(self, suspect: str) -> list[str]:
        """List what the probe leaves open about the queries to a suspect."""
        if self.declared.body.get("despite_probe", False) or not self.case.has("probe.json"):
            return [OVERRIDDEN]
        report = self.case.read("probe.json")["suspects"].get(suspect, {})
        is_same = report.get("file") == self.case.suspects[suspect].digest
        if report.get("is_fit") is not True or not is_same:
            return [OVERRIDDEN]
        return [RECORDED] if "unprobed" in report else []

    def verdict(
        self,
        mode: str,
        before: str,
        is_compared: bool,
        tests: Tests,
        end: dict[str, Any],
        queries: dict[str, int],
    ) -> dict[str, Any]:
        """Put a verdict together, as `verdict.json` holds it.

        Args:
          mode: "sealed" or "sequential".
          before: the file that the verdict is made from.
          is_compared: whether the digest of that file, noted at the audit, was compared.
          tests: with outcomes as corrected; each gets its text.
          end: the outcome after the correction for all tests; gets texts under "any model".
          queries: number of queries, by suspect.
        """
        _add_texts(tests, end)
        return {
            "format": FORMATS["verdict.json"],
            "previous": self.case.digest(before),
            "mode": mode,
            "tests": tests,
            "corrected": end,
            "case": self._circumstances(before),
            "blind_compared": is_compared,
            "queries": queries,
        }

    def _circumstances(self, before: str) -> dict[str, Any]:
        """What a verdict states of the case beside its tests: digests, beacons, statements."""
        declared = self.declared
        return {
            "declared_sha256": self.case.digest("declared.json"),
            "blind_sha256": self.case.digest(before),
            "statements_sha256": self.statements.digest,
            "despite_probe": declared.body.get("despite_probe", False),
            "owners": {
                name: {
                    "commitment": owner.published.commitment,
                    "number": owner.published.plan.number,
                    "beacon": owner.published.plan.beacon,
                    "beacon_value": declared.body["beacons"].get(name, ""),
                    "labels_by": declared.labels_by(name),
                    "stated": _without_unset(self.statements.owners[name]),
                    **stamps_json(self.stamps[name]),
                }
                for name, owner in self.case.owners.items()
            },
            "suspects": {
                name: {
                    "access": declared.access_text(name),
                    "menu": declared.menu(name),
                    "stated": _without_unset(self.statements.suspects[name]),
                }
                for name in declared.body["suspects"]
            },
            **self._references(before),
        }

    def _references(self, before: str) -> dict[str, Any]:
        blind = self.case.read(before) if self.case.references else {}
        models = {
            name: {
                "model": self.declared.said(f"{REFERENCES}{name}")["declaration_digest"],
                "stated": self.statements.references[name],
                "tables": references.sealed_tables(blind, name),
            }
            for name in self.case.references
        }
        stated = self.statements.left_out
        skipped = {
            **({"left_out": self.declared.left_out} if self.declared.left_out else {}),
            **({"stated": stated} if any(said["why"] for said in stated.values()) else {}),
        }
        return {
            **({"references": models} if models else {}),
            **({"references_left_out": skipped} if skipped else {}),
        }


def conditions_of_originals(originals: Originals) -> list[str]:
    """List what is open if files are decoded to other pixels than those committed to."""
    number = originals.num_redecoded
    if not number:
        return []
    return [
        "the owner did not choose between two versions of a photo (of "
        f"{number} the file is the one committed to, and the pixels are not: decode them with "
        "the library that the owner used)"
    ]


def _without_unset(said: dict[str, Any]) -> dict[str, Any]:
    """Leave out newer fields that are not stated, as verdicts before them did."""
    newer = ("loss_fixed_blind", "missing_by_chance")
    return {name: value for name, value in said.items() if name not in newer or value}


def check_blind(case: Case, name: str, noted: str | None) -> bool:
    """Compare the digest that both sides noted at the audit, if it is given.

    Args:
      case: with a blind result.
      name: its file, "blind.json" or "closed.json".
      noted: the digest; None for nothing.

    Returns:
      Whether it was compared.

    Raises:
      ChangedFileError: the file is another one.
    """
    if noted is None:
        return False
    now = case.digest(name)
    if noted.strip().lower() != now:
        raise ChangedFileError(
            f"{case.file(name)} is not the one noted at the audit: its SHA-256 is {now}, and "
            f"{noted!r:.80} was noted"
        )
    return True


def _add_texts(tests: Tests, end: dict[str, Any]) -> None:
    """Add to each test its text, by the outcome after the correction.

    Under "any model" no test is shown by itself: each owner for whom the claim is shown has a
    text in `end`, with the conditions of all tests whose e-values it uses.
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
        "tried, the declarations left open, and the references that the plan does not name or "
        "that were left out"
    ]


def _text_of_any(tests: list[dict[str, Any]], level: float, p_value: float) -> str:
    """Write the text that at least one of an owner's suspects learned from the photos."""
    conditions = list(dict.fromkeys(text for test in tests for text in test["conditions"]))
    standing = on_conditions(conditions) if conditions else EVIDENCE
    for test in tests:
        if not is_evidence(test["standing"]) and not is_conditional(test["standing"]):
            standing, conditions = test["standing"], []
            break
    sentence = (
        f"If all of these {len(tests)} models had been made without these marked photos, "
        "whatever else they learned from, a mean of e-values this large would occur with "
        f"probability at most {format_p_value(p_value)}."
    )
    stated = list(dict.fromkeys(line for test in tests for line in test["stated"]))
    return verdict_text(SHOWN, level, sentence, standing, conditions, stated)


def split_controls(tests: Tests, statements: CaseStatements) -> tuple[Tests, Tests]:
    """Separate the tests of suspects from those of controls, which are not accused."""
    suspects: Tests = {owner: {} for owner in tests}
    controls: Tests = {owner: {} for owner in tests}
    for owner, by_name in tests.items():
        for name, test in by_name.items():
            group = controls if name in statements.controls else suspects
            group[owner][name] = test
    return suspects, controls
