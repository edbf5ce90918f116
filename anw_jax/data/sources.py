"""`load`: from the name of a source to photos, in memory or on disk."""

import types
from collections.abc import Callable, Mapping

from anw_jax import _check, errors
from anw_jax.data.dataset import Dataset, Splits, StreamedDataset
from anw_jax.data.readers import folder, mock, npz, scikit_image, tfds
from anw_jax.data.streamed import Placement

SourceFn = Callable[[str, int | None, str | None, Placement], Splits]

SOURCES: Mapping[str, SourceFn] = types.MappingProxyType(
    {
        "photos": scikit_image.load,
        "tfds": tfds.load,
        "folder": folder.load,
        "npz": npz.load,
        "mock": mock.load,
    }
)


def load(
    source: str,
    *,
    image_size: int | None = None,
    data_dir: str | None = None,
    in_memory: bool | str = "auto",
    memory_bytes: int | None = None,
) -> Splits:
    """Loads the photos of a source.

    A set that is too large for memory is streamed: it keeps lists of files, and photos are
    decoded each time they are wanted. Rows, labels, users and batches are the same for
    either, and so is what is trained on them.

    Args:
      source: one of
        `photos` – 1,842 tiles of photos inside scikit-image, no download;
        `tfds:<name>` – a TensorFlow Datasets set, for example `tfds:cifar10`;
        `folder:<path>` – `<class>/<photo>`, or `train/…` and `test/…` (or `val/…`), or
        Tiny ImageNet or CUB-200-2011 as they are given out;
        `npz:<path>` – arrays `train_images`, `train_labels`, `test_images`, `test_labels`;
        `mock:<n>` – `n` made-up images for tests.
      image_size: pixels; every image's short side is resized to this (bicubic), then the
        centre square is cut out. None leaves images as they are, which must then all be
        of one size.
      data_dir: where TFDS keeps prepared sets; only `tfds:` looks at it.
      in_memory: True, False (streamed), or `"auto"`: in memory if the set takes at most
        `memory_bytes`. Sources `npz`, `photos` and `mock` are always read whole; with
        False their photos still go to the device batch by batch.
      memory_bytes: bytes of uint8 pixels; None for a quarter of this machine's memory, or
        of its first device's if that has less.

    Returns:
      Training and test photos, uint8, in an order that is the same in every run: of class
      `Dataset`, or `StreamedDataset` where they are streamed.

    Raises:
      TypeError: if an argument is of the wrong kind.
      ValueError: if a number is below 1.
      SourceError: if the source is unknown, cannot be read or needs a package that is
        missing; the message says what to do.

    Example:
      >>> splits = load("mock:16", image_size=8)
      >>> splits.train.images.shape, splits.test.images.shape
      ((16, 8, 8, 3), (4, 8, 8, 3))
    """
    _check.is_instance(str, source=source)
    if image_size is not None:
        image_size = _check.integer_at_least(1, image_size=image_size)
    placement = Placement(in_memory, memory_bytes)
    name, _, argument = source.partition(":")
    if name not in SOURCES:
        hint = _check.did_you_mean(name, SOURCES)
        raise errors.SourceError(
            f"source must begin with one of {', '.join(SOURCES)}; got {source!r}{hint}"
        )
    try:
        splits = SOURCES[name](argument, image_size, data_dir, placement)
    except errors.SourceError:
        raise
    except (TypeError, ValueError) as error:  # what a Dataset or Splits refused
        raise errors.SourceError(f"{source}: {error}") from error
    if placement.in_memory is not False:
        return splits
    return Splits(_fed_from_host(splits.train), _fed_from_host(splits.test))


def _fed_from_host(dataset: Dataset) -> StreamedDataset:
    is_streamed = isinstance(dataset, StreamedDataset)
    return dataset if is_streamed else StreamedDataset.of(dataset)
