"""Reference models in a verdict: which may be used, and what their choice costs.

The scores of a reference are subtracted from the suspect's (`stats.calibrated_scores`). The
test stays exact if the reference's losses do not depend on the secret slots: its digest stands
in the plan, or it existed before the beacon's value, on which all slots depend. A model made
later could have been trained to dislike the true slots, which would convict an innocent
suspect. A digest fixes what code does, but not what it reads: a reference that runs code could
read the beacon's value from another file. That it does not is a condition, in the plan or not.

A reference that is not in the plan can be used or not, so it doubles p, as does one of the plan
that is not used. The factor covers that one choice if it is made blindly. It does not cover a
choice among many models or sets of models by somebody who knows the slots or a result: this is
a condition of its own.
"""

import dataclasses
import datetime
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
      released_from: how that is known; a date without a source is a condition.
      chosen_blind: whether the references to use were fixed by somebody who knew neither the
        slots nor any result. Not needed for a model in the plan.
      runs_code: whether the model is code, or a file that can hold code. False for a graph of
        numbers only, such as ONNX.
      code_read: whether somebody read the code and found that it uses nothing but the images
        it is given and the files covered by the digest.

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
    runs_code: bool = True
    code_read: bool = False

    def __post_init__(self):
        for name in ("name", "released", "released_from"):
            _check.plain_text(**{name: getattr(self, name)})
        for name in ("chosen_blind", "runs_code", "code_read"):
            _check.is_instance(bool, **{name: getattr(self, name)})
        if not is_digest(self.digest):
            raise ValueError(
                f"digest must be 64 lower-case hex digits, got {self.digest!r:.70}"
            )
        if self.released:
            parse_utc(released=self.released)


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """Why a reference of the plan is not used.

    Attributes:
      digest: of the reference, as in `Plan.references`.
      why: such as "the suspect has other classes"; "" if nobody stated it.
      chosen_blind: whether that was decided by somebody who knew neither the slots nor any
        result; of no effect without a reason.

    Raises:
      TypeError, ValueError: no digest, or fields of other types.
    """

    digest: str
    why: str = ""
    chosen_blind: bool = False

    def __post_init__(self):
        _check.plain_text(why=self.why)
        _check.is_instance(bool, chosen_blind=self.chosen_blind)
        if not is_digest(self.digest):
            raise ValueError(
                f"digest must be 64 lower-case hex digits, got {self.digest!r:.70}"
            )

    @property
    def is_settled(self) -> bool:
        """Whether reason and choice are stated, so that no condition is left."""
        return bool(self.why) and self.chosen_blind


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
    references: Sequence[Reference],
    plan: Plan,
    statements: Statements,
    left_out: Sequence[LeftOut] = (),
) -> None:
    """Refuse references that may depend on the slots, are not the sealed ones, or are equal.

    Raises:
      TypeError: not `Reference`s, or not `LeftOut`s.
      ValueError: one model twice; one left out that is used, or that the plan does not name.
      CommitmentError: as `check_age`; a table that is not the one sealed.
    """
    for each in references:
        _check.is_instance(Reference, references=each)
        check_age(each.name, each.digest, each.released, plan, statements)
        check_sealed(each.table, each.sealed_digest, f"the table of reference {each.name!r}")
    if len({each.digest for each in references}) < len(references):
        raise ValueError("references must be different models, got one twice")
    missing = set(plan.references) - {each.digest for each in references}
    for one in left_out:
        if _check.is_instance(LeftOut, left_out=one).digest not in missing:
            raise ValueError(
                f"left_out must be of the plan's references and not used, got {one.digest}"
            )
    if len({one.digest for one in left_out}) < len(left_out):
        raise ValueError("left_out must be different references, got one twice")


