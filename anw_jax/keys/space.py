"""The signature space: N equal slots on the hue circle (section 4.2 of the paper)."""

import dataclasses

import numpy as np

from anw_jax import _check

_MAX_SLOTS = 2**16


@dataclasses.dataclass(frozen=True)
class SignatureSpace:
    """N non-overlapping slots of width 2τ that cover the hue circle.

    Slot `s` is centred on `s * 2τ` degrees. Slot 0 means "unmarked"; the N - 1 others are
    the *valid* signatures. With N = 2 there is one valid signature, which every key draws, so
    no answer of a model can tell it from chance: such a space can be asked but is never
    evidence. From Zou, Gong, Wang, "Anti-Neuron Watermarking" (ECCV 2022),
    section 4.2, https://arxiv.org/abs/2109.09023.

    Attributes:
      num_slots: N, from 2 to 65536 (8-bit pixels tell far fewer hues apart).

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
        """Circular distance in degrees, in [0, 180]; broadcasts.

        Example:
          >>> float(SignatureSpace.distance(350.0, 20.0))
          30.0
        """
        difference = np.abs(np.subtract(first_degrees, second_degrees)) % 360.0
        return np.minimum(difference, 360.0 - difference)

    def matches(self, inferred_degrees: float, true_degrees: float) -> bool:
        """Whether an inferred signature lies strictly within τ of the true one."""
        return bool(self.distance(inferred_degrees, true_degrees) < self.tau_degrees)

    def slot_of(self, degrees: float) -> int:
        """The slot whose centre is nearest; at a border the higher slot.

        Example:
          >>> [SignatureSpace().slot_of(d) for d in (0, 14.9, 15, 359, 300)]
          [0, 0, 1, 0, 10]
        """
        turns = _check.finite(degrees=degrees) % 360.0 / (2.0 * self.tau_degrees)
        return int(np.floor(turns + 0.5)) % self.num_slots
