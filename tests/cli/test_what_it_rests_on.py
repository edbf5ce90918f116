"""What a verdict rests on is counted in every number, and printed: each test failed before."""

import hashlib
import json

import numpy as np
import pytest

from anw_jax import audit
from anw_jax.errors import CaseError
from anw_jax.suspects import RecordedSuspect
from tests.audit.conftest import write_labels, write_photos, write_suspect
from tests.audit.several import declared_case, to_the_end
from tests.cli.test_conditions import BEACON, VALUE, audited, made, state, verdict


@pytest.fixture
def case_dir(root):
    """An empty case folder."""
    (root / "case").mkdir()
    return root / "case"


@pytest.fixture
def owner(anw, root):
    """Photos, labels and a key; returns what makes a case of them."""
    write_photos(root / "photos", seed=5)
    labels = write_labels(root / "photos", root / "labels.csv")
    anw("key", "new", root / "ann.key")
    return lambda *options, name="case", **more: made(
        anw, root, name, *options, **{"labels": labels, **more}
    )


def judged(anw, root, case):
    """The noted digest given, and everything stated that `state` does not leave out."""
    return verdict(anw, root, case, "--blind", audited(anw, case))


# --- Numbers. ---


@pytest.mark.parametrize(("found", "tried"), [(1, 1), (4, 1), (4, 5)])
def test_bounds_and_lists_cost_the_same_factor_as_p(anw, root, owner, found, tried):
    """Of so many commitments and models the one with the highest bound could be brought."""
    case = owner()
    state(case, found=found, tried=tried)
    ran, test = judged(anw, root, case)
    assert ran.code == 0
    assert test["how_many"]["level"] == pytest.approx(0.05 / (found * tried))
    assert test["which"]["rate"] == pytest.approx(0.05 / (found * tried))
    assert (f"p is {found * tried} times that of the test alone" in ran.out) == (found > 1)


def test_a_menu_costs_bounds_and_lists_too(anw, root, owner):
    case = owner("--access", "logits,label", "--augmentations", "1,2")
    state(case)
    assert anw("probe", case).code == 0
    chosen = ("--beacon", VALUE, "--access", "logits", "--augmentations", 1)
    ran, test = verdict(anw, root, case, "--blind", audited(anw, case, *chosen))
    assert ran.code == 0
    assert test["factor"] == 4
    assert test["how_many"]["level"] == pytest.approx(0.05 / 4)
    assert "p is 4 times that of the test alone" in test["text"]


def test_batches_of_one_person_have_one_number(anw, root, owner):
    case, other = owner(), owner(name="batch")
    (case / "owners" / "bob").mkdir()
    for file in (other / "owners" / "ann").rglob("*"):
        target = case / "owners" / "bob" / file.relative_to(other / "owners" / "ann")
        target.mkdir() if file.is_dir() else target.write_bytes(file.read_bytes())
    text = "[owners.ann]\nfound = 4\n[owners.bob]\nfound = 2\nbatch_of = 'ann'\n"
    (case / "statements.toml").write_text(text)
    ran = anw("plan", case)
    with pytest.raises(CaseError, match="found must be one number for 'bob' and 'ann'"):
        audit.statements.read_statements(audit.Case(case))
    (case / "statements.toml").write_text(text.replace("found = 2", "found = 4"))
    said = audit.statements.read_statements(audit.Case(case)).of("bob", "net")
    assert said.factor == 2.0
    assert any("4 commitment(s) of this owner, 2 of them in" in line for line in said.lines())
    assert ran.code == 0


# --- Statements and conditions. ---


def test_every_statement_that_counts_is_printed(anw, root, owner):
    case = owner("--own-labels", labels=None)
    (case / "labels").mkdir()
    write_labels(root / "photos", case / "labels" / "ann.csv")
    state(case)
    file = case / "statements.toml"
    text = file.read_text().replace("held_from", "labels_given_blind = true\nheld_from")
    file.write_text(text + 'released = "2027-01-01"\nreleased_from = "its page"\n')
    ran, test = judged(anw, root, case)
    assert ran.code == 0, ran.out
    for line in (
        "the arbitrator states: the class numbers were given by somebody who did not know",
        "the arbitrator states: the suspect was released on 2027-01-01, from its page",
    ):
        assert any(said.startswith(line) for said in test["stated"])
        assert line in ran.out


