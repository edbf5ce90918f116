"""Customers' copies in a case of models: from which copies does a suspect derive?

owners/<name>/mark.json   carrier, plan and commitment, as `anw model setup` writes them
owners/<name>/base.npz    the clean model w_base
owners/<name>/log/        the log, from SETUP to the receipts of customers
owners/<name>/copies/     for the verdict: every accepted copy, .npz

Here the case takes the place of DISPUTE, EXTRACT and VERDICT in the log: the arbitrator's
statements are about order and counts, and the log about copies and receipts.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from anw_jax.errors import CaseError
from anw_jax.keys import MarkKey, Plan
from anw_jax.schemes.fingerprint.carrier import Carrier
from anw_jax.schemes.fingerprint.delivered import check_copies
from anw_jax.schemes.fingerprint.disputes import (
    NOT_EXCLUDED,
    check_issues,
    open_codes,
    sentence_of,
)
from anw_jax.schemes.fingerprint.reader import extract
from anw_jax.schemes.fingerprint.records import (
    Issue,
    RefusedDisputeError,
    Setup,
    disputes_of,
    issues_of,
    reading_of,
    setup_of,
)
from anw_jax.schemes.fingerprint.tracing import strongest, trace
from anw_jax.schemes.log import read_log, record_files
from anw_jax.schemes.scheme import Tested
from anw_jax.schemes.weights import Network, load_network, open_base, weights_digest
from anw_jax.stats import multiplied

LOG, COPIES = "log", "copies"
# Of whose tests the correction gives each a level of its own.
_CLAIMS = ("one model", "each model")


@dataclasses.dataclass(frozen=True, eq=False)
class Copies:
    """What an owner hands over beside the carrier.

    Attributes:
      base: weights of the clean model w_base; None in a bundle, which holds no weights.
      setup: as the log has it.
      issues: all copies, with their receipts.
      not_counted: numbers of records that change nothing, each with the reason.
      newest: digest of the last record of the log.
      num_setups: SETUP records in the log, by whomever.
      folder: of the accepted copies.
    """

    base: dict[str, Any] | None
    setup: Setup
    issues: tuple[Issue, ...]
    not_counted: dict[int, str]
    newest: str
    num_setups: int
    folder: pathlib.Path


def open_copies(carrier: Carrier, plan: Plan, folder: pathlib.Path) -> Copies:
    """Read clean model and log of an owner's folder.

    Raises:
      CaseError: a file is missing, the log has no SETUP of this plan, no copy was accepted, or
        the plan makes another claim.
      CommitmentError: another clean model than the carrier names.
      RecordError: a log that is not in order; RefusedDisputeError: what an owner may not do.
    """
    _, base = open_base(folder)
    carrier.check_base(base)
    return dataclasses.replace(read_issues(carrier, plan, folder), base=base)


def read_issues(carrier: Carrier, plan: Plan, folder: pathlib.Path) -> Copies:
    """Read the log of an owner's folder, and no weights; see `open_copies`."""
    records = read_log(folder / LOG)
    # A stranger could repeat the record, but only after the owner. Codes follow from the whole
    # plan: with another than the arbitrator had, the owner could choose them after the value.
    numbers = [
        one.number
        for one in records
        if one.kind == "setup" and one.body.get("plan") == plan.as_json()
    ]
    if not numbers:
        raise CaseError(f"{folder / LOG} must hold the log with the SETUP of this plan")
    own = setup_of(records, numbers[0])
    if own.plan.claim not in _CLAIMS:
        raise CaseError(
            f"{folder}: the plan must claim 'one model' or 'each model', got "
            f"{own.plan.claim!r}: customers are named for each suspect"
        )
    for number in disputes_of(records, own):
        if opened := reading_of(records, own, number):
            raise RefusedDisputeError(
                f"spent codes: the judge read a suspect in record {opened.number}, and the "
                "codes were opened to him"
            )
    issues, not_counted = issues_of(records, own.number)
    if not any(one.accepted for one in issues):
        raise CaseError(f"{folder / LOG} holds no accepted copy: nobody could be named")
    check_issues(carrier, issues)
    newest = records[-1].digest
    num_setups = sum(one.kind == "setup" for one in records)
    return Copies(None, own, tuple(issues), not_counted, newest, num_setups, folder / COPIES)


