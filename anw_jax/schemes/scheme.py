"""What all model watermarks share: the order of steps, and who may see the bits.

A scheme is three pure functions, and a `Decoder` that they share:

* `keygen(mark_key, decoder, plan, beacon) -> Bits`, the same for all schemes;
* `penalty(decoder, …, bits)`, a scalar function that is added to the loss of a training
  (`train.with_penalties`);
* `extract(decoder, base, suspect) -> scores`, which has no argument through which the bits, or
  anything made after them, could come: not the released model, not its outputs.

Only `stats.bit_test` joins scores and bits. The order, which every rule of evidence rests on:

1. The clean model w0 is trained (`base`).
2. The decoder is made: inputs, taps, probes, projection, every constant of the reader, and the
   digest of w0. Its digest stands in the plan; key and plan are committed to.
3. The beacon's value is published. It and the commitment determine the bits.
4. The bits are embedded; the model is released.
5. The arbitrator reads scores from a suspect, opens the commitment, and calls `judge`.

Alignment, centring and normalisation of a suspect use w0 and the committed probes only. Aligned
to the *released* model, innocent networks would match the bits that it carries.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from anw_jax.errors import CommitmentError
from anw_jax.keys import Bits, MarkKey, Plan, check_scheme_commitment, draw_bits
from anw_jax.keys.plan_fields import BARRIER, FINGERPRINT
from anw_jax.stats import TestResult, bit_test, multiplied
from anw_jax.stats.testing import MARKED_COPIES, MARKED_MODEL, MARKED_OUTPUTS, in_words
from anw_jax.verify.sealing import check_sealed, sealed_form
from anw_jax.verify.statements import (
    NOTHING_STATED,
    Statements,
    check_against,
    conditions_of,
)
from anw_jax.verify.verdict import NOT_COMPARED, is_conditional, standing_of, verdict_text

_MADE_OF = {BARRIER: MARKED_OUTPUTS, FINGERPRINT: MARKED_COPIES}

# From inputs `[b, …]` to the values of the tapped layers, each `[b, …, channels]`.
TapsFn = Callable[[np.ndarray], Sequence[jax.Array]]


@dataclasses.dataclass(frozen=True, eq=False)
class Tested:
    """The test of a system that also says whose copy a suspect is.

    Attributes:
      result: of the test.
      sentence: who is named.
      fields: what the verdict's file has beside the result, plain JSON values.
    """

    result: TestResult
    sentence: str
    fields: Mapping[str, Any]


# From the sealed scores, the key and the beacon's value.
TestFn = Callable[[np.ndarray, MarkKey, bytes], Tested]


class Decoder(Protocol):
    """What is fixed and committed to before the bits are drawn."""

    @property
    def mark(self) -> str:
        """The plan's `mark`: the scheme's name and the digest of everything in the decoder."""

    @property
    def num_bits(self) -> int:
        """How many bits are read from a model."""


@dataclasses.dataclass(frozen=True, eq=False)
class ModelVerdict:
    """The result of the test of one suspect model.

    Attributes:
      result: the declared test, p multiplied by `factor`.
      standing: as `verify.Verdict` has it.
      conditions: facts that were not stated; empty for evidence.
      factor: commitments found and models tried, by which p was multiplied.
      stated: the arbitrator's statements, one sentence each.
      made_of: what the hypothesis of the test denies.
      named: who is named, in words; "" of systems that name nobody.
      fields: more of the verdict's file, plain JSON values.
    """

    result: TestResult
    standing: str
    conditions: tuple[str, ...]
    factor: float
    stated: tuple[str, ...]
    made_of: str = MARKED_MODEL
    named: str = ""
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The result in words a court can read."""
        return f"{self.named} {in_words(self.result, made_of=self.made_of)}".lstrip()

    @property
    def text(self) -> str:
        """The verdict in plain language: conditions, sentence, statements."""
        result = self.result
        return verdict_text(
            result.outcome,
            result.alpha,
            self.sentence,
            self.standing,
            self.conditions,
            self.stated,
        )


