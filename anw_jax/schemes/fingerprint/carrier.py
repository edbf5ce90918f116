"""The carrier of customers' codes: everything that is fixed before any code is drawn."""

import dataclasses
import functools
import hashlib
import math
from typing import Any

import jax
import numpy as np

from anw_jax import _check, _json
from anw_jax.errors import CommitmentError
from anw_jax.keys import MarkKey
from anw_jax.keys.bits import MOST_BITS
from anw_jax.keys.digests import is_digest
from anw_jax.keys.mark_key import check_is_mark_key
from anw_jax.keys.plan_fields import FINGERPRINT
from anw_jax.models import by_path
from anw_jax.schemes.fingerprint import projection
from anw_jax.schemes.fingerprint.symmetries import is_residual
from anw_jax.schemes.weights import weights_digest

_FORMAT = "anw_jax fingerprint carrier, version 1"
_TAG_CARRIER = b"anw_jax/v1/fingerprint-carrier\0"

# The number of bits that the abstract of the withdrawn source names.
NUM_BITS = 304

# Of weights, customers and disputes.
_MOST = 2**40

# The last one is for residual networks alone.
READINGS = ("non-blind", "blind", "aligned")

Weights = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Carrier:
    """Weights, projection, readings and counts of one issue of copies (SETUP).

    The carrier is a keyed choice of `2^k` weights, the largest power of two up to all weights
    in `layers`. In units of their layer's root mean square in the clean model, they are
    projected on `num_bits + num_owner_bits` orthonormal rows (`projection`): the first block
    carries the customer's code, the second the owner's bits, which all copies share. All of it
    follows from `seed`, a sub-key that goes to the judge before he reads.

    Attributes:
      seed: 64 hex digits.
      base: `weights_digest` of the clean model w_base, 64 hex digits.
      layers: paths of the kernels, as `models.by_path` names them.
      num_weights: length of the carrier, a power of two.
      num_customers: codes that may be issued; p is corrected for all of them.
      num_disputes: suspects that may be judged; the level is divided by them.
      readings: of each suspect, from `READINGS`; the level is divided by them too.
      num_bits: of a customer's code.
      num_owner_bits: of the owner's common mark.
      kind: of the projection, from `projection.KINDS`.

    Raises:
      TypeError, ValueError: a field out of its range, or codes longer than the carrier.

    Example:
      >>> base = {"params": {"Conv_0": {"kernel": np.ones((3, 3, 8, 64), np.float32)}}}
      >>> carrier = make_carrier(MarkKey.for_experiment(0), base, num_customers=100)
      >>> carrier.num_weights, carrier.num_bits
      (4096, 304)
    """

    seed: str
    base: str
    layers: tuple[str, ...]
    num_weights: int
    num_customers: int
    num_disputes: int = 1
    readings: tuple[str, ...] = READINGS
    num_bits: int = NUM_BITS
    num_owner_bits: int = 96
    kind: str = projection.KINDS[0]

    def __post_init__(self):
        for name in ("seed", "base"):
            if not is_digest(getattr(self, name)):
                raise ValueError(f"{name} must be 64 lower-case hex digits")
        _check.one_of(projection.KINDS, kind=self.kind)
        for name in ("layers", "readings"):
            names = tuple(_check.plain_text(**{name: one}) for one in getattr(self, name))
            if not names or len(set(names)) < len(names):
                raise ValueError(f"{name} must be different names, at least one, got {names}")
            object.__setattr__(self, name, names)
        for one in self.readings:
            _check.one_of(READINGS, readings=one)
        for name in ("num_weights", "num_customers", "num_disputes"):
            _check.integer_between(1, _MOST, **{name: getattr(self, name)})
        for name in ("num_bits", "num_owner_bits"):
            _check.integer_between(1, MOST_BITS, **{name: getattr(self, name)})
        if self.num_weights & (self.num_weights - 1):
            raise ValueError(f"num_weights must be a power of two, got {self.num_weights}")
        if self.num_rows > self.num_weights:
            raise ValueError(
                f"codes must not be longer than the carrier: {self.num_bits} bits and "
                f"{self.num_owner_bits} of the owner do not fit into {self.num_weights} weights"
            )

    @property
    def num_rows(self) -> int:
        """Rows of the projection: bits of a customer, then those of the owner."""
        return self.num_bits + self.num_owner_bits

    def as_json(self) -> dict[str, Any]:
        """Return the carrier as plain JSON values."""
        fields = {"format": _FORMAT, **dataclasses.asdict(self)}
        return {**fields, "layers": list(self.layers), "readings": list(self.readings)}

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "Carrier":
        """Read the result of `as_json`.

        Raises:
          TypeError, ValueError: no such result, or a field out of its range.
        """
        _check.is_instance(dict, carrier=body)
        if body.get("format") != _FORMAT:
            raise ValueError(f"format must be {_FORMAT!r}, got {body.get('format')!r:.60}")
        return cls(**{name: value for name, value in body.items() if name != "format"})

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of all fields, as hex."""
        return hashlib.sha256(_TAG_CARRIER + _json.canonical(self.as_json())).hexdigest()

    @property
    def mark(self) -> str:
        """What the plan says of the watermark: "fingerprint:DIGEST"."""
        return f"{FINGERPRINT}:{self.digest}"

    def check_base(self, base: dict[str, Any]) -> None:
        """Raise CommitmentError unless these are the weights of the committed clean model."""
        digest = weights_digest(base)
        if digest != self.base:
            raise CommitmentError(
                f"base must be the clean model that the carrier names, {self.base[:16]}…, got "
                f"{digest[:16]}…: copies are embedded into, read and aligned to no other"
            )

    def units(self, base: dict[str, Any]) -> Weights:
        """Return the root mean square of each layer in the clean model, above 0."""
        found = kernels(base, self.layers)
        return {name: _root_mean_square(kernel) for name, kernel in found.items()}

    def gather(self, weights: Weights) -> np.ndarray:
        """Return the carrier's entries of kernels, float64 `[num_weights]`."""
        flat = np.concatenate([np.ravel(weights[name]) for name in self.layers])
        return flat.astype(np.float64)[self._places(flat.size)]

    def scatter(self, values: np.ndarray, weights: Weights) -> Weights:
        """Return kernels of the shapes of `weights`, 0 but for the carrier's entries."""
        sizes = [np.size(weights[name]) for name in self.layers]
        flat = np.zeros(sum(sizes))
        flat[self._places(flat.size)] = values
        parts = np.split(flat, np.cumsum(sizes)[:-1])
        return {
            name: part.reshape(np.shape(weights[name]))
            for name, part in zip(self.layers, parts, strict=True)
        }

    def project(self, values: np.ndarray) -> np.ndarray:
        """Project `[num_weights]` on all rows: float64 `[num_rows]`."""
        return projection.project(self.kind, self.seed, values, self.num_rows)

    def spread(self, rows: np.ndarray) -> np.ndarray:
        """Return the sum of all rows, weighted by `[num_rows]`: the adjoint of `project`."""
        return projection.spread(self.kind, self.seed, rows, self.num_weights)

    def _places(self, num_all: int) -> np.ndarray:
        return projection.places(self.seed, num_all, self.num_weights)


