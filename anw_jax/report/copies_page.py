"""The page of a run with customers' copies: who is accused, and how sure is that?

For each suspect it shows the p of every customer, against the line below which a customer is
named; and all suspects in a table. It reads `results.json`, never a key or a code.
"""

import dataclasses
import math
import os
import pathlib
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from anw_jax import stats
from anw_jax.report import html, style
from anw_jax.report.style import Drawing, Theme, publish_figure

_MOST_DRAWINGS = 12


@dataclasses.dataclass(frozen=True)
class Suspect:
    """What was found about one suspect.

    Attributes:
      name: of the suspect.
      accuracy: of the primary task on unseen images, in [0, 1].
      colluders: customers whose copies it was made from.
      named: customers that were named.
      log10_p: the smallest over all readings, of each customer.
      limit: log10 of the p below which the first customer is named.
      more: of further coalitions that mix their copies in the same way, the number, those with
        any colluder named, and innocents named.
    """

    name: str
    accuracy: float
    colluders: tuple[int, ...]
    named: tuple[int, ...]
    log10_p: np.ndarray
    limit: float
    more: tuple[int, int, int] = (0, 0, 0)

    @property
    def num_caught(self) -> int:
        """Colluders that were named."""
        return len(set(self.named) & set(self.colluders))

    @property
    def innocents(self) -> tuple[int, ...]:
        """Customers that were named without having taken part."""
        return tuple(sorted(set(self.named) - set(self.colluders)))

    @property
    def smallest_p(self) -> str:
        """The smallest p, as text."""
        return stats.format_p(float(self.log10_p.min()))


def write_copies_report(workdir: str | os.PathLike) -> pathlib.Path:
    """Write `report.html` and `figures/` of a run with customers' copies.

    Arguments, result and errors are those of `html.write_page_of_run`.
    """
    return html.write_page_of_run(workdir, "copies.html.j2", _values)


def _values(results: dict[str, Any], folder: pathlib.Path) -> dict[str, Any]:
    suspects = [_suspect(name, row) for name, row in results["suspects"].items()]
    copies = [one for one in suspects if one.name.startswith("copy_")]
    mixed = [one for one in suspects if not one.name.startswith("copy_")]
    innocent = _suspect("clean model", results["controls"]["clean"])
    return {
        "suspects": [*mixed, *copies, innocent],
        "drawings": [_draw(one, folder / "figures") for one in mixed[:_MOST_DRAWINGS]],
        "simulated": results["simulated"],
        "settings": results["settings"],
        "right_bits": [results["suspects"][one.name]["right_bits"] for one in copies],
    }


def _suspect(name: str, row: dict[str, Any]) -> Suspect:
    by_reading = np.array(list(row["log10_p"].values()), np.float64)
    more = row.get("more", [])
    any_named = sum(bool(set(one["named"]) & set(one["colluders"])) for one in more)
    return Suspect(
        name,
        row["test_accuracy"],
        tuple(row["colluders"]),
        tuple(row["named"]),
        by_reading.min(axis=0),
        math.log10(row["level"] / row["num_tests"]),
        (len(more), any_named, sum(len(one["innocents_named"]) for one in more)),
    )


def _draw(one: Suspect, folder: pathlib.Path) -> Drawing:
    alt = (
        f"p of {len(one.log10_p)} customers for {one.name}: {one.num_caught} of "
        f"{len(one.colluders)} colluders and {len(one.innocents)} others are named."
    )
    columns = {
        "customer": np.arange(len(one.log10_p)),
        "log10_p": one.log10_p,
        "colluder": np.isin(np.arange(len(one.log10_p)), one.colluders).astype(int),
    }
    return publish_figure(
        folder,
        f"suspect_{one.name}",
        alt,
        lambda theme: customers_figure(
            one.log10_p, columns["colluder"] > 0, "colluders", one.limit, theme
        ),
        columns,
    )


def customers_figure(
    log10_p: np.ndarray, is_marked: np.ndarray, label: str, limit: float, theme: Theme
) -> Figure:
    """Draw the p of every customer, and the line below which one is named.

    Args:
      log10_p: `[num_customers]`.
      is_marked: bool `[num_customers]`, which of them stand out.
      label: what these are.
      limit: log10 of the p below which the first customer is named.
      theme: of the figure.
    """
    figure, axes = style.panel(3.3, 2.3, (0.55, 0.48, 0.15, 0.25))
    customers = np.arange(len(log10_p))
    for chosen, colour, marker, name in (
        (~is_marked, theme.muted, ".", "others"),
        (is_marked, theme.alert, "D", label),
    ):
        axes.plot(
            customers[chosen],
            -log10_p[chosen],
            marker,
            color=colour,
            markersize=4.0,
            clip_on=False,
            label=name,
        )
    axes.axhline(-limit, color=theme.faint, linewidth=1.0, linestyle="--", zorder=0)
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel("-log10 p")
    axes.set_xlabel("customer")
    axes.legend(loc="upper right", borderpad=0.1)
    return figure
