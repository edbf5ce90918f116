"""Whether the files of a checkpoint are those that were written.

A damaged array makes Orbax fail in many threads at once, and a changed bit may pass
unseen; so a list of digests is kept beside the arrays and checked before they are read.
"""

import hashlib
import json
import pathlib

_LIST = "file_digests.json"


def write_file_list(folder: pathlib.Path) -> None:
    """Note size and SHA-256 of every file in the folder."""
    files = {name: _describe(path) for name, path in _files(folder).items()}
    # Whole or not at all, should the process be killed here.
    draft = folder / f"{_LIST}.draft"
    draft.write_text(json.dumps(files, indent=1, sort_keys=True) + "\n")
    draft.replace(folder / _LIST)


def find_damage(folder: pathlib.Path) -> str | None:
    """Return what is wrong with the folder's files; None if nothing is.

    A folder without a list (its writer was killed before that) passes.
    """
    listing = folder / _LIST
    if not listing.exists():
        return None
    try:
        expected = json.loads(listing.read_text())
    except ValueError:
        return f"{_LIST} is damaged"
    present = _files(folder)
    for name, described in expected.items():
        if name not in present:
            return f"{name} is missing"
        size = present[name].stat().st_size
        if size != described["size"]:
            return f"{name} has {size} bytes, not {described['size']}"
        if _describe(present[name]) != described:
            return f"{name} has changed since it was written"
    return None


def _files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != _LIST)
    return {path.relative_to(folder).as_posix(): path for path in paths}


def _describe(path: pathlib.Path) -> dict[str, int | str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}
