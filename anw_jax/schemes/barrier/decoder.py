"""The decoder of the keyed filter barrier: everything that is fixed before the bits."""

import dataclasses
import functools
import hashlib
import io
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from anw_jax import _check, _files, _json
from anw_jax.errors import CommitmentError
from anw_jax.keys.bits import MOST_BITS
from anw_jax.keys.digests import is_digest, length_prefixed
from anw_jax.keys.plan_fields import BARRIER
from anw_jax.schemes.barrier.changes import CHANGES
from anw_jax.schemes.barrier.filters import FAMILIES, statistics, strongest

# Mixing survives flips and quarter turns of a thief's pairs, cross flips, odd neither; JPEG
# leaves most of odd, and least of mixing.
DEFAULT_BITS = {"mixing": 16, "cross": 24, "odd": 40}

# The orientation rule is part of the format: queries are asked as they are, and read once.
_FORMAT = "anw_jax barrier decoder, version 1, one orientation"
_TAG_DECODER = b"anw_jax/v1/barrier-decoder\0"
_TAG_IMAGES = b"anw_jax/v1/barrier-images\0"
_MOST_BYTES = 2**32
_ARRAYS = ("kernels", "queries", "outputs")


@dataclasses.dataclass(frozen=True)
class Head:
    """What a plan fixes of a decoder: its digest, and the number of its bits.

    Attributes:
      digest: `Decoder.digest`.
      num_bits: of the decoder; the digest covers it.

    Raises:
      TypeError, ValueError: a field out of its range.
    """

    digest: str
    num_bits: int

    def __post_init__(self):
        if not is_digest(self.digest):
            raise ValueError("digest must be 64 lower-case hex digits")
        _check.integer_between(1, MOST_BITS, num_bits=self.num_bits)

    @property
    def mark(self) -> str:
        """What the plan says of the watermark: "barrier:DIGEST"."""
        return f"{BARRIER}:{self.digest}"

    def as_json(self) -> dict[str, Any]:
        """Return plain values, as `mark.json` has them."""
        return {"format": _FORMAT, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "Head":
        """Read the result of `as_json`.

        Raises:
          TypeError, ValueError: no such result.
        """
        _check.is_instance(dict, decoder=body)
        if body.get("format") != _FORMAT:
            raise ValueError(f"format must be {_FORMAT!r}, got {body.get('format')!r:.60}")
        return cls(**{name: value for name, value in body.items() if name != "format"})


@dataclasses.dataclass(frozen=True, eq=False)
class Decoder:
    """Queries, own unmarked outputs, and public filters, one for each bit.

    Nothing in it is secret. The owner keeps queries and outputs to himself until the
    commitment is opened, so that a copy cannot treat the queries in a way of their own.

    Attributes:
      base: digest of the unmarked model, 64 hex digits: `schemes.weights_digest`, or SHA-256
        of the code of an algorithm that is no network.
      whitening: `images_digest` of the public images on which the filters are orthonormal.
      kernels: float64 `[num_bits, S, S, 3, 3]`.
      queries: uint8 `[n, H, W, 3]`, inputs; never marked outputs, nor made from them.
      outputs: uint8 `[n, H, W, 3]`, the unmarked model's own outputs on them.

    Raises:
      TypeError, ValueError: fields that do not fit each other.
    """

    base: str
    whitening: str
    kernels: np.ndarray
    queries: np.ndarray
    outputs: np.ndarray

    def __post_init__(self):
        for name in ("base", "whitening"):
            if not is_digest(getattr(self, name)):
                raise ValueError(f"{name} must be 64 lower-case hex digits")
        kernels = np.array(self.kernels, np.float64)
        shape = kernels.shape
        is_square = kernels.ndim == 5 and shape[1] == shape[2] and shape[1] % 2 == 1
        if not is_square or shape[3:] != (3, 3) or not len(kernels):
            raise ValueError(f"kernels must be [num_bits, S, S, 3, 3], S odd, got {shape}")
        if not np.isfinite(kernels).all():
            raise ValueError("kernels must be finite")
        queries = _check.uint8_images(queries=self.queries).copy()
        outputs = _check.uint8_images(outputs=self.outputs).copy()
        if queries.shape != outputs.shape or not len(queries):
            raise ValueError(
                "queries and outputs must have one shape and hold at least one image, got "
                f"{queries.shape} and {outputs.shape}"
            )
        if min(outputs.shape[1:3]) <= shape[1] // 2:
            raise ValueError(
                f"outputs must have more pixels along each side than the kernels' radius "
                f"{shape[1] // 2}, got {outputs.shape[1:3]}"
            )
        for name, array in (("kernels", kernels), ("queries", queries), ("outputs", outputs)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def num_bits(self) -> int:
        """How many bits are read from a model."""
        return len(self.kernels)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of all fields, as hex."""
        kernels = np.ascontiguousarray(self.kernels, "<f8")
        parts = [
            _FORMAT.encode(),
            bytes.fromhex(self.base),
            bytes.fromhex(self.whitening),
            str(kernels.shape).encode(),
            kernels.tobytes(),
            bytes.fromhex(images_digest(self.queries)),
            bytes.fromhex(images_digest(self.outputs)),
        ]
        return hashlib.sha256(_TAG_DECODER + length_prefixed(parts)).hexdigest()

    @property
    def head(self) -> Head:
        """What the plan fixes of it."""
        return Head(self.digest, self.num_bits)

    @property
    def mark(self) -> str:
        """What the plan says of the watermark."""
        return self.head.mark

    def check_own(self, base: str, outputs: np.ndarray) -> None:
        """Check that the owner's model is the committed one.

        Args:
          base: digest of the model, as `base` has it.
          outputs: uint8, what it answers to `queries` now.

        Raises:
          CommitmentError: the model, or an output, differs.
        """
        if base != self.base:
            raise CommitmentError(
                f"base must be the unmarked model that the decoder names, {self.base[:16]}…, "
                f"got {base[:16]}…: the model was changed after the commitment"
            )
        outputs = _check.uint8_images(outputs=outputs)
        if outputs.shape != self.outputs.shape or (outputs != self.outputs).any():
            raise CommitmentError(
                "the model's own outputs differ from the committed ones: scores are read "
                "against outputs that were made before the bits, and no others"
            )


def images_digest(images: np.ndarray) -> str:
    """Compute the SHA-256, as hex, of uint8 images `[n, H, W, 3]`, in their order.

    Example:
      >>> images_digest(np.zeros((1, 2, 2, 3), np.uint8))[:16]
      'a0422aab5741a3f3'
    """
    images = _check.uint8_images(images=images)
    parts = [str(images.shape).encode(), np.ascontiguousarray(images).tobytes()]
    return hashlib.sha256(_TAG_IMAGES + length_prefixed(parts)).hexdigest()


def check_bits(bits: Mapping[str, int]) -> dict[str, int]:
    """Return the families that have bits, in the order of `filters.FAMILIES`.

    Raises:
      TypeError, ValueError: another family, a number below 0, or no bits at all.
    """
    for name, count in bits.items():
        _check.one_of(FAMILIES, bits=name)
        _check.integer_at_least(0, **{f"bits of {name}": count})
    found = {name: bits[name] for name in FAMILIES if bits.get(name)}
    if not found:
        raise ValueError(f"bits must be at least 1 of {', '.join(FAMILIES)}, got {dict(bits)}")
    return found


def make_decoder(
    base: str,
    queries: np.ndarray,
    outputs: np.ndarray,
    whitening: np.ndarray,
    *,
    bits: Mapping[str, int] = DEFAULT_BITS,
    radius: int = 3,
) -> Decoder:
    """Make a decoder; before the beacon's value, and so before the bits.

    Args:
      base: digest of the unmarked model.
      queries: uint8 `[n, H, W, 3]`, inputs that no marked output was made from.
      outputs: uint8, the unmarked model's outputs on the queries.
      whitening: uint8 `[m, H, W, 3]`, its outputs for public inputs.
      bits: number of filters, and of bits, of families of `filters.FAMILIES`; 0 for none.
      radius: of the filters, in pixels.

    Raises:
      ValueError: more bits than the whitening images excite features; no bits.
    """
    whitening = _check.uint8_images(whitening=whitening)
    of = statistics(whitening, CHANGES, radius)
    kernels = np.concatenate(
        [strongest(name, of, count) for name, count in check_bits(bits).items()]
    )
    return Decoder(base, images_digest(whitening), kernels, queries, outputs)


def save_decoder(path: str | os.PathLike, decoder: Decoder) -> None:
    """Write a decoder to a new file: a NumPy archive without pickled objects.

    Raises:
      FileExistsError: the file exists.
    """
    fields = {"format": _FORMAT, "base": decoder.base, "whitening": decoder.whitening}
    buffer = io.BytesIO()
    head = np.frombuffer(_json.canonical(fields), np.uint8)
    np.savez(buffer, head=head, **{name: getattr(decoder, name) for name in _ARRAYS})
    _files.write_new(path, buffer.getvalue())


def load_decoder(path: str | os.PathLike) -> Decoder:
    """Read a decoder; its digest says whether it is the committed one.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is no decoder.
    """
    body = _files.read_regular(path, _MOST_BYTES)
    try:
        # `save_decoder` does not compress: a file that expands is none of its files.
        arrays = _files.read_npz(body, len(body))
        fields: dict[str, Any] = _json.loads(arrays.pop("head").tobytes())
        if fields.pop("format") != _FORMAT:
            raise KeyError("format")
        return Decoder(**fields, **arrays)
    except Exception:  # of numpy, zipfile and zlib, which share no base
        raise ValueError(f"{path} is no barrier decoder: see schemes.barrier") from None
