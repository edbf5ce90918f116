"""Images to which a suspect gave no usable answer: count, name and limit them.

One query without a usable answer (refused, too few numbers in it, NaN) makes its image
unusable: the image's row is left out for all slots, which is decided before any slot is known.
A suspect that selectively refuses its training images can therefore reduce power, but cannot
make any p smaller. How much it may refuse is declared: above that share of an owner's images
the test is inconclusive, whatever the other images say.
"""

import math
import pathlib
from collections.abc import Sequence
from typing import Any

from anw_jax import _json
from anw_jax.audit.case import Owner
from anw_jax.audit.files import read_json
from anw_jax.audit.query import QueryBatch, photos_of_units
from anw_jax.stats import log_e_from_p

_FORMAT = "anw_jax unusable photos, version 1"
_MOST_SHOWN = 5


def counted(photos: dict[str, str], num_images: int) -> dict[str, Any]:
    """Return the count that the files of a case hold for one owner and one suspect.

    Args:
      photos: why a photo is unusable, by the photo's file name.
      num_images: the owner's images that were queried; copies are not.

    Example:
      >>> counted({"b.png": "status 400", "a.png": "status 400"}, 20)["num_unusable"]
      2
    """
    return {
        "num_images": num_images,
        "num_unusable": len(photos),
        "photos": dict(sorted(photos.items())),
    }


def sealed_counts(batch: QueryBatch, owner: int) -> dict[str, Any]:
    """Return the count of one owner, once all tables are filled."""
    manifest = batch.owners[owner].published.manifest
    return counted(batch.unusable(owner), sum(map(len, photos_of_units(manifest))))


def reason(count: dict[str, Any] | None, limit: float | None) -> str:
    """Say why a test is inconclusive; "" within the limit, or where none was declared.

    Example:
      >>> reason(counted({"a.png": "status 400"}, 5), 0.1)
      'the suspect refused 1 of 5 images, more than the declared 10 %'
      >>> reason(counted({"a.png": "status 400"}, 10), 0.1)
      ''
    """
    if not count or limit is None or count["num_unusable"] <= limit * count["num_images"]:
        return ""
    return (
        f"the suspect refused {count['num_unusable']} of {count['num_images']} images, more "
        f"than the declared {100 * limit:g} %"
    )


def limited(
    test: dict[str, Any], count: dict[str, Any] | None, limit: float | None
) -> dict[str, Any]:
    """Add its count to a test; above the limit the test becomes inconclusive.

    Args:
      test: of one owner and suspect, as `verdict.json` holds it.
      count: as `counted` gives it; None in older cases, which have no counts.
      limit: as declared; None in older cases, which have no limit.
    """
    body = {**test, "unusable": count and {**count, "limit": limit}, "refused_too_many": False}
    why = reason(count, limit)
    if not why:
        return body
    return {
        **body,
        "refused_too_many": True,
        "outcome": "inconclusive",
        "reason": why,
        "sentence": f"The test is inconclusive: {why}.",
        "p_value": 1.0,
        "log10_p": 0.0,
        "p_text": "1",
        # The e-value of p = 1; a record of bets counts as lost.
        "log_e_value": -math.inf if "log_wealth" in test else log_e_from_p(1.0),
        **({"z": 0.0, "diagnostics": {}} if "z" in test else {"log_wealth": -math.inf}),
        "how_many": None,
        "which": None,
    }


def line(count: dict[str, Any] | None) -> str:
    """Format a count; "" where every image has its answers.

    Example:
      >>> line(counted({"a.png": "status 400"}, 10) | {"limit": 0.1})
      'no usable answers to 1 of 10 images (at most 10 % may lack them): a.png: status 400'
    """
    if not count or not count["num_unusable"]:
        return ""
    photos: dict[str, list[str]] = {}
    for photo, why in list(count["photos"].items())[:_MOST_SHOWN]:
        photos.setdefault(why, []).append(photo)
    shown = "; ".join(f"{', '.join(names)}: {why}" for why, names in photos.items())
    more = count["num_unusable"] - _MOST_SHOWN
    shown += f"; and {more} more" if more > 0 else ""
    limit = count.get("limit")
    most = "" if limit is None else f" (at most {100 * limit:g} % may lack them)"
    return (
        f"no usable answers to {count['num_unusable']} of {count['num_images']} "
        f"images{most}: {shown}"
    )


def note_unit(record: pathlib.Path, batch: QueryBatch, owner: int, unit: int) -> None:
    """Note beside a sequential record which photos of a unit are unusable, before its row.

    The row itself shows only whether any of the unit's photos is usable.

    Args:
      record: the file of the record.
      batch: with the queries about the unit.
      owner: number of the owner in the batch.
      unit: the unit whose row will be written next.
    """
    manifest = batch.owners[owner].published.manifest
    photos = batch.unusable(owner, photos_of_units(manifest)[unit])
    if photos:
        body = {"format": _FORMAT, "photos": _noted(record) | photos}
        _json.write(_file(record), body)


def record_count(record: pathlib.Path, lines: Sequence[str], owner: Owner) -> dict[str, Any]:
    """Return the count of one sequential record, over the units that have a row.

    Args:
      record: the file of the record.
      lines: of the record.
      owner: whose photos it is about.
    """
    manifest, rows = owner.published.manifest, map(_json.loads, lines)
    units = {row["unit"] for row in rows if row["kind"] == "row"}
    members = photos_of_units(manifest)
    queried = {manifest.file_names[photo] for unit in units for photo in members[unit]}
    noted = {photo: why for photo, why in _noted(record).items() if photo in queried}
    return counted(noted, sum(len(members[unit]) for unit in units))


def _file(record: pathlib.Path) -> pathlib.Path:
    return record.with_suffix(".unusable.json")


def _noted(record: pathlib.Path) -> dict[str, str]:
    path = _file(record)
    return read_json(path, _FORMAT)["photos"] if path.exists() else {}
