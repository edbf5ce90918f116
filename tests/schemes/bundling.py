"""Finished cases of models, of every system, and their bundles."""

import contextlib
import dataclasses
import hashlib
import json
import pathlib

import pytest

from anw_jax.keys import MarkKey
from tests.cli import outputs_asked as asked
from tests.cli.bundling import anw
from tests.schemes import test_judging as networks
from tests.schemes.conftest import Owner
from tests.schemes.fingerprint import test_case as copies
from tests.schemes.fingerprint.world import leaked

VALUE = networks.VALUE.hex()
KEY = MarkKey(bytes(range(7, 39)))


@dataclasses.dataclass
class Evidence:
    """A finished case whose verdict has exit code 0, and its bundle."""

    root: pathlib.Path
    commitment: str
    blind: str

    @property
    def case(self) -> pathlib.Path:
        return self.root / "case"

    @property
    def zip(self) -> pathlib.Path:
        return self.root / "evidence.zip"

    @property
    def key(self) -> tuple:
        return ("--key", self.root / "ann.key")

    @property
    def anchors(self) -> list:
        return ["--commitment", self.commitment, "--beacon", VALUE, "--blind", self.blind]


def multitask_case(root, **plan) -> MarkKey:
    owner = Owner(KEY, **plan)
    folder = networks.Folder(root / "case", owner, owner.release(owner.bits()), KEY)
    folder.state()
    return KEY


def barrier_case(root) -> MarkKey:
    asked.owner_in(root)
    case = asked.case_in(root, asked.FILES["onnx"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asked, "VALUE", VALUE)
        asked.write_onnx(case / "suspects" / "found.onnx", *asked.copied_kernels(root))
    commitment = json.loads((root / "mark" / "mark.json").read_text())["commitment"]
    (case / "statements.toml").write_text(networks.STATED.format(commitment=commitment))
    return MarkKey.load(root / "mark" / "mark.key")


def copies_case(root) -> MarkKey:
    folder = copies.made(root, "ann", "bob")
    folder.add("found", leaked(folder.world, "bob"))
    (folder.path / "statements.toml").write_text(
        copies.STATED.format(commitment=folder.commitment)
    )
    return folder.own.key


def finished(root: pathlib.Path, key: MarkKey) -> Evidence:
    """Judge the case in a folder, and bundle it."""
    key.save(root / "ann.key")
    case = root / "case"
    assert anw("probe", case).code == 0
    assert anw("declare", case, "--beacon", VALUE).code == 0
    assert anw("audit", case).code == 0
    blind = hashlib.sha256((case / "blind.json").read_bytes()).hexdigest()
    mark = json.loads((case / "owners" / "ann" / "mark.json").read_text())
    done = Evidence(root, mark["commitment"], blind)
    assert anw("verdict", case, *done.key, "--blind", blind).code == 0
    ran = anw("bundle", case, *done.key, "--out", done.zip)
    assert ran.code == 0, ran.err
    assert "the bundle holds the key of ann, which is spent" in ran.err
    return done


@contextlib.contextmanager
def small_networks():
    with pytest.MonkeyPatch.context() as patch:
        networks.use_tiny_networks(patch)
        copies.use_plain_files(patch)
        yield


MAKERS = {"multitask": multitask_case, "barrier": barrier_case, "copies": copies_case}


def is_copies(evidence) -> bool:
    return (evidence.case / "owners" / "ann" / "log").exists()
