"""Run the rounds of a sequential case: rows and bets, then one leaf, unit by unit."""

import contextlib
import dataclasses
import functools
import math
import os
import pathlib
import shlex
import subprocess
from collections.abc import Callable
from typing import Any

from anw_jax import _json, progress
from anw_jax.audit import refusals
from anw_jax.audit.batches import queries_of, query_batch
from anw_jax.audit.case import FORMATS, Case
from anw_jax.audit.declare import check_unchanged
from anw_jax.audit.declared import Declared
from anw_jax.audit.exchange import read_opening, write_request
from anw_jax.audit.files import digest_of
from anw_jax.audit.published import COMMITMENT
from anw_jax.audit.query import QueryBatch
from anw_jax.audit.records import record_file, resume_records
from anw_jax.audit.signatures import check_if_signed
from anw_jax.audit.suspect_file import MakerFn
from anw_jax.errors import OpenerError
from anw_jax.keys import LeafOpening
from anw_jax.sequential import Lockstep
from anw_jax.suspects import AnswerCache
from anw_jax.verify import check_jax


@dataclasses.dataclass(frozen=True)
class RecordState:
    """The state of the record of one owner and suspect.

    Attributes:
      owner: name.
      suspect: name.
      closed_because: why it ended; "" while it is open.
      num_opened: leaves opened for it.
      num_units: units of the owner.
      log_wealth: natural log of the wealth now; None once all was lost.
      p_value: the running p, not corrected.
    """

    owner: str
    suspect: str
    closed_because: str
    num_opened: int
    num_units: int
    log_wealth: float | None
    p_value: float


@dataclasses.dataclass(frozen=True)
class Waiting:
    """A request that an owner has not answered yet.

    Attributes:
      owner: name.
      request: the file of the request.
      opening: the file in which the answer is expected.
    """

    owner: str
    request: pathlib.Path
    opening: pathlib.Path


@dataclasses.dataclass(frozen=True)
class AuditState:
    """The state of a sequential audit.

    Attributes:
      records: one for each owner and suspect.
      waiting: requests without an answer; empty once closed.
    """

    records: tuple[RecordState, ...]
    waiting: tuple[Waiting, ...]

    @property
    def closed_because(self) -> str:
        """The distinct reasons why the records closed; "" while the audit is open."""
        if self.waiting:
            return ""
        return "; ".join(dict.fromkeys(record.closed_because for record in self.records))

    @property
    def request(self) -> pathlib.Path | None:
        """The first request without an answer; None once closed."""
        return self.waiting[0].request if self.waiting else None

    @property
    def opening(self) -> pathlib.Path | None:
        """The file in which its answer is expected."""
        return self.waiting[0].opening if self.waiting else None

    @property
    def num_opened(self) -> int:
        """Leaves opened, over all owners."""
        most: dict[str, int] = {}
        for record in self.records:
            most[record.owner] = max(most.get(record.owner, 0), record.num_opened)
        return sum(most.values())

    @property
    def num_units(self) -> int:
        """Units of all owners."""
        return sum({record.owner: record.num_units for record in self.records}.values())

    @property
    def p_value(self) -> float:
        """The smallest running p, not corrected."""
        return min(record.p_value for record in self.records)


def run_rounds(
    case: Case,
    *,
    opener: str | None = None,
    stop: bool = False,
    budget: int | None = None,
    on_progress: progress.ProgressFn = progress.silent,
    makers: dict[str, MakerFn] | None = None,
) -> AuditState:
    """Continue a sequential audit until every owner has to open a leaf, or it is closed.

    For each owner: queries all suspects about the next unit, writes their rows and bets to
    `records/`, then looks for the owner's opening in `exchange/`. Without one it writes the
    request and turns to the next owner. An opener is a command that is run for each leaf; then
    the audit runs to its end, one owner after the other. May be killed at any moment.

    Args:
      case: declared, with plans whose mode is "sequential".
      opener: a command line with {request}, {opening} and {owner} in it, run without a shell.
      stop: close the audit now; an owner who has not opened the leaf that is due loses the
        stakes.
      budget: more queries of each suspect than were declared; it changes no answer.
      on_progress: called with (units opened, units in all), over all owners.
      makers: further kinds of suspects.

    Returns:
      The state. Once closed, `closed.json` is written and nothing is queried again.

    Raises:
      CaseError: not declared, anything changed, or damaged files.
      CommitmentError: an opening that is not that of the leaf.
      RecordError: a record breaks its own rules, or does not fit the others.
      OpenerError: the opener failed.
      BudgetError, SuspectError: as the suspects.
    """
    declared = check_unchanged(case)
    all_records = {name: resume_records(declared, owner) for name, owner in case.owners.items()}
    if not case.has("closed.json"):
        for together in all_records.values():
            together.recover()
        if not stop and any(together.is_open for together in all_records.values()):
            budget = declared.body.get("budget") if budget is None else budget
            with contextlib.ExitStack() as batches:

                @functools.cache  # open from a suspect's first query on
                def batch_of(name: str) -> QueryBatch:
                    batch = query_batch(declared, name, budget=budget, makers=makers)
                    return batches.enter_context(batch)[0]

                _Rounds(declared, all_records, batch_of, opener, on_progress).run()
        if stop or not any(together.is_open for together in all_records.values()):
            for together in all_records.values():
                together.close()
            _write_closed(declared, all_records)
    return _state(case, all_records)


