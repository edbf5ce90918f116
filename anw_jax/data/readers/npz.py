"""`npz:<path>`: arrays in a NumPy archive."""

import os
import pathlib
import zipfile

import numpy as np

from anw_jax import _check, errors
from anw_jax.data import image_files
from anw_jax.data.dataset import Dataset, Splits, divide, goes_to_test

_SPLIT_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_WHOLE_ARRAYS = ("images", "labels")


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Read those of the known arrays that the file has; pickled ones are refused."""
    if not path.is_file():
        raise errors.SourceError(f"{path} is not there: give the path of a .npz file")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            wanted = {*_SPLIT_ARRAYS, *_WHOLE_ARRAYS, "class_names"} & set(archive.files)
            return {name: archive[name] for name in wanted}
    except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise errors.SourceError(
            f"{path} is not a .npz file of plain arrays (pickled ones are refused): "
            "write it with np.savez"
        ) from error


def _wanted(arrays: dict[str, np.ndarray], path: pathlib.Path) -> tuple[str, ...]:
    """Return the names of the arrays to use; an error names the missing ones."""
    whole = "images" in arrays and "train_images" not in arrays
    wanted = _WHOLE_ARRAYS if whole else _SPLIT_ARRAYS
    missing = [name for name in wanted if name not in arrays]
    if missing:
        raise errors.SourceError(
            f"{path} has no array {', '.join(missing)}: it needs {', '.join(_SPLIT_ARRAYS)}, "
            f"or {', '.join(_WHOLE_ARRAYS)}"
        )
    return wanted


def _check_pair(arrays: dict[str, np.ndarray], images: str, labels: str) -> None:
    if arrays[images].dtype != np.uint8:
        raise TypeError(
            f"{images} must be uint8, got {arrays[images].dtype}: round to 8 bits first"
        )
    _check.uint8_images(**{images: arrays[images]})
    if not len(arrays[images]):
        raise ValueError(f"{images} must hold at least one image, got none")
    _check.class_labels(len(arrays[images]), **{labels: arrays[labels]})


def _class_names(arrays: dict[str, np.ndarray], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return array `class_names`, or numbers; labels beyond the names are an error."""
    highest = {name: int(arrays[name].max()) for name in wanted[1::2]}
    if "class_names" not in arrays:
        return tuple(str(label) for label in range(max(highest.values()) + 1))
    names = tuple(str(name) for name in arrays["class_names"].ravel())
    for name, label in highest.items():
        if label >= len(names):
            raise ValueError(
                f"{name} must be below {len(names)}, the length of class_names, got {label}"
            )
    return names


def _dataset(
    images: np.ndarray, labels: np.ndarray, names: tuple[str, ...], name: str, size: int | None
) -> Dataset:
    images, digests = image_files.fit_all(images, size)
    return Dataset(images, labels, names, name, original_digests=digests)


def load(argument: str, image_size: int | None, data_dir: str | None) -> Splits:
    """Read `train_images`, `train_labels`, `test_images`, `test_labels`.

    Images are uint8 `[n, H, W, 3]`, labels integers `[n]` from 0; an array of strings
    `class_names` may name them. A file with `images` and `labels` only is split 80/20 by a
    hash of each image's pixels. `data_dir` is not used.
    """
    path = pathlib.Path(os.path.expanduser(argument))
    arrays = _read(path)
    wanted = _wanted(arrays, path)
    for images, labels in zip(wanted[::2], wanted[1::2], strict=True):
        _check_pair(arrays, images, labels)
    names = _class_names(arrays, wanted)
    source = f"npz:{path.name}"
    if wanted == _WHOLE_ARRAYS:
        in_test = [goes_to_test(image.tobytes()) for image in arrays["images"]]
        whole = _dataset(arrays["images"], arrays["labels"], names, source, image_size)
        return divide(whole, np.array(in_test))
    train, test = (
        _dataset(arrays[images], arrays[labels], names, f"{source}/{side}", image_size)
        for side, images, labels in (("train", *wanted[:2]), ("test", *wanted[2:]))
    )
    return Splits(train, test)
