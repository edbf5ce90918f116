"""A Merkle-tree commitment over (unit, slot, nonce) that can be opened one unit at a time.

In the sequential mode the owner opens one unit after each bet, so the key itself cannot be
revealed. Each unit is a leaf of a hash tree (Merkle 1987,
https://doi.org/10.1007/3-540-48184-2_32): the root commits to all of them, and a leaf is opened
with the sibling hashes along its path. Leaves, nodes, padding and root are hashed with separate
tags, so that none can be passed off as another (domain separation, RFC 6962, section 2.1).

An opening reveals the slot and nonce of its unit, and nothing about other units: their slots
are hidden by 256-bit nonces, derived from the key by HMAC-SHA-256 (as a pseudo-random
function) with another sub-key than the slots.

The root commits to the manifest (every digest, name and unit, in order), the plan, and one slot
for each unit. No leaf can be opened in two ways, unless SHA-256 collides.
"""

import dataclasses
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Any

from anw_jax import _check
from anw_jax.errors import CommitmentError
from anw_jax.keys import slots
from anw_jax.keys.digests import (
    check_is_commitment,
    is_digest,
    length_prefixed,
    node_hash,
    tree_levels,
)
from anw_jax.keys.manifest import Manifest
from anw_jax.keys.mark_key import MarkKey, check_is_mark_key
from anw_jax.keys.plan import Plan, public_seed

_TAG_LEAF = b"anw_jax/v1/unit-leaf\0"
_TAG_ORDER = b"anw_jax/v1/audit-order\0"
_TAG_ROOT = b"anw_jax/v1/unit-root\0"