def log_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """List the records of an owner's log, which a bundle holds."""
    return record_files(folder / LOG)


def fixed(own: Copies) -> dict[str, str]:
    """Return what `declared.json` fixes beside mark.json: the whole log."""
    return {"log": own.newest}


def least_found(own: Copies) -> int:
    """Return how many commitments the log shows: the owner could dispute with the best."""
    return own.num_setups


def problems(carrier: Carrier, own: Copies, suspect: Network) -> tuple[list[str], list[str]]:
    """Say why a suspect cannot be read: errors and warnings."""
    if weights_digest(suspect[1]) == carrier.base:
        return ["it is the clean model from before the codes, which holds none of them"], []
    try:
        extract_all(carrier, own, suspect)
    except ValueError as error:
        return [str(error)], []
    return [], []


def extract_all(carrier: Carrier, own: Copies, suspect: Network) -> np.ndarray:
    """Read the scores of all declared readings, `[num_readings * num_rows]`.

    Of what the owner handed over, w_base alone is used.
    """
    readings = [extract(carrier, own.base, suspect[1], name) for name in carrier.readings]
    return np.concatenate(readings)


def trace_copies(
    carrier: Carrier,
    own: Copies,
    plan: Plan,
    scores: np.ndarray,
    mark_key: MarkKey,
    beacon: bytes,
    factor: float,
) -> Tested:
    """Open the codes, and name the customers whose copies a suspect derives from.

    Args:
      carrier: of the issue.
      own: as `open_copies` read it; as `read_issues` did, what its copies hold is not checked.
      plan: the committed plan.
      scores: as `extract_all` returns them.
      mark_key: the owner's key, spent by this.
      beacon: the value of the beacon.
      factor: tests of the case, times what the statements count.

    Raises:
      RefusedDisputeError: the key or the value is not that of SETUP, or an accepted copy does
        not hold its own code.
      CaseError: an accepted copy is not in the folder.
    """
    by_reading = dict(
        zip(carrier.readings, np.split(scores, len(carrier.readings)), strict=True)
    )
    codes = open_codes(carrier, own.setup, own.issues, mark_key, beacon)
    if own.base is not None:
        check_copies(carrier, own.base, own.issues, codes, copies_in(own.folder))
    found = trace(carrier, plan, by_reading, codes, factor=factor)
    accepted = [place for place, one in enumerate(own.issues) if one.accepted is not None]
    result = strongest(carrier, plan, by_reading, [codes[place] for place in accepted])
    # Holm's rule may name a second code where the first has no receipt and the test of all
    # copies shows nothing: no accusation beside "not shown".
    is_shown = multiplied(result, factor).outcome == "shown"
    named = [own.issues[n] for n in found.named if is_shown and n in accepted]
    fields = {
        "not_excluded": NOT_EXCLUDED,
        "copies": [
            {
                "issue": one.number,
                "customer": one.customer,
                "is_accepted": one.accepted is not None,
                "is_named": one in named,
                "log10_p": float(log10_p),
            }
            for one, log10_p in zip(own.issues, found.smallest, strict=True)
        ],
        "not_counted": {str(number): why for number, why in own.not_counted.items()},
        "level_of_codes": found.level,
    }
    return Tested(result, sentence_of(named), fields)


def copies_in(folder: pathlib.Path) -> Callable[[Issue], dict[str, Any]]:
    """Return a function that finds the weights of an accepted copy among the .npz of a folder.

    It raises CaseError for a copy that is not there.
    """
    by_digest = {
        weights_digest(load_network(path)[1]): path for path in sorted(folder.glob("*.npz"))
    }

    def copy_of(one: Issue) -> dict[str, Any]:
        if one.weights not in by_digest:
            raise CaseError(
                f"the accepted copy with the weights {one.weights[:16]}… must be in {folder}: "
                "the judge checks that each holds its own code"
            )
        return load_network(by_digest[one.weights])[1]

    return copy_of
