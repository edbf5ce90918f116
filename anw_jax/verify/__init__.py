"""Verification: compute loss tables, infer signatures and reach a verdict.

Requires only numpy, scipy and jax. The steps, in the order that an audit's files enforce:

1. `loss_table`: the only model output that the verdict uses.
2. `grid_search`, `infer_signatures`, `gradient_search`: estimate the signatures *without* the
   secret key.
3. `seal`: compute the digest of the table, which is recorded before the key is opened.
4. `decide`: verify the commitment, run the declared test and return the verdict. Missing
   `Statements`, comparisons and counts become conditions of the verdict.

A model need not be a classifier: `loss_table` and `gradient_search` take any loss (`losses`).

Tables and searches take one owner or many at once. Both evaluate one pure function,
`objective`; `signature_cosine` is the metric of Table 1 of the paper. With a plan whose mode is
"sequential", use `anw_jax.sequential` instead of steps 3 and 4.

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
    over_views,
    reconstruction_error,
    squared_error,
)
from anw_jax.verify.objective import objective
from anw_jax.verify.references import LeftOut, Reference
from anw_jax.verify.sealing import seal
from anw_jax.verify.search import (
    GradientSearchResult,
    GridSearchResult,
    gradient_search,
    grid_search,
    signature_cosine,
)
from anw_jax.verify.self_check import check_jax, jax_record
from anw_jax.verify.statements import Statements
from anw_jax.verify.verdict import Verdict, decide, infer_signatures

__all__ = [
    "GradientSearchResult",
    "GridSearchResult",
    "LeftOut",
    "LossFn",
    "QueryPlan",
    "Reference",
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
    "over_views",
    "plan_queries",
    "reconstruction_error",
    "seal",
    "signature_cosine",
    "squared_error",
]
