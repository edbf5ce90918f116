"""`folder:<path>`: image files, in class folders or in the layout of a known set."""

import os
import pathlib

import numpy as np

from anw_jax import _files, errors
from anw_jax.data.dataset import Splits, StreamedDataset, divide, goes_to_test
from anw_jax.data.readers import cub, listings, tiny_imagenet

_TEST_FOLDERS = ("test", "val")


def load(argument: str, image_size: int | None, data_dir: str | None) -> Splits:
    """List the images of Tiny ImageNet, CUB-200-2011, or a folder for each class.

    The first two are recognised by their lists (`wnids.txt`; `images.txt`) in the folder
    `argument` or one below; otherwise it holds `<class>/<file>`, or `train/<class>/<file>`
    beside `test/` or `val/`.

    PNG, JPEG and WebP are read; other image files are skipped with a warning, other and hidden
    files without. Images are turned upright by their EXIF tag; grey ones get three equal
    channels (they have no hue, so a mark does not change them). What 8-bit RGB cannot hold is
    refused: animations, 16 bits, transparent pixels (an opaque alpha channel is dropped).
    Colour profiles are not applied. Images of different sizes need `image_size`. If the set is
    streamed, a file that cannot be read is noticed when it is indexed. `data_dir` is not used.
    """
    root = pathlib.Path(os.path.expanduser(argument))
    if not argument or not root.is_dir():
        raise errors.SourceError(_files.no_folder(argument and root))
    for layout in (tiny_imagenet, cub):
        found = layout.find(root)
        if found is not None:
            return layout.read(found, f"folder:{found.resolve().name}", image_size)
    return _class_folders(root, f"folder:{root.resolve().name}", image_size)


def _folders(root: pathlib.Path) -> list[pathlib.Path]:
    folders = listings.folders_in(root)
    if not folders:
        raise errors.SourceError(
            f"{root} holds no class folders: put each class's images into a separate folder"
        )
    return folders


def _list(
    root: pathlib.Path, class_names: tuple[str, ...], name: str, image_size: int | None
) -> StreamedDataset:
    """List every image below `root`, class by class, file names in order."""
    folders = _folders(root)
    label_of = {class_name: label for label, class_name in enumerate(class_names)}
    unknown = [folder.name for folder in folders if folder.name not in label_of]
    if unknown:
        raise errors.SourceError(
            f"{root} has a class {unknown[0]!r} that is not in the training folder"
        )
    listings.warn_of_other_images(folders)
    files = [file for folder in folders for file in listings.images_in(folder)]
    labels = [label_of[file.parent.name] for file in files]
    return listings.dataset_of(files, labels, class_names, name, root, image_size)


def _class_folders(root: pathlib.Path, source: str, image_size: int | None) -> Splits:
    """List `<class>/<file>`, or `train/<class>/<file>` beside `test/` or `val/`.

    Classes are sorted by name. Without `test/` or `val/` an image goes to test if a hash of its
    file's bytes is divisible by 5, so later additions move none.
    """
    test_roots = [root / name for name in _TEST_FOLDERS if (root / name).is_dir()]
    if (root / "train").is_dir() and test_roots:
        names = tuple(folder.name for folder in _folders(root / "train"))
        train = _list(root / "train", names, f"{source}/train", image_size)
        return Splits(train, _list(test_roots[0], names, f"{source}/test", image_size))
    names = tuple(folder.name for folder in _folders(root))
    everything = _list(root, names, source, image_size)
    contents = ((root / name).read_bytes() for name in everything.file_names)
    return divide(everything, np.array([*map(goes_to_test, contents)]))
