"""The 80/20 rule for sources that come in one piece."""

import dataclasses
import hashlib

import numpy as np

from anw_jax import errors
from anw_jax.data.dataset import Dataset, Splits

_TAG = b"anw_jax.data.split/1\0"


def goes_to_test(content: bytes) -> bool:
    """Whether a photo with these bytes is one of the fifth that tests.

    The photo alone decides, so adding others moves none, and byte-identical copies are
    never on both sides.
    """
    digest = hashlib.sha256(_TAG + content).digest()
    return int.from_bytes(digest[:8]) % 5 == 0


def divide(everything: Dataset, in_test: np.ndarray) -> Splits:
    """Splits by the bool array `in_test` `[n]`; an error where a side would be empty."""
    sides = {}
    for name, rows in (("train", ~in_test), ("test", in_test)):
        if not rows.any():
            raise errors.SourceError(
                f"{everything.name} has {len(everything)} images, of which the 80/20 split "
                f"leaves none to {name}: add images, or give train and test apart"
            )
        side = everything.take(np.flatnonzero(rows))
        sides[name] = dataclasses.replace(side, name=f"{everything.name}/{name}")
    return Splits(**sides)
