"""Mutants of bundles of cases of models, of every system: one line, a known code, and no wrong
acceptance, by both replays."""

import hashlib
import json

import pytest

from tests.cli.bundling import packed, verified, with_index
from tests.cli.fuzz_cases import check_mutants
from tests.cli.fuzzing import Commands
from tests.cli.test_fuzz_bundle import FREE, any_member
from tests.cli.test_fuzz_case import means_the_same
from tests.mutants import COMMAND_COUNTED
from tests.schemes.bundling import is_copies

pytestmark = pytest.mark.filterwarnings("always")

# Where a member names the digest of another.
_CASE = [("case", f"{name}_sha256") for name in ("declared", "blind", "statements")]
LINKS = {
    "declared.json": {
        ("previous",): "probe.json",
        ("owners", "ann", "mark"): "owners/ann/mark.json",
        ("suspects", "found", "file"): "suspects/found.toml",
    },
    "blind.json": {
        ("previous",): "declared.json",
        ("suspects", "found", "file"): "scores/found.npz",
    },
    "verdict.json": {
        ("previous",): "blind.json",
        **dict(zip(_CASE, ("declared.json", "blind.json", "statements.toml"), strict=True)),
    },
}


def mended(members: dict[str, bytes], links_of: dict = LINKS) -> dict[str, bytes]:
    """Every digest names the members as they are now: what somebody does who edits one."""
    members = dict(members)
    for name, links in links_of.items():
        try:
            body, before = (json.loads(members[name]) for _ in range(2))
            for (*way, last), other in links.items():
                target = body
                for step in way:
                    target = target[step]
                target[last] = hashlib.sha256(members[other]).hexdigest()
            if body != before:
                members[name] = json.dumps(body).encode()
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            continue
    return members


def end_of(evidence, members, anw, path, name, body, rng) -> str:
    is_noted, changed = rng.random() < 0.5, {**members, name: body}
    if rng.random() < 0.5:
        changed = mended(changed)
    packed(changed if name == "bundle.json" else with_index(changed), path)
    ended = anw.checked("replay", path, *(evidence.anchors if is_noted else ()))
    if ended.code not in (0, 10):
        return {3: "not shown", 4: "inconclusive"}.get(ended.code, "refused in one line")
    if not is_noted:
        assert ended.code == 10, body[:300]
        return "consistent, anchors not checked"
    # Of customers' copies a bundle never shows all that the verdict rests on.
    assert ended.code == (10 if is_copies(evidence) else 0), body[:300]
    assert name.endswith(FREE) or means_the_same(changed[name], members[name], name), body[:300]
    return "accepted, same result"


def check(evidence, members, kind, count, end) -> None:
    def of_member(body, rng):
        name, text = json.loads(body)
        return end(name, text.encode("latin-1"), rng)

    check_mutants(
        f"{kind}: {evidence.root.name.rstrip('0123456789')}, one member, the index made again",
        b"",
        count,
        lambda _, rng: any_member(members, rng),
        of_member,
        lambda: None,
    )


@COMMAND_COUNTED
def test_mutants_of_a_member(evidence, members, tmp_path, monkeypatch, count):
    anw, path = Commands(monkeypatch), tmp_path / "changed.zip"
    kind = "bundle of models, replayed"
    given = (evidence, members, anw, path)
    check(evidence, members, kind, count, lambda *mutant: end_of(*given, *mutant))


@COMMAND_COUNTED
def test_mutants_before_the_independent_verifier(evidence, members, tmp_path, count):
    def end(name, body, _):
        changed = {**members, name: body}
        packed(
            changed if name == "bundle.json" else with_index(changed), tmp_path / "changed.zip"
        )
        ran = verified(tmp_path / "changed.zip", *evidence.anchors)
        assert ran.code in (3, 8)
        assert len(ran.err.splitlines()) <= 1
        return "left to anw replay" if ran.code == 3 else "refused in one line"

    check(evidence, members, "tools/replay.py, bundle of models", count, end)
