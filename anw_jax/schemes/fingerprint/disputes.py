"""DISPUTE, EXTRACT and VERDICT: what is done before and after the codes are opened.

The judge reads the suspect with the carrier alone, and signs what he read. Then the owner opens
the key to him, not to the log, and shows every copy that was accepted.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anw_jax import stats, verify
from anw_jax.audit.signatures import public_key_of
from anw_jax.errors import AnwError
from anw_jax.keys import MarkKey, draw_bits
from anw_jax.keys.bits import Bits
from anw_jax.schemes.claims import nodes_of, numbered, seen_by, stated_by_log
from anw_jax.schemes.fingerprint.carrier import Carrier, kernels
from anw_jax.schemes.fingerprint.delivered import check_copies
from anw_jax.schemes.fingerprint.projection import KINDS
from anw_jax.schemes.fingerprint.reader import extract, owner_scores
from anw_jax.schemes.fingerprint.records import (
    Issue,
    RefusedDisputeError,
    Setup,
    check_dispute,
    check_opening,
    disputes_of,
    reading_of,
)
from anw_jax.schemes.fingerprint.tracing import Trace, trace
from anw_jax.schemes.log import (
    Record,
    append,
    append_once,
    append_only,
    first_about,
    read_log,
    same_record,
)
from anw_jax.schemes.scheme import check_decoder
from anw_jax.schemes.weights import weights_digest
from anw_jax.verify.sealing import check_sealed
from anw_jax.verify.statements import conditions_of
from anw_jax.verify.verdict import is_conditional, standing_of, verdict_text

# Said before anything else wherever a customer is named.
NOT_EXCLUDED = "It cannot be excluded that the owner himself, or a thief, let a copy out."


@dataclasses.dataclass(frozen=True, eq=False)
class FingerprintVerdict:
    """What the judge found.

    Attributes:
      named: the issues from whose copies the suspect derives.
      not_accepted: issues that were found and have no receipt: they name nobody.
      issues: all that were tested, in the order of `trace`.
      trace: the test of all codes.
      owner_log10_p: by reading, of the owner's common mark.
      not_counted: numbers of records in the log that change nothing, each with the reason.
      alpha: the declared ε.
      standing: as `verify.Verdict` has it.
      conditions: facts that were not stated; empty for evidence.
      factor: setups in the log and models tried, by which ε was divided.
      stated: the judge's statements, one sentence each.
    """

    named: tuple[Issue, ...]
    not_accepted: tuple[Issue, ...]
    issues: tuple[Issue, ...]
    trace: Trace
    owner_log10_p: dict[str, float]
    not_counted: dict[int, str]
    alpha: float
    standing: str
    conditions: tuple[str, ...]
    factor: float
    stated: tuple[str, ...]

    @property
    def outcome(self) -> str:
        """Return "shown" if any customer is named, else "not shown"."""
        return "shown" if self.named else "not shown"

    @property
    def text(self) -> str:
        """The verdict in plain language; what cannot be excluded is said first."""
        text = verdict_text(
            self.outcome,
            self.alpha,
            sentence_of(self.named),
            self.standing,
            self.conditions,
            self.stated,
        )
        return f"{NOT_EXCLUDED}\n{text}" if self.named else text

    def as_json(self) -> dict[str, Any]:
        """Return what the log says of it, as plain JSON values."""
        smallest = dict(zip(self.issues, self.trace.smallest, strict=True))
        return {
            "outcome": self.outcome,
            "issues": [one.number for one in self.named],
            "log10_p": [float(smallest[one]) for one in self.named],
            "not_accepted": [one.number for one in self.not_accepted],
            "not_counted": {str(number): why for number, why in self.not_counted.items()},
            "num_tests": self.trace.num_tests,
            "level": self.trace.level,
            "standing": self.standing,
            "conditions": list(self.conditions),
            "factor": self.factor,
            "text": self.text,
        }


def sentence_of(named: Sequence[Issue]) -> str:
    """Say from which copies a suspect derives."""
    if not named:
        return "The suspect was not traced to any copy. This does not show its innocence."
    copies = ", ".join(str(one.number) for one in named)
    noun = "copy" if len(named) == 1 else "the copies"
    return (
        f"The suspect derives from {noun} {copies}, which the customer and the owner held. "
        "Over all disputes and readings, the probability that any innocent customer is named "
        "is at most the declared level."
    )


def open_dispute(
    folder: pathlib.Path,
    carrier: Carrier,
    setup_number: int,
    suspect: dict[str, Any],
    key_file: pathlib.Path,
) -> Record:
    """Append DISPUTE of a suspect that can be read, as the owner; once for the same receipts.

    Raises:
      RefusedDisputeError: the codes are spent, it is not the owner who asks, or more disputes
        than were declared.
      ValueError: a suspect without the carrier's layers, with fewer weights in them, or with
        weights that are not finite.
    """
    num_weights = sum(kernel.size for kernel in kernels(suspect, carrier.layers).values())
    if num_weights < carrier.num_weights:
        raise ValueError(
            "the network must have the architecture of the clean model: its layers have "
            f"{num_weights} weights, and the carrier {carrier.num_weights}"
        )
    body = {"setup": setup_number, "suspect": weights_digest(suspect)}

    def check(records: list[Record], draft: Record) -> Record | None:
        own, *_ = check_dispute([*records, draft], draft)
        # A second one that tests the same would count among those that were declared.
        last = max(one.number for one in records if one.kind in ("issue", "accept"))
        if made := same_record(records[last:], draft):
            return made
        _check_place(len(disputes_of(records, own)) + 1, carrier)
        return None

    return append(folder, "dispute", body, key_file, check)


def read_suspect(
    folder: pathlib.Path,
    number: int,
    carrier: Carrier,
    base: dict[str, Any],
    suspect: dict[str, Any],
    key_file: pathlib.Path,
) -> Record:
    """Append EXTRACT: the seals of the scores, before the codes are opened; once.

    Args:
      folder: of the log.
      number: of the DISPUTE record.
      carrier: as the owner opened it to the judge.
      base: weights of the clean model w_base.
      suspect: the suspect's weights, as the judge obtained them.
      key_file: the judge's signing key.

    Raises:
      RefusedDisputeError: a dispute that may not be tested, or other models than named.
      ValueError: a suspect that cannot be read.
    """
    records = read_log(folder)
    record = numbered(records, number, "dispute")
    own, issues, _ = check_dispute(records, record)
    _check_judge(own, key_file)
    _check_counts(records, record, carrier, own, issues)
    scores = _scores(record, carrier, base, suspect)
    seals = {reading: verify.seal(one) for reading, one in scores.items()}
    return append_once(folder, "extract", {"dispute": number, "seals": seals}, key_file)


def judge_dispute(
    folder: pathlib.Path,
    number: int,
    carrier: Carrier,
    base: dict[str, Any],
    suspect: dict[str, Any],
    mark_key: MarkKey,
    beacon: bytes,
    copy_of: Callable[[Issue], dict[str, Any]],
    key_file: pathlib.Path,
    *,
    models_tried: int | None = None,
    nothing_else: bool = False,
) -> tuple[Record, FingerprintVerdict]:
    """Append VERDICT: open the codes, check every accepted copy, test; the same one once.

    A dispute has one: the judge could choose among several.

    Args:
      folder: of the log.
      number: of the DISPUTE record.
      carrier: as for `read_suspect`.
      base: weights of w_base.
      suspect: the suspect's weights.
      mark_key: the owner's key, opened to the judge only; all its codes are spent by it.
      beacon: the value of the beacon, as the judge fetched it.
      copy_of: returns the weights of an accepted copy, as the owner shows them.
      key_file: the judge's signing key.
      models_tried: as in `verify.Statements`: what the judge states. What he does not state
        is a condition of the verdict.
      nothing_else: the same.

    Raises:
      RefusedDisputeError: a changed or swapped code, or as `read_suspect`.
      CommitmentError: the suspect was not read before, or other scores were.
      RecordError: the dispute has a verdict that says something else.
    """
    records = read_log(folder)
    record = numbered(records, number, "dispute")
    own, issues, not_counted = check_dispute(records, record)
    _check_judge(own, key_file)
    if first := first_about(records, "verdict", own.judge, "dispute", number):
        # A repeated command judges the log that it judged before, whoever signed since.
        records = records[: first.number - 1]
    _check_counts(records, record, carrier, own, issues)
    scores = _scores(record, carrier, base, suspect)
    _check_seals(reading_of(records, own, number), number, scores)
    codes = open_codes(carrier, own, issues, mark_key, beacon)
    check_copies(carrier, base, issues, codes, copy_of)
    said = dataclasses.replace(
        stated_by_log(records, "setup", own.plan, own.commitment, own.held_since),
        models_tried=models_tried,
        nothing_else=nothing_else,
    )
    conditions = (*conditions_of(own.plan, said), *_of_whole_log(records, number))
    standing = standing_of(mark_key.origin, own.commitment, said, conditions)
    found = trace(carrier, own.plan, scores, codes, factor=said.factor)
    common = draw_bits(mark_key, own.plan, carrier.num_owner_bits, beacon=beacon)
    hit = [issues[place] for place in found.named]
    verdict = FingerprintVerdict(
        tuple(one for one in hit if one.accepted is not None),
        tuple(one for one in hit if one.accepted is None),
        tuple(issues),
        found,
        _owner_log10_p(carrier, scores, common, own),
        not_counted,
        own.plan.alpha,
        standing,
        conditions if is_conditional(standing) else (),
        said.factor,
        tuple(said.lines()),
    )
    body = {"dispute": number, **verdict.as_json()}
    return append_only(folder, "verdict", body, key_file, "dispute"), verdict


def open_codes(
    carrier: Carrier,
    own: Setup,
    issues: Sequence[Issue],
    mark_key: MarkKey,
    beacon: bytes,
) -> list[Bits]:
    """Open the codes of all issues; whether a copy holds its own is for `check_copies`.

    Raises:
      RefusedDisputeError: a key or a value other than that of SETUP.
    """
    check_opening(own, mark_key, beacon)
    return [one.code(mark_key, own.plan, carrier.num_bits, beacon) for one in issues]


def check_issues(carrier: Carrier, issues: Sequence[Issue]) -> None:
    """Raise RefusedDisputeError for codes that no judge can test.

    There are more than the carrier declares, or its rows are not orthonormal: then nobody can
    see whether a copy holds some of another customer's code beside its own.
    """
    if carrier.kind != KINDS[0]:
        raise RefusedDisputeError(
            f"unfit carrier: the projection must be {KINDS[0]!r}, got {carrier.kind!r}, with "
            "which a copy could hold codes of others unseen; it is for measurements"
        )
    if len(issues) > carrier.num_customers:
        raise RefusedDisputeError(
            f"too many codes: {len(issues)} were issued and {carrier.num_customers} declared"
        )


def _check_judge(own: Setup, key_file: pathlib.Path) -> None:
    author = public_key_of(key_file)
    if author != own.judge:
        raise RefusedDisputeError(
            f"another judge: setup {own.number} names {own.judge}, and this is {author}"
        )


def _of_whole_log(records: list[Record], number: int) -> list[str]:
    """Return the condition that the log is whole, unless most nodes signed its dispute."""
    seen, nodes = seen_by(records, number), nodes_of(records)
    least = len(nodes) // 2 + 1
    if len(seen) >= least:
        return []
    return [
        "the log is whole, and no setup or earlier dispute was cut off its end "
        f"({len(seen)} of {len(nodes)} nodes signed it after dispute {number}, and {least} "
        "must have)"
    ]


def _check_counts(
    records: list[Record], record: Record, carrier: Carrier, own: Setup, issues: list[Issue]
) -> None:
    try:
        check_decoder(carrier, own.plan)
    except AnwError as error:
        raise RefusedDisputeError(f"changed carrier: {error}") from None
    check_issues(carrier, issues)
    _check_place(len(disputes_of(records[: record.number], own)), carrier)


def _check_place(place: int, carrier: Carrier) -> None:
    if place > carrier.num_disputes:
        raise RefusedDisputeError(
            f"too many disputes: this is number {place}, and {carrier.num_disputes} were "
            "declared"
        )


def _scores(
    record: Record, carrier: Carrier, base: dict[str, Any], suspect: dict[str, Any]
) -> dict[str, np.ndarray]:
    digest = weights_digest(suspect)
    if digest != record.body["suspect"]:
        raise RefusedDisputeError(
            f"wrong model: dispute {record.number} names the weights "
            f"{record.body['suspect'][:16]}…, got {digest[:16]}…"
        )
    try:
        carrier.check_base(base)
    except AnwError as error:
        raise RefusedDisputeError(f"wrong model: {error}") from None
    return {reading: extract(carrier, base, suspect, reading) for reading in carrier.readings}


def _check_seals(read: Record | None, number: int, scores: dict[str, np.ndarray]) -> None:
    if read is None:
        raise RefusedDisputeError(
            f"not read: dispute {number} has no EXTRACT; the suspect is read before the codes "
            "are opened"
        )
    for reading, own in scores.items():
        check_sealed(own, read.body["seals"].get(reading), f"the scores {reading!r}")


def _owner_log10_p(
    carrier: Carrier, scores: dict[str, np.ndarray], common: Bits, own: Setup
) -> dict[str, float]:
    found = {}
    for reading, one in scores.items():
        own_scores = owner_scores(carrier, one)
        logs = stats.bit_log10_p_values(own_scores, [common], own.plan.statistic)
        found[reading] = float(logs[0])
    return found
