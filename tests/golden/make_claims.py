"""Makes claims.json: `python -m tests.golden.make_claims` from the repository.

The verdicts of docs/reproduction.md, with their rules and the numbers behind them, one claim a
line. Made by the claim language that Python claims replace (issue 13): its successor rewrites
`measured` here, and the file must not change.
"""

import json
import pathlib
import re
from typing import Any

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
    from anw_jax import reproduce
    from anw_jax.reproduce.document import Row

    folder = ROOT / "experiments"
    quick = {study.file: study for study in reproduce.load_studies(folder, "quick")}
    return [
        {
            "row": study.row,
            "claim": claim.text,
            "paper": claim.claim.paper,
            "verdict": claim.verdict,
            "judged_by": claim.claim.judged_by,
            "confirm": _ends(claim.claim.confirm),
            "direction": _ends(claim.claim.direction),
            "quick_direction": _ends(claim.quick_claim.direction),
            "at_paper_scale": list(claim.paper_scale.values),
            "quick": list(claim.quick.values),
        }
        for study in reproduce.load_studies(folder, "paper")
        for claim in Row.of(study, quick[study.file], ROOT / "results").numbers()
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
