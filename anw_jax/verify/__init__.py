"""The arbitrator's library: from a model and unmarked originals to a verdict.

Needs numpy, scipy and jax, nothing else. The order of work, which the files of a run
enforce:

1. `loss_table`: the only thing ever asked of a model.
2. `grid_search`, `infer_signatures`, `gradient_search`: what the arbitrator infers *without*
   the secret.
3. `seal`: the digest of the table, written down before the key is opened.
4. `decide`: opens the commitment, makes the one declared test, states the verdict: what was
   not stated (`Statements`), compared or counted is a condition that it rests on.

A model need not be a classifier: `loss_table` and `gradient_search` take any loss (`losses`).

Tables and searches take one owner or many at once. What they compute is one pure function,
`objective`; `signature_cosine` is the scale of the paper's Table 1. With a plan whose mode is
"sequential", `anw_jax.sequential` takes the place of 3 and 4.

`check_jax` compares jax with NumPy before the first table of a process.
"""

from anw_jax.verify.chunks import QueryPlan, plan_queries
from anw_jax.verify.loss_table import loss_table
from anw_jax.verify.losses import (
    LossFn,
    binary_cross_entropy,
    contrastive_loss,
    cross_entropy,
    denoising_error,
    reconstruction_error,
    squared_error,
)
from anw_jax.verify.objective import objective
from anw_jax.verify.search import (
    GradientSearchResult,
    GridSearchResult,
    gradient_search,
    grid_search,
    signature_cosine,
)
from anw_jax.verify.self_check import check_jax, jax_record
from anw_jax.verify.statements import Statements
from anw_jax.verify.verdict import Verdict, decide, infer_signatures, seal

__all__ = [
    "GradientSearchResult",
    "GridSearchResult",
    "LossFn",
    "QueryPlan",
    "Statements",
    "Verdict",
    "binary_cross_entropy",
    "check_jax",
    "contrastive_loss",
    "cross_entropy",
    "decide",
    "denoising_error",
    "gradient_search",
    "grid_search",
    "infer_signatures",
    "jax_record",
    "loss_table",
    "objective",
    "plan_queries",
    "reconstruction_error",
    "seal",
    "signature_cosine",
    "squared_error",
]
