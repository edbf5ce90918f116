"""The layout of Tiny ImageNet as distributed by Stanford (`tiny-imagenet-200.zip`).

`wnids.txt` lists the classes, `words.txt` names them; training images are in
`train/<wnid>/images/`, listed in `train/<wnid>/<wnid>_boxes.txt`; validation images in
`val/images/`, their classes in `val/val_annotations.txt`. Described at
https://www.kaggle.com/c/tiny-imagenet. The images in `test/` have no public labels, so the
validation images are the test split.
"""

import pathlib

from anw_jax import errors
from anw_jax.data.dataset import Splits
from anw_jax.data.readers import listings


def find(root: pathlib.Path) -> pathlib.Path | None:
    """Return `root`, or `tiny-imagenet-200` in it, if it has the files of this layout."""
    for folder in (root, root / "tiny-imagenet-200"):
        # A copy that was sorted into plain class folders may still have wnids.txt.
        if (folder / "wnids.txt").is_file() and any(folder.glob("train/*/images")):
            return folder
    return None


def _class_names(root: pathlib.Path, wnids: list[str]) -> tuple[str, ...]:
    """Return names such as `n01443537 goldfish`; the number alone if `words.txt` lacks it."""
    words = {}
    if (root / "words.txt").is_file():
        words = dict(listings.read_rows(root / "words.txt", 2, "\t"))
    first_words = (words.get(wnid, "").partition(",")[0].strip() for wnid in wnids)
    return tuple(f"{w} {word}".strip() for w, word in zip(wnids, first_words, strict=True))


def _refuse_unlisted(
    folder: pathlib.Path, listed: list[pathlib.Path], listing: pathlib.Path
) -> None:
    """Raise unless the images of `folder` are the listed ones."""
    if len(set(listed)) != len(listed):
        twice = next(file for file in listed if listed.count(file) > 1)
        raise errors.SourceError(
            f"{listing} lists {twice.name} twice: restore it from the archive"
        )
    listings.refuse_missing(listed, listing)
    unlisted = sorted(set(listings.images_in(folder)) - set(listed))
    if unlisted:
        raise errors.SourceError(
            f"{unlisted[0]} is not listed in {listing}: remove it or restore the list"
        )


def _train(root: pathlib.Path, wnids: list[str]) -> tuple[list[pathlib.Path], list[int]]:
    """Return the training files of all classes, and their labels."""
    of_class = [_train_files(root, wnid) for wnid in wnids]
    labels = [label for label, files in enumerate(of_class) for _ in files]
    return [file for files in of_class for file in files], labels


def _train_files(root: pathlib.Path, wnid: str) -> list[pathlib.Path]:
    folder = root / "train" / wnid / "images"
    if not folder.is_dir():
        raise errors.SourceError(
            f"{folder} is not there, though wnids.txt lists the class {wnid}: restore it from "
            "the archive"
        )
    listing = folder.parent / f"{wnid}_boxes.txt"
    rows = listings.read_rows(listing, 5, None)
    listed = [folder / row[0] for row in rows]
    _refuse_unlisted(folder, listed, listing)
    return sorted(listed)


def _val(root: pathlib.Path, wnids: list[str]) -> tuple[list[pathlib.Path], list[int]]:
    """Return the validation files by name, and their labels."""
    listing, folder = root / "val" / "val_annotations.txt", root / "val" / "images"
    if not folder.is_dir():
        raise errors.SourceError(f"{folder} is not there: restore it from the archive")
    rows = sorted(row[:2] for row in listings.read_rows(listing, 6, None))
    files = [folder / file_name for file_name, _ in rows]
    _refuse_unlisted(folder, files, listing)
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    for _, wnid in rows:
        if wnid not in label_of:
            raise errors.SourceError(
                f"{listing} names a class {wnid!r} that wnids.txt does not list: "
                "restore both from the archive"
            )
    return files, [label_of[wnid] for _, wnid in rows]


def read(root: pathlib.Path, source: str, image_size: int | None) -> Splits:
    """List the training and the validation images; classes are sorted by number."""
    wnids = sorted({row[0] for row in listings.read_rows(root / "wnids.txt", 1, None)})
    names = _class_names(root, wnids)
    train = listings.dataset_of(
        *_train(root, wnids), names, f"{source}/train", root / "train", image_size
    )
    test = listings.dataset_of(
        *_val(root, wnids), names, f"{source}/test", root / "val", image_size
    )
    return Splits(train, test)
