"""The layout of most sets: a folder of photos for each class."""

import pathlib

import numpy as np

from anw_jax import errors
from anw_jax.data import _photo_files, _split
from anw_jax.data.dataset import Splits
from anw_jax.data.streamed import StreamedDataset

_TEST_FOLDERS = ("test", "val")


def _folders(root: pathlib.Path) -> list[pathlib.Path]:
    folders = _photo_files.folders_in(root)
    if not folders:
        raise errors.SourceError(
            f"{root} holds no class folders: put each class's photos into a folder of its own"
        )
    return folders


def _list(
    root: pathlib.Path, class_names: tuple[str, ...], name: str, image_size: int | None
) -> StreamedDataset:
    """Every photo below `root`, class by class, file names in order."""
    folders = _folders(root)
    label_of = {class_name: label for label, class_name in enumerate(class_names)}
    unknown = [folder.name for folder in folders if folder.name not in label_of]
    if unknown:
        raise errors.SourceError(
            f"{root} has a class {unknown[0]!r} that is not in the training folder"
        )
    _photo_files.warn_of_other_pictures(folders)
    files = [file for folder in folders for file in _photo_files.photos_in(folder)]
    labels = [label_of[file.parent.name] for file in files]
    return _photo_files.dataset_of(files, labels, class_names, name, root, image_size)


def read(root: pathlib.Path, source: str, image_size: int | None) -> Splits:
    """Lists `<class>/<photo>`, or `train/<class>/<photo>` beside `test/` or `val/`.

    Classes are sorted by name. Without `test/` or `val/` a photo goes to test if a hash of
    its file's bytes falls into the lowest fifth, so later additions move none.
    """
    test_roots = [root / name for name in _TEST_FOLDERS if (root / name).is_dir()]
    if (root / "train").is_dir() and test_roots:
        names = tuple(folder.name for folder in _folders(root / "train"))
        train = _list(root / "train", names, f"{source}/train", image_size)
        return Splits(train, _list(test_roots[0], names, f"{source}/test", image_size))
    names = tuple(folder.name for folder in _folders(root))
    everything = _list(root, names, source, image_size)
    contents = ((root / name).read_bytes() for name in everything.file_names)
    return _split.divide(everything, np.array([*map(_split.goes_to_test, contents)]))
