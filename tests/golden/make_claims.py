"""Makes claims.json: `python -m tests.golden.make_claims` from the repository.

The verdicts of docs/reproduction.md, with their rules and the numbers behind them, one claim a
line. First made by the claim language that Python claims replaced; the file must not change.
"""

import json
import pathlib
import re
from typing import Any

from tools.reproduction.document import Row
from tools.reproduction.study import load_studies

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLUMNS = ("claim", "paper", "paper_scale", "quick", "verdict", "keyed_p", "accuracy_cost")


def document_rows() -> list[dict[str, str]]:
    """The cells of the document's table, without the command; "row" is the row's title."""
    found = []
    for line in (ROOT / "docs" / "reproduction.md").read_text().splitlines():
        if line.startswith("| ["):
            row, *cells, _ = line.replace("\\|", "|").strip("|").split(" | ")
            cells = [cell.strip() for cell in cells]
            title = re.match(r"\[(.+)\]\(#", row.strip())[1]
            found.append({"row": title, **dict(zip(COLUMNS, cells, strict=True))})
    return found


def measured() -> list[dict[str, Any]]:
    """Each claim's rules and values, computed anew from `experiments/` and `results/`.

    Values are on the scale of the measure (shares, not percent), one for each seed that has
    been run; rules are `[low, high]`, null where an end is open.
    """
    folder = ROOT / "experiments"
    quick = {study.file: study for study in load_studies(folder, "quick")}
    return [
        {
            "row": study.row,
            "claim": claim.text,
            "paper": claim.paper_scale.paper,
            "verdict": claim.verdict,
            "judged_by": "each seed" if claim.paper_scale.every_seed else "mean",
            "confirm": _ends(claim.paper_scale.confirm),
            "direction": _ends(claim.paper_scale.direction),
            "quick_direction": _ends(claim.quick.direction),
            "at_paper_scale": list(claim.paper_scale.measured.values),
            "quick": list(claim.quick.measured.values),
        }
        for study in load_studies(folder, "paper")
        for claim in Row.of(study, quick[study.file], ROOT / "results").claims
    ]


def _ends(rule: Any) -> list[float | None]:
    return [None if abs(end) == float("inf") else end for end in (rule.low, rule.high)]


def _write(name: str, rows: list[dict[str, Any]]) -> None:
    lines = [f" {json.dumps(row, ensure_ascii=False)}" for row in rows]
    path = pathlib.Path(__file__).with_name(name)
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    _write("claims.json", measured())
    _write("document.json", document_rows())
