"""The section on Li and Wang 2021: what their abstract claims, our targets, and our runs.

Of the paper only the abstract was at hand, and it has no number. Targets are this project's
own, written before the first run. Ours are read from result files; `multitask.md` is the text.
"""

import json
import math
import pathlib
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from anw_jax import stats
from anw_jax.report.table import mean_and_std
from anw_jax.schemes.multitask import check_num_pairs
from tools.reproduction.claims import NO_RESULT, NOT_YET_RUN
from tools.reproduction.runs import ResultError

Run = dict[str, Any]
# From a run and a variant to a figure; None where there is none.
Measure = Callable[[Run, str], float | None]

_TEXT = pathlib.Path(__file__).with_name("multitask.md")
_NEEDED = ("seed", "clean_accuracy", "marks", "controls", "forgery", "provenance")
_VARIANTS = ("projection", "branch")
_QUICK = "multitask_quick"
_OVERWRITES = f"{_QUICK}_overwrites"
_WITHOUT_DRIFT = f"{_QUICK}_without_drift"
_WITHOUT_TUNING = f"{_QUICK}_without_tuning"
_ATTACKS = f"{_QUICK}_attacks"
_FOLDERS = (_QUICK, _OVERWRITES, _ATTACKS, _WITHOUT_DRIFT, _WITHOUT_TUNING)


def _percent(values: Sequence[float]) -> str:
    return f"{mean_and_std([100 * value for value in values], 1)} %".replace("-0.0 ", "0.0 ")


def _points(values: Sequence[float]) -> str:
    return _percent(values).replace("%", "points")


class Claim(NamedTuple):
    """A claim of the abstract, in our reading.

    Attributes:
      words: of the abstract.
      text: what is measured.
      target: in words.
      measure: reads the figure.
      meets: from figures over seeds, and the mean they are compared with, to whether they meet
        the target.
      show: from figures over seeds to text.
      folder: of the runs.
      than: what the figures are compared with, in the runs of quick.
    """

    words: str
    text: str
    target: str
    measure: Measure
    meets: Callable[[Sequence[float], float], bool]
    show: Callable[[Sequence[float]], str] = _percent
    folder: str = _QUICK
    than: Measure | None = None


def _right(attack: str, without: str = "") -> Measure:
    """Read the share of the watermark that is read after an attack."""

    def measure(run: Run, variant: str) -> float | None:
        row = run["marks"].get(variant + without, {}).get(attack)
        if row is None or "keys" not in row:
            return row and row["watermark_accuracy"]
        return min(key["watermark_accuracy"] for key in row["keys"])

    return measure


def _lost(without: str = "") -> Measure:
    """Read what the mark costs in accuracy on the task."""

    def measure(run: Run, variant: str) -> float | None:
        row = run["marks"].get(variant + without, {}).get("none")
        return row and run["clean_accuracy"] - row["test_accuracy"]

    return measure


def _worst_p(*attacks: str) -> Measure:
    """Read the largest p after these attacks; without any, after all that were run."""

    def measure(run: Run, variant: str) -> float | None:
        rows = run["marks"].get(variant, {})
        if not rows.keys() >= set(attacks):
            return None
        found = (
            key["log10_p"] for name in attacks or rows for key in rows[name].get("keys", ())
        )
        return max(found, default=None)

    return measure


def _innocent_p(run: Run, variant: str) -> float | None:
    if variant != "projection":
        return None
    return min(key["log10_p"] for keys in run["controls"].values() for key in keys)


def _forged(name: str) -> Measure:
    return lambda run, variant: run["forgery"][name] if variant == "branch" else None


def _at_least(bound: float) -> Callable[[Sequence[float], float], bool]:
    return lambda values, _: statistics.fmean(values) >= bound


def _spread(values: Sequence[float]) -> float:
    """Return the standard deviation over seeds: a smaller difference is none that was seen."""
    return statistics.stdev(values) if len(values) > 1 else math.inf


