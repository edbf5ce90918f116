"""The plan: how the test will be run, declared before training."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from anw_jax import _check, _json
from anw_jax.keys.beacons import read_beacon
from anw_jax.keys.digests import check_is_commitment, is_digest, length_prefixed
from anw_jax.keys.plan_fields import (
    KINDS,
    AccessRule,
    check_mark,
    check_statistic,
    default_rules,
    is_scheme,
)

MODES = ("sealed", "sequential")

# The question that several tests answer together; `stats.several` has the corrections.
CLAIMS = ("one model", "any model", "each model", "list of models")

# Version 1 can only be read and replayed: its slots did not depend on the whole manifest, and
# its plans left the choice of access to the arbitrator (`keys.slots`).
VERSION = 2

_TAG_PLAN = b"anw_jax/v2/plan\0"
_TAG_LABELS = b"anw_jax/v1/labels\0"
_TAG_SEED = b"anw_jax/v1/public-seed\0"
_TAG_CHANGES = b"anw_jax/v1/audit-seed\0"
_FIELDS_OF_VERSION_1 = ("statistic", "alpha", "mark", "beacon", "mode", "claim", "labels")


@dataclasses.dataclass(frozen=True)
class Plan:
    """How the test will be run; public, and declared before training.

    Attributes:
      statistic: the name of the test statistic (`stats.STATISTICS`); in the sequential mode one
        of `stats.SEQUENTIAL_STATISTICS`; of a model watermark one of `stats.BIT_STATISTICS`.
      alpha: the significance level in (0, 1): use is *shown* if p ≤ alpha.
      mark: the mark's `description`, such as "hue_rotation"; that of a private basis contains
        the digest of its sub-key. Custom marks use a description that starts with "own:".
        Verifying them requires their code; the `anw` command does not support them. That of a
        model watermark contains the digest of its decoder.
      beacon: the name of a public random value that is published later (`keys.beacons`); ""
        for none. Every slot depends on the value (`assign`), so an owner cannot select keys,
        photos or plans for their slots. Text of no known kind is allowed, and makes every
        verdict conditional.
      mode: "sealed" (full table, its hash, the key, `exact_test` once) or "sequential" (unit
        by unit, one leaf opened after each bet; see `sequential.SequentialRecord`).
      claim: the claim if several models are queried: "one model", "any model" (at least one of
        them), "each model" (each named one) or "list of models" (a list with an expected share
        of false names).
      labels: `labels_digest` of the photos' class labels; "" if they are not fixed. Losses
        depend on the label, so anyone who can choose labels after seeing slots and answers can
        bias the test: an audit accepts an owner's labels only if their digest is given here.
      place: where the owner publishes commitments, such as a URL or a register; "" if not
        named. Commitments found there count towards the correction for multiple commitments.
      number: how many commitments the owner has made, with this one and those made together
        with it.
      rules: the query settings for each kind of access; with several rules of a kind the
        arbitrator may pick one, and p is multiplied by the number of choices. () means
        `default_rules`; a model watermark has none.
      references: `Declaration.digest` of each reference model whose scores are subtracted from
        a suspect's (`stats.calibrated_scores`), 64 hex digits each; sealed mode only. One that
        is not named here must be older than the beacon's value, and multiplies p.
      highest: whether the most informative kind that a suspect offers is used; otherwise every
        rule that it can answer is one of the choices.
      version: of the slot derivation; 2 for every new plan.

    Raises:
      TypeError, ValueError: a field of another type, alpha outside (0, 1), an unknown mode,
        claim or statistic, an invalid mark description, labels that are not a digest, two equal
        rules.

    Example:
      >>> Plan(statistic="losses", alpha=1e-6, mark="hue_rotation").alpha
      1e-06
    """

    statistic: str
    alpha: float
    mark: str = "hue_rotation"
    beacon: str = ""
    mode: str = "sealed"
    claim: str = "one model"
    labels: str = ""
    place: str = ""
    number: int = 1
    rules: tuple[AccessRule, ...] = ()
    highest: bool = True
    version: int = VERSION
    references: tuple[str, ...] = ()

    def __post_init__(self):
        for name in ("statistic", "beacon", "mark", "mode", "claim", "labels", "place"):
            _check.plain_text(**{name: getattr(self, name)})
        _check.one_of(MODES, mode=self.mode)
        _check.one_of(CLAIMS, claim=self.claim)
        check_mark(self.mark)
        check_statistic(self.statistic, self.mode, self.mark)
        if self.labels and not is_digest(self.labels):
            raise ValueError(
                f"labels must be 64 lower-case hex digits or empty, got {self.labels!r:.70}"
            )
        alpha = _check.in_open_interval(0.0, 1.0, alpha=self.alpha)
        object.__setattr__(self, "alpha", alpha)
        self._check_version()
        if self.version == 1:
            return
        read_beacon(self.beacon)
        number = _check.integer_at_least(1, number=self.number)
        object.__setattr__(self, "number", number)
        _check.is_instance(bool, highest=self.highest)
        rules = tuple(self.rules)
        if self.is_of_scheme:
            self._check_is_plain_scheme()
        elif not rules:
            rules = default_rules("owner" if self.labels else "arbitrator")
        object.__setattr__(self, "rules", rules)
        self._check_rules()
        self._check_references()

    def _check_version(self) -> None:
        version = _check.integer_at_least(1, version=self.version)
        if version > VERSION:
            raise ValueError(f"version must be at most {VERSION}, got {version}")
        object.__setattr__(self, "version", version)
        for field in dataclasses.fields(self):
            known = field.name in (*_FIELDS_OF_VERSION_1, "version")
            if version == 1 and not known and getattr(self, field.name) != field.default:
                # The commitment would not cover it, so it could be added afterwards.
                raise ValueError(
                    f"{field.name} must be left out of a plan of version 1, which has no such "
                    f"field; got {getattr(self, field.name)!r:.60}"
                )

    @property
    def is_of_scheme(self) -> bool:
        """Whether the plan is that of a model watermark (`anw_jax.schemes`)."""
        return is_scheme(self.mark)

    def _check_is_plain_scheme(self) -> None:
        for name in ("rules", "labels", "references"):
            if getattr(self, name):
                raise ValueError(
                    f"{name} must be left out of the plan of a model watermark, whose reader "
                    f"is fixed by its decoder; got {getattr(self, name)!r:.60}"
                )

    def _check_rules(self) -> None:
        for rule in self.rules:
            _check.is_instance(AccessRule, rules=rule)
            check_statistic(self.statistic_of(rule), self.mode)
            if self.mode == "sequential" and self.statistic_of(rule) != self.statistic:
                raise ValueError(
                    "rules of a sequential plan must have the plan's statistic, got "
                    f"{rule.statistic!r} for {rule.kind!r}"
                )
            if rule.labels == "owner" and not self.labels:
                raise ValueError(
                    "rules take the owner's labels and the plan commits to none: give labels, "
                    "or take them from the arbitrator or the model"
                )
        if len({rule.labels for rule in self.rules}) > 1:
            raise ValueError("rules must take the class numbers from one source")
        if len(set(self.rules)) < len(self.rules):
            raise ValueError("rules must differ from one another, got one twice")

    def _check_references(self) -> None:
        _check.is_instance(Sequence, references=self.references)
        references = tuple(self.references)
        object.__setattr__(self, "references", references)
        for digest in references:
            if not is_digest(digest):
                raise ValueError(
                    f"references must be 64 lower-case hex digits each, got {digest!r:.70}"
                )
        if len(set(references)) < len(references):
            raise ValueError("references must differ from one another, got one twice")
        if references and self.mode == "sequential":
            raise ValueError(
                "references must be left out of a sequential plan: their coefficients are "
                "fitted to the rows of all units"
            )

    def check_is_current(self) -> None:
        """Raise ValueError unless photos can be committed to under this plan.

        Plans of version 1 can only be replayed; those of model watermarks are for
        `commit_scheme`.
        """
        if self.is_of_scheme:
            raise ValueError(
                f"plan.mark must be a mark on photos, got {self.mark!r:.80}: commit to a model "
                "watermark with commit_scheme"
            )
        if self.version == 1:
            raise ValueError(
                f"plan.version must be {VERSION}, got 1: such plans can only be replayed"
            )

    def statistic_of(self, rule: AccessRule | None) -> str:
        """Return the statistic of a rule; the plan's if it is None or declares none."""
        return rule.statistic or self.statistic if rule is not None else self.statistic

    def open_rules(self, reachable: tuple[str, ...]) -> tuple[AccessRule, ...]:
        """Return the rules that may be declared for a suspect; if several, one is chosen.

        Args:
          reachable: the kinds of access that its answers can be converted to.

        Example:
          >>> plan = Plan("losses", 0.05)
          >>> [rule.kind for rule in plan.open_rules(("top_k", "label"))]
          ['top_k']
        """
        rules = [rule for rule in self.rules if rule.kind in reachable]
        if not self.highest or not rules:
            return tuple(rules)
        best = min(rules, key=lambda rule: KINDS.index(rule.kind)).kind
        return tuple(rule for rule in rules if rule.kind == best)

    def as_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values, as in `commitment.json`."""
        if self.version == 1:
            return {name: getattr(self, name) for name in _FIELDS_OF_VERSION_1}
        names = [field.name for field in dataclasses.fields(self)]
        body = {name: getattr(self, name) for name in names}
        if not self.references:
            del body["references"]  # as in the commitments made before there were any
        else:
            body["references"] = list(self.references)
        return {**body, "rules": [rule.as_json() for rule in self.rules]}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Plan":
        """Read the result of `as_json`; a plan without a version is of version 1.

        Raises:
          TypeError, ValueError: fields that are unknown or out of range.
        """
        _check.is_instance(Mapping, plan=body)
        rules = tuple(AccessRule.from_json(rule) for rule in body.get("rules", ()))
        return cls(**{**body, "rules": rules, "version": body.get("version", 1)})

    def to_bytes(self) -> bytes:
        """Serialise the plan as canonical JSON.

        Version 1 omits fields with their default value (no beacon, one model, no labels), as
        in the commitments made over its plans.
        """
        body = self.as_json()
        if self.version == 1:
            silent = {"beacon": "", "claim": CLAIMS[0], "labels": ""}
            body = {name: value for name, value in body.items() if silent.get(name) != value}
        return _json.canonical(body)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the plan, as hex; every slot depends on it."""
        return hashlib.sha256(_TAG_PLAN + self.to_bytes()).hexdigest()


