"""What a replay compares with values from outside the files, which nobody can remake."""

import dataclasses
from collections.abc import Mapping

from anw_jax.audit.case import Case
from anw_jax.audit.declare import Declared
from anw_jax.errors import ChangedFileError


@dataclasses.dataclass(frozen=True)
class CaseAnchors:
    """Values that the reader of a case or bundle got elsewhere.

    Anyone who has all files can make them again, with another key, value or answers: they are
    then consistent with one another, but not with these.

    Attributes:
      commitments: of each owner, 64 hex digits, as published or stamped before training.
      beacons: the value of each owner's beacon, as fetched from it.
      blind: the SHA-256 of `blind.json` or `closed.json`, noted before any key was opened.
    """

    commitments: Mapping[str, str] = dataclasses.field(default_factory=dict)
    beacons: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    blind: str | None = None


def compare_anchors(case: Case, anchors: CaseAnchors) -> tuple[list[str], list[str]]:
    """Compare a case with values from outside.

    Returns:
      What was compared, and what could have been compared and was not.

    Raises:
      ChangedFileError: a value differs.
    """
    declared, compared, left = Declared(case, case.read("declared.json")), [], []
    for name, owner in case.owners.items():
        own, given = owner.published, anchors.commitments.get(name)
        _check(f"the commitment of {name!r}", own.commitment, given)
        (left if given is None else compared).append(f"commitment of {name}")
        if own.plan.beacon:
            value = anchors.beacons.get(name)
            digits = None if value is None else value.hex()
            _check(f"the beacon value of {name!r}", declared.beacon(name).hex(), digits)
            (left if value is None else compared).append(f"beacon value of {name}")
    # By the plan, not by which of them is there: either could be put beside the other.
    file = "closed.json" if case.plan.mode == "sequential" else "blind.json"
    _check(f"the SHA-256 of {file}", case.digest(file), anchors.blind)
    (left if anchors.blind is None else compared).append(f"digest of {file}")
    return compared, left


def _check(what: str, found: str | None, given: str | None) -> None:
    if given is not None and given.strip().lower() != found:
        raise ChangedFileError(f"{what} is {found}, and {given.strip():.130} was given")
