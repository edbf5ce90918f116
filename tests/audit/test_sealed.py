import functools
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest

from anw_jax import audit
from anw_jax.audit import checks, query
from anw_jax.errors import BudgetError, CaseError, ChangedFileError, CommitmentError
from anw_jax.keys import MarkKey
from anw_jax.marks import LightField
from anw_jax.suspects import AnswerCache
from anw_jax.verify import seal
from tests.audit.conftest import NUM_PHOTOS, hand_over, write_photos, write_suspect
from tests.audit.owners import saving_choices


def planted(root, case_dir, **plan):
    """A case whose suspect met the marked photos; returns the key."""
    key = hand_over(root, case_dir, **plan)
    write_suspect(case_dir, root / "ann_marked" / "published")
    return key


def declared(case_dir, **options):
    audit.probe_case(audit.Case(case_dir))
    audit.declare(audit.Case(case_dir), audit.Options(**options))
    return audit.Case(case_dir)


def test_a_model_that_met_the_photos_is_named(root, case_dir):
    key = planted(root, case_dir)
    blind = audit.seal_case(declared(case_dir))
    assert blind["suspects"]["net"]["num_queries"] == NUM_PHOTOS * 11
    verdict = audit.judge_case(audit.Case(case_dir), {"ann": key})
    test = verdict["tests"]["ann"]["net"]
    assert test["outcome"] == verdict["corrected"]["outcome"] == "shown"
    assert test["p_value"] < 1e-9
    assert test["how_many"]["at_least"] >= 8
    assert len(test["which"]["first_photo_of_each"]) >= 10
    assert test["standing"] == "experiment key, not evidence"
    assert test["true_slots"] == blind["suspects"]["net"]["owners"]["ann"]["inferred_slots"]
    assert json.loads((case_dir / "verdict.json").read_text()) == verdict


def test_answers_from_before_the_declaration_are_refused(root, case_dir):
    """Else an owner who knows the slots writes them, and the model is never asked."""
    planted(root, case_dir)
    case = audit.Case(case_dir)
    case.answers_file("net").parent.mkdir()
    case.answers_file("net").write_bytes(b"")
    with pytest.raises(CaseError, match="holds answers from before the declaration"):
        audit.declare(case, audit.Options(), despite_probe=True)
    assert not case.has("declared.json")


def test_a_model_that_met_other_photos_is_not_named(root, case_dir):
    key = hand_over(root, case_dir)
    write_photos(root / "others", seed=99)
    write_suspect(case_dir, root / "others")
    audit.seal_case(declared(case_dir))
    verdict = audit.judge_case(audit.Case(case_dir), {"ann": key})
    test = verdict["tests"]["ann"]["net"]
    assert test["outcome"] == verdict["corrected"]["outcome"] == "not shown"
    assert test["p_value"] > 0.01
    # Of an innocent model one audit in twenty would have a bound above 0.
    assert test["how_many"] is None
    assert test["which"] is None


def test_saved_queries_still_give_full_rows(root, case_dir):
    key = planted(root, case_dir, choices=saving_choices((3, 1)))
    blind = audit.seal_case(declared(case_dir))
    asked = blind["suspects"]["net"]["num_queries"]
    assert NUM_PHOTOS * 4 <= asked < NUM_PHOTOS * 8
    with np.load(case_dir / "tables" / "net.npz") as tables:
        assert np.isfinite(tables["ann"][:, 1:]).all()
    verdict = audit.judge_case(audit.Case(case_dir), {"ann": key})
    assert verdict["tests"]["ann"]["net"]["outcome"] == "shown"


def test_each_file_names_the_one_before(root, case_dir):
    key = planted(root, case_dir)
    audit.seal_case(declared(case_dir))
    audit.judge_case(audit.Case(case_dir), {"ann": key})
    case = audit.Case(case_dir)
    steps = ("probe.json", "declared.json", "blind.json", "verdict.json")
    for before, name in itertools.pairwise(steps):
        assert case.read(name)["previous"] == case.digest(before)


