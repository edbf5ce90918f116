"""Refused images: counted, named and limited; they never block a case nor make p smaller."""

import bisect
import functools
import json

import numpy as np
import pytest

from anw_jax import audit, data
from anw_jax.audit import query, refusals
from anw_jax.cli import format as telling
from anw_jax.cli import output
from anw_jax.errors import SuspectError
from anw_jax.keys import AccessRule, Assignment, MarkKey, Plan, SignatureSpace, Units
from anw_jax.stats import exact_test
from anw_jax.stats.exact import ExactNull, quantise
from anw_jax.stats.scores import score_units
from anw_jax.suspects import AnswerCache
from tests.audit.conftest import (
    NUM_PHOTOS,
    hand_over,
    receive,
    write_photos,
    write_suspect,
)
from tests.audit.owners import mark_folder, saving_choices
from tests.audit.refusing import WAYS, refusing_case, write_refuser


def sealed(case_dir, key):
    blind = audit.seal_case(audit.Case(case_dir))
    return blind, audit.judge_case(audit.Case(case_dir), {"ann": key})


@pytest.mark.parametrize("saving", [None, pytest.param((3, 1), marks=pytest.mark.slow)])
@pytest.mark.parametrize("how", WAYS)
def test_one_refused_image_is_named_and_the_others_decide(root, case_dir, how, saving):
    key = refusing_case(root, case_dir, [4], how, saving_choices(saving))
    blind, verdict = sealed(case_dir, key)
    count = blind["suspects"]["net"]["owners"]["ann"]["unusable"]
    assert count["num_images"] == NUM_PHOTOS
    test = verdict["tests"]["ann"]["net"]
    assert test["unusable"] == {**count, "limit": 0.1}
    assert test["outcome"] == "shown"
    if saving is None or count["num_unusable"]:  # with saving the picture may not be asked
        assert list(count["photos"]) == ["photo04.png"]
        text = "\n".join(telling.verdict_lines(verdict))
        assert "no usable answers to 1 of 12 images (at most 10 % may lack them): photo04.png: "
        assert "net: no usable answers to 1 of 12 images" in text
        assert "no usable answers" in "\n".join(
            telling.blind_lines(audit.Case(case_dir), blind)
        )
        why = {"raises": "photo 4 is protected", "fewer": "2", "drops": "shape"}.get(how, "NaN")
        assert why in count["photos"]["photo04.png"]
    if saving is None:
        assert test["num_unusable"] == 1
        with np.load(case_dir / "tables" / "net.npz") as tables:
            assert np.isnan(tables["ann"]).all(axis=1).tolist() == [
                number == 4 for number in range(NUM_PHOTOS)
            ]


@pytest.mark.parametrize(
    ("how", "number"),
    [
        pytest.param(how, number, marks=pytest.mark.slow if number in (4, 6, 11) else ())
        for how, number in zip(WAYS, [2, 4, 6, 8, 11], strict=True)
    ],
)
def test_above_the_limit_it_is_inconclusive(root, case_dir, how, number):
    key = refusing_case(root, case_dir, range(number), how)
    _, verdict = sealed(case_dir, key)
    test = verdict["tests"]["ann"]["net"]
    why = f"the suspect refused {number} of 12 images, more than the declared 10 %"
    assert (test["outcome"], test["reason"]) == ("inconclusive", why)
    assert test["sentence"] == f"The test is inconclusive: {why}."
    # Nothing beside it that accuses.
    assert (test["p_value"], test["log10_p"], test["p_text"], test["z"]) == (1, 0, "1", 0)
    assert test["how_many"] is test["which"] is None
    assert test["diagnostics"] == {}
    end = verdict["corrected"]
    assert (end["outcome"], end["reason"], end["named"]) == ("inconclusive", why, [])
    assert output.code_of_verdict(verdict) == output.INCONCLUSIVE == 4
    assert f"ann against net: inconclusive: {why}" in telling.verdict_lines(verdict)[0]
    assert telling.state_of(audit.Case(case_dir))["reached"][0]["p_text"] == "1"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "number", "outcome"),
    [(0.0, 0, "shown"), (0.0, 1, "inconclusive"), (0.25, 3, "shown"), (0.25, 4, "inconclusive"),
     (0.99, 6, "shown"), (0.99, 11, "inconclusive")],
)  # fmt: skip
def test_the_limit_is_a_share_of_the_images(root, case_dir, limit, number, outcome):
    choices = {"refusals": limit}
    key = refusing_case(root, case_dir, range(number), choices=choices, alpha=0.01)
    declared = json.loads((case_dir / "declared.json").read_text())
    assert declared["suspects"]["net"]["rule"]["refusals"] == limit
    test = sealed(case_dir, key)[1]["tests"]["ann"]["net"]
    assert test["outcome"] == outcome
    if limit == 0.99 and number == 11:  # one photo is left
        assert test["reason"].startswith("the smallest p these units can give")


