"""Exact hypothesis tests on loss tables, valid for any model. Computed in float64 with NumPy.

The hypothesis H0: given the originals, their labels, the mark and everything published
without the key, the model's answers are independent of the slots. The slots are uniform
because a keyed pseudo-random function drew them, so under H0 every statistic of (table,
slots) has a known distribution, whatever the model is and however its answers to
different photos depend on each other.

Sign convention: **lower losses are evidence**. Scores have the opposite sign, so that higher
scores are evidence and p = P(S ≥ s_observed), ties included.

Formal guarantees of `exact_test`, each with a test in `tests/stats`:

* P(p ≤ t) ≤ t under H0 for every t, for every table fixed before the slots are revealed.
* p is never below 1 / (N - 1) for one unit, nor below (N - 1)^-G for G units.
* An image entered twice changes nothing; NaN or infinite losses make a unit count as
  constant, never as evidence; no table of the right shape raises an error.

`bit_test` is the exact test of a model watermark: scores against the secret bits of a key.
The sequential mode bets unit by unit instead (`MixtureBettor`, `EProcess`). Multiple tests are
corrected as their plan declares (`several`). `which_units` and `how_many` estimate which photos
were used and how many, with error rates. `plan_audit` estimates the cost of an audit.
"""

from anw_jax.stats.betting import (
    EProcess,
    MixtureBettor,
    SequentialResult,
    mixture_log_wealth,
    sequential_result,
)
from anw_jax.stats.bits import (
    BIT_STATISTICS,
    bit_log10_p_values,
    bit_test,
    fresh_bit_p_values,
)
from anw_jax.stats.bounds import INVERSIONS, LowerBound, UnitList, how_many, which_units
from anw_jax.stats.calibration import calibrated_scores
from anw_jax.stats.exact import ExactNull, quantise
from anw_jax.stats.null_shape import bit_null_shape, null_shape
from anw_jax.stats.power import AuditPlan, log_p_reached, plan_audit
from anw_jax.stats.printed_p import format_log10_p, format_p, format_p_value
from anw_jax.stats.row_scorer import RowScorer, row_shapes
from anw_jax.stats.scores import (
    DEFAULT_STATISTIC,
    ROW_STATISTICS,
    SEQUENTIAL_STATISTICS,
    STATISTICS,
    blind_argmin,
    score_row,
    score_units,
    unit_losses,
)
from anw_jax.stats.several import (
    bonferroni,
    divided,
    e_bh,
    holm,
    log_e_from_p,
    mean_of_e_values,
    multiplied,
)
from anw_jax.stats.testing import (
    DEFAULT_ALPHA,
    TestResult,
    count_hits,
    exact_test,
    fresh_p_values,
    monte_carlo_test,
    super_uniformity,
)

__all__ = [
    "BIT_STATISTICS",
    "DEFAULT_ALPHA",
    "DEFAULT_STATISTIC",
    "INVERSIONS",
    "ROW_STATISTICS",
    "SEQUENTIAL_STATISTICS",
    "STATISTICS",
    "AuditPlan",
    "EProcess",
    "ExactNull",
    "LowerBound",
    "MixtureBettor",
    "RowScorer",
    "SequentialResult",
    "TestResult",
    "UnitList",
    "bit_log10_p_values",
    "bit_null_shape",
    "bit_test",
    "blind_argmin",
    "bonferroni",
    "calibrated_scores",
    "count_hits",
    "divided",
    "e_bh",
    "exact_test",
    "format_log10_p",
    "format_p",
    "format_p_value",
    "fresh_bit_p_values",
    "fresh_p_values",
    "holm",
    "how_many",
    "log_e_from_p",
    "log_p_reached",
    "mean_of_e_values",
    "mixture_log_wealth",
    "monte_carlo_test",
    "multiplied",
    "null_shape",
    "plan_audit",
    "quantise",
    "row_shapes",
    "score_row",
    "score_units",
    "sequential_result",
    "super_uniformity",
    "unit_losses",
    "which_units",
]
