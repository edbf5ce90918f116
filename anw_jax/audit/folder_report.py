"""The files that an owner's folder holds: photos, pictures passed over, and others."""

import collections
import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from anw_jax import data

# Why a photo is published as it is.
UNCHANGED = "the mark does not change it"
# The number of files that the lines name; JSON names all.
_NAMED = 5


@dataclasses.dataclass(frozen=True)
class FolderReport:
    """The files found in a folder of photos.

    Attributes:
      photos: their files, in the order of their names.
      names: of the photos, relative to the folder.
      notes: properties of photo files that their owner should know, each the end of "photos
        with …", and the number of photos that have it; known once they are decoded.
      passed_over: pictures that cannot be marked, each with the reason.
      others: files that are not pictures, counted by extension.
      num_hidden: hidden and system files.
    """

    photos: tuple[pathlib.Path, ...]
    names: tuple[str, ...]
    notes: dict[str, int]
    passed_over: tuple[tuple[str, str], ...]
    others: dict[str, int]
    num_hidden: int

    @property
    def num_bytes(self) -> int:
        """Bytes of all photo files that are still there."""
        total = 0
        for file in self.photos:
            with contextlib.suppress(OSError):
                total += file.stat().st_size
        return total

    def as_json(self) -> dict[str, Any]:
        """Everything except the photos, for `--json`."""
        return {
            "notes": self.notes,
            "passed_over": [{"file": name, "reason": why} for name, why in self.passed_over],
            "other_files": self.others,
            "hidden_files": self.num_hidden,
        }

    def decoded(
        self, notes: Iterable[str], passed_over: Iterable[tuple[str, str]]
    ) -> "FolderReport":
        """Add what decoding the photos showed.

        Args:
          notes: of all photos that are used.
          passed_over: (name, reason) of the others, which then are no photos any more.
        """
        more = dict(passed_over)
        kept = [i for i, name in enumerate(self.names) if name not in more]
        return dataclasses.replace(
            self,
            photos=tuple(self.photos[i] for i in kept),
            names=tuple(self.names[i] for i in kept),
            notes=dict(sorted(collections.Counter(notes).items())),
            passed_over=tuple(sorted((*self.passed_over, *more.items()))),
        )


def report_on(folder: str | os.PathLike) -> FolderReport:
    """List the files of a folder and its subfolders; decode none.

    Raises:
      SourceError: no such folder, no photo in it, or a folder below it that cannot be read.
    """
    folder = pathlib.Path(folder)
    listing = data.list_folder(folder)
    photos = data.list_photos(folder, listing)
    return FolderReport(
        photos,
        tuple(file.relative_to(folder).as_posix() for file in photos),
        {},
        tuple((f.relative_to(folder).as_posix(), why) for f, why in listing.passed_over),
        listing.others,
        listing.num_hidden,
    )


def report_lines(report: FolderReport) -> list[str]:
    """Format a report as lines; none if there is nothing to report."""
    lines = [f"{plural(number, 'photo')} with {note}" for note, number in report.notes.items()]
    if report.passed_over:
        suffixes = (pathlib.PurePosixPath(name).suffix for name, _ in report.passed_over)
        endings = collections.Counter(suffix.lower() for suffix in suffixes)
        lines.append(
            f"NOT MARKED: {plural(len(report.passed_over), 'picture')} ({_counts(endings)})"
        )
        lines += named_lines(report.passed_over)
    if report.others:
        number = plural(sum(report.others.values()), "file")
        lines.append(f"skipped, not pictures: {number} ({_counts(report.others)})")
    if report.num_hidden:
        lines.append(f"skipped: {plural(report.num_hidden, 'hidden or system file')}")
    return lines


def named_lines(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Format the first (name, reason) pairs, one per line."""
    lines = [f"  {name}: {why}" for name, why in pairs[:_NAMED]]
    more = len(pairs) - _NAMED
    return [*lines, f"  and {more} more; --json names all"] if more > 0 else lines


def plural(number: int, what: str) -> str:
    """Format a number of things.

    Example:
      >>> plural(1, "photo"), plural(2, "photo")
      ('1 photo', '2 photos')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _counts(of_ending: dict[str, int]) -> str:
    pairs = sorted(of_ending.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{number} {ending or 'without an extension'}" for ending, number in pairs)
