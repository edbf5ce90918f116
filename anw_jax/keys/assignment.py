"""From a key and photos to secret slots."""

import dataclasses
import hmac
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from anw_jax import _check
from anw_jax.keys import units
from anw_jax.keys.commitment import MODES
from anw_jax.keys.manifest import Manifest
from anw_jax.keys.mark_key import MarkKey, check_is_mark_key
from anw_jax.keys.space import SignatureSpace

_TAG_BEACON = b"anw_jax/v1/beacon\0"
_TAG_OFFSET = b"anw_jax/v1/beacon-offset\0"
_TAG_SLOT = b"anw_jax/v1/slot\0"


@dataclasses.dataclass(frozen=True, eq=False)
class Assignment:
    """Which unit each image belongs to, and the secret slot of each unit.

    The statistics take this and nothing less: the randomness belongs to units, and a bare
    array of slots, one per image, would let one user's single draw count many times.

    Attributes:
      unit_of_image: int64 `[num_images]`, units numbered from 0 without gaps.
      slot_of_unit: int64 `[num_units]`, each in 1 … N - 1. Secret.
      space: the signature space, which holds N.
      scheme: "per_image", "per_group" or "per_user".
      is_copy: bool `[num_images]`, true where an image is byte-identical to an earlier
        one; copies are marked alike and counted once.

    Raises:
      ValueError: units with gaps, slots outside 1 … N - 1, or more than one unit with
        scheme "per_user".
    """

    unit_of_image: np.ndarray
    slot_of_unit: np.ndarray = dataclasses.field(repr=False)
    space: SignatureSpace
    scheme: str = "per_image"
    is_copy: np.ndarray | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self):
        _check.one_of(units.SCHEMES, scheme=self.scheme)
        _check.is_instance(SignatureSpace, space=self.space)
        unit_of_image = _integer_vector(unit_of_image=self.unit_of_image)
        slot_of_unit = _integer_vector(slot_of_unit=self.slot_of_unit)
        num_units = len(slot_of_unit)
        if not np.array_equal(np.unique(unit_of_image), np.arange(num_units)):
            raise ValueError(
                f"unit_of_image must use each unit 0 … {num_units - 1} at least once and no "
                "other"
            )
        if slot_of_unit.min() < 1 or slot_of_unit.max() > self.space.num_valid:
            raise ValueError(f"slot_of_unit must lie in 1 … {self.space.num_valid}")
        if self.scheme == "per_user" and num_units != 1:
            raise ValueError(f"scheme 'per_user' has exactly one unit, got {num_units}")
        is_copy = np.zeros(len(unit_of_image), bool) if self.is_copy is None else self.is_copy
        is_copy = np.array(is_copy, bool)
        if is_copy.shape != unit_of_image.shape:
            raise ValueError(f"is_copy must have shape {unit_of_image.shape}")
        arrays = {
            "unit_of_image": unit_of_image,
            "slot_of_unit": slot_of_unit,
            "is_copy": is_copy,
        }
        for name, array in arrays.items():
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def num_images(self) -> int:
        """How many images, copies included."""
        return len(self.unit_of_image)

    @property
    def num_units(self) -> int:
        """How many independent draws the slots are."""
        return len(self.slot_of_unit)

    @property
    def slots(self) -> np.ndarray:
        """The secret slot of each image, int64 `[num_images]`: for marking only."""
        return self.slot_of_unit[self.unit_of_image]

    @property
    def degrees(self) -> np.ndarray:
        """The secret hue of each image in degrees, float64 `[num_images]`."""
        return self.space.degrees[self.slots]


