"""A private colour basis per owner (section 5.4 of the paper)."""

import dataclasses
import hashlib
import hmac
import itertools

import numpy as np

from anw_jax.keys import plan_fields
from anw_jax.keys.digests import is_digest
from anw_jax.marks.lct import LinearColorMark
from anw_jax.marks.mark import check_sub_key

MAX_CONDITION = 4.0
MAX_RMS_CHANGE = 0.45

# Limit for any basis: with it, int32 sums of the colour matrix keep 10 fractional bits.
_LARGEST_CONDITION = 1e3

_TAG_DRAW = b"anw_jax/v1/basis-draw\0"
_TAG_DESCRIBE = b"anw_jax/v1/basis\0"


@dataclasses.dataclass(frozen=True)
class UserLCT(LinearColorMark):
    """A rotation of the chroma plane of a private basis T_u instead of YIQ.

    The paper draws T_u from U(-1, 1)^(3×3). Most such draws ruin the image, so
    `from_sub_key` rejects a draw unless its condition number is at most 4 and its RMS
    change of an even lattice of colours, over the angles 30° … 330°, at most 0.45 (that of the
    hue rotation is 0.41). Both depend only on T_u, so they reveal nothing about the slots.
    A private basis does not preserve greys or luma in general.

    Attributes:
      rows: T_u as three rows of three numbers. Secret until the queries; not shown in the repr.
      sub_key_digest: public digest of the sub-key it was drawn from, or of the rows.

    Raises:
      ValueError: not 3×3 finite numbers, a condition number above 1000, which leaves too few
        bits for exact publishing, or an invalid digest.

    Example:
      >>> mark = UserLCT.from_sub_key(bytes(32))
      >>> bool(np.linalg.cond(mark.basis) <= MAX_CONDITION)
      True
    """

    rows: tuple[tuple[float, float, float], ...] = dataclasses.field(repr=False)
    sub_key_digest: str = ""

    def __post_init__(self):
        basis = np.asarray(self.rows, np.float64)
        if basis.shape != (3, 3) or not np.isfinite(basis).all():
            raise ValueError(f"rows must be 3x3 finite numbers, got shape {basis.shape}")
        condition = np.linalg.cond(basis)
        if not condition <= _LARGEST_CONDITION:
            raise ValueError(
                f"rows must have a condition number of at most {_LARGEST_CONDITION:g}, got "
                f"{condition:.3g}"
            )
        object.__setattr__(self, "rows", tuple(map(tuple, basis.tolist())))
        if not self.sub_key_digest:
            digest = hashlib.sha256(_TAG_DESCRIBE + basis.tobytes()).hexdigest()
            object.__setattr__(self, "sub_key_digest", digest)
        if not is_digest(self.sub_key_digest):
            raise ValueError(
                "sub_key_digest must be 64 lower-case hex digits or empty, got "
                f"{self.sub_key_digest!r:.70}"
            )

    @classmethod
    def from_sub_key(cls, sub_key: bytes) -> "UserLCT":
        """Draw T_u from 32 secret bytes, `mark_key.sub_key("basis")`.

        The sub-key is given to the arbitrator before querying; its digest is part of the plan,
        and so of the commitment. It is independent of the slots.

        Raises:
          ValueError: not 32 bytes.
        """
        check_sub_key(sub_key, "basis")
        digest = hashlib.sha256(_TAG_DESCRIBE + sub_key).hexdigest()
        for counter in itertools.count():
            basis = _draw_basis(sub_key, counter)
            if np.linalg.cond(basis) <= MAX_CONDITION:
                mark = cls(basis, digest)
                if rms_change(mark) <= MAX_RMS_CHANGE:
                    return mark

    @property
    def basis(self) -> np.ndarray:
        """T_u, float64 `[3, 3]`."""
        return np.array(self.rows, np.float64)

    @property
    def description(self) -> str:
        """Public identifier; its digest commits to the basis without revealing it."""
        return f"{plan_fields.USER_LCT}:{self.sub_key_digest}"


def rms_change(mark: LinearColorMark) -> float:
    """Compute the RMS change of a 5×5×5 lattice of colours over the angles 30° … 330°.

    Example:
      >>> from anw_jax.marks import HueRotation
      >>> round(rms_change(HueRotation()), 2)
      0.41
    """
    levels = np.linspace(0.0, 1.0, 5)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    maps = mark.matrix(np.arange(30.0, 360.0, 30.0))
    turned = np.clip(colours @ np.swapaxes(maps, -1, -2), 0.0, 1.0)
    return float(np.sqrt(np.mean((turned - colours) ** 2)))


def _draw_basis(sub_key: bytes, counter: int) -> np.ndarray:
    """Draw nine numbers of U(-1, 1), 53 bits each, from HMAC-SHA-256 in counter mode."""
    prefix = _TAG_DRAW + counter.to_bytes(4, "big")
    blocks = [hmac.digest(sub_key, prefix + bytes([i]), "sha256") for i in range(3)]
    words = np.frombuffer(b"".join(blocks)[:72], ">u8").astype(np.uint64)
    return ((words >> np.uint64(11)) * 2.0**-52 - 1.0).reshape(3, 3)
