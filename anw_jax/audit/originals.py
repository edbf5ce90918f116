"""The owner's unmarked originals and their labels, as the arbitrator receives them."""

import dataclasses
import functools
import hashlib
import pathlib
import warnings
from collections.abc import Sequence
from typing import Self

import numpy as np

from anw_jax import _check, data, progress
from anw_jax.audit.files import canonical_name, digest_of, read_arrays
from anw_jax.audit.labels import LABELS, LABELS_MAP, MOST_CLASS, NO_CLASS, Labels, read_labels
from anw_jax.errors import CaseError, ChangedFileError, SourceError
from anw_jax.keys import ChangedPixelsWarning, Manifest, image_digest

# Bytes of pixels held in memory; other photos are decoded again whenever they are read.
_HELD_BYTES = 2**30


class StoredPhotos(Sequence):
    """Uint8 photos `[H, W, 3]`, each decoded once for its digest; None for a missing photo.

    A photo that is read again must have the pixels that it had at first.

    Args:
      sources: files, or arrays.
      on_progress: called with (photos read, photos in all).

    Attributes:
      digests: `image_digest` of each, or None.
      shapes: (H, W, 3) of each, or None.
      unreadable: why files cannot be read, by their place; such a photo is missing.

    Example:
      >>> photos = StoredPhotos([np.zeros((2, 4, 3), np.uint8)]).ordered([None, 0])
      >>> photos.shapes, photos[0], photos[1].size
      ([None, (2, 4, 3)], None, 24)
    """

    def __init__(
        self,
        sources: Sequence[pathlib.Path | np.ndarray],
        on_progress: progress.ProgressFn = progress.silent,
    ):
        self._sources = list(sources)
        self._held: dict[int, np.ndarray] = {}
        self._places: list[int | None] = list(range(len(self._sources)))
        self.digests: list[str | None] = []
        self.shapes: list[tuple[int, ...] | None] = []
        self.unreadable: dict[int, str] = {}
        num_bytes = 0
        for number, source in enumerate(self._sources):
            on_progress(number, len(self._sources))
            try:
                image = source if isinstance(source, np.ndarray) else data.read_photo(source)
            except SourceError as error:
                self.unreadable[number], self._places[number] = str(error), None
                self.digests.append(None)
                self.shapes.append(None)
                continue
            self.digests.append(image_digest(image))
            self.shapes.append(image.shape)
            if num_bytes + image.nbytes <= _HELD_BYTES and image is not source:
                self._held[number] = image
                num_bytes += image.nbytes
        on_progress(len(self._sources), len(self._sources))

    def ordered(self, places: Sequence[int | None]) -> Self:
        """Reorder the photos, with gaps and repetitions; no pixels are copied."""
        other = object.__new__(type(self))
        other._sources, other._held = self._sources, self._held
        other._places = [None if p is None else self._places[p] for p in places]
        other.digests = [None if p is None else self.digests[p] for p in places]
        other.shapes = [None if p is None else self.shapes[p] for p in places]
        other.unreadable = {}
        return other

    def file_digest(self, index: int) -> str | None:
        """Return the SHA-256 of a photo's file; None for an array or a missing photo."""
        place = self._places[index]
        source = None if place is None else self._sources[place]
        return digest_of(source) if isinstance(source, pathlib.Path) else None

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> np.ndarray | None:
        """Return the pixels of a photo.

        Raises:
          ChangedFileError: its file was changed since it was first read.
          SourceError: it cannot be read any more.
        """
        place = self._places[index]
        if place is None:
            return None
        if place in self._held:
            return self._held[place]
        source = self._sources[place]
        if isinstance(source, np.ndarray):
            return source
        image = data.read_photo(source)
        if image_digest(image) != self.digests[index]:
            raise ChangedFileError(f"{source} was changed while the case was open")
        return image


FOLDER, ARRAYS = "originals", "originals.npz"

_TAG = b"anw_jax/v1/originals\0"


