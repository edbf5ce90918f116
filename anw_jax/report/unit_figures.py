"""Figures of the units of one test, for any mark and both modes: ranks, and wealth."""

import dataclasses
import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from anw_jax.report import style
from anw_jax.report.style import Theme


@dataclasses.dataclass(frozen=True, eq=False)
class UnitRows:
    """Losses and secret slots of the units that were tested.

    Attributes:
      units: int `[n]`, numbers of the units, in the order in which they were tested.
      losses: float64 `[n, N - 1]`, at the valid slots; NaN rows without usable answers.
      slots: int `[n]` in 1 … N - 1.
      log_wealth: float `[n]`, natural logarithm of the wealth after each unit; None for a
        sealed test.
    """

    units: np.ndarray
    losses: np.ndarray
    slots: np.ndarray
    log_wealth: np.ndarray | None = None

    @property
    def at_secret(self) -> np.ndarray:
        """The loss of each unit at its secret slot, `[n]`."""
        return np.take_along_axis(self.losses, self.slots[:, None] - 1, axis=1)[:, 0]

    @property
    def at_others(self) -> np.ndarray:
        """The mean loss of each unit at the other valid slots, `[n]`."""
        return (self.losses.sum(axis=1) - self.at_secret) / (self.losses.shape[1] - 1)

    @property
    def ranks(self) -> np.ndarray:
        """The rank of the secret slot, int `[n]`: 1 for the lowest loss; 0 without answers.

        Of equal losses the secret one counts as the highest.
        """
        below = (self.losses <= self.at_secret[:, None]).sum(axis=1)
        return np.where(np.isfinite(self.losses).all(axis=1), below, 0)

    @property
    def num_ranked(self) -> np.ndarray:
        """The number of units with each rank, int `[N - 1]`."""
        return np.bincount(self.ranks, minlength=self.losses.shape[1] + 1)[1:]


def ranks_figure(rows: UnitRows, theme: Theme) -> Figure:
    """Draw how many units have their secret mark at each rank of the losses."""
    counts = rows.num_ranked
    luck = counts.sum() / len(counts)
    figure, axes = style.panel(3.1, 2.3, (0.5, 0.48, 0.2, 0.22))
    colours = [theme.signal] + [theme.faint] * (len(counts) - 1)
    axes.bar(np.arange(1, len(counts) + 1), counts, width=0.75, color=colours)
    axes.axhline(luck, color=theme.ink, lw=0.9, linestyle=(0, (4, 3)))
    axes.text(
        1.0,
        luck,
        f"luck: {luck:.1f} ",
        transform=axes.get_yaxis_transform(),
        ha="right",
        va="bottom",
        fontsize=8.0,
    )
    axes.set_ylim(0, 1.3 * max(1.0, counts.max(initial=0), luck))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("rank of the secret mark (1 = lowest loss)")
    axes.set_ylabel("units")
    return figure


def describe_ranks(rows: UnitRows) -> str:
    """Describe the ranks in words."""
    counts = rows.num_ranked
    return (
        f"Bars: of {counts.sum()} units with answers, {counts[0]} have the lowest loss at "
        f"their secret mark; luck alone gives {counts.sum() / len(counts):.1f} on average."
    )


def wealth_figure(rows: UnitRows, alpha: float, theme: Theme) -> Figure:
    """Draw the wealth of the bets after each unit, and the wealth that the level needs."""
    figure, axes = style.panel(3.1, 2.3, (0.5, 0.48, 0.2, 0.22))
    log10 = np.concatenate([[0.0], rows.log_wealth / math.log(10.0)])
    needed = -math.log10(alpha)
    known = np.isfinite(log10)
    steps = np.arange(len(log10))
    axes.plot(steps[known], log10[known], color=theme.signal, marker=".", markersize=4)
    axes.axhline(needed, color=theme.alert, lw=1.0)
    axes.text(
        0.0,
        needed,
        " the level",
        transform=axes.get_yaxis_transform(),
        color=theme.alert,
        va="bottom",
        fontsize=8.0,
    )
    low, high = min(0.0, log10[known].min()), max(needed, log10[known].max())
    axes.set_ylim(low - 0.05 * (high - low), high + 0.15 * (high - low))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("units opened")
    axes.set_ylabel("log₁₀ wealth")
    return figure


def describe_wealth(rows: UnitRows, alpha: float) -> str:
    """Describe the wealth in words."""
    last = rows.log_wealth[-1] / math.log(10.0) if len(rows.log_wealth) else 0.0
    ended = f"10 to the power {last:.1f}" if math.isfinite(last) else "0"
    return (
        f"Line: the wealth of the bets, 1 at the start, after each of {len(rows.units)} units; "
        f"it ends at {ended}, and the level is reached at {1 / alpha:,.0f}."
    )
