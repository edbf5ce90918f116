"""Shamir's secret sharing: any `threshold` shares give the secret, fewer give nothing.

Shamir (1979), "How to share a secret", https://doi.org/10.1145/359168.359176, over the integers
modulo the Mersenne prime 2^521 - 1.
"""

import secrets
from collections.abc import Mapping

from anw_jax import _check

PRIME = 2**521 - 1
SECRET_BYTES = 32
SHARE_BYTES = 66


def split_secret(secret: bytes, num_shares: int, threshold: int) -> list[bytes]:
    """Split a secret into shares; share i belongs to party i + 1.

    Args:
      secret: 32 bytes.
      num_shares: how many.
      threshold: shares that give the secret, at least 1 and at most `num_shares`.

    Returns:
      Shares of 66 bytes.

    Raises:
      ValueError: a secret of another length, or a number out of range.

    Example:
      >>> shares = split_secret(bytes(range(32)), num_shares=5, threshold=3)
      >>> join_shares({5: shares[4], 1: shares[0], 2: shares[1]}) == bytes(range(32))
      True
    """
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"secret must have {SECRET_BYTES} bytes, got {len(secret)}")
    _check.integer_at_least(1, threshold=threshold)
    _check.integer_at_least(threshold, num_shares=num_shares)
    # The polynomial's value at 0 is the secret; all other coefficients are random.
    random = [secrets.randbelow(PRIME) for _ in range(threshold - 1)]
    coefficients = [int.from_bytes(secret, "big"), *random]
    return [_value(coefficients, x).to_bytes(SHARE_BYTES, "big") for x in _parties(num_shares)]


def join_shares(shares: Mapping[int, bytes]) -> bytes:
    """Return the secret; wrong or too few shares give a wrong one, or an error.

    Args:
      shares: by the number of the party, from 1; at least `threshold` of them.

    Raises:
      ValueError: a share of another length, or shares that belong to no secret of 32 bytes.
    """
    if any(len(share) != SHARE_BYTES for share in shares.values()):
        raise ValueError(f"shares must have {SHARE_BYTES} bytes each")
    total = 0
    for x, share in shares.items():
        top = bottom = 1
        for other in shares:
            if other != x:
                top = top * other % PRIME
                bottom = bottom * (other - x) % PRIME
        total += int.from_bytes(share, "big") * top * pow(bottom, -1, PRIME)
    secret = total % PRIME
    if secret >= 2 ** (8 * SECRET_BYTES):
        raise ValueError("these shares belong to no secret: too few, or one was changed")
    return secret.to_bytes(SECRET_BYTES, "big")


def _parties(num_shares: int) -> range:
    return range(1, num_shares + 1)


def _value(coefficients: list[int], x: int) -> int:
    """Return the polynomial's value by Horner's rule."""
    total = 0
    for coefficient in reversed(coefficients):
        total = (total * x + coefficient) % PRIME
    return total
