"""Whose class numbers are used for an owner's photos.

A loss is read at a photo's class number, and another number gives another curve over the hues:
whoever may choose it when hues and answers are known chooses the evidence. So it comes from the
owner only as committed to, from the arbitrator in a file of his own, or from the model itself.
"""

import dataclasses

import numpy as np

from anw_jax.audit.case import Case, Owner
from anw_jax.audit.labels import LABELS, Labels, arbitrator_labels
from anw_jax.errors import CaseError
from anw_jax.keys import Plan
from anw_jax.keys.plan import labels_digest


def source_of(plan: Plan) -> str:
    """Who gives the class numbers under a plan of version 2, whose rules agree in it."""
    return plan.rules[0].labels


def wanted_labels(case: Case, name: str, source: str) -> np.ndarray | None:
    """The class numbers from the declared source, int64 `[n]`; None for the model's own.

    Raises:
      CaseError: there are none, or the owner's are not those committed to.
    """
    table = source_table(case, name, source)
    if table is None:
        return None
    if (table.classes < 0).all():
        raise CaseError(
            f"no photo of owner {name!r} has a class: give labels_map.csv with rows "
            "'word,class number', or audit without labels (--no-labels)"
        )
    return table.classes


def source_table(case: Case, name: str, source: str) -> Labels | None:
    """The table of labels of the declared source; None for the model's own answers.

    Raises:
      CaseError: as `wanted_labels`.
    """
    owner = case.owners[name]
    if source == "model":
        return None
    if source == "arbitrator":
        return _of_arbitrator(case, owner)
    table, committed = owner.originals.table, owner.published.plan.labels
    if table is None:
        raise CaseError(
            f"owner {name!r} has no labels.csv: get the labels that were committed to"
        )
    if committed and table.digest == committed:
        return table
    why = "are not those" if committed else "were not"
    raise CaseError(
        f"the labels of owner {name!r} {why} committed to before training, and could have been "
        "chosen to fit: label the photos yourself (--own-labels), or audit without labels "
        "(--no-labels)"
    )


def known_labels(case: Case, name: str) -> np.ndarray | None:
    """The class numbers that a probe compares answers with; None where none are known yet."""
    owner = case.owners[name]
    if owner.published.plan.version > 1 and source_of(owner.published.plan) == "arbitrator":
        table = arbitrator_labels(case.path, name, owner.published.manifest)
        return None if table is None else table.classes
    return owner.originals.labels


def with_labels(case: Case, name: str, source: str) -> Owner:
    """The owner with the class numbers that are asked about."""
    owner = case.owners[name]
    originals = dataclasses.replace(owner.originals, labels=wanted_labels(case, name, source))
    return dataclasses.replace(owner, originals=originals)


def digest_of_labels(labels: np.ndarray | None) -> str:
    """For `declared.json`; "" where the model's own answers stand in."""
    return "" if labels is None else labels_digest(labels)


def _of_arbitrator(case: Case, owner: Owner) -> Labels:
    table = arbitrator_labels(case.path, owner.name, owner.published.manifest)
    if table is not None:
        return table
    path = case.file("labels") / f"{owner.name}.csv"
    if owner.published.plan.version == 1:
        if owner.originals.labels_file == LABELS:
            return owner.originals.table
        raise CaseError(
            f"your own labels of owner {owner.name!r}'s photos must be in {LABELS} or {path}, "
            f"got those of {owner.originals.labels_file}, which may be the owner's"
        )
    raise CaseError(
        f"the plan of owner {owner.name!r} takes the labels from you: write {path} with rows "
        "'file,label', without having seen hues or answers"
    )
