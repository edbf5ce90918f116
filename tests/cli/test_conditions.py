"""What was left out, or forged, never ends with exit code 0: the attacks of hostile owners."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from anw_jax import audit
from tests.audit.conftest import receive, write_labels, write_photos, write_suspect

VALUE = "0f" * 32
BEACON = "arbitrator:Jane Doe"

STATEMENTS = """
[owners.ann]
commitment = "{commitment}"
held_since = "2026-11-03T10:00:00Z"
held_from = "a registered letter"
found = {found}
nothing_else = {nothing_else}

[suspects.net]
models_tried = {tried}
"""


@pytest.fixture
def case(anw, root):
    """A case that lacks nothing but statements, and a model that met the photos."""
    write_photos(root / "photos", seed=5)
    labels = write_labels(root / "photos", root / "labels.csv")
    anw("key", "new", root / "ann.key")
    return made(anw, root, "case", labels=labels)


def made(anw, root, name, *options, labels, beacon=BEACON, value=VALUE):
    """Commits, marks, and hands over; the suspect meets what was published."""
    out, key = root / f"{name}_marked", root / "ann.key"
    words = ["--key", key, "--out", out]
    commit = ["--alpha", "0.001", "--again", "--mark", "hue", *options]
    commit += [] if labels is None else ["--labels", labels]
    if not out.exists():  # else committed to already, in Python
        commit += ["--beacon", beacon] if beacon else ["--no-beacon"]
    assert anw("commit", root / "photos", *words, *commit).code == 0
    given = ["--beacon-value", value] if beacon else []
    assert anw("mark", root / "photos", *words, *given).code == 0
    folder = root / name
    receive(out, root / "photos", folder, "ann")
    write_suspect(folder, out / "published")
    return folder


def state(case, **changes):
    body = json.loads((case / "owners" / "ann" / "commitment.json").read_text())
    fields = {"found": body["plan"]["number"], "tried": 1, "nothing_else": "true"}
    text = STATEMENTS.format(**{**fields, "commitment": body["commitment"], **changes})
    (case / "statements.toml").write_text(text)


def audited(anw, case, *declare):
    """Up to the sealed answers; returns the digest that both sides note."""
    value = [] if "--beacon" in declare else ["--beacon", VALUE]
    assert anw("probe", case).code == 0
    ran = anw("declare", case, *value, *declare)
    assert ran.code == 0, ran.err
    assert anw("audit", case).code == 0
    return hashlib.sha256((case / "blind.json").read_bytes()).hexdigest()


def verdict(anw, root, case, *words):
    ran = anw("verdict", case, "--key", root / "ann.key", *words)
    is_written = ran.code in (0, 3, 4, 10)
    body = json.loads((case / "verdict.json").read_text()) if is_written else {}
    return ran, body.get("tests", {}).get("ann", {}).get("net", {})


def test_with_nothing_left_out_it_is_evidence(anw, root, case):
    state(case)
    noted = audited(anw, case)
    ran, test = verdict(anw, root, case, "--blind", noted)
    assert ran.code == 0, ran.out
    assert test["conditions"] == []
    assert test["standing"] == "evidence under the committed plan"
    assert "the arbitrator states: he held the commitment since 2026-11-03" in test["text"]
    body = json.loads((case / "verdict.json").read_text())["case"]
    assert body["blind_sha256"] == noted
    assert body["owners"]["ann"]["beacon"] == BEACON
    assert body["despite_probe"] is False
    assert anw("replay", case, "--key", root / "ann.key", "--ask", 1).code == 0


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ("commitment", "not compared with a copy that the arbitrator had"),
        ("held_since", "nobody stated when it was held"),
        ("found", "nobody stated how many were found"),
        ("models_tried", "nobody stated on how many it was tried"),
        ("nothing_else", "nothing else was published or made"),
    ],
)
def test_what_was_not_stated_is_a_condition(anw, root, case, lines, names):
    noted = audited(anw, case)
    state(case)
    file = case / "statements.toml"
    kept = [line for line in file.read_text().splitlines() if not line.startswith(lines)]
    file.write_text("\n".join(kept))
    ran, test = verdict(anw, root, case, "--blind", noted)
    assert ran.code == 10
    (condition,) = test["conditions"]
    assert names in condition
    assert "Shown at level 0.001, if" in ran.out
    assert "evidence" not in test["text"]


def test_the_template_left_as_it_is_states_nothing(anw, root, case):
    noted = audited(anw, case)
    ran, test = verdict(anw, root, case, "--blind", noted)
    assert ran.code == 10
    assert len(test["conditions"]) == 5


def test_a_key_chosen_after_the_training_is_not_the_commitment_that_was_held(anw, root, case):
    """A2: the commitment of the best of many keys opens as well as an honest one."""
    audited(anw, case)
    state(case, commitment="ab" * 32)
    ran, _ = verdict(anw, root, case)
    assert ran.code == 8
    assert "is not the one the arbitrator had" in ran.err


def edited(case):
    """One entry of the sealed table is made better, and all digests after it are mended."""
    from anw_jax import _files, audit, verify

    path = case / "tables" / "net.npz"
    with np.load(path) as stored:
        table = stored["ann"].copy()
    table[0, 1:] = table[0, 1:][::-1]
    _files.write_npz(path, {"ann": table})
    blind = json.loads((case / "blind.json").read_text())
    net = blind["suspects"]["net"]
    net["file"] = audit.files.digest_of(path)
    net["owners"]["ann"]["table"] = verify.seal(table)
    (case / "blind.json").write_text(json.dumps(blind, indent=1))


def test_a_table_edited_after_the_key_was_opened(anw, root, case):
    """A3: with the digest noted at the audit it is refused; a replay finds it without."""
    state(case)
    noted = audited(anw, case)
    edited(case)
    ran, _ = verdict(anw, root, case, "--blind", noted)
    assert ran.code == 8
    assert "blind.json is not the one noted at the audit" in ran.err
    ran, test = verdict(anw, root, case)
    assert ran.code == 10
    assert "not changed after the key was opened" in test["conditions"][0]
    ran = anw("replay", case, "--key", root / "ann.key")
    assert ran.code == 8
    assert "is not what the answers give" in ran.err


def test_answers_that_are_gone(anw, root, case):
    state(case)
    noted = audited(anw, case)
    (case / "answers" / "net.answers").unlink()
    ran, _ = verdict(anw, root, case, "--blind", noted)
    assert ran.code == 8
    assert "net.answers is gone" in ran.err


@pytest.mark.parametrize(
    ("beacon", "names"),
    [("", "names no public beacon"), ("the weather", "no beacon of a known kind")],
)
def test_slots_that_could_be_previewed_are_a_condition(anw, root, case, beacon, names):
    """A1: photos, keys or leaves chosen by slots that were known."""
    labels = root / "labels.csv"
    if beacon:  # which the command refuses
        chosen = audit.Choices(mark="hue", alpha=1e-3, beacon=beacon)
        words = (root / "photos", root / "ann.key", root / "other_marked", chosen)
        audit.commit_folder(*words, labels=labels, again=True)
    other = made(anw, root, "other", labels=labels, beacon=beacon)
    state(other)
    noted = audited(anw, other) if beacon else audited_without(anw, other)
    ran, test = verdict(anw, root, other, "--blind", noted)
    assert ran.code == 10
    assert any(names in condition for condition in test["conditions"])


def audited_without(anw, case):
    for words in (("probe",), ("declare",), ("audit",)):
        assert anw(*words, case).code == 0
    return hashlib.sha256((case / "blind.json").read_bytes()).hexdigest()


@pytest.mark.parametrize(("found", "tried"), [(1, 1), (40, 1), (1, 7), (40, 7)])
def test_p_is_multiplied_by_commitments_and_models(anw, root, case, found, tried):
    noted = audited(anw, case)
    state(case)
    single = verdict(anw, root, case, "--blind", noted)[1]
    state(case, found=found, tried=tried)
    ran, test = verdict(anw, root, case, "--blind", noted)
    assert ran.code == 0
    assert test["factor"] == found * tried
    assert test["p_value"] == pytest.approx(found * tried * single["p_value"])
    assert test["p_value"] >= found * tried * single["p_value"]
    assert test["log_e_value"] == pytest.approx(single["log_e_value"] - np.log(found * tried))
    state(case, found=10**9, tried=10**9)
    ran, test = verdict(anw, root, case, "--blind", noted)
    assert ran.code in (3, 4)
    assert test["p_value"] == 1.0
    assert test["how_many"] is test["which"] is None


def test_fewer_commitments_than_the_plan_counts(anw, root, case):
    second = made(anw, root, "second", labels=root / "labels.csv")
    audited(anw, second)
    state(second, found=1)
    ran, _ = verdict(anw, root, second)
    assert ran.code == 1
    assert "found must be at least 2: by the plan this owner had made 2 commitments" in ran.err


def test_a_menu_multiplies_p_whichever_is_declared(anw, root, case):
    """A4: what was left open is counted, and nothing else may be chosen."""
    menu = made(anw, root, "menu", "--access", "logits,label", labels=root / "labels.csv")
    assert anw("probe", menu).code == 0
    ran = anw("declare", menu, "--beacon", VALUE)
    assert ran.code == 1
    assert "leaves 2 declarations open for suspect 'net', choose one" in ran.err
    ran = anw("declare", menu, "--beacon", VALUE, "--access", "probabilities")
    assert "does not leave kind 'probabilities' open" in ran.err
    noted = audited(anw, menu, "--beacon", VALUE, "--access", "logits")
    state(menu)
    ran, test = verdict(anw, root, menu, "--blind", noted)
    assert ran.code == 0
    assert test["factor"] == 2 * json.loads((menu / "verdict.json").read_text())["case"][
        "owners"]["ann"]["number"]  # fmt: skip


def test_nothing_may_be_declared_that_the_plan_fixes(anw, root, case):
    assert anw("probe", case).code == 0
    for words in (
        ("--access", "label"),
        ("--augmentations", 3),
        ("--save-queries", 3),
        ("--no-labels",),
        ("--own-labels",),
        ("--bound-by", "hits"),
        ("--bound-level", 0.2),
        ("--list-rate", 0.2),
        ("--fit", "crop"),
    ):
        ran = anw("declare", case, "--beacon", VALUE, *words)
        assert ran.code == 1, words
        assert "leave these options out" in ran.err
    same = ("--access", "logits", "--augmentations", 1, "--save-queries", 0, "--fit", "squash")
    assert anw("declare", case, "--beacon", VALUE, *same).code == 0


def test_a_probe_that_was_overridden_is_a_condition(anw, root, case):
    assert anw("declare", case, "--beacon", VALUE, "--despite-probe").code == 0
    assert anw("audit", case).code == 0
    state(case)
    noted = hashlib.sha256((case / "blind.json").read_bytes()).hexdigest()
    ran, test = verdict(anw, root, case, "--blind", noted)
    assert ran.code == 10
    assert "overridden" in test["conditions"][0]


def test_a_suspect_older_than_the_beacons_value(anw, root, case):
    from anw_jax.keys.beacons import QUICKNET

    round_of_2099 = f"drand:{QUICKNET}:800000000"
    other = root / "drand"
    out = root / "drand_marked"
    words = ["--key", root / "ann.key", "--out", out, "--again", "--alpha", "0.001"]
    labels = ["--labels", root / "labels.csv", "--claim", "each model"]
    anw("commit", root / "photos", *words, *labels, "--mark", "hue", "--beacon", round_of_2099)
    anw("mark", root / "photos", *words[:4], "--beacon-value", VALUE)
    receive(out, root / "photos", other, "ann")
    for name in ("net", "old"):
        write_suspect(other, out / "published" if name == "net" else None, name)
    text = '[suspects.old]\nreleased = "2026-05-01"\nreleased_from = "its page"\n'
    (other / "statements.toml").write_text(text)
    assert anw("probe", other).code == 0
    ran = anw("declare", other, "--beacon", VALUE)
    assert ran.code == 1
    assert "cannot have learned from these marks" in ran.err
    (other / "statements.toml").write_text(text + "control = true\n")
    audited(anw, other)
    ran = anw("verdict", other, "--key", root / "ann.key", "--json")
    body = json.loads(ran.out)
    assert list(body["tests"]["ann"]) == ["net"]
    assert list(body["controls"]["ann"]) == ["old"]
    assert body["corrected"]["num_tests"] == 1
    # Who is a control is not decided once results are known.
    (other / "statements.toml").write_text("[suspects.net]\ncontrol = true\n")
    ran = anw("verdict", other, "--key", root / "ann.key")
    assert ran.code == 1
    assert "fixed before the first query" in ran.err


def test_a_commitment_held_only_after_the_value(anw, root, case):
    noted = audited(anw, case)
    state(case)
    file = case / "statements.toml"
    text = file.read_text().replace("held_from", 'value_appeared = "2026-11-01"\nheld_from')
    file.write_text(text)
    ran, test = verdict(anw, root, case, "--blind", noted)
    assert ran.code == 10
    assert "the commitment is older than the beacon's value" in test["conditions"][0]


def test_batches_of_one_person_in_one_case(anw, root, case):
    """K / B: what the case corrects for is not counted twice."""
    other = made(anw, root, "batch", labels=root / "labels.csv")
    shutil.copytree(other / "owners" / "ann", case / "owners" / "bob")
    text = "[owners.ann]\nfound = 4\n[owners.bob]\nfound = 4\nbatch_of = 'ann'\n"
    (case / "statements.toml").write_text(text)
    assert anw("probe", case).code == 0
    values = ("--beacon", f"ann={VALUE}", "--beacon", f"bob={VALUE}")
    assert anw("declare", case, *values).code == 0
    assert anw("audit", case).code == 0
    keys = ("--key", f"ann={root / 'ann.key'}", "--key", f"bob={root / 'ann.key'}")
    ran = anw("verdict", case, *keys, "--json")
    body = json.loads(ran.out)
    assert body["tests"]["ann"]["net"]["factor"] == 2.0
    assert body["tests"]["bob"]["net"]["factor"] == 2.0


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[owner.ann]\n", "did you mean 'owners'"),
        ("[owners.anne]\n", "did you mean 'ann'"),
        ("[owners.ann]\nfuond = 1\n", "did you mean 'found'"),
        ("[owners.ann]\nfound = '1'\n", "must be a number"),
        ("[owners.ann]\nfound = true\n", "must be a number"),
        ("[owners.ann]\nfound = -1\n", "must be a number"),
        ("[owners.ann]\nnothing_else = 'true'\n", "must be true or false"),
        ("[owners.ann]\nheld_since = 'yesterday'\n", "must be a date"),
        ("[suspects.net]\nreleased = 'May'\n", "must be a date"),
        ("[owners.ann\n", "is not valid TOML"),
    ],
)
def test_statements_of_another_form_are_one_line(anw, root, case, text, names):
    (case / "statements.toml").write_text(text)
    assert anw("probe", case).code == 0
    ran = anw("declare", case, "--beacon", VALUE)
    assert ran.code == 1
    assert names in ran.err
    assert not (case / "declared.json").exists()


@pytest.mark.parametrize("is_stated", [True, False])
def test_words_that_the_arbitrator_maps_to_class_numbers(anw, root, case, is_stated):
    """The words were committed to; the numbers are somebody's, and may have been fitted."""
    words = root / "words.csv"
    words.write_text((root / "labels.csv").read_text().replace(",0", ",cat"))
    other = made(anw, root, "words", labels=words)
    shutil.copy(words, other / "owners" / "ann" / "labels.csv")
    (other / "labels_map.csv").write_text("word,class number\ncat,0\n")
    state(other)
    if is_stated:
        file = other / "statements.toml"
        text = file.read_text().replace("held_from", "labels_given_blind = true\nheld_from")
        file.write_text(text)
    ran, test = verdict(anw, root, other, "--blind", audited(anw, other))
    assert ran.code == (0 if is_stated else 10), ran.err
    assert any("class numbers" in text for text in test["conditions"]) == (not is_stated)
