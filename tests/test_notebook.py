"""The notebooks run from top to bottom on CPU, also outside a copy, and both forms agree."""

import pathlib
import shutil
import subprocess

import jupytext
import nbclient
import nbformat
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
# What the outputs of each must have, as text or as HTML.
SAID = {
    "quickstart": ["shown at level 0.0001", "would occur with probability at most", "<html"],
    "audit_pytorch": ["Shown at level 0.001, if", "one model: shown", "<html"],
    "mark_and_commit": ["3 units in", "marked 3 [", "passed_over 0 []"],
}


def run(name: str, folder: pathlib.Path) -> str:
    """What the notebook prints and shows, started in a folder."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=1800, resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [output.get("data", {}).get("text/html", "") for output in outputs]
    return "".join([*(output.get("text", "") for output in outputs), *map("".join, shown)])


def test_every_notebook_is_here():
    assert {path.stem for path in NOTEBOOKS.iterdir()} == set(SAID)


@pytest.mark.parametrize("name", SAID)
def test_notebook_and_script_are_the_same(name):
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    script = jupytext.read(NOTEBOOKS / f"{name}.py")
    cells = [[(c.cell_type, c.source) for c in each.cells] for each in (notebook, script)]
    assert cells[0] == cells[1]
    assert not any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.slow
@pytest.mark.enable_socket
@pytest.mark.parametrize("name", SAID)
def test_notebook_runs(name, tmp_path):
    if name == "audit_pytorch":
        pytest.importorskip("torch", reason="PyTorch is an optional library")
    # The kernel starts in the notebook's folder, as a person would start it.
    for part in ("anw_jax", "experiments"):
        (tmp_path / part).symlink_to(ROOT / part)
    printed = run(name, tmp_path)
    assert [text for text in SAID[name] if text not in printed] == []


@pytest.mark.slow
@pytest.mark.enable_socket
def test_a_notebook_outside_a_copy_clones_one(tmp_path, monkeypatch):
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this copy is no git repository, or git is not installed")
    monkeypatch.setenv("ANW_JAX_REPOSITORY", "")
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="set REPOSITORY"):
        run("mark_and_commit", tmp_path)
    monkeypatch.setenv("ANW_JAX_REPOSITORY", str(ROOT))
    assert "marked 3 [" in run("mark_and_commit", tmp_path)
    command = ["git", "-C", str(tmp_path / "anw_jax_copy"), "rev-parse", "HEAD"]
    assert subprocess.run(command, capture_output=True, check=True).stdout
