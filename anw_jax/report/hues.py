"""Secret hues and the hues inferred from the model: tiles, and the aligned map."""

import dataclasses

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from anw_jax.report import style
from anw_jax.report.reading import UserRecord
from anw_jax.report.style import Theme

MOST_TILES = 60
_TILES_IN_ROW = 20
# In tiles: two tiles, a tick, a gap.
_ROW_HEIGHT = 2.8


@dataclasses.dataclass(frozen=True, eq=False)
class Hues:
    """The slots of a user's units.

    Attributes:
      true_slots: int `[num_units]` in 1 … N - 1, opened after the table was sealed.
      inferred_slots: int `[num_units]`, inferred from the model without the key.
      num_slots: N.
    """

    true_slots: np.ndarray
    inferred_slots: np.ndarray
    num_slots: int

    @property
    def is_hit(self) -> np.ndarray:
        """Whether the two slots are equal, bool `[num_units]`."""
        return self.true_slots == self.inferred_slots

    @property
    def offsets(self) -> np.ndarray:
        """Inferred minus true slot on the circle, in [-N/2, N/2)."""
        half = self.num_slots // 2
        return (self.inferred_slots - self.true_slots + half) % self.num_slots - half

    @property
    def expected_hits(self) -> float:
        """Average number of hits by luck alone: one in N - 1 units."""
        return len(self.true_slots) / (self.num_slots - 1)


def hues_of(user: UserRecord) -> Hues:
    """Return the slots of a user's results."""
    return Hues(
        np.asarray(user.numbers["true_slots"], np.int64),
        np.asarray(user.numbers["inferred_slots"], np.int64),
        user.space.num_slots,
    )


