"""The document has a row for each claim, from result files and nothing else."""

import json

import pytest

from anw_jax.errors import SettingsError
from tools.reproduction.document import document
from tools.reproduction.runs import ResultError

TWO_CLAIMS = """
def claims(runs):
    return [found(runs), good(runs)]


def accuracy_cost(runs):
    return runs.each(Run.number, path="model.test_accuracy")


def figure(runs):
    return Curves({"hue60": runs.each(loss_curve, user="hue60")})
"""


@pytest.fixture
def study(write_study):
    """One study of two claims."""
    write_study("fig0", functions=TWO_CLAIMS)


@pytest.fixture
def text_of(study, tmp_path):
    """The document as it is now."""
    return lambda: document(tmp_path / "experiments", tmp_path / "results")


def row_of(text: str, claim: str) -> list[str]:
    """The cells of a claim's row."""
    (line,) = [line for line in text.splitlines() if line.startswith("|") and claim in line]
    return [cell.strip() for cell in line.replace(r"\|", "/").strip("|").split("|")]


def test_without_results_every_row_says_so(text_of):
    text = text_of()
    command = "`python -m tools.reproduction run --rows fig0`"
    assert row_of(text, "the hue is found") == [
        "[Fig. 0](#fig0)", "the hue is found", "all",
        "–", "–", "not yet run", "–", "–", command,
    ]  # fmt: skip
    assert row_of(text, "the model is good")[2] == "76 / 80 %"
    assert "**2 claims:** 2 not yet run." in text
    assert f"2 epochs): not yet run. {command[:-1]} --variant quick`" in text
    assert "* **Not yet run:** Fig. 0.\n" in text
    assert "](figures/" not in text


def test_quick_results_can_show_a_direction(text_of, load, made_up, tmp_path):
    (quick,) = load("quick")
    for seed in (0, 1, 2):
        made_up.write(tmp_path / "results", quick, seed=seed)
    text = text_of()
    row = row_of(text, "the model is good")
    assert row[3:6] == ["–", "71.0 ± 1.0 % (n = 3)", "direction only (quick)"]
    assert row_of(text, "the hue is found")[4:6] == [
        "100.0 ± 0.0 % (n = 3)",
        "direction only (quick)",
    ]
    assert row[6:8] == [
        "quick: p median 3.2e-11, worst 3.2e-10 (n = 3)",
        "quick: 71.0 ± 1.0 points",
    ]
    setting = "testing, all photos of mock:160, 2 epochs"
    assert f"Quick ({setting}): 3 of 3 runs; test accuracy 71.0 ± 1.0 %" in text
    assert "p median 3.2e-11, worst 3.2e-10 (n = 3)" in text
    assert "accuracy cost of marking: 71.0 ± 1.0 points" in text
    assert "training 1 min 0 s each; hardware: a made-up machine; commit: 0123456789" in text
    assert "![Fig. 0, quick: Nothing](figures/fig0_quick.png)" in text
    assert "* **Not yet run:** nothing." in text
    assert "* **Not yet run at paper scale:** Fig. 0.\n" in text


def test_paper_scale_decides_once_it_is_there(text_of, load, made_up, tmp_path):
    (study,), (quick,) = load("paper"), load("quick")
    results = tmp_path / "results"
    made_up.write(results, quick)
    made_up.write(results, study, seed=1, users={"hue60": made_up.user(60.0, 120.0)})
    text = text_of()
    assert row_of(text, "the hue is found")[3:6] == [
        "0.0 % (n = 1)",
        "100.0 % (n = 1)",
        "not confirmed, 1 of 3 seeds",
    ]
    assert row_of(text, "the model is good")[5] == "direction only, 1 of 3 seeds"
    assert "* **Not confirmed:** Fig. 0 (the hue is found)." in text
    assert "**2 claims:** 1 direction only, 1 not confirmed." in text
    assert "* **Fewer seeds than declared:** Fig. 0.\n" in text


def test_a_keyed_test_without_p_is_counted_not_hidden(text_of, load, made_up, tmp_path):
    (quick,) = load("quick")
    results = tmp_path / "results"
    for seed, p in ((0, -9.5), (1, -7.5)):
        made_up.write(results, quick, seed=seed, users=users_with(made_up, log10_p=p))
    users = users_with(made_up, log10_p=None, outcome="inconclusive")
    made_up.write(results, quick, seed=2, users=users)
    row = row_of(text_of(), "the hue is found")
    assert row[6] == "quick: p median 3.2e-8, worst 3.2e-8, 1 inconclusive (n = 3)"