def plan_of(decoder: Decoder, **fields: Any) -> Plan:
    """Make the plan of a model watermark; commit to it with `keys.commit_scheme`.

    Args:
      decoder: what the plan fixes, by its digest.
      **fields: of `keys.Plan`: `alpha`, `beacon`, `place`, `number` …; the statistic is
        "bounded_bits" unless given.
    """
    return Plan(**{"statistic": "bounded_bits", **fields, "mark": decoder.mark})


def check_can_be_shown(num_bits: int, alpha: float, number: int = 1) -> None:
    """Raise ValueError if even a perfect match of so many bits is not shown at the level.

    Args:
      num_bits: of each key.
      alpha: the declared level.
      number: keys that are made together, by which p is multiplied.

    Example:
      >>> check_can_be_shown(21, 1e-6, 2)
    """
    least = math.ceil(math.log2(number) - math.log2(alpha))
    if num_bits < least:
        raise ValueError(
            f"bits must be at least {least}, so that a match of all of them is shown at the "
            f"level {alpha:g} with {number} key(s), got {num_bits}"
        )


def keygen(mark_key: MarkKey, decoder: Decoder, plan: Plan, *, beacon: bytes) -> Bits:
    """Draw the bits of a key, after the beacon's value was published.

    Args:
      mark_key: the owner's secret, used for this one watermark.
      decoder: the committed decoder.
      plan: the committed plan.
      beacon: the value of the beacon that the plan names; b"" if it names none.

    Raises:
      CommitmentError: the plan is that of another decoder, or the value does not fit.
    """
    check_decoder(decoder, plan)
    return draw_bits(mark_key, plan, decoder.num_bits, beacon=beacon)


def check_decoder(decoder: Decoder, plan: Plan) -> None:
    """Raise CommitmentError unless the plan fixes this decoder."""
    if plan.mark != decoder.mark:
        raise CommitmentError(
            f"the plan fixes the decoder {plan.mark:.80} and the one given is "
            f"{decoder.mark:.80}: a setting was changed after the commitment"
        )


def judge(
    scores: np.ndarray,
    mark_key: MarkKey,
    decoder: Decoder,
    plan: Plan,
    *,
    commitment: str,
    sealed_digest: str | None = None,
    beacon: bytes = b"",
    statements: Statements = NOTHING_STATED,
    other_conditions: Sequence[str] = (),
    test_fn: TestFn | None = None,
) -> ModelVerdict:
    """Open the commitment and test the scores that were read from a suspect.

    Args:
      scores: float `[num_bits]`, as the scheme's `extract` returns them.
      mark_key: the owner's key, opened for this test and spent by it.
      decoder: the committed decoder.
      plan: the committed plan.
      commitment: 64 hex digits, as the arbitrator received them.
      sealed_digest: `verify.seal` of the scores, recorded before the key was opened; None
        skips the comparison, which then becomes a condition.
      beacon: the value of the beacon.
      statements: what the arbitrator states; every omitted fact becomes a condition.
      other_conditions: what is open beyond plan and statements.
      test_fn: what tests the scores instead of `stats.bit_test` with the bits of the key.

    Raises:
      CommitmentError: key, plan, decoder, scores or value differ from those fixed before.
      ValueError: scores of another number.
    """
    scores = sealed_form(scores)
    check_sealed(scores, sealed_digest, "the vector of scores")
    check_scheme_commitment(commitment, mark_key, plan)
    check_against(statements, plan, commitment)
    if test_fn is None:
        bits = keygen(mark_key, decoder, plan, beacon=beacon)
        result = bit_test(scores, bits, statistic=plan.statistic, alpha=plan.alpha)
        tested = Tested(result, "", {})
    else:
        tested = test_fn(scores, mark_key, beacon)
    not_compared = [NOT_COMPARED] if sealed_digest is None else []
    conditions = (*conditions_of(plan, statements), *not_compared, *other_conditions)
    standing = standing_of(mark_key.origin, commitment, statements, conditions)
    return ModelVerdict(
        result=multiplied(tested.result, statements.factor),
        standing=standing,
        conditions=conditions if is_conditional(standing) else (),
        factor=statements.factor,
        stated=tuple(statements.lines()),
        made_of=_MADE_OF.get(plan.mark.partition(":")[0], MARKED_MODEL),
        named=tested.sentence,
        fields=tested.fields,
    )
