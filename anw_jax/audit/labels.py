"""Read class numbers of photos from a table of an owner or of the arbitrator."""

import csv
import dataclasses
import functools
import hashlib
import io
import os
import pathlib
import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from anw_jax import _check, _files, _json
from anw_jax.audit.files import canonical_name, read_bytes
from anw_jax.errors import CaseError
from anw_jax.keys import Manifest
from anw_jax.keys.plan import labels_digest

LABELS = "labels.csv"
LABELS_MAP = "labels_map.csv"
NO_CLASS = -1

_TAG = b"anw_jax/v1/labels in words\0"
# A number of more digits could overflow.
MOST_CLASS = 10**9 - 1
_CLASS_NUMBER = re.compile("[0-9]{1,9}", re.ASCII)
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
# A first row with the names of the columns is skipped.
_LABEL_HEADS = (("file", "label"), ("file", "class number"))
_MAP_HEADS = (("word", "class number"), ("label", "class number"))
_MOST_BYTES = 2**25


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
    """Labels of all photos of a manifest, in its order.

    Attributes:
      entries: class numbers, words, and -1 for "-", which means that no class fits.
      words: the owner's map from words to class numbers; None without one.
      classes: int64 `[n]`; -1 for "-" and for a word without a class: such a photo has a
        constant row, and its unit stays.
    """

    entries: tuple[int | str, ...]
    words: Mapping[str, int] | None
    classes: np.ndarray

    @property
    def digest(self) -> str:
        """The digest in `Plan.labels`, of the rows and the owner's map."""
        if all(isinstance(entry, int) for entry in self.entries):
            return labels_digest(self.entries)
        words = None if self.words is None else dict(self.words)
        body = _json.canonical({"labels": list(self.entries), "map": words})
        return hashlib.sha256(_TAG + body).hexdigest()

    @property
    def num_without(self) -> int:
        """Number of photos without a class."""
        return int((self.classes < 0).sum())

    @functools.cached_property
    def unknown_words(self) -> tuple[str, ...]:
        """Words without a class, in order of appearance."""
        pairs = zip(self.entries, self.classes, strict=True)
        return tuple(dict.fromkeys(e for e, c in pairs if isinstance(e, str) and c < 0))

    @property
    def by_arbitrators_map(self) -> bool:
        """Whether words got class numbers from the arbitrator's map."""
        words = [isinstance(entry, str) for entry in self.entries]
        return self.words is None and bool((self.classes[words] >= 0).any())

    @property
    def needs_map(self) -> bool:
        """Whether there are words, and no map of the owner's."""
        return self.words is None and any(isinstance(entry, str) for entry in self.entries)


def read_labels(
    path: str | os.PathLike,
    manifest: Manifest,
    words: str | os.PathLike | None = None,
    arbitrator_words: str | os.PathLike | None = None,
) -> Labels:
    """Read rows 'file,label' for the photos of a manifest.

    A label is a class number, "-" (no class fits), or a word that a map of rows
    'word,class number' turns into a class number. Columns are separated by commas, semicolons
    or tabs. File names and words are compared in the Unicode form NFC and without outer spaces.
    Rows of files that are not in the manifest, such as photos that were passed over, are not
    used, with a warning.

    Args:
      path: the table.
      manifest: names the photos.
      words: the owner's map, which is committed to with the table.
      arbitrator_words: the arbitrator's map, used if the owner gave none.

    Raises:
      CaseError: other rows, two labels for a photo, a photo without one, a map that does not
        fit, or no text in UTF-8 or UTF-16.
    """
    path = pathlib.Path(path)
    known = {canonical_name(name) for name in manifest.file_names}
    rows = _rows(path, "file,label", "photo.png,3", lambda row: canonical_name(row[0]) in known)
    if (
        rows
        and _head(rows[0]) in _LABEL_HEADS
        and rows[0][0].strip() not in manifest.file_names
    ):
        rows = rows[1:]
    entries = _in_order(path, rows, manifest)
    own = None if words is None else _read_words(pathlib.Path(words))
    used = own
    has_words = any(isinstance(entry, str) for entry in entries)
    if own is not None and not has_words:
        raise CaseError(f"{words} maps words, but {path} holds none: leave it out")
    if own is None and has_words and arbitrator_words is not None:
        arbitrator_words = pathlib.Path(arbitrator_words)
        used = _read_words(arbitrator_words)
    classes = [e if isinstance(e, int) else (used or {}).get(e, NO_CLASS) for e in entries]
    return Labels(entries, own, np.array(classes, np.int64))


