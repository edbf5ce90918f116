"""What `declared.json` fixes: how each suspect is queried, and which references are used."""

from typing import Any

from anw_jax.audit.case import REFERENCES, Case
from anw_jax.audit.reference_checks import LeftOut
from anw_jax.errors import CaseError
from anw_jax.keys import AccessRule
from anw_jax.suspects import Access, Augmentation, Declaration

# How older files of declared audits say who gave the class numbers.
_OLDER_SOURCES = {
    "the model": "model",
    "the arbitrator": "arbitrator",
    "the owner, before training": "owner",
}


class Declared:
    """What `declared.json` fixes, in files of this version and of earlier ones.

    Args:
      case: the case.
      body: of its file `declared.json`.

    Attributes:
      case, body: as given.
    """

    def __init__(self, case: Case, body: dict[str, Any]):
        self.case, self.body = case, body

    def said(self, model: str) -> dict[str, Any]:
        """Return what is declared of a suspect, or of a reference (see `Case.models`)."""
        if model.startswith(REFERENCES):
            return self.body["references"][model.removeprefix(REFERENCES)]
        return self.body["suspects"][model]

    def declaration(self, model: str) -> Declaration:
        """Return the declaration of one suspect or reference."""
        return Declaration.from_json(self.said(model)["declaration"])

    def access(self, suspect: str) -> Access:
        """Return the declared access of one suspect; older files have one for all."""
        fields = self.body["suspects"][suspect].get("access") or self.body["access"]
        return Access(**{**fields, "augmentation": Augmentation(**fields["augmentation"])})

    def access_text(self, suspect: str) -> str | None:
        """Return the declared access of one suspect in words."""
        return self.body["suspects"][suspect].get("access_text", self.body.get("access_text"))

    def rule(self, suspect: str) -> AccessRule:
        """Return the declared rule of one suspect; older files have options for all instead."""
        fields = self.body["suspects"][suspect].get("rule")
        if fields is not None:
            return AccessRule.from_json(fields)
        access, saving = self.body["access"], self.body["saving"]
        return AccessRule(
            access["kind"],
            "owner" if access["true_labels"] else "model",
            views=access["num_augmentations"],
            decimals=access["decimals"],
            top=access["k"],
            saving=None if saving is None else tuple(saving),
            bound_level=self.body["bound"]["level"],
            bound_by=self.body["bound"]["by"],
            list_rate=self.body["list_rate"],
        )

    @property
    def left_out(self) -> LeftOut:
        """Which references are not used, and why."""
        return self.body.get("references_left_out") or {}

    def references_of(self, suspect: str) -> list[str]:
        """List the references that calibrate a suspect, for any owner."""
        return [name for name in self.case.references if self.owners_of(name, suspect)]

    def owners_of(self, reference: str, suspect: str) -> list[str]:
        """List the owners for whom a reference calibrates a suspect."""
        skipped = self.left_out.get(reference, {}).get(suspect, {})
        return [owner for owner in self.case.owners if owner not in skipped]

    def why_left_out(self, reference: str, suspect: str, owner: str) -> str:
        """Say why a reference is not used for a suspect and an owner; "" if it is."""
        return self.left_out.get(reference, {}).get(suspect, {}).get(owner, "")

    def lines_left_out(self, reference: str, owner: str) -> list[str]:
        """Say for which suspects a reference is not used, why, and what that costs an owner."""
        digest = self.said(f"{REFERENCES}{reference}")["declaration_digest"]
        is_planned = digest in self.case.owners[owner].published.plan.references
        cost = ": p is doubled, and the verdict is conditional" if is_planned else ""
        whys = {s: self.why_left_out(reference, s, owner) for s in self.case.suspects}
        return [f"  not used for suspect {s} ({why}){cost}" for s, why in whys.items() if why]

    def planned_but_unused(self) -> list[str]:
        """List the digests of references that a plan names and a test of its owner lacks."""
        found: dict[str, None] = {}
        for owner, one in self.case.owners.items():
            for suspect in self.case.suspects:
                used = self.digests_used(suspect, owner)
                planned = one.published.plan.references
                found |= dict.fromkeys(digest for digest in planned if digest not in used)
        return list(found)

    def digests_used(self, suspect: str, owner: str) -> list[str]:
        """List the digests of the references that calibrate a suspect for an owner."""
        return [
            self.said(f"{REFERENCES}{name}")["declaration_digest"]
            for name in self.case.references
            if owner in self.owners_of(name, suspect)
        ]

    def menu(self, suspect: str) -> int:
        """M, how many declarations the plan left open for one suspect."""
        return self.body["suspects"][suspect].get("menu", 1)

    def refusal_limit(self, suspect: str) -> float | None:
        """Share of an owner's photos that a suspect may refuse; None in older files."""
        if "rule" not in self.body["suspects"][suspect]:
            return self.body.get("refusal_limit")
        return self.rule(suspect).refusals

    def labels_by(self, owner: str) -> str:
        """Say who gives the class numbers of an owner's photos."""
        source = self.body["owners"][owner].get("labels_by") or self.body.get("labels_by")
        return _OLDER_SOURCES.get(source, source)

    def beacon(self, owner: str) -> bytes:
        """Return the value of an owner's beacon; empty where the plan names none.

        Raises:
          CaseError: no hexadecimal digits.
        """
        return beacon_of(self.body, owner)


def beacon_of(body: dict[str, Any], owner: str) -> bytes:
    """Return the value of an owner's beacon in a declaration; see `Declared.beacon`."""
    digits = body["beacons"].get(owner, "")
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise CaseError(
            f"declared.json is damaged: beacons.{owner} must be hexadecimal digits, got "
            f"{digits!r:.40}"
        ) from None
