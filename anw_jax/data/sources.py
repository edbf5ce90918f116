"""`load`: read a source by name, into memory or streamed from disk."""

import math
import os
import pathlib
import types
from collections.abc import Callable, Mapping

from anw_jax import _check, errors
from anw_jax.data.dataset import Splits, StreamedDataset
from anw_jax.data.readers import folder, mock, npz, scikit_image, tfds

# From the text after the colon, `image_size` and `data_dir`.
SourceFn = Callable[[str, int | None, str | None], Splits]

SOURCES: Mapping[str, SourceFn] = types.MappingProxyType(
    {
        "photos": scikit_image.load,
        "tfds": tfds.load,
        "folder": folder.load,
        "npz": npz.load,
        "mock": mock.load,
    }
)


# The learner's copy with marked images, the originals and a copy on the device (on a CPU in the
# same memory) exist at once.
_SHARE = 1 / 4
_CGROUP_LIMIT = pathlib.Path("/sys/fs/cgroup/memory.max")


def load(
    source: str,
    *,
    image_size: int | None = None,
    data_dir: str | None = None,
    in_memory: bool | str = "auto",
    memory_bytes: int | None = None,
) -> Splits:
    """Load the images of a source.

    A set that is too large for memory is streamed: it holds lists of files, and images are
    decoded each time they are indexed. Rows, labels, users, batches and trained weights are the
    same either way.

    Args:
      source: one of
        `photos` – 1,842 tiles of images inside scikit-image, no download;
        `tfds:<name>` – a TensorFlow Datasets set, for example `tfds:cifar10`;
        `folder:<path>` – `<class>/<file>`, or `train/…` and `test/…` (or `val/…`), or
        Tiny ImageNet or CUB-200-2011 as distributed;
        `npz:<path>` – arrays `train_images`, `train_labels`, `test_images`, `test_labels`;
        `mock:<n>` – `n` made-up images for tests.
      image_size: pixels; every image's short side is resized to this (bicubic), then the
        centre square is cut out. None leaves images as they are; then all must have one
        size.
      data_dir: where TFDS keeps prepared sets; only `tfds:` uses it.
      in_memory: True, False (streamed), or `"auto"`: in memory if the set takes at most
        `memory_bytes`. Sources `npz`, `photos` and `mock` are always read whole; with
        False their images still go to the device batch by batch.
      memory_bytes: bytes of uint8 pixels; None for a quarter of this machine's memory, or
        of its first device's if that has less.

    Returns:
      Training and test images, uint8, in an order that is the same in every run: of class
      `Dataset`, or `StreamedDataset` where they are streamed.

    Raises:
      TypeError: if an argument has the wrong type.
      ValueError: if a number is below 1.
      SourceError: if the source is unknown, cannot be read or needs a package that is
        missing; the message includes the remedy.

    Example:
      >>> splits = load("mock:16", image_size=8)
      >>> splits.train.images.shape, splits.test.images.shape
      ((16, 8, 8, 3), (4, 8, 8, 3))
    """
    _check.is_instance(str, source=source)
    if image_size is not None:
        image_size = _check.integer_at_least(1, image_size=image_size)
    if not isinstance(in_memory, bool) and in_memory != "auto":
        raise TypeError(f"in_memory must be True, False or 'auto', got {in_memory!r}")
    if memory_bytes is not None:
        memory_bytes = _check.integer_at_least(1, memory_bytes=memory_bytes)
    name, _, argument = source.partition(":")
    if name not in SOURCES:
        hint = _check.did_you_mean(name, SOURCES)
        raise errors.SourceError(
            f"source must begin with one of {', '.join(SOURCES)}; got {source!r}{hint}"
        )
    try:
        splits = SOURCES[name](argument, image_size, data_dir)
        return _placed(splits, in_memory, memory_bytes)
    except errors.SourceError:
        raise
    except (TypeError, ValueError) as error:  # what a Dataset or Splits refused
        raise errors.SourceError(f"{source}: {error}") from error


def default_memory_bytes() -> int:
    """Return a quarter of the memory available to this process, on the host or the device."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    if _CGROUP_LIMIT.is_file() and (text := _CGROUP_LIMIT.read_text().strip()).isdecimal():
        limits.append(int(text))
    import jax

    device = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in device:
        limits.append(device["bytes_limit"])
    return int(min(limits) * _SHARE)


def stays_on_disk(
    num_bytes: int, in_memory: bool | str = "auto", memory_bytes: int | None = None
) -> bool:
    """Return whether a set of so many bytes is streamed; see `load` for the other arguments."""
    if in_memory != "auto":
        return not in_memory
    return num_bytes > (default_memory_bytes() if memory_bytes is None else memory_bytes)


def _placed(splits: Splits, in_memory: bool | str, memory_bytes: int | None) -> Splits:
    """Read streamed splits into memory, or feed others from the host, as requested."""
    train, test = splits.train, splits.test
    if not isinstance(train, StreamedDataset):
        if in_memory is False:
            return Splits(StreamedDataset.of(train), StreamedDataset.of(test))
        return splits
    num_bytes = (len(train) + len(test)) * math.prod(train.images.shape[1:])
    if stays_on_disk(num_bytes, in_memory, memory_bytes):
        return splits
    return Splits(train.in_memory(), test.in_memory())
