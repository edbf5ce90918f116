"""What an owner is told of a folder of photos before they are committed to."""

import collections
import dataclasses
import os
import pathlib
from typing import Any

from anw_jax import data

# So many files are named in words; JSON names all.
_NAMED = 5


@dataclasses.dataclass(frozen=True)
class FolderReport:
    """What `anw mark` found below a folder: nothing is passed over without a word.

    Attributes:
      photos: their files, in the order of their names.
      names: of the photos, relative to the folder.
      notes: what photo files say beside their pixels that their owner has to know, and in how
        many of them: each the end of "photos with …".
      passed_over: pictures that cannot be marked, each with the reason.
      others: files that are no pictures, counted by their endings.
      num_hidden: hidden and system files.
    """

    photos: tuple[pathlib.Path, ...]
    names: tuple[str, ...]
    notes: dict[str, int]
    passed_over: tuple[tuple[str, str], ...]
    others: dict[str, int]
    num_hidden: int

    def as_json(self) -> dict[str, Any]:
        """All but the photos, for `--json`."""
        return {
            "notes": self.notes,
            "passed_over": [{"file": name, "reason": why} for name, why in self.passed_over],
            "other_files": self.others,
            "hidden_files": self.num_hidden,
        }


def report_on(folder: str | os.PathLike) -> FolderReport:
    """Looks through a folder of any depth; reads no pixels.

    Raises:
      SourceError: no such folder, no photo in it, a folder below it or a photo that cannot be
        read.
    """
    folder = pathlib.Path(folder)
    listing = data.list_folder(folder)
    photos = data.list_photos(folder, listing)
    notes = collections.Counter(note for file in photos for note in data.colour_of(file).notes)
    return FolderReport(
        photos,
        tuple(file.relative_to(folder).as_posix() for file in photos),
        dict(sorted(notes.items())),
        tuple((f.relative_to(folder).as_posix(), why) for f, why in listing.passed_over),
        listing.others,
        listing.num_hidden,
    )


def report_lines(report: FolderReport) -> list[str]:
    """The same in words; none where there is nothing to tell."""
    lines = [f"{plural(number, 'photo')} with {note}" for note, number in report.notes.items()]
    if report.passed_over:
        endings = collections.Counter(_ending(name) for name, _ in report.passed_over)
        lines.append(
            f"NOT MARKED: {plural(len(report.passed_over), 'picture')} ({_counts(endings)})"
        )
        lines += [f"  {name}: {why}" for name, why in report.passed_over[:_NAMED]]
        more = len(report.passed_over) - _NAMED
        lines += [f"  and {more} more; --json names all"] if more > 0 else []
    if report.others:
        number = plural(sum(report.others.values()), "file")
        lines.append(f"skipped, not pictures: {number} ({_counts(report.others)})")
    if report.num_hidden:
        lines.append(f"skipped: {plural(report.num_hidden, 'hidden or system file')}")
    return lines


def _ending(name: str) -> str:
    return pathlib.PurePosixPath(name).suffix.lower()


def plural(number: int, what: str) -> str:
    """A number of things.

    Example:
      >>> plural(1, "photo"), plural(2, "photo")
      ('1 photo', '2 photos')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _counts(of_ending: dict[str, int]) -> str:
    pairs = sorted(of_ending.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{number} {ending or 'without an ending'}" for ending, number in pairs)
