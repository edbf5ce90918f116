"""The README is true: its example runs, its commands are CI's, its numbers have files."""

import contextlib
import io
import json
import pathlib
import re
from collections.abc import Iterator

import jax
import pytest

from anw_jax import attacks

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def fenced(language: str) -> list[str]:
    """The README's code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


EXAMPLES = list(zip(fenced("python"), fenced("text"), strict=True))


@pytest.mark.parametrize(("example", "expected"), EXAMPLES, ids=["verdict", "flax"])
def test_a_library_example_prints_the_text_below_it(example, expected):
    printed = io.StringIO()
    # optax's Adam relies on JAX's default promotion, which the suite tightens.
    with contextlib.redirect_stdout(printed), jax.numpy_dtype_promotion("standard"):
        exec(compile(example, "README.md", "exec"), {"__name__": "readme"})
    assert printed.getvalue() == expected


def test_the_example_in_jax_is_short():
    lines = EXAMPLES[1][0].splitlines()
    assert len([line for line in lines if line.strip()]) <= 20


def test_ci_runs_the_readmes_test_command_word_for_word():
    commands = [line for block in fenced("bash") for line in block.splitlines()]
    test_commands = [line for line in commands if "-m pytest -n 2" in line]
    assert len(test_commands) == 1
    script = (ROOT / ".ci" / "run").read_text()
    assert "grep -m 1 -- '-m pytest -n 2' README.md" in script


def test_the_tables_are_made_from_the_result_files():
    from docs.update_readme import updated

    assert updated(README) == README, "run: python docs/update_readme.py"


def test_the_limits_agree_with_the_pages_on_attacks_and_answers():
    row = re.compile(
        r"^\| `(\w+)`.* \| (\d) of 5 \| ([\d.]+) \| (\d) of 5 \| ([\d.]+) \|$", re.M
    )
    assert "| attack | hue_rotation: p ≤ 0.001 in | accuracy | light: p ≤ 0.001 in |" in README
    ours = {name: texts for name, *texts in row.findall(README)}
    for at, (file, mark) in enumerate(
        (("battery", "hue_rotation"), ("battery_gentle", "light"))
    ):
        page = (ROOT / "results" / f"{file}.md").read_text().partition("## Every cell")[0]
        assert f"| attack | parameters | accuracy | {mark}: p ≤ 1e-3 |" in page
        rows = re.findall(r"^\| (\w+) \| [^|]* \| ([\d.]+) \| (\d) \|", page, re.M)
        assert len(rows) == len(attacks.NAMES) + 1
        for name, accuracy, count in rows:
            found, rounded = ours[name][2 * at : 2 * at + 2]
            assert found == count
            assert float(rounded) == pytest.approx(float(accuracy), abs=0.006)
    adapters = (ROOT / "docs" / "adapters.md").read_text()
    for kind in ("logits", "label once", "label", "label, own labels"):
        cells = re.findall(rf"^\| {kind} \| ([^ ]+) ·", adapters, re.M)
        assert len(cells) == 3
        assert f"| {kind} | {', '.join(cells)} |" in README


def test_the_page_on_visibility_has_the_measured_figures():
    from benchmarks.visibility import PAGE, updated

    sets = json.loads((ROOT / "results" / "visibility.json").read_text())["results"]["sets"]
    assert updated(PAGE.read_text(), sets) == PAGE.read_text()


def _visible_files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Without what runs left behind, and without `.venv` and its tens of thousands of files."""
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name == "workdir":
            continue
        if path.is_dir():
            yield from _visible_files(path)
        else:
            yield path


def test_nothing_committed_names_a_machine_or_a_registry():
    pattern = re.compile(r"/tmp/|/work/|/root/|/home/|pypi\.org|pythonhosted|registry\.npmjs")
    names = [".py", ".md", ".toml", ".txt", ".cff", ".ipynb", ".json", ".html"]
    for file in _visible_files(ROOT):
        if file.suffix not in names or file == pathlib.Path(__file__).resolve():
            continue
        match = pattern.search(file.read_text())
        assert match is None, f"{file.relative_to(ROOT)}: {match.group()}"
