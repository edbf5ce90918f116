"""How plans of version 1 drew slots and nonces: read and replayed, never made.

Slots depended on key, N and the unit's own photos alone. An owner could preview them and
publish only what suited a model, so a verdict under such a plan is always conditional.
"""

import hmac

from anw_jax.keys.encoding import canonical
from anw_jax.keys.manifest import Manifest
from anw_jax.keys.mark_key import MarkKey

_TAG_BEACON = b"anw_jax/v1/beacon\0"
_TAG_OFFSET = b"anw_jax/v1/beacon-offset\0"
_TAG_SLOT = b"anw_jax/v1/slot\0"
_TAG_NONCE = b"anw_jax/v1/unit-nonce\0"


def sealed_slots(mark_key: MarkKey, manifest: Manifest, value: bytes) -> list[int]:
    """The slot of each unit in 1 … N - 1; a beacon's value is mixed into the slot sub-key."""
    slot_key = mark_key.sub_key("slots")
    if value:
        slot_key = hmac.digest(slot_key, _TAG_BEACON + value, "sha256")
    return _draws(slot_key, manifest)


def committed_slots(mark_key: MarkKey, manifest: Manifest) -> list[int]:
    """The slots that leaves commit to."""
    return _draws(mark_key.sub_key("slots"), manifest)


def offsets(manifest: Manifest, value: bytes) -> list[int]:
    """The turn of each committed slot, in 0 … N - 2; zeros without a beacon."""
    if not value:
        return [0] * manifest.num_units
    slots = _draws(hmac.digest(_TAG_OFFSET, value, "sha256"), manifest)
    return [slot - 1 for slot in slots]


def leaf_nonces(mark_key: MarkKey, manifest: Manifest) -> list[bytes]:
    """The nonce of each unit's leaf."""
    nonce_key = mark_key.sub_key("unit nonces")
    return [
        hmac.digest(nonce_key, _TAG_NONCE + bytes.fromhex(digest), "sha256")
        for digest in manifest.unit_digests
    ]


def manifest_bytes(manifest: Manifest, **more: object) -> bytes:
    """All that a commitment bound of a manifest, and more."""
    body = {
        "file_names": manifest.file_names,
        "image_digests": manifest.image_digests,
        "num_slots": manifest.space.num_slots,
        "scheme": manifest.scheme,
        "unit_of_image": manifest.unit_of_image,
        "units": manifest.unit_digests,
    }
    return canonical({**body, **more})


def _draws(slot_key: bytes, manifest: Manifest) -> list[int]:
    num_valid = manifest.space.num_valid
    return [_draw(slot_key, digest, num_valid) for digest in manifest.unit_digests]


def _draw(slot_key: bytes, unit_digest: str, num_valid: int) -> int:
    limit = 2**256 // num_valid * num_valid
    prefix = _TAG_SLOT + num_valid.to_bytes(4, "big") + bytes.fromhex(unit_digest)
    counter = 0
    while True:
        message = prefix + counter.to_bytes(4, "big")
        number = int.from_bytes(hmac.digest(slot_key, message, "sha256"), "big")
        if number < limit:
            return 1 + number % num_valid
        counter += 1
