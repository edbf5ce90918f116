"""Digests of images and units, hash trees, and length-prefixed fields."""

import functools
import hashlib
import re
import struct
from collections.abc import Iterable, Sequence

import numpy as np

from anw_jax import _check
from anw_jax.errors import CommitmentError

_TAG_IMAGE = b"anw_jax/v1/image\0"
_TAG_UNIT = b"anw_jax/v1/unit\0"
_TAG_NODE = b"anw_jax/v1/unit-node\0"
_TAG_PAD = b"anw_jax/v1/unit-pad\0"


def image_digest(image: np.ndarray, name: str = "image") -> str:
    """Compute the SHA-256, as hex, of the canonical pixels of one original.

    Canonical pixels are the shape and the uint8 RGB bytes of the original *before any
    resizing*. Hash once, when marking, and keep the manifest: another JPEG decoder may
    return pixels that differ by one level, which changes the digest.

    Args:
      image: uint8 `[H, W, 3]` (or float in [0, 1] with 8-bit values).
      name: of the argument in error messages.

    Example:
      >>> image_digest(np.zeros((1, 1, 3), np.uint8))[:16]
      '19a1ca8ed3fe35ae'
    """
    pixels = _check.uint8_image(**{name: image})
    height, width, _ = pixels.shape
    header = _TAG_IMAGE + struct.pack(">QQ", height, width)
    return hashlib.sha256(header + pixels.tobytes()).hexdigest()


def unit_digest(scheme: str, image_digests: Iterable[str]) -> str:
    """Compute the SHA-256, as hex, of the set of originals that form one unit."""
    members = sorted(set(image_digests))
    message = _TAG_UNIT + scheme.encode() + b"\0" + "".join(members).encode()
    return hashlib.sha256(message).hexdigest()


def is_digest(value: object) -> bool:
    """Return whether a value is a SHA-256 in lower-case hex.

    Example:
      >>> is_digest("0f" * 32), is_digest("0F" * 32), is_digest(None)
      (True, False, False)
    """
    return type(value) is str and re.fullmatch("[0-9a-f]{64}", value) is not None


def check_is_commitment(commitment: str) -> str:
    """Raise CommitmentError unless `commitment` is 64 lower-case hex digits; return it."""
    _check.is_instance(str, commitment=commitment)
    if not is_digest(commitment):
        raise CommitmentError(
            f"commitment must be 64 lower-case hex digits, got {commitment!r:.70}"
        )
    return commitment


def length_prefixed(parts: Sequence[bytes]) -> bytes:
    """Concatenate length-prefixed parts (an injective encoding)."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def tree_levels(leaf_hashes: list[bytes]) -> list[list[bytes]]:
    """Build a hash tree, padded to a power of two; return its levels from leaves to root.

    Merkle 1987, https://doi.org/10.1007/3-540-48184-2_32. Nodes and padding are hashed with
    separate tags, and leaves must have another one, so that none can be passed off as another
    (domain separation, RFC 6962, section 2.1).

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
    """Compute the SHA-256 of an inner node."""
    return hashlib.sha256(_TAG_NODE + left + right).digest()


@functools.cache
def _padding() -> bytes:
    return hashlib.sha256(_TAG_PAD).digest()
