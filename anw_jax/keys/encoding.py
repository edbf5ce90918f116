"""Bytes that have one spelling: canonical JSON, framed fields, hash trees."""

import functools
import hashlib
import json
from collections.abc import Sequence

_TAG_NODE = b"anw_jax/v1/unit-node\0"
_TAG_PAD = b"anw_jax/v1/unit-pad\0"


def canonical(body: object) -> bytes:
    """One spelling of a JSON value: sorted names, no spaces, no NaN."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def framed(parts: Sequence[bytes]) -> bytes:
    """Parts behind their lengths, so that no two lists of parts look alike."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def tree_levels(leaf_hashes: list[bytes]) -> list[list[bytes]]:
    """A hash tree from the leaves up, padded to a power of two; the last level is the top.

    Merkle 1987, https://doi.org/10.1007/3-540-48184-2_32. Nodes and padding have tags of their
    own; leaves must be hashed under another one, so that none can stand for another (RFC 6962,
    section 2.1).

    Args:
      leaf_hashes: SHA-256 of each leaf, at least one.

    Example:
      >>> [len(level) for level in tree_levels([bytes(32)] * 3)]
      [4, 2, 1]
    """
    size = 1 << (len(leaf_hashes) - 1).bit_length()
    levels = [leaf_hashes + [_padding()] * (size - len(leaf_hashes))]
    while len(levels[-1]) > 1:
        below = levels[-1]
        pairs = zip(below[::2], below[1::2], strict=True)
        levels.append([node_hash(left, right) for left, right in pairs])
    return levels


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of an inner node."""
    return hashlib.sha256(_TAG_NODE + left + right).digest()


@functools.cache
def _padding() -> bytes:
    return hashlib.sha256(_TAG_PAD).digest()
