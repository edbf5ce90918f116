"""PUBLISH, RELEASE, CLAIM, VOTE: whose model it is, decided by nodes without an authority.

1. `open_log` names the nodes. Each calls `see` whenever there are new records: a signed
   statement of what it held, and when.
2. An owner calls `publish` with the plan and the commitment of each key, before the beacon's
   value; then embeds and calls `release`.
3. In a dispute he calls `claim`, which opens one key. That key is spent.
4. Each node reads the suspect itself, opens the commitment and calls `vote`.
5. `tally`: a claim is shown if more than half of all named nodes say so. `owner_of`: of several
   shown claims on one model, that of the earliest publication.

A claim that no node may test is refused by name (`claims`), and a node's vote says so.
"""

import contextlib
import dataclasses
import datetime
import pathlib
from collections.abc import Sequence
from typing import Any

from anw_jax import _check
from anw_jax.audit.signatures import public_key_of
from anw_jax.errors import RecordError
from anw_jax.keys import MarkKey, Plan
from anw_jax.keys.digests import check_is_commitment, is_digest
from anw_jax.schemes import multitask
from anw_jax.schemes.claims import (
    Network,
    RefusedClaimError,
    check_claim,
    check_nodes,
    judge_claim,
    nodes_of,
    numbered,
)
from anw_jax.schemes.log import (
    Record,
    append,
    append_once,
    append_only,
    read_log,
    read_started_log,
    same_record,
)
from anw_jax.verify.verdict import is_evidence

OUTCOMES = ("shown", "not shown", "inconclusive", "refused")


@dataclasses.dataclass(frozen=True)
class Tally:
    """What the nodes say of a claim.

    Attributes:
      claim: number of its record.
      outcome: "shown" or "not shown" if more than half of all nodes agree on it, or "open".
      counts: votes of named nodes by outcome.
      not_counted: numbers of votes by strangers, or by nodes that had voted before.
      open: standings of counted votes for "shown" that are no evidence, each once.
      level: of the claim's test, which the claimant chose; None if it names no publication.
    """

    claim: int
    outcome: str
    counts: dict[str, int]
    not_counted: tuple[int, ...]
    open: tuple[str, ...] = ()
    level: float | None = None


def open_log(folder: pathlib.Path, nodes: Sequence[str], key_file: pathlib.Path) -> Record:
    """Start a log in an empty folder, with the public keys of its nodes.

    Raises:
      ValueError: fewer than three nodes, or one twice.
      RecordError: the log was started before.
    """
    nodes = check_nodes(nodes)
    folder.mkdir(parents=True, exist_ok=True)

    def check(records: list[Record], draft: Record) -> None:
        if records:
            raise RecordError(f"{folder} holds a log already")

    return append(folder, "open", {"nodes": nodes}, key_file, check)


def see(
    folder: pathlib.Path, key_file: pathlib.Path, now: datetime.datetime | None = None
) -> Record:
    """State, as a node, which records it holds, and when it held them."""
    records = read_started_log(folder)
    now = now or datetime.datetime.now(datetime.UTC)
    body = {"up_to": len(records), "time_utc": now.astimezone(datetime.UTC).isoformat()}
    return append(folder, "seen", body, key_file)


def publish(
    folder: pathlib.Path, plan: Plan, commitment: str, key_file: pathlib.Path
) -> Record:
    """Publish a key's plan and commitment, before the beacon's value.

    Raises:
      ValueError: a plan without a beacon, or not of a model watermark.
    """
    check_is_commitment(commitment)
    if not plan.is_of_scheme or not plan.beacon:
        raise ValueError(
            "plan must be that of a model watermark and name a beacon: nodes test no bits that "
            "the owner could know before"
        )
    body = {"plan": plan.as_json(), "commitment": commitment}
    return append(folder, "publish", body, key_file)


def release(
    folder: pathlib.Path, publications: Sequence[int], weights: str, key_file: pathlib.Path
) -> Record:
    """Name the weights that are released, and the publications whose bits they hold.

    A repeated call appends nothing.
    """
    if not is_digest(weights):
        raise ValueError(f"weights must be a digest of 64 hex digits, got {weights!r:.70}")
    numbers = [_check.integer_at_least(1, publications=number) for number in publications]
    body = {"publications": numbers, "weights": weights}
    return append_once(folder, "release", body, key_file)


