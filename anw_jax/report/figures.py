"""Which figures a page has, and drawing them."""

import dataclasses
import pathlib

from anw_jax.report import curves, hues, null, photos
from anw_jax.report.photos import Pair
from anw_jax.report.reading import RunRecord, UserRecord
from anw_jax.report.style import Drawing, publish_figure, write_figure

# More figures than this would make the page heavy; the tables still name every user.
MOST_DRAWN = 8
_MOST_PAIRS = 16


@dataclasses.dataclass(frozen=True, eq=False)
class UserDrawings:
    """What is shown of one user; None or [] where there is nothing to show.

    Attributes:
      user: whose.
      curve: the loss curve.
      tiles: secret and inferred hues.
      aligned: the aligned map.
      null: the null distribution.
      pairs: photos before and after.
    """

    user: UserRecord
    curve: Drawing
    tiles: Drawing | None
    aligned: Drawing | None
    null: Drawing | None
    pairs: list[Pair]


def draw_all(record: RunRecord, folder: pathlib.Path) -> list[UserDrawings]:
    """Draws the figures of the first users, claims first, and writes them to a folder."""
    drawn = record.users[:MOST_DRAWN]
    # Two scales: beside a control that was never asked in its colours, a claim looks flat.
    tops = {
        is_claim: curves.top_of([curves.curve_of(u) for u in drawn if u.is_claim == is_claim])
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
        null=None if null.is_constant(user) else _draw_null(user, folder),
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
    columns = {"unit": range(len(ranks)), **dict(zip(angles, ranks.T, strict=True))}
    return publish_figure(
        folder,
        f"map_{user.slug}",
        hues.describe_map(slots),
        lambda theme: hues.map_figure(ranks, steps[0], slots, theme),
        columns,
    )


def _draw_null(user: UserRecord, folder: pathlib.Path) -> Drawing:
    return publish_figure(
        folder,
        f"null_{user.slug}",
        null.describe_null(user),
        lambda theme: null.null_figure(user, theme),
        null.null_columns(user),
    )


def _draw_pairs(user: UserRecord, pairs: list[Pair], folder: pathlib.Path) -> None:
    """For the folder only: the page shows the photos themselves."""
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
