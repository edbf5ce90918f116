"""The page of a run: its figures, and one HTML file that needs nothing else."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from anw_jax import _files
from anw_jax.keys import SignatureSpace
from anw_jax.report import curves, html, hues, photos, reading, words
from anw_jax.report.photos import Pair
from anw_jax.report.reading import RunRecord, UserRecord
from anw_jax.report.style import Drawing, publish_figure, write_figure

# More figures would make the page heavy; the tables still name every user.
MOST_DRAWN = 8
_MOST_PAIRS = 16


def write_report(workdir: str | os.PathLike) -> pathlib.Path:
    """Write `figures/` and `report.html` of a run from the files in its workdir.

    Reads `results.json` and, where they are there, `provenance.json`, `commitments.json`,
    `log.jsonl`, `examples.npz`, `tables/`, `nulls/` and `manifests/`; never a key. The page
    is one file: styles and pictures are inside, it has no script and loads nothing. The
    same files give the same bytes.

    Args:
      workdir: the folder of a run.

    Returns:
      The path of `report.html`.

    Raises:
      FileNotFoundError: if there is no `results.json`.
      ValueError: if a result file is damaged; names it.
      OSError: if the folder cannot be written.
    """
    folder = pathlib.Path(workdir)
    record = reading.read_run(folder)
    drawings = draw_all(record, folder / "figures")
    path = folder / "report.html"
    _files.write_whole(path, render(record, drawings).encode())
    return path


@dataclasses.dataclass(frozen=True, eq=False)
class UserDrawings:
    """The figures of one user; None or [] where there is nothing to show.

    Attributes:
      user: whose.
      curve: the loss curve.
      tiles: secret and inferred hues.
      aligned: the aligned map.
      null: the null distribution.
      pairs: photos before and after marking.
    """

    user: UserRecord
    curve: Drawing
    tiles: Drawing | None
    aligned: Drawing | None
    null: Drawing | None
    pairs: list[Pair]


def draw_all(record: RunRecord, folder: pathlib.Path) -> list[UserDrawings]:
    """Draw the figures of the first users, claims first, and write them to a folder."""
    drawn = record.users[:MOST_DRAWN]
    # Two scales: a claim would look flat beside a control that was queried in other colours.
    tops = {
        is_claim: curves.upper_limit(
            [curves.curve_of(user) for user in drawn if user.is_claim == is_claim]
        )
        for is_claim in (True, False)
    }
    num_claims = max(1, sum(user.is_claim for user in drawn))
    most = max(2, min(photos.MOST_PHOTOS, _MOST_PAIRS // num_claims))
    return [_draw_user(user, tops[user.is_claim], most, folder) for user in drawn]


def _draw_user(
    user: UserRecord, top: float, most_pairs: int, folder: pathlib.Path
) -> UserDrawings:
    pairs = photos.pairs_of(user, most_pairs) if user.is_claim else []
    if pairs:
        _draw_pairs(user, pairs, folder)
    has_units = user.is_claim and user.numbers["num_units"] > 1
    return UserDrawings(
        user=user,
        curve=_draw_curve(user, top, folder),
        tiles=_draw_tiles(user, folder) if has_units else None,
        aligned=_draw_map(user, folder) if has_units else None,
        null=_draw_null(user, folder) if curves.has_null(user) else None,
        pairs=pairs,
    )


def _draw_curve(user: UserRecord, top: float, folder: pathlib.Path) -> Drawing:
    curve = curves.curve_of(user)
    return publish_figure(
        folder,
        f"loss_{user.slug}",
        curves.describe_curve(curve),
        lambda theme: curves.curve_figure(curve, top, theme),
        {
            "degrees": curve.degrees,
            "mean_loss_nats": curve.mean,
            "standard_error_nats": curve.error,
        },
    )


def _draw_tiles(user: UserRecord, folder: pathlib.Path) -> Drawing:
    slots = hues.hues_of(user)
    return publish_figure(
        folder,
        f"hues_{user.slug}",
        hues.describe_hues(slots),
        lambda theme: hues.tiles_figure(slots, theme),
        {
            "unit": range(len(slots.true_slots)),
            "secret_degrees": user.space.degrees[slots.true_slots],
            "inferred_degrees": user.space.degrees[slots.inferred_slots],
            "is_hit": slots.is_hit.astype(int),
        },
    )


def _draw_map(user: UserRecord, folder: pathlib.Path) -> Drawing | None:
    ranks = hues.aligned_ranks(user)
    if ranks is None:
        return None
    slots, steps = hues.hues_of(user), hues.aligned_steps(user)
    angles = [f"{step * 360 / len(steps):g}_degrees" for step in steps]
    return publish_figure(
        folder,
        f"map_{user.slug}",
        hues.describe_map(slots),
        lambda theme: hues.map_figure(ranks, steps[0], slots, theme),
        {"unit": range(len(ranks)), **dict(zip(angles, ranks.T, strict=True))},
    )


def _draw_null(user: UserRecord, folder: pathlib.Path) -> Drawing:
    return publish_figure(
        folder,
        f"null_{user.slug}",
        curves.describe_null(user),
        lambda theme: curves.null_figure(user, theme),
        curves.null_columns(user),
    )


def _draw_pairs(user: UserRecord, pairs: list[Pair], folder: pathlib.Path) -> None:
    """Write the figure to the folder only: the page shows the photos themselves."""
    write_figure(
        folder,
        f"photos_{user.slug}",
        lambda theme: photos.pairs_figure(pairs, theme),
        {
            "photo": [pair.number for pair in pairs],
            "file": [pair.file_name for pair in pairs],
            "degrees": [pair.degrees for pair in pairs],
        },
    )


def render(record: RunRecord, drawings: list[UserDrawings]) -> str:
    """Return the whole page as text; names and settings are escaped."""
    return html.page(
        "report.html.j2",
        **_run_context(record),
        drawings=drawings,
        claim_drawings=[d for d in drawings if d.user.is_claim],
        not_drawn=len(record.users) - len(drawings),
        hues_of=hues.hues_of,
        most_tiles=hues.MOST_TILES,
    )


def _run_context(record: RunRecord) -> dict[str, Any]:
    verify_settings = record.results["settings"]["verify"]
    space = SignatureSpace(verify_settings["num_slots"])
    users = record.users
    names = [name for user in users for name in user.numbers["diagnostics"]]
    times = [user.commitment_time for user in users if user.commitment_time]
    return {
        "results": record.results,
        "model": record.results.get("model") or {},
        "provenance": record.provenance,
        "claims": record.claims,
        "controls": record.controls,
        "users": users,
        "verify": verify_settings,
        "user_groups": record.results.get("crowds") or {},
        "space": space,
        "num_angles": space.num_slots * verify_settings["grid_refinement"],
        "num_queries": sum(user.num_queries or 0 for user in users),
        "diagnostic_names": list(dict.fromkeys(names)),
        "no_evidence": _no_evidence(record),
        "num_judged": len(record.claims or users),
        "broken_seals": [user.name for user in users if user.seal_agrees is False],
        "stages": record.stage_times,
        "settings_rows": list(_flatten(record.results["settings"])),
        "is_private_basis": any(
            user.numbers.get("mark", "") != "hue_rotation" for user in users
        ),
        "commitment_time": times[0] if times else None,
    }


def _no_evidence(record: RunRecord) -> dict[str, list[str]]:
    """Return why what is shown is not evidence, with the users whom it concerns."""
    concerned: dict[str, list[str]] = {}
    for user in record.claims or record.users:
        if user.numbers["outcome"] == "shown" and not words.is_evidence(user):
            concerned.setdefault(user.numbers["standing"], []).append(user.name)
    return concerned


def _flatten(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield settings as dotted names and values."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flatten(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        yield path, ", ".join(map(str, value)) or "none"
    else:
        yield path, "default" if value is None else str(value)