def claim(
    folder: pathlib.Path,
    publication: int,
    mark_key: MarkKey,
    decoder: multitask.Decoder,
    beacon: bytes,
    suspect: str,
    key_file: pathlib.Path,
    settings: str = "",
) -> Record:
    """Open a key and claim a model; whether or not it is shown, the key is spent.

    A repeated call appends nothing, and returns the first claim.

    Args:
      folder: of the log.
      publication: number of the record that published the key.
      mark_key: the key.
      decoder: its decoder.
      beacon: the value of the beacon.
      suspect: `weights_digest` of the model claimed.
      key_file: the owner's signing key.
      settings: `settings_digest` of it; nodes refuse to read a model without.

    Raises:
      RefusedClaimError: as every node would refuse it; the log stays as it was.
    """
    body = {
        "publication": publication,
        "key": mark_key.secret.hex(),
        "origin": mark_key.origin,
        "decoder": decoder.as_json(),
        "beacon": beacon.hex(),
        "suspect": suspect,
        **({"settings": settings} if settings else {}),
    }

    def check(records: list[Record], draft: Record) -> Record | None:
        made = same_record(records, draft)
        one = made or draft
        check_claim(records[: one.number - 1], one)
        return made

    return append(folder, "claim", body, key_file, check)


def vote(
    folder: pathlib.Path,
    number: int,
    base: Network,
    suspect: Network,
    beacon: bytes,
    key_file: pathlib.Path,
    **stated: Any,
) -> Record:
    """Judge a claim and append the vote; a refusal is a vote, with its reason.

    A repeated call appends nothing, and returns the first vote.

    Args:
      folder: of the log.
      number: of the claim.
      base: the clean model that the claim's decoder names.
      suspect: the model claimed.
      beacon: the value of the beacon, which the node fetched itself.
      key_file: the node's signing key.
      **stated: `models_tried` and `nothing_else` of `claims.judge_claim`; what a node does not
        state is a condition of its vote.

    Raises:
      RecordError: this is no node of the log, or it has voted otherwise.
    """
    records = read_log(folder)
    author = public_key_of(key_file)
    if author not in nodes_of(records):
        raise RecordError(f"{author} is no node of this log: its vote would not count")
    try:
        verdict = judge_claim(records, number, base, suspect, beacon, **stated)
        body = {
            "claim": number,
            "outcome": verdict.result.outcome,
            "log10_p": verdict.result.log10_p,
            "standing": verdict.standing,
            **({"reason": verdict.result.reason} if verdict.result.reason else {}),
        }
    except RefusedClaimError as error:
        body = {"claim": number, "outcome": "refused", "reason": str(error)}
    return append_only(folder, "vote", body, key_file, "claim")


def plan_of_claim(folder: pathlib.Path, number: int) -> Plan:
    """Return the published plan of a claim, which names the beacon.

    Raises:
      RecordError: no such claim, or one that names no publication.
    """
    return _plan_of_claim(read_log(folder), number)


def _plan_of_claim(records: Sequence[Record], number: int) -> Plan:
    try:
        publication = numbered(records, number, "claim").body["publication"]
        return Plan.from_json(numbered(records, publication, "publish").body["plan"])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"claim {number} names no publication of this log") from None


def tally(records: Sequence[Record], number: int) -> Tally:
    """Count the votes on a claim.

    Raises:
      RecordError: no such claim.
    """
    numbered(records, number, "claim")
    nodes = nodes_of(records)
    counted: dict[str, str] = {}
    standings: dict[str, None] = {}
    ignored = []
    for record in records:
        if record.kind != "vote" or record.body.get("claim") != number:
            continue
        outcome = record.body.get("outcome")
        if record.author not in nodes or record.author in counted or outcome not in OUTCOMES:
            ignored.append(record.number)
        else:
            counted[record.author] = outcome
            standing = f"{record.body.get('standing', 'not evidence: no standing is given')}"
            if outcome == "shown" and not is_evidence(standing):
                standings[standing] = None
    counts = {name: list(counted.values()).count(name) for name in OUTCOMES}
    against = sum(counts.values()) - counts["shown"]
    outcome = "open"
    if 2 * counts["shown"] > len(nodes):
        outcome = "shown"
    elif 2 * against >= len(nodes):
        outcome = "not shown"
    level = None
    with contextlib.suppress(RecordError):
        level = _plan_of_claim(records, number).alpha
    return Tally(number, outcome, counts, tuple(ignored), tuple(standings), level)


def owner_of(records: Sequence[Record], suspect: str) -> Record | None:
    """Return the publication of a model's owner: the earliest with a claim that is shown.

    Args:
      records: of the log.
      suspect: `weights_digest` of the model.
    """
    shown = [
        records[record.body["publication"] - 1]
        for record in records
        if record.kind == "claim"
        and record.body.get("suspect") == suspect
        and tally(records, record.number).outcome == "shown"
    ]
    return min(shown, key=lambda record: record.number, default=None)
