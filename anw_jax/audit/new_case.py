"""Write a new case folder, with examples to fill in."""

import importlib.resources
import os
import pathlib
from collections.abc import Mapping, Sequence

from anw_jax import _check, _files
from anw_jax.audit.case import check_name
from anw_jax.errors import CaseError

# By the kind of a suspect, its template.
SUSPECTS = {
    "jax": "jax_function",
    "onnx": "onnx",
    "torch": "torch",
    "keras": "keras",
    "huggingface": "http_hugging_face",
    "tfserving": "http_tf_serving",
    "torchserve": "http_torchserve",
    "triton": "http_triton",
    "denoiser": "denoiser",
    "image": "http_image",
}
_CODE = "jax_function.py"


def new_case(
    path: str | os.PathLike,
    owners: Sequence[str] = (),
    suspects: Mapping[str, str] | None = None,
) -> list[str]:
    """Write a case folder: instructions, a folder for each owner, and examples.

    `examples/` has a commented file for every kind of suspect and for labels; no command reads
    them there. The folder appears whole, or not at all.

    Args:
      path: the folder; it must be empty, or not exist yet.
      owners: names of folders in `owners/`.
      suspects: by name of the file in `suspects/`, the example that it is copied from, a key
        of `SUSPECTS`.

    Returns:
      What was written, relative to the folder, sorted.

    Raises:
      CaseError: there is something at `path`, or a name has other characters than letters,
        digits, '_', '.' and '-'.
      ValueError: an unknown kind of suspect, or a name twice.
    """
    path = pathlib.Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise CaseError(f"{path} already exists: a case needs a new or an empty folder")
    files = _files_of(owners, suspects or {})
    with _files.new_folder(path) as whole:
        for name, text in files.items():
            file = whole / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        (whole / "owners").mkdir(exist_ok=True)
        (whole / "suspects").mkdir(exist_ok=True)
    return sorted(files)


def _files_of(owners: Sequence[str], suspects: Mapping[str, str]) -> dict[str, str]:
    """Return the text of each file, by its path in the folder."""
    if len(set(owners)) < len(owners):
        raise ValueError(f"owners must be different names, got {', '.join(owners)}")
    files = {"README.md": template("case.md")}
    for name in owners:
        files[f"owners/{check_name(name)}/README.md"] = template("owner.md")
    for name, kind in suspects.items():
        text = template(f"{SUSPECTS[_check.one_of(SUSPECTS, kind=kind)]}.toml")
        files[f"suspects/{check_name(name)}.toml"] = text.replace(_CODE, f"{name}.py")
        if kind == "jax":
            files[f"suspects/{name}.py"] = template(f"{_CODE}.txt")
    for stem in SUSPECTS.values():
        files[f"examples/{stem}.toml"] = template(f"{stem}.toml")
    for name in (_CODE, "labels.csv", "labels_map.csv"):
        files[f"examples/{name}"] = template(name if name != _CODE else f"{_CODE}.txt")
    return files


def template(name: str) -> str:
    """Return the text of a template."""
    folder = importlib.resources.files("anw_jax.audit") / "templates"
    return (folder / name).read_text(encoding="utf-8")
