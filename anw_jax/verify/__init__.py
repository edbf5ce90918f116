"""The arbitrator's library: from a model and unmarked originals to a verdict.

Needs numpy, scipy and jax, nothing else. The order of work, which the files of a run
enforce:

1. `loss_table`: the only thing ever asked of a model.
2. `grid_search`, `infer_signatures`, `gradient_search`: what the arbitrator infers *without*
   the secret.
3. `seal`: the digest of the table, written down before the key is opened.
4. `decide`: opens the commitment, makes the one declared test, states the verdict: what was
   not stated (`Statements`), compared or counted is a condition that it rests on.

With a plan whose mode is "sequential", 3 and 4 are one `SequentialRecord`: row and bet, then
one opened leaf, unit by unit; `replay` computes it anew from its file. `Lockstep` keeps the
records of several suspects in step, and `replay_together` replays them. `coarse_to_fine`
completes rows with fewer queries in either mode.

`loss_tables`, `grid_search_many` and `gradient_search_many` do the same for many owners at
once, in one compiled program; `signature_cosine` is the scale of the paper's Table 1.

`check_jax` compares jax with NumPy before the first table of a process.
"""

from anw_jax.verify.cosine import signature_cosine
from anw_jax.verify.gradient import gradient_search
from anw_jax.verify.gradient_many import GradientSearchResult, gradient_search_many
from anw_jax.verify.grid import (
    GridSearchResult,
    grid_search,
    infer_signatures,
)
from anw_jax.verify.grid_many import ManyGridSearchResult, grid_search_many
from anw_jax.verify.joint import Joint
from anw_jax.verify.lockstep import Lockstep
from anw_jax.verify.plan import QueryPlan, plan_queries
from anw_jax.verify.query_saving import CompletedRows, coarse_to_fine
from anw_jax.verify.replaying import replay, replay_together, resume
from anw_jax.verify.self_check import check_jax, jax_record
from anw_jax.verify.sequential import SequentialRecord
from anw_jax.verify.statements import Statements
from anw_jax.verify.table import loss_table
from anw_jax.verify.tables import loss_tables
from anw_jax.verify.verdict import Verdict, decide, seal

__all__ = [
    "CompletedRows",
    "GradientSearchResult",
    "GridSearchResult",
    "Joint",
    "Lockstep",
    "ManyGridSearchResult",
    "QueryPlan",
    "SequentialRecord",
    "Statements",
    "Verdict",
    "check_jax",
    "coarse_to_fine",
    "decide",
    "gradient_search",
    "gradient_search_many",
    "grid_search",
    "grid_search_many",
    "infer_signatures",
    "jax_record",
    "loss_table",
    "loss_tables",
    "plan_queries",
    "replay",
    "replay_together",
    "resume",
    "seal",
    "signature_cosine",
]
