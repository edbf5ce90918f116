"""SETUP, ISSUE, ACCEPT, DISPUTE in the log, and what is refused by name.

A code is a function of SETUP, beacon, public key and nonce: it cannot be made, changed or
reassigned afterwards. What is left to cheat with are the records, and which code a copy holds.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from anw_jax import _check
from anw_jax.audit.signatures import public_key_of
from anw_jax.errors import AnwError, RecordError
from anw_jax.keys import Plan, beacons, check_scheme_commitment, commit_scheme, customer_code
from anw_jax.keys.bits import NONCE_BYTES, Bits
from anw_jax.keys.digests import check_is_commitment, is_digest
from anw_jax.keys.mark_key import MarkKey
from anw_jax.keys.plan_fields import FINGERPRINT
from anw_jax.schemes.claims import held_since, numbered
from anw_jax.schemes.log import Record, append, append_once, first_about, read_log, same_record


class RefusedDisputeError(RecordError):
    """An issue, a receipt or a dispute that no judge may use; the message begins with why."""


@dataclasses.dataclass(frozen=True)
class Issue:
    """A copy that was issued.

    Attributes:
      number: of its record.
      customer: public key, 64 hex digits.
      nonce: 64 hex digits, which the customer drew.
      weights: `weights_digest` of the copy.
      accepted: number of the customer's receipt; None without one.
    """

    number: int
    customer: str
    nonce: str
    weights: str
    accepted: int | None

    def code(self, mark_key: MarkKey, plan: Plan, num_bits: int, beacon: bytes) -> Bits:
        """Draw the code of this copy. Secret."""
        nonce = bytes.fromhex(self.nonce)
        return customer_code(mark_key, plan, num_bits, self.customer, nonce, beacon=beacon)


@dataclasses.dataclass(frozen=True)
class Setup:
    """An issue of copies as its first record fixes it.

    Attributes:
      number: of its record.
      owner: public key, 64 hex digits.
      judge: public key, 64 hex digits.
      plan: of the test; `mark` holds the carrier's digest.
      commitment: to key and plan.
      earlier: commitments and plans of all setups before it, by whomever.
      held_since: when more than half of the nodes had seen it; "" before a dispute.
    """

    number: int
    owner: str
    judge: str
    plan: Plan
    commitment: str
    earlier: tuple[tuple[str, Plan], ...] = ()
    held_since: str = ""


def setup(
    folder: pathlib.Path, plan: Plan, commitment: str, judge: str, key_file: pathlib.Path
) -> Record:
    """Append SETUP: plan and commitment, before the beacon's value.

    Raises:
      ValueError: a plan without a beacon of a known kind, or no public key of a judge.
      RefusedDisputeError: a second setup of one key and plan; nothing is written.
    """
    check_is_commitment(commitment)
    if not plan.mark.startswith(f"{FINGERPRINT}:") or not beacons.read_beacon(plan.beacon).kind:
        raise ValueError(
            "plan must be that of a fingerprint carrier and name a beacon of a known kind "
            "(drand, nist, arbitrator): the owner could know codes after any other text before "
            f"he fixes the carrier; got {plan.mark!r:.40} and the beacon {plan.beacon!r:.60}"
        )
    if not is_digest(judge):
        raise ValueError(f"judge must be a public key of 64 hex digits, got {judge!r:.70}")
    body = {"plan": plan.as_json(), "commitment": commitment, "judge": judge}

    def check(records: list[Record], draft: Record) -> None:
        setup_of([*records, draft], draft.number)

    return append(folder, "setup", body, key_file, check)


def issue(
    folder: pathlib.Path,
    setup_number: int,
    customer: str,
    nonce: str,
    weights: str,
    key_file: pathlib.Path,
) -> Record:
    """Append ISSUE, before the copy is handed over; once, however often it is repeated.

    Args:
      folder: of the log.
      setup_number: of the SETUP record.
      customer: public key, 64 hex digits.
      nonce: 64 hex digits that the customer drew.
      weights: `weights_digest` of the copy.
      key_file: the owner's signing key.

    Raises:
      RefusedDisputeError: two codes, a replayed issue, another author, or a copy for owner or
        judge; nothing is written.
    """
    body = {"setup": setup_number, "customer": customer, "nonce": nonce, "weights": weights}

    def check(records: list[Record], draft: Record) -> Record | None:
        if made := same_record(records, draft):
            return made  # by a process that was killed before it wrote the copy
        issues_of(records, setup_number, draft)
        return None

    return append(folder, "issue", body, key_file, check)


def accept(
    folder: pathlib.Path, number: int, nonce: str, weights: str, key_file: pathlib.Path
) -> Record:
    """Append ACCEPT: the customer's receipt of the copy that he holds; once.

    Args:
      folder: of the log.
      number: of the ISSUE record.
      nonce: the customer's own.
      weights: `weights_digest` of what he received.
      key_file: the customer's signing key.

    Raises:
      RefusedDisputeError: another customer's issue, or one of another nonce or copy.
    """
    given = numbered(read_log(folder), number, "issue")
    body = {"issue": number, "digest": given.digest, "nonce": nonce, "weights": weights}
    _check_receipt(given, Record(0, "accept", public_key_of(key_file), body, ""))
    return append_once(folder, "accept", body, key_file)


def setup_of(records: Sequence[Record], number: int) -> Setup:
    """Return a SETUP record as values.

    Raises:
      RefusedDisputeError: there is none of that number, it is damaged, or it repeats another.
    """
    try:
        record = numbered(records, _check.integer_at_least(1, setup=number), "setup")
        own = _setup(record)
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedDisputeError(f"no setup: record {number!r:.20} is none: {error}") from None
    earlier = [one for one in map(_setup_or_none, records[: own.number - 1]) if one]
    for one in earlier:
        if one.commitment == own.commitment:
            raise RefusedDisputeError(
                f"second setup: record {own.number} repeats the commitment of record "
                f"{one.number}; a key is for one setup"
            )
    pairs = tuple((one.commitment, one.plan) for one in earlier)
    return dataclasses.replace(own, earlier=pairs)


def _setup_or_none(record: Record) -> Setup | None:
    """Read a SETUP record; None for others, and for what strangers write in its place."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        return _setup(record) if record.kind == "setup" else None
    return None


