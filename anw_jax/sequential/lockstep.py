"""The records of all suspects of one owner, kept in step unit by unit.

For each unit a finished row and a bet are written for *every* suspect that is still queried,
each into its own record; only then is the unit's leaf opened, once, and all bets are settled. A
leaf opened for one suspect alone would reveal its slot before the other rows are written.

**Each record bets, stops and is judged only by its own rows.** Under H0 of one suspect its
answers are independent of the slots, but those of another, guilty suspect are not: they may
encode slots of units that are not opened yet. If a bet or a stop of the first depended on the
second, it would depend on the slots, and its wealth would not be a martingale. So a record that
has reached its own level, or can no longer reach it, is frozen at that wealth, and the others
continue.

**A stop by hand** (`close` before the end) may depend on all records. It ends all of them at
the same unit. The running p remains valid, since the wealth ever reaches 1 / a with probability
at most a, for any stopping rule. The wealth at such a stop is not an e-value: 0 is used
instead, which never exceeds the value that the record would have reached.
"""

import numpy as np

from anw_jax import _json
from anw_jax.errors import RecordError
from anw_jax.keys import LeafOpening
from anw_jax.sequential.lines import heads_digest
from anw_jax.sequential.record import BY_HAND, SequentialRecord


class Lockstep:
    """The records of one owner, by suspect, which are extended in a fixed order of steps.

    Args:
      records: by suspect: all that are listed in their headers, or the one of a single test.

    Attributes:
      records: the records, sorted by name.
      is_group: whether they form a record group; False for a single test.

    Raises:
      RecordError: records of different cases, one that is missing or under another name,
        rows of different rounds, a leaf that was opened for other heads, or a record that
        continued after another was stopped by hand.

    Example:
      >>> from anw_jax import keys
      >>> from anw_jax.sequential.lines import RecordGroup
      >>> photos = np.arange(36, dtype=np.uint8).reshape(3, 2, 2, 3)
      >>> manifest = keys.Manifest.of(photos, keys.SignatureSpace())
      >>> plan = keys.Plan("losses", 0.02, mode="sequential", claim="each model")
      >>> owner = keys.UnitTree(keys.MarkKey.for_experiment(0), manifest, plan)
      >>> both = Lockstep({
      ...     name: SequentialRecord(
      ...         owner.root, manifest, plan, group=RecordGroup(0.01, name, ("a", "b"))
      ...     )
      ...     for name in ("a", "b")
      ... })
      >>> while both.is_open:
      ...     knows = np.ones(11)
      ...     knows[owner.open(both.next_unit).slot - 1] = 0.1
      ...     for name in both.rows_due:
      ...         both.write_row(name, knows if name == "a" else np.ones(11))
      ...     slot = both.open_leaf(owner.open(both.next_unit))
      >>> both.close()
      {'a': 'the level is reached', 'b': 'the level cannot be reached any more'}
    """

    def __init__(self, records: dict[str, SequentialRecord]):
        self.records = {name: records[name] for name in sorted(records)}
        self.is_group = any(record.group is not None for record in self.records.values())
        _check_bound(self.records)
        _check_rounds(self.records)

    @property
    def is_open(self) -> bool:
        """Whether any record accepts another row, or waits for a leaf."""
        return bool(self._open())

    @property
    def step(self) -> int:
        """Number of leaves opened in every record that is not closed."""
        records = self._open().values() or self.records.values()
        return min(len(record.leaves) for record in records)

    @property
    def num_opened(self) -> int:
        """Number of leaves opened in any record."""
        return max(len(record.leaves) for record in self.records.values())

    @property
    def next_unit(self) -> int:
        """The unit to query now, or whose leaf is due.

        Raises:
          RecordError: no record is open.
        """
        for record in self._open().values():
            if len(record.leaves) == self.step:
                return record.next_unit
        raise RecordError("no unit is left to query: all records are stopped")

    @property
    def rows_due(self) -> list[str]:
        """Suspects whose row for `next_unit` is not written yet."""
        step = self.step
        return [
            name
            for name, record in self._open().items()
            if not record.leaf_is_due and len(record.leaves) == step
        ]

    def write_row(self, name: str, losses: np.ndarray) -> None:
        """Write one suspect's finished row and its bet: see `SequentialRecord.write_row`.

        Raises:
          RecordError: no row of this suspect is due.
          ValueError: a row of another length.
        """
        if name not in self.rows_due:
            raise RecordError(f"no row of {name!r} is due")
        self.records[name].write_row(self.next_unit, losses)

    def heads(self) -> dict[str, str]:
        """Return the head of every record, frozen or not, for which the owner opens the leaf.

        Raises:
          RecordError: a row is not written yet.
        """
        heads = _heads_at(self.records, self.step)
        if heads is None:
            raise RecordError(f"rows are due first: {', '.join(self.rows_due) or 'none'}")
        return heads

    def open_leaf(self, opening: LeafOpening) -> int:
        """Settle the bets of all open records, and close those that have ended.

        Returns:
          The unit's slot.

        Raises:
          RecordError: a row is not written yet.
          CommitmentError: the leaf does not open the commitment; nothing is written.
        """
        digest = heads_digest(self.heads()) if self.is_group else None
        slot = 0
        for record in self.records.values():
            if record.leaf_is_due:
                slot = record.open_leaf(opening, digest)
        self._close_ended()
        return slot

    def recover(self) -> None:
        """Complete a leaf or a close that a killed process wrote to only some records."""
        records = self.records.values()
        if any(r.leaf_is_due and len(r.leaves) < self.num_opened for r in records):
            ahead = next(r for r in records if len(r.leaves) == self.num_opened)
            leaves = [line for line in map(_json.loads, ahead.lines) if line["kind"] == "leaf"]
            self.open_leaf(LeafOpening.from_dict(leaves[-1]["opening"]))
        self._close_ended()
        if any(record.closed_because in BY_HAND for record in records):
            self.close()

    def close(self) -> dict[str, str]:
        """Close all records, at any time; return the reasons, by suspect.

        All bets whose leaf is due are lost.
        """
        return {name: record.close() for name, record in self.records.items()}

    def _open(self) -> dict[str, SequentialRecord]:
        return {name: record for name, record in self.records.items() if record.is_open}

    def _close_ended(self) -> None:
        for record in self.records.values():
            if not record.is_open:
                record.close()


