"""Sequential mode: rows and bets, then one leaf, unit by unit, until all is settled."""

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
from anw_jax.audit.case import FORMATS, Case
from anw_jax.audit.declare import check_unchanged, rule_of
from anw_jax.audit.exchange import read_opening, write_request
from anw_jax.audit.files import digest_of
from anw_jax.audit.query import Panel, asked, queries_of
from anw_jax.audit.records import record_file, take_up
from anw_jax.audit.suspect_file import MakerFn
from anw_jax.errors import OpenerError
from anw_jax.keys import LeafOpening
from anw_jax.sequential import Lockstep
from anw_jax.suspects import AnswerCache, Declaration
from anw_jax.verify import check_jax


@dataclasses.dataclass(frozen=True)
class RecordStanding:
    """How far the record of one owner and suspect has come.

    Attributes:
      owner: name.
      suspect: name.
      closed_because: why it ended; "" while it goes on.
      num_opened: leaves opened for it.
      num_units: units of the owner.
      log_wealth: natural log of the wealth now; None once all was lost.
      p_value: the running p, corrected for nothing.
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
    """One owner who is waited for.

    Attributes:
      owner: name.
      request: the file that waits for the owner.
      opening: where the answer is looked for.
    """

    owner: str
    request: pathlib.Path
    opening: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Standing:
    """How far a sequential audit has come.

    Attributes:
      records: one for each owner and suspect.
      waiting: the owners who are waited for; empty once closed.
    """

    records: tuple[RecordStanding, ...]
    waiting: tuple[Waiting, ...]

    @property
    def closed_because(self) -> str:
        """Why it ended, each reason once; "" while a leaf is due."""
        if self.waiting:
            return ""
        return "; ".join(dict.fromkeys(record.closed_because for record in self.records))

    @property
    def request(self) -> pathlib.Path | None:
        """The first file that waits for an owner; None once closed."""
        return self.waiting[0].request if self.waiting else None

    @property
    def opening(self) -> pathlib.Path | None:
        """Where that owner's answer is looked for."""
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
        """The smallest running p, corrected for nothing."""
        return min(record.p_value for record in self.records)


def go_on(
    case: Case,
    *,
    opener: str | None = None,
    stop: bool = False,
    budget: int | None = None,
    on_progress: progress.ProgressFn = progress.silent,
    makers: dict[str, MakerFn] | None = None,
) -> Standing:
    """Takes a sequential audit as far as it goes without the owners.

    For each owner: asks all suspects about the next unit, writes their rows and bets to
    `records/`, then looks for the owner's opening in `exchange/`; where there is none it writes
    the request and turns to the next owner. With an opener it runs that command for each leaf
    and goes on to the end, one owner after the other. May be killed at any moment.

    Args:
      case: declared, with plans whose mode is "sequential".
      opener: a command line with {request}, {opening} and {owner} in it, run without a shell.
      stop: close the audit now; an owner who has not opened the leaf that is due loses the
        stakes.
      budget: more queries of each suspect than were declared; it changes no answer.
      on_progress: called with (units opened, units in all), over all owners.
      makers: further kinds of suspects.

    Returns:
      Where it stands. Once closed, `closed.json` is written and nothing is asked again.

    Raises:
      CaseError: not declared, anything changed, or damaged files.
      CommitmentError: an opening that is not that of the leaf.
      RecordError: a record breaks its own rules, or does not fit the others.
      OpenerError: the opener failed.
      BudgetError, SuspectError: as the suspects.
    """
    declared = check_unchanged(case)
    all_records = {name: take_up(case, declared, owner) for name, owner in case.owners.items()}
    if not case.has("closed.json"):
        for together in all_records.values():
            together.recover()
        if not stop and any(together.is_open for together in all_records.values()):
            budget = declared.get("budget") if budget is None else budget
            with contextlib.ExitStack() as panels:
                panel_of = _panels(case, declared, budget, makers, panels)
                _Rounds(case, declared, all_records, panel_of, opener, on_progress).go_on()
        if stop or not any(together.is_open for together in all_records.values()):
            for together in all_records.values():
                together.close()
            _write_closed(case, declared, all_records)
    return _standing(case, all_records)


def _panels(
    case: Case,
    declared: dict[str, Any],
    budget: int | None,
    makers: dict[str, MakerFn] | None,
    panels: contextlib.ExitStack,
) -> Callable[[str], Panel]:
    """Opens a suspect when it is first to be asked; it stays open for the units to come."""

    @functools.cache
    def panel_of(name: str) -> Panel:
        opened = asked(case, declared, name, budget=budget, makers=makers)
        return panels.enter_context(opened)[0]

    return panel_of


