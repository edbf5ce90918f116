"""The record of a sequential audit: row and bet are written before the leaf is opened.

One JSON object per line, each with the hash of the previous line, so that lines cannot be
inserted, removed or reordered afterwards:

    header  commitment, plan, beacon, bettor, number of units, identity of the suspect
    row     step, unit, the finished row of losses (with a statistic that bounds each image's
            row: the rows of the unit's images), its digest, the bet; the line's hash is sent
            to the owner, who replies with a leaf
    leaf    the owner's opening of that unit's leaf, the slot after adding the beacon's offset
    …
    close   why the audit stopped

`replay` recomputes all of it. If a case has several tests, header and leaves also name the
record group (`lines.RecordGroup`), and `Lockstep` keeps the records of an owner in step.
"""

import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from anw_jax import _check, _files, _json
from anw_jax.errors import RecordError
from anw_jax.keys import LeafChecker, LeafOpening, Manifest, Plan, audit_order
from anw_jax.keys.digests import is_digest
from anw_jax.sequential.lines import RecordGroup, chained, leaf_body, row_digest
from anw_jax.stats import (
    EProcess,
    MixtureBettor,
    RowScorer,
    SequentialResult,
    row_shapes,
    sequential_result,
)
from anw_jax.stats.betting import check_bet

_FORMAT = "anw_jax sequential audit, version 1"

ChooseFn = Callable[[np.ndarray], np.ndarray]

# Why an audit closes.
REACHED = "the level is reached"
OUT_OF_REACH = "the level cannot be reached any more"
ALL_ASKED = "all units are asked"
STOPPED = "stopped by the arbitrator"
NOT_OPENED = "the owner did not open the leaf that was due"
# These two are decisions of a party; the others follow from the record's wealth.
BY_HAND = (STOPPED, NOT_OPENED)


class OpenedUnit(NamedTuple):
    """A unit whose leaf was opened.

    Attributes:
      unit: its number.
      losses: of its row, as `SequentialRecord.write_row` took them.
      slot: its secret slot.
      log_wealth: natural logarithm of the wealth after its bet.
    """

    unit: int
    losses: np.ndarray
    slot: int
    log_wealth: float