@pytest.mark.parametrize("beacon", ["nist:2:1234567", BEACON])
def test_a_suspect_older_than_a_value_whose_time_was_stated(anw, root, owner, beacon):
    value = "0f" * (64 if beacon.startswith("nist") else 32)
    case = owner(beacon=beacon, value=value)
    state(case)
    text = (case / "statements.toml").read_text()
    appeared = 'value_appeared = "2026-11-05T10:00:00Z"\n'
    if beacon != BEACON:
        text = text.replace("held_from", appeared + "held_from")
    older = case / "statements.toml"
    older.write_text(text + 'released = "2026-05-01"\n')
    assert anw("probe", case).code == 0
    ran = anw("declare", case, "--beacon", value)
    assert ran.code == 1
    assert "cannot have learned from these marks" in ran.err
    older.write_text(text + 'released = "2026-11-30"\n')
    assert anw("declare", case, "--beacon", value).code == 0


def test_a_declaration_that_hides_its_probe(anw, root, owner):
    """Declared against the probe's findings, and the note of it taken out before the audit."""
    case = owner()
    state(case)
    assert anw("probe", case).code == 0
    probe = case / "probe.json"
    body = json.loads(probe.read_text())
    body["suspects"]["net"]["is_fit"] = False
    probe.write_text(json.dumps(body))
    assert anw("declare", case, "--beacon", VALUE).code == 1
    assert anw("declare", case, "--beacon", VALUE, "--despite-probe").code == 0
    declared = case / "declared.json"
    body = json.loads(declared.read_text())
    declared.write_text(json.dumps({**body, "despite_probe": False}))
    assert anw("audit", case).code == 0
    noted = hashlib.sha256((case / "blind.json").read_bytes()).hexdigest()
    ran, test = verdict(anw, root, case, "--blind", noted)
    assert ran.code == 10
    assert "its findings were overridden" in test["conditions"][0]


def test_recorded_answers_that_no_probe_could_ask(anw, root, owner):
    case = owner()
    state(case)
    one = audit.Case(case)
    suspect, photos = one.suspects["net"].open(), one.owners["ann"]
    pictures = _all_pictures(photos)
    answers = suspect.answers(pictures.astype(np.float32) / 255)
    recorded = RecordedSuspect.of(pictures, answers, suspect.declaration)
    recorded.save(case / "suspects" / "answers.npz")
    text = 'kind = "recorded"\nfile = "answers.npz"\n'
    (case / "suspects" / "net.toml").write_text(text)
    ran, test = judged(anw, root, case)
    assert ran.code == 10, ran.err
    (condition,) = test["conditions"]
    assert "recorded before the declaration, and it could not be probed" in condition


def _all_pictures(owner) -> np.ndarray:
    from anw_jax import marks

    degrees = owner.published.manifest.space.degrees
    images = np.stack(list(owner.originals.images))
    marked = [marks.publish(owner.published.mark, images, float(d)) for d in degrees]
    return np.unique(np.concatenate([images, *marked]), axis=0)


# --- The claim "any model". ---


def test_at_least_one_model_is_shown_with_its_conditions(anw, root, owner):
    case = owner("--claim", "any model")
    write_suspect(case, None, "other")
    state(case)
    with (case / "statements.toml").open("a") as file:
        file.write("[suspects.other]\nmodels_tried = 2\n")
    noted = audited(anw, case)
    ran, _ = verdict(anw, root, case, "--blind", noted)
    assert ran.code == 0
    assert "ann, at least one of the models: Shown at level 0.001: evidence" in ran.out
    assert "If all of these 2 models had been made without these marked photos" in ran.out
    ran, _ = verdict(anw, root, case)
    assert ran.code == 10
    assert "at least one of the models: Shown at level 0.001, if\n" in ran.out
    assert "the sealed answers were not changed after the key was opened" in ran.out


def test_at_least_one_model_of_a_sequential_case(anw, root, case_dir):
    keys = declared_case(root, case_dir, claim="any model")
    to_the_end(root, case_dir, keys)
    ran = anw("verdict", case_dir)
    assert ran.code == 9
    assert "at least one of the models: Shown at level 0.001: experiment key, not" in ran.out


# --- Answers that are gone. ---


def test_answers_of_a_sequential_case_that_are_gone(anw, root, case_dir):
    keys = declared_case(root, case_dir, suspects=("guilty",))
    to_the_end(root, case_dir, keys)
    answers = case_dir / "answers" / "guilty.answers"
    whole = answers.read_bytes()
    answers.write_bytes(whole + b"x")
    ran = anw("verdict", case_dir)
    assert (ran.code, ran.out) == (8, "")
    answers.unlink()
    ran = anw("verdict", case_dir)
    assert (ran.code, ran.out) == (8, "")
    assert "guilty.answers is gone" in ran.err
    answers.write_bytes(whole)
    assert anw("verdict", case_dir).code == 9
