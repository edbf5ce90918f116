"""What a verdict rests on beyond what the files of a case can show."""

from typing import Any

from anw_jax.verify.verdict import EVIDENCE, EVIDENCE_WITH_BEACON

# Who gave the class numbers, as `declared.json` says it.
BY_MODEL = "the model"
BY_ARBITRATOR = "the arbitrator"
BY_OWNER = "the owner, before training"

# Appended where the class numbers could have been chosen by somebody who knew the hues.
LABELS_BLIND = ", and if the class numbers were given by somebody who did not know the hues"


def qualified(standing: str, declared: dict[str, Any], owner: str) -> str:
    """The standing of one owner's test, with what it further depends on.

    On the same model another class number gives another curve over the hues, and of two likely
    classes one often suits the secret hue. Labels that stand in the commitment, made before a
    beacon's value was known, cannot have been fitted to the hues; the model's own labels
    cannot either.

    Args:
      standing: by key, commitment and beacon alone.
      declared: `declared.json`.
      owner: his name in the case.

    Example:
      >>> plan = {"labels": "", "beacon": "round 7"}
      >>> declared = {"owners": {"ann": {"plan": plan}}, "access": {"true_labels": True}}
      >>> declared["labels_by"] = "the arbitrator"
      >>> qualified("evidence", declared, "ann")
      'evidence'
      >>> qualified(EVIDENCE_WITH_BEACON, declared, "ann").endswith(LABELS_BLIND)
      True
    """
    if standing not in (EVIDENCE, EVIDENCE_WITH_BEACON):
        return standing
    plan = declared["owners"][owner]["plan"]
    are_fixed = declared["labels_by"] == BY_OWNER and plan.get("beacon")
    if declared["access"]["true_labels"] and not are_fixed:
        return standing + LABELS_BLIND
    return standing
