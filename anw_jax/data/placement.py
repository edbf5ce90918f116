"""Whether a set is read into memory or streamed from disk."""

import dataclasses
import math
import os
import pathlib

import jax

from anw_jax import _check

# The learner's copy with marks in place, the originals and a copy on the device (which on a
# CPU is the same memory) exist at once.
_SHARE = 1 / 4
_CGROUP_LIMIT = pathlib.Path("/sys/fs/cgroup/memory.max")


@dataclasses.dataclass(frozen=True)
class Placement:
    """What decides where photos are kept.

    Attributes:
      in_memory: True, False, or `"auto"` for sets of at most `memory_bytes`.
      memory_bytes: bytes; None for a quarter of what this machine has, or its first
        device if that has less.

    Raises:
      TypeError: if `in_memory` is neither a bool nor `"auto"`.
      ValueError: if `memory_bytes` is below 1.
    """

    in_memory: bool | str = "auto"
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.in_memory, bool) and self.in_memory != "auto":
            raise TypeError(f"in_memory must be True, False or 'auto', got {self.in_memory!r}")
        if self.memory_bytes is not None:
            _check.integer_at_least(1, memory_bytes=self.memory_bytes)

    def streams(self, num_images: int, image_shape: tuple[int, ...]) -> bool:
        """Whether so many uint8 images of this shape stay on disk."""
        if self.in_memory != "auto":
            return not self.in_memory
        limit = default_memory_bytes() if self.memory_bytes is None else self.memory_bytes
        return num_images * math.prod(image_shape) > limit


def default_memory_bytes() -> int:
    """A quarter of the memory that this process can have, on the host or the device."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    if _CGROUP_LIMIT.is_file() and (text := _CGROUP_LIMIT.read_text().strip()).isdecimal():
        limits.append(int(text))
    device = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in device:
        limits.append(device["bytes_limit"])
    return int(min(limits) * _SHARE)