def make_carrier(
    mark_key: MarkKey, base: dict[str, Any], num_customers: int, **settings: Any
) -> Carrier:
    """Make the carrier of a key; before the beacon's value, and so before any code.

    Args:
      mark_key: the owner's secret, used for this one issue of copies.
      base: weights of the clean model w_base.
      num_customers: codes that may be issued.
      **settings: other fields of `Carrier`; unless given, `layers` are all kernels of
        convolutions, and `readings` all that the network allows. Long carriers resist
        collusion: use 30,000 weights or more.

    Raises:
      ValueError: no such layer, weights that are not finite, or as `Carrier`.
    """
    check_is_mark_key(mark_key)
    paths = by_path(jax.device_get(base))
    default = [n for n, leaf in paths.items() if n.endswith("kernel") and np.ndim(leaf) == 4]
    layers = tuple(settings.pop("layers", default))
    readings = READINGS if is_residual(base) else READINGS[:2]
    num_all = sum(kernel.size for kernel in kernels(base, layers).values())
    return Carrier(
        mark_key.sub_key("fingerprint carrier").hex(),
        weights_digest(base),
        layers,
        num_weights=2 ** int(math.log2(num_all)) if num_all else 0,
        num_customers=num_customers,
        **{"readings": readings, **settings},
    )


def kernels(variables: dict[str, Any], layers: tuple[str, ...]) -> Weights:
    """Return the kernels of layers, float64, by path.

    Raises:
      ValueError: a layer that the network does not have, or weights that are not finite.
    """
    paths = by_path(jax.device_get(variables))
    found = {}
    for name in layers:
        if name not in paths:
            raise ValueError(
                f"the network must have the architecture of the clean model: it has no {name!r}"
            )
        found[name] = np.asarray(paths[name], np.float64)
        bad = int((~np.isfinite(found[name])).sum())
        if bad:
            raise ValueError(f"weights must be finite: {bad} of {name!r} are not")
    return found


def _root_mean_square(kernel: np.ndarray) -> float:
    size = float(np.sqrt(np.mean(np.square(kernel))))
    return size if size > 0.0 else 1.0