class SequentialRecord:
    """One sequential audit of one model; the steps are query, bet, open, multiply.

    A row is written and flushed to disk before `write_row` returns the hash for which the owner
    opens the unit's leaf. Units are in the public order of `audit_order`. The running p is
    valid whenever the audit stops; `exact_test` on the units opened by then is not.

    Args:
      commitment: the root of `keys.commit_units`, published before training.
      manifest: the committed manifest.
      plan: the committed plan, with mode "sequential" and a statistic of single rows.
      beacon: the value of the beacon named in the plan; b"" if the plan names none.
      path: the file to write, which must not exist; None keeps the record in memory.
      group: the record group if the case has several tests; None stops at the plan's level.
      about: identifies the model and how it is queried, such as the digest of a declaration. It
        is part of the first line, and so of every later hash: a record cannot be presented as
        that of another model.

    Attributes:
      group: the record group, or None.
      lines: the lines written so far.
      wealth: the `EProcess`.
      rows: the hash of each row's line, by step.
      leaves: by step, the heads that the leaf was opened for; None without `group`.
      opened: the units whose leaf was opened, in their order.

    Raises:
      CommitmentError: a malformed commitment, or a missing or unexpected beacon value.
      ValueError: a sealed plan, a statistic that needs the whole table, N = 2, a level above
        the plan's.
      FileExistsError: `path` exists; see `resume`.

    Example:
      >>> from anw_jax import keys
      >>> photos = np.arange(36, dtype=np.uint8).reshape(3, 2, 2, 3)
      >>> manifest = keys.Manifest.of(photos, keys.SignatureSpace())
      >>> plan = keys.Plan("losses", 0.01, mode="sequential")
      >>> owner = keys.UnitTree(keys.MarkKey.for_experiment(0), manifest, plan)
      >>> record = SequentialRecord(owner.root, manifest, plan)
      >>> while record.is_open:
      ...     unit = record.next_unit
      ...     row = np.ones(11)
      ...     row[owner.open(unit).slot - 1] = 0.1  # a model that knows the photo
      ...     head = record.write_row(unit, row)
      ...     slot = record.open_leaf(owner.open(unit))
      >>> record.close()
      'the level is reached'
      >>> record.result().outcome, len(record.lines)
      ('shown', 8)
    """

    def __init__(
        self,
        commitment: str,
        manifest: Manifest,
        plan: Plan,
        *,
        beacon: bytes = b"",
        path: str | os.PathLike | None = None,
        group: RecordGroup | None = None,
        about: str = "",
    ):
        self._checker = LeafChecker(commitment, manifest, plan, beacon)
        self._plan = plan
        self.group = group
        self._level = plan.alpha if group is None else group.level
        if self._level > plan.alpha:
            raise ValueError(f"level must be at most {plan.alpha}, got {self._level}")
        self._num_valid = manifest.space.num_valid
        self._scorer = RowScorer(plan.statistic)
        self._shapes = row_shapes(manifest.units, plan.statistic)
        self._bettor = MixtureBettor(self._num_valid)
        self.wealth = EProcess(self._num_valid)
        self._order = audit_order(commitment, plan, manifest)
        self._bet: np.ndarray | None = None
        self._losses = np.zeros(0)
        self._head = ""
        self.closed_because = ""
        self.lines: list[str] = []
        self.rows: list[str] = []
        self.leaves: list[str | None] = []
        self.opened: list[OpenedUnit] = []
        header = {
            "kind": "header",
            "format": _FORMAT,
            "commitment": commitment,
            "plan": _json.loads(plan.to_bytes()),
            "beacon": beacon.hex(),
            "bettor": self._bettor.name,
            "num_units": manifest.num_units,
            "num_slots": self._num_valid + 1,
        }
        if _check.is_instance(str, about=about):
            header["about"] = about
        if group is not None:
            header["joint"] = group.as_json()
        self._path = None
        self._write(header)
        if path is not None:
            # Atomic: a killed process does not leave a partial first line.
            _files.write_new(path, f"{self.lines[0]}\n".encode())
            self.write_to(path)

    @property
    def head(self) -> str:
        """The hash of the last line, which covers all lines so far."""
        return self._head

    @property
    def num_left(self) -> int:
        """Number of units whose leaf is not opened yet."""
        return len(self._order) - self.wealth.num_steps

    @property
    def next_unit(self) -> int:
        """The unit to query now, or whose leaf is due.

        Raises:
          RecordError: no unit is left, or the audit is closed.
        """
        if self.closed_because or not self.num_left:
            raise RecordError(f"no unit is left to query: {self.closed_because or ALL_ASKED}")
        return self._order[self.wealth.num_steps]

    @property
    def leaf_is_due(self) -> bool:
        """Whether a row and its bet wait for the owner's leaf."""
        return self._bet is not None

    @property
    def is_open(self) -> bool:
        """Whether another unit is to be queried, or a leaf is due."""
        return self._bet is not None or not self._end()

    def write_to(self, path: str | os.PathLike) -> None:
        """Append further lines to a file that contains the lines so far."""
        self._path = pathlib.Path(path)

    def write_row(self, unit: int, losses: np.ndarray, choose: ChooseFn | None = None) -> str:
        """Write a finished row and its bet; request the leaf only afterwards.

        Args:
          unit: must be `next_unit`.
          losses: the unit's losses at slots 1 … N - 1 in nats, summed over its images (see
            `stats.unit_losses`), with no slot missing; NaN or infinite entries make the unit
            count as constant. With a statistic of `plan_fields.IMAGE_STATISTICS`, `[k, N - 1]`,
            the rows of its k distinct images; NaN or infinite entries exclude that image.
          choose: for replays: maps the bettor's bet to the same bet as it was written on
            another machine.

        Returns:
          The hash of the line, which is sent to the owner.

        Raises:
          RecordError: another unit is next, a leaf is still due, or the audit has ended.
          ValueError: a row of another shape.
        """
        if self._bet is not None:
            raise RecordError(f"the leaf of unit {self.next_unit} must be opened first")
        if self._end():
            raise RecordError(f"no further row is taken: {self._end()}")
        if unit != self.next_unit:
            raise RecordError(f"unit must be {self.next_unit}, the next one, got {unit}")
        losses, shape = np.asarray(losses, np.float64), self._shapes[self.next_unit]
        if losses.shape != shape:
            raise ValueError(f"losses must have shape {shape}, got {losses.shape}")
        finite = np.isfinite(losses)
        row = np.where(finite, losses, None).tolist()
        bet = self._bettor.bet(self._scorer.score(np.where(finite, losses, np.nan)))
        self._bet = check_bet(self._num_valid, bet=bet if choose is None else choose(bet))
        head = self._write(
            {
                "kind": "row",
                "step": self.wealth.num_steps,
                "unit": int(unit),
                "losses": row,
                "row": row_digest(row),
                "bet": self._bet.tolist(),
            }
        )
        self._losses = losses
        self.rows.append(head)
        return head

    def open_leaf(self, opening: LeafOpening, heads: str | None = None) -> int:
        """Check the owner's opening for the last row, and settle the bet.

        Args:
          opening: the owner's opening.
          heads: in a group: `heads_digest` of all the owner's records, including this row's
            line, as in the request.

        Returns:
          The unit's slot.

        Raises:
          RecordError: no row was written for it; missing or unexpected heads.
          CommitmentError: the leaf does not open the commitment; nothing is written.
        """
        if self._bet is None:
            raise RecordError("no leaf is due: write the next unit's row and bet first")
        self._check_heads(heads)
        unit = self.next_unit
        slot = self._checker.check(opening, unit=unit)
        self.wealth.multiply(self._bet, slot)
        self.opened.append(OpenedUnit(unit, self._losses, slot, self.wealth.log_wealth))
        self._bettor.settle(slot)
        self._bet = None
        self._write(leaf_body(opening, slot, heads))
        self.leaves.append(heads)
        return slot

    def close(self) -> str:
        """Close the audit, at any time, and return the reason.

        If a leaf is due and not opened, its bet is lost: the e-value is 0, and the running p
        does not change.
        """
        if self.closed_because:
            return self.closed_because
        if self._bet is not None:
            self.wealth.forfeit()
            self._bet = None
            why = NOT_OPENED
        else:
            why = self._end() or STOPPED
        self._write({"kind": "close", "because": why})
        self.closed_because = why
        return why

    def result(self) -> SequentialResult:
        """Return the result at this stop.

        Raises:
          RecordError: the audit is not closed.
        """
        if not self.closed_because:
            raise RecordError("the audit is not closed: an e-value is read at the stop")
        return sequential_result(
            self.wealth,
            statistic=self._plan.statistic,
            alpha=self._level,
            num_units=len(self._order),
        )

    def _check_heads(self, heads: str | None) -> None:
        if self.group is None and heads is not None:
            raise RecordError("a record of a single test names no other records' heads")
        if self.group is not None and not is_digest(heads):
            raise RecordError("a leaf of a record group must name the heads of all records")

    def _end(self) -> str:
        """Return why the audit is over, or ""."""
        if self.closed_because:
            return self.closed_because
        if self.wealth.has_reached(self._level):
            return REACHED
        if not self.num_left:
            return ALL_ASKED
        if not self.wealth.can_reach(self._level, self.num_left):
            return OUT_OF_REACH
        return ""

    def _write(self, body: dict[str, Any]) -> str:
        line = chained(self._head, body)
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())
        self.lines.append(line)
        self._head = _json.loads(line)["hash"]
        return self._head