_TASK = "“watermark embedding as an extra task”"
_REGULARISERS = "“well-designed regularizers”"
_ROBUST = "“robust”"
_SECURE = "“secure”"
_TUNED = "watermark after 40 epochs of fine-tuning"
CLAIMS = (
    Claim(_TASK, "watermark without an attack", "100 %", _right("none"), _at_least(1.0)),
    Claim(
        _REGULARISERS,
        "accuracy lost on the task, with R_func",
        "≤ 1 point",
        _lost(),
        lambda values, _: statistics.fmean(values) <= 0.01,
        _points,
    ),
    Claim(
        _REGULARISERS,
        "accuracy lost on the task, without R_func",
        "more than with it, by more than a standard deviation",
        _lost("_without_drift"),
        lambda values, with_it: statistics.fmean(values) - _spread(values) > with_it,
        _points,
        _WITHOUT_DRIFT,
        _lost(),
    ),
    Claim(_REGULARISERS, f"{_TUNED}, with R_DA", "≥ 90 %", _right("fine_tune"), _at_least(0.9)),
    Claim(
        _REGULARISERS,
        f"{_TUNED}, without R_DA",
        "less than with it, by more than a standard deviation",
        _right("fine_tune", "_without_tuning"),
        lambda values, with_it: statistics.fmean(values) + _spread(values) < with_it,
        folder=_WITHOUT_TUNING,
        than=_right("fine_tune"),
    ),
    Claim(_ROBUST, "watermark after pruning 50 %", "≥ 95 %", _right("prune"), _at_least(0.95)),
    Claim(
        _ROBUST,
        "watermark after one overwriting",
        "≥ 90 %",
        _right("overwrite_1"),
        _at_least(0.9),
    ),
    Claim(
        _ROBUST,
        "watermark after four overwritings",
        "≥ 90 %",
        _right("overwrite_4"),
        _at_least(0.9),
        folder=_OVERWRITES,
    ),
    Claim(
        _ROBUST,
        "watermark after re-basing of the tapped layers (LFEA)",
        "≥ 90 %",
        _right("rebase"),
        _at_least(0.9),
    ),
    Claim(
        _SECURE,
        "largest p over all attacks of quick",
        "≤ 1e-12",
        _worst_p(),
        lambda values, _: max(values) <= -12.0,
        lambda values: stats.format_p(max(values)),
    ),
    Claim(
        _SECURE,
        "largest p after fine-pruning, permuted, scaled and dummy neurons",
        "≤ 1e-12",
        _worst_p("fine_prune", "permute", "scale", "dummy"),
        lambda values, _: max(values) <= -12.0,
        lambda values: stats.format_p(max(values)),
        _ATTACKS,
    ),
    Claim(
        _SECURE,
        "smallest p of networks without the mark",
        "above 1e-3",
        _innocent_p,
        lambda values, _: min(values) > -3.0,
        lambda values: stats.format_p(min(values)),
    ),
    Claim(
        _SECURE,
        "forged branch, six inputs per feature",
        "< 80 % (γ)",
        _forged("accuracy_few_features"),
        lambda values, _: max(values) < 0.8,
    ),
    Claim(
        _SECURE,
        "forged branch, more features than inputs",
        "100 %: why it has no p",
        _forged("accuracy_all_features"),
        _at_least(1.0),
    ),
)

# Accuracy of the best branch on noise, by inputs per feature, as computed before.
_FORGED_BEFORE = {
    1: "100",
    2: "91 to 99.5",
    3: "77",
    4: "74 to 78",
    6: "69 to 73",
    8: "62 to 67",
    12: "62 to 70",
    16: "61 to 65",
}
_ERRORS = {"1e-3": 1e-3, "1e-6": 1e-6, "1e-9": 1e-9, "2^-64": 2.0**-64, "2^-128": 2.0**-128}
# Least numbers of independent labels for γ, by these, as computed before.
LEAST_BEFORE = {
    0.7: (56, 136, 216, 502, 1033),
    0.8: (24, 59, 93, 214, 443),
    0.9: (14, 29, 48, 114, 233),
}


