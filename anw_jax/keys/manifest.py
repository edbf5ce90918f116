"""The manifest: which originals were marked, and how they form units. It contains no slots."""

import collections
import dataclasses
import functools
import hashlib
import numbers
import os
import pathlib
import warnings
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from anw_jax import _check, _files, _json
from anw_jax.keys.digests import (
    image_digest,
    is_digest,
    length_prefixed,
    tree_levels,
    unit_digest,
)
from anw_jax.keys.units import SCHEMES, SignatureSpace, Units, group_into_units

_FORMAT = "anw_jax manifest, version 2"
_OLDER_FORMAT = "anw_jax manifest, version 1"

_TAG_UNIT = b"anw_jax/v2/manifest-unit\0"
_TAG_MANIFEST = b"anw_jax/v2/manifest\0"


def _is_unit_number(entry: object) -> bool:
    return isinstance(entry, numbers.Integral) and not isinstance(entry, bool)


def _is_plain_text(entry: object) -> bool:
    try:
        _check.plain_text(file_names=entry)
    except (TypeError, ValueError):
        return False
    return True


# Digests of other lengths could give two units the same encoding, and so the same slot.
_ENTRIES = (
    ("image_digests", is_digest, "64 lower-case hex digits each"),
    ("file_names", _is_plain_text, "plain text that UTF-8 can hold"),
    ("unit_of_image", _is_unit_number, "integers"),
    (
        "file_digests",
        lambda entry: entry == "" or is_digest(entry),
        "64 hex digits or ''",
    ),
)


def _digests_of(images: Iterable[np.ndarray], digests: Sequence[str] | None) -> tuple[str, ...]:
    """Return the given digests, one for each image, or hash the images."""
    if digests is None:
        return tuple(
            image_digest(image, f"images[{number}]") for number, image in enumerate(images)
        )
    num_images = sum(1 for _ in images)
    if len(digests) != num_images:
        raise ValueError(
            f"digests must have one entry for each of the {num_images} images, "
            f"got {len(digests)}"
        )
    return tuple(digests)


