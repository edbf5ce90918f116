"""Derive slots, nonces and offsets from committed inputs.

Every slot depends on the whole manifest and the whole plan, and on a beacon value that is
published after both were committed to. So keys, photos and plans cannot be selected for the
slots that they produce: changing any of them redraws every slot, and no slot is known before
the value is published.

Fields are length-prefixed so that the encoding is unambiguous.

Under plans of version 1, which can only be replayed, slots depended only on the key, N and the
unit's own photos. An owner could preview them and publish only photos that suited a model, so a
verdict under such a plan is always conditional.
"""

import dataclasses
import functools
import hashlib
import hmac
from collections.abc import Callable

from anw_jax import _check
from anw_jax.errors import CommitmentError
from anw_jax.keys.beacons import check_value
from anw_jax.keys.digests import length_prefixed
from anw_jax.keys.manifest import Manifest
from anw_jax.keys.mark_key import MarkKey
from anw_jax.keys.plan import Plan

_TAG_SLOT = b"anw_jax/v2/slot\0"
_TAG_COMMITTED = b"anw_jax/v2/committed-slot\0"
_TAG_OFFSET = b"anw_jax/v2/beacon-offset\0"
_TAG_NONCE = b"anw_jax/v2/nonce\0"
_TAG_BEACON_1 = b"anw_jax/v1/beacon\0"
_TAG_SLOT_1 = b"anw_jax/v1/slot\0"
_TAG_OFFSET_1 = b"anw_jax/v1/beacon-offset\0"
_TAG_NONCE_1 = b"anw_jax/v1/unit-nonce\0"

# HMAC's two pads, as tables for `bytes.translate`; SHA-256 has blocks of 64 bytes.
_BLOCK = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))

_COUNTER_LENGTH = length_prefixed([bytes(4)])[:-4]

MacFn = Callable[[bytes], bytes]


def fixed_fields(manifest: Manifest, plan: Plan) -> list[bytes]:
    """Return the inputs of every draw: N, manifest digest, plan digest, beacon name."""
    return _fixed(manifest.space.num_slots, manifest.digest, plan)


def _fixed(num_slots: int, manifest: str, plan: Plan) -> list[bytes]:
    return [
        num_slots.to_bytes(4, "big"),
        bytes.fromhex(manifest),
        bytes.fromhex(plan.digest),
        plan.beacon.encode(),
    ]


def sealed_slots(mark_key: MarkKey, manifest: Manifest, plan: Plan, value: bytes) -> list[int]:
    """Draw the slot of each unit, in 1 … N - 1, in the sealed mode.

    HMAC-SHA-256(slot sub-key, tag ‖ N ‖ manifest digest ‖ plan digest ‖ beacon name ‖ beacon
    value ‖ unit digest ‖ counter), by rejection sampling (`draw`).
    """
    slot_key = mark_key.sub_key("slots")
    if plan.version == 1:
        if value:
            slot_key = hmac.digest(slot_key, _TAG_BEACON_1 + value, "sha256")
        return _draws_1(slot_key, manifest)
    draws = UnitSlots(slot_key, manifest.space.num_slots, manifest.digest, plan, value)
    return [draws.slot_of(unit) for unit in manifest.unit_digests]


@dataclasses.dataclass(frozen=True)
class UnitSlots:
    """Draws the slot that a unit is marked with from the unit's digest alone. **Secret**.

    Many machines can mark a part of the photos each: none of them needs the manifest. The slots
    are those of `assign`.

    Attributes:
      slot_key: 32 secret bytes, `mark_key.sub_key("slots")`.
      num_slots: N.
      manifest: the manifest's digest.
      plan: the committed plan, of the current version.
      value: of the beacon that the plan names; b"" if it names none.
      root: in the sequential mode the commitment; "" in the sealed mode.

    Raises:
      CommitmentError: the beacon value is missing, unexpected or of the wrong length.
      ValueError: a plan of version 1; a root in the sealed mode, or none in the sequential.
    """

    slot_key: bytes = dataclasses.field(repr=False)
    num_slots: int
    manifest: str
    plan: Plan
    value: bytes = b""
    root: str = ""

    def __post_init__(self):
        self.plan.check_is_current()
        check_beacon(self.plan, self.value)
        if (self.plan.mode == "sequential") != bool(self.root):
            raise ValueError(
                "root must be the commitment with a sequential plan and '' with a sealed one, "
                f"got {self.root!r:.40} with mode {self.plan.mode!r}"
            )

    @functools.cached_property
    def _macs(self) -> tuple[MacFn, MacFn | None]:
        """Return the function that draws the slot, and that of its public offset, if any."""
        fields = _fixed(self.num_slots, self.manifest, self.plan)
        if not self.root:
            return _hmac(
                self.slot_key, _TAG_SLOT + length_prefixed([*fields, self.value])
            ), None
        committed = _hmac(self.slot_key, _TAG_COMMITTED + length_prefixed(fields))
        if not self.value:
            return committed, None
        num_slots, _, *of_plan = fields
        public = [num_slots, bytes.fromhex(self.root), *of_plan, self.value]
        return committed, _sha256(_TAG_OFFSET + length_prefixed(public))

    def slot_of(self, unit_digest: str) -> int:
        """Return the slot of the unit with this digest, in 1 … N - 1."""
        (mac, offset_mac), num_valid = self._macs, self.num_slots - 1
        unit = length_prefixed([bytes.fromhex(unit_digest)])
        slot = draw(mac, unit, num_valid)
        offset = 0 if offset_mac is None else draw(offset_mac, unit, num_valid) - 1
        return 1 + (slot - 1 + offset) % num_valid

    def __reduce__(self):  # without the cached functions, which cannot be pickled
        fields = (getattr(self, field.name) for field in dataclasses.fields(self))
        return type(self), tuple(fields)