def test_the_order_is_enforced(root, case_dir):
    key = planted(root, case_dir)
    with pytest.raises(CaseError) as error:
        audit.declare(audit.Case(case_dir), audit.Options())
    assert str(error.value) == (
        f"{case_dir / 'probe.json'} is not there: probe the suspects first (anw probe)"
    )
    with pytest.raises(CaseError) as error:
        audit.seal_case(audit.Case(case_dir))
    assert str(error.value) == (
        f"{case_dir / 'declared.json'} is not there: declare the audit first (anw declare)"
    )
    declared(case_dir)
    with pytest.raises(CaseError) as error:
        audit.judge_case(audit.Case(case_dir), {"ann": key})
    assert str(error.value) == (
        f"{case_dir / 'blind.json'} is not there: the tables are sealed before any key is "
        "opened (anw audit)"
    )
    with pytest.raises(CaseError, match="an audit is declared once"):
        audit.declare(audit.Case(case_dir), audit.Options())
    with pytest.raises(CaseError, match="a probe comes before the declaration"):
        audit.probe_case(audit.Case(case_dir))


def test_a_sealed_table_is_not_asked_again(root, case_dir):
    planted(root, case_dir)
    blind = audit.seal_case(declared(case_dir))
    (case_dir / "suspects" / "net_code" / "seen" / "photo00.png").unlink()
    assert audit.seal_case(audit.Case(case_dir)) == blind
    (case_dir / "answers" / "net.answers").unlink()
    with pytest.raises(ChangedFileError, match=r"net.answers is gone"):
        audit.seal_case(audit.Case(case_dir))
    assert not (case_dir / "answers" / "net.answers").exists()


def change_table(case_dir):
    with np.load(case_dir / "tables" / "net.npz") as stored:
        table = stored["ann"].copy()
    table[0, 1] -= 1
    np.savez(case_dir / "tables" / "net.npz", ann=table)


def change_json(path, **fields):
    body = json.loads(path.read_text())
    path.write_text(json.dumps(body | fields, indent=1) + "\n")


