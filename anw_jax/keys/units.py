"""Canonical pixels, and how images form the units that carry independent slots."""

import hashlib
import re
import struct
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from anw_jax import _check

SCHEMES = ("per_image", "per_group", "per_user")

_TAG_IMAGE = b"anw_jax/v1/image\0"
_TAG_UNIT = b"anw_jax/v1/unit\0"


def image_digest(image: np.ndarray) -> str:
    """SHA-256, as hex, over the canonical pixels of one original.

    Canonical pixels are the shape and the uint8 RGB bytes of the original *before any
    resizing*. Hash once, when marking, and keep the manifest: another JPEG decoder may
    give pixels that differ by one level, and so another digest.

    Args:
      image: uint8 `[H, W, 3]` (or float in [0, 1] with 8-bit values).

    Example:
      >>> image_digest(np.zeros((1, 1, 3), np.uint8))[:16]
      '19a1ca8ed3fe35ae'
    """
    return digest_of_one(image=image)


def digest_of_one(**named: np.ndarray) -> str:
    """`image_digest` of the one picture given, whose errors name it by its keyword."""
    pixels = _check.uint8_image(**named)
    height, width, _ = pixels.shape
    header = _TAG_IMAGE + struct.pack(">QQ", height, width)
    return hashlib.sha256(header + pixels.tobytes()).hexdigest()


def unit_digest(scheme: str, image_digests: Iterable[str]) -> str:
    """SHA-256, as hex, over the set of originals that form one unit."""
    members = sorted(set(image_digests))
    message = _TAG_UNIT + scheme.encode() + b"\0" + "".join(members).encode()
    return hashlib.sha256(message).hexdigest()


def group_into_units(
    image_digests: Sequence[str], scheme: str, groups: Sequence[Hashable] | None
) -> list[int]:
    """Numbers the units in order of appearance; returns the unit of each image.

    Byte-identical originals always share a unit: a photo that lies in two albums belongs
    to the first, so that it is published with one hue and counted once.
    """
    _check.one_of(SCHEMES, scheme=scheme)
    if (groups is None) == (scheme == "per_group"):
        raise ValueError(
            "groups must name the album of each image with scheme='per_group', and be None "
            f"with the other schemes; got scheme={scheme!r}, groups={groups!r:.60}"
        )
    if scheme == "per_group" and len(groups) != len(image_digests):
        raise ValueError(
            f"groups must have one entry for each of the {len(image_digests)} images, "
            f"got {len(groups)}"
        )
    labels: Sequence[Hashable] = {
        "per_image": image_digests,
        "per_group": groups,
        "per_user": [0] * len(image_digests),
    }[scheme]
    label_of_digest: dict[str, Hashable] = {}
    number_of_label: dict[Hashable, int] = {}
    units = []
    for digest, label in zip(image_digests, labels, strict=True):
        label = label_of_digest.setdefault(digest, label)
        units.append(number_of_label.setdefault(label, len(number_of_label)))
    return units


def is_digest(value: object) -> bool:
    """Whether a value is a SHA-256 in lower-case hex.

    Example:
      >>> is_digest("0f" * 32), is_digest("0F" * 32), is_digest(None)
      (True, False, False)
    """
    return type(value) is str and re.fullmatch("[0-9a-f]{64}", value) is not None
