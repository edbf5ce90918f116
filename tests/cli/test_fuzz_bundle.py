"""Mutants of an evidence bundle: one line, a known code, and no wrong acceptance, by both
replays."""

import json
import pathlib
import random

import pytest

from anw_jax.audit.bundle_read import open_bundle
from anw_jax.errors import AnwError
from tests.cli.bundling import finished, members_of, packed, verified, with_index
from tests.cli.fuzz_cases import check_mutants
from tests.cli.fuzzing import Commands, make_quick
from tests.cli.test_fuzz_case import means_the_same
from tests.mutants import (
    COMMAND_COUNTS,
    COUNTS,
    bytewise,
    different,
    mutants,
    structured,
    survives,
)

pytestmark = pytest.mark.filterwarnings("always")

# Their words are no part of the result: comments, and the text that is compared by its numbers.
FREE = (".toml", ".csv", ".txt")


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("evidence"))


@pytest.fixture(scope="module")
def whole(evidence, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        make_quick(patch)
        yield evidence, members_of(evidence.named, tmp_path_factory.mktemp("in") / "in")


def mutant(before: bytes, name: str, rng: random.Random) -> bytes:
    if name.endswith((".json", ".key")) and rng.random() < 0.7:
        return structured(before, rng)
    if rng.random() < 0.5 and not name.endswith(FREE):
        return next(mutants([before], 1, rng.getrandbits(32)))
    return bytewise(before, rng)


@pytest.mark.parametrize("count", COUNTS)
def test_fuzz_the_zip(evidence, tmp_path, count):
    """Every byte of the file is fixed: no other file is a bundle with the same index."""
    before, path = evidence.nameless.read_bytes(), tmp_path / "evidence.zip"

    def read(body):
        path.write_bytes(body)
        with open_bundle(path):
            pass

    def make(body, rng):
        return next(mutants([body], 1, rng.getrandbits(32)))

    num_read, _ = survives(
        "bundle, opened: any byte", different(before, make, "zip", count), read, AnwError
    )
    assert num_read == 0


def packed_with(whole, name: str, body: bytes, path: pathlib.Path) -> pathlib.Path:
    _, members = whole
    other = {**members, name: body}
    return packed(other if name == "bundle.json" else with_index(other), path)


def end_of(whole, anw, name: str, body: bytes, path: pathlib.Path) -> str:
    evidence, members = whole
    packed_with(whole, name, body, path)
    ended = anw.checked("replay", path, *evidence.anchors)
    if ended.code != 0:
        results = {3: "not shown", 4: "inconclusive", 10: "shown, with conditions"}
        return results.get(ended.code, "refused in one line")
    if not name.endswith(FREE) and not means_the_same(body, members[name], name):
        # A file that no result rests on: the probe's numbers, spaces in answers' heads.
        assert name in ("probe.json", "suspects/net.toml"), body[:300]
    return "accepted, same result"


def members_to_change() -> list[str]:
    return [
        "answers/net.answers", "blind.json", "bundle.json", "declared.json", "keys/ann.key",
        "owners/ann/commitment.json", "owners/ann/labels.csv", "owners/ann/manifest.json",
        "probe.json", "queries/net/ann", "report.txt", "statements.toml", "suspects/net.toml",
        "tables/net.npz", "verdict.json",
    ]  # fmt: skip


def any_member(members: dict[str, bytes], rng: random.Random) -> bytes:
    """A member's name and its mutant, as JSON, so that mutants are told apart."""
    name = rng.choice(sorted(members))
    return json.dumps([name, mutant(members[name], name, rng).decode("latin-1")]).encode()


@pytest.mark.parametrize("count", COMMAND_COUNTS)
def test_mutants_of_a_member_with_the_index_made_again(whole, tmp_path, monkeypatch, count):
    _, members = whole
    assert sorted(members) == members_to_change()
    anw = Commands(monkeypatch)

    def end(body, _):
        name, text = json.loads(body)
        return end_of(whole, anw, name, text.encode("latin-1"), tmp_path / "changed.zip")

    check_mutants(
        "bundle, replayed: one member, the index made again",
        b"",
        count,
        lambda _, rng: any_member(members, rng),
        end,
        lambda: None,
    )


@pytest.mark.parametrize("count", COMMAND_COUNTS)
def test_mutants_before_the_independent_verifier(whole, tmp_path, count):
    evidence, members = whole

    def end(body, _):
        name, text = json.loads(body)
        path = packed_with(whole, name, text.encode("latin-1"), tmp_path / "changed.zip")
        ran = verified(path, *evidence.anchors)
        assert ran.code in (0, 3, 8, 10)
        assert len(ran.err.splitlines()) <= 1
        if ran.code == 0:  # it leaves the others to `anw replay`
            numbers = ("answers", "blind", "owners/ann/commitment", "tables")
            assert not name.startswith(numbers), body[:300]
            assert not name.startswith("keys") or bytes(range(32)).hex() in text, body[:300]
        return "consistent in what it checks" if ran.code == 0 else "refused in one line"

    check_mutants(
        "tools/replay.py: one member, the index made again",
        b"",
        count,
        lambda _, rng: any_member(members, rng),
        end,
        lambda: None,
    )
