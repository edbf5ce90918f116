"""Sums of vectors of which nobody sees one: masks that cancel, and shares for those who leave.

The protocol of Bonawitz et al. 2017 (https://eprint.iacr.org/2017/281, figure 4), for a server
that follows it and is curious. Party i adds to its vector x_i a stream of its own seed b_i and,
for each other party j, a stream that both derive from their X25519 keys: party i adds it if
i < j and subtracts it if not. In the sum over all parties the pairwise streams cancel. Before,
each party gives the others Shamir shares of b_i and of its private key. For a party whose
vector has come, the others open b_i; for one that has left, its private key; never both. The
arithmetic is modulo 2^64, so that the sum is exact.

What it does not do: a server that lies about who has left is refused only within one party
(`Member.reveal` answers once), since messages are not signed; and a party may send a wrong
vector.
"""

import hashlib
import os
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from anw_jax import _check
from anw_jax.errors import AggregationError, MissingLibraryError
from anw_jax.partition.shamir import SHARE_BYTES, join_shares, split_secret

FRACTION_BITS = 32
_KEY_BYTES = 32


def to_fixed_point(values: np.ndarray, num_parties: int) -> np.ndarray:
    """Return values as multiples of 2^-32, modulo 2^64, so that sums of them are exact.

    Args:
      values: floats of any shape.
      num_parties: whose vectors are added; their sum must fit.

    Returns:
      uint64, of the same shape.

    Raises:
      ValueError: a value that is not finite, or at least 2^31 / `num_parties` in size.

    Example:
      >>> total = to_fixed_point(np.array([-1.5]), 2) + to_fixed_point(np.array([0.25]), 2)
      >>> from_fixed_point(total)
      array([-1.25])
    """
    values = np.asarray(values, np.float64)
    limit = 2.0 ** (63 - FRACTION_BITS) / num_parties
    if not (np.abs(values) < limit).all():
        raise ValueError(
            f"values must be finite and below {limit:g} in size, so that sums of {num_parties} "
            "vectors fit 64 bits"
        )
    return np.rint(values * 2.0**FRACTION_BITS).astype(np.int64).view(np.uint64)


def from_fixed_point(total: np.ndarray) -> np.ndarray:
    """Return the floats of a sum: float64, the inverse of `to_fixed_point`."""
    return total.view(np.int64) / 2.0**FRACTION_BITS


