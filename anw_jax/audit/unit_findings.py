"""How many units, and which: stated only of what is shown."""

import math
from typing import Any

import numpy as np

from anw_jax.audit.case import Owner
from anw_jax.keys import AccessRule, Assignment
from anw_jax.stats import format_p, how_many, which_units


def units_of(
    owner: Owner, rule: AccessRule, assignment: Assignment, table: np.ndarray, factor: float
) -> dict[str, Any]:
    """The lower bound and the list of units of one test that was shown.

    Each rate holds for all owners and suspects of the case together, and for whatever the
    test was chosen from: it is divided by the same factor as the level of the test, as
    Bonferroni. Of a hundred innocent models some would else have a bound or a list. Where
    nothing is shown neither is stated: for one audit of an innocent model in twenty there would
    be a bound above 0 beside "not shown".

    Args:
      owner: whose units.
      rule: as declared, with levels.
      assignment: the opened slots.
      table: as it was sealed, float32 `[n, N]` nats.
      factor: owners times suspects, times the factor of the test's p (K / B · T · M).
    """
    published = owner.published
    table = np.asarray(table, np.float32)
    at_least = how_many(table, assignment, alpha=rule.bound_level / factor, by=rule.bound_by)
    found: dict[str, Any] = {
        "how_many": {
            "at_least": at_least.num_used,
            "num_units": at_least.num_units,
            "level": at_least.alpha,
            "by": at_least.by,
            "observed": at_least.observed,
            "text": f"{at_least}; {_of_all(at_least.alpha)} state too large a number",
        },
        "which": None,
    }
    if published.manifest.space.num_valid < 2:
        return found
    listed = which_units(
        table,
        assignment,
        q=rule.list_rate / factor,
        statistic=published.plan.statistic_of(rule),
    )
    first_photo = {
        unit: published.manifest.file_names[index]
        for index, unit in reversed(list(enumerate(published.manifest.unit_of_image)))
    }
    found["which"] = {
        "units": listed.units.tolist(),
        "first_photo_of_each": [first_photo[unit] for unit in listed.units.tolist()],
        "rate": listed.q,
        "text": f"{listed}, on average over all such audits",
    }
    return found


def _of_all(level: float) -> str:
    """A level in words, rounded up.

    Example:
      >>> _of_all(0.05), _of_all(0.05 / 7)
      ('of all such audits, shown or not, at most 5 %', 'of all such audits, shown or not, at
      most 0.7143 %')
    """
    return f"of all such audits, shown or not, at most {format_p(math.log10(100 * level))} %"
