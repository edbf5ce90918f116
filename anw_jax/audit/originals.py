"""The owner's unmarked originals and their labels, as the arbitrator gets them."""

import csv
import dataclasses
import functools
import hashlib
import io
import pathlib
import re
import warnings
from collections.abc import Sequence

import numpy as np

from anw_jax import _check, data
from anw_jax.audit.files import read_arrays, read_bytes
from anw_jax.audit.stored_photos import StoredPhotos
from anw_jax.errors import CaseError
from anw_jax.keys import ChangedPixelsWarning, Manifest

FOLDER, ARRAYS, LABELS = "originals", "originals.npz", "labels.csv"

# A class number of more digits is no class number, and could overflow.
_CLASS_NUMBER = re.compile("[0-9]{1,9}")
# A first row that names the columns is passed over.
_LABEL_HEADS = (["file", "label"], ["file", "class number"])

_TAG = b"anw_jax/v1/originals\0"


@dataclasses.dataclass(frozen=True, eq=False)
class Originals:
    """Originals in the manifest's order.

    Attributes:
      images: uint8 `[H, W, 3]` each, decoded when asked for; None where the owner brought
        none: nothing is declared before all are here.
      labels: integers `[n]`, -1 where none is known; None if there are no labels at all.
      labels_file: the name of the file that gave them.
    """

    images: StoredPhotos
    labels: np.ndarray | None
    labels_file: str | None = None

    @property
    def present(self) -> np.ndarray:
        """Indices of the photos that are here, int64."""
        return np.flatnonzero([shape is not None for shape in self.images.shapes])

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 over shapes, pixels and labels: what will be asked about."""
        message = hashlib.sha256(_TAG)
        for image in self.images:
            message.update(repr(None if image is None else image.shape).encode() + b"\0")
            message.update(b"" if image is None else image.tobytes())
        message.update(b"" if self.labels is None else self.labels.astype("<i8").tobytes())
        return message.hexdigest()


def read_originals(folder: pathlib.Path, manifest: Manifest) -> Originals:
    """Reads `originals/` with `labels.csv`, or `originals.npz`, of one owner.

    **There is one source of each.** If photos or labels lay there twice, those that the owner
    handed over could stand in silently for the arbitrator's own.

    **Pixels must be those committed to.** A photo with other pixels under a known name is
    refused: an owner knows the slots by now, and could hand over "originals" that look natural
    only under the secret hue, which any model would prefer.

    Raises:
      CaseError: neither is there, or both are; labels in two places; a photo whose pixels are
        not in the manifest, or labels that do not fit.
      SourceError: a photo that cannot be read.
    """
    names, images, labels = _photos(folder)
    places = _places(folder, manifest, images, names)
    # One of two byte-identical photos stands for both.
    brought = {manifest.image_digests[place]: i for i, place in enumerate(places)}
    ordered = images.ordered([brought.get(digest) for digest in manifest.image_digests])
    if labels is not None:
        in_order = np.full(manifest.num_images, -1, np.int64)
        in_order[places] = labels
        return Originals(ordered, in_order, ARRAYS)
    path = folder / LABELS
    if not path.exists():
        return Originals(ordered, None)
    return Originals(ordered, labels_for(path, manifest), LABELS)


def _photos(folder: pathlib.Path) -> tuple[list[str], StoredPhotos, np.ndarray | None]:
    has_arrays, has_folder = (folder / ARRAYS).exists(), (folder / FOLDER).exists()
    if has_arrays and has_folder:
        raise CaseError(f"{folder} must hold {FOLDER}/ or {ARRAYS}, not both: keep one")
    if has_folder:
        return *_from_folder(folder / FOLDER), None
    if not has_arrays:
        raise CaseError(f"{folder} holds neither {FOLDER}/ nor {ARRAYS}")
    names, images, labels = _from_arrays(folder / ARRAYS)
    if labels is not None and (folder / LABELS).exists():
        raise CaseError(
            f"{folder} must give labels once, but {LABELS} and {ARRAYS} both hold some: keep "
            "those that you trust"
        )
    return names, images, labels


def _from_folder(folder: pathlib.Path) -> tuple[list[str], StoredPhotos]:
    files = data.list_photos(folder)
    names = [file.relative_to(folder).as_posix() for file in files]
    return names, StoredPhotos(files)


def _from_arrays(path: pathlib.Path) -> tuple[list[str], StoredPhotos, np.ndarray | None]:
    arrays = read_arrays(path)
    if "images" not in arrays:
        raise CaseError(f"{path} must hold 'images' (and 'labels', 'file_names')")
    try:
        images = list(_check.uint8_images(images=arrays["images"]))
        labels = arrays.get("labels")
        if labels is not None:
            labels = _check.class_labels(len(images), labels=labels)
    except (TypeError, ValueError) as error:
        raise CaseError(f"{path}: {error}") from None
    names = arrays.get("file_names", np.array([f"{i:06d}" for i in range(len(images))]))
    return [str(name) for name in names], StoredPhotos(images), labels


def _places(
    folder: pathlib.Path, manifest: Manifest, images: StoredPhotos, names: Sequence[str]
) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChangedPixelsWarning)
        try:
            places = manifest.locate(range(len(images)), names, images.digests)
        except ValueError as error:
            raise CaseError(f"{folder}: {error}") from None
    for place, digest, name in zip(places, images.digests, names, strict=True):
        if digest != manifest.image_digests[place]:
            raise CaseError(
                f"{folder}: the pixels of {name} are not those committed to; get the very file "
                "that was marked"
            )
    # A copy is found at its first place; its name tells which one it is.
    by_name = {name: index for index, name in enumerate(manifest.file_names)}
    for number, (place, name) in enumerate(zip(places, names, strict=True)):
        other = by_name.get(name, place)
        if manifest.image_digests[other] == manifest.image_digests[place]:
            places[number] = other
    return places


def _read_labels(path: pathlib.Path) -> dict[str, int]:
    text = read_bytes(path).decode("utf-8-sig", "replace")
    try:
        rows = [row for row in csv.reader(io.StringIO(text)) if any(map(str.strip, row))]
    except csv.Error as error:
        raise CaseError(f"{path} must have rows 'file,class number': {error}") from None
    if rows and [entry.strip() for entry in rows[0]] in _LABEL_HEADS:
        rows = rows[1:]
    labels: dict[str, int] = {}
    for row in rows:
        name, label = row[0].strip(), row[-1].strip()
        if len(row) != 2 or not _CLASS_NUMBER.fullmatch(label):
            raise CaseError(
                f"{path} must have rows 'file,class number', such as 'photo.png,3', "
                f"got {','.join(row)!r:.60}"
            )
        if labels.setdefault(name, int(label)) != int(label):
            raise CaseError(f"{path} gives {name!r} two labels")
    return labels


def labels_for(path: pathlib.Path, manifest: Manifest) -> np.ndarray:
    """Class numbers, int64 `[n]` in the manifest's order, from rows 'file,class number'.

    Raises:
      CaseError: other rows, two labels for a photo, or a photo without one.
    """
    label_of = _read_labels(path)
    missing = [name for name in manifest.file_names if name not in label_of]
    if missing:
        raise CaseError(
            f"{path} gives {missing[0]!r} no label ({len(missing)} of {manifest.num_images} "
            "photos have none); remove the file to audit without labels"
        )
    return np.array([label_of[name] for name in manifest.file_names], np.int64)
