"""Files and lists of files, for the layouts that `folder:` reads."""

import collections
import pathlib
import warnings
from collections.abc import Iterable, Sequence

import numpy as np

from anw_jax import _files, errors
from anw_jax.data import image_files
from anw_jax.data.dataset import StreamedDataset
from anw_jax.data.streamed import ImageFiles, StreamedImages


def images_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the image files in a folder, by name; other and hidden files are skipped."""
    files = sorted(p for p in _visible(folder) if p.suffix.lower() in image_files.ENDINGS)
    if not files:
        endings = ", ".join(image_files.ENDINGS)
        raise errors.SourceError(
            f"{folder} holds no images: add {endings} files or remove the folder"
        )
    return files


def _visible(folder: pathlib.Path) -> list[pathlib.Path]:
    return [path for path in folder.iterdir() if not _files.is_hidden(path.name)]


def folders_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the folders in a folder, by name; hidden and system folders are skipped."""
    return sorted(path for path in _visible(folder) if path.is_dir())


def warn_of_other_images(folders: Iterable[pathlib.Path]) -> None:
    """Warn of image files of kinds that are not read, with their number."""
    endings = (path.suffix.lower() for folder in folders for path in _visible(folder))
    counts = collections.Counter(e for e in endings if image_files.kind_of_ending(e))
    if counts:
        found = ", ".join(f"{number} {ending}" for ending, number in sorted(counts.items()))
        warnings.warn(f"image files that are not read are skipped: {found}", stacklevel=2)


def dataset_of(
    files: Sequence[pathlib.Path],
    labels: Iterable[int],
    class_names: tuple[str, ...],
    name: str,
    root: pathlib.Path,
    image_size: int | None,
) -> StreamedDataset:
    """Make a streamed set of files below `root`; only the first is read."""
    return StreamedDataset(
        images=StreamedImages.of(ImageFiles(tuple(files)), image_size),
        labels=np.array(list(labels), np.int32),
        class_names=class_names,
        name=name,
        file_names=tuple(file.relative_to(root).as_posix() for file in files),
    )


def read_rows(path: pathlib.Path, num_columns: int, separator: str | None) -> list[list[str]]:
    """Read the rows of a list file, each with at least `num_columns` columns."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise errors.SourceError(
            f"{path} cannot be read ({type(error).__name__}): restore it from the archive"
        ) from error
    rows = [line.split(separator, num_columns - 1) for line in lines if line.strip()]
    for row in rows:
        if len(row) < num_columns:
            raise errors.SourceError(
                f"{path} has a line {' '.join(row)!r:.80} of {len(row)} columns, not "
                f"{num_columns}: restore it from the archive"
            )
    if not rows:
        raise errors.SourceError(f"{path} is empty: restore it from the archive")
    return rows


def refuse_missing(files: Iterable[pathlib.Path], listing: pathlib.Path) -> None:
    """Raise if a file that the list names does not exist."""
    for file in files:
        if not file.is_file():
            raise errors.SourceError(
                f"{file} is listed in {listing} but is not there: restore it from the archive"
            )
