"""Makes stored/*.zip: `python -m tests.golden.make_cases` from the repository, **once**.

Whole cases as this version of the project wrote them. Later versions have to read and replay
them, so they are not made again when the code changes: a new format gets new files beside them.
"""

import pathlib
import tempfile
import zipfile

from tests.golden.make_transcripts import play

FOLDER = pathlib.Path(__file__).with_name("stored")
CASES = ("sealed_evidence", "sequential_by_hand", "sequential_stopped")


def pack(name: str, folder: pathlib.Path) -> None:
    """Plays a scenario, and packs the case and the key."""
    play(name, folder)
    with zipfile.ZipFile(FOLDER / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted([*(folder / "case").rglob("*"), folder / "ann.key"]):
            if path.is_file() and path.name != "LOCK" and "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(folder))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for chosen in CASES:
        with tempfile.TemporaryDirectory() as empty:
            pack(chosen, pathlib.Path(empty))