CHANGES = {
    "table": (change_table, "was changed after blind.json named it"),
    "declared": (
        lambda case: change_json(case / "declared.json", list_rate=0.5),
        "is not the one that blind.json names",
    ),
    "probe": (
        lambda case: change_json(case / "probe.json", previous="0"),
        "is not the one that declared.json names",
    ),
    "manifest": (
        lambda case: (case / "owners/ann/manifest.json").write_text(
            (case / "owners/ann/manifest.json").read_text() + " "
        ),
        "is not the manifest that",
    ),
    "plan": (
        lambda case: change_json(
            case / "owners/ann/commitment.json",
            plan={"statistic": "hits", "alpha": 0.5, "mark": "hue_rotation"},
        ),
        "plan of owner 'ann' was changed after declared.json named it",
    ),
    "labels": (
        lambda case: (case / "owners/ann/labels.csv").write_text(
            (case / "owners/ann/labels.csv")
            .read_text()
            .replace("photo01.png,0", "photo01.png,1")
        ),
        "originals of owner 'ann' was changed after declared.json named it",
    ),
    "suspect": (
        lambda case: (case / "suspects/net.toml").write_text(
            (case / "suspects/net.toml").read_text() + "\n# another\n"
        ),
        "file of suspect 'net' was changed after declared.json named it",
    ),
    "further suspect": (
        lambda case: (case / "suspects/two.toml").write_text('kind = "recorded"\n'),
        "was declared with the suspects net, and now has net, two",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_changed_is_refused_in_one_line(root, case_dir, change):
    key = planted(root, case_dir)
    audit.seal_case(declared(case_dir))
    make, message = CHANGES[change]
    make(case_dir)
    with pytest.raises(CaseError) as error:
        audit.judge_case(audit.Case(case_dir), {"ann": key})
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, ChangedFileError) or change == "manifest"
    assert not (case_dir / "verdict.json").exists()


def test_another_model_under_the_same_name_is_refused(root, case_dir):
    planted(root, case_dir)
    case = declared(case_dir)
    model = case_dir / "suspects" / "net_code" / "model.py"
    model.write_text(model.read_text() + "\n# retrained\n")
    with pytest.raises(ChangedFileError, match="suspect 'net' is not the model declared"):
        audit.seal_case(case)


def test_another_key_opens_nothing(root, case_dir):
    planted(root, case_dir)
    audit.seal_case(declared(case_dir))
    with pytest.raises(CommitmentError, match="does not open") as refused:
        audit.judge_case(audit.Case(case_dir), {"ann": MarkKey.for_experiment(77)})
    assert str(refused.value).endswith("the key is that of another commitment")
    assert "AccessRule" not in str(refused.value)  # the plan would fill the screen
    with pytest.raises(CaseError) as error:
        audit.judge_case(audit.Case(case_dir), {"bob": MarkKey.for_experiment(1)})
    assert str(error.value).endswith("owner (ann) and of no other (--key); got bob")
    assert not (case_dir / "verdict.json").exists()


def test_a_spent_budget_keeps_its_answers_and_a_larger_one_goes_on(root, case_dir):
    planted(root, case_dir)
    case = declared(case_dir, budget=50)
    with pytest.raises(BudgetError, match="the budget of 50 queries is spent"):
        audit.seal_case(case)
    again = audit.seal_case(audit.Case(case_dir), budget=500)
    assert again["suspects"]["net"]["num_queries"] == NUM_PHOTOS * 11


def test_many_owners_and_models_in_one_case(root, case_dir):
    keys = {
        name: hand_over(root, case_dir, name, seed, claim="each model")
        for seed, name in enumerate(("ann", "bob"), start=1)
    }
    write_suspect(case_dir, root / "ann_marked" / "published", "first")
    write_suspect(case_dir, root / "bob_marked" / "published", "second")
    audit.seal_case(declared(case_dir))
    verdict = audit.judge_case(audit.Case(case_dir), keys)
    assert verdict["corrected"]["named"] == [["ann", "first"], ["bob", "second"]]
    assert verdict["corrected"]["level"] == 1e-3 / 4
    assert verdict["corrected"]["correction"] == "Bonferroni over 4 tests"
    for owner, by_name in verdict["tests"].items():
        for name, test in by_name.items():
            if [owner, name] in verdict["corrected"]["named"]:
                assert test["how_many"]["level"] == test["which"]["rate"] == 0.05 / 4
                assert (
                    "of all such audits, shown or not, at most 1.25 %"
                    in test["how_many"]["text"]
                )
            else:
                assert test["how_many"] is test["which"] is None


def test_killed_at_any_batch_no_answer_is_paid_twice(root, case_dir, monkeypatch):
    planted(root, case_dir)
    case = declared(case_dir)
    store = AnswerCache.store
    in_small_batches = functools.partial(query.QuerySession, batch_size=16)
    monkeypatch.setattr(query, "QuerySession", in_small_batches)

    def store_then_die(self, keys, answers, **more):
        store(self, keys, answers, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(AnswerCache, "store", store_then_die)
    declaration = case.suspects["net"].open().declaration
    for kills in range(1, 5):
        with pytest.raises(KeyboardInterrupt):
            audit.seal_case(audit.Case(case_dir))
        with AnswerCache(case.answers_file("net"), declaration) as cache:
            assert cache.num_queries == len(cache) == 16 * kills
    monkeypatch.setattr(AnswerCache, "store", store)
    blind = audit.seal_case(case)["suspects"]["net"]
    assert blind["num_queries"] == NUM_PHOTOS * 11
    with np.load(case_dir / "tables" / "net.npz") as tables:
        assert seal(tables["ann"]) == blind["owners"]["ann"]["table"]


def test_owners_may_have_light_fields_of_different_cells(root, case_dir, monkeypatch):
    """The command takes 16; an owner who writes another plan must not stop the others."""
    keys = {}
    for number, (name, cells) in enumerate({"ann": 4, "bob": 8}.items(), start=1):
        monkeypatch.setattr(
            audit.Choices,
            "make_mark",
            lambda self, key, n, cells=cells: LightField(
                key.sub_key("light"), cells=cells, num_slots=n
            ),
        )
        choices = {"mark": "light", "augmentations": (1,)}
        keys[name] = hand_over(root, case_dir, name, seed=number, number=4, choices=choices)
    write_suspect(case_dir, root / "ann_marked" / "published")
    blind = audit.seal_case(declared(case_dir))
    assert blind["suspects"]["net"]["num_queries"] == 2 * 4 * 11
    verdict = audit.judge_case(audit.Case(case_dir), keys)
    assert verdict["tests"]["ann"]["net"]["p_value"] < 0.01
    assert verdict["tests"]["bob"]["net"]["p_value"] > 0.01


def test_photos_too_small_for_the_mark_are_refused_at_the_declaration():
    def owner(*shapes):
        manifest = SimpleNamespace(file_names=tuple(f"{n}.png" for n in range(len(shapes))))
        published = SimpleNamespace(mark=LightField(bytes(32), cells=8), manifest=manifest)
        originals = SimpleNamespace(images=SimpleNamespace(shapes=list(shapes)))
        return SimpleNamespace(published=published, originals=originals)

    case = SimpleNamespace(owners={"ann": owner((8, 8, 3), None)})
    checks.check_marks_fit(case)
    case.owners["bob"] = owner((9, 9, 3), (9, 7, 3))
    with pytest.raises(CaseError, match=r"'bob' has the photo '1.png' of 9x7, .* needs 8 pix"):
        checks.check_marks_fit(case)
