"""`tfds:<name>`: a TensorFlow Datasets set, read without TensorFlow."""

import dataclasses
import importlib.util
import types
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from anw_jax import _check, errors
from anw_jax.data.dataset import Splits, StreamedDataset, divide, goes_to_test
from anw_jax.data.streamed import StreamedImages

_CHUNK = 512  # records read at once: fast enough, and small in memory


def _tfds() -> types.ModuleType:
    missing = [
        package
        for module, package in (
            ("tensorflow_datasets", "tensorflow-datasets"),
            ("array_record", "array_record"),
            ("importlib_resources", "importlib_resources"),
        )
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        raise errors.SourceError(f"source 'tfds' needs: pip install {' '.join(missing)}")
    import tensorflow_datasets

    return tensorflow_datasets


def _builder(name: str, data_dir: str | None) -> Any:
    tfds = _tfds()
    try:
        return tfds.builder(name, data_dir=data_dir, file_format="array_record")
    except tfds.core.registered.DatasetNotFoundError:
        known = tfds.list_builders(with_community_datasets=False)
        hint = _check.did_you_mean(name, known)
        raise errors.SourceError(f"TFDS knows no set {name!r}{hint}") from None
    except (ImportError, ValueError, AssertionError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise errors.SourceError(f"TFDS cannot open {name!r}: {reason:.300}") from error


def _has_tensorflow() -> bool:
    return importlib.util.find_spec("tensorflow") is not None


def _prepare(builder: Any) -> None:
    """Download and prepare the set, which alone needs TensorFlow."""
    what = f"{builder.name} is not prepared as array_record in {builder.data_dir}"
    if not _has_tensorflow():
        raise errors.SourceError(
            f"{what}: set TFDS_DATA_DIR (or data_dir) to the folder that holds it, or "
            "pip install tensorflow to prepare it here"
        )
    try:
        builder.download_and_prepare()
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise errors.SourceError(
            f"{what}, and preparing it failed ({type(error).__name__}: {reason:.200})"
        ) from error


def _train_records(builder: Any) -> Sequence[Any]:
    """Open the training records; prepare the set first if it is missing."""
    not_prepared = (KeyError, NotImplementedError, OSError)
    try:
        return builder.as_data_source("train")
    except not_prepared:
        _prepare(builder)
    return builder.as_data_source("train")


def _image_and_label_keys(builder: Any) -> tuple[str, str]:
    keys = builder.info.supervised_keys
    features = builder.info.features
    if not keys or len(keys) != 2 or not hasattr(features[keys[1]], "names"):
        raise errors.SourceError(
            f"{builder.name} is not a set of images with class labels (its supervised "
            f"keys are {keys}): export it to a folder or a .npz file"
        )
    shape = features[keys[0]].shape
    if len(shape) != 3 or shape[-1] != 3:
        raise errors.SourceError(
            f"{builder.name} holds {keys[0]} of shape {shape}, not [H, W, 3]: "
            "only colour images have a hue to mark"
        )
    return keys


def _chunk(records: Sequence[Any], rows: Sequence[int]) -> Sequence[dict[str, Any]]:
    try:
        return records.__getitems__(rows)  # twice as fast as one by one
    except TypeError:
        return [records[row] for row in rows]  # tfds.testing.mock_data has no more


def _examples(records: Sequence[Any]) -> Iterator[dict[str, Any]]:
    for first in range(0, len(records), _CHUNK):
        yield from _chunk(records, range(first, min(first + _CHUNK, len(records))))


@dataclasses.dataclass(frozen=True, eq=False)
class _TfdsRecords:
    """Images of a prepared split."""

    source: Sequence[Any]
    image_key: str
    full_name: str

    def __len__(self) -> int:
        return len(self.source)

    def read(self, rows: Sequence[int]) -> Iterable[np.ndarray]:
        """Read all rows at once."""
        return [example[self.image_key] for example in _chunk(self.source, rows)]

    def name(self, row: int) -> str:
        """Return the split and the row."""
        return f"{self.full_name} image {row}"

    def identity(self) -> bytes:
        """Return name, version, split and length; prepared sets of one version are equal."""
        return f"{self.full_name} {len(self.source)}".encode()


def _labels(builder: Any, split: str, label_key: str, image_key: str) -> np.ndarray:
    """Read the labels of a split, int32, without decoding its images where possible."""
    skip = {image_key: _tfds().decode.SkipDecoding()}
    try:
        records = builder.as_data_source(split, decoders=skip)
        labels = [example[label_key] for example in _examples(records)]
    except ImportError:  # tfds.testing.mock_data cannot, without TensorFlow
        records = builder.as_data_source(split)
        labels = [example[label_key] for example in _examples(records)]
    return np.array(labels, np.int32)


def _streamed(
    builder: Any, records: Sequence[Any], split: str, name: str, image_size: int | None
) -> StreamedDataset:
    image_key, label_key = _image_and_label_keys(builder)
    images = _TfdsRecords(records, image_key, f"{builder.info.full_name}/{split}")
    return StreamedDataset(
        images=StreamedImages.of(images, image_size),
        labels=_labels(builder, split, label_key, image_key),
        class_names=tuple(builder.info.features[label_key].names),
        name=name,
    )


def load(argument: str, image_size: int | None, data_dir: str | None) -> Splits:
    """Open a prepared set of images with class labels, in TFDS's order.

    It is looked for in `data_dir`, else in `TFDS_DATA_DIR`, else in TFDS's default folder.
    A set that is not prepared there is downloaded and prepared if TensorFlow is
    installed. Test is the split `test`, else `validation`, else a fifth of `train` chosen
    by a hash of each image's pixels. Labels are those of the set's supervised task, for
    CIFAR-100 the 100 fine ones.
    """
    builder = _builder(argument, data_dir)
    source = f"tfds:{argument}"
    records = _train_records(builder)
    splits = list(builder.info.splits) or ["test"]  # mocked sets name no splits
    test_splits = [split for split in ("test", "validation") if split in splits]
    if test_splits:
        test_split = test_splits[0]
        test_records = builder.as_data_source(test_split)
        return Splits(
            _streamed(builder, records, "train", f"{source}/train", image_size),
            _streamed(builder, test_records, test_split, f"{source}/test", image_size),
        )
    train = _streamed(builder, records, "train", source, image_size)
    in_test = [
        goes_to_test(image.tobytes()) for images in train.images.chunks() for image in images
    ]
    return divide(train, np.array(in_test))
