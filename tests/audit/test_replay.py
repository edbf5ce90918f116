"""What a replay takes for another wording, and what for another verdict."""

import copy

import pytest

from anw_jax.audit.replay import first_difference

VERDICT = {
    "tests": {
        "ann": {"net": {"p_value": 0.01, "sentence": "p is 0.01.", "stated": ["a", "b"]}}
    },
    "corrected": {
        "correction": "e-BH over 4 tests: share of false names ≤ 0.05",
        "texts": {"ann": "Shown at level 0.05: a mean this large has probability 1e-06."},
        "named": [["ann", "net"]],
    },
    "case": {"suspects": {"net": {"access": "top 5 labels, 1,000 queries", "menu": 2}}},
}


def difference(**changed):
    """Between the verdict and one with another text at a path, wording aside."""
    body = copy.deepcopy(VERDICT)
    for path, value in changed.items():
        *folders, name = path.split("__")
        part = body
        for folder in folders:
            part = part[folder]
        part[name] = value
    return first_difference(VERDICT, body, wording=False)


@pytest.mark.parametrize(
    ("path", "text", "other_numbers"),
    [
        (
            "corrected__correction",
            "a share of at most 0.05 false names, by e-BH over 4 tests",
            "e-BH over 5 tests: share of false names ≤ 0.05",
        ),
        (
            "corrected__texts__ann",
            "Shown (level 5e-2): with probability 1e-06 at most, a mean is this large.",
            "Shown at level 0.05: a mean this large has probability 1e-07.",
        ),
        (
            "case__suspects__net__access",
            "1000 queries for the best 5 labels",
            "top 5 labels, 100 queries",
        ),
    ],
)
def test_a_description_may_be_reworded_with_the_same_numbers(path, text, other_numbers):
    assert difference(**{path: text}) == ""
    assert difference(**{path: other_numbers}).startswith(path.replace("__", "."))
    assert difference(**{path: ""}).startswith(path.replace("__", "."))
    assert difference(**{path: 3}) != ""


def test_only_these_texts_may_be_reworded():
    assert difference(tests__ann__net__sentence="words alone") == ""
    assert difference(tests__ann__net__stated=["c", "d"]) == ""
    assert difference(tests__ann__net__stated=["c"]) != ""
    assert difference(corrected__named=[["ann", "other"]]) != ""
    assert difference(tests__ann__net__p_value=0.02) == (
        "tests.ann.net.p_value is 0.01, and 0.02 is written"
    )
    assert difference(case__suspects__net__menu=1) != ""


def test_every_wording_counts_where_it_is_asked_for():
    body = copy.deepcopy(VERDICT)
    body["corrected"]["correction"] += "."
    assert first_difference(VERDICT, body).startswith("corrected.correction is")
    assert first_difference(VERDICT, copy.deepcopy(VERDICT)) == ""
