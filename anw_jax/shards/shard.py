"""A shard, and the file of JSON lines that a pass writes for it."""

import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from anw_jax import _check, _files, _json
from anw_jax.errors import CaseError

Photo = TypeVar("Photo")

# Enough work for a task, and little to do again after a kill.
_FEWEST, _MOST = 8, 1000


@dataclasses.dataclass(frozen=True)
class Shard(Generic[Photo]):
    """Consecutive photos, which one worker handles.

    Attributes:
      number: from 0.
      photos: in order: names in the first pass, `CommittedPhoto` in the second.
    """

    number: int
    photos: tuple[Photo, ...]


def cut(photos: Sequence[Photo], size: int | None = None) -> list[Shard[Photo]]:
    """Cut photos into shards.

    Args:
      photos: in order.
      size: photos in each; by default the square root of their number, 8 to 1000. It must be
        that of the last run for this run to go on from it, and changes no result.

    Raises:
      TypeError, ValueError: a size below 1.

    Example:
      >>> [shard.photos for shard in cut(["a", "b", "c"], 2)]
      [('a', 'b'), ('c',)]
    """
    if size is None:
        size = min(max(math.isqrt(len(photos)), _FEWEST), _MOST)
    _check.integer_at_least(1, size=size)
    starts = range(0, len(photos), size)
    return [Shard(i, tuple(photos[at : at + size])) for i, at in enumerate(starts)]


def check_numbers(shards: Sequence[Shard]) -> None:
    """Refuse shards that are not all there, each once and in order.

    Raises:
      ValueError: names the first that is not.
    """
    for place, shard in enumerate(shards):
        if shard.number != place:
            raise ValueError(
                f"shards must be numbered 0, 1, 2, … in order, got {shard.number} at place "
                f"{place}: one is missing, or there twice"
            )


def lines_path(work: pathlib.Path, shard: Shard) -> pathlib.Path:
    """Return the file of a shard's lines in the folder of a pass."""
    return work / f"{shard.number:07d}.jsonl"


def write_lines(
    path: pathlib.Path, header: dict[str, Any], lines: Sequence[dict[str, Any]]
) -> None:
    """Write a shard's lines atomically: the header, then one for each photo."""
    bodies = [header | {"num_photos": len(lines)}, *lines]
    _files.write_whole(path, "".join(_json.dumps(body) + "\n" for body in bodies).encode())


def read_lines(
    path: pathlib.Path, header: dict[str, Any], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Read the lines of a shard.

    Args:
      path: what `write_lines` wrote.
      header: of the file.
      names: of the shard's photos, in order.

    Raises:
      CaseError: it is missing, damaged, made under another header, or of other photos.
    """
    try:
        head, *lines = map(_json.loads, _files.read_regular(path).splitlines())
        number, found = head.pop("num_photos"), [line["file"] for line in lines]
    except FileNotFoundError:
        raise CaseError(
            f"shard {int(path.stem)} is missing: {path} is not there; run the pass on it"
        ) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CaseError(f"{path} is damaged ({error!s:.80}): remove it") from None
    for name, wanted in header.items():
        if head.get(name) != wanted:
            raise CaseError(
                f"{path}: {name} must be {wanted!r:.80}, got {head.get(name)!r:.80}; run the "
                "pass on this shard again"
            )
    if number != len(lines) or len(names) != len(lines):
        raise CaseError(
            f"{path} must hold {len(names)} photos, got {len(lines)}; run the pass on this "
            "shard again"
        )
    for wanted, got in zip(names, found, strict=True):
        if got != wanted:
            raise CaseError(
                f"{path} is of another shard: its photo must be {wanted!r}, got {got!r}; run "
                "the pass on this shard again"
            )
    return lines


def lines_before(
    path: pathlib.Path, header: dict[str, Any], names: Sequence[str]
) -> list[dict[str, Any] | None]:
    """Read the lines of an earlier run, one for each photo; None where there are none."""
    try:
        return list(read_lines(path, header, names))
    except CaseError:
        return [None] * len(names)


def stamp(file: pathlib.Path) -> list[int]:
    """Return size in bytes and modification time in ns: a file with both is taken as unchanged.

    Raises:
      OSError: it is not there.
    """
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]