def arbitrator_labels(case: str | os.PathLike, owner: str, manifest: Manifest) -> Labels | None:
    """Read the arbitrator's own labels of an owner's photos, `CASE/labels/<owner>.csv`.

    Rows as in `read_labels`; words get their classes from `CASE/labels_map.csv`.

    Returns:
      The labels; None if the arbitrator gave none.

    Raises:
      CaseError: as `read_labels`, or words and no map.
    """
    case = pathlib.Path(case)
    path = case / "labels" / f"{owner}.csv"
    if not os.path.lexists(path):
        return None
    words = case / LABELS_MAP
    labels = read_labels(path, manifest, arbitrator_words=words if words.exists() else None)
    if labels.needs_map and not words.exists():
        word = next(entry for entry in labels.entries if isinstance(entry, str))
        raise CaseError(
            f"{path} holds words ({word!r:.40}), which need {words} with rows "
            "'word,class number'"
        )
    return labels


def check_label_files(case: str | os.PathLike, owners: Collection[str]) -> None:
    """Refuse a table in `CASE/labels` that belongs to no owner: its name may be misspelt.

    Raises:
      CaseError: names the file.
    """
    folder = pathlib.Path(case) / "labels"
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in found:
        if _files.is_hidden(path.name) or (path.suffix == ".csv" and path.stem in owners):
            continue
        raise CaseError(
            f"{path} belongs to no owner of the case: its name must be <owner>.csv, with one "
            f"of {', '.join(owners)}"
        )


def _head(row: Sequence[str]) -> tuple[str, ...]:
    return tuple(entry.strip().casefold() for entry in row)


def _in_order(
    path: pathlib.Path, rows: Sequence[Sequence[str]], manifest: Manifest
) -> tuple[int | str, ...]:
    place_of = {name: place for place, name in enumerate(manifest.file_names)}
    of_canonical = _unique_places(manifest)
    canonical = {canonical_name(name) for name in manifest.file_names}
    found: dict[int, int | str] = {}
    unused: list[str] = []
    for name, text in rows:
        place = place_of.get(name, of_canonical.get(canonical_name(name)))
        if place is None and canonical_name(name) in canonical:
            raise CaseError(
                f"{path} has a row for {name!r:.80}, which could be each of several photos: "
                "their names differ in spaces or in Unicode form alone, so give the very name"
            )
        if place is None:
            unused.append(name)
            continue
        label = _label(path, name, text)
        if found.setdefault(place, label) != label:
            raise CaseError(f"{path} gives {name!r} two labels")
    missing = [n for place, n in enumerate(manifest.file_names) if place not in found]
    if missing:
        hint = _check.did_you_mean(missing[0], unused)
        raise CaseError(
            f"{path} gives {missing[0]!r} no label ({len(missing)} of {manifest.num_images} "
            "photos have none): write '-' where no class fits, or remove the file to audit "
            f"without labels{hint}"
        )
    if unused:
        warnings.warn(
            f"{path} has a row for {unused[0]!r:.80}, which was not committed to "
            f"({len(unused)} such rows in all): they are not used",
            stacklevel=3,
        )
    return tuple(found[place] for place in range(manifest.num_images))


def _unique_places(manifest: Manifest) -> dict[str, int]:
    """Return the place of each photo by its canonical name, if no other photo has the same."""
    of_canonical: dict[str, list[int]] = {}
    for place, name in enumerate(manifest.file_names):
        of_canonical.setdefault(canonical_name(name), []).append(place)
    return {name: found[0] for name, found in of_canonical.items() if len(found) == 1}


