"""Plays a scenario with the `anw` command, and writes down what a program would see of it.

Kept: commands, exit codes, names of new files, JSON fields and values, digests of what an
owner commits to. Left out: time stamps, versions, prose, and digests of files that hold these.
"""

import contextlib
import io
import json
import pathlib
import re
from typing import Any

from anw_jax.cli.main import run
from tests.golden import world

# Says how often, of a list of sentences; says nothing, of a sentence.
PROSE = frozenset(
    "text sentence standing reason correction access_text access seen do error note".split()
)
SENTENCES = frozenset("conditions stated warnings".split())
# When, with which versions and in which words.
LEFT_OUT = frozenset("time_utc jax wording".split())
DIGESTS = frozenset(
    "commitment root manifest labels labels_sha256 table sha256 file_sha256 originals value "
    "declaration_digest beacon beacon_value nonce path photos".split()
)
_HEX = re.compile("[0-9a-f]{64}")


def plain(value: Any, name: str = "") -> Any:
    """A JSON value without what may differ between two runs of the same scenario."""
    if isinstance(value, dict):
        is_of_owners = name in ("beacons", "public_seeds") and all(
            map(_HEX.match, value.values())
        )
        return {
            key: part if is_of_owners else plain(part, key)
            for key, part in value.items()
            if key not in LEFT_OUT
        }
    if isinstance(value, list):
        return len(value) if name in SENTENCES else [plain(part, name) for part in value]
    if isinstance(value, str):
        if value.startswith("{"):  # a line of a record, in a request
            return plain(json.loads(value))
        if name in PROSE:
            return "…" if value else ""
        return value if name in DIGESTS else _HEX.sub("<hex>", value)
    return value


class Player:
    """Runs commands in a folder, one transcript for all of them.

    Args:
      folder: an empty folder, in which all commands run.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder.resolve()
        self.steps: list[dict[str, Any]] = []

    def anw(self, *words: object) -> Any:
        """Runs one command with --json; returns its parsed output, None where it has none."""
        arguments = [str(word) for word in words]
        # The transcripts are older than the default of another mark.
        makes_hues = arguments[0] in ("commit", "mark") and "--private-basis" not in arguments
        hidden = ["--mark", "hue"] if makes_hues else []
        before = self._files()
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run([*arguments, *hidden, "--json"])
        body = json.loads(out.getvalue()) if out.getvalue() else None
        shown = [_HEX.sub("<hex>", word) for word in self._relative(arguments)]
        step: dict[str, Any] = {"command": ["anw", *shown], "exit": code}
        if new := sorted(self._files() - before):
            step["new_files"] = new
        if body is not None:
            step["json"] = self._file_with(body) or plain(self._relative(body))
        if code in (0, 3, 4, 5, 9, 10, 11) and err.getvalue():
            step["lines_on_stderr"] = len(err.getvalue().splitlines())
        self.steps.append(step)
        return body

    def refused(self, *words: object, names: str) -> None:
        """Runs a command that ends in an error; its line holds each of the words in `names`."""
        body = self.anw(*words)
        for part in names.split(" | "):
            assert part in body["error"], (part, body["error"])
        self.steps[-1]["names"] = names

    def _relative(self, value: Any) -> Any:
        """Without the folder that the scenario is played in."""
        return json.loads(json.dumps(value).replace(f"{self.folder}/", ""))

    def _files(self) -> set[str]:
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return {
            path.relative_to(self.folder).as_posix()
            for path in found
            if "__pycache__" not in path.parts
        }

    def _file_with(self, body: Any) -> str | None:
        """The file that holds the very same, so that it stands in the transcript once."""
        for name in sorted(self._files()):
            if name.startswith("case") and name.endswith(".json"):
                with contextlib.suppress(ValueError):
                    if json.loads((self.folder / name).read_text()) == body:
                        return name
        return None

    def transcript(self) -> dict[str, Any]:
        """The steps, and all JSON files and published pixels at the end."""
        files: dict[str, Any] = {}
        for name in sorted(self._files()):
            path = self.folder / name
            if path.name == "seen.json" or "owners" in path.parts:
                continue  # the suspect's own, and copies of the owner's
            if path.suffix == ".json":
                files[name] = plain(json.loads(path.read_text()))
            elif path.suffix == ".jsonl":
                lines = path.read_text().splitlines()
                files[name] = [plain(json.loads(line)) for line in lines]
        pixels = {
            name: world.digest_of(picture)
            for folder in sorted(self.folder.glob("marked*"))
            for name, picture in world.published(folder).items()
        }
        return {"steps": self.steps, "files": files, "published": pixels}
