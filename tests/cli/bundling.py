"""A finished case that is evidence, its bundles, and bundles with other members."""

import contextlib
import dataclasses
import hashlib
import importlib.util
import io
import json
import pathlib

from anw_jax.audit.bundle_write import index_bytes
from anw_jax.audit.bundle_zip import unpack, write_zip
from anw_jax.cli.main import run
from anw_jax.keys import MarkKey
from tests.audit.conftest import write_labels, write_photos
from tests.cli.test_conditions import VALUE, audited, made, state

VERIFIER = pathlib.Path(__file__).resolve().parents[2] / "tools" / "replay.py"


@dataclasses.dataclass
class Ran:
    code: int
    out: str
    err: str


def anw(*words) -> Ran:
    """Runs `anw` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(word) for word in words])
    return Ran(code, out.getvalue(), err.getvalue())


def verifier():
    """The module `tools/replay.py`, which is not part of a package."""
    spec = importlib.util.spec_from_file_location("independent_replay", VERIFIER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def verified(path, *words) -> Ran:
    """Runs `tools/replay.py` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = verifier().main([str(path), *map(str, words)])
    return Ran(code, out.getvalue(), err.getvalue())


@dataclasses.dataclass
class Evidence:
    """A case whose verdict has exit code 0, and its two bundles.

    Attributes:
      root: folder of the case, the key and the owner's files.
      commitment, blind: digests that are known from elsewhere.
      named, nameless: the bundles.
    """

    root: pathlib.Path
    commitment: str
    blind: str
    named: pathlib.Path
    nameless: pathlib.Path

    @property
    def anchors(self):
        return ["--commitment", self.commitment, "--beacon", VALUE, "--blind", self.blind]

    @property
    def manifest(self):
        return ["--manifest", self.root / "case_marked" / "manifest.json"]


def finished(root: pathlib.Path, secret: bytes = bytes(range(32))) -> Evidence:
    """A guilty model, everything stated, and the digest noted."""
    write_photos(root / "photos", seed=5)
    labels = write_labels(root / "photos", root / "labels.csv")
    MarkKey(secret).save(root / "ann.key")
    case = made(anw, root, "case", labels=labels)
    state(case)
    blind = audited(anw, case)
    key = ("--key", root / "ann.key")
    assert anw("verdict", case, *key, "--blind", blind).code == 0
    paths = root / "named.zip", root / "nameless.zip"
    for path, more in zip(paths, (["--with-names"], []), strict=True):
        assert anw("bundle", case, *key, "--out", path, *more).code == 0
    body = json.loads((case / "owners" / "ann" / "commitment.json").read_text())
    return Evidence(root, body["commitment"], blind, *paths)


def members_of(path: pathlib.Path, folder: pathlib.Path) -> dict[str, bytes]:
    """The members of a bundle, unpacked into a new folder on the way."""
    folder.mkdir()
    return {name: (folder / name).read_bytes() for name in unpack(path, folder)}


def packed(members: dict[str, bytes], path: pathlib.Path) -> pathlib.Path:
    """A zip of other members, in the right form."""
    with open(path, "wb") as file:
        write_zip(file, members)
    return path


def with_index(members: dict[str, bytes]) -> dict[str, bytes]:
    """The members with a `bundle.json` that fits them."""
    body = json.loads(members["bundle.json"])
    body["files"] = {
        name: hashlib.sha256(content).hexdigest()
        for name, content in sorted(members.items())
        if name != "bundle.json"
    }
    return {**members, "bundle.json": index_bytes(body)}


def flipped(content: bytes, place: int) -> bytes:
    """The content with the lowest bit of one byte changed."""
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def lower_p(test: dict) -> None:
    """Make the p of a test in a verdict smaller by so little that only its number shows it."""
    test.update(log10_p=test["log10_p"] - 1e-6, p_value=test["p_value"] * (1 - 2e-6))
