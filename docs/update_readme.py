"""Writes the results tables of README.md from the files in results/.

Command: python docs/update_readme.py
"""

import pathlib
import re

from anw_jax.report import results_table

ROOT = pathlib.Path(__file__).resolve().parents[1]
_BEGIN = "<!-- results: begin (python docs/update_readme.py writes what stands here) -->"
_END = "<!-- results: end -->"

# Folder in results/, heading, and the command of one seed.
_SETS = (
    ("quickstart", "Quickstart: 40 of 1,473 photo tiles keyed", "experiments/quickstart.py"),
    (
        "cifar10_quick",
        "CIFAR-10, quick: 50 of 4,000 photos keyed",
        "experiments/cifar10.py:quick",
    ),
    (
        "cifar10",
        "CIFAR-10 at the paper's scale (ResNet-50, 90 epochs, accelerator)",
        "experiments/cifar10.py",
    ),
)


def tables() -> str:
    """All tables in Markdown; a set without files says that it was not run."""
    parts = []
    for folder, heading, config in _SETS:
        parts.append(f"**{heading}**: `python run.py --config={config} --config.seed=<k>`\n")
        has_files = any((ROOT / "results" / folder).glob("seed*.json"))
        parts.append(results_table(ROOT / "results" / folder) if has_files else "not yet run\n")
    return "\n".join(part.strip() + "\n" for part in parts)


def updated(readme: str) -> str:
    """README text with its results replaced by those of the files."""
    block = f"{_BEGIN}\n\n{tables()}\n{_END}"
    pattern = re.escape(_BEGIN) + ".*?" + re.escape(_END)
    text, count = re.subn(pattern, lambda _: block, readme, flags=re.DOTALL)
    if count != 1:
        raise SystemExit("README.md has lost its results markers")
    return text


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(updated(path.read_text()))