def assign(
    mark_key: MarkKey,
    images: Iterable[np.ndarray] | Manifest,
    space: SignatureSpace | None = None,
    scheme: str | None = None,
    groups: Sequence[Hashable] | None = None,
    *,
    beacon: bytes = b"",
    mode: str = "sealed",
) -> Assignment:
    """Draws one valid slot per unit with a pseudo-random function of the key.

    The slot of a unit is HMAC-SHA-256(slot sub-key, tag ‖ N ‖ unit digest ‖ counter), read
    as a 256-bit number and reduced to 1 … N - 1; numbers beyond the last full multiple of
    N - 1 are rejected and the counter raised, so no slot is favoured.

    Args:
      mark_key: the owner's secret.
      images: uint8 originals `[H, W, 3]` each, or the `Manifest` made from them; a manifest
        already fixes `space`, `scheme` and the units.
      space: the signature space; default `SignatureSpace()`.
      scheme: "per_image" (default), "per_group" or "per_user".
      groups: with "per_group", the album of each image.
      beacon: the value of the public beacon that the plan named, published after the
        commitment; b"" for none.
      mode: how the plan opens slots; matters with a beacon only. "sealed" mixes its value
        into the slot sub-key; "sequential" turns each committed slot by an offset drawn from
        it (`turn_by_beacon`), so that one leaf can be opened without the key.

    Returns:
      The `Assignment`: a pure function of its arguments. Secret.

    Raises:
      TypeError, ValueError: bad images or scheme (see `Manifest.of`), an unknown mode, or a
        manifest given together with what it already fixes.

    Example:
      >>> photos = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)
      >>> assignment = assign(MarkKey.for_experiment(seed=7), photos)
      >>> assignment.num_units, assignment.slots.tolist()
      (2, [9, 4])
    """
    check_is_mark_key(mark_key)
    if isinstance(images, Manifest):
        if not (space is None and scheme is None and groups is None):
            raise ValueError("space, scheme and groups are fixed by the manifest: omit them")
        manifest = images
    else:
        manifest = Manifest.of(images, space or SignatureSpace(), scheme or "per_image", groups)
    _check.one_of(MODES, mode=mode)
    slot_key = mark_key.sub_key("slots")
    if _check.is_instance(bytes, beacon=beacon) and mode == "sealed":
        slot_key = hmac.digest(slot_key, _TAG_BEACON + beacon, "sha256")
    num_valid = manifest.space.num_valid
    slots = [draw_slot(slot_key, digest, num_valid) for digest in manifest.unit_digests]
    if mode == "sequential":
        slots = [
            turn_by_beacon(slot, digest, num_valid, beacon)
            for slot, digest in zip(slots, manifest.unit_digests, strict=True)
        ]
    return Assignment(
        np.asarray(manifest.unit_of_image),
        np.asarray(slots),
        manifest.space,
        manifest.scheme,
        np.asarray(manifest.is_copy),
    )


def draw_slot(slot_key: bytes, unit_digest: str, num_valid: int) -> int:
    """The slot in 1 … num_valid that a slot sub-key gives to a unit."""
    limit = 2**256 // num_valid * num_valid
    prefix = _TAG_SLOT + num_valid.to_bytes(4, "big") + bytes.fromhex(unit_digest)
    counter = 0
    while True:
        message = prefix + counter.to_bytes(4, "big")
        number = int.from_bytes(hmac.digest(slot_key, message, "sha256"), "big")
        if number < limit:
            return 1 + number % num_valid
        counter += 1


def turn_by_beacon(slot: int, unit_digest: str, num_valid: int, beacon: bytes) -> int:
    """The committed slot turned by the unit's public offset; unchanged without a beacon.

    The offset is drawn like a slot, from the beacon's value and the unit's digest. Slots are
    committed before the value exists, and a uniform offset makes any of them uniform: whatever
    an owner committed to, his slots are as independent draws.
    """
    if not beacon:
        return slot
    offset_key = hmac.digest(_TAG_OFFSET, beacon, "sha256")
    offset = draw_slot(offset_key, unit_digest, num_valid) - 1
    return 1 + (slot - 1 + offset) % num_valid


def _integer_vector(**named) -> np.ndarray:
    ((name, value),) = named.items()
    array = np.array(value)
    if array.ndim != 1 or array.size == 0 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must be a non-empty vector of integers")
    return array.astype(np.int64)
