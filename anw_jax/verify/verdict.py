"""Opening the commitment and stating the result."""

import dataclasses
import hashlib

import numpy as np

from anw_jax import _check
from anw_jax.errors import CommitmentError
from anw_jax.keys import Manifest, MarkKey, Plan, assign, check_commitment, public_seed
from anw_jax.stats import STATISTICS, TestResult, exact_test, hits, monte_carlo_test
from anw_jax.stats.testing import format_p
from anw_jax.verify.grid import infer_signatures

_TAG_TABLE = b"anw_jax/v1/loss-table\0"

NO_COMMITMENT = "not evidence: key not fixed before training"
EXPERIMENT_KEY = "experiment key, not evidence"
_UNDER_PLAN = "evidence under the committed plan"
# Nothing in a file shows when a commitment was made public, how many there were, nor what else
# the key was used for: the standing says what an arbitrator has to make sure of. Who tries a
# key on a thousand models and accuses the likeliest has p = 1/1000 by luck alone; who publishes
# other photos under the same hues teaches them to models that never met these.
_ALONE = "is the only one that could have been brought"
_NOT_TRIED = "if the suspect was not chosen by trying the key on models"
_NOT_REUSED = "if nothing but the marked photos was made with it"
EVIDENCE = (
    f"{_UNDER_PLAN}, if it was public before the training and {_ALONE}, {_NOT_TRIED}, "
    f"{_NOT_REUSED}, and if the owner drew the key honestly"
)
EVIDENCE_WITH_BEACON = (
    f"{_UNDER_PLAN} and its public beacon, if the plan was public before the beacon's value "
    f"and the training and {_ALONE}, {_NOT_TRIED}, and {_NOT_REUSED}"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Verdict:
    """What the arbitrator states.

    Attributes:
      result: the one test named in the plan.
      standing: whether this is evidence at all; "not evidence: …" without a commitment.
      sentence: the result in words a court can read.
      num_hits: units whose blind argmin was the secret slot (diagnostic).
      inferred_slots: int64 `[num_units]`, inferred without the key.
      true_slots: int64 `[num_units]`, opened afterwards.
      diagnostics: p of the other statistics and the Monte-Carlo p of the named one. The
        verdict does not use them.
      table_digest: SHA-256 of the loss table that was sealed.
    """

    result: TestResult
    standing: str
    sentence: str
    num_hits: int
    inferred_slots: np.ndarray
    true_slots: np.ndarray
    diagnostics: dict[str, float]
    table_digest: str


def is_evidence(standing: str) -> bool:
    """Whether a standing, with whatever it further rests on, is one of evidence.

    Example:
      >>> is_evidence(EVIDENCE + ", and more"), is_evidence(NO_COMMITMENT)
      (True, False)
    """
    # By its beginning: files written earlier say in fewer words what it rests on.
    return standing.startswith(_UNDER_PLAN)


def seal(loss_table: np.ndarray) -> str:
    """The digest of a finished table: 64 hex digits, written down before the key opens.

    Example:
      >>> seal(np.zeros((1, 2), np.float32))[:12]
      '4b5563fb8824'
    """
    table = _sealed_form(loss_table)
    header = _TAG_TABLE + repr(table.shape).encode() + b"\0"
    return hashlib.sha256(header + table.tobytes()).hexdigest()


def decide(
    loss_table: np.ndarray,
    mark_key: MarkKey,
    manifest: Manifest,
    plan: Plan,
    *,
    commitment: str | None,
    sealed_digest: str | None = None,
    beacon: bytes = b"",
) -> Verdict:
    """Checks the commitment, derives the slots and makes the one declared test.

    Args:
      loss_table: float32 `[num_images, num_slots]` nats, one row for each image of the
        manifest in its order; a row of NaN where the model gave no answer. No row is left out,
        and nobody who knows the slots may have chosen rows or labels: p would be too small.
      mark_key: the owner's key, opened now.
      manifest: the one committed to.
      plan: statistic, level and mark, as committed to.
      commitment: what was published before training; None if there is none, and then the
        standing says that this is not evidence.
      sealed_digest: what `seal` gave before the key was opened; None skips the check.
      beacon: the value of the public beacon that the plan names; b"" where it names none.

    Returns:
      The `Verdict`.

    Raises:
      CommitmentError: key, manifest or plan are not those committed to, the table is not the
        one sealed, the beacon's value is missing or was not planned, or the plan's mode is
        "sequential".
    """
    _check.is_instance(Plan, plan=plan)
    if plan.mode != "sealed":
        raise CommitmentError(
            f"the plan's mode is {plan.mode!r}: its verdict is the record's "
            "(SequentialRecord.result); no exact test is made on what was opened until a stop"
        )
    # The test is made on the very numbers that were sealed.
    loss_table = _sealed_form(loss_table)
    digest = seal(loss_table)
    if sealed_digest is not None and sealed_digest != digest:
        raise CommitmentError(
            f"the loss table is not the one sealed: its digest is {digest[:16]}…, sealed was "
            f"{sealed_digest[:16]}…"
        )
    if commitment is not None:
        check_commitment(commitment, mark_key, manifest, plan)
    if bool(plan.beacon) != bool(beacon):
        named = repr(plan.beacon) if plan.beacon else "no beacon"
        raise CommitmentError(
            f"the plan names {named} and a value is {'given' if beacon else 'missing'}: "
            "give the value if and only if one is named"
        )
    assignment = assign(mark_key, manifest, beacon=beacon)
    result = exact_test(loss_table, assignment, statistic=plan.statistic, alpha=plan.alpha)
    num_hits, hits_result = hits(loss_table, assignment)
    diagnostics = {
        f"log10_p_{name}": exact_test(loss_table, assignment, statistic=name).log10_p
        for name in STATISTICS
        if name not in (plan.statistic, "hits")
    }
    if plan.statistic != "hits":
        diagnostics["log10_p_hits"] = hits_result.log10_p
    diagnostics["p_monte_carlo"] = monte_carlo_test(
        loss_table,
        assignment,
        seed=public_seed(commitment or "", plan),
        statistic=plan.statistic,
    )
    return Verdict(
        result=result,
        standing=_standing(mark_key, commitment, plan),
        sentence=_sentence(result),
        num_hits=num_hits,
        inferred_slots=infer_signatures(loss_table, manifest),
        true_slots=assignment.slot_of_unit,
        diagnostics=diagnostics,
        table_digest=digest,
    )


def _sealed_form(loss_table: np.ndarray) -> np.ndarray:
    """The table as little-endian float32."""
    with np.errstate(over="ignore"):  # a loss too large for float32 is infinite: unusable
        return np.ascontiguousarray(loss_table, "<f4")


def _standing(mark_key: MarkKey, commitment: str | None, plan: Plan) -> str:
    if mark_key.origin == "experiment":
        return EXPERIMENT_KEY
    if commitment is None:
        return NO_COMMITMENT
    return EVIDENCE_WITH_BEACON if plan.beacon else EVIDENCE


def _sentence(result: TestResult) -> str:
    if result.outcome == "inconclusive":
        return f"The test is inconclusive: {result.reason}."
    return (
        "If this model had been made without these marked photos, whatever else it learned "
        "from, a match this strong or stronger would occur with probability at most "
        f"{format_p(result.log10_p)}."
    )
