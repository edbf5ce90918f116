"""The page of a run with watermarks in models: who is the owner, and how sure is that?

It shows what was read from each marked network and from each attacked copy of it, and from
networks that never met the marks. A mark whose reader has an exact p shows it; the rule of a
paper (accuracy ≥ γ) is shown beside it, and named as such.
"""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from anw_jax import _files, stats
from anw_jax.report import html, style, words
from anw_jax.report.photos import png_uri
from anw_jax.report.style import Drawing, Theme, publish_figure

EXAMPLES = "examples.npz"

_MOST_PICTURES = 12

# The strength of each kind of attack: its parameter, what it counts, that of no attack.
_STRENGTHS = {
    "fine_tune": ("num_epochs", "epochs of fine-tuning"),
    "prune": ("fraction", "share of weights pruned"),
    "fine_prune": ("fraction", "share of channels pruned, then fine-tuned"),
    "overwrite": ("times", "foreign marks embedded"),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """What was read from one network.

    Attributes:
      mark: name of the marked network; that of an innocent one for controls.
      attack: name; "none" for none.
      accuracy: of the primary task on unseen inputs, in [0, 1]; None if not measured.
      right: share of the watermark that was read correctly; None if it cannot be read.
      log10_p: of the exact test; None where there is only the paper's rule.
      outcome: of the test, or whether the rule passes.
    """

    mark: str
    attack: str
    accuracy: float | None
    right: float | None
    log10_p: float | None
    outcome: str

    @property
    def p_text(self) -> str:
        """The p as text; "no p" where there is only the paper's rule."""
        return "no p" if self.log10_p is None else stats.format_p(self.log10_p)

    @property
    def odds(self) -> str:
        """The p in words."""
        return words.gloss_of_p(self.log10_p)


def write_scheme_report(workdir: str | os.PathLike) -> pathlib.Path:
    """Write `report.html` and `figures/` of a run with watermarks in models.

    Reads `results.json` and, where it is there, `examples.npz` with keyed inputs; never a key.
    Arguments, result and errors are those of `html.write_page_of_run`.
    """
    return html.write_page_of_run(workdir, "scheme.html.j2", _values)


def _values(results: dict[str, Any], folder: pathlib.Path) -> dict[str, Any]:
    rows = _rows(results)
    return {
        "rows": rows,
        "plain": [row for row in rows if row.attack == "none"],
        "controls": _control_rows(results),
        "drawings": _draw(results, rows, folder / "figures"),
        "pictures": _pictures(folder / EXAMPLES),
        "gamma": results["settings"]["gamma"],
        "alpha": results["settings"]["alpha"],
    }


def _rows(results: dict[str, Any]) -> list[Row]:
    return [
        _row(mark, attack, numbers)
        for mark, by_attack in results["marks"].items()
        for attack, numbers in by_attack.items()
    ]


def _row(mark: str, attack: str, numbers: dict[str, Any]) -> Row:
    """Read the numbers of one network; of several keys that with the largest p counts."""
    accuracy = numbers.get("test_accuracy")
    if "keys" not in numbers:
        outcome = "passes" if numbers["passes"] else "fails"
        return Row(mark, attack, accuracy, numbers["watermark_accuracy"], None, outcome)
    worst = max(numbers["keys"], key=lambda read: read["log10_p"])
    right = min(read["watermark_accuracy"] for read in numbers["keys"])
    return Row(mark, attack, accuracy, right, worst["log10_p"], worst["outcome"])


def _control_rows(results: dict[str, Any]) -> list[Row]:
    """Read the innocent networks; of several keys that with the smallest p counts."""
    found = []
    for name, reads in results["controls"].items():
        best = min(reads, key=lambda read: read["log10_p"])
        right = max(read["watermark_accuracy"] for read in reads)
        found.append(Row(name, "none", None, right, best["log10_p"], best["outcome"]))
    return found


def _draw(results: dict[str, Any], rows: list[Row], folder: pathlib.Path) -> list[Drawing]:
    """Draw a panel for each kind of attack that has a strength."""
    chosen, drawings = results["settings"]["attacks"], []
    marks, gamma = list(results["marks"]), results["settings"]["gamma"]
    read = {(row.mark, row.attack): row for row in rows}
    for kind, (parameter, label) in _STRENGTHS.items():
        strengths = {"none": 0.0}
        for name, attack in chosen.items():
            if attack["attack"] == kind and parameter in attack["parameters"]:
                strengths[name] = float(attack["parameters"][parameter])
        if len(strengths) < 2:
            continue
        names = sorted(strengths, key=strengths.get)
        lines = {mark: [read[mark, name] for name in names] for mark in marks}
        x = [strengths[name] for name in names]
        columns = {"strength": x}
        for mark, line in lines.items():
            columns[f"{mark}_watermark_accuracy"] = [row.right for row in line]
            columns[f"{mark}_test_accuracy"] = [row.accuracy for row in line]
        drawings.append(
            publish_figure(
                folder,
                f"attack_{kind}",
                _describe(label, x, lines),
                lambda theme, x=x, lines=lines, label=label: _figure(
                    x, lines, label, gamma, theme
                ),
                columns,
            )
        )
    return drawings


def _figure(
    x: list[float], lines: dict[str, list[Row]], label: str, gamma: float, theme: Theme
) -> Figure:
    height = 2.45 + 0.16 * len(lines)
    figure, axes = style.panel(3.3, height, (0.55, 0.48, 0.15, 0.25 + 0.16 * len(lines)))
    colours = [theme.signal, theme.alert, theme.match, theme.muted]
    markers = "osD^v<>P"
    for number, (mark, line) in enumerate(lines.items()):
        how = {
            "color": colours[number % len(colours)],
            "marker": markers[number % len(markers)],
            "markersize": 4.5,
            "clip_on": False,
        }
        right = [np.nan if row.right is None else row.right for row in line]
        accuracy = [np.nan if row.accuracy is None else row.accuracy for row in line]
        axes.plot(x, right, label=mark, **how)
        axes.plot(x, accuracy, **{**how, "linestyle": ":", "marker": None})
    axes.axhline(gamma, color=theme.faint, linewidth=1.0, linestyle="--", zorder=0)
    where = {"ha": "left", "va": "top", "transform": axes.get_yaxis_transform()}
    axes.text(0.01, gamma, f"γ = {gamma:g}", color=theme.muted, fontsize=8.0, **where)
    axes.set_ylim(0.0, 1.02)
    axes.set_xlim(0.0, max(x))
    axes.set_xticks(sorted(set(x)))
    axes.set_ylabel("share correct")
    axes.set_xlabel(label)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), borderpad=0.1, labelspacing=0.2)
    return figure


def _describe(label: str, x: list[float], lines: dict[str, list[Row]]) -> str:
    """Describe a panel in words, for readers who do not see it."""
    parts = []
    for mark, line in lines.items():
        values = (
            f"{words.percent(row.right)} at {at:g}" for at, row in zip(x, line, strict=True)
        )
        parts.append(f"{mark}: {', '.join(values)}")
    return f"Watermark accuracy against {label}. {'; '.join(parts)}."


def _pictures(path: pathlib.Path) -> list[tuple[str, int]]:
    """Return keyed inputs as data URIs, each with its label."""
    if not path.exists():
        return []
    with html.naming_damage(path):
        arrays = _files.read_npz(path.read_bytes())
        inputs, labels = arrays["inputs"][:_MOST_PICTURES], arrays["labels"]
    return [(png_uri(image), int(label)) for image, label in zip(inputs, labels, strict=False)]
