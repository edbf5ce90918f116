"""The digest of a finished table, recorded before the key is opened."""

import hashlib

import numpy as np

from anw_jax.errors import CommitmentError

_TAG_TABLE = b"anw_jax/v1/loss-table\0"


def seal(loss_table: np.ndarray) -> str:
    """Compute the digest of a finished table, 64 hex digits, to record before opening the key.

    Example:
      >>> seal(np.zeros((1, 2), np.float32))[:12]
      '4b5563fb8824'
    """
    table = sealed_form(loss_table)
    header = _TAG_TABLE + repr(table.shape).encode() + b"\0"
    return hashlib.sha256(header + table.tobytes()).hexdigest()


def sealed_form(loss_table: np.ndarray) -> np.ndarray:
    """Convert the table to little-endian float32."""
    with np.errstate(over="ignore"):  # losses too large for float32 become infinite (unusable)
        return np.ascontiguousarray(loss_table, "<f4")


def check_sealed(loss_table: np.ndarray, sealed_digest: str | None, what: str) -> str:
    """Compare a table with its digest, if there is one; return the digest of the table.

    Raises:
      CommitmentError: the table is another one.
    """
    digest = seal(loss_table)
    if sealed_digest is not None and sealed_digest != digest:
        raise CommitmentError(
            f"{what} is not the one sealed: its digest is {digest[:16]}…, sealed was "
            f"{sealed_digest[:16]}…"
        )
    return digest
