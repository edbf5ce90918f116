"""Verify the commitment, run the declared test and report the result."""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from anw_jax import _check
from anw_jax.errors import CommitmentError
from anw_jax.keys import (
    AccessRule,
    Assignment,
    Manifest,
    MarkKey,
    Plan,
    Units,
    assign,
    check_commitment,
    public_seed,
)
from anw_jax.keys.plan_fields import CLASS_KINDS
from anw_jax.stats import (
    TestResult,
    blind_argmin,
    count_hits,
    exact_test,
    monte_carlo_test,
    multiplied,
    unit_losses,
)
from anw_jax.verify.references import (
    LeftOut,
    Reference,
    check_references,
    conditions_of_references,
    factor_of_references,
    lines_of_references,
)
from anw_jax.verify.sealing import check_sealed, sealed_form
from anw_jax.verify.statements import (
    NOTHING_STATED,
    Statements,
    check_against,
    conditions_of,
)

# Fixed: a replay compares them with those of verdicts that were written long before.
_DIAGNOSTICS = ("log_losses", "losses", "centred", "ranks", "hits", "bounded_log_losses")

NO_COMMITMENT = "not evidence: key not fixed before training"
EXPERIMENT_KEY = "experiment key, not evidence"
OPENED_BEFORE = "not evidence: the key was opened before"
EVIDENCE = "evidence under the committed plan"
NOT_COMPARED = (
    "the sealed answers were not changed after the key was opened (no digest noted before was "
    "compared)"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Verdict:
    """The result of one audit, and the conditions under which it is evidence.

    Attributes:
      result: the test declared in the plan, with p multiplied by `factor`.
      standing: "evidence under the committed plan", "not evidence: …", or the conditions on
        which the result depends.
      conditions: facts that were not stated, compared or counted; empty for evidence, and if
        the result cannot be evidence.
      factor: by which p was multiplied: commitments found, models tried, open declarations,
        references that the plan does not name or that were left out.
      sentence: the result in plain language.
      num_hits: number of units whose lowest-loss slot is the true slot (diagnostic only).
      inferred_slots: int64 `[num_units]`, lowest-loss slot per unit.
      true_slots: int64 `[num_units]`, slots derived from the key.
      diagnostics: p of the other statistics and the Monte-Carlo p of the declared one. The
        verdict does not use them.
      table_digest: SHA-256 of the sealed loss table.
      stated: the arbitrator's statements, one sentence each.
      references: which references were used, and what is stated of them, one sentence each.
    """

    result: TestResult
    standing: str
    conditions: tuple[str, ...]
    factor: float
    sentence: str
    num_hits: int
    inferred_slots: np.ndarray
    true_slots: np.ndarray
    diagnostics: dict[str, float]
    table_digest: str
    stated: tuple[str, ...] = ()
    references: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The full verdict: conditions, then the sentence, then the arbitrator's statements."""
        return verdict_text(
            self.result.outcome,
            self.result.alpha,
            self.sentence,
            self.standing,
            self.conditions,
            (*self.references, *self.stated),
        )


def verdict_text(
    outcome: str,
    alpha: float,
    sentence: str,
    standing: str,
    conditions: Sequence[str],
    stated: Sequence[str] = (),
) -> str:
    """Format a verdict as several lines of text; the conditions are a numbered list.

    The standing is stated only if the outcome is "shown".

    Example:
      >>> print(verdict_text("shown", 0.05, "S.", "conditional", ["A (a)", "B (b)"]))
      Shown at level 0.05, if
        1. A (a)
        2. B (b)
      S.
    """
    head = f"{outcome[:1].upper()}{outcome[1:]} at level {alpha:g}"
    if outcome != "shown":
        lines = [f"{head}."]
    elif conditions:
        numbered = (f"  {number}. {text}" for number, text in enumerate(conditions, 1))
        lines = [f"{head}, if", *numbered]
    else:
        lines = [f"{head}: {standing}."]
    return "\n".join([*lines, sentence, *stated])


def standing_of(
    origin: str, commitment: str | None, statements: Statements, conditions: Sequence[str]
) -> str:
    """Return the standing: whether a test is evidence, or which conditions it depends on."""
    if origin == "experiment":
        return EXPERIMENT_KEY
    if commitment is None:
        return NO_COMMITMENT
    if statements.opened_before:
        return OPENED_BEFORE
    return on_conditions(conditions) if conditions else EVIDENCE


def on_conditions(conditions: Sequence[str]) -> str:
    """Return the standing of a test that depends on conditions."""
    return f"holds only if {'; and if '.join(conditions)}"


def is_evidence(standing: str) -> bool:
    """Return whether a standing means that the test is evidence.

    Example:
      >>> is_evidence(EVIDENCE), is_evidence(NO_COMMITMENT)
      (True, False)
    """
    # Files of earlier versions append the conditions.
    return standing.startswith(EVIDENCE)


def is_conditional(standing: str) -> bool:
    """Return whether a standing lists conditions.

    Example:
      >>> is_conditional("holds only if A"), is_conditional(EXPERIMENT_KEY)
      (True, False)
    """
    return standing.startswith("holds only if ")


def decide(
    loss_table: np.ndarray,
    mark_key: MarkKey,
    manifest: Manifest,
    plan: Plan,
    *,
    commitment: str | None,
    sealed_digest: str | None = None,
    beacon: bytes = b"",
    rule: AccessRule | None = None,
    statements: Statements = NOTHING_STATED,
    menu: int = 1,
    other_conditions: Sequence[str] = (),
    references: Sequence[Reference] = (),
    left_out: Sequence[LeftOut] = (),
) -> Verdict:
    """Check the commitment, derive the slots and run the declared test.

    Args:
      loss_table: float32 `[num_images, num_slots]` nats, one row for each image of the
        manifest, in its order; a row of NaN where the model gave no answer. No row may be
        omitted, and rows and labels must not be chosen by anyone who knows the slots: p would
        be too small.
      mark_key: the owner's key, opened now.
      manifest: the committed manifest.
      plan: the committed plan (statistic, level and mark).
      commitment: the commitment published before training; None if there is none: the standing
        is then "not evidence".
      sealed_digest: the result of `seal` before the key was opened; None skips the check, which
        then becomes a condition.
      beacon: the value of the public beacon named in the plan; b"" if the plan names none.
      rule: the rule of the plan under which the table was queried, which may declare its own
        statistic; None for the plan's statistic.
      statements: facts supplied by the arbitrator; every omitted one becomes a condition.
      menu: M, the number of access rules that the plan allowed to choose from; p is multiplied
        by M (Bonferroni).
      other_conditions: further assumptions of this verdict, one sentence each.
      references: models whose scores are subtracted. p is doubled for each that is not in the
        plan, and for each of the plan that is left out.
      left_out: why references of the plan are not used; for others that is a condition.

    Returns:
      The `Verdict`.

    Raises:
      CommitmentError: key, manifest or plan differ from those committed to, the commitment is
        not the one that the arbitrator received, the table is not the sealed one, the beacon's
        value is missing or unexpected, the plan's mode is "sequential", or a reference may be
        younger than the beacon's value.
      ValueError: statements that contradict the plan, or a menu smaller than the plan's.
    """
    _check.is_instance(Plan, plan=plan)
    if plan.mode != "sealed":
        raise CommitmentError(
            f"the plan's mode is {plan.mode!r}: its verdict is the record's "
            "(SequentialRecord.result); no exact test is made on what was opened until a stop"
        )
    # The test uses exactly the sealed values.
    loss_table = sealed_form(loss_table)
    digest = check_sealed(loss_table, sealed_digest, "the loss table")
    _check.is_instance(Statements, statements=statements)
    check_references(references, plan, statements, left_out)
    tables = [sealed_form(each.table) for each in references]
    if commitment is not None:
        check_commitment(commitment, mark_key, manifest, plan)
        check_against(statements, plan, commitment)
    assignment = assign(mark_key, manifest, plan, beacon=beacon)
    factor = statements.factor * _check_rule(plan, rule, menu)
    factor *= factor_of_references(plan, references)
    statistic = plan.statistic_of(rule)
    result = exact_test(
        loss_table, assignment, statistic=statistic, alpha=plan.alpha, references=tables
    )
    result = multiplied(result, factor)
    conditions = [*conditions_of(plan, statements), *other_conditions]
    conditions += conditions_of_references(plan, statements, references, left_out)
    if None in (sealed_digest, *(each.sealed_digest for each in references)):
        conditions.append(NOT_COMPARED)
    standing = standing_of(mark_key.origin, commitment, statements, conditions)
    return Verdict(
        result=result,
        standing=standing,
        conditions=tuple(conditions) if is_conditional(standing) else (),
        factor=factor,
        sentence=result.sentence,
        num_hits=count_hits(loss_table, assignment, tables),
        inferred_slots=infer_signatures(loss_table, manifest, tables),
        true_slots=assignment.slot_of_unit,
        diagnostics=_diagnostics(loss_table, assignment, statistic, commitment, plan, tables),
        table_digest=digest,
        stated=tuple(statements.lines()),
        references=tuple(lines_of_references(plan, references, left_out)),
    )


def infer_signatures(
    loss_table: np.ndarray, units: Units | Manifest, references: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Estimate each unit's slot without the key: the argmin of its loss over valid slots.

    Args:
      loss_table: float `[num_images, num_slots]` nats.
      units: the unit of each image, or a manifest, which contains it.
      references: tables of reference models; see `stats.unit_losses`.

    Returns:
      int64 `[num_units]`, slots in 1 … N - 1. Ties are resolved to the lower slot; units
      without usable answers get slot 1.

    Example:
      >>> from anw_jax.keys import SignatureSpace
      >>> photos = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
      >>> manifest = Manifest.of(photos, SignatureSpace(4))
      >>> infer_signatures(np.array([[0.0, 3.0, 2.0, 4.0]]), manifest).tolist()
      [2]
    """
    if isinstance(units, Manifest):
        units = units.units
    return blind_argmin(unit_losses(loss_table, units, references))


def _check_rule(plan: Plan, rule: AccessRule | None, menu: int) -> int:
    """Check that `menu` is at least the number of rules the plan left open; return it."""
    _check.integer_at_least(1, menu=menu)
    if rule is not None and rule not in plan.rules:
        raise CommitmentError(f"rule must be one of the plan's {len(plan.rules)}, got {rule}")
    if rule is None and {plan.statistic_of(each) for each in plan.rules} - {plan.statistic}:
        raise ValueError("rule must be given: rules of the plan name statistics of their own")
    least = _least_menu(plan, rule)
    if menu < least:
        raise ValueError(
            f"menu must be at least {least}, the number of rules that the plan leaves open for "
            f"such a suspect; got {menu}"
        )
    return menu


def _least_menu(plan: Plan, rule: AccessRule | None) -> int:
    """Count the rules that could be declared for this kind of access."""
    if rule is None:
        counts = collections.Counter(each.kind for each in plan.rules)
        return max([1, *counts.values()]) if plan.highest else len(plan.rules)
    kinds = (rule.kind,)
    if rule.kind in CLASS_KINDS and not plan.highest:
        # The arbitrator does the rounding, so the suspect returns at least probabilities.
        highest = "probabilities" if rule.kind == "rounded" else rule.kind
        kinds = CLASS_KINDS[CLASS_KINDS.index(highest) :]
    return sum(each.kind in kinds for each in plan.rules)


def _diagnostics(
    loss_table: np.ndarray,
    assignment: Assignment,
    statistic: str,
    commitment: str | None,
    plan: Plan,
    references: Sequence[np.ndarray],
) -> dict[str, float]:
    """Compute uncorrected p of the other statistics, and the declared one's by Monte Carlo."""
    diagnostics = {
        f"log10_p_{name}": exact_test(
            loss_table, assignment, statistic=name, references=references
        ).log10_p
        for name in _DIAGNOSTICS
        if name != statistic
    }
    diagnostics["p_monte_carlo"] = monte_carlo_test(
        loss_table,
        assignment,
        seed=public_seed(commitment or "", plan),
        statistic=statistic,
        references=references,
    )
    return diagnostics