def tiles_figure(hues: Hues, theme: Theme) -> Figure:
    """Draw two tiles per unit: secret hue above, inferred hue below; tick the hits."""
    num = min(len(hues.true_slots), MOST_TILES)
    rows, across = -(-num // _TILES_IN_ROW), min(num, _TILES_IN_ROW)
    left = 0.62
    figure, axes = style.panel(
        left + 0.32 * across + 0.1, 0.9 * rows + 0.06, (left, 0.03, 0.1, 0.03)
    )
    axes.axis("off")
    pixels = _tile_colours(hues, theme)
    for row in range(rows):
        drawn = slice(row * _TILES_IN_ROW, min(num, (row + 1) * _TILES_IN_ROW))
        _draw_row(axes, pixels[:, drawn], hues.is_hit[drawn], _ROW_HEIGHT * row + 0.6, theme)
    axes.set_xlim(0, across)
    axes.set_ylim(_ROW_HEIGHT * rows, 0)
    return figure


def _tile_colours(hues: Hues, theme: Theme) -> np.ndarray:
    """Return float `[2, num_units, 3]`: secret and inferred hues, paler where they differ."""
    colours = style.hue_colours(hues.num_slots)
    read = colours[hues.inferred_slots]
    paler = 0.45 * read + 0.55 * np.array(to_rgb(theme.background))
    return np.stack([colours[hues.true_slots], np.where(hues.is_hit[:, None], read, paler)])


def _draw_row(
    axes: Axes, pixels: np.ndarray, is_hit: np.ndarray, top: float, theme: Theme
) -> None:
    num = len(is_hit)
    extent = (0, num, top + 2, top)
    axes.imshow(pixels, extent=extent, interpolation="none", aspect="auto")
    axes.hlines(top + 1, 0, num, color=theme.background, lw=1.5)
    axes.vlines(range(num + 1), top, top + 2, color=theme.background, lw=1.5)
    for line, text in enumerate(("secret", "read")):
        y = top + 0.5 + line
        axes.text(-0.25, y, text, ha="right", va="center", color=theme.muted, fontsize=8.0)
    for column in np.flatnonzero(is_hit):
        axes.text(column + 0.5, top - 0.08, "✓", ha="center", va="bottom", fontsize=9.0)


def describe_hues(hues: Hues) -> str:
    """Describe the tiles in words."""
    return (
        f"Coloured tiles, one pair per unit: the secret hue above, the hue inferred from the "
        f"model below. {int(hues.is_hit.sum())} of {len(hues.true_slots)} agree; luck alone "
        f"gives {hues.expected_hits:.1f} on average."
    )


def aligned_ranks(user: UserRecord) -> np.ndarray | None:
    """Rank each unit's hues by loss, turned so that the secret hue is in the middle.

    Returns:
      float `[num_units, num_slots * refinement]`: 0 for the hue that the model knows best, 1
      for the hue that it knows least; NaN rows without usable answers. None without a table.
    """
    if user.table is None or user.unit_of_image is None:
        return None
    num = user.table.shape[1]
    losses = np.zeros((user.numbers["num_units"], num))
    usable = np.isfinite(user.table).all(axis=1)
    np.add.at(losses, user.unit_of_image[usable], user.table[usable].astype(np.float64))
    ranks = losses.argsort(axis=1, kind="stable").argsort(axis=1) / (num - 1)
    ranks[np.bincount(user.unit_of_image[usable], minlength=len(losses)) == 0] = np.nan
    secret = np.asarray(user.numbers["true_slots"])[:, None] * user.refinement
    return np.take_along_axis(ranks, (secret + aligned_steps(user)) % num, axis=1)


def aligned_steps(user: UserRecord) -> np.ndarray:
    """Return the columns of the map, int `[num_slots * refinement]`: steps from the secret hue.

    Half a slot further left than the half circle, so that the slots below are not cut.
    """
    num = user.space.num_slots * user.refinement
    return np.arange(num) - num // 2 - user.refinement // 2


def map_figure(ranks: np.ndarray, first_step: int, hues: Hues, theme: Theme) -> Figure:
    """Draw the aligned map, and below it a count of where each unit's best hue is.

    Args:
      ranks: what `aligned_ranks` returns.
      first_step: the first of `aligned_steps`.
      hues: the slots.
      theme: the colours.
    """
    figure = Figure(figsize=(6.4, 4.5))
    upper = figure.add_axes((0.11, 0.42, 0.86, 0.53))
    lower = figure.add_axes((0.11, 0.115, 0.86, 0.25), sharex=upper)
    _draw_map(upper, ranks, first_step, hues, theme)
    _draw_counts(lower, hues, theme)
    return figure


def _draw_map(axes: Axes, ranks: np.ndarray, first_step: int, hues: Hues, theme: Theme) -> None:
    num_units, num = ranks.shape
    colours = LinearSegmentedColormap.from_list("fit", [theme.signal, theme.background])
    left = (first_step - 0.5) * 360.0 / num
    axes.imshow(
        ranks,
        cmap=colours,
        vmin=0.0,
        vmax=0.6,
        aspect="auto",
        interpolation="none",
        extent=(left, left + 360.0, num_units, 0),
    )
    per_slot = 360.0 / hues.num_slots
    axes.plot(
        hues.offsets * per_slot,
        np.arange(num_units) + 0.5,
        linestyle="none",
        marker="o",
        markersize=max(1.5, min(4.0, 130.0 / num_units)),
        color=theme.alert,
    )
    axes.set_xlim(left, left + 360.0)
    axes.set_ylabel("units, in order")
    axes.set_yticks([])
    axes.tick_params(labelbottom=False)
    axes.set_title(
        "Blue: hues that the model knows best.  Dot: the best of the possible secret hues.",
        color=theme.ink,
    )


def _draw_counts(axes: Axes, hues: Hues, theme: Theme) -> None:
    per_slot = 360.0 / hues.num_slots
    half = hues.num_slots // 2
    counts = np.bincount(hues.offsets + half, minlength=hues.num_slots)
    offsets = np.arange(hues.num_slots) - half
    colours = [theme.alert if offset == 0 else theme.faint for offset in offsets]
    axes.bar(offsets * per_slot, counts, width=0.72 * per_slot, color=colours)
    axes.axhline(hues.expected_hits, color=theme.ink, lw=0.9, linestyle=(0, (4, 3)))
    axes.text(
        1.0,
        hues.expected_hits,
        f"luck: {hues.expected_hits:.1f} ",
        transform=axes.get_yaxis_transform(),
        ha="right",
        va="bottom",
        fontsize=8.0,
        bbox={"facecolor": theme.background, "edgecolor": "none", "pad": 1.0},
    )
    axes.text(0, counts[half], f"{counts[half]}", ha="center", va="bottom", color=theme.alert)
    axes.set_ylim(0, 1.3 * max(1, counts.max(), hues.expected_hits))
    axes.set_xticks(
        [-180, -120, -60, 0, 60, 120], ["±180°", "−120°", "−60°", "0°", "60°", "120°"]
    )
    axes.set_xlabel("distance from the secret hue")
    axes.set_ylabel("units")
    axes.yaxis.get_major_locator().set_params(integer=True)


def describe_map(hues: Hues) -> str:
    """Describe the map in words."""
    return (
        "Map with one row per unit, turned so that its secret hue is in the middle; bluer "
        "where the model knows the photos better. Below, a count of where the best hue "
        f"is: {int(hues.is_hit.sum())} of {len(hues.true_slots)} exactly in the middle, "
        f"{hues.expected_hits:.1f} expected by luck."
    )