def section(results: pathlib.Path) -> str:
    """Write the section, in Markdown.

    Args:
      results: the folder of result files.

    Raises:
      ResultError: a result file is damaged.
    """
    runs = {folder: _read(results / folder) for folder in _FOLDERS}
    return _TEXT.read_text(encoding="utf-8").format(
        claims=_claims(runs),
        origins="\n".join(_origin(folder, found) for folder, found in runs.items()),
        study=_seeds(_read(results / "multitask")),
        paper=_seeds(_read(results / "multitask_paper")),
        forged=_forged_table(results / "benchmarks" / "forged_branch.json"),
        least=_least_table(),
    )


def _read(folder: pathlib.Path) -> list[Run]:
    return [_fields(path, _NEEDED) for path in sorted(folder.glob("seed*.json"))]


def _fields(path: pathlib.Path, names: Sequence[str]) -> Run:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        return {name: body[name] for name in names}
    except (ValueError, LookupError, TypeError) as error:
        raise ResultError(f"{path} is damaged: {error!r}") from None


def _claims(runs: dict[str, list[Run]]) -> str:
    head = ("the abstract", "measured", "our target", "fixed projection", "trained branch (γ)")
    lines = [head, ["---"] * len(head)]
    for claim in CLAIMS:
        cells = [_cell(claim, variant, runs) for variant in _VARIANTS]
        lines.append([claim.words, claim.text, claim.target, *cells])
    return _table(lines)


def _cell(claim: Claim, variant: str, runs: dict[str, list[Run]]) -> str:
    """The figure of a claim, and whether it meets our target."""
    found = _values(claim.measure, variant, runs[claim.folder])
    if not found:
        return NO_RESULT if runs[claim.folder] else NOT_YET_RUN
    others = _values(claim.than, variant, runs[_QUICK]) if claim.than else [0.0]
    if not others:
        return f"{claim.show(found)} (n = {len(found)})"
    is_met = claim.meets(found, statistics.fmean(others))
    return f"{claim.show(found)} (n = {len(found)}): {'met' if is_met else '**not met**'}"


def _values(measure: Measure, variant: str, runs: list[Run]) -> list[float]:
    found = (measure(run, variant) for run in runs)
    return [value for value in found if value is not None]


def _seeds(runs: list[Run]) -> str:
    return f"seeds {', '.join(str(run['seed']) for run in runs)}" if runs else NOT_YET_RUN


def _origin(folder: str, runs: list[Run]) -> str:
    variant = folder.removeprefix("multitask_")
    commits = ", ".join(sorted({run["provenance"]["commit"][:10] for run in runs}))
    where = f"; commit {commits}; files: `results/{folder}/`" if runs else ""
    command = f"`python run.py --config=experiments/multitask.py:{variant}`"
    return f"* {variant}: {_seeds(runs)}{where}; {command}."


def _forged_table(path: pathlib.Path) -> str:
    found = _fields(path, ("results",))["results"] if path.exists() else {}
    head = ("inputs per feature", *map(str, _FORGED_BEFORE))
    lines = [head, ["---"] * len(head), ("computed before", *_FORGED_BEFORE.values())]
    for kind, title in (("independent", "independent labels"), ("pairs", "labels in pairs")):
        of_kind = found.get(kind, {})
        cells = [
            " to ".join(dict.fromkeys(f"{100 * end:.0f}" for end in of_kind[str(ratio)]))
            if str(ratio) in of_kind
            else NOT_YET_RUN
            for ratio in _FORGED_BEFORE
        ]
        lines.append((title, *cells))
    return _table(lines)


def _least_table() -> str:
    head = ("γ", *_ERRORS)
    lines = [head, ["---"] * len(head)]
    for gamma, before in LEAST_BEFORE.items():
        cells = [
            f"{labels} labels, {least_bits(gamma, error)} bits"
            for labels, error in zip(before, _ERRORS.values(), strict=True)
        ]
        lines.append((f"{gamma:g}", *cells))
    return _table(lines)


def least_bits(gamma: float, error: float) -> int:
    """Return the least number of bits with which guesses reach γ no oftener than this."""
    num_bits = 1
    while True:
        try:
            check_num_pairs(num_bits, gamma, error)
        except ValueError:
            num_bits += 1
        else:
            return num_bits


def _table(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
