"""Fingerprints of customers: who leaked his copy of a model.

After the idea of SECUREMARK-DL, whose preprint is withdrawn: its abstract names codes of 304
bits and "> 95 %". All else is our own design. `make_carrier` fixes everything before any code
is drawn, `embed` makes a copy, `extract` reads scores, and `trace` gives each customer an exact
p under any collusion.
"""

from anw_jax.schemes.fingerprint import records
from anw_jax.schemes.fingerprint.carrier import NUM_BITS, READINGS, Carrier, make_carrier
from anw_jax.schemes.fingerprint.disputes import (
    FingerprintVerdict,
    judge_dispute,
    open_dispute,
    read_suspect,
)
from anw_jax.schemes.fingerprint.embed import NO_REPAIR, RepairSettings, embed, repair
from anw_jax.schemes.fingerprint.reader import (
    align,
    customer_scores,
    extract,
    owner_scores,
)
from anw_jax.schemes.fingerprint.records import Issue, RefusedDisputeError
from anw_jax.schemes.fingerprint.symmetries import Group, groups_of, permuted, scaled
from anw_jax.schemes.fingerprint.tracing import Trace, trace

__all__ = [
    "NO_REPAIR",
    "NUM_BITS",
    "READINGS",
    "Carrier",
    "FingerprintVerdict",
    "Group",
    "Issue",
    "RefusedDisputeError",
    "RepairSettings",
    "Trace",
    "align",
    "customer_scores",
    "embed",
    "extract",
    "groups_of",
    "judge_dispute",
    "make_carrier",
    "open_dispute",
    "owner_scores",
    "permuted",
    "read_suspect",
    "records",
    "repair",
    "scaled",
    "trace",
]
