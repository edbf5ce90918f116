"""Several suspects and owners unit by unit, as a person goes through it with `anw`."""

import json
import subprocess

import pytest

from anw_jax.keys import MarkKey
from tests.audit.conftest import receive, write_labels, write_photos, write_suspect
from tests.cli.test_page import in_this_process


def owner(anw, root, name, seed, claim, *mode):
    """One owner's part, and what the arbitrator gets of it."""
    photos, out = root / f"{name}_photos", root / f"{name}_marked"
    write_photos(photos, seed=seed)
    labels = write_labels(photos, root / f"{name}.csv")
    MarkKey(bytes(range(seed, seed + 32))).save(root / f"{name}.key")
    ran = anw(
        "mark", photos, "--key", root / f"{name}.key", "--out", out, "--alpha", 0.001,
        "--mark", "hue",
        "--claim", claim, "--labels", labels, *(mode or ("--mode", "sequential")),
    )  # fmt: skip
    assert ran.code == 0
    receive(out, photos, root / "case", name)


def case_of(anw, root, claim, owners=("ann",), suspects=("guilty", "other")):
    for seed, name in enumerate(owners, start=5):
        owner(anw, root, name, seed, claim)
    write_photos(root / "others", seed=99)
    for name in suspects:
        met = root / "ann_marked" / "published" if name == "guilty" else root / "others"
        write_suspect(root / "case", met, name)
    assert anw("probe", root / "case").code == 0
    ran = anw("declare", root / "case")
    number = len(owners) * len(suspects)
    level = f"{0.001 / number:g}"
    assert f"{number} records, each may stop at level {level}\n" in ran.out
    return root / "case"


def by_hand(anw, root, case):
    """Until the audit is closed; every opening by `anw open`."""
    waited = []
    for _ in range(14):
        ran = anw("audit", case, "--json")
        if ran.code == 0:
            return waited
        assert ran.code == 5
        body = json.loads(ran.out)
        waited.append([waits["owner"] for waits in body["waiting"]])
        for waits in body["waiting"]:
            name = waits["owner"]
            opened = anw(
                "open", waits["request"], "--key", root / f"{name}.key",
                "--from", root / f"{name}_marked", "--out", waits["opening"],
            )  # fmt: skip
            assert opened.code == 0, opened.err
    raise AssertionError("the audit does not end")


@pytest.mark.slow
def test_two_suspects_one_guilty_by_hand(anw, root):
    case = case_of(anw, root, "each model")
    told = anw("audit", case)
    assert told.code == 5
    assert told.out.splitlines()[0].split() == "owner suspect units wealth running p".split()
    *_, waits, answer, after = told.out.splitlines()
    assert waits.startswith("waiting for the owner: ")
    request, opening = (
        case / "exchange" / f"ann.{what}.json" for what in ("request", "opening")
    )
    assert answer == (
        f"an owner answers with: anw open {request} --key KEY --from MARKED --out {opening}"
    )
    assert after == f"then: anw audit {case}"
    by_hand(anw, root, case)
    *_, closed, digest, after = anw("audit", case).out.splitlines()
    assert closed == "closed"
    assert after == f"then: anw verdict {case} --blind {digest.rpartition(' ')[2]}"
    ran = anw("verdict", case)
    head, guilty, other, shown, *rest, end, after = ran.out.splitlines()
    assert ran.code == 10
    assert head.split() == "owner suspect units wealth p outcome".split()
    assert guilty.startswith("ann    guilty")
    assert guilty.endswith("the level is reached")
    assert " shown " in guilty
    assert "not shown" in other
    assert other.endswith("the level cannot be reached any more")
    assert shown == "ann against guilty: Shown at level 0.0005, if"
    (sentence,) = [line for line in rest if line.startswith("If this model had been made")]
    assert sentence.endswith("one of 2 tests of the case; corrected for all of them: shown.")
    assert any(line.startswith("  1. the owner chose neither keys nor") for line in rest)
    assert end == "each model: shown (Bonferroni over 2 tests): ann against guilty"
    assert after.startswith(f"then: anw report {case} ")
    verdict = json.loads((case / "verdict.json").read_text())
    assert verdict["tests"]["ann"]["guilty"]["p_value"] <= 0.0005
    state = anw("plan", case).out
    assert "steps done: probe, declared, closed, verdict" in state
    assert "ann against guilty: p " in state


def test_two_owners_with_an_opener_that_names_them(anw, root, monkeypatch):
    class Opener:
        run, DEVNULL = staticmethod(in_this_process), subprocess.DEVNULL

    case = case_of(anw, root, "list of models", owners=("ann", "bob"))
    waiting = anw("audit", case)
    assert waiting.code == 5
    last = waiting.out.splitlines()[-3]
    assert last.startswith("waiting for the owners: ")
    assert "ann.request.json" in last
    assert "bob.request.json" in last
    monkeypatch.setattr("anw_jax.audit.rounds.subprocess", Opener)
    key, folder = root / "{owner}.key", root / "{owner}_marked"
    opener = f"anw open {{request}} --key {key} --from {folder} --out {{opening}}"
    ran = anw("audit", case, "--opener", opener)
    assert ran.code == 0, ran.err
    ran = anw("verdict", case)
    assert ran.code == 10
    assert (
        ran.out.splitlines()[0].split() == "owner suspect units wealth e-value outcome".split()
    )
    assert ran.out.splitlines()[-2] == (
        "list of models: shown (e-BH over 4 tests: share of false names ≤ 0.001): "
        "ann against guilty"
    )


def test_a_sealed_case_of_two_owners_says_whose_key_each_is(anw, root):
    for seed, name in enumerate(("ann", "bob"), start=5):
        owner(anw, root, name, seed, "each model", "--mode", "sealed")
    case = root / "case"
    write_suspect(case, root / "ann_marked" / "published")
    for step in ("probe", "declare"):
        assert anw(step, case).code == 0
    sealed = anw("audit", case).out.splitlines()[-1]
    keys = "--key ann=KEY --key bob=KEY"
    assert sealed.startswith(f"then: anw verdict {case} {keys} --blind ")
    assert anw("plan", case).out.endswith(f"anw verdict {case} {keys} --blind SHA256\n")


@pytest.mark.parametrize(("guilty", "code"), [("guilty", 10), ("innocent", 3)])
def test_at_least_one_of_two_models(anw, root, guilty, code):
    case = case_of(anw, root, "any model", suspects=(guilty, "other"))
    by_hand(anw, root, case)
    ran = anw("verdict", case)
    assert ran.code == code
    assert ran.out.count("not claimed") == 2
    assert "ann: p of the mean " in ran.out
    outcome = "shown" if code == 10 else "not shown"
    assert f"any model: {outcome} (mean of e-values over the models of each owner)" in ran.out


def test_what_was_changed_has_a_code_of_its_own(anw, root):
    case = case_of(anw, root, "each model")
    by_hand(anw, root, case)
    record = case / "records" / "ann" / "other.jsonl"
    text = record.read_text()
    record.write_text(text.replace('"step":0', '"step":1', 1))
    ran = anw("verdict", case)
    assert (ran.code, ran.out) == (8, "")
    assert "other.jsonl was changed after closed.json named it" in ran.err
    assert anw("verdict", case, "--key", root / "ann.key").code == 1


def test_stopped_by_hand_nobody_is_named(anw, root):
    case = case_of(anw, root, "list of models")
    assert anw("audit", case).code == 5
    assert anw("audit", case, "--stop").code == 0
    ran = anw("verdict", case)
    assert ran.code == 3
    assert ran.out.count("the owner did not open the leaf that was due") == 2