class _Rounds:
    """Unit after unit of each owner, for all suspects whose records are open."""

    def __init__(
        self,
        declared: Declared,
        all_records: dict[str, Lockstep],
        batch_of: Callable[[str], QueryBatch],
        opener: str | None,
        on_progress: progress.ProgressFn,
    ):
        self._case, self._declared, self._all_records = declared.case, declared, all_records
        self._batch_of, self._opener, self._on_progress = batch_of, opener, on_progress
        self._digest = digest_of(self._case.file("declared.json"))
        self._num_units = sum(
            owner.published.manifest.num_units for owner in self._case.owners.values()
        )

    def run(self) -> None:
        """Run until every owner has a request to answer, or no open record."""
        for number, owner in enumerate(self._case.owners):
            together = self._all_records[owner]
            while together.is_open:
                self._write_rows(number, owner, together)
                leaf = self._leaf(owner, together)
                if leaf is None:
                    break
                together.open_leaf(leaf)
                done = sum(records.num_opened for records in self._all_records.values())
                self._on_progress(done, self._num_units)

    def _write_rows(self, number: int, owner: str, together: Lockstep) -> None:
        """Write all rows before the leaf, which would reveal the slot of those not written."""
        unit = together.next_unit
        for name in together.rows_due:
            batch = self._batch_of(name)
            row = batch.unit_row(number, unit, self._declared.rule(name).saving)
            refusals.note_unit(record_file(self._case, owner, name), batch, number, unit)
            together.write_row(name, row)

    def _leaf(self, owner: str, together: Lockstep) -> LeafOpening | None:
        request, opening = _paths(self._case, owner)
        commitment = self._case.owners[owner].published.commitment
        signed = check_if_signed(self._case.file("owners") / owner / COMMITMENT)
        signer = signed and signed.signer
        digest = write_request(request, owner, commitment, self._digest, together)
        leaf = read_opening(opening, digest, signer)
        if leaf is None and self._opener is not None:
            _run(self._opener, self._case, request=request, opening=opening, owner=owner)
            leaf = read_opening(opening, digest, signer)
            if leaf is None:
                raise OpenerError(f"the opener wrote no answer to {request} into {opening}")
        return leaf


def _paths(case: Case, owner: str) -> tuple[pathlib.Path, pathlib.Path]:
    folder = case.file("exchange")
    return folder / f"{owner}.request.json", folder / f"{owner}.opening.json"


def _environment(case: Case) -> dict[str, str]:
    """Return the environment without the arbitrator's tokens, for the owner's command."""
    tables = [file.fields.get("headers_from_env", {}) for file in case.suspects.values()]
    hidden = {name for table in tables for name in table.values()}
    return {name: value for name, value in os.environ.items() if name not in hidden}


def _run(opener: str, case: Case, **names: Any) -> None:
    """Run the owner's command for one leaf; its output is shown only where it fails."""
    try:
        words = [word.format(**names) for word in shlex.split(opener)]
        if not words:
            raise ValueError("no command")
    except (KeyError, IndexError, ValueError) as error:
        raise OpenerError(
            "opener must be a command, which may name {request}, {opening} and {owner}; "
            f"got {opener!r:.80} ({error})"
        ) from None
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=_environment(case),
        )
    except OSError as error:
        raise OpenerError(f"the opener {words[0]!r} cannot be run: {error.strerror}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it printed nothing"]
        raise OpenerError(f"the opener failed with code {done.returncode}: {said[-1]:.200}")


def _write_closed(declared: Declared, all_records: dict[str, Lockstep]) -> None:
    case = declared.case
    _json.write(
        case.file("closed.json"),
        {
            "format": FORMATS["closed.json"],
            "previous": case.digest("declared.json"),
            "jax": check_jax(),
            "records": {
                owner: {
                    name: {
                        "record": digest_of(record_file(case, owner, name)),
                        "head": record.head,
                        "because": record.closed_because,
                        "unusable": refusals.record_count(
                            record_file(case, owner, name), record.lines, case.owners[owner]
                        ),
                    }
                    for name, record in together.records.items()
                }
                for owner, together in all_records.items()
            },
            "suspects": {
                name: {
                    "declaration": suspect["declaration"],
                    "declaration_digest": suspect["declaration_digest"],
                    **_queries(declared, name),
                }
                for name, suspect in declared.body["suspects"].items()
            },
        },
    )


def _queries(declared: Declared, name: str) -> dict[str, Any]:
    path = declared.case.answers_file(name)
    if not path.exists():  # stopped before the first query
        return {"num_queries": 0, "num_in_doubt": 0, "answers": None, "cost": 0.0}
    with AnswerCache(path, declared.declaration(name)) as cache:
        return queries_of(declared, name, cache)


def _state(case: Case, all_records: dict[str, Lockstep]) -> AuditState:
    records, waiting = [], []
    for owner, together in all_records.items():
        if together.is_open:
            waiting.append(Waiting(owner, *_paths(case, owner)))
        for name, record in together.records.items():
            wealth = record.wealth
            finite = math.isfinite(wealth.log_wealth)
            records.append(
                RecordState(
                    owner=owner,
                    suspect=name,
                    closed_because=record.closed_because,
                    num_opened=len(record.leaves),
                    num_units=case.owners[owner].published.manifest.num_units,
                    log_wealth=wealth.log_wealth if finite else None,
                    p_value=wealth.p_value,
                )
            )
    return AuditState(tuple(records), tuple(waiting))
