"""Further measurements on a trained model, by name; one file each.

Each is a function `(settings, case, suspect, journal)` that returns plain values for the
results. They look at truth that an arbitrator has not: none of them is evidence.
"""

from collections.abc import Callable, Mapping
from typing import Any

from anw_jax.lab.analyses import (
    gradient_search,
    membership_inference,
    radioactive_data,
    shadow_models,
)
from anw_jax.lab.case import Case
from anw_jax.lab.journal import Journal
from anw_jax.lab.learner import Suspect
from anw_jax.lab.settings import Settings

AnalyseFn = Callable[[Settings, Case, Suspect, Journal], dict[str, Any]]

ANALYSES: Mapping[str, AnalyseFn] = {
    "gradient_search": gradient_search.analyse,
    "membership_inference": membership_inference.analyse,
    "shadow_models": shadow_models.analyse,
    "radioactive_data": radioactive_data.analyse,
}