class Member:
    """One party of one sum: its secrets, and its answers to the server, in this order.

    Make a new one for each sum; its secrets serve once.

    Args:
      number: of this party, from 1.
      num_parties: that may take part.
      threshold: parties that must stay to the end; above half of them, so that no two groups
        can open different secrets of one party.

    Attributes:
      public_keys: 96 bytes for all others: keys for shares and for masks, and a digest of
        the seed.

    Raises:
      ValueError: a number out of range.
      MissingLibraryError: `cryptography` is not installed.
    """

    def __init__(self, number: int, num_parties: int, threshold: int):
        self.number = _check.integer_at_least(1, number=number)
        self._num_parties = _check.integer_at_least(number, num_parties=num_parties)
        self._threshold = check_threshold(threshold, num_parties)
        self._share_key, self._mask_key = _new_key(), _new_key()
        self._seed = os.urandom(_KEY_BYTES)
        self.public_keys = b"".join(
            (_public(self._share_key), _public(self._mask_key), _digest(self._seed))
        )
        self._keys: dict[int, bytes] = {}
        self._shares: dict[int, bytes] = {}
        self._is_opened = False

    def share(self, keys: Mapping[int, bytes]) -> dict[int, bytes]:
        """Return encrypted shares of both secrets, for each other party.

        Args:
          keys: `public_keys` of all parties that take part, by number.

        Raises:
          AggregationError: fewer than `threshold` parties, or damaged keys.
        """
        _enough(keys, self._threshold, "have sent keys")
        for other, key in keys.items():
            if not 1 <= other <= self._num_parties or len(key) != 3 * _KEY_BYTES:
                raise AggregationError(f"the keys of party {other} are damaged or no party's")
        if keys.get(self.number) != self.public_keys:
            raise AggregationError(f"the keys of party {self.number} are not those it sent")
        self._keys = dict(keys)
        secrets = (self._seed, _private(self._mask_key))
        split = [split_secret(each, self._num_parties, self._threshold) for each in secrets]
        own = {other: split[0][other - 1] + split[1][other - 1] for other in keys}
        self._shares[self.number] = own.pop(self.number)
        return {
            other: self._cipher(self.number, other, shares) for other, shares in own.items()
        }

    def mask(self, values: np.ndarray, packets: Mapping[int, bytes]) -> np.ndarray:
        """Return the masked vector.

        Args:
          values: uint64 `[n]` of `to_fixed_point`.
          packets: what each other party encrypted for this one. Who sent none has left, and
            gets no mask.

        Returns:
          uint64 `[n]`.

        Raises:
          AggregationError: too few packets, or a damaged one.
        """
        for sender, packet in packets.items():
            self._shares[sender] = self._plain(sender, packet)
        _enough(self._shares, self._threshold, "have shared their secrets")
        total = values + _stream(self._seed, len(values))
        for other in packets:
            secret = _agreed(self._mask_key, self._keys[other][_KEY_BYTES : 2 * _KEY_BYTES])
            stream = _stream(secret, len(values))
            total = total + stream if self.number < other else total - stream
        return total

    def reveal(self, arrived: Collection[int]) -> dict[int, bytes]:
        """Return the shares that unmask the sum: of seeds, or of keys of those who left.

        Args:
          arrived: parties whose masked vectors have come.

        Raises:
          AggregationError: too few parties, one that is unknown, or a second call, whose
            shares could open a single vector.
        """
        if self._is_opened:
            raise AggregationError("shares of one sum are revealed once")
        if not set(arrived) <= set(self._shares):
            raise AggregationError("a vector came from a party that has shared no secrets")
        _enough(arrived, self._threshold, "have sent their vectors")
        self._is_opened = True
        return {
            other: shares[:SHARE_BYTES] if other in arrived else shares[SHARE_BYTES:]
            for other, shares in self._shares.items()
        }

    def _cipher(self, sender: int, receiver: int, plain: bytes) -> bytes:
        cipher, nonce = self._aead(sender, receiver)
        return cipher.encrypt(nonce, plain, None)

    def _plain(self, sender: int, packet: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        if sender not in self._keys or sender == self.number:
            raise AggregationError(f"shares came from party {sender}, which has sent no keys")
        cipher, nonce = self._aead(sender, self.number)
        try:
            return cipher.decrypt(nonce, packet, None)
        except InvalidTag:
            raise AggregationError(f"the shares of party {sender} were changed") from None

    def _aead(self, sender: int, receiver: int) -> tuple[Any, bytes]:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        other = receiver if sender == self.number else sender
        info = f"shares {sender} {receiver}"
        key = _agreed(self._share_key, self._keys[other][:_KEY_BYTES], info)
        return ChaCha20Poly1305(key), bytes(12)  # each key encrypts one message


def unmasked_sum(
    masked: Mapping[int, np.ndarray],
    keys: Mapping[int, bytes],
    sharers: Collection[int],
    revealed: Mapping[int, Mapping[int, bytes]],
    threshold: int,
) -> np.ndarray:
    """Return the exact sum of the vectors that arrived: what the server computes.

    Args:
      masked: uint64 `[n]` of each party whose vector has come.
      keys: `public_keys` of all parties that took part.
      sharers: parties that shared their secrets; those not in `masked` have left.
      revealed: what `Member.reveal` returned, by party.
      threshold: as for `Member`.

    Returns:
      uint64 `[n]`, modulo 2^64; `from_fixed_point` makes floats of it.

    Raises:
      AggregationError: fewer parties than the threshold, or shares that were changed; no
        part of a sum is returned.
    """
    _enough(masked, threshold, "have sent their vectors")
    _enough(revealed, threshold, "have revealed shares")
    first = next(iter(masked.values()))
    total = np.zeros_like(first)
    for number, vector in masked.items():
        if vector.shape != first.shape or vector.dtype != np.uint64:
            raise AggregationError(f"the vector of party {number} has another shape or type")
        seed = _joined(number, revealed, threshold)
        if _digest(seed) != keys[number][2 * _KEY_BYTES :]:
            raise AggregationError(f"shares of the seed of party {number} were changed")
        total = total + vector - _stream(seed, len(vector))
    for number in set(sharers) - set(masked):
        key = _key_of(_joined(number, revealed, threshold))
        if _public(key) != keys[number][_KEY_BYTES : 2 * _KEY_BYTES]:
            raise AggregationError(f"shares of the key of party {number} were changed")
        for other in masked:
            secret = _agreed(key, keys[other][_KEY_BYTES : 2 * _KEY_BYTES])
            stream = _stream(secret, len(total))
            total = total - stream if other < number else total + stream
    return total


def check_threshold(threshold: int, num_parties: int) -> int:
    """Return a threshold above half of the parties, and at most all.

    Raises:
      ValueError: another one.
    """
    _check.integer_at_least(num_parties // 2 + 1, threshold=threshold)
    if threshold > num_parties:
        raise ValueError(f"threshold must be at most num_parties = {num_parties}")
    return threshold


def _enough(parties: Collection[int], threshold: int, what: str) -> None:
    if len(parties) < threshold:
        raise AggregationError(
            f"{len(parties)} parties {what}, and {threshold} are needed: too many have left; "
            "resume with all of them"
        )


def _joined(number: int, revealed: Mapping[int, Mapping[int, bytes]], threshold: int) -> bytes:
    shares = {by: opened[number] for by, opened in revealed.items() if number in opened}
    _enough(shares, threshold, f"hold shares of party {number}")
    try:
        return join_shares(dict(list(shares.items())[:threshold]))
    except ValueError as error:
        raise AggregationError(f"the secret of party {number} is lost: {error}") from None


def _stream(key: bytes, length: int) -> np.ndarray:
    """Return uint64 `[length]` of ChaCha20 under a key that is used for nothing else."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

    cipher = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None)
    stream = cipher.encryptor().update(bytes(8 * length))
    return np.frombuffer(stream, "<u8").astype(np.uint64)


def _agreed(private: Any, public: bytes, info: str = "mask") -> bytes:
    """Return 32 bytes that two parties derive, each from its private key."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    try:
        shared = private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise AggregationError("a public key has small order, so its secret is known") from None
    label = f"anw_jax masked sum, {info}".encode()
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=label).derive(shared)


def _new_key() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    except ImportError:
        raise MissingLibraryError(
            "masked sums need cryptography: pip install '.[stamp]' in the checkout"
        ) from None
    return X25519PrivateKey.generate()


def _key_of(private: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return X25519PrivateKey.from_private_bytes(private)


def _private(key: Any) -> bytes:
    return key.private_bytes_raw()


def _public(key: Any) -> bytes:
    return key.public_key().public_bytes_raw()


def _digest(seed: bytes) -> bytes:
    return hashlib.sha256(b"anw_jax masked sum, seed" + seed).digest()