def _setup(record: Record) -> Setup:
    body = record.body
    plan, commitment = Plan.from_json(body["plan"]), body["commitment"]
    check_is_commitment(commitment)
    if not plan.is_of_scheme:
        raise ValueError("its plan is not of a watermark in models")
    return Setup(record.number, record.author, body["judge"], plan, commitment)


def plan_of_dispute(folder: pathlib.Path, number: int) -> Plan:
    """Return the plan that a dispute's SETUP fixed, and with it the name of the beacon.

    A plan from the owner's hands could name another round, whose value he knew before.

    Raises:
      RecordError: no such dispute, or one that names no setup.
    """
    records = read_log(folder)
    return setup_of(records, numbered(records, number, "dispute").body.get("setup")).plan


def issues_of(
    records: Sequence[Record], setup_number: int, draft: Record | None = None
) -> tuple[list[Issue], dict[int, str]]:
    """Return all copies of an issue, with their receipts, in the order of the log.

    Anybody may append to a log. What strangers wrote, and receipts that do not fit, change
    nothing: nobody can stop a dispute, or make a receipt for another, by a record of his own.

    Args:
      records: of the log.
      setup_number: of the SETUP record.
      draft: one more ISSUE that is not in the log yet.

    Returns:
      The copies; and the numbers of records that do not count, each with the reason.

    Raises:
      RefusedDisputeError: two codes, one copy for two, a replayed issue, all by the owner
        himself; a draft by somebody else.
    """
    own = setup_of(records, setup_number)
    found: dict[int, Issue] = {}
    not_counted: dict[int, str] = {}
    for record in (*records, *([draft] if draft is not None else [])):
        if record.kind == "issue" and record.body.get("setup") == own.number:
            if record.author != own.owner and record is not draft:
                not_counted[record.number] = f"replayed issue: it is by {record.author}"
                continue
            found[record.number] = _issue(record, own, list(found.values()), records)
        number = record.body.get("issue")
        if record.kind != "accept" or type(number) is not int or number not in found:
            continue
        try:
            _check_receipt(records[number - 1], record)
        except RefusedDisputeError as error:
            not_counted[record.number] = str(error)
            continue
        if found[number].accepted is None:
            found[number] = dataclasses.replace(found[number], accepted=record.number)
    return list(found.values()), not_counted


def disputes_of(records: Sequence[Record], own: Setup) -> list[int]:
    """Return the numbers of the owner's disputes under a setup; no others count."""
    return [
        one.number
        for one in records
        if one.kind == "dispute"
        and one.author == own.owner
        and one.body.get("setup") == own.number
    ]


def reading_of(records: Sequence[Record], own: Setup, number: int) -> Record | None:
    """Return the judge's first EXTRACT of a dispute; those of others do not count."""
    return first_about(records, "extract", own.judge, "dispute", number)