@dataclasses.dataclass(frozen=True, eq=False)
class Originals:
    """Originals in the manifest's order.

    Attributes:
      images: uint8 `[H, W, 3]` each, decoded when used; None for a missing photo, which has a
        constant row, and whose unit stays.
      labels: class numbers `[n]`, -1 where there is none (a label "-", or a word without a
        class): such a photo has a constant row; None if there are no labels at all.
      labels_file: the name of their file.
      table: the labels as in that file; a plan commits to its digest.
      num_redecoded: photos that are the file committed to, with other pixels than those
        committed to.
    """

    images: StoredPhotos
    labels: np.ndarray | None
    labels_file: str | None = None
    table: Labels | None = None
    num_redecoded: int = 0

    @property
    def present(self) -> np.ndarray:
        """Indices of the photos that are there, int64."""
        return np.flatnonzero([shape is not None for shape in self.images.shapes])

    @property
    def missing(self) -> list[int]:
        """Indices of the photos that are not there, or cannot be read."""
        return [index for index, shape in enumerate(self.images.shapes) if shape is None]

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 over shapes, pixels and labels."""
        message = hashlib.sha256(_TAG)
        for image in self.images:
            message.update(repr(None if image is None else image.shape).encode() + b"\0")
            message.update(b"" if image is None else image.tobytes())
        message.update(b"" if self.labels is None else self.labels.astype("<i8").tobytes())
        return message.hexdigest()


def read_originals(
    folder: pathlib.Path,
    manifest: Manifest,
    arbitrator_words: pathlib.Path | None = None,
    on_progress: progress.ProgressFn = progress.silent,
) -> Originals:
    """Read `originals/` with `labels.csv`, or `originals.npz`, of one owner.

    Labels in words get class numbers from the owner's `labels_map.csv`, which was committed to
    with them, or else from the arbitrator's, `arbitrator_words`, if there is one.

    **There must be one source of each.** Otherwise photos or labels from the owner could
    replace the arbitrator's own without notice.

    **Pixels must be those committed to.** A photo with other pixels under a known name is
    refused: an owner knows the slots by now, and could hand over "originals" that look natural
    only under the secret hue, which any model would prefer. A file whose bytes were committed
    to is accepted with a warning if it is decoded differently here, and counted: a manifest
    could name the pixels of one photo and the file of another, and the owner choose later. One
    that cannot be read counts as missing, with a warning.

    Raises:
      CaseError: neither is there, or both are; labels in two places; a photo whose pixels are
        not in the manifest, or labels that do not fit; no photo that can be read.
      SourceError: no photos in the folder.
    """
    names, images, labels = _photos(folder, manifest, on_progress)
    places, num_redecoded = _places(folder, manifest, images, names)
    # One of two byte-identical photos is used for both.
    brought = {manifest.image_digests[place]: i for i, place in enumerate(places)}
    ordered = images.ordered([brought.get(digest) for digest in manifest.image_digests])
    if labels is not None:
        in_order = np.full(manifest.num_images, NO_CLASS, np.int64)
        in_order[places] = labels
        table = Labels(tuple(in_order.tolist()), None, in_order)
        return Originals(ordered, in_order, ARRAYS, table, num_redecoded)
    path, words = folder / LABELS, folder / LABELS_MAP
    if not path.exists():
        return Originals(ordered, None, num_redecoded=num_redecoded)
    table = read_labels(
        path,
        manifest,
        words if words.exists() else None,
        arbitrator_words if arbitrator_words and arbitrator_words.exists() else None,
    )
    return Originals(ordered, table.classes, LABELS, table, num_redecoded)


def _photos(
    folder: pathlib.Path, manifest: Manifest, on_progress: progress.ProgressFn
) -> tuple[list[str], StoredPhotos, np.ndarray | None]:
    has_arrays, has_folder = (folder / ARRAYS).exists(), (folder / FOLDER).exists()
    if has_arrays and has_folder:
        raise CaseError(f"{folder} must hold {FOLDER}/ or {ARRAYS}, not both: keep one")
    if has_folder:
        return *_from_folder(folder / FOLDER, manifest, on_progress), None
    if not has_arrays:
        raise CaseError(f"{folder} holds neither {FOLDER}/ nor {ARRAYS}")
    names, images, labels = _from_arrays(folder / ARRAYS)
    if labels is not None and (folder / LABELS).exists():
        raise CaseError(
            f"{folder} must give labels once, but {LABELS} and {ARRAYS} both hold some: keep "
            "one"
        )
    return names, images, labels


def _from_folder(
    folder: pathlib.Path, manifest: Manifest, on_progress: progress.ProgressFn
) -> tuple[list[str], StoredPhotos]:
    listing = data.list_folder(folder)
    skipped = list(listing.passed_over)
    known, photos = set(map(canonical_name, manifest.file_names)), []
    for file in data.list_photos(folder, listing):
        name = file.relative_to(folder).as_posix()
        why = "" if canonical_name(name) in known else _why_never_committed(file, manifest)
        if why:
            skipped.append((file, why))
        else:
            photos.append((name, file))
    if skipped:
        (first, why), number = skipped[0], len(skipped)
        warnings.warn(f"{first} is skipped ({why}); {number} such files in all", stacklevel=2)
    stored = StoredPhotos([file for _, file in photos], on_progress)
    readable = [place for place in range(len(photos)) if place not in stored.unreadable]
    if stored.unreadable:
        why, number = next(iter(stored.unreadable.values())), len(stored.unreadable)
        if not readable:
            raise CaseError(f"none of the originals can be read: {why}")
        warnings.warn(f"{why}; until then it is missing ({number} such in all)", stacklevel=2)
    return [photos[place][0] for place in readable], stored.ordered(readable)


def _why_never_committed(file: pathlib.Path, manifest: Manifest) -> str:
    """Return why `anw commit` passed over a photo that the manifest does not name; "" if not.

    It passes over photos that cannot be read, and older versions passed over formats, CMYK, 16
    bits and transparency.
    """
    try:
        original = data.read_original(file)
    except SourceError:
        return "not in the manifest, and cannot be read"
    if image_digest(original.pixels) in manifest.image_digests:
        return ""  # under another name
    is_newer = original.kind not in ("PNG", "JPEG", "WEBP") or original.rules
    return "not in the manifest" if is_newer else ""


def _from_arrays(path: pathlib.Path) -> tuple[list[str], StoredPhotos, np.ndarray | None]:
    arrays = read_arrays(path)
    if "images" not in arrays:
        raise CaseError(f"{path} must hold 'images' (and 'labels', 'file_names')")
    try:
        images = list(_check.uint8_images(images=arrays["images"]))
        labels = arrays.get("labels")
        if labels is not None:
            labels = _class_numbers(len(images), labels)
        numbers = np.array([f"{i:06d}" for i in range(len(images))], np.str_)
        names = _texts(len(images), arrays.get("file_names", numbers))
    except (TypeError, ValueError) as error:
        raise CaseError(f"{path}: {error}") from None
    return names, StoredPhotos(images), labels


def _texts(num_images: int, names: np.ndarray) -> list[str]:
    if names.dtype.kind != "U" or names.shape != (num_images,):
        raise ValueError(
            f"file_names must be {num_images} texts, one for each image, got "
            f"{names.dtype} of shape {names.shape}"
        )
    return names.tolist()


def _class_numbers(num_images: int, labels: np.ndarray) -> np.ndarray:
    """Check class numbers, with -1 where no class fits."""
    labels = np.asarray(labels)
    if np.issubdtype(labels.dtype, np.integer) and (labels > MOST_CLASS).any():
        raise ValueError(f"labels must be at most {MOST_CLASS}, got {labels.max()}")
    is_none = labels == NO_CLASS
    checked = _check.class_labels(num_images, labels=np.where(is_none, 0, labels))
    return np.where(is_none, NO_CLASS, checked)


def _places(
    folder: pathlib.Path, manifest: Manifest, images: StoredPhotos, names: Sequence[str]
) -> tuple[np.ndarray, int]:
    """Return each photo's index in the manifest, and how many have other pixels there."""
    num_redecoded = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChangedPixelsWarning)
        try:
            places = manifest.locate(range(len(images)), names, images.digests)
        except ValueError as error:
            raise CaseError(f"{folder}: {error}") from None
    for number, (place, name) in enumerate(zip(places, names, strict=True)):
        if images.digests[number] == manifest.image_digests[place]:
            continue
        committed = manifest.file_digests[place]
        if not committed or images.file_digest(number) != committed:
            raise CaseError(
                f"{folder}: the pixels of {name} are not those committed to; get the very file "
                "that was marked, or take this one away: the photo is missing then"
            )
        num_redecoded += 1
        warnings.warn(
            f"{folder}: {name} is the file committed to, and is decoded to other pixels here "
            "than where it was marked (another library): they are used as they are here",
            ChangedPixelsWarning,
            stacklevel=2,
        )
    # A copy is found at the place of its first photo; its name says which copy it is.
    by_name = {canonical_name(name): index for index, name in enumerate(manifest.file_names)}
    by_name |= {name: index for index, name in enumerate(manifest.file_names)}
    for number, (place, name) in enumerate(zip(places, names, strict=True)):
        other = by_name.get(name, by_name.get(canonical_name(name), place))
        if manifest.image_digests[other] == manifest.image_digests[place]:
            places[number] = other
    return places, num_redecoded
