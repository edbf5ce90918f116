"""The results of several seeds as one Markdown table."""

import math
import os
import pathlib
import re
import statistics
from collections.abc import Callable, Iterable
from typing import Any

from anw_jax import _json, stats
from anw_jax.report.reading import training_origin, training_seconds

_HEAD = (
    "user",
    "kind",
    "seeds",
    "p, median",
    "p, worst",
    "log10 p",
    "hits",
    "matches",
    "hue error",
)


def results_table(folder: str | os.PathLike) -> str:
    """Return a table of one experiment over its seeds.

    A claim's worst p is its largest, a control's its smallest. Matches and hue errors
    (inferred minus true) are for users whose photos all share one hue ("unmarked" counts).

    Args:
      folder: holds `seed*.json`, each a run's `results.json`.

    Returns:
      Markdown: a row for each user, then accuracy; time, hardware, commit
      and command of the training.

    Raises:
      FileNotFoundError: if there is no `seed*.json`.
      ValueError: if a file is damaged; names it.
    """
    runs = read_seeds(folder)
    names = dict.fromkeys(name for run in runs for name in run["users"])
    rows = [
        _row(name, [r["users"][name] for r in runs if name in r["users"]]) for name in names
    ]
    lines = [_line(_HEAD), _line(["---"] * len(_HEAD)), *map(_line, rows)]
    return "\n".join([*lines, "", _origin(runs)]) + "\n"


def read_seeds(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """Return the results in a folder, by seed."""
    files = sorted(pathlib.Path(folder).glob("seed*.json"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no seed*.json")
    runs = []
    for file in files:
        try:
            runs.append(_json.read(file))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file} is damaged: {error}") from None
    return sorted(runs, key=lambda run: run["seed"])


def _row(name: str, users: list[dict[str, Any]]) -> list[str]:
    is_control = users[0]["kind"] != "marked" or users[0].get("excluded", False)
    log10_p = [user["log10_p"] for user in users if user["log10_p"] is not None]
    worst = (min if is_control else max)(log10_p, default=None)
    shared = [user["one_signature"] for user in users if user.get("one_signature")]
    kind = "left out of training" if users[0].get("excluded") else users[0]["kind"]
    return [
        name,
        f"{kind}, {users[0]['scheme']}".replace("_", " "),
        str(len(users)),
        _p(statistics.median(log10_p) if log10_p else None),
        _p(worst),
        mean_and_std(log10_p, 2),
        f"{mean_and_std([user['num_hits'] for user in users], 1)} of {users[0]['num_units']}",
        f"{sum(bool(s['match']) for s in shared)} of {len(shared)}" if shared else "–",
        _angle(_hue_error(s) for s in shared) if shared else "–",
    ]


def _hue_error(shared: dict[str, Any]) -> float | None:
    """Return inferred minus true hue in degrees, on the finer grid where there is one."""
    inferred = shared.get("inferred_degrees_fine", shared["inferred_degrees"])
    return None if inferred is None else inferred - shared["true_degrees"]


def _p(log10_p: float | None) -> str:
    return "–" if log10_p is None else stats.format_p(log10_p)


def mean_and_std(values: Iterable[float | None], digits: int) -> str:
    """Return mean and sample standard deviation as text; the deviation needs two values.

    Example:
      >>> mean_and_std([1.0, 3.0], 1), mean_and_std([0.5], 2), mean_and_std([], 1)
      ('2.0 ± 1.4', '0.50', '–')
    """
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    text = f"{statistics.fmean(known):.{digits}f}"
    return text if len(known) < 2 else f"{text} ± {statistics.stdev(known):.{digits}f}"


def _angle(degrees: Iterable[float | None]) -> str:
    """Return mean and deviation of hues on the circle, around their mean direction."""
    known = [math.radians(angle) for angle in degrees if angle is not None]
    if not known:
        return "–"
    middle = math.atan2(sum(map(math.sin, known)), sum(map(math.cos, known)))
    near = [math.degrees(math.remainder(a - middle, math.tau) + middle) for a in known]
    return mean_and_std([angle + 0.0 for angle in near], 0).replace("-0 ", "0 ") + " °"


def _line(cells: Iterable[str]) -> str:
    """Return a table row; what Markdown or HTML would take as markup is escaped."""
    return "| " + " | ".join(_escape(cell) for cell in cells) + " |"


def _escape(cell: str) -> str:
    text = cell.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
    return re.sub(r"([|`*\[\]\\])", r"\\\1", text)


def _origin(runs: list[dict[str, Any]]) -> str:
    accuracy = [run.get("model", {}).get("test_accuracy") for run in runs]
    percent = [None if value is None else 100 * value for value in accuracy]
    train = [training_seconds(run) for run in runs]
    return (
        f"{len(runs)} seed{'s' if len(runs) > 1 else ''}; test accuracy "
        f"{mean_and_std(percent, 1)} %; training {mean_and_std(train, 0)} s; hardware: "
        f"{_distinct(runs, lambda o: o.get('hardware'))}; commit: {_distinct(runs, _commit)}; "
        f"command: {_distinct(runs, _command)}"
    )


def _distinct(runs: list[dict[str, Any]], what: Callable[[dict[str, Any]], str | None]) -> str:
    found = dict.fromkeys(what(training_origin(run)) or "unknown" for run in runs)
    return ", ".join(found)


def _commit(origin: dict[str, Any]) -> str | None:
    commit = origin.get("commit")
    return commit and commit[:10] + (" + changes" if origin.get("uncommitted_sha256") else "")


def _command(origin: dict[str, Any]) -> str | None:
    """Return the command for any seed and any folder."""
    command = re.sub(r"\s--(workdir|save_results)[= ]\S+", "", origin.get("command") or "")
    command = re.sub(r"(--config\.seed[= ])\d+", r"\1<seed>", command)
    return f"`{command}`" if command else None
