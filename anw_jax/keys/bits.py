"""Commit to a model watermark and draw its secret bits.

A model watermark (`anw_jax.schemes`) has a *decoder*: everything that the arbitrator needs to
read scores from a suspect, fixed before the bits exist. Its digest stands in the plan's `mark`.
The bits are drawn from

    HMAC-SHA-256(bit sub-key, tag ‖ commitment ‖ beacon name ‖ beacon value ‖ block),

where the commitment covers the key and the plan, and so the decoder. Before the beacon's value
is published nobody knows the bits, not even the owner. This order is what makes them evidence:
an owner who knew them could choose a decoder that finds them in any model.

The bits are independent and fair. Labels that are balanced exactly would not be independent.
"""

import dataclasses
import hashlib
import hmac

import numpy as np

from anw_jax import _check
from anw_jax.errors import CommitmentError
from anw_jax.keys.digests import check_is_commitment, is_digest, length_prefixed
from anw_jax.keys.mark_key import MarkKey, check_is_mark_key
from anw_jax.keys.plan import Plan
from anw_jax.keys.slots import check_beacon

_TAG_COMMIT = b"anw_jax/v1/scheme-commitment\0"
_TAG_BITS = b"anw_jax/v1/scheme-bits\0"
_TAG_CODE = b"anw_jax/v1/customer-code\0"
_BLOCK_BITS = 256

# Length of the nonce that a customer draws for his code.
NONCE_BYTES = 32

# A file that claims more would only exhaust the memory of whoever reads it.
MOST_BITS = 2**20


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Bits:
    """The secret bits of a key; only `stats.bit_test` joins them with scores.

    Attributes:
      signs: int8 `[num_bits]`, each -1 or 1. **Secret.**

    Raises:
      TypeError, ValueError: not a vector of -1 and 1.

    Example:
      >>> Bits(np.array([1, -1, -1]))
      Bits(<3 secret bits>)
    """

    signs: np.ndarray

    def __post_init__(self):
        signs = np.asarray(self.signs)
        if signs.ndim != 1 or not len(signs) or not ((signs == 1) | (signs == -1)).all():
            raise ValueError(
                f"signs must be a vector of -1 and 1, got shape {signs.shape}; the values "
                "given are not shown"
            )
        signs = signs.astype(np.int8)
        signs.flags.writeable = False
        object.__setattr__(self, "signs", signs)

    def __len__(self) -> int:
        return len(self.signs)

    def __repr__(self) -> str:
        return f"Bits(<{len(self)} secret bits>)"


def commit_scheme(mark_key: MarkKey, plan: Plan) -> str:
    """Commit to a key and the plan of a model watermark: 64 hex digits.

    Publish it, or have it time-stamped, before the beacon's value appears. It is hiding
    (SHA-256 over a 256-bit secret) and binding.

    Args:
      mark_key: the owner's secret, used for this one watermark.
      plan: its `mark` names the scheme and holds the decoder's digest.

    Raises:
      TypeError: an argument is not what its name says.
      ValueError: the plan of marked photos.

    Example:
      >>> plan = Plan("bit_signs", 1e-6, mark="multitask:" + "0f" * 32)
      >>> commit_scheme(MarkKey.for_experiment(0), plan)[:16]
      '5634bf7bd357534b'
    """
    check_is_mark_key(mark_key)
    _check.is_instance(Plan, plan=plan)
    if not plan.is_of_scheme:
        raise ValueError(
            f"plan.mark must name a model watermark, got {plan.mark!r:.80}: commit to marked "
            "photos with commit"
        )
    parts = [mark_key.secret, mark_key.origin.encode(), bytes.fromhex(plan.digest)]
    return hashlib.sha256(_TAG_COMMIT + length_prefixed(parts)).hexdigest()


def check_scheme_commitment(commitment: str, mark_key: MarkKey, plan: Plan) -> None:
    """Raise CommitmentError unless key and plan match the commitment.

    Raises:
      CommitmentError: key or plan (with the decoder's digest in it) differ.
      TypeError, ValueError: as `commit_scheme`.
    """
    check_is_commitment(commitment)
    expected = commit_scheme(mark_key, plan)
    if not hmac.compare_digest(commitment.encode(), expected.encode()):
        raise CommitmentError(
            f"the commitment {commitment[:16]!r}… does not open: the key or the plan differs "
            "from what was committed to; most often the key is that of another commitment"
        )


