"""What innocent models give, and where this model stands."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from anw_jax.report import words
from anw_jax.report.reading import UserRecord
from anw_jax.report.style import Theme

# Standard deviations to either side that are always shown.
_WIDEST = 4.5
# Below this many possible values a distribution is drawn as lines, not as an area.
_FEW_VALUES = 30


def observed_z(user: UserRecord) -> float:
    """The observed statistic in null standard deviations; 0 where it is not known."""
    z = user.numbers.get("z")
    return 0.0 if z is None else float(z)


def is_constant(user: UserRecord) -> bool:
    """Whether there is no distribution to draw."""
    return user.null is None or len(user.null["z"]) < 2


def null_figure(user: UserRecord, theme: Theme) -> Figure:
    """The distribution on a plain scale above, on a logarithmic one below."""
    figure = Figure(figsize=(3.1, 3.5))
    upper = figure.add_axes((0.2, 0.565, 0.765, 0.375))
    lower = figure.add_axes((0.2, 0.135, 0.765, 0.375), sharex=upper)
    observed = observed_z(user)
    low, high = min(-_WIDEST, 1.12 * observed), max(_WIDEST, 1.12 * observed)
    shown = (user.null["z"] > low) & (user.null["z"] < high)
    z, probability = user.null["z"][shown], user.null["probability"][shown]
    upper.set_xlim(low, high)
    _draw_plain(upper, z, probability, theme)
    _draw_logarithmic(lower, z, probability, observed, theme)
    _draw_observed((upper, lower), observed, theme)
    return figure


def _draw_plain(axes: Axes, z: np.ndarray, probability: np.ndarray, theme: Theme) -> None:
    _draw_bins(axes, z, probability, 0.0, theme)
    axes.set_ylim(0, 1.25 * probability.max(initial=1e-300))
    axes.set_yticks([])
    axes.set_ylabel("how often")
    axes.tick_params(labelbottom=False)
    axes.spines["left"].set_visible(False)


def _draw_logarithmic(
    axes: Axes, z: np.ndarray, probability: np.ndarray, observed: float, theme: Theme
) -> None:
    possible = probability > 0
    floor = _floor(z[possible], probability[possible], observed)
    axes.set_yscale("log")
    axes.set_ylim(floor, 5.0 * probability.max(initial=floor))
    axes.yaxis.set_major_locator(LogLocator(numticks=5))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_power_of_ten))
    _draw_bins(axes, z[possible], probability[possible], floor, theme)
    axes.set_ylabel("log scale")
    axes.set_xlabel("match (standard deviations)")


def _power_of_ten(value: float, _: int) -> str:
    return f"10{words.power(round(math.log10(value)))}"


def _floor(z: np.ndarray, probability: np.ndarray, observed: float) -> float:
    """Deep enough that the curve is seen to come down to the observation."""
    before = probability[z <= max(observed, _WIDEST)]
    return float(max(1e-300, before[-1] / 10.0)) if len(before) else 1e-6


def _draw_observed(panels: Sequence[Axes], observed: float, theme: Theme) -> None:
    upper = panels[0]
    for axes in panels:
        axes.axvline(observed, color=theme.alert)
    low, high = upper.get_xlim()
    upper.text(
        observed,
        1.02,
        f"this model: {observed:+.1f}".replace("-", "−"),
        transform=upper.get_xaxis_transform(),
        color=theme.alert,
        ha="right" if observed > (low + high) / 2 else "left",
        va="bottom",
        fontweight="bold",
    )


def _draw_bins(
    axes: Axes, z: np.ndarray, probability: np.ndarray, floor: float, theme: Theme
) -> None:
    if np.count_nonzero(probability) < _FEW_VALUES:
        axes.vlines(z, floor, np.maximum(probability, floor), color=theme.signal, lw=2.0)
        return
    axes.fill_between(z, floor, probability, color=theme.signal, alpha=0.35, lw=0)
    axes.plot(z, probability, color=theme.signal, lw=1.2)


def describe_null(user: UserRecord) -> str:
    """The figure in words."""
    return (
        "Distribution of the match under keys that the model cannot have seen, a bell round "
        f"0; this model stands at {observed_z(user):+.1f} standard deviations, "
        f"p = {user.numbers['p_text']}."
    )


def null_columns(user: UserRecord) -> dict[str, np.ndarray]:
    """The numbers of the figure; `is_observed` marks the bin of the observation."""
    z, probability = user.null["z"], user.null["probability"]
    nearest = np.argmin(np.abs(z - observed_z(user)))
    return {
        "z": z,
        "probability": probability,
        "is_observed": (np.arange(len(z)) == nearest).astype(int),
    }
