"""Claims of a model: what a node checks before it reads the suspect, and how it judges.

What a claim tries to hide is refused by name (`RefusedClaimError`). The order of time rests on
more than half of the nodes: the time of a publication is that by which they had seen it.
"""

import dataclasses
import datetime
from collections.abc import Iterable, Sequence

from anw_jax import _check, verify
from anw_jax.errors import AnwError, RecordError
from anw_jax.keys import MarkKey, Plan, beacons, check_scheme_commitment, draw_bits
from anw_jax.keys.digests import is_digest
from anw_jax.schemes import multitask
from anw_jax.schemes.log import Record
from anw_jax.schemes.scheme import ModelVerdict, check_decoder, judge
from anw_jax.schemes.weights import Network, settings_digest, weights_digest


class RefusedClaimError(RecordError):
    """A claim that no node may test: late, altered, replayed, spent or misdirected."""


@dataclasses.dataclass(frozen=True)
class OpenClaim:
    """A claim whose form, order and commitment fit; what is left is to read the suspect."""

    publication: Record
    plan: Plan
    commitment: str
    mark_key: MarkKey
    decoder: multitask.Decoder
    beacon: bytes
    suspect: str
    settings: str
    statements: verify.Statements


def check_claim(records: Sequence[Record], record: Record) -> OpenClaim:
    """Check all of a claim that needs no network.

    Raises:
      RefusedClaimError: with the reason.
    """
    try:
        body = record.body
        mark_key = MarkKey(bytes.fromhex(body["key"]), body["origin"])
        decoder = multitask.Decoder.from_json(body["decoder"])
        beacon, suspect = bytes.fromhex(body["beacon"]), body["suspect"]
        settings = _check.is_instance(str, settings=body.get("settings", ""))
        publication = records[_check.integer_at_least(1, publication=body["publication"]) - 1]
        if publication.kind != "publish" or not is_digest(suspect):
            raise ValueError("publication")
        plan = Plan.from_json(publication.body["plan"])
        commitment = _check.is_instance(str, commitment=publication.body["commitment"])
    except (KeyError, TypeError, ValueError, IndexError):
        raise RefusedClaimError(
            f"claim {record.number} is damaged: it opens no publication of this log"
        ) from None
    _refuse_replay(records, record, publication, mark_key.secret)
    _refuse_own_release(records, record, publication, suspect)
    since = held_since(records, record, publication, plan)
    try:
        check_decoder(decoder, plan)
        _check_opens(commitment, mark_key, plan, beacon)
    except (AnwError, ValueError) as error:
        raise RefusedClaimError(f"altered key, decoder or plan: {error}") from None
    statements = stated_by_log(records, "publish", plan, commitment, since)
    return OpenClaim(
        publication,
        plan,
        commitment,
        mark_key,
        decoder,
        beacon,
        suspect,
        settings,
        statements,
    )


def stated_by_log(
    records: Sequence[Record], kind: str, plan: Plan, commitment: str, since: str
) -> verify.Statements:
    """Return what a log states of a commitment; a judge states the rest.

    Args:
      records: of the log, up to the record that is judged.
      kind: of the records that hold commitments.
      plan: of the commitment.
      commitment: 64 hex digits.
      since: when more than half of the nodes had seen it.
    """
    # By whomever: an owner may publish under many names, and accuse with what fits a model.
    found = sum(one.kind == kind for one in records)
    return verify.Statements(
        commitment=commitment,
        held_since=since,
        held_from="the log, as more than half of the nodes saw it",
        found=max(found, plan.number),
        found_at="the log",
    )


def _check_opens(commitment: str, mark_key: MarkKey, plan: Plan, beacon: bytes) -> None:
    """Raise CommitmentError unless the commitment opens and the value is of the beacon."""
    check_scheme_commitment(commitment, mark_key, plan)
    draw_bits(mark_key, plan, 1, beacon=beacon)


def judge_claim(
    records: Sequence[Record],
    number: int,
    base: Network,
    suspect: Network,
    beacon: bytes,
    *,
    models_tried: int | None = None,
    nothing_else: bool = False,
) -> ModelVerdict:
    """Judge a claim as a node does: check it, read the suspect, open the commitment.

    Args:
      records: of the log.
      number: of the claim.
      base: the clean model w0 that the decoder names.
      suspect: the model claimed, as the node obtained it.
      beacon: the value of the beacon, as the node had it from its source, not from the claim.
      models_tried: as in `verify.Statements`: what this node states.
      nothing_else: the same.

    Raises:
      RefusedClaimError: with the reason.
    """
    record = numbered(records, number, "claim")
    opened = check_claim(records[: number - 1], record)
    if beacon != opened.beacon:
        raise RefusedClaimError(
            f"wrong beacon value: claim {number} has {opened.beacon.hex():.16}…, and that of "
            f"{opened.plan.beacon!r:.80} is {beacon.hex():.16}…"
        )
    if weights_digest(suspect[1]) != opened.suspect:
        raise RefusedClaimError(
            f"wrong model: claim {number} names the weights {opened.suspect[:16]}…, got "
            f"{weights_digest(suspect[1])[:16]}…"
        )
    if settings_digest(suspect[0]) != opened.settings:
        raise RefusedClaimError(
            f"wrong model: claim {number} names these weights with other settings, such as the "
            "normalisation of inputs"
        )
    try:
        opened.decoder.check_base(weights_digest(base[1]))
        opened.decoder.check_settings(settings_digest(base[0]))
        taps = opened.decoder.taps
        scores = multitask.extract(
            opened.decoder, multitask.tapped(*base, taps), multitask.tapped(*suspect, taps)
        )
    except (AnwError, ValueError) as error:
        raise RefusedClaimError(f"wrong model: {error}") from None
    return judge(
        scores,
        opened.mark_key,
        opened.decoder,
        opened.plan,
        commitment=opened.commitment,
        sealed_digest=verify.seal(scores),
        beacon=opened.beacon,
        statements=dataclasses.replace(
            opened.statements, models_tried=models_tried, nothing_else=nothing_else
        ),
    )


