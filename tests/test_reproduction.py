"""docs/reproduction.md has a row for every study, from the result files as they are now."""

import pathlib
import re
import tomllib

import pytest

from anw_jax.lab import config
from tools.reproduction.document import document
from tools.reproduction.durations import SUPERSEDED
from tools.reproduction.plan import items_of
from tools.reproduction.study import VARIANTS, load_studies, study_names

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "reproduction.md"
# Rows whose quick trainings are not all done, one name a line; gone when none is left.
PENDING = ROOT / "results" / "quick_pending.txt"


@pytest.fixture(scope="module")
def studies():
    """Every study in both variants."""
    return [s for v in VARIANTS for s in load_studies(ROOT / "experiments", v)]


@pytest.fixture(scope="module")
def rows() -> dict[str, list[list[str]]]:
    """The cells of the table's rows, by study."""
    found: dict[str, list[list[str]]] = {}
    for line in DOCUMENT.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        command = re.search(r"--rows (\w+)`", cells[-1])
        if line.startswith("| [") and command:
            found.setdefault(command[1], []).append(cells)
    return found


@pytest.fixture(scope="module")
def runs_of(studies):
    """The runs of every study, read once."""
    return {study.name: study.runs(ROOT / "results") for study in studies}


def test_every_study_is_listed_and_has_a_row_for_each_claim(studies, runs_of, rows):
    assert set(rows) == set(study_names(ROOT / "experiments"))
    for study in studies:
        assert len(rows[study.file]) == len(study.claims(runs_of[study.name])), study.file


def test_no_study_is_forgotten_in_the_list():
    listed = study_names(ROOT / "experiments")
    for file in (ROOT / "experiments").glob("*.py"):
        if "def get_config(" in file.read_text(encoding="utf-8"):
            _, study = config.split_study(config.load_config(str(file)))
            assert (study is not None) == (file.stem in listed), file.name


@pytest.mark.parametrize("name", study_names(ROOT / "experiments"))
def test_every_row_has_quick_result_files(studies, runs_of, name):
    """Every seed and arm of every row that is not said to be pending, and of none that is."""
    (quick,) = [s for s in studies if (s.file, s.variant) == (name, "quick")]
    is_whole = all(len(seed.found) == len(seed.files) for seed in runs_of[quick.name].seeds)
    is_pending = PENDING.is_file() and name in PENDING.read_text().split()
    command = f"python -m tools.reproduction run --rows {name} --variant quick"
    assert is_whole or is_pending, f"run: {command}"
    assert not (is_whole and is_pending), f"take {name} out of {PENDING.name}"


def test_a_row_without_result_files_says_not_yet_run(studies, runs_of, rows):
    has_results = {
        study.file for study in studies for seed in runs_of[study.name].seeds if seed.found
    }
    for name, lines in rows.items():
        for cells in lines:
            is_empty = cells[3] == cells[4] == "–"
            assert is_empty == (cells[5] == "not yet run"), cells
            assert is_empty or name in has_results, cells


def test_what_is_run_together_agrees_in_what_the_learner_sees(studies):
    for variant in VARIANTS:
        assert items_of([s for s in studies if s.variant == variant])


def test_every_link_to_a_figure_leads_somewhere():
    for link in re.findall(r"\]\((figures/[^)]+)\)", DOCUMENT.read_text()):
        assert (DOCUMENT.parent / link).is_file(), link


def test_the_document_is_what_the_results_give_now(monkeypatch):
    monkeypatch.chdir(ROOT)
    expected = document(ROOT / "experiments", ROOT / "results")
    assert DOCUMENT.read_text() == expected, "run: python -m tools.reproduction document"


def test_a_difference_of_shares_is_given_in_points(studies, runs_of):
    for study in studies:
        for claim in study.claims(runs_of[study.name]):
            is_difference = bool(re.search(r"\b(minus|adds)\b", claim.text))
            of_shares = is_difference and study.row != "Table 1"  # a difference of cosines
            assert (claim.unit == "points") == of_shares, claim.text


def test_the_tool_is_no_part_of_the_wheel():
    packaging = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert packaging["packages"]["find"] == {"include": ["anw_jax*"]}


def test_superseded_runs_are_kept_and_count_nowhere(studies):
    from benchmarks import effects

    folder = ROOT / "results" / SUPERSEDED
    kept = {one.name: len(list(one.glob("seed*.json"))) for one in folder.iterdir()}
    assert kept == {
        "fig2i_quick": 3,
        "barrier_additive_72_bits": 3,
        "barrier_paper_quick_without_shifts": 3,
        "barrier_quick_72_bits": 3,
        "diffusion_quick": 2,
        "diffusion_quick_without_twins": 3,
        "fingerprint_quick": 3,
        "multitask_quick": 3,
    }
    assert not any(study.name == SUPERSEDED for study in studies)
    assert not any(effects.collect(folder)["access"].values())
    assert "results/superseded/fig2i_quick/" in DOCUMENT.read_text()
    for name in ("diffusion_quick", "diffusion_quick_without_twins"):
        assert f"results/superseded/{name}/" in (ROOT / "README.md").read_text()
    for page, name in (
        ("fingerprints", "fingerprint_quick/"),
        ("model_watermarks", "multitask_quick/"),
        ("output_watermarks", "barrier_additive_72_bits)"),
        ("output_watermarks", "barrier_paper_quick_without_shifts)"),
        ("output_watermarks", "barrier_quick_72_bits)"),
    ):
        text = (ROOT / "docs" / f"{page}.md").read_text()
        assert f"results/superseded/{name}" in text
