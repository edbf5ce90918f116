"""The section on Zhang et al. 2021: their table of marks in outputs, and ours cell by cell.

Their figures stand on a picture in the authors' repository. The text of the paper was not at
hand, so no other number of theirs is quoted. Ours are read from result files.
"""

import json
import pathlib
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from anw_jax.report.table import mean_and_std
from tools.reproduction.claims import NO_RESULT, NOT_YET_RUN
from tools.reproduction.runs import ResultError

Run = dict[str, Any]


class Cell(NamedTuple):
    """A copy of the paper's table: its name there, what it was trained with, our copy's name.

    The figures are shares in percent of the outputs in which the mark was found, by NC > .95
    and by a classifier: with stage 2 on the two tasks of the paper, and without.
    """

    paper: str
    how: str
    copy: str
    with_stage_2: tuple[str, str]
    without: tuple[str, str]


# The first figures of a pair are for removing bones from X-rays, the second for de-raining.
CELLS = (
    Cell("CNet", "plain convolutions, L2", "plain", ("93/100", "100/100"), ("0/0", "0/0")),
    Cell("Res9", "9 residual blocks, L2", "residual_3", ("100/100", "100/100"), ("0/0", "0/0")),
    Cell(
        "Res16", "16 residual blocks, L2", "residual_6", ("100/100", "100/100"), ("0/0", "0/0")
    ),
    Cell("UNet", "U-Net, L2", "unet", ("100/100", "100/100"), ("0/0", "0/0")),
    Cell("L1", "U-Net", "unet_l1", ("100/100", "100/100"), ("0/0", "0/0")),
    Cell("L1 + adv", "U-Net", "unet_l1_adversarial", ("100/100", "100/100"), ("0/0", "0/0")),
    Cell("L2", "U-Net", "unet", ("100/100", "100/100"), ("27/88", "0/0")),
    Cell("L2 + adv", "U-Net", "unet_l2_adversarial", ("100/100", "99/100"), ("44/96", "0/0")),
    Cell(
        "perc + adv",
        "U-Net",
        "unet_perceptual_adversarial",
        ("71/94", "100/100"),
        ("0/0", "0/54"),
    ),
)

# Column, folder of results and variant of `experiments/barrier.py`.
_SETS = (
    ("ours, deblur", "barrier_paper", "paper"),
    ("ours, derain", "barrier_paper_derain", "paper_derain"),
    ("ours, deblur, quick", "barrier_paper_quick", "paper_quick"),
)

_HEAD = """## Another paper: pictures hidden in outputs

[Zhang et al. 2021](https://arxiv.org/abs/2103.04980): a barrier hides a picture in a model's
outputs, and an extractor draws it again for copies that were trained on them. **A baseline
without an error rate**: its extractor was trained to draw this very picture, so neither figure
below is a p, and no verdict is made from it ([output_watermarks.md](output_watermarks.md)).

Shares in percent of outputs in which the mark was found, by NC > .95 and by a classifier. The
paper's are those of a figure in the authors' repository; that the first of two is NC, and that
the first four copies were trained with L2 and the last five are U-Nets, is our reading of it.
"UNet" and "L2" should be one setting, yet differ there.
"""

_DIFFERENCES = """What differs, and why:

* **Size:** 32 pixels; the paper 256. Two CPU cores would take most of a year at the paper's.
* **Data:** CIFAR-10 with a blur and noise, or streaks, made by us; the paper X-rays, which the
  authors cannot pass on, and photos of PASCAL VOC with rain.
* **Networks:** U-Nets of 8 channels and three halvings, without normalisation, as barrier and
  extractor; the authors' code has seven halvings of 64 channels, and an extractor of nine
  dilated residual blocks. Copies have 3 and 6 residual blocks for its 9 and 16. In quick the
  owner's model is a classical filter.
* **Steps:** a few thousand; the authors' code 200 epochs, and 300 for copies.
* **Places:** during training the extractor sees every image moved by up to 8 pixels, and has to
  draw the mark where it belongs; the authors' does not. Small networks tie the mark to places
  otherwise, and a convolutional copy does not learn it: three earlier runs without this
  (`results/superseded/barrier_paper_quick_without_shifts/`) read 48 to 100 % of the outputs of
  the copy of the proxy's kind, and next to none of others. With it, the mark is a texture that
  most copies learn well enough to be read before stage 2, unlike the paper's.
* **Power:** the barrier's change of every image is scaled to 35.5 dB, without a pixel loss.
* **Proxies** of stage 2: two, a U-Net with L2 and plain convolutions with L1; the paper one.
* **Losses:** all others have the weights of the authors' code. A copy's perceptual loss uses
  features of a fixed random network for those of VGG, whose weights would have to be
  downloaded.
* **Mark:** a grid of 8 x 8 bits, for the paper's logos and QR codes.
* Fidelity and what is drawn for clean images are ours alone: the paper's tables of these were
  not at hand.
"""


