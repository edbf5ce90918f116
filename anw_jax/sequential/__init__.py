"""Sequential audits: one unit at a time, with a bet written before its slot is opened.

With a plan whose mode is "sequential", the table of `anw_jax.verify` is replaced by one
`SequentialRecord` per suspect: a finished row and a bet, then one opened leaf, unit by unit.
`Lockstep` keeps the records of several suspects in step (a `RecordGroup`); `replay` and
`replay_together` recompute them from their lines, `read_record` also one that is not closed,
and `resume` continues one from its file. `coarse_to_fine` completes rows with fewer queries,
in either mode.
"""

from anw_jax.sequential.lines import RecordGroup
from anw_jax.sequential.lockstep import Lockstep
from anw_jax.sequential.query_saving import CompletedRows, coarse_to_fine
from anw_jax.sequential.record import SequentialRecord
from anw_jax.sequential.replay import read_record, replay, replay_together, resume

__all__ = [
    "CompletedRows",
    "Lockstep",
    "RecordGroup",
    "SequentialRecord",
    "coarse_to_fine",
    "read_record",
    "replay",
    "replay_together",
    "resume",
]