class ChangedPixelsWarning(UserWarning):
    """A photo was found by its file name because its pixels differ from the manifest's."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The originals of one publication in their order, hashed once when marking.

    Public to the arbitrator. Build it with `Manifest.of`; afterwards units and slots depend on
    the digests stored here, even if the files are decoded again.

    Attributes:
      image_digests: hex SHA-256 of each original, in order.
      file_names: a unique name for each original.
      unit_of_image: the unit number of each original.
      space: the signature space.
      scheme: "per_image", "per_group" or "per_user".
      file_digests: hex SHA-256 of each original's file, "" if there was no file. A photo whose
        file matches is accepted even if another library decodes it to pixels that differ by
        one level.

    Raises:
      ValueError: malformed entries, or columns that contradict each other.

    Example:
      >>> photos = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)
      >>> manifest = Manifest.of(photos, SignatureSpace())
      >>> manifest.num_images, manifest.num_units, manifest.file_names
      (2, 2, ('000000', '000001'))
    """

    image_digests: tuple[str, ...]
    file_names: tuple[str, ...]
    unit_of_image: tuple[int, ...]
    space: SignatureSpace
    scheme: str
    file_digests: tuple[str, ...] = ()

    def __post_init__(self):
        _check.one_of(SCHEMES, scheme=_check.plain_text(scheme=self.scheme))
        _check.is_instance(SignatureSpace, space=self.space)
        names = ("image_digests", "file_names", "unit_of_image", "file_digests")
        if not len(self.file_digests):
            object.__setattr__(self, "file_digests", ("",) * len(self.file_names))
        for name in names:
            object.__setattr__(self, name, tuple(getattr(self, name)))
        lengths = {len(getattr(self, name)) for name in names}
        if lengths == {0} or len(lengths) > 1:
            raise ValueError(
                "a manifest needs at least one image, and one digest, file name and unit "
                f"for each; got {sorted(lengths)} of them"
            )
        for name, is_good, rule in _ENTRIES:
            bad = [entry for entry in getattr(self, name) if not is_good(entry)]
            if bad:
                raise ValueError(f"{name} must be {rule}, got {bad[0]!a:.80}")
        object.__setattr__(self, "unit_of_image", tuple(map(int, self.unit_of_image)))
        if len(set(self.file_names)) < len(self.file_names):
            ((twice, _),) = collections.Counter(self.file_names).most_common(1)
            raise ValueError(f"file_names must be unique, got {twice!r} twice")
        seen = list(dict.fromkeys(self.unit_of_image))
        if seen != list(range(len(seen))):
            raise ValueError("unit_of_image must number units in order of appearance")
        unit_of_digest = dict(zip(self.image_digests, self.unit_of_image, strict=True))
        if any(
            unit_of_digest[digest] != unit
            for digest, unit in zip(self.image_digests, self.unit_of_image, strict=True)
        ):
            raise ValueError("byte-identical originals must share a unit")
        expected = {
            "per_image": len(unit_of_digest),
            "per_group": self.num_units,
            "per_user": 1,
        }[self.scheme]
        if self.num_units != expected:
            raise ValueError(
                f"scheme {self.scheme!r} needs {expected} units for these originals, "
                f"got {self.num_units}"
            )

    @classmethod
    def of(
        cls,
        images: Iterable[np.ndarray],
        space: SignatureSpace,
        scheme: str = "per_image",
        groups: Sequence[Hashable] | None = None,
        file_names: Sequence[str] | None = None,
        digests: Sequence[str] | None = None,
        file_digests: Sequence[str] = (),
    ) -> "Manifest":
        """Hash the originals and group them into units.

        Args:
          images: uint8 originals, each `[H, W, 3]`; sizes may differ.
          space: the signature space.
          scheme: "per_image" (one slot per distinct photo, the default), "per_group" (one slot
            per album) or "per_user" (one slot for all, as in the paper).
          groups: with "per_group", the album of each image.
          file_names: a unique name for each; by default its number.
          digests: digests of the originals (`image_digest`), if `images` were resized; used
            instead of hashing `images`.
          file_digests: SHA-256 of each original's file, if there are files.

        Raises:
          TypeError, ValueError: images that are not 8-bit colour, unknown scheme, groups or
            digests missing or of the wrong length, names that are not unique.
        """
        digests = _digests_of(images, digests)
        if file_names is None:
            file_names = [f"{number:06d}" for number in range(len(digests))]
        unit_of_image = tuple(group_into_units(digests, scheme, groups))
        names = tuple(file_names)
        return cls(digests, names, unit_of_image, space, scheme, tuple(file_digests))

    @property
    def num_images(self) -> int:
        """Number of originals, including copies."""
        return len(self.image_digests)

    @functools.cached_property
    def num_units(self) -> int:
        """Number of units, each with an independent slot."""
        return max(self.unit_of_image) + 1

    @functools.cached_property
    def units(self) -> Units:
        """The unit of each original, in the form that scores and searches take."""
        return Units(
            np.array(self.unit_of_image), self.space, self.scheme, np.array(self.is_copy)
        )

    @functools.cached_property
    def unit_digests(self) -> tuple[str, ...]:
        """Hex SHA-256 of each unit, in order, as covered by the commitment."""
        members: list[list[str]] = [[] for _ in range(self.num_units)]
        for digest, unit in zip(self.image_digests, self.unit_of_image, strict=True):
            members[unit].append(digest)
        return tuple(unit_digest(self.scheme, member) for member in members)

    @functools.cached_property
    def length_prefixed_units(self) -> tuple[bytes, ...]:
        """Length-prefixed digest of each unit, as used when drawing slots."""
        return tuple(length_prefixed([bytes.fromhex(digest)]) for digest in self.unit_digests)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the whole manifest, as hex; every slot depends on it.

        It covers scheme, N and a hash tree over the units in order, each with the number, name,
        pixels and file of all its photos: none can be omitted, added, renamed or moved.

        Raises:
          ValueError: a file name that cannot be encoded as UTF-8: rename the file.
        """
        for name in self.file_names:
            _check.plain_text(file_names=name)
        rows: list[list[bytes]] = [[] for _ in range(self.num_units)]
        for index, unit in enumerate(self.unit_of_image):
            rows[unit] += [
                index.to_bytes(8, "big"),
                bytes.fromhex(self.image_digests[index]),
                self.file_names[index].encode(),
                bytes.fromhex(self.file_digests[index]),
            ]
        leaves = [
            hashlib.sha256(_TAG_UNIT + length_prefixed([bytes.fromhex(unit), *row])).digest()
            for unit, row in zip(self.unit_digests, rows, strict=True)
        ]
        header = [
            self.scheme.encode(),
            self.space.num_slots.to_bytes(4, "big"),
            self.num_units.to_bytes(8, "big"),
        ]
        top = tree_levels(leaves)[-1][0]
        return hashlib.sha256(_TAG_MANIFEST + length_prefixed([*header, top])).hexdigest()

    def bytes_of_version_1(self, **more: object) -> bytes:
        """Serialise the manifest as a version 1 commitment covers it, with extra fields."""
        body = {
            "file_names": self.file_names,
            "image_digests": self.image_digests,
            "num_slots": self.space.num_slots,
            "scheme": self.scheme,
            "unit_of_image": self.unit_of_image,
            "units": self.unit_digests,
        }
        return _json.canonical({**body, **more})

    @functools.cached_property
    def is_copy(self) -> tuple[bool, ...]:
        """Whether each original is byte-identical to an earlier one."""
        first = {}
        for index, digest in enumerate(self.image_digests):
            first.setdefault(digest, index)
        return tuple(first[d] != i for i, d in enumerate(self.image_digests))

    def locate(
        self,
        images: Iterable[np.ndarray],
        file_names: Sequence[str] | None = None,
        digests: Sequence[str] | None = None,
    ) -> np.ndarray:
        """Find each photo's index in the manifest, by its pixels or otherwise by its name.

        A photo decoded by another library may differ by a level in some pixels; it is then
        found by its file name, with a `ChangedPixelsWarning`.

        Args:
          images: uint8 photos, each `[H, W, 3]`.
          file_names: their names, or None if there are none.
          digests: digests of the originals (`image_digest`), if `images` were resized; used
            instead of hashing `images`.

        Returns:
          int64 `[len(images)]`, index of each photo in the manifest.

        Raises:
          ValueError: a photo that is found neither by pixels nor by name, fewer names than
            photos, or a wrong number of digests.
        """
        by_digest: dict[str, int] = {}
        for index, digest in enumerate(self.image_digests):
            by_digest.setdefault(digest, index)
        by_name = {name: index for index, name in enumerate(self.file_names)}
        found = []
        for number, digest in enumerate(_digests_of(images, digests)):
            if file_names is not None and number >= len(file_names):
                raise ValueError(
                    "file_names must have one entry for each of the images, got only "
                    f"{len(file_names)}"
                )
            name = None if file_names is None else str(file_names[number])
            index = by_digest.get(digest)
            if name in by_name and index is None:
                index = by_name[name]
                warnings.warn(
                    f"the pixels of {name} differ from the manifest's; matched by name",
                    ChangedPixelsWarning,
                    stacklevel=2,
                )
            if index is None:
                raise ValueError(
                    f"images[{number}] (name {name!r}) is not in the manifest, neither by "
                    "its pixels nor by its file name"
                )
            found.append(index)
        return np.asarray(found, np.int64)

    def to_json(self) -> str:
        """Write the manifest as JSON text."""
        body = {
            "format": _FORMAT,
            "scheme": self.scheme,
            "num_slots": self.space.num_slots,
            "images": [
                {"file": name, "sha256": digest, "unit": unit, "file_sha256": file}
                for name, digest, unit, file in zip(
                    self.file_names,
                    self.image_digests,
                    self.unit_of_image,
                    self.file_digests,
                    strict=True,
                )
            ],
        }
        return _json.dumps(body, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Read what `to_json` wrote.

        Raises:
          ValueError: the text is not a manifest, or contradicts itself.
        """
        try:
            body = _parsed(text)
            if body["format"] not in (_FORMAT, _OLDER_FORMAT):
                raise KeyError("format")
            rows = body["images"]
            columns = [tuple(row[name] for row in rows) for name in ("sha256", "file", "unit")]
            files = tuple(row["file_sha256"] for row in rows if body["format"] == _FORMAT)
            space = SignatureSpace(body["num_slots"])
            scheme = body["scheme"]
        except (KeyError, TypeError):
            raise ValueError(f"not a manifest: expected {_FORMAT!r} as JSON") from None
        try:
            return cls(*columns, space, scheme, files)
        except TypeError as error:  # the file holds a value of another type
            raise ValueError(str(error)) from None

    def save(self, path: str | os.PathLike) -> None:
        """Write the manifest atomically: to a temporary file, which is then renamed."""
        _files.write_whole(path, self.to_json().encode())

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Manifest":
        """Read a manifest file.

        Raises:
          OSError: it cannot be read.
          ValueError: not a manifest file.
        """
        _files.check_regular(path)
        return cls.from_json(pathlib.Path(path).read_text())


def _parsed(text: str) -> Any:
    """Parse JSON text; return None if it is not JSON."""
    try:
        return _json.loads(text)
    except _json.FieldTwiceError:
        raise
    except (ValueError, RecursionError):
        return None