class _Rounds:
    """Unit after unit of each owner, before all suspects who are still asked."""

    def __init__(self, case, declared, all_records, panel_of, opener, on_progress):
        self._case, self._declared = case, declared
        self._all_records: dict[str, Lockstep] = all_records
        self._panel_of, self._opener, self._on_progress = panel_of, opener, on_progress
        self._digest = digest_of(case.file("declared.json"))
        self._num_units = sum(
            owner.published.manifest.num_units for owner in case.owners.values()
        )

    def go_on(self) -> None:
        """Until each owner is waited for, or through."""
        for number, owner in enumerate(self._case.owners):
            together = self._all_records[owner]
            while together.is_open:
                self._write_rows(number, together)
                leaf = self._leaf(owner, together)
                if leaf is None:
                    break
                together.open_leaf(leaf)
                done = sum(records.num_opened for records in self._all_records.values())
                self._on_progress(done, self._num_units)

    def _write_rows(self, number: int, together: Lockstep) -> None:
        """All rows before the leaf: it would give the slot away for those not written."""
        unit = together.next_unit
        for name in together.rows_due:
            saving = rule_of(self._declared, name).saving
            panel = self._panel_of(name)
            row = panel.unit_row(number, unit, saving)
            owner = list(self._case.owners)[number]
            refusals.note_unit(record_file(self._case, owner, name), panel, number, unit)
            together.write_row(name, row)

    def _leaf(self, owner: str, together: Lockstep) -> LeafOpening | None:
        request, opening = _paths(self._case, owner)
        commitment = self._case.owners[owner].published.commitment
        digest = write_request(request, owner, commitment, self._digest, together)
        leaf = read_opening(opening, digest)
        if leaf is None and self._opener is not None:
            _run(self._opener, self._case, request=request, opening=opening, owner=owner)
            leaf = read_opening(opening, digest)
            if leaf is None:
                raise OpenerError(f"the opener wrote no answer to {request} into {opening}")
        return leaf


def _paths(case: Case, owner: str) -> tuple[pathlib.Path, pathlib.Path]:
    folder = case.file("exchange")
    return folder / f"{owner}.request.json", folder / f"{owner}.opening.json"


def _environment(case: Case) -> dict[str, str]:
    """What the owner's command may know: not the arbitrator's tokens for the suspects."""
    tables = [file.fields.get("headers_from_env", {}) for file in case.suspects.values()]
    hidden = {name for table in tables for name in table.values()}
    return {name: value for name, value in os.environ.items() if name not in hidden}


def _run(opener: str, case: Case, **names: Any) -> None:
    """Runs the owner's command for one leaf; its output is shown only where it fails."""
    try:
        words = [word.format(**names) for word in shlex.split(opener)]
    except (KeyError, IndexError, ValueError) as error:
        raise OpenerError(
            "opener may name {request}, {opening} and {owner}, "
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
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing was said"]
        raise OpenerError(f"the opener failed with code {done.returncode}: {said[-1]:.200}")


def _write_closed(
    case: Case, declared: dict[str, Any], all_records: dict[str, Lockstep]
) -> None:
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
                    **_queries(case, declared, name),
                }
                for name, suspect in declared["suspects"].items()
            },
        },
    )


def _queries(case: Case, declared: dict[str, Any], name: str) -> dict[str, Any]:
    path = case.answers_file(name)
    if not path.exists():  # stopped before this one was asked anything
        return {"num_queries": 0, "num_in_doubt": 0, "answers": None, "cost": 0.0}
    declaration = Declaration.from_json(declared["suspects"][name]["declaration"])
    with AnswerCache(path, declaration) as cache:
        return queries_of(case, cache, declared, name)


def _standing(case: Case, all_records: dict[str, Lockstep]) -> Standing:
    records, waiting = [], []
    for owner, together in all_records.items():
        if together.is_open:
            waiting.append(Waiting(owner, *_paths(case, owner)))
        for name, record in together.records.items():
            wealth = record.wealth
            finite = math.isfinite(wealth.log_wealth)
            records.append(
                RecordStanding(
                    owner=owner,
                    suspect=name,
                    closed_because=record.closed_because,
                    num_opened=len(record.leaves),
                    num_units=case.owners[owner].published.manifest.num_units,
                    log_wealth=wealth.log_wealth if finite else None,
                    p_value=wealth.p_value,
                )
            )
    return Standing(tuple(records), tuple(waiting))
