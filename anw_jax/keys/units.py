"""Signature space (N slots), units (images that share a slot) and assignment (their slots)."""

import dataclasses
import functools
from collections.abc import Hashable, Sequence

import numpy as np

from anw_jax import _check

SCHEMES = ("per_image", "per_group", "per_user")

_MAX_SLOTS = 2**16


@dataclasses.dataclass(frozen=True)
class SignatureSpace:
    """N non-overlapping slots of width 2τ that cover the hue circle.

    Slot `s` is centred on `s * 2τ` degrees. Slot 0 means "unmarked"; the N - 1 others are
    the *valid* signatures. With N = 2 there is only one valid signature, which every key draws,
    so a match is certain: such a space can be searched but yields no evidence. From Zou, Gong,
    Wang, "Anti-Neuron Watermarking" (ECCV 2022), section 4.2,
    https://arxiv.org/abs/2109.09023.

    Attributes:
      num_slots: N, from 2 to 65536 (8-bit pixels can distinguish far fewer hues).

    Raises:
      TypeError, ValueError: `num_slots` is not an integer in that range.

    Example:
      >>> space = SignatureSpace()
      >>> space.num_slots, space.tau_degrees, space.num_valid
      (12, 15.0, 11)
      >>> space.matches(350.0, 0.0), space.matches(45.0, 60.0)
      (True, False)
    """

    num_slots: int = 12

    def __post_init__(self):
        _check.integer_at_least(2, num_slots=self.num_slots)
        if self.num_slots > _MAX_SLOTS:
            raise ValueError(f"num_slots must be at most {_MAX_SLOTS}, got {self.num_slots}")
        object.__setattr__(self, "num_slots", int(self.num_slots))

    @property
    def tau_degrees(self) -> float:
        """τ = 180 / N, half the width of a slot: N slots fill the circle."""
        return 180.0 / self.num_slots

    @property
    def num_valid(self) -> int:
        """N - 1, the number of slots a key can draw."""
        return self.num_slots - 1

    @property
    def degrees(self) -> np.ndarray:
        """Centres of all slots, float64 `[num_slots]`, starting at 0."""
        return np.arange(self.num_slots) * (2.0 * self.tau_degrees)

    @staticmethod
    def distance(first_degrees, second_degrees) -> np.ndarray:
        """Compute the circular distance in degrees, in [0, 180]; broadcasts.

        Example:
          >>> float(SignatureSpace.distance(350.0, 20.0))
          30.0
        """
        difference = np.abs(np.subtract(first_degrees, second_degrees)) % 360.0
        return np.minimum(difference, 360.0 - difference)

    def matches(self, inferred_degrees: float, true_degrees: float) -> bool:
        """Return whether an inferred signature lies strictly within τ of the true one."""
        return bool(self.distance(inferred_degrees, true_degrees) < self.tau_degrees)


@dataclasses.dataclass(frozen=True, eq=False)
class Units:
    """The unit of each image: the public part of an `Assignment`.

    A unit is a set of images that share one independent slot: an image, an album or a user.
    Scores and searches take this type, so they have no access to slots.

    Attributes:
      unit_of_image: int64 `[num_images]`, units numbered from 0 without gaps.
      space: the signature space, which holds N.
      scheme: "per_image", "per_group" or "per_user".
      is_copy: bool `[num_images]`, true if an image is byte-identical to an earlier one;
        copies get the same mark and are counted once.

    Raises:
      TypeError, ValueError: units with gaps, an unknown scheme, more than one unit with
        scheme "per_user", `is_copy` of another shape.

    Example:
      >>> units = Units(np.array([0, 0, 1]), SignatureSpace(), "per_group")
      >>> units.num_images, units.num_units, units.sizes.tolist()
      (3, 2, [2, 1])
    """

    unit_of_image: np.ndarray
    space: SignatureSpace
    scheme: str = "per_image"
    is_copy: np.ndarray | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self):
        _check.one_of(SCHEMES, scheme=self.scheme)
        _check.is_instance(SignatureSpace, space=self.space)
        unit_of_image = _integer_vector(unit_of_image=self.unit_of_image)
        num_units = len(np.unique(unit_of_image))
        if unit_of_image.min() < 0 or unit_of_image.max() >= num_units:
            raise ValueError(
                "unit_of_image must number units from 0 without gaps, got "
                f"{unit_of_image.min()} … {unit_of_image.max()} for {num_units} units"
            )
        if self.scheme == "per_user" and num_units != 1:
            raise ValueError(f"scheme 'per_user' must have exactly one unit, got {num_units}")
        is_copy = np.zeros(len(unit_of_image), bool) if self.is_copy is None else self.is_copy
        is_copy = np.array(is_copy, bool)
        if is_copy.shape != unit_of_image.shape:
            raise ValueError(
                f"is_copy must have shape {unit_of_image.shape}, got {is_copy.shape}"
            )
        is_copy.setflags(write=False)
        object.__setattr__(self, "unit_of_image", unit_of_image)
        object.__setattr__(self, "is_copy", is_copy)

    @property
    def num_images(self) -> int:
        """Number of images, including copies."""
        return len(self.unit_of_image)

    @functools.cached_property
    def num_units(self) -> int:
        """Number of units, each with an independent slot."""
        return int(self.unit_of_image.max()) + 1

    @property
    def sizes(self) -> np.ndarray:
        """The number of distinct images of each unit, int64 `[num_units]`."""
        return np.bincount(self.unit_of_image[~self.is_copy], minlength=self.num_units)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Units):
            return NotImplemented
        return self is other or (
            (self.space, self.scheme) == (other.space, other.scheme)
            and np.array_equal(self.unit_of_image, other.unit_of_image)
            and np.array_equal(self.is_copy, other.is_copy)
        )

    __hash__ = None