def _refuse_replay(
    records: Sequence[Record], record: Record, publication: Record, secret: bytes
) -> None:
    if record.author != publication.author:
        raise RefusedClaimError(
            f"replayed claim: publication {publication.number} is by {publication.author}, and "
            f"claim {record.number} by {record.author}"
        )
    for earlier in records:
        if earlier.kind == "claim" and _opened_secret(earlier) == secret:
            raise RefusedClaimError(
                f"spent key: claim {earlier.number} has opened the key of claim "
                f"{record.number}; each key is for one claim"
            )


def _opened_secret(claim: Record) -> bytes | None:
    """Return the secret that a claim has shown to all, in whatever case its digits are."""
    try:
        return bytes.fromhex(claim.body["key"])
    except (KeyError, TypeError, ValueError):
        return None


def _refuse_own_release(
    records: Sequence[Record], record: Record, publication: Record, suspect: str
) -> None:
    for one in records:
        if one.kind != "release" or one.body.get("weights") != suspect:
            continue
        if one.author == record.author:
            raise RefusedClaimError(
                f"own release: the claimant released the weights {suspect[:16]}… "
                f"himself in record {one.number}; a claim needs somebody else's model"
            )
        if one.number < publication.number:
            raise RefusedClaimError(
                f"late publication: the model was released in record {one.number}, and the key "
                f"published in record {publication.number}"
            )


def held_since(
    records: Sequence[Record], record: Record, publication: Record, plan: Plan
) -> str:
    """Return when more than half of the nodes had seen a publication.

    Raises:
      RefusedClaimError: too few have, or too late for the beacon.
    """
    first, nodes = seen_by(records, publication.number), nodes_of(records)
    least = len(nodes) // 2 + 1
    if len(first) < least:
        raise RefusedClaimError(
            f"late publication: {len(first)} of {len(nodes)} nodes had seen record "
            f"{publication.number} before claim {record.number}, and {least} must have"
        )
    held = sorted(first.values())[least - 1]
    appeared = beacons.read_beacon(plan.beacon).time
    if appeared is not None and held >= appeared:
        raise RefusedClaimError(
            f"late publication: more than half of the nodes had seen record "
            f"{publication.number} at {held.isoformat()}, and the beacon's value appeared at "
            f"{appeared.isoformat()}"
        )
    return held.isoformat()


def seen_by(records: Sequence[Record], number: int) -> dict[str, datetime.datetime]:
    """Return, by node, when it first stated that it had seen a record."""
    first: dict[str, datetime.datetime] = {}
    nodes = nodes_of(records)
    for one in records:
        if one.kind == "seen" and one.author in nodes and one.author not in first:
            moment, up_to = _time(one), one.body.get("up_to")
            is_number = isinstance(up_to, int) and up_to < one.number
            if moment is not None and is_number and up_to >= number:
                first[one.author] = moment
    return first


def _time(record: Record) -> datetime.datetime | None:
    try:
        moment = datetime.datetime.fromisoformat(record.body["time_utc"])
    except (KeyError, TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None


def nodes_of(records: Sequence[Record]) -> list[str]:
    """Return the public keys of the nodes that a log names.

    Raises:
      RecordError: its first record names none, or no such nodes.
    """
    if not records or records[0].kind != "open":
        raise RecordError("the log must begin with a record that names its nodes")
    try:
        return check_nodes(records[0].body.get("nodes"))
    except (TypeError, ValueError) as error:
        raise RecordError(f"the first record of the log is damaged: {error}") from None


def check_nodes(nodes: Iterable[str]) -> list[str]:
    """Raise TypeError or ValueError unless these are nodes that can decide by majority."""
    nodes = list(nodes)
    if len(nodes) < 3 or not all(map(is_digest, nodes)) or len(set(nodes)) < len(nodes):
        raise ValueError(
            "nodes must be at least three different public keys of 64 hex digits, got "
            f"{nodes!r:.200}"
        )
    return nodes


def numbered(records: Sequence[Record], number: int, kind: str) -> Record:
    """Return the record of a number; RecordError if it is of another kind or not there."""
    is_number = type(number) is int
    if not is_number or not 1 <= number <= len(records) or records[number - 1].kind != kind:
        raise RecordError(f"the log has no {kind} with the number {number!r:.40}")
    return records[number - 1]
