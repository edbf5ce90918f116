"""Show what a mark does to a folder of photos, before anything is committed to.

An owner who saw the slots of a key before committing could choose photos by them, and p would
be too small. So a preview takes no key: it draws marks and slots from one that it throws away.
"""

import copy
import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from anw_jax import data, progress
from anw_jax.audit.commit import check_apart
from anw_jax.audit.estimate import ExpectedEvidence, evidence_lines, expected_evidence
from anw_jax.audit.folder_report import FolderReport, report_on
from anw_jax.audit.options import DEFAULT_MARK
from anw_jax.errors import CaseError, SourceError
from anw_jax.keys import MarkKey, SignatureSpace, image_digest
from anw_jax.marks import Mark, make_mark, publish_image
from anw_jax.marks.named import strength_of
from anw_jax.shards import Shard, check_size, cut, reason_of, run_pass
from anw_jax.shards.digests import nothing

MOST_SHOWN = 60
_LARGEST_SIDE = 640

FILES = ("preview.html", "preview.png", "preview.json")
PREVIEW_FORMAT = "anw_jax preview, version 1"


@dataclasses.dataclass(frozen=True)
class PreviewedPhoto:
    """One photo with a mark of the preview.

    Attributes:
      file: its name, relative to the folder.
      quality: how much the mark changes it.
      is_unchanged: whether the mark changes no pixel, such as a hue in a grey photo.
      pair: small pictures before and after, in sRGB; None where it is not shown.
    """

    file: str
    quality: data.ImageQuality
    is_unchanged: bool
    pair: data.Pair | None


@dataclasses.dataclass(frozen=True)
class Preview:
    """What a mark would do to a folder of photos.

    Attributes:
      mark: one of `marks.named.NAMES`.
      strength: of the mark; None if it has none.
      photos: all that can be marked; at most `MOST_SHOWN`, and the one that changes most,
        have pictures.
      expected: the p that audits would reach; none if no photo is changed.
      num_units: photos that are changed, copies counted once.
      report: what was passed over, and why.
    """

    mark: str
    strength: float | None
    photos: tuple[PreviewedPhoto, ...]
    expected: tuple[ExpectedEvidence, ...]
    num_units: int
    report: FolderReport

    @property
    def mark_text(self) -> str:
        """The mark, with its strength if it has one."""
        return self.mark + ("" if self.strength is None else f", strength {self.strength:g}")

    @property
    def evidence_lines(self) -> list[str]:
        """The evidence to expect, one line for each kind of answers."""
        return evidence_lines(self.mark, self.strength, self.expected)

    @property
    def shown(self) -> tuple[PreviewedPhoto, ...]:
        """The photos with pictures."""
        return tuple(photo for photo in self.photos if photo.pair is not None)

    @property
    def unchanged(self) -> tuple[str, ...]:
        """Names of the photos that would carry no mark."""
        return tuple(photo.file for photo in self.photos if photo.is_unchanged)

    @property
    def most_changed(self) -> PreviewedPhoto:
        """The photo with the largest 95th percentile of CIEDE2000."""
        return max(self.photos, key=lambda photo: photo.quality.ciede2000_p95)

    @property
    def typical(self) -> data.ImageQuality:
        """Medians over the photos; pixels are summed."""
        of_all = [dataclasses.astuple(photo.quality) for photo in self.photos]
        *measures, num_clipped, num_pixels = zip(*of_all, strict=True)
        medians = (float(np.median(values)) for values in measures)
        return data.ImageQuality(*medians, sum(num_clipped), sum(num_pixels))

    def as_json(self) -> dict[str, Any]:
        """Return the body of preview.json: everything but the pictures."""
        return {
            "format": PREVIEW_FORMAT,
            "mark": self.mark,
            "strength": self.strength,
            "num_units": self.num_units,
            "in_all": dataclasses.asdict(self.typical),
            "expected": [dataclasses.asdict(one) for one in self.expected],
            "photos": [
                {
                    "file": photo.file,
                    **dataclasses.asdict(photo.quality),
                    "is_unchanged": photo.is_unchanged,
                }
                for photo in self.photos
            ],
            "report": self.report.as_json(),
        }


