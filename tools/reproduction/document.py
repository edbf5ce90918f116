"""Writes docs/reproduction.md from result files: a row for each claim, none filled by hand."""

import dataclasses
import pathlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from anw_jax.errors import SettingsError
from tools.reproduction import multitask, pictures, section
from tools.reproduction.claims import NO_RESULT, NOT_YET_RUN, Claim, verdict
from tools.reproduction.runs import Runs
from tools.reproduction.study import Study, load_studies

_INTRODUCTION = pathlib.Path(__file__).with_name("introduction.md")
_HEAD = (
    "row",
    "claim",
    "paper",
    "ours, paper scale",
    "ours, quick",
    "verdict",
    "keyed photos, same trainings",
    "accuracy cost of marking",
    "command",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """A claim at both scales.

    Attributes:
      paper_scale: as stated and measured at paper scale.
      quick: as stated and measured at quick scale.
    """

    paper_scale: Claim
    quick: Claim

    @property
    def text(self) -> str:
        """The claim, and that at quick scale if it differs (by fewer photos, for instance)."""
        if self.paper_scale.text == self.quick.text:
            return self.paper_scale.text
        return f"{self.paper_scale.text} (quick: {self.quick.text})"

    @property
    def verdict(self) -> str:
        """The verdict on the claim."""
        return verdict(self.paper_scale, self.quick)


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """A study at both scales, with its results.

    Attributes:
      paper_scale: the study at paper scale.
      quick: the same study at quick scale.
      paper_runs: results at paper scale.
      quick_runs: results at quick scale.
      claims: its claims, measured.
    """

    paper_scale: Study
    quick: Study
    paper_runs: Runs
    quick_runs: Runs
    claims: tuple[Pair, ...]

    @classmethod
    def of(cls, paper_scale: Study, quick: Study, results: pathlib.Path) -> "Row":
        """Read the results of both scales, and measure the claims on them.

        Raises:
          SettingsError: the scales do not make the same claims, one by one.
          ResultError: a result file is damaged, of another run, or lacks what is measured.
        """
        runs = [study.runs(results) for study in (paper_scale, quick)]
        claims = [study.claims(r) for study, r in zip((paper_scale, quick), runs, strict=True)]
        made = [[(claim.paper, claim.unit) for claim in each] for each in claims]
        if made[0] != made[1]:
            raise SettingsError(f"{paper_scale.file}: both variants must make the same claims")
        return cls(paper_scale, quick, *runs, tuple(map(Pair, *claims)))

    def beside(self, text_of: Callable[[Study, Runs], str]) -> str:
        """Return a text that applies to all claims of the row, at both scales."""
        found = text_of(self.paper_scale, self.paper_runs)
        small = text_of(self.quick, self.quick_runs)
        if found == small:
            return found or NO_RESULT
        return "; ".join(filter(None, [found, f"quick: {small}" if small else ""]))


def read_rows(experiments: str | pathlib.Path, results: str | pathlib.Path) -> list[Row]:
    """Read all studies with their results, in the order of the paper.

    Raises:
      SettingsError: a study has a mistake.
      ResultError: a result file is damaged, of another run, or lacks what is measured.
    """
    quick = {study.file: study for study in load_studies(experiments, "quick")}
    studies = sorted(load_studies(experiments, "paper"), key=section.place)
    return [Row.of(study, quick[study.file], pathlib.Path(results)) for study in studies]


def document(
    experiments: str | pathlib.Path = "experiments",
    results: str | pathlib.Path = "results",
) -> str:
    """Write the whole document, in Markdown.

    Args:
      experiments: the folder of studies.
      results: the folder of result files.

    Raises:
      SettingsError: as `read_rows`.
      ResultError: as `read_rows`.
    """
    rows = read_rows(experiments, results)
    introduction = _INTRODUCTION.read_text(encoding="utf-8")
    parts = [introduction, _summary(rows), _claims_table(rows), "## Row by row\n"]
    parts += [_row_section(row) for row in rows]
    parts += [_open_section(rows), multitask.section(pathlib.Path(results))]
    parts.append(pictures.section(pathlib.Path(results)))
    return "\n".join(parts)


def _summary(rows: Sequence[Row]) -> str:
    verdicts = [pair.verdict.split(",")[0] for row in rows for pair in row.claims]
    listed = ", ".join(f"{num} {text}" for text, num in sorted(Counter(verdicts).items()))
    return f"**{len(verdicts)} claims:** {listed or 'none'}.\n"


def _claims_table(rows: Sequence[Row]) -> str:
    lines = [
        (
            f"[{row.paper_scale.row}](#{section.anchor(row.paper_scale)})",
            pair.text,
            pair.paper_scale.paper,
            _noted(pair.paper_scale.measured_text, row.paper_scale),
            _noted(pair.quick.measured_text, row.quick),
            pair.verdict,
            row.beside(lambda _, runs: section.keyed_p(runs)),
            row.beside(section.accuracy_cost),
            section.command(row.paper_scale),
        )
        for row in rows
        for pair in row.claims
    ]
    return "\n".join([_line(_HEAD), "|" + "---|" * len(_HEAD), *map(_line, lines)]) + "\n"


def _line(cells: Iterable[str]) -> str:
    """A line of a table; a vertical bar in a cell is escaped, so that it ends no cell."""
    return "| " + " | ".join(re.sub(r"\|", r"\\|", " ".join(c.split())) for c in cells) + " |"


def _noted(text: str, study: Study) -> str:
    return text if text == NO_RESULT or not study.note else f"{text}; {study.note}"


def _row_section(row: Row) -> str:
    study = row.paper_scale
    lines = [f'<a id="{section.anchor(study)}"></a>', f"### {study.row}: {study.title}", ""]
    lines += [f"The paper: {study.paper}", ""]
    lines += [
        f"* {pair.text}: **{pair.verdict}**; {section.rules(pair.paper_scale, pair.quick)}"
        for pair in row.claims
    ]
    lines.append("")
    for name, scale, runs in (
        ("Paper scale", row.paper_scale, row.paper_runs),
        ("Quick", row.quick, row.quick_runs),
    ):
        lines += [section.trainings(name, scale, runs), ""]
        if scale.figure is not None and scale.figure(runs).shown:
            shown = f"{scale.row}, {name.lower()}: {scale.title}"
            lines += [f"![{shown}](figures/{scale.name}.png)", ""]
    return "\n".join(lines)


def _open_section(rows: Sequence[Row]) -> str:
    """Collect the claims that are not confirmed or not yet run."""
    lines = ["## Not confirmed, not yet run\n"]
    for title, belongs in (
        ("Not confirmed", lambda text: text.startswith("not confirmed")),
        ("Only the direction", lambda text: text.startswith("direction only")),
        ("Not yet run", lambda text: text == NOT_YET_RUN),
        (
            "Not yet run at paper scale",
            lambda text: text.endswith("(quick)") or "(quick)," in text,
        ),
        ("Fewer seeds than declared", lambda text: text.endswith(" seeds")),
    ):
        found = filter(None, (_open_claims(row, belongs) for row in rows))
        lines.append(f"* **{title}:** {'; '.join(found) or 'nothing'}.")
    return "\n".join(lines) + "\n"


def _open_claims(row: Row, belongs: Callable[[str], bool]) -> str:
    """The row, with its claims in question unless these are all."""
    found = [pair.text for pair in row.claims if belongs(pair.verdict)]
    if not found or len(found) == len(row.claims):
        return row.paper_scale.row if found else ""
    return f"{row.paper_scale.row} ({', '.join(found)})"
