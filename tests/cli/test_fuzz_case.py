"""Mutants of every file of a sealed case: one line, a known exit code, no wrong acceptance."""

import hashlib
import json
import pathlib
import random
import shutil

import pytest

from anw_jax import _json
from anw_jax.audit.replay import first_difference
from tests.cli.fuzz_cases import Kept, audited, check_mutants, handed_over, mend, remade, world
from tests.mutants import COMMAND_COUNTS, bytewise, mutants, structured

pytestmark = pytest.mark.filterwarnings("always")

FILES = (
    "verdict.json",
    "blind.json",
    "declared.json",
    "probe.json",
    "statements.toml",
    "owners/ann/commitment.json",
    "owners/ann/manifest.json",
    "owners/ann/labels.csv",
    "owners/ann/originals/photo03.png",
    "suspects/net.toml",
    "ann.key",
    "tables/net.npz",
    "answers/net.answers",
)
# What they say is compared by what the verdict then says.
FREE = (".toml", ".csv", ".png")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A case that ends with exit code 0, and the digest noted at its audit."""
    root = tmp_path_factory.mktemp("sealed")
    with world(root) as anw:
        case = handed_over(anw, root)
        noted = audited(anw, case)
        key = ("--key", root / "ann.key")
        assert anw("verdict", case, *key, "--blind", noted).code == 0
        yield anw, root, case, noted, Kept(root)


def means_the_same(body: bytes, before: bytes, name: str) -> bool:
    """Whether a mutant says the same as the file did."""
    if body == before or name.endswith(FREE):
        return True
    try:
        # Numbers up to rounding; sentences as this version words them are told of beside. The
        # digits of a key may be upper case.
        written = body.lower() if name.endswith(".key") else body
        ours, theirs = (_json.loads(text) for text in (before, written))
        return first_difference(ours, theirs, wording=name != "verdict.json") == ""
    except (ValueError, RecursionError):
        return False


def mutant(before: bytes, name: str, rng: random.Random) -> bytes:
    if name.endswith((".json", ".key")) and rng.random() < 0.7:
        return structured(before, rng)
    if name.endswith(".answers") and rng.random() < 0.5:
        return remade(before, rng)
    if name.endswith((".npz", ".png", ".answers")) and rng.random() < 0.7:
        return next(mutants([before], 1, rng.getrandbits(32)))
    return bytewise(before, rng)


def end_of(whole, name: str, body: bytes, rng: random.Random) -> str:
    """What the verdict, or the replay of a verdict, makes of one mutant.

    Half of them with mended digests, and half of them held against the digest noted.
    """
    is_mended, is_noted = rng.random() < 0.5, rng.random() < 0.5
    anw, root, case, noted, kept = whole
    path = root / name if name.endswith(".key") else case / name
    known = json.loads(kept[case / "verdict.json"])["tests"]["ann"]["net"]
    path.write_bytes(body)
    if is_mended:
        mend(case)  # also a digest in the mutant itself
        body = path.read_bytes()
    words = ("--key", root / "ann.key", *(("--blind", noted) if is_noted else ()))
    is_replay = name == "verdict.json"
    ended = anw.checked(
        "replay" if is_replay else "verdict", case, *(words[:2] if is_replay else words)
    )
    if ended.code != 0:
        results = {3: "not shown", 4: "inconclusive", 10: "shown, with conditions"}
        return results.get(ended.code, "refused in one line")
    assert is_noted or is_replay
    assert means_the_same(body, kept[path], name), body[:300]
    if is_replay:
        return "accepted, same result"
    test = json.loads((case / "verdict.json").read_text())["tests"]["ann"]["net"]
    assert test["p_value"] >= known["p_value"] * (1 - 1e-9), body[:300]
    return "accepted, same result" if test == known else "accepted, larger p"


@pytest.mark.parametrize("count", COMMAND_COUNTS)
@pytest.mark.parametrize("name", FILES)
def test_mutants_at_the_verdict(whole, name, count):
    *_, root, case, _, kept = whole
    check_mutants(
        f"sealed case, at the verdict: {name}",
        kept[root / name if name.endswith(".key") else case / name],
        count,
        lambda before, rng: mutant(before, name, rng),
        lambda body, rng: end_of(whole, name, body, rng),
        kept.put_back,
    )


def test_a_menu_that_is_made_smaller_is_seen(whole, tmp_path):
    anw, root, case, *_ = whole
    for field, value in (
        ("menu", 3),
        ("access_text", "one label"),
        ("rule", {"kind": "label"}),
    ):
        folder = tmp_path / f"copy {field}"
        shutil.copytree(case, folder)
        (folder / "verdict.json").unlink()
        body = json.loads((folder / "declared.json").read_text())
        body["suspects"]["net"][field] = value
        (folder / "declared.json").write_text(json.dumps(body))
        blind = json.loads((folder / "blind.json").read_text())
        digest = hashlib.sha256((folder / "declared.json").read_bytes()).hexdigest()
        (folder / "blind.json").write_text(json.dumps(blind | {"previous": digest}))
        ran = anw("verdict", folder, "--key", root / "ann.key")
        assert ran.code == 8, ran.err
        assert pathlib.Path(folder, "verdict.json").exists() is False