@dataclasses.dataclass(frozen=True)
class LeafOpening:
    """The opening of one unit's leaf.

    Attributes:
      unit: the unit's number in the manifest.
      slot: the committed slot, in 1 … N - 1; with a beacon, a public offset is added modulo
        N - 1 before use.
      nonce: 64 hex digits.
      origin: the key's origin; "experiment" is never evidence.
      path: sibling hashes from the leaf to the root; 64 hex digits each.

    Raises:
      TypeError, ValueError: an invalid field.
    """

    unit: int
    slot: int = dataclasses.field(repr=False)
    nonce: str = dataclasses.field(repr=False)
    origin: str
    path: tuple[str, ...] = dataclasses.field(repr=False)

    def __post_init__(self):
        _check.integer_at_least(0, unit=self.unit)
        _check.integer_at_least(1, slot=self.slot)
        _check.plain_text(origin=self.origin)
        object.__setattr__(self, "path", tuple(self.path))
        for name, digits in [
            ("nonce", self.nonce),
            *(("path", digits) for digits in self.path),
        ]:
            if not is_digest(digits):
                raise ValueError(
                    f"{name} must hold 64 lower-case hex digits, got {digits!r:.70}"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the opening as plain JSON values."""
        return {**dataclasses.asdict(self), "path": list(self.path)}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> "LeafOpening":
        """Read what `to_dict` wrote.

        Raises:
          ValueError: fields are missing, unknown, or of another form.
        """
        try:
            return cls(**body)
        except TypeError as error:
            raise ValueError(f"not the opening of a leaf: {error}") from None


class UnitTree:
    """The owner's side of a sequential commitment; **secret**: its leaves hold all slots.

    Args:
      mark_key: the owner's secret.
      manifest: the units in their order.
      plan: with mode "sequential".

    Raises:
      TypeError: an argument is not what its name says.
      ValueError: the plan's mode is "sealed".
    """

    def __init__(self, mark_key: MarkKey, manifest: Manifest, plan: Plan):
        check_is_mark_key(mark_key)
        header = _header(manifest, plan)
        self._manifest, self._plan = manifest, plan
        self._origin = mark_key.origin
        self._leaves = list(
            zip(
                slots.committed_slots(mark_key, manifest, plan),
                slots.leaf_nonces(mark_key, manifest, plan),
                strict=True,
            )
        )
        hashes = [
            _leaf_hash(unit, digest, slot, nonce, self._origin)
            for unit, (digest, (slot, nonce)) in enumerate(
                zip(manifest.unit_digests, self._leaves, strict=True)
            )
        ]
        self._levels = tree_levels(hashes)
        self.root = _root(header, self._levels[-1][0])

    def offset_slots(self, beacon: bytes = b"") -> list[int]:
        """Return the slot each unit is marked with, in 1 … N - 1: the beacon's offset is added.

        Raises:
          CommitmentError: the beacon value is missing, unexpected or of the wrong length.
        """
        offsets = slots.offsets(self.root, self._manifest, self._plan, beacon)
        num_valid = self._manifest.space.num_valid
        pairs = zip(self._leaves, offsets, strict=True)
        return [_add_offset(slot, offset, num_valid) for (slot, _), offset in pairs]

    def open(self, unit: int) -> LeafOpening:
        """Open the leaf of one unit.

        Raises:
          TypeError, ValueError: not the number of a unit.
        """
        unit = _check.integer_at_least(0, unit=unit)
        if unit >= len(self._leaves):
            raise ValueError(f"unit must be below {len(self._leaves)}, got {unit}")
        path = [
            level[(unit >> depth) ^ 1].hex() for depth, level in enumerate(self._levels[:-1])
        ]
        slot, nonce = self._leaves[unit]
        return LeafOpening(unit, slot, nonce.hex(), self._origin, tuple(path))

    def __repr__(self) -> str:
        return f"UnitTree(root={self.root!r}, <{len(self._leaves)} secret leaves>)"

    def __reduce__(self):
        raise TypeError("a UnitTree cannot be pickled or copied: it holds every slot")


def commit_units(mark_key: MarkKey, manifest: Manifest, plan: Plan) -> str:
    """Commit to every unit separately, for the sequential mode: 64 hex digits.

    Publish it, or have it time-stamped, before the photos are published. It is binding for
    manifest, plan and one slot for each unit, and hides the slots. With a beacon, the leaves
    hold the slots before the beacon's offset is added (`assign`).

    Args:
      mark_key: the owner's secret.
      manifest: the units in their order.
      plan: statistic, level and mark, with mode "sequential".

    Returns:
      The root, as hex.

    Raises:
      TypeError: an argument is not what its name says.
      ValueError: the plan's mode is "sealed", or its version is 1.

    Example:
      >>> import numpy as np
      >>> from anw_jax.keys import SignatureSpace
      >>> photos = np.arange(36, dtype=np.uint8).reshape(3, 2, 2, 3)
      >>> manifest = Manifest.of(photos, SignatureSpace())
      >>> key, plan = MarkKey.for_experiment(0), Plan("losses", 0.1, mode="sequential")
      >>> root = commit_units(key, manifest, plan)
      >>> opening = UnitTree(key, manifest, plan).open(1)
      >>> slot = LeafChecker(root, manifest, plan).check(opening, unit=1)
      >>> from anw_jax.keys import assign
      >>> bool(slot == assign(key, manifest, plan).slot_of_unit[1])
      True
    """
    tree = UnitTree(mark_key, manifest, plan)
    plan.check_is_current()
    return tree.root


class LeafChecker:
    """The arbitrator's side: checks openings against one root.

    Args:
      commitment: the root published before training.
      manifest: the committed manifest.
      plan: the committed plan.
      beacon: the value of the beacon named in the plan; b"" if the plan names none.

    Raises:
      CommitmentError: the root is malformed, or the beacon value is missing, unexpected or of
        the wrong length.
    """

    def __init__(self, commitment: str, manifest: Manifest, plan: Plan, beacon: bytes = b""):
        self.commitment = check_is_commitment(commitment)
        self._header = _header(manifest, plan)
        self._digests = manifest.unit_digests
        self._num_valid = manifest.space.num_valid
        self._offsets = slots.offsets(commitment, manifest, plan, beacon)

    def check(self, opening: LeafOpening, *, unit: int) -> int:
        """Check an opening and return the slot of its unit, in 1 … N - 1.

        Raises:
          CommitmentError: the opening of another unit, a slot or nonce that was not committed
            to, or a path of the wrong length.
        """
        _check.is_instance(LeafOpening, opening=opening)
        if opening.unit != unit:
            raise CommitmentError(
                f"opening must be of unit {unit}, got that of unit {opening.unit}"
            )
        depth = (len(self._digests) - 1).bit_length()
        fits = (
            unit < len(self._digests)
            and opening.slot <= self._num_valid
            and len(opening.path) == depth
        )
        if not fits or not hmac.compare_digest(self._root_of(opening), self.commitment):
            raise CommitmentError(
                f"the leaf of unit {unit} does not open the commitment "
                f"{self.commitment[:16]!r}…: slot, nonce, path, manifest or plan differ from "
                "those fixed before training"
            )
        return _add_offset(opening.slot, self._offsets[unit], self._num_valid)

    def _root_of(self, opening: LeafOpening) -> str:
        unit = opening.unit
        nonce = bytes.fromhex(opening.nonce)
        digest = self._digests[unit]
        node = _leaf_hash(unit, digest, opening.slot, nonce, opening.origin)
        for depth, beside in enumerate(map(bytes.fromhex, opening.path)):
            pair = (beside, node) if unit >> depth & 1 else (node, beside)
            node = node_hash(*pair)
        return _root(self._header, node)


def leaves_not_from(
    mark_key: MarkKey, manifest: Manifest, plan: Plan, openings: Iterable[LeafOpening]
) -> list[int]:
    """Return the units whose opened leaf was not derived from this key.

    This is not necessarily fraud: with a beacon, any committed slot ends up uniform. It does
    mean that other software made the leaves, which the owner should explain.

    Returns:
      The units' numbers, in order.
    """
    tree = UnitTree(mark_key, manifest, plan)
    return sorted(leaf.unit for leaf in openings if tree.open(leaf.unit) != leaf)


def audit_order(commitment: str, plan: Plan, manifest: Manifest) -> tuple[int, ...]:
    """Compute the order in which a sequential audit queries units.

    It is derived from public data, so no party controls it: units are sorted by SHA-256(public
    seed ‖ unit digest), which does not depend on library versions.

    Returns:
      Each unit's number once.
    """
    seed = _TAG_ORDER + public_seed(commitment, plan).to_bytes(8, "big")
    places = [hashlib.sha256(seed + bytes.fromhex(d)).digest() for d in manifest.unit_digests]
    return tuple(sorted(range(len(places)), key=places.__getitem__))


def _header(manifest: Manifest, plan: Plan) -> bytes:
    _check.is_instance(Manifest, manifest=manifest)
    _check.is_instance(Plan, plan=plan)
    if plan.mode != "sequential":
        raise ValueError(
            f"plan.mode must be 'sequential' to commit to units one by one, got {plan.mode!r}"
        )
    if plan.version == 1:
        return length_prefixed([manifest.bytes_of_version_1(), plan.to_bytes()])
    return length_prefixed([bytes.fromhex(manifest.digest), plan.to_bytes()])


def _add_offset(slot: int, offset: int, num_valid: int) -> int:
    return 1 + (slot - 1 + offset) % num_valid


def _leaf_hash(unit: int, digest: str, slot: int, nonce: bytes, origin: str) -> bytes:
    parts = [unit.to_bytes(8, "big"), bytes.fromhex(digest), slot.to_bytes(4, "big"), nonce]
    return hashlib.sha256(_TAG_LEAF + length_prefixed([*parts, origin.encode()])).digest()


def _root(header: bytes, top: bytes) -> str:
    return hashlib.sha256(_TAG_ROOT + length_prefixed([header, top])).hexdigest()
