"""Commit to photos and mark them in shards, in two passes, on one machine or on many.

Two passes, since the slot of each photo depends on the whole manifest and on a beacon value
that appears after the commitment:

1. `DigestPass`: a shard of photo files → one file of digests. `join_digests` → the columns of
   `keys.Manifest.of`, which finds duplicates and albums, and the root that is committed to.
2. `MarkPass`, made from slot sub-key, manifest root, plan and beacon value: a shard of photo
   files → marked files, and one line with a hash-tree leaf for each photo. `join_marked` →
   the lists of the report, and a root over all marked files.

A pass is a function of one shard. It can be run twice, on any machine that sees the folders,
and in any order; results do not depend on the shards' sizes. `run_pass` runs it over all cores.
Nothing here imports jax. `anw commit` and `anw mark` use these functions, and go on from
shards made elsewhere (`audit.digest_pass`, `audit.mark_pass`; docs/scale.md).
"""

from anw_jax.shards.digests import (
    DigestPass,
    Digests,
    check_size,
    join_digests,
    reason_of,
)
from anw_jax.shards.marking import (
    CommittedPhoto,
    MarkedFile,
    MarkedPhotos,
    MarkPass,
    SurveyPass,
    join_marked,
    sort_lines,
)
from anw_jax.shards.shard import Shard, cut
from anw_jax.shards.workers import num_cores, run_pass

__all__ = [
    "CommittedPhoto",
    "DigestPass",
    "Digests",
    "MarkPass",
    "MarkedFile",
    "MarkedPhotos",
    "Shard",
    "SurveyPass",
    "check_size",
    "cut",
    "join_digests",
    "join_marked",
    "num_cores",
    "reason_of",
    "run_pass",
    "sort_lines",
]