def labels_digest(labels: Sequence[int]) -> str:
    """Compute the SHA-256, as hex, of class labels in the manifest's order (`Plan.labels`).

    Example:
      >>> labels_digest([0, 2])[:16]
      'fa3d959b397c5df2'
    """
    numbers = _json.canonical([int(label) for label in labels])
    return hashlib.sha256(_TAG_LABELS + numbers).hexdigest()


def public_seed(commitment: str, plan: Plan) -> int:
    """Compute the seed of the arbitrator's random choices: SHA-256(commitment ‖ plan).

    It is independent of the owner's key, and fixed by the commitment. Image augmentations have
    their own seed, `augmentation_seed`.

    Returns:
      An unsigned 64-bit integer.

    Example:
      >>> public_seed("00" * 32, Plan("losses", 0.1)) < 2**64
      True
    """
    digest = hashlib.sha256(_TAG_SEED + commitment.encode() + b"\0" + plan.to_bytes())
    return int.from_bytes(digest.digest()[:8], "big")


def augmentation_seed(commitment: str, plan: Plan) -> bytes:
    """Compute the seed of image augmentations in label-only audits.

    SHA-256(commitment ‖ plan), for `suspects.ask` and `anw audit`. Like `public_seed` it is
    fixed by the commitment and independent of keys. It does not depend on other owners of a
    case either, so none can choose a commitment that favours another owner.

    Returns:
      32 bytes.

    Raises:
      CommitmentError: an invalid commitment.

    Example:
      >>> augmentation_seed("00" * 32, Plan("losses", 0.1)).hex()[:16]
      'fb1ff5f7439d3871'
    """
    parts = [check_is_commitment(commitment).encode(), plan.to_bytes()]
    return hashlib.sha256(_TAG_CHANGES + length_prefixed(parts)).digest()
