"""Makes run.json and stored/run.zip: `python -m tests.golden.make_run` from the repository.

run.json: what a tiny run leaves, plain and with the figures left out. run.zip: the files of
that run from which its verdicts are computed anew; they have to stay readable.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile
from typing import Any

from tests.golden.player import plain

FOLDER = pathlib.Path(__file__).parent
STORED = FOLDER / "stored" / "run.zip"
# What a verdict needs, and the results to compare it with.
REPLAYED = ("settings.json", "commitments.json", "results.json", "keys", "manifests", "tables")
# Of this machine and moment.
LEFT_OUT = frozenset("provenance training stage_seconds sentence table_digest p_text".split())


def run(workdir: pathlib.Path, *more: str) -> None:
    """The command, as a person gives it."""
    words = ["run.py", f"--config={FOLDER / 'tiny.py'}", f"--workdir={workdir}", *more]
    subprocess.run(
        [sys.executable, *words], cwd=FOLDER.parents[1], check=True, capture_output=True
    )


def golden(workdir: pathlib.Path) -> dict[str, Any]:
    """Names of files, settings, and all results but those of this machine."""
    names = [
        path.relative_to(workdir).as_posix()
        for path in sorted(workdir.rglob("*"))
        if path.is_file() and path.relative_to(workdir).parts[0] != "checkpoints"
    ]
    fixed = json.loads((workdir / "commitments.json").read_text())
    return {
        "files": names,
        "settings": json.loads((workdir / "settings.json").read_text()),
        "commitments": {name: fixed[name] for name in ("commitments", "plans", "beacons")},
        "results": _without(plain(json.loads((workdir / "results.json").read_text()))),
    }


def _without(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _without(part) for name, part in value.items() if name not in LEFT_OUT}


def pack(workdir: pathlib.Path) -> None:
    """Writes run.zip."""
    with zipfile.ZipFile(STORED, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(workdir.rglob("*")):
            name = path.relative_to(workdir)
            if name.as_posix() == "results.json":
                body = json.loads(path.read_text())
                kept = {key: part for key, part in body.items() if key not in LEFT_OUT}
                archive.writestr("results.json", json.dumps(kept))
            elif path.is_file() and name.parts[0] in REPLAYED:
                archive.write(path, name)


if __name__ == "__main__":
    STORED.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as parent:
        folder = pathlib.Path(parent) / "run"
        run(folder)
        pack(folder)
        body = golden(folder)
    (FOLDER / "run.json").write_text(json.dumps(body) + "\n")