def committed_slots(mark_key: MarkKey, manifest: Manifest, plan: Plan) -> list[int]:
    """Draw the slots that leaves commit to, which do not depend on the beacon value."""
    slot_key = mark_key.sub_key("slots")
    if plan.version == 1:
        return _draws_1(slot_key, manifest)
    prefix = _TAG_COMMITTED + length_prefixed(fixed_fields(manifest, plan))
    return _draws(_hmac(slot_key, prefix), manifest)


def offsets(root: str, manifest: Manifest, plan: Plan, value: bytes) -> list[int]:
    """Draw the public offset of each committed slot, in 0 … N - 2; zeros without a beacon.

    Drawn from tag ‖ N ‖ root ‖ plan digest ‖ beacon name ‖ value ‖ unit digest. A uniform
    offset makes the slot uniform, whatever slots the owner committed to.

    Raises:
      CommitmentError: see `check_beacon`.
    """
    if not check_beacon(plan, value):
        return [0] * manifest.num_units
    if plan.version == 1:
        draws = _draws_1(hmac.digest(_TAG_OFFSET_1, value, "sha256"), manifest)
    else:
        num_slots, _, plan_digest, name = fixed_fields(manifest, plan)
        fields = [num_slots, bytes.fromhex(root), plan_digest, name, value]
        draws = _draws(_sha256(_TAG_OFFSET + length_prefixed(fields)), manifest)
    return [slot - 1 for slot in draws]


def nonce(nonce_key: bytes, manifest: Manifest, plan: Plan) -> bytes:
    """Derive the 32-byte nonce that makes a commitment hiding."""
    fields = [*fixed_fields(manifest, plan), b""]
    return hmac.digest(nonce_key, _TAG_NONCE + length_prefixed(fields), "sha256")


def leaf_nonces(mark_key: MarkKey, manifest: Manifest, plan: Plan) -> list[bytes]:
    """Derive 32 bytes for each unit's leaf, from the fixed fields and the unit's digest."""
    nonce_key = mark_key.sub_key("unit nonces")
    if plan.version == 1:
        mac = _hmac(nonce_key, _TAG_NONCE_1)
        return [mac(unit) for unit in _plain_units(manifest)]
    mac = _hmac(nonce_key, _TAG_NONCE + length_prefixed(fixed_fields(manifest, plan)))
    return [mac(unit) for unit in manifest.length_prefixed_units]


def check_beacon(plan: Plan, value: bytes) -> bytes:
    """Check that a beacon value is given if and only if the plan names a beacon; return it.

    Raises:
      CommitmentError: the value is missing, unexpected or of the wrong length.
    """
    if bool(plan.beacon) != bool(_check.is_instance(bytes, beacon=value)):
        named = repr(plan.beacon) if plan.beacon else "no beacon"
        raise CommitmentError(
            f"the plan names {named} and a value is {'given' if value else 'missing'}: "
            "give the value if and only if one is named"
        )
    if value and plan.version > 1:
        try:
            check_value(plan.beacon, value)
        except ValueError as error:
            raise CommitmentError(str(error)) from None
    return value


def draw(mac: MacFn, message: bytes, num_valid: int, length: bytes = _COUNTER_LENGTH) -> int:
    """Draw a number in 1 … num_valid from a pseudo-random function, by rejection sampling.

    256-bit numbers beyond the last full multiple of `num_valid` are rejected and a counter is
    incremented, so all slots are equally likely. The counter is prefixed by its `length`, which
    is b"" in version 1.
    """
    limit = 2**256 // num_valid * num_valid
    message, counter = message + length, 0
    while (number := int.from_bytes(mac(message + counter.to_bytes(4, "big")), "big")) >= limit:
        counter += 1
    return 1 + number % num_valid


def _draws(mac: MacFn, manifest: Manifest) -> list[int]:
    num_valid = manifest.space.num_valid
    return [draw(mac, unit, num_valid) for unit in manifest.length_prefixed_units]


def _draws_1(slot_key: bytes, manifest: Manifest) -> list[int]:
    num_valid = manifest.space.num_valid
    mac = _hmac(slot_key, _TAG_SLOT_1 + num_valid.to_bytes(4, "big"))
    return [draw(mac, unit, num_valid, length=b"") for unit in _plain_units(manifest)]


def _plain_units(manifest: Manifest) -> list[bytes]:
    """Return the digest of each unit without a length prefix, as in version 1."""
    return [bytes.fromhex(digest) for digest in manifest.unit_digests]


def _hmac(key: bytes, prefix: bytes) -> MacFn:
    """Return HMAC-SHA-256 of prefix ‖ message; the prefix is hashed once (RFC 2104)."""
    padded = key.ljust(_BLOCK, b"\0")
    inner, outer = _sha256(padded.translate(_INNER) + prefix), _sha256(padded.translate(_OUTER))
    return lambda message: outer(inner(message))


def _sha256(prefix: bytes) -> MacFn:
    """Return SHA-256 of prefix ‖ message; the prefix is hashed once."""
    started = hashlib.sha256(prefix)

    def finish(message: bytes) -> bytes:
        hashed = started.copy()
        hashed.update(message)
        return hashed.digest()

    return finish