@dataclasses.dataclass(frozen=True, eq=False)
class Assignment:
    """The secret slot of each unit.

    Tests require this type rather than an array of per-image slots: slots are drawn per unit,
    and treating them as independent per image would count one draw many times.

    Attributes:
      units: the unit of each image; public.
      slot_of_unit: int64 `[num_units]`, each in 1 … N - 1. Secret.

    Raises:
      TypeError, ValueError: `units` of another type; a wrong number of slots, or slots outside
        1 … N - 1.
    """

    units: Units
    slot_of_unit: np.ndarray = dataclasses.field(repr=False)

    def __post_init__(self):
        _check.is_instance(Units, units=self.units)
        slots = _integer_vector(slot_of_unit=self.slot_of_unit)
        if len(slots) != self.units.num_units:
            raise ValueError(
                f"slot_of_unit must hold {self.units.num_units} slots, one for each unit, got "
                f"{len(slots)}"
            )
        if slots.min() < 1 or slots.max() > self.units.space.num_valid:
            raise ValueError(f"slot_of_unit must lie in 1 … {self.units.space.num_valid}")
        object.__setattr__(self, "slot_of_unit", slots)

    @property
    def num_units(self) -> int:
        """Number of units, that is, of independent draws."""
        return self.units.num_units

    @property
    def slots(self) -> np.ndarray:
        """The secret slot of each image, int64 `[num_images]`: for marking only."""
        return self.slot_of_unit[self.units.unit_of_image]

    @property
    def degrees(self) -> np.ndarray:
        """The secret hue of each image in degrees, float64 `[num_images]`."""
        return self.units.space.degrees[self.slots]


def group_into_units(
    image_digests: Sequence[str], scheme: str, groups: Sequence[Hashable] | None
) -> list[int]:
    """Number the units in order of appearance; return the unit of each image.

    Byte-identical originals always share a unit: a photo in two albums belongs to the first, so
    that it is published with one hue and counted once.
    """
    _check.one_of(SCHEMES, scheme=scheme)
    if (groups is None) == (scheme == "per_group"):
        raise ValueError(
            "groups must name the album of each image with scheme='per_group', and be None "
            f"with the other schemes; got scheme={scheme!r}, groups={groups!r:.60}"
        )
    if scheme == "per_group" and len(groups) != len(image_digests):
        raise ValueError(
            f"groups must have one entry for each of the {len(image_digests)} images, "
            f"got {len(groups)}"
        )
    labels: Sequence[Hashable] = {
        "per_image": image_digests,
        "per_group": groups,
        "per_user": [0] * len(image_digests),
    }[scheme]
    label_of_digest: dict[str, Hashable] = {}
    number_of_label: dict[Hashable, int] = {}
    units = []
    for digest, label in zip(image_digests, labels, strict=True):
        label = label_of_digest.setdefault(digest, label)
        units.append(number_of_label.setdefault(label, len(number_of_label)))
    return units


def _integer_vector(**named) -> np.ndarray:
    """Return a read-only int64 copy of a non-empty vector of integers."""
    ((name, value),) = named.items()
    array = np.array(value)
    if array.ndim != 1 or array.size == 0 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must be a non-empty vector of integers")
    array = array.astype(np.int64)
    array.setflags(write=False)
    return array
