"""Reference models in a verdict: which may be used, and what their choice costs.

The scores of a reference are subtracted from the suspect's (`stats.calibrated_scores`). The
test stays exact if the reference's losses do not depend on the secret slots. Two ways make that
certain: its digest stands in the plan, or it existed before the beacon's value, on which all
slots depend. A model made later could have been trained to dislike the true slots, which would
convict an innocent suspect.

A reference that is not in the plan can be used or not, so it doubles p, as does one of the plan
that is not used (Bonferroni over the two choices). That does not cover a choice among many old
models by somebody who knows the slots: this is a condition of its own.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from anw_jax import _check
from anw_jax.errors import CommitmentError
from anw_jax.keys import Plan
from anw_jax.keys.digests import is_digest
from anw_jax.verify.sealing import check_sealed, seal
from anw_jax.verify.statements import Statements, parse_utc, prefix_statements, value_time


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """One reference model's losses, and what is known of the model.

    Attributes:
      name: in messages and in the verdict.
      digest: of the model and how it is queried (`suspects.Declaration.digest`), 64 hex
        digits, as in `Plan.references`.
      table: float32 `[num_images, num_slots]` nats: the same candidates, views and noises as in
        the suspect's table. A row of NaN has no effect.
      sealed_digest: the result of `seal` before the key was opened; None skips the check, which
        then becomes a condition.
      released: since when the model has existed, an ISO date or date and time; "" if nobody
        stated it. Not needed for a model in the plan.
      released_from: how that is known.
      chosen_blind: whether the model was chosen by somebody who did not know the slots. Not
        needed for a model in the plan.

    Raises:
      TypeError, ValueError: no digest, or an invalid date.

    Example:
      >>> Reference("base", "0f" * 32, np.ones((2, 12)), released="2024-05-01").name
      'base'
    """

    name: str
    digest: str
    table: np.ndarray = dataclasses.field(repr=False)
    sealed_digest: str | None = None
    released: str = ""
    released_from: str = ""
    chosen_blind: bool = False

    def __post_init__(self):
        for name in ("name", "released", "released_from"):
            _check.plain_text(**{name: getattr(self, name)})
        _check.is_instance(bool, chosen_blind=self.chosen_blind)
        if not is_digest(self.digest):
            raise ValueError(
                f"digest must be 64 lower-case hex digits, got {self.digest!r:.70}"
            )
        if self.released:
            parse_utc(released=self.released)


def check_age(
    name: str, digest: str, released: str, plan: Plan, statements: Statements
) -> None:
    """Refuse a reference that may depend on the slots.

    Args:
      name: of the reference, for errors.
      digest: of the reference.
      released: when it was released; "" if not stated, which is a condition instead.
      plan: the owner's plan; a reference that it names needs no date.
      statements: when the beacon's value appeared, if its name does not determine that.

    Raises:
      CommitmentError: the plan names neither the reference nor a beacon, or the reference was
        not released before the beacon's value appeared.
    """
    if digest in plan.references:
        return
    if plan.version == 1 or not plan.beacon:
        raise CommitmentError(
            f"reference {name!r} must be in the plan, which names no beacon: the owner knew "
            "all slots since the commitment, and may have made the model for them"
        )
    appeared = value_time(plan, statements.value_appeared, statements.held_since)
    if released and appeared and parse_utc(released=released) >= appeared:
        raise CommitmentError(
            f"reference {name!r} must be older than the beacon's value, which appeared at "
            f"{appeared.isoformat()}, or be in the plan; it was released on {released}: it may "
            "have been made to dislike the true slots"
        )


def check_references(
    references: Sequence[Reference], plan: Plan, statements: Statements
) -> None:
    """Refuse references that may depend on the slots, are not the sealed ones, or are equal.

    Raises:
      TypeError: not `Reference`s.
      ValueError: one model twice.
      CommitmentError: as `check_age`; a table that is not the one sealed.
    """
    for each in references:
        _check.is_instance(Reference, references=each)
        check_age(each.name, each.digest, each.released, plan, statements)
        check_sealed(each.table, each.sealed_digest, f"the table of reference {each.name!r}")
    if len({each.digest for each in references}) < len(references):
        raise ValueError("references must be different models, got one twice")


def factor_of_references(plan: Plan, references: Sequence[Reference]) -> int:
    """Return by what p is multiplied: 2 for each reference added to the plan or left out.

    Example:
      >>> added = Reference("base", "0f" * 32, np.ones((2, 12)))
      >>> factor_of_references(Plan("losses", 0.05, references=("ab" * 32,)), [added])
      4
    """
    return 2 ** len({each.digest for each in references} ^ set(plan.references))


def conditions_of_references(
    plan: Plan, statements: Statements, references: Sequence[Reference]
) -> list[str]:
    """List what is open about the references, each with its reason."""
    found = []
    appeared = value_time(plan, statements.value_appeared, statements.held_since)
    for each in references:
        if each.digest in plan.references:
            continue
        older = f"reference {each.name!r} is older than the beacon's value"
        if not each.released:
            found.append(f"{older} (nobody stated when it was released)")
        elif appeared is None:
            value = f"the value of {plan.beacon!r:.100}"
            found.append(f"{older} (nobody stated when {value} appeared)")
        if not each.chosen_blind:
            found.append(
                f"reference {each.name!r} was chosen by somebody who did not know the slots "
                "(nobody stated that)"
            )
    used = {each.digest for each in references}
    found += [
        f"the reference {digest} of the plan was not left out for its results (it was not used)"
        for digest in plan.references
        if digest not in used
    ]
    return found


def lines_of_references(plan: Plan, references: Sequence[Reference]) -> list[str]:
    """List the references used, and what the arbitrator states of them, one line each."""
    lines = []
    for each in references:
        is_planned = each.digest in plan.references
        where = "in the plan" if is_planned else "not in the plan, which doubles p"
        lines.append(
            f"calibrated by reference {each.name!r}, {where}: model {each.digest}, table "
            f"{seal(each.table)}"
        )
        said = []
        if each.released:
            source = f", from {each.released_from}" if each.released_from else ""
            said.append(f"reference {each.name!r} was released on {each.released}{source}")
        if each.chosen_blind:
            said.append(
                f"reference {each.name!r} was chosen by somebody who did not know the slots"
            )
        lines += prefix_statements(said)
    return lines
