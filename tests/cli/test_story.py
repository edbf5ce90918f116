"""From `anw key new` to `anw verdict`, in both modes, with a guilty and an innocent model."""

import json
import pathlib
import sys

import pytest

from anw_jax.keys import MarkKey
from tests.audit.conftest import receive, write_labels, write_photos, write_suspect

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def marked(anw, root, *options):
    """The owner's part: a key, marked photos, and what the arbitrator gets of them."""
    write_photos(root / "photos", seed=5)
    labels = write_labels(root / "photos", root / "labels.csv")
    assert anw("key", "new", root / "ann.key").code == 0
    ran = anw(
        "mark", root / "photos", "--key", root / "ann.key", "--out", root / "marked",
        "--alpha", 0.001, "--labels", labels, *options, "--json",
        *(() if "--private-basis" in options else ("--mark", "hue")),
    )  # fmt: skip
    assert ran.code == 0
    assert ran.err == ""
    case = root / "case"
    receive(root / "marked", root / "photos", case, "ann")
    return case, json.loads(ran.out)


def leaves(case):
    lines = (case / "records" / "ann.jsonl").read_text().splitlines()
    bodies = [json.loads(line) for line in lines]
    return [body["opening"] for body in bodies if body["kind"] == "leaf"]


def suspect_of(root, case, is_planted):
    if not is_planted:
        write_photos(root / "others", seed=99)
    write_suspect(case, root / "marked" / "published" if is_planted else root / "others")


@pytest.mark.parametrize("is_planted", [True, False])
def test_sealed(anw, root, is_planted):
    case, done = marked(anw, root)
    assert done["num_written"] == 12
    suspect_of(root, case, is_planted)
    for words in (("probe",), ("declare",), ("audit",), ("audit",)):
        ran = anw(*words, case)
        assert ran.code == 0
        assert ran.err == ""  # nothing but results where output is piped
    ran = anw("verdict", case, "--key", root / "ann.key", "--json")
    body = json.loads(ran.out)
    test = body["tests"]["ann"]["net"]
    assert ran.code == (10 if is_planted else 3)
    assert body["corrected"]["outcome"] == ("shown" if is_planted else "not shown")
    assert (test["p_value"] < 1e-9) if is_planted else (test["p_value"] > 0.01)
    assert test["standing"].startswith("holds only if the owner chose neither keys nor photos")
    assert len(test["conditions"]) == 8  # nothing was stated, compared or counted
    told = anw("verdict", case, "--key", f"ann={root / 'ann.key'}").out.splitlines()
    assert told[0].startswith(f"ann against net: {test['outcome']} (p {test['p_text']}, level")
    assert told[-2].startswith(f"one model: {test['outcome']} (one test, nothing to correct)")
    assert told[-1].startswith(f"then: anw report {case} ")
    state = anw("plan", case).out
    assert "steps done: probe, declared, blind, verdict" in state
    ran = anw("replay", case, "--key", root / "ann.key", "--ask", 0.5)
    assert ran.code == (10 if is_planted else 3)
    assert "replayed: 12 rows from the answers" in ran.out
    assert "queried again: 6 units, 0 of them with other answers" in ran.out
    assert f"ann against net: p {test['p_text']} after 12 units, 132 queries" in state
    _edit_sentences_and_values(anw, root, case, ran.code)


def _edit_sentences_and_values(anw, root, case, code):
    """Another wording is told beside this one; another value is another verdict."""
    file = case / "verdict.json"
    written = file.read_text()
    body = json.loads(written)
    body["tests"]["ann"]["net"]["sentence"] = "The moon is made of cheese."
    file.write_text(json.dumps(body))
    ran = anw("replay", case, "--key", root / "ann.key")
    assert ran.code == code
    assert "verdict.json is worded differently: tests.ann.net.sentence is" in ran.out
    assert "ann against net: " in ran.out
    body["case"]["suspects"]["net"]["access"] += ", as declared"
    body["corrected"]["correction"] = "only a single test, so there was no need to correct"
    file.write_text(json.dumps(body))
    assert anw("replay", case, "--key", root / "ann.key").code == code
    for edit in (
        lambda test, case: case["suspects"]["net"].update(access="logits, 16 queries"),
        lambda test, case: test.update(conditions=test["conditions"][1:]),
        lambda test, case: test.update(outcome="inconclusive"),
        lambda test, case: test.update(reason="no reason" if not test["reason"] else ""),
        lambda test, case: case["owners"]["ann"]["stated"].update(held_since="2020-01-01"),
    ):
        body = json.loads(written)
        edit(body["tests"]["ann"]["net"], body["case"])
        file.write_text(json.dumps(body))
        assert anw("replay", case, "--key", root / "ann.key").code == 8


@pytest.mark.parametrize("is_planted", [True, False])
def test_sequential_by_hand(anw, root, is_planted):
    case, _ = marked(anw, root, "--mode", "sequential")
    suspect_of(root, case, is_planted)
    anw("probe", case)
    anw("declare", case)
    for _ in range(13):
        ran = anw("audit", case, "--json")
        if ran.code == 0:
            break
        assert ran.code == 5
        waiting = json.loads(ran.out)
        opened = anw(
            "open", waiting["request"], "--key", root / "ann.key", "--from", root / "marked",
            "--out", waiting["opening"],
        )  # fmt: skip
        assert opened.code == 0
    ran = anw("verdict", case, "--json")
    body = json.loads(ran.out)["tests"]["ann"]["net"]
    assert ran.code == (10 if is_planted else 3)
    again = anw("replay", case, "--key", root / "ann.key")
    assert again.code == ran.code
    assert "ann: leaves that do not come from the key: none" in again.out
    MarkKey(bytes(32)).save(root / "another.key")
    again = anw("replay", case, "--key", root / "another.key")
    opened = [body["unit"] for body in leaves(case)]
    assert f"leaves that do not come from the key: units {sorted(opened)}" in again.out
    assert (body["p_value"] <= 1e-3) if is_planted else (body["p_value"] > 0.01)


@pytest.mark.slow
def test_sequential_with_an_opener(anw, root, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    case, _ = marked(anw, root, "--mode", "sequential")
    suspect_of(root, case, True)
    anw("probe", case)
    anw("declare", case)
    opener = (
        f"{sys.executable} -m anw_jax.cli open {{request}} --key {root / 'ann.key'} "
        f"--from {root / 'marked'} --out {{opening}}"
    )
    ran = anw("audit", case, "--opener", opener)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("closed: the level is reached; ")
    log = (root / "marked" / "openings.jsonl").read_text().splitlines()
    assert f"{len(log)} of 12 units opened" in ran.out
    assert anw("verdict", case).code == 10
