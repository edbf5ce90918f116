"""Named pure functions from the runs of one seed to one number; what claims are made of.

* users: `match_rate`, `hue_error`, `pixel_value_error`, `cosine`, `margin`, `lowest_loss`,
  `sharpness`, `keyed_log10_p`, `user_accuracy`
* models, crowds, analyses: `test_accuracy`, `accuracy_drop`, `crowd_match_rate`,
  `crowd_hue_error`, `advantage`, `memorization`, `memorization_rise`, `analysis_value`
* measures of measures: `trend`, `smallest`, `largest`, `difference`, `ratio`
"""

from anw_jax.reproduce.measures import combined, models, users
from anw_jax.reproduce.measures.combined import series
from anw_jax.reproduce.measures.registry import (
    check_call,
    compute,
    full_arguments,
    measure_names,
)

__all__ = [
    "check_call",
    "combined",
    "compute",
    "full_arguments",
    "measure_names",
    "models",
    "series",
    "users",
]
