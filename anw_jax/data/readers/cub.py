"""The layout of Caltech-UCSD Birds-200-2011 (`CUB_200_2011.tgz`).

`images.txt`, `image_class_labels.txt` and `train_test_split.txt` give, by image number, the
path below `images/`, the class (from 1) and whether it is for training (1) or test (0);
`classes.txt` names the classes. Wah et al. 2011, CNS-TR-2011-001,
https://www.vision.caltech.edu/datasets/cub_200_2011/. Images are not cropped to their bounding
boxes.
"""

import pathlib
from collections.abc import Mapping

from anw_jax import errors
from anw_jax.data.dataset import Splits, StreamedDataset
from anw_jax.data.readers import listings

_LISTS = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")


def find(root: pathlib.Path) -> pathlib.Path | None:
    """Return `root`, or `CUB_200_2011` in it, if it has the files of this layout."""
    for folder in (root, root / "CUB_200_2011"):
        if (folder / "images.txt").is_file() and (folder / "images").is_dir():
            return folder
    return None


def _table(path: pathlib.Path) -> dict[str, str]:
    """Read a list as a dict by number; a repeated number is an error."""
    rows = listings.read_rows(path, 2, None)
    table = {number: text.strip() for number, text in rows}
    if len(table) != len(rows):
        raise errors.SourceError(f"{path} has a number twice: restore it from the archive")
    return table


def _refuse_unequal(
    root: pathlib.Path, images: Mapping[str, str], name: str, other: Mapping[str, str]
) -> None:
    """Raise unless both lists are about the same images."""
    differing = sorted(images.keys() ^ other.keys())
    if differing:
        missing_in = name if differing[0] in images else "images.txt"
        raise errors.SourceError(
            f"{root / missing_in} has no line for image {differing[0]}: restore it from the "
            "archive"
        )


def _refuse_other(path: pathlib.Path, table: Mapping[str, str], allowed: set[str]) -> None:
    """Raise if the list has a value that is not allowed."""
    for number, text in table.items():
        if text not in allowed:
            raise errors.SourceError(
                f"{path} has {text!r:.40} for image {number}: restore it from the archive"
            )


def read(root: pathlib.Path, source: str, image_size: int | None) -> Splits:
    """List the images of both splits, by path; classes are in the order of `classes.txt`."""
    images, labels, is_train, classes = (_table(root / name) for name in _LISTS)
    for name, table in zip(_LISTS[1:3], (labels, is_train), strict=True):
        _refuse_unequal(root, images, name, table)
    _refuse_other(root / _LISTS[1], labels, set(classes))
    _refuse_other(root / _LISTS[2], is_train, {"0", "1"})
    label_of = {number: label for label, number in enumerate(classes)}
    folder = root / "images"
    listings.refuse_missing((folder / path for path in images.values()), root / _LISTS[0])

    def side(flag: str, name: str) -> StreamedDataset:
        numbers = sorted((n for n in images if is_train[n] == flag), key=images.__getitem__)
        if not numbers:
            raise errors.SourceError(
                f"{root / _LISTS[2]} leaves no image to {name}: restore it from the archive"
            )
        return listings.dataset_of(
            files=[folder / images[number] for number in numbers],
            labels=[label_of[labels[number]] for number in numbers],
            class_names=tuple(classes.values()),
            name=f"{source}/{name}",
            root=folder,
            image_size=image_size,
        )

    return Splits(side("1", "train"), side("0", "test"))
