"""Mutants of what is handed over, before the declaration; and of what is declared, before the
first query: each is refused in one line, or ends in a verdict that is no stronger."""

import json
import random

import pytest

from tests.cli.fuzz_cases import Kept, check_mutants, digest_of, handed_over, mend, world
from tests.cli.test_conditions import VALUE
from tests.mutants import COMMAND_COUNTS, bytewise, mutants, other_value, structured, toml_file

pytestmark = pytest.mark.filterwarnings("always")

HANDED_OVER = (
    "owners/ann/commitment.json",
    "owners/ann/manifest.json",
    "owners/ann/labels.csv",
    "owners/ann/originals/photo03.png",
    "suspects/net.toml",
    "suspects/net.json",
    "statements.toml",
    "probe.json",
    "declared.json",
)
FIELDS = {
    "kind": "callable",
    "function": "net_code/model.py:answer",
    "declaration": {"num_classes": 3, "answer": "logits"},
}


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    """A case before its declaration, and the verdict that it ends with if nothing happens."""
    root = tmp_path_factory.mktemp("stages")
    with world(root) as anw:
        case = handed_over(anw, root)
        assert anw("probe", case).code == 0
        kept = Kept(root)
        assert anw("declare", case, "--beacon", VALUE).code == 0
        declared = (case / "declared.json").read_bytes()
        code, test = verdict_of(anw, root, case)
        assert code == 0
        kept.put_back()
        yield anw, root, case, kept, declared, test


def verdict_of(anw, root, case):
    """Audit and verdict of what is declared: the code, and the test if there is one."""
    for words in (("audit",), ("verdict", "--key", root / "ann.key")):
        blind = case / "blind.json"
        noted = ("--blind", digest_of(blind)) if words[0] == "verdict" else ()
        ended = anw(words[0], case, *words[1:], *noted)
        if ended.code not in (0, 3, 4, 10):
            return ended.code, None
    body = json.loads((case / "verdict.json").read_text())
    return ended.code, body["tests"].get("ann", {}).get("net")


def mutant(before: bytes, name: str, rng: random.Random) -> bytes:
    if name.startswith("suspects/") and rng.random() < 0.7:
        value = json.loads(json.dumps(FIELDS))
        for _ in range(rng.randint(1, 3)):
            value = other_value(value, rng) if value else value
        return json.dumps(value).encode() if name.endswith(".json") else toml_file(value)
    if name.endswith(".json") and rng.random() < 0.8:
        return structured(before, rng)
    if name.endswith(".png") and rng.random() < 0.7:
        return next(mutants([before], 1, rng.getrandbits(32)))
    return bytewise(before, rng)


def end_of(probed, name: str, body: bytes) -> str:
    anw, root, case, *_, known = probed
    (case / name).write_bytes(body)
    if name == "suspects/net.json":
        (case / "suspects" / "net.toml").unlink()
    mend(case)
    if name.startswith("suspects/") and anw.checked("probe", case).code:
        return "refused in one line"
    if name != "declared.json" and anw.checked("declare", case, "--beacon", VALUE).code:
        return "refused in one line"
    code, test = verdict_of(anw.checked, root, case)
    results = {0: "shown", 3: "not shown", 4: "inconclusive", 10: "shown, with conditions"}
    if code != 0:
        return results.get(code, "refused in one line")
    if name.startswith("suspects/"):  # another way to ask is another test, and says so
        return "accepted, as described"
    assert test["p_value"] >= known["p_value"] * (1 - 1e-9), body[:300]
    return "accepted, same p" if test["p_value"] == known["p_value"] else "accepted, larger p"


@pytest.mark.parametrize("count", COMMAND_COUNTS)
@pytest.mark.parametrize("name", HANDED_OVER)
def test_mutants_before_the_first_query(probed, name, count):
    *_, case, kept, declared, _ = probed
    if name == "declared.json":
        before = declared
    elif name == "suspects/net.json":
        before = json.dumps(FIELDS).encode()
    else:
        before = kept[case / name]
    check_mutants(
        f"sealed case, before the first query: {name}",
        before,
        count,
        lambda before, rng: mutant(before, name, rng),
        lambda body, rng: end_of(probed, name, body),
        kept.put_back,
    )
