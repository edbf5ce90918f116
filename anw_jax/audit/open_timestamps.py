"""Verify OpenTimestamps proofs against headers of Bitcoin blocks, offline.

A proof is a path of hashes from a file to the Merkle root of a block
(https://opentimestamps.org). The block's header, 80 bytes, comes from whoever verifies. Its own
proof of work is checked, so that a header which differs by a bit, or was made up with little
work, is refused; whether the block is part of the chain can be looked up by its hash, which is
printed.
"""

import dataclasses
import datetime
import hashlib
import pathlib
import re
from collections.abc import Iterable
from typing import Any

from anw_jax.errors import CaseError
from anw_jax.keys.stamps import Stamp
from anw_jax.suspects.adapters.base import missing

# Difficulty of Bitcoin in 2019, a tenth of that in 2025. A block of it takes 4e22 hashes.
LEAST_DIFFICULTY = 1e13

_HEADER = re.compile(rb"\s*([0-9a-fA-F]{160})\s*")
# The target at difficulty 1.
_EASIEST = 0xFFFF << 208


@dataclasses.dataclass(frozen=True)
class Header:
    """The header of a Bitcoin block (https://developer.bitcoin.org/reference/block_chain.html).

    Attributes:
      body: its 80 bytes.
    """

    body: bytes

    @property
    def merkle_root(self) -> bytes:
        """32 bytes, in the order in which they are hashed."""
        return self.body[36:68]

    @property
    def time(self) -> datetime.datetime:
        """When the block was found, according to its miner."""
        seconds = int.from_bytes(self.body[68:72], "little")
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC)

    @property
    def target(self) -> int:
        """The largest hash that the block may have."""
        bits = int.from_bytes(self.body[72:76], "little")
        shift = 8 * ((bits >> 24) - 3)
        mantissa = bits & 0x7FFFFF
        return mantissa << shift if shift >= 0 else mantissa >> -shift

    @property
    def hash(self) -> str:
        """Its hash, as block explorers show it."""
        return hashlib.sha256(hashlib.sha256(self.body).digest()).digest()[::-1].hex()

    @property
    def has_work(self) -> bool:
        """Whether the hash meets the target, and the target `LEAST_DIFFICULTY`."""
        return int(self.hash, 16) <= self.target <= _EASIEST / LEAST_DIFFICULTY


def read_header(path: pathlib.Path, body: bytes) -> Header | None:
    """Read a header from the text of a file; None if it is no 160 hex digits.

    Raises:
      CaseError: a header without the work of a block of Bitcoin.
    """
    match = _HEADER.fullmatch(body)
    if match is None:
        return None
    header = Header(bytes.fromhex(match[1].decode()))
    if not header.has_work:
        raise CaseError(
            f"{path} is no header of a Bitcoin block since 2019: its hash {header.hash} lacks "
            "the proof of work"
        )
    return header


def check_proof(body: bytes, document: bytes, headers: Iterable[Header]) -> Stamp:
    """Verify an OpenTimestamps proof.

    Args:
      body: of the `.ots` file.
      document: the bytes that were stamped.
      headers: of blocks that may contain it.

    Returns:
      The stamp by the earliest of these blocks.

    Raises:
      CaseError: damaged, of another file, not in a block yet, or in none of these blocks.
      MissingLibraryError: the extra 'stamp' is not installed.
    """
    digest, attestations = _read(body)
    if digest != hashlib.sha256(document).digest():
        raise CaseError("is a proof of another file than the commitment")
    if not attestations:
        raise CaseError("is not in a block yet: run `ots upgrade` on it after some hours")
    found = [
        (header.time, height, header.hash)
        for root, height in attestations
        for header in headers
        if header.merkle_root == root
    ]
    if not found:
        heights = ", ".join(
            str(height) for _, height in sorted(attestations, key=lambda a: a[1])
        )
        raise CaseError(
            f"cannot be verified without the header of Bitcoin block {heights:.100} (160 hex "
            "digits, from a node or a block explorer, in anchors/ of the case or --anchor)"
        )
    time, height, name = min(found)
    return Stamp("opentimestamps", time, f"Bitcoin block {height}, {name}")


def _read(body: bytes) -> tuple[bytes, list[tuple[bytes, int]]]:
    """Return the SHA-256 of the stamped file, and (Merkle root, height) of each block named."""
    notary, op, serialize, timestamp = _library()
    try:
        context = serialize.BytesDeserializationContext(body)
        proof = timestamp.DetachedTimestampFile.deserialize(context)
        if not isinstance(proof.file_hash_op, op.OpSHA256):
            raise ValueError("of another hash than SHA-256")
        return proof.file_digest, [
            (message, attestation.height)
            for message, attestation in proof.timestamp.all_attestations()
            if isinstance(attestation, notary.BitcoinBlockHeaderAttestation)
        ]
    except Exception as error:  # the library's errors share no base
        raise CaseError(
            f"is damaged, or no OpenTimestamps proof ({type(error).__name__})"
        ) from None


def _library() -> tuple[Any, ...]:
    try:
        from opentimestamps.core import notary, op, serialize, timestamp
    except ImportError:
        raise missing("verifying an OpenTimestamps proof", "stamp") from None
    return notary, op, serialize, timestamp