@pytest.mark.parametrize("limit", [-0.1, 1.0, 1.1, float("nan"), "all"])
def test_a_limit_that_is_no_share(limit):
    with pytest.raises((TypeError, ValueError), match="refusals"):
        AccessRule("logits", refusals=limit)


def test_a_suspect_that_refuses_everything_is_an_error(root, case_dir):
    """It answered to the probe, and then to nothing: no verdict, and nothing is written."""
    refusing_case(root, case_dir, [])
    case = audit.Case(case_dir)
    asked = []

    class Gone:
        def __init__(self, suspect):
            self.declaration = suspect.declaration

        def answers(self, images):
            asked.append(len(images))
            raise SuspectError("it is gone")

    opened = case.suspects["net"].open()
    object.__setattr__(case.suspects["net"], "open", lambda makers=None: Gone(opened))
    for _ in range(2):
        with pytest.raises(SuspectError, match="it is gone"):
            audit.seal_case(case)
        with AnswerCache(case.answers_file("net"), opened.declaration) as cache:
            assert cache.num_unusable == len(cache) == 0
    assert not case.has("blind.json")


def test_the_photos_of_one_size_may_all_be_refused(root, case_dir):
    """Others of the case tell that the suspect still answers."""
    write_photos(root / "photos", seed=1, number=10)
    for number in range(2):
        wide = np.random.default_rng(number).integers(0, 256, (8, 16, 3), dtype=np.uint8)
        (root / "photos" / f"a wide {number}.png").write_bytes(data.png_of(wide))
    key = MarkKey.for_experiment(1)
    plan, choices = Plan("losses", 0.05), {"label_source": "model", "refusals": 0.2}
    mark_folder(root / "photos", key, root / "out", plan, **choices)
    receive(root / "out", root / "photos", case_dir, "ann")
    write_suspect(case_dir, None)
    code = case_dir / "suspects" / "net_code" / "model.py"
    check = (
        "if (CODE / 'narrow').exists():\n        assert batch.shape[2] == 8\n    logits = np.z"
    )
    text = "CODE = __import__('pathlib').Path(__file__).parent\n" + code.read_text()
    code.write_text(text.replace("logits = np.z", check))
    audit.declare(audit.Case(case_dir), audit.Options(), despite_probe=True)
    (code.parent / "narrow").touch()
    blind, verdict = sealed(case_dir, key)
    count = blind["suspects"]["net"]["owners"]["ann"]["unusable"]
    assert sorted(count["photos"]) == ["a wide 0.png", "a wide 1.png"]
    assert verdict["corrected"]["outcome"] == "not shown"