def _check_bound(records: dict[str, SequentialRecord]) -> None:
    """Check that the records are of one case, under their own names, and complete."""
    bound = {name: record.group for name, record in records.items()}
    if not records or (len(records) > 1 and None in bound.values()):
        raise RecordError("records of single tests do not belong together")
    if None in bound.values():
        return
    first = records[next(iter(records))].lines[0]
    for name, group in bound.items():
        if group.suspect != name:
            raise RecordError(f"the record of {name!r} has the header of {group.suspect!r}")
        if group.suspects != tuple(records):
            raise RecordError(
                f"the record of {name!r} is one of {', '.join(group.suspects)}; got those of "
                f"{', '.join(records)}"
            )
        if shared_header(records[name].lines[0]) != shared_header(first):
            raise RecordError(f"the record of {name!r} has the header of another case")


def shared_header(line: str) -> dict:
    """Return what the headers of an owner's records have in common."""
    body = _json.loads(line)
    group = {field: value for field, value in body["joint"].items() if field != "suspect"}
    return {**body, "joint": group, "hash": "", "previous": ""}


def _check_rounds(records: dict[str, SequentialRecord]) -> None:
    """Check that leaves name the heads that the records had, and check stops by hand."""
    num_opened = max(len(record.leaves) for record in records.values())
    for step in range(num_opened):
        heads = _heads_at(records, step)
        digest = None if heads is None else heads_digest(heads)
        for name, record in records.items():
            if record.group is None or step >= len(record.leaves):
                continue
            if record.leaves[step] != digest:
                raise RecordError(
                    f"the record of {name!r} opens leaf {step + 1} for other heads than the "
                    "records have: they are not of one audit, or one was changed"
                )
    for name, record in records.items():
        if record.closed_because in BY_HAND and len(record.leaves) < num_opened:
            raise RecordError(
                f"the record of {name!r} was stopped by hand after {len(record.leaves)} leaves "
                "and others went on: a stop by hand ends all of them"
            )


def _heads_at(records: dict[str, SequentialRecord], step: int) -> dict[str, str] | None:
    """Return every record's head when leaf `step` was due; None while a row is missing."""
    heads = {}
    for name, record in records.items():
        if step < len(record.rows):
            heads[name] = record.rows[step]
        elif record.closed_because:
            heads[name] = record.head
        else:
            return None
    return heads