def section(results: pathlib.Path) -> str:
    """Write the section, in Markdown.

    Args:
      results: the folder of result files.

    Raises:
      ResultError: a result file is damaged.
    """
    sets = [_read(results / folder) for _, folder, _ in _SETS]
    parts = [_HEAD]
    for stage, title, figures in (
        ("stage_2", "With stage 2:", lambda cell: cell.with_stage_2),
        ("stage_1", "Without stage 2:", lambda cell: cell.without),
    ):
        parts += [title, _table(stage, figures, sets)]
    parts += [_runs(*chosen, runs) for chosen, runs in zip(_SETS, sets, strict=True)]
    return "\n".join([*parts, "", _DIFFERENCES])


def _read(folder: pathlib.Path) -> list[Run]:
    runs = []
    for path in sorted(folder.glob("seed*.json")):
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            runs.append({name: run[name] for name in _NEEDED})
        except (ValueError, LookupError, TypeError) as error:
            raise ResultError(f"{path} is damaged: {error!r}") from None
    return runs


_NEEDED = ("seed", "served", "clean", "copies", "settings", "provenance", "stage_seconds")


def _table(
    stage: str, figures_of: Callable[[Cell], tuple[str, str]], sets: Sequence[list[Run]]
) -> str:
    head = ["copy", "trained with", "paper, debone", "paper, derain", *(s[0] for s in _SETS)]
    lines = [head, ["---"] * len(head)]
    for cell in CELLS:
        ours = [_figure(runs, cell.copy, stage) for runs in sets]
        lines.append([cell.paper, cell.how, *figures_of(cell), *ours])
    return "\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _figure(runs: list[Run], copy: str, stage: str) -> str:
    """The two figures of a copy, means over seeds; "–" for a copy that a set does not have."""
    if not runs:
        return NOT_YET_RUN
    rows = [run["copies"][copy][stage] for run in runs if copy in run["copies"]]
    if not rows:
        return NO_RESULT
    return "/".join(
        f"{100 * statistics.fmean(row[name] for row in rows):.0f}"
        for name in ("success_rate", "decided")
    )


def _runs(column: str, folder: str, variant: str, runs: list[Run]) -> str:
    """A line on the runs of one set."""
    command = f"`python run.py --config=experiments/barrier.py:{variant}`"
    if not runs:
        return f"* {column}: {NOT_YET_RUN}. {command}"
    served = [next(iter(run["served"].values())) for run in runs]
    innocent = [
        row["stage_2"]["success_rate"]
        for run in runs
        for name, row in run["copies"].items()
        if run["settings"]["copies"][name]["pairs"] == "clean"
    ]
    parts = [
        f"{column}: seed{'s' * (len(runs) > 1)} {', '.join(str(run['seed']) for run in runs)}",
        f"served at {mean_and_std([one['psnr'] for one in served], 1)} dB, SSIM "
        f"{mean_and_std([one['ssim'] for one in served], 3)}",
        f"NC > .95 after stage 2 for {_percent(o['stage_2']['success_rate'] for o in served)} "
        "of served outputs, for "
        f"{_percent(r['clean']['outputs']['stage_2']['success_rate'] for r in runs)} of "
        f"unmarked ones, for {_percent(innocent)} of those of innocent copies",
        f"{mean_and_std([sum(r['stage_seconds'].values()) / 60 for r in runs], 1)} minutes",
        f"commit {', '.join(sorted({r['provenance']['commit'][:10] for r in runs}))}",
        f"files: `results/{folder}/`, {command}",
    ]
    return "* " + "; ".join(parts) + "."


def _percent(shares: Any) -> str:
    return f"{mean_and_std([100 * share for share in shares], 0)} %"
