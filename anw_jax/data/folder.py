"""`folder:<path>`: a folder of photos for each class."""

import pathlib

import numpy as np

from anw_jax import errors
from anw_jax.data import _pixels, _split
from anw_jax.data.dataset import Dataset, Splits

_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
_TEST_FOLDERS = ("test", "val")


def _class_folders(root: pathlib.Path) -> list[pathlib.Path]:
    folders = sorted(p for p in root.iterdir() if p.is_dir() and p.name[0] != ".")
    if not folders:
        raise errors.SourceError(
            f"{root} holds no class folders: put each class's photos into a folder of its own"
        )
    return folders


def _photos(folder: pathlib.Path) -> list[pathlib.Path]:
    """The photos of a class, by name; other and hidden files are passed over."""
    files = sorted(
        p for p in folder.iterdir() if p.suffix.lower() in _ENDINGS and p.name[0] != "."
    )
    if not files:
        raise errors.SourceError(
            f"{folder} holds no photos: add {', '.join(_ENDINGS)} files or remove the folder"
        )
    return files


def _read(
    root: pathlib.Path, class_names: tuple[str, ...], name: str, image_size: int | None
) -> Dataset:
    """Every photo below `root`, class by class, file names in order."""
    folders = _class_folders(root)
    unknown = [folder.name for folder in folders if folder.name not in class_names]
    if unknown:
        raise errors.SourceError(
            f"{root} has a class {unknown[0]!r} that is not in the training folder"
        )
    files = [file for folder in folders for file in _photos(folder)]
    decoded = ((str(file), _pixels.decode(file.read_bytes(), str(file))) for file in files)
    images, digests = _pixels.stack(decoded, len(files), image_size)
    return Dataset(
        images=images,
        labels=np.array([class_names.index(file.parent.name) for file in files]),
        class_names=class_names,
        name=name,
        file_names=tuple(file.relative_to(root).as_posix() for file in files),
        original_digests=digests,
    )


def load(argument: str, image_size: int | None, data_dir: str | None) -> Splits:
    """Reads `<class>/<photo>`, or `train/<class>/<photo>` beside `test/` or `val/`.

    PNG, JPEG and WebP; other and hidden files are passed over. Photos are turned upright
    by their EXIF tag; grey ones get three equal channels (they have no hue, so a mark
    leaves them as they are); an alpha channel is dropped where it is opaque and refused
    otherwise; colour profiles are not applied. Photos of different sizes need
    `image_size`. Classes are sorted by name; without `test/` or `val/` a photo goes to
    test if a hash of its file's bytes falls into the lowest fifth, so later additions
    move none. `data_dir` is not looked at.
    """
    root = pathlib.Path(argument).expanduser()
    if not argument or not root.is_dir():
        raise errors.SourceError(f"folder {argument!r} is not there: give an existing folder")
    source = f"folder:{root.resolve().name}"
    test_roots = [root / name for name in _TEST_FOLDERS if (root / name).is_dir()]
    if (root / "train").is_dir() and test_roots:
        names = tuple(folder.name for folder in _class_folders(root / "train"))
        train = _read(root / "train", names, f"{source}/train", image_size)
        return Splits(train, _read(test_roots[0], names, f"{source}/test", image_size))
    names = tuple(folder.name for folder in _class_folders(root))
    everything = _read(root, names, source, image_size)
    contents = ((root / name).read_bytes() for name in everything.file_names)
    return _split.divide(everything, np.array([*map(_split.goes_to_test, contents)]))