def draw_bits(mark_key: MarkKey, plan: Plan, num_bits: int, *, beacon: bytes = b"") -> Bits:
    """Draw the independent, fair bits of a key.

    Args:
      mark_key: the owner's secret.
      plan: the committed plan.
      num_bits: at least 1; the first bits do not depend on it.
      beacon: the value of the beacon that the plan names, published after the commitment; b""
        if it names none.

    Returns:
      The `Bits`, a pure function of the arguments. Secret.

    Raises:
      TypeError, ValueError: as `commit_scheme`; fewer bits than one.
      CommitmentError: the beacon's value is missing, unexpected or of the wrong length.

    Example:
      >>> plan = Plan("bit_signs", 1e-6, mark="multitask:" + "0f" * 32)
      >>> draw_bits(MarkKey.for_experiment(0), plan, 6).signs.tolist()
      [1, 1, 1, 1, -1, -1]
    """
    return _drawn(_TAG_BITS, "scheme bits", mark_key, plan, num_bits, beacon, [])


def customer_code(
    mark_key: MarkKey,
    plan: Plan,
    num_bits: int,
    customer: str,
    nonce: bytes,
    *,
    beacon: bytes = b"",
) -> Bits:
    """Draw the independent, fair bits of one customer's code (`schemes.fingerprint`).

    Each code has its own public key and nonce as input, so that codes of different customers
    are independent of each other, and of the bits of `draw_bits`.

    Args:
      mark_key: the owner's secret.
      plan: the committed plan.
      num_bits: at least 1; the first bits do not depend on it.
      customer: the customer's public key, 64 hex digits.
      nonce: 32 bytes that the customer drew himself.
      beacon: as in `draw_bits`.

    Returns:
      The `Bits`, a pure function of the arguments. Secret.

    Raises:
      TypeError, ValueError: as `draw_bits`; no public key, or a nonce of another length.
      CommitmentError: as `draw_bits`.

    Example:
      >>> plan = Plan("bounded_bits", 1e-3, mark="fingerprint:" + "0f" * 32)
      >>> key = MarkKey.for_experiment(0)
      >>> customer_code(key, plan, 6, "ab" * 32, bytes(32)).signs.tolist()
      [1, 1, -1, -1, 1, -1]
    """
    if not is_digest(customer):
        raise ValueError(f"customer must be 64 lower-case hex digits, got {customer!r:.70}")
    _check.is_instance(bytes, nonce=nonce)
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"nonce must have {NONCE_BYTES} bytes, got {len(nonce)}")
    more = [bytes.fromhex(customer), nonce]
    return _drawn(_TAG_CODE, "customer codes", mark_key, plan, num_bits, beacon, more)


def _drawn(
    tag: bytes,
    purpose: str,
    mark_key: MarkKey,
    plan: Plan,
    num_bits: int,
    beacon: bytes,
    more: list[bytes],
) -> Bits:
    commitment = commit_scheme(mark_key, plan)
    num_bits = _check.integer_between(1, MOST_BITS, num_bits=num_bits)
    check_beacon(plan, beacon)
    fields = [bytes.fromhex(commitment), plan.beacon.encode(), beacon, *more]
    prefix = tag + length_prefixed(fields)
    bit_key = mark_key.sub_key(purpose)
    blocks = b"".join(
        hmac.digest(bit_key, prefix + number.to_bytes(4, "big"), "sha256")
        for number in range(-(-num_bits // _BLOCK_BITS))
    )
    drawn = np.unpackbits(np.frombuffer(blocks, np.uint8), count=num_bits)
    return Bits(drawn.astype(np.int8) * 2 - 1)


def one_time_key(mark_key: MarkKey, number: int) -> MarkKey:
    """Derive the key of one of several watermarks in the same model.

    A claim opens its key, and whoever sees it can erase that watermark. So a model carries
    several, each with its own key and commitment (`Plan.number`). Opening one shows nothing
    about the others.

    Args:
      mark_key: the owner's secret, which is never opened itself.
      number: from 1, in the order in which they are spent.
    """
    check_is_mark_key(mark_key)
    number = _check.integer_at_least(1, number=number)
    return MarkKey(mark_key.sub_key(f"one-time key {number}"), mark_key.origin)
