"""Networks behind `create`, `init` and `apply`. The only room that imports flax."""

from anw_jax.models.design import NORMS, STEMS
from anw_jax.models.model import DTYPES, Model, count_parameters, create
from anw_jax.models.registry import NAMES

__all__ = [
    "DTYPES",
    "NAMES",
    "NORMS",
    "STEMS",
    "Model",
    "count_parameters",
    "create",
]
