"""Networks behind two functions, `init` and `apply`. The only room that imports flax."""

from anw_jax.models.model import (
    DTYPES,
    NAMES,
    STEMS,
    Model,
    count_parameters,
    create,
)

__all__ = ["DTYPES", "NAMES", "STEMS", "Model", "count_parameters", "create"]
