"""Mutants of every file of a case: one line, a known exit code, and no wrong acceptance."""

import copy
import hashlib
import json
import os
import pathlib
import random
import shutil

import pytest

from anw_jax.cli.exit_codes import MEANINGS
from tests.cli.test_conditions import VALUE, audited, case, state  # noqa: F401

# `ANW_MUTANTS=3000 python -m pytest -m slow tests/cli/test_fuzz_case.py` for the whole.
MANY = int(os.environ.get("ANW_MUTANTS", "3000"))
FEW = 6

ODD = [
    None, True, False, 0, 1, -1, 2**70, 1e308, "", "0f" * 32, "ab", "\ud800", [], {}, [[]],
    {"format": "x"}, "NaN", 0.5, ["0f" * 32], "../../x", "\0",
]  # fmt: skip

FILES = (
    "verdict.json",
    "blind.json",
    "declared.json",
    "probe.json",
    "statements.toml",
    "owners/ann/commitment.json",
    "owners/ann/manifest.json",
    "owners/ann/labels.csv",
    "suspects/net.toml",
    "ann.key",
    "tables/net.npz",
    "answers/net.answers",
)


def places_in(value, where=()):
    """Paths to every entry of a JSON value."""
    yield where
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield from places_in(value[name], (*where, name))


def structured(body: bytes, rng: random.Random) -> bytes:
    """One entry of a JSON file dropped, renamed, copied elsewhere, or made another value."""
    value = json.loads(body)
    places = [place for place in places_in(value) if place]
    *way, last = rng.choice(places)
    target = value
    for name in way:
        target = target[name]
    kind = rng.randrange(4)
    if kind == 0:
        del target[last]
    elif kind == 1 and isinstance(target, dict):
        target[f"{last}x"] = target.pop(last)
    elif kind == 2:
        source = value
        for name in rng.choice(places):
            source = source[name]
        target[last] = copy.deepcopy(source)
    else:
        target[last] = rng.choice(ODD)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def bytewise(body: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, cut off, repeated, put in; other encodings and line ends."""
    at = rng.randrange(len(body) + 1)
    kind = rng.randrange(8)
    if kind == 0 and body:
        changed = bytearray(body)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if kind == 1:
        return body[:at]
    if kind == 2:
        return body + body
    if kind == 3:
        return (
            body[:at]
            + rng.choice([b"\0", b"\xff", b"{", b"]", b'"', b"1e999", b"#"])
            + body[at:]
        )
    if kind == 4:
        return b"\xef\xbb\xbf" + body
    if kind == 5:
        return body.decode("latin-1").encode("utf-16")
    if kind == 6:
        return body.replace(b"\n", b"\r\n")
    return body[:at] + body[min(len(body), at + rng.randint(1, 40)) :]


@pytest.fixture
def whole(anw, root, case):  # noqa: F811
    """A case that ends with exit code 0, and the digest noted at its audit."""
    state(case)
    noted = audited(anw, case)
    assert anw("verdict", case, "--key", root / "ann.key", "--blind", noted).code == 0
    return case, noted


def accepted(body: bytes, before: bytes, name: str) -> bool:
    """Whether a mutant says the same as the file did."""
    if name.endswith((".json", ".key")):
        try:
            return json.loads(body) == json.loads(before)
        except ValueError:
            return False
    return name.endswith((".toml", ".csv"))  # judged by what the verdict then says


def check(anw, root, whole, name, seed) -> None:
    folder, noted = whole
    path = root / name if name.endswith(".key") else folder / name
    before, rng = path.read_bytes(), random.Random(f"{name} {seed}")
    written = (folder / "verdict.json").read_bytes()
    is_json = name.endswith((".json", ".key"))
    body = structured(before, rng) if is_json and rng.random() < 0.7 else bytewise(before, rng)
    if body == before:
        return
    path.write_bytes(body)
    command = "replay" if name == "verdict.json" else "verdict"
    words = [] if command == "replay" else ["--blind", noted]
    try:
        ran = anw(command, folder, "--key", root / "ann.key", *words)
        assert ran.code in MEANINGS
        assert "Traceback" not in ran.err
        errors = [
            line for line in ran.err.splitlines() if not line.startswith("anw: warning: ")
        ]
        assert len(errors) <= 1
        if ran.code in (0, 10) and name not in ("verdict.json", "probe.json"):
            test = json.loads((folder / "verdict.json").read_text())["tests"]["ann"]["net"]
            known = json.loads(written)["tests"]["ann"]["net"]
            assert test["p_value"] >= known["p_value"] * (1 - 1e-9)
            if ran.code == 0:
                assert accepted(body, before, name), body[:300]
        if ran.code == 0 and name == "verdict.json":
            assert accepted(body, before, name)
    finally:
        path.write_bytes(before)
        (folder / "verdict.json").write_bytes(written)


@pytest.mark.parametrize("name", FILES)
def test_some_mutants(anw, root, whole, name):
    for seed in range(FEW):
        check(anw, root, whole, name, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_many_mutants(anw, root, whole, name):
    for seed in range(MANY):
        check(anw, root, whole, name, seed)


COMMITTED = ("owners/ann/commitment.json", "owners/ann/manifest.json", "statements.toml",
             "suspects/net.toml", "owners/ann/labels.csv")  # fmt: skip


@pytest.mark.parametrize("name", COMMITTED)
def test_mutants_before_the_declaration(anw, root, case, name):  # noqa: F811
    """Whatever is handed over: an audit of it is refused, or is one of what is there."""
    state(case)
    assert anw("probe", case).code == 0
    path = case / name
    before = path.read_bytes()
    for seed in range(2 * FEW):
        rng = random.Random(f"{name} {seed}")
        is_json = name.endswith(".json")
        path.write_bytes(structured(before, rng) if is_json else bytewise(before, rng))
        ran = anw("declare", case, "--beacon", VALUE)
        assert ran.code in MEANINGS
        assert "Traceback" not in ran.err
        (case / "declared.json").unlink(missing_ok=True)
    path.write_bytes(before)


def test_a_menu_that_is_made_smaller_is_seen(anw, root, case):  # noqa: F811
    state(case)
    audited(anw, case)
    for field, value in (
        ("menu", 3),
        ("access_text", "one label"),
        ("rule", {"kind": "label"}),
    ):
        folder = root / f"copy {field}"
        shutil.copytree(case, folder)
        body = json.loads((folder / "declared.json").read_text())
        body["suspects"]["net"][field] = value
        (folder / "declared.json").write_text(json.dumps(body))
        blind = json.loads((folder / "blind.json").read_text())
        digest = hashlib.sha256((folder / "declared.json").read_bytes()).hexdigest()
        (folder / "blind.json").write_text(json.dumps(blind | {"previous": digest}))
        ran = anw("verdict", folder, "--key", root / "ann.key")
        assert ran.code == 8, ran.err
        assert pathlib.Path(folder, "verdict.json").exists() is False