def users_with(made_up, **keyed) -> dict:
    """The users of a made-up result, the one with a hue per photo changed."""
    return {"keyed": {**made_up.keyed(), **keyed}, "hue60": made_up.user()}


def test_every_network_of_the_arms_is_named_and_the_note_comes_last(write_study, tmp_path):
    arms = {"a": {}, "b": {"model.name": "small"}, "c": {"train.num_epochs": 3}}
    write_study("fig0", study={"arms": arms, "note": "12 classes"})
    text = document(tmp_path / "experiments", tmp_path / "results")
    setting = "testing, small, all photos of mock:160, 2, 3 epochs; 12 classes"
    assert f"Paper scale ({setting}): not yet run" in text


def test_a_row_that_measures_the_cost_is_pointed_at(write_study, load, made_up, tmp_path):
    write_study("fig0", study={"cost_row": "Fig. 9"})
    made_up.write(tmp_path / "results", load("quick")[0])
    text = document(tmp_path / "experiments", tmp_path / "results")
    assert "; accuracy cost of marking: see the row Fig. 9; training" in text


def test_the_trainings_seconds_and_commit_are_shown_not_the_audits(
    text_of, load, made_up, tmp_path
):
    """The second row of a case was read later, at another commit, in seconds."""
    (quick,) = load("quick")
    origin = {"commit": "f" * 40, "hardware": "a trainer"}
    training = {"seconds": 600.0, "provenance": origin, "earlier_commits": ["e" * 40]}
    results = tmp_path / "results"
    made_up.write(results, quick, training=training)
    expected = f"training 10 min 0 s each; hardware: a trainer; commit: {'e' * 10}, {'f' * 10}"
    assert f"{expected}; 1 read at 0123456789; files" in text_of()
    made_up.write(results, quick, training=training | {"seconds": None})
    assert "training unknown time each; hardware: a trainer" in text_of()


def test_a_note_stands_beside_numbers_and_rows_in_the_order_of_the_paper(
    write_study, load, made_up, tmp_path
):
    for name, row in (
        ("ours", "Keyed"),
        ("sec1", "§1"),
        ("fig9", "Fig. 9"),
        ("fig2", "Fig. 2"),
    ):
        write_study(name, study={"row": row, "note": "12 classes"})
    made_up.write(tmp_path / "results", load("quick", ["sec1"])[0])
    text = document(tmp_path / "experiments", tmp_path / "results")
    cells = [line.split(" | ") for line in text.splitlines() if line.startswith("| [")]
    assert [row[0][3:].split("]")[0] for row in cells] == ["Fig. 2", "Fig. 9", "§1", "Keyed"]
    assert [row[4] for row in cells] == ["–", "–", "100.0 % (n = 1); 12 classes", "–"]


def test_predicates_stand_beside_the_verdict(text_of):
    assert (
        "* the model is good: **not yet run**; confirmed if at least 75 %, direction if at "
        "least 60 %" in text_of()
    )


def test_a_quick_claim_in_other_words_is_shown_beside(write_study, tmp_path):
    claims = """
def claims(runs):
    return [found(runs, f"the hue of {dict(paper='many', quick='few')[runs.variant]} is found")]
"""
    write_study("fig0", functions=claims)
    text = document(tmp_path / "experiments", tmp_path / "results")
    assert "| the hue of many is found (quick: the hue of few is found) |" in text


def test_both_variants_must_make_the_same_claims(write_study, tmp_path):
    claims = """
def claims(runs):
    return [found(runs), good(runs)][: 1 + (runs.variant == "paper")]
"""
    write_study("fig0", functions=claims)
    with pytest.raises(SettingsError, match="fig0: both variants must make the same claims"):
        document(tmp_path / "experiments", tmp_path / "results")


def test_a_result_that_lacks_a_number_is_an_error_not_a_gap(text_of, load, made_up, tmp_path):
    (study,) = load("paper")
    path = made_up.write(tmp_path / "results", study)
    values = json.loads(path.read_text())
    del values["model"]["test_accuracy"]
    path.write_text(json.dumps(values))
    with pytest.raises(ResultError, match=r"fig0/seed0\.json has no model\.test_accuracy"):
        text_of()
