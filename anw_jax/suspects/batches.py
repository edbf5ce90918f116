"""How many pictures a suspect is asked about together, and in which form."""

from collections.abc import Iterable, Sequence

import numpy as np

from anw_jax.suspects.preparing import asked_bytes, fitted
from anw_jax.suspects.protocol import RemoteSuspect, Suspect

# At most so many pictures together, and no more than so many bytes of them; twice as many
# bytes for a service, to which they go at once.
_BATCH, _BATCH_BYTES = 256, 2**28


def asked_size(suspect: Suspect) -> tuple[int, int] | None:
    """The size to which pictures are brought before they are handed over; None for their own.

    It is the declared one, except for suspects that know whole pictures (recorded answers).
    """
    return getattr(suspect, "asked_size", suspect.declaration.input_size)


def as_asked(suspect: Suspect, pixels: Sequence[np.ndarray]) -> np.ndarray:
    """Uint8 pictures `[H, W, 3]` as float32 `[b, H', W', 3]`, large ones made small at once."""
    return fitted(pixels, asked_size(suspect))


def batch_size_for(suspect: Suspect, shape: tuple[int, ...]) -> int:
    """Pictures `[H, W, 3]` handed to a suspect together.

    256, or fewer where they would fill more than 256 MiB, but as many as it takes at once
    (`num_together`) if these fill no more than 512 MiB.

    Example:
      >>> from anw_jax.suspects import CallableSuspect, Declaration
      >>> suspect = CallableSuspect(len, Declaration(2, input_size=(24, 24)), identity="a")
      >>> batch_size_for(suspect, (32, 32, 3)), batch_size_for(suspect, (3000, 4000, 3))
      (256, 7)
    """
    num_bytes = max(1, asked_bytes(shape, asked_size(suspect)))
    at_once = min(getattr(suspect, "num_together", 1), 2 * _BATCH_BYTES // num_bytes)
    return max(1, at_once, min(_BATCH, _BATCH_BYTES // num_bytes))


def sizes_asked(suspect: Suspect, totals: Iterable[int], batch_size: int) -> set[int]:
    """The numbers of pictures that a model meets in one call when `totals` are asked.

    Full batches, the last one of each total, and one alone, which follows a spent budget. A
    service meets requests, which carry fewer (`images_per_request`).

    Example:
      >>> from anw_jax.suspects import CallableSuspect, Declaration
      >>> suspect = CallableSuspect(len, Declaration(2), identity="a")
      >>> sorted(sizes_asked(suspect, [440], 256))
      [1, 184, 256]
    """
    sizes = {1}
    for total in totals:
        sizes |= {min(batch_size, total), total % batch_size}
    if isinstance(suspect, RemoteSuspect):
        most = getattr(suspect, "images_per_request", 1)
        sizes |= {min(most, size) for size in sizes} | {size % most for size in sizes}
        sizes = {size for size in sizes if size <= most}
    return sizes - {0}
