"""The owner's secrets, and what is public about them.

* `SignatureSpace`: the N hue slots; slot 0 means "unmarked".
* `MarkKey`: 256 secret bits. **Secret:** its bytes, its sub-keys, every `Assignment`.
* `Manifest`: which photos form which units. Public to the arbitrator; holds no slot.
* `assign`: key + photos → one slot per unit, by a keyed pseudo-random function.
* `Plan`, `commit`, `check_commitment`: what is fixed before training, and the check.

Guarantee that the statistics rest on: for a key drawn by `MarkKey.generate`, the slots of
distinct units are independent and uniform over the N - 1 valid slots, as seen by anybody
without the key (HMAC-SHA-256 as a pseudo-random function; rejection, so no modulo bias).
"""

from anw_jax.keys.assignment import Assignment, assign
from anw_jax.keys.commitment import Plan, check_commitment, commit, public_seed
from anw_jax.keys.manifest import ChangedPixelsWarning, Manifest
from anw_jax.keys.mark_key import MarkKey
from anw_jax.keys.space import SignatureSpace
from anw_jax.keys.units import SCHEMES, image_digest

__all__ = [
    "SCHEMES",
    "Assignment",
    "ChangedPixelsWarning",
    "Manifest",
    "MarkKey",
    "Plan",
    "SignatureSpace",
    "assign",
    "check_commitment",
    "commit",
    "image_digest",
    "public_seed",
]
