"""Other methods that the paper compares with, and the measures of the comparison.

Sign conventions, in one place: a loss *below* a threshold means "member"; a *positive*
cosine with a carrier is evidence; a pair is *won* if its published copy scores higher;
*higher* adv^P is better protection; *higher* memorisation means that more is memorised.
"""

from anw_jax.baselines import (
    coin_flip,
    memorization,
    protection_advantage,
    radioactive,
    radioactive_networks,
    shadow_mia,
    threshold_mia,
)
from anw_jax.baselines.threshold_mia import answers

__all__ = [
    "answers",
    "coin_flip",
    "memorization",
    "protection_advantage",
    "radioactive",
    "radioactive_networks",
    "shadow_mia",
    "threshold_mia",
]
