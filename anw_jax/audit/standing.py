"""What a verdict rests on beyond what the files of a case can show."""

from typing import Any

from anw_jax.verify.verdict import EVIDENCE, EVIDENCE_WITH_BEACON

# Appended where the class numbers could have been chosen by somebody who knew the hues.
LABELS_BLIND = ", and if the class numbers were given by somebody who did not know the hues"


def qualified(standing: str, declared: dict[str, Any], owner: str) -> str:
    """The standing of one owner's test, with what it further depends on.

    * Photos that the owner left out: not evidence, for he knew which ones suited him.
    * True labels: on the same model another class number gives another curve over the hues,
      and of two likely classes one often suits the secret hue. Labels that stand in the
      commitment, made before a beacon's value was known, cannot have been fitted to the hues;
      the model's own labels cannot either.

    Args:
      standing: by key, commitment and beacon alone.
      declared: `declared.json`.
      owner: his name in the case.

    Example:
      >>> entry = {"num_missing": 2, "num_images": 9, "plan": {"labels": "", "beacon": ""}}
      >>> declared = {"owners": {"ann": entry}, "access": {"true_labels": True}}
      >>> qualified(EVIDENCE, declared, "ann")
      'not evidence: the owner, who knows the hues, left out 2 of 9 photos'
    """
    if standing not in (EVIDENCE, EVIDENCE_WITH_BEACON):
        return standing
    entry = declared["owners"][owner]
    if entry["num_missing"]:
        return (
            "not evidence: the owner, who knows the hues, left out "
            f"{entry['num_missing']} of {entry['num_images']} photos"
        )
    are_fixed = entry["plan"].get("labels") and entry["plan"].get("beacon")
    if declared["access"]["true_labels"] and not are_fixed:
        return standing + LABELS_BLIND
    return standing