def check_dispute(
    records: Sequence[Record], record: Record
) -> tuple[Setup, list[Issue], dict[int, str]]:
    """Check a DISPUTE against the log; return its setup, and as `issues_of` those before it.

    Raises:
      RefusedDisputeError: with the reason.
    """
    before = records[: record.number - 1]
    own = setup_of(before, record.body.get("setup"))
    if record.author != own.owner:
        raise RefusedDisputeError(
            f"another owner: setup {own.number} is by {own.owner}, and the dispute by "
            f"{record.author}"
        )
    if not is_digest(record.body.get("suspect")):
        raise RefusedDisputeError(f"damaged dispute: record {record.number} names no suspect")
    for earlier in disputes_of(before, own):
        if opened := reading_of(before, own, earlier):
            raise RefusedDisputeError(
                f"spent codes: the judge read a suspect in record {opened.number} and the "
                "codes were opened to him; a suspect first seen later is not tested against "
                "them"
            )
    issues, not_counted = issues_of(before, own.number)
    if not issues:
        raise RefusedDisputeError(f"no copies: none was issued under setup {own.number}")
    try:
        since = held_since(
            before[: issues[0].number - 1], record, before[own.number - 1], own.plan
        )
    except RecordError as error:
        raise RefusedDisputeError(f"late setup: {error}") from None
    return dataclasses.replace(own, held_since=since), issues, not_counted


def check_opening(own: Setup, mark_key: MarkKey, beacon: bytes) -> None:
    """Raise RefusedDisputeError unless the key and the beacon's value are those of SETUP.

    The key of an earlier setup is refused: its codes were opened with those, or could be.
    """
    try:
        check_scheme_commitment(own.commitment, mark_key, own.plan)
        customer_code(mark_key, own.plan, 1, "00" * 32, bytes(NONCE_BYTES), beacon=beacon)
    except (AnwError, ValueError) as error:
        raise RefusedDisputeError(f"changed code: {error}") from None
    for commitment, plan in own.earlier:
        if commitment == commit_scheme(mark_key, plan):
            raise RefusedDisputeError(
                f"second setup: the key of setup {own.number} opens the earlier commitment "
                f"{commitment[:16]}… too; a key is for one setup"
            )


def _issue(
    record: Record, own: Setup, earlier: list[Issue], records: Sequence[Record]
) -> Issue:
    body: dict[str, Any] = record.body
    customer, nonce, weights = (body.get(n) for n in ("customer", "nonce", "weights"))
    if not all(map(is_digest, (customer, nonce, weights))):
        raise RefusedDisputeError(
            f"damaged issue: record {record.number} must have customer, nonce and weights of "
            "64 hex digits each"
        )
    if record.author != own.owner:
        raise RefusedDisputeError(
            f"replayed issue: record {record.number} is by {record.author}, and setup "
            f"{own.number} by {own.owner}"
        )
    for role, key in (("owner", own.owner), ("judge", own.judge)):
        if customer == key:
            raise RefusedDisputeError(
                f"another's key: record {record.number} issues a copy to {customer}, the key "
                f"of the {role}; it must be the customer's own"
            )
    for one in earlier:
        if one.customer == customer:
            raise RefusedDisputeError(
                f"two codes: records {one.number} and {record.number} issue copies to the "
                f"same customer {customer[:16]}…"
            )
        if one.weights == weights:
            raise RefusedDisputeError(
                f"one copy for two: records {one.number} and {record.number} issue the same "
                f"weights {weights[:16]}…"
            )
    for one in records[: record.number - 1]:
        if one.kind == "issue" and one.body.get("nonce") == nonce:
            raise RefusedDisputeError(
                f"replayed issue: the nonce of record {record.number} was used in record "
                f"{one.number}"
            )
    return Issue(record.number, customer, nonce, weights, None)


def _check_receipt(given: Record, receipt: Record) -> None:
    body = receipt.body
    if receipt.author != given.body.get("customer"):
        raise RefusedDisputeError(
            f"another customer: record {given.number} is for {given.body.get('customer')}, and "
            f"the receipt is signed by {receipt.author}"
        )
    for name, wanted in (
        ("digest", given.digest),
        ("nonce", given.body.get("nonce")),
        ("weights", given.body.get("weights")),
    ):
        if body.get(name) != wanted:
            raise RefusedDisputeError(
                f"changed code: the issue {given.number} has the {name} {wanted!s:.16}…, and "
                f"the receipt {body.get(name)!s:.16}…"
            )
