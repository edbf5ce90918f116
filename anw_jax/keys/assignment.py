"""From a key and photos to secret slots."""

import dataclasses

import numpy as np

from anw_jax import _check
from anw_jax.keys import units
from anw_jax.keys.leaves import UnitTree
from anw_jax.keys.manifest import Manifest
from anw_jax.keys.mark_key import MarkKey, check_is_mark_key
from anw_jax.keys.plan import Plan
from anw_jax.keys.slots import check_beacon, sealed_slots
from anw_jax.keys.space import SignatureSpace
from anw_jax.keys.version_1 import sealed_slots as sealed_slots_of_version_1


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
    mark_key: MarkKey, manifest: Manifest, plan: Plan, *, beacon: bytes = b""
) -> Assignment:
    """Draws one valid slot per unit with a pseudo-random function of the key.

    In the sealed mode the slot of a unit is HMAC-SHA-256(slot sub-key, tag ‖ N ‖ manifest
    digest ‖ plan digest ‖ beacon name ‖ beacon value ‖ unit digest ‖ counter), reduced to
    1 … N - 1 by rejection, so that no slot is favoured. In the sequential mode each committed
    slot is drawn the same way without the value, and then turned by a public offset that
    depends on the value (`keys.slots`).

    Any other photo, name, order, level or beacon draws all slots anew, and with a beacon none
    is known before its value is: nothing can be chosen by the slots it would get.

    Args:
      mark_key: the owner's secret.
      manifest: the units of the originals, as committed to.
      plan: as committed to.
      beacon: the value of the public beacon that the plan names, published after the
        commitment; b"" where it names none.

    Returns:
      The `Assignment`: a pure function of its arguments. Secret.

    Raises:
      TypeError: an argument is not what its name says.
      CommitmentError: a value that is missing, not planned, or of another length.

    Example:
      >>> photos = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)
      >>> manifest = Manifest.of(photos, SignatureSpace())
      >>> assignment = assign(MarkKey.for_experiment(seed=7), manifest, Plan("losses", 0.1))
      >>> assignment.num_units, assignment.slots.tolist()
      (2, [7, 5])
    """
    check_is_mark_key(mark_key)
    _check.is_instance(Manifest, manifest=manifest)
    _check.is_instance(Plan, plan=plan)
    check_beacon(plan, beacon)
    if plan.mode == "sequential":
        slots = UnitTree(mark_key, manifest, plan).turned_slots(beacon)
    elif plan.version == 1:
        slots = sealed_slots_of_version_1(mark_key, manifest, beacon)
    else:
        slots = sealed_slots(mark_key.sub_key("slots"), manifest, plan, beacon)
    return Assignment(
        np.asarray(manifest.unit_of_image),
        np.asarray(slots),
        manifest.space,
        manifest.scheme,
        np.asarray(manifest.is_copy),
    )


def _integer_vector(**named) -> np.ndarray:
    ((name, value),) = named.items()
    array = np.array(value)
    if array.ndim != 1 or array.size == 0 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must be a non-empty vector of integers")
    return array.astype(np.int64)