class ThrowAwayMark:
    """A mark at random slots, from a key that nobody keeps.

    Args:
      mark: one of `marks.named.NAMES`; None for the default.
      strength: of the mark; None for its default.
      mark_key: to draw from; None for a new one.

    Raises:
      TypeError, ValueError: another mark, or a strength that does not fit it.
    """

    def __init__(
        self,
        mark: str | None = None,
        strength: float | None = None,
        mark_key: MarkKey | None = None,
    ):
        self._space = SignatureSpace()
        mark_key = mark_key or MarkKey.generate()
        self.name = mark or DEFAULT_MARK
        self.strength = strength_of(self.name, strength)
        self.mark: Mark = make_mark(self.name, mark_key, self._space.num_slots, strength)
        self._seed = list(mark_key.sub_key("preview"))
        self._rng = np.random.default_rng(self._seed)

    def of_shard(self, number: int) -> "ThrowAwayMark":
        """Return the same mark with slots of its own for a shard of photos."""
        found = copy.copy(self)
        found._rng = np.random.default_rng([*self._seed, number])
        return found

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Mark one uint8 `[H, W, 3]` image at a slot of its own."""
        slot = int(self._rng.integers(1, self._space.num_slots))
        return publish_image(self.mark, pixels, float(self._space.degrees[slot]))


def check_preview_out(photos: str | os.PathLike, out: str | os.PathLike) -> None:
    """Refuse a folder that a preview cannot be written to.

    Raises:
      CaseError: it lies in the folder of originals, holds it, or is there and holds something
        other than an earlier preview.
    """
    photos, out = pathlib.Path(photos), pathlib.Path(out)
    check_apart(photos, out)
    if out.exists() and not (out.is_dir() and {f.name for f in out.iterdir()} <= set(FILES)):
        raise CaseError(
            f"out must be a new folder or that of an earlier preview, got {out}: nothing else "
            "is overwritten"
        )


def preview_folder(
    photos: str | os.PathLike,
    mark: str | None = None,
    strength: float | None = None,
    on_progress: progress.ProgressFn = progress.silent,
    *,
    workers: int = 1,
) -> Preview:
    """Mark each photo of a folder in memory, with a key that is thrown away; write nothing.

    Each process holds one photo in memory at a time. Photos that cannot be read are passed over
    and named in the report, as `commit_folder` does.

    Args:
      photos: the folder of originals, of any depth; only read.
      mark: one of `marks.named.NAMES`; None for the default.
      strength: of the mark; None for its default.
      on_progress: called with (photos done, photos in all).
      workers: most processes; 1 for this one alone.

    Raises:
      SourceError: no such folder, or no photo in it.
      CaseError: no photo that can be marked.
      TypeError, ValueError: another mark, or a strength that does not fit it.
    """
    throw_away = ThrowAwayMark(mark, strength)
    report = report_on(photos)
    num = len(report.photos)
    spread = np.zeros(num, bool)
    spread[np.linspace(0, num - 1, min(num, MOST_SHOWN)).astype(int)] = True
    rows = list(zip(report.names, report.photos, spread.tolist(), strict=True))
    of_shards = run_pass(
        PreviewPass(throw_away),
        cut(rows),
        workers=workers,
        num_bytes=report.num_bytes,
        on_progress=on_progress,
    )
    found = [one for of_shard in of_shards for one in of_shard.found]
    passed_over = [one for of_shard in of_shards for one in of_shard.passed_over]
    if not found:
        name, why = passed_over[0]
        raise CaseError(f"none of the photos can be marked: {name} {why}")
    most = max((of_shard.most for of_shard in of_shards if of_shard.most), key=_change)
    num_units = len({one.digest for one in found if not one.photo.is_unchanged})  # per image
    expected = ()
    if num_units:
        expected = expected_evidence(throw_away.name, throw_away.strength, num_units)
    return Preview(
        throw_away.name,
        throw_away.strength,
        tuple(most if one.photo.file == most.file else one.photo for one in found),
        expected,
        num_units,
        report.decoded([note for one in found for note in one.notes], passed_over),
    )


class _Found(NamedTuple):
    """A photo of a preview, the digest of its pixels, and what the owner should know of it."""

    photo: PreviewedPhoto
    digest: str
    notes: tuple[str, ...]


class PreviewedShard(NamedTuple):
    """What a pass finds in a shard.

    Attributes:
      found: the photos that can be marked; those that are not to be shown without pictures.
      most: the one that changes most, with pictures; None without photos.
      passed_over: names and reasons.
    """

    found: list[_Found]
    most: PreviewedPhoto | None
    passed_over: list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class PreviewPass:
    """A pass over shards of (name, file, whether it is shown): marks each photo in memory.

    Attributes:
      throw_away: the mark.
    """

    throw_away: ThrowAwayMark

    def __call__(self, shard: Shard, on_photo: Callable[[], None] = nothing) -> PreviewedShard:
        """Preview the photos of a shard; `on_photo` is called after each."""
        throw_away, found, most, passed_over = (
            self.throw_away.of_shard(shard.number),
            [],
            None,
            [],
        )
        for name, file, is_shown in shard.photos:
            try:
                one = _previewed(name, file, throw_away)
            except SourceError as error:
                passed_over.append((name, reason_of(error, file)))
            else:
                if most is None or _change(one.photo) > _change(most):
                    most = one.photo
                plain = dataclasses.replace(one.photo, pair=None)
                found.append(one if is_shown else one._replace(photo=plain))
            on_photo()
        return PreviewedShard(found, most, passed_over)


def _previewed(name: str, file: pathlib.Path, throw_away: ThrowAwayMark) -> _Found:
    """Read and mark one photo; keep no full pixels."""
    original = data.read_original(file)
    pixels, colour = original.pixels, original.colour
    check_size(pixels.shape, throw_away.mark.least_side, file)
    marked = throw_away.apply(pixels)
    small = (data.thumbnail(image, _LARGEST_SIDE, colour) for image in (pixels, marked))
    photo = PreviewedPhoto(
        name,
        data.image_quality(pixels, marked, colour),
        np.array_equal(pixels, marked),
        data.Pair(name, *map(data.jpeg_of, small)),
    )
    return _Found(photo, image_digest(pixels), original.notes)


def _change(photo: PreviewedPhoto) -> float:
    return photo.quality.ciede2000_p95
