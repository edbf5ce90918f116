"""The Colab notebook runs from top to bottom on CPU, and its two forms agree."""

import pathlib

import jupytext
import nbclient
import nbformat
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAIR = ROOT / "notebooks" / "quickstart"


def test_notebook_and_script_are_the_same():
    notebook = nbformat.read(PAIR.with_suffix(".ipynb"), as_version=4)
    script = jupytext.read(PAIR.with_suffix(".py"))
    cells = [[(c.cell_type, c.source) for c in each.cells] for each in (notebook, script)]
    assert cells[0] == cells[1]
    assert not any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.slow
@pytest.mark.enable_socket
def test_notebook_runs(tmp_path):
    notebook = nbformat.read(PAIR.with_suffix(".ipynb"), as_version=4)
    # The kernel starts in the notebook's folder, as a person would start it.
    (tmp_path / "anw_jax").symlink_to(ROOT / "anw_jax")
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    client = nbclient.NotebookClient(
        notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    assert "shown at level 0.0001" in printed
    assert "would occur with probability at most" in printed