def factor_of_references(plan: Plan, references: Sequence[Reference]) -> int:
    """Return by what p is multiplied: 2 for each reference added to the plan or left out.

    Example:
      >>> added = Reference("base", "0f" * 32, np.ones((2, 12)))
      >>> factor_of_references(Plan("losses", 0.05, references=("ab" * 32,)), [added])
      4
    """
    return 2 ** len({each.digest for each in references} ^ set(plan.references))


def conditions_of_references(
    plan: Plan,
    statements: Statements,
    references: Sequence[Reference],
    left_out: Sequence[LeftOut] = (),
) -> list[str]:
    """List what is open about the references, each with its reason."""
    found = []
    appeared = value_time(plan, statements.value_appeared, statements.held_since)
    for each in references:
        if each.runs_code and not each.code_read:
            found.append(f"{_code_line(each)} (nobody stated that)")
        if each.digest in plan.references:
            continue
        found += [
            f"reference {each.name!r} is older than the beacon's value (nobody stated {what})"
            for what in _not_stated_of_age(each, plan, appeared)
        ]
        if not each.chosen_blind:
            found.append(f"{_CHOSEN_BLIND} (nobody stated that of {each.name!r})")
    for one in _all_left_out(plan, references, left_out):
        if not one.is_settled:
            why = f": {one.why}" if one.why else ""
            found.append(f"{_not_for_results(one)} (it was not used{why})")
    return found


def _all_left_out(
    plan: Plan, references: Sequence[Reference], left_out: Sequence[LeftOut]
) -> list[LeftOut]:
    """Return every reference of the plan that is not used, in the plan's order."""
    used, known = {each.digest for each in references}, {one.digest: one for one in left_out}
    return [
        known.get(digest, LeftOut(digest)) for digest in plan.references if digest not in used
    ]


def _not_for_results(one: LeftOut) -> str:
    return f"the reference {one.digest} of the plan was not left out for its results"


_CHOSEN_BLIND = (
    "which references are used was fixed by somebody who knew neither the slots nor any result"
)


def _code_line(reference: Reference) -> str:
    return (
        f"the code of reference {reference.name!r} uses nothing but the pictures it is given "
        "and the files that it lists"
    )


def _not_stated_of_age(
    reference: Reference, plan: Plan, appeared: datetime.datetime | None
) -> list[str]:
    """List what nobody stated of the age of a reference that is not in the plan."""
    if not reference.released:
        return ["when it was released"]
    found = []
    if appeared is None:
        found.append(f"when the value of {plan.beacon!r:.100} appeared")
    if not reference.released_from.strip():
        found.append("how its release date is known")
    return found


def lines_of_references(
    plan: Plan, references: Sequence[Reference], left_out: Sequence[LeftOut] = ()
) -> list[str]:
    """List the references used, and what the arbitrator states of them, one line each."""
    lines = []
    for one in _all_left_out(plan, references, left_out):
        if one.is_settled:
            lines.append(
                f"the reference {one.digest} of the plan was not used, which doubles p: "
                f"{one.why}"
            )
            lines += prefix_statements([_not_for_results(one)])
    for each in references:
        is_planned = each.digest in plan.references
        where = "in the plan" if is_planned else "not in the plan, which doubles p"
        lines.append(
            f"calibrated by reference {each.name!r}, {where}: model {each.digest}, table "
            f"{seal(each.table)}{_unusable(each.table)}"
        )
        said = []
        if each.released:
            source = f", from {each.released_from}" if each.released_from else ""
            said.append(f"reference {each.name!r} was released on {each.released}{source}")
        if each.chosen_blind:
            said.append(f"{_CHOSEN_BLIND} (of {each.name!r})")
        if each.runs_code and each.code_read:
            said.append(_code_line(each))
        lines += prefix_statements(said)
    return lines


def _unusable(table: np.ndarray) -> str:
    """Return how many rows of a table have no effect, in words; "" for none."""
    table = np.asarray(table)
    without = len(table) - int(np.isfinite(table[:, 1:]).all(axis=1).sum())
    return f"; {without} of its {len(table)} rows are without usable answers" if without else ""
