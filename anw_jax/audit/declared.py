"""What `declared.json` says, in files of this version and of earlier ones."""

from typing import Any

from anw_jax.errors import CaseError
from anw_jax.keys import AccessRule
from anw_jax.suspects import Access, Augmentation

# How older files of declared audits say who gave the class numbers.
_OLDER_SOURCES = {
    "the model": "model",
    "the arbitrator": "arbitrator",
    "the owner, before training": "owner",
}


def access_of(declared: dict[str, Any], suspect: str) -> Access:
    """The declared rung of one suspect; older files have one for all."""
    fields = dict(declared["suspects"][suspect].get("access") or declared["access"])
    return Access(**{**fields, "augmentation": Augmentation(**fields["augmentation"])})


def rule_of(declared: dict[str, Any], suspect: str) -> AccessRule:
    """The declared rule of one suspect; older files have no rules but options for all."""
    body = declared["suspects"][suspect].get("rule")
    if body is not None:
        return AccessRule.from_json(body)
    access, saving = declared["access"], declared["saving"]
    return AccessRule(
        access["kind"],
        "owner" if access["true_labels"] else "model",
        views=access["num_augmentations"],
        decimals=access["decimals"],
        top=access["k"],
        saving=None if saving is None else tuple(saving),
        bound_level=declared["bound"]["level"],
        bound_by=declared["bound"]["by"],
        list_rate=declared["list_rate"],
    )


def refusal_limit(declared: dict[str, Any], suspect: str) -> float | None:
    """Share of an owner's photos that a suspect may refuse; None in cases without a limit."""
    if "rule" not in declared["suspects"][suspect]:
        return declared.get("refusal_limit")
    return rule_of(declared, suspect).refusals


def labels_by(declared: dict[str, Any], owner: str) -> str:
    """Who gives the class numbers of an owner's photos."""
    source = declared["owners"][owner].get("labels_by") or declared.get("labels_by")
    return _OLDER_SOURCES.get(source, source)


def beacon_of(declared: dict[str, Any], owner: str) -> bytes:
    """The value of an owner's beacon; empty where the plan names none.

    Raises:
      CaseError: no hexadecimal digits.
    """
    digits = declared["beacons"].get(owner, "")
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise CaseError(
            f"declared.json is damaged: beacons.{owner} must be hexadecimal digits, got "
            f"{digits!r:.40}"
        ) from None


def menu_of(declared: dict[str, Any], suspect: str) -> int:
    """M, how many declarations the plan left open for one suspect."""
    return declared["suspects"][suspect].get("menu", 1)