def _label(path: pathlib.Path, name: str, text: str) -> int | str:
    text = canonical_name(text)
    if text == "-":
        return NO_CLASS
    if _CLASS_NUMBER.fullmatch(text):
        return int(text)
    if not text or _is_number(text):
        raise CaseError(
            f"{path} gives {name!r} the label {text!r:.40}, but a label is a class number of "
            "at most 9 digits, a word, or '-' where no class fits"
        )
    return text


def _is_number(text: str) -> bool:
    """Return whether a text is not a word but a number: "-1", "3.0", "0x1", "nan", "²"."""
    if not any(map(str.isalpha, text)):
        return True
    for reads in (float, lambda body: int(body, 0)):
        try:
            reads(text)
        except ValueError:
            continue
        return True
    return False


def _read_words(path: pathlib.Path) -> dict[str, int]:
    rows = _rows(
        path, "word,class number", "cat,3", lambda row: _CLASS_NUMBER.fullmatch(row[1].strip())
    )
    if rows and _head(rows[0]) in _MAP_HEADS:
        rows = rows[1:]
    words: dict[str, int] = {}
    for entry, text in rows:
        word, number = canonical_name(entry), text.strip()
        is_word = word and word != "-" and not _is_number(word)
        if not is_word or not _CLASS_NUMBER.fullmatch(number):
            raise CaseError(
                f"{path} must have rows 'word,class number', such as 'cat,3', "
                f"got {word!r:.40} and {number!r:.40}"
            )
        if words.setdefault(word, int(number)) != int(number):
            raise CaseError(f"{path} gives {word!r} two class numbers")
    if not words:
        raise CaseError(f"{path} holds no row 'word,class number'")
    return words


def _rows(
    path: pathlib.Path, rule: str, example: str, is_likely: Callable[[list[str]], object]
) -> list[list[str]]:
    """Read rows of two columns, with the separator that gives such rows."""
    if path.is_file() and path.stat().st_size > _MOST_BYTES:
        raise CaseError(
            f"{path} has more than {_MOST_BYTES:,} bytes, too many for a table of labels"
        )
    text = _text(path, read_bytes(path))
    tables = {mark: _split(text, mark) for mark in _SEPARATORS}
    fitting = {m: rows for m, rows in tables.items() if rows and all(len(r) == 2 for r in rows)}
    if len(fitting) > 1:  # a name may contain a separator
        counts = {m: sum(map(bool, map(is_likely, rows))) for m, rows in fitting.items()}
        best = max(counts.values())
        fitting = {m: rows for m, rows in fitting.items() if counts[m] == best}
    if not fitting:
        odd = next((row for row in tables[","] or [[""]] if len(row) != 2), [""])
        raise CaseError(
            f"{path} must have rows {rule!r}, such as {example!r}, separated by commas, "
            f"semicolons or tabs in all rows alike; got {','.join(odd)!r:.60}"
        )
    if len(fitting) > 1:
        found = " or ".join(_SEPARATORS[mark] for mark in fitting)
        raise CaseError(
            f"{path} can be read with two separators ({found}): put names in quotes"
        )
    return next(iter(fitting.values()))


def _text(path: pathlib.Path, body: bytes) -> str:
    """Decode a table in UTF-8, or in UTF-16 with a byte-order mark, with any line ends."""
    encoding = "utf-16" if body[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        raise CaseError(
            f"{path} is not UTF-8 text (byte {error.start}): save it as CSV in UTF-8"
        ) from None
    if "\0" in text:
        raise CaseError(f"{path} is not UTF-8 text (it contains NUL): save it as CSV in UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _split(text: str, separator: str) -> list[list[str]] | None:
    """Split a text into rows that are not blank; None if that is impossible."""
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    try:
        return [row for row in reader if any(map(str.strip, row))]
    except csv.Error:
        return None
