"""The plan: how the one test will be made, declared before training."""

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
)

MODES = ("sealed", "sequential")

# Which question several tests answer together; `stats.several` has the corrections.
CLAIMS = ("one model", "any model", "each model", "list of models")

# Version 1 is only read and replayed: its slots did not depend on the whole manifest,
# and its plans left the choice of access to the arbitrator (`keys.slots`).
VERSION = 2

_TAG_PLAN = b"anw_jax/v2/plan\0"
_TAG_LABELS = b"anw_jax/v1/labels\0"
_TAG_SEED = b"anw_jax/v1/public-seed\0"
_TAG_CHANGES = b"anw_jax/v1/audit-seed\0"
_FIELDS_OF_VERSION_1 = ("statistic", "alpha", "mark", "beacon", "mode", "claim", "labels")


@dataclasses.dataclass(frozen=True)
class Plan:
    """How the one test will be made; declared before training, public.

    Attributes:
      statistic: the name of the one statistic the verdict uses (`stats.STATISTICS`); in the
        sequential mode one of `stats.SEQUENTIAL_STATISTICS`.
      alpha: the level below which use is called *shown*, in (0, 1).
      mark: the mark's `description`, such as "hue_rotation"; a private basis stands here
        with the digest of its sub-key. A mark that is not in `anw_jax.marks` calls itself
        "own:" and more; who judges it needs its code, and `anw` does not audit it.
      beacon: names a public random value that does not exist yet (`keys.beacons`); "" for
        none. Its value is mixed into every slot (`assign`), so that an owner cannot have
        chosen keys, photos or plans by their slots. A text of no known kind is allowed, and
        makes every verdict conditional.
      mode: "sealed" (full table, its hash, the key, `exact_test` once) or "sequential" (unit
        by unit, one leaf opened after each bet; see `sequential.SequentialRecord`).
      claim: what is claimed where several models are asked: "one model", "any model" (at
        least one of them), "each model" (each named one) or "list of models" (a list with an
        expected share of false names).
      labels: `labels_digest` of the photos' class numbers; "" where they are not fixed. A loss
        is read at a photo's label, so whoever may choose labels when slots and answers are
        known chooses the evidence: an audit takes an owner's labels only if they stand here.
      place: where the owner publishes commitments, such as an address or a register; "" where
        none is named. Commitments found there are counted against him.
      number: which of the owner's commitments this is, from 1.
      rules: what is asked for each kind of access; several rules of one kind are a menu from
        which the arbitrator may choose, at the price of a factor. () for the default rules.
      highest: whether the highest kind that a suspect offers is taken; else every rule that it
        can answer is part of the menu.
      version: of the rules by which slots are drawn; 2 for every new plan.

    Raises:
      TypeError, ValueError: a field of another type, alpha outside (0, 1), an unknown mode,
        claim or statistic, a mark that no mark's description could be, labels that are no
        digest, two equal rules.

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

    def __post_init__(self):
        for name in ("statistic", "beacon", "mark", "mode", "claim", "labels", "place"):
            _check.plain_text(**{name: getattr(self, name)})
        _check.one_of(MODES, mode=self.mode)
        _check.one_of(CLAIMS, claim=self.claim)
        check_statistic(self.statistic, self.mode)
        check_mark(self.mark)
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
        rules = tuple(self.rules) or default_rules("owner" if self.labels else "arbitrator")
        object.__setattr__(self, "rules", rules)
        self._check_rules()

    def _check_version(self) -> None:
        version = _check.integer_at_least(1, version=self.version)
        if version > VERSION:
            raise ValueError(f"version must be at most {VERSION}, got {version}")
        object.__setattr__(self, "version", version)
        for field in dataclasses.fields(self):
            known = field.name in (*_FIELDS_OF_VERSION_1, "version")
            if version == 1 and not known and getattr(self, field.name) != field.default:
                # No commitment would cover it, so it could be added afterwards.
                raise ValueError(
                    f"{field.name} must be left out of a plan of version 1, which has no such "
                    f"field; got {getattr(self, field.name)!r:.60}"
                )

    def _check_rules(self) -> None:
        for rule in self.rules:
            _check.is_instance(AccessRule, rules=rule)
            check_statistic(self.statistic_of(rule), self.mode)
            if self.mode == "sequential" and self.statistic_of(rule) != self.statistic:
                raise ValueError(
                    "rules of a sequential plan have the plan's statistic, got "
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

    def check_is_current(self) -> None:
        """Refuse a plan of a version that is only replayed.

        Raises:
          ValueError: it is of version 1.
        """
        if self.version == 1:
            raise ValueError("plan.version is 1: such plans are replayed, and no longer made")

    def statistic_of(self, rule: AccessRule | None) -> str:
        """Return the statistic of one kind of access."""
        return rule.statistic or self.statistic if rule is not None else self.statistic

    def open_rules(self, reachable: tuple[str, ...]) -> tuple[AccessRule, ...]:
        """Return the rules from which one may be declared for a suspect; several are a menu.

        Args:
          reachable: the kinds of access that its answers can be turned into.

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
        """Return the plan as plain JSON values, as `commitment.json` holds it."""
        if self.version == 1:
            return {name: getattr(self, name) for name in _FIELDS_OF_VERSION_1}
        names = [field.name for field in dataclasses.fields(self)]
        body = {name: getattr(self, name) for name in names}
        return {**body, "rules": [rule.as_json() for rule in self.rules]}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Plan":
        """Read what `as_json` gave; a plan that names no version is of version 1.

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
        """SHA-256 of the plan, as hex: what slots depend on."""
        return hashlib.sha256(_TAG_PLAN + self.to_bytes()).hexdigest()


def labels_digest(labels: Sequence[int]) -> str:
    """Compute the SHA-256, as hex, of class numbers in the manifest's order (`Plan.labels`).

    Example:
      >>> labels_digest([0, 2])[:16]
      'fa3d959b397c5df2'
    """
    numbers = _json.canonical([int(label) for label in labels])
    return hashlib.sha256(_TAG_LABELS + numbers).hexdigest()


def public_seed(commitment: str, plan: Plan) -> int:
    """Compute the seed of the arbitrator's random choices: SHA-256(commitment ‖ plan).

    It does not depend on the owner's key, and nobody can choose it after the commitment.

    Returns:
      An integer of 64 bits. (`augmentation_seed` is that of image augmentations.)

    Example:
      >>> public_seed("00" * 32, Plan("losses", 0.1)) < 2**64
      True
    """
    digest = hashlib.sha256(_TAG_SEED + commitment.encode() + b"\0" + plan.to_bytes())
    return int.from_bytes(digest.digest()[:8], "big")


def augmentation_seed(commitment: str, plan: Plan) -> bytes:
    """Compute the seed of image augmentations in label-only audits.

    SHA-256(commitment ‖ plan), for `suspects.ask` and `anw audit`. As with `public_seed`,
    nobody can choose it after the commitment, and it depends on no key. Other owners of a case
    do not affect it either, so none can choose a commitment that favours another owner.

    Returns:
      32 bytes.

    Raises:
      CommitmentError: what is no commitment.

    Example:
      >>> augmentation_seed("00" * 32, Plan("losses", 0.1)).hex()[:16]
      'fb1ff5f7439d3871'
    """
    parts = [check_is_commitment(commitment).encode(), plan.to_bytes()]
    return hashlib.sha256(_TAG_CHANGES + length_prefixed(parts)).digest()
