"""Owner keys, manifests, plans and commitments.

* `SignatureSpace`: the N hue slots; slot 0 means "unmarked".
* `MarkKey`: 256 secret bits. **Secret:** its bytes and its sub-keys.
* `Manifest`: which photos form which units. Public to the arbitrator; contains no slots.
* `Units`, `Assignment`: the unit of each image; and, **secret**, the slot of each unit.
* `Plan`, `AccessRule`: how the test will be run, fixed before training; `beacons` are public
  random values that a plan may name, and `stamps` prove that a commitment is older than one.
* `commit`, `check_commitment`: make a commitment before training, and verify it.
* `assign`: key + manifest + plan + beacon value → one slot per unit, by a keyed
  pseudo-random function.
* `UnitSlots`: the slots of `assign`, drawn from a unit's digest alone. **Secret.**
* `commit_units`, `UnitTree`, `LeafChecker`: the same for the sequential mode, unit by unit.
  `UnitTree` is **secret**; a `LeafOpening` must stay secret until the bet on its unit is
  recorded.
* `commit_scheme`, `draw_bits`, `one_time_key`: the same for the bits of a model watermark
  (`anw_jax.schemes`), and `customer_code` for those of one customer; `Bits` are **secret**.

The statistics rely on this guarantee: for a key drawn by `MarkKey.generate`, the slots of
distinct units are independent and uniform over the N - 1 valid slots for anyone without the
key (HMAC-SHA-256 as a pseudo-random function; rejection sampling, so no modulo bias).
"""

from anw_jax.keys import beacons, stamps
from anw_jax.keys.bits import (
    Bits,
    check_scheme_commitment,
    commit_scheme,
    customer_code,
    draw_bits,
    one_time_key,
)
from anw_jax.keys.commitment import assign, check_commitment, commit
from anw_jax.keys.digests import image_digest
from anw_jax.keys.leaves import (
    LeafChecker,
    LeafOpening,
    UnitTree,
    audit_order,
    commit_units,
    leaves_not_from,
)
from anw_jax.keys.manifest import ChangedPixelsWarning, Manifest
from anw_jax.keys.mark_key import MarkKey
from anw_jax.keys.plan import CLAIMS, MODES, Plan, augmentation_seed, public_seed
from anw_jax.keys.plan_fields import AccessRule, Denoising
from anw_jax.keys.slots import UnitSlots
from anw_jax.keys.units import SCHEMES, Assignment, SignatureSpace, Units

__all__ = [
    "CLAIMS",
    "MODES",
    "SCHEMES",
    "AccessRule",
    "Assignment",
    "Bits",
    "ChangedPixelsWarning",
    "Denoising",
    "LeafChecker",
    "LeafOpening",
    "Manifest",
    "MarkKey",
    "Plan",
    "SignatureSpace",
    "UnitSlots",
    "UnitTree",
    "Units",
    "assign",
    "audit_order",
    "augmentation_seed",
    "beacons",
    "check_commitment",
    "check_scheme_commitment",
    "commit",
    "commit_scheme",
    "commit_units",
    "customer_code",
    "draw_bits",
    "image_digest",
    "leaves_not_from",
    "one_time_key",
    "public_seed",
    "stamps",
]