@pytest.mark.parametrize("how", ["raises", "nan"])
def test_in_a_group_the_other_images_stand_for_it(root, case_dir, how):
    for group, number in (("a", 4), ("b", 1), ("c", 3)):
        write_photos(root / "photos" / group, seed=ord(group), number=number)
    key = MarkKey.for_experiment(1)
    plan = Plan("losses", 0.5)
    choices = {"scheme": "per_group", "label_source": "model", "refusals": 0.25}
    mark_folder(root / "photos", key, root / "out", plan, **choices)
    folder = case_dir / "owners" / "ann"
    folder.mkdir(parents=True)
    for file in (root / "out").glob("*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    met = root / "met"
    met.mkdir()
    for number, file in enumerate(sorted((root / "out" / "published").rglob("*.png"))):
        (met / f"{number}.png").write_bytes(file.read_bytes())
    (root / "photos").rename(folder / "originals")
    write_refuser(case_dir, met, [1, 4], how)  # a second photo of a, and all of b
    audit.declare(audit.Case(case_dir), audit.Options(), despite_probe=True)
    blind, verdict = sealed(case_dir, key)
    count = blind["suspects"]["net"]["owners"]["ann"]["unusable"]
    assert list(count["photos"]) == ["a/photo01.png", "b/photo00.png"]
    assert count["num_images"] == 8
    test = verdict["tests"]["ann"]["net"]
    assert (test["num_units"], test["num_unusable"]) == (3, 1)
    assert test["true_slots"][0] == test["inferred_slots"][0]
    assert not refusals.reason(count, 0.25)


def test_killed_anywhere_the_result_is_the_same(root, case_dir, monkeypatch):
    refusing_case(root, case_dir, [0, 7])
    in_small_batches = functools.partial(query.QuerySession, batch_size=16)
    monkeypatch.setattr(query, "QuerySession", in_small_batches)
    case = audit.Case(case_dir)
    whole = audit.seal_case(case)
    (case_dir / "blind.json").unlink()
    case.answers_file("net").unlink()
    append = AnswerCache._append

    def append_then_die(self, records):
        append(self, records)
        raise KeyboardInterrupt

    monkeypatch.setattr(AnswerCache, "_append", append_then_die)
    for _ in range(12):  # after every write: answers, controls, refusals
        with pytest.raises(KeyboardInterrupt):
            audit.seal_case(audit.Case(case_dir))
    monkeypatch.setattr(AnswerCache, "_append", append)
    again = audit.seal_case(audit.Case(case_dir))
    mine, theirs = whole["suspects"]["net"], again["suspects"]["net"]
    assert mine["owners"] == theirs["owners"]
    assert mine["owners"]["ann"]["unusable"]["num_unusable"] == 2
    assert mine["num_queries"] <= theirs["num_queries"]
    # A control may be asked again after each kill, but nothing else.
    assert theirs["num_queries"] <= mine["num_queries"] + 12


@pytest.mark.slow
@pytest.mark.parametrize("claim", ["each model", "any model", "list of models"])
@pytest.mark.parametrize("guilty_is_asked", [True, False])
def test_several_suspects_of_which_one_refuses(root, case_dir, claim, guilty_is_asked):
    key = hand_over(root, case_dir, claim=claim)
    marked = root / "ann_marked" / "published"
    write_refuser(case_dir, marked, range(4), name="refuser")
    write_photos(root / "others", seed=99)
    write_suspect(case_dir, marked if guilty_is_asked else root / "others", "other")
    audit.probe_case(audit.Case(case_dir))
    audit.declare(audit.Case(case_dir), audit.Options())
    _, verdict = sealed(case_dir, key)
    why = "the suspect refused 4 of 12 images, more than the declared 10 %"
    refuser, other = (verdict["tests"]["ann"][name] for name in ("refuser", "other"))
    assert refuser["reason"] == why
    assert refuser["p_value"] == 1
    assert other["unusable"]["num_unusable"] == 0
    end = verdict["corrected"]
    if guilty_is_asked:
        assert end["outcome"] == "shown"
        assert end["named"] == [["ann"] if claim == "any model" else ["ann", "other"]]
        assert output.code_of_verdict(verdict) == output.NO_EVIDENCE  # experiment key
    else:  # "not shown" would hide who refused
        assert end["outcome"] == "inconclusive"
        assert end["reason"] == f"ann against refuser: {why}"
        assert output.code_of_verdict(verdict) == 4


def test_cases_of_before_there_were_counts_are_judged(root, case_dir):
    key = refusing_case(root, case_dir, range(3), "nan")
    audit.seal_case(audit.Case(case_dir))
    blind = json.loads((case_dir / "blind.json").read_text())
    del blind["suspects"]["net"]["owners"]["ann"]["unusable"]
    (case_dir / "blind.json").write_text(json.dumps(blind))
    verdict = audit.judge_case(audit.Case(case_dir), {"ann": key})
    test = verdict["tests"]["ann"]["net"]
    assert (test["outcome"], test["num_unusable"], test["unusable"]) == ("shown", 3, None)
    assert "no usable answers" not in "\n".join(telling.verdict_lines(verdict))


@pytest.mark.parametrize("statistic", ["losses", "centred", "log_losses", "ranks", "hits"])
def test_no_p_gets_smaller_by_refusing_where_it_remembers(statistic):
    rng = np.random.default_rng(5)
    slots = rng.integers(1, 12, 30)
    table = rng.gamma(4.0, 0.3, (30, 12))
    table[np.arange(30), slots] *= 0.25  # a model that remembers all of them
    units = Assignment(Units(np.arange(30), SignatureSpace()), slots)
    before = -np.inf
    for number in (0, 1, 3, 10, 20):
        refused = table.copy()
        refused[:number] = np.nan
        now = exact_test(refused, units, statistic=statistic).log10_p
        assert now > before
        before = now


@pytest.mark.parametrize("statistic", ["log_losses", "hits"])
def test_an_innocent_model_gains_nothing_by_choosing_what_it_refuses(statistic):
    """It refuses after a look at its answers, as cleverly as it likes; the keys are fresh."""
    rng = np.random.default_rng(6)
    table = rng.gamma(2.0, 1.0, (16, 6))
    spread = table[:, 1:].std(axis=1)
    table[np.argsort(spread)[:6]] = np.nan
    space = SignatureSpace(6)
    units = Units(np.arange(16), space)
    integers = quantise(score_units(table, units, statistic))
    null = ExactNull(integers)
    slots = rng.integers(0, 5, (50_000, 16))
    observed = np.sort(integers[np.arange(16), slots].sum(axis=1))
    for level in (0.2, 0.01):
        # The p falls with the sum: the first that is small enough is found by halving.
        first = bisect.bisect_left(
            observed, -np.log(level), key=lambda value: -null.log_p_value(int(value))
        )
        share = 1 - first / len(observed)
        assert share <= level + 3.3 * np.sqrt(level * (1 - level) / len(observed))
