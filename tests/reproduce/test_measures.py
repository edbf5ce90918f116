"""Each measure against a naive twin on made-up results, and what is said of missing parts."""

import cmath
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.reproduce import SeedRuns, compute, measure_names
from anw_jax.reproduce.measures import check_call
from anw_jax.reproduce.results import NotYetRunError, ResultError, Run


@pytest.fixture
def runs(made_up) -> SeedRuns:
    """Two arms, two users each, one suspect."""

    def values(shift: float, depth: float, accuracy: float) -> dict:
        return {
            "model": {"test_accuracy": accuracy},
            "users": {
                "hue60": made_up.user(60.0, 60.0 + shift, depth),
                "hue300": made_up.user(300.0, (300.0 + 7 * shift) % 360, depth),
                "keyed": made_up.keyed(-9.5),
            },
            "suspects": {
                "pruned": {
                    "model": {"test_accuracy": accuracy - 0.1},
                    "users": {"hue60": made_up.user(60.0, 200.0, 0.5 * depth)},
                    "crowds": {"all": {"num_users": 10, "match_rate": 0.2}},
                }
            },
            "crowds": {
                "all": {
                    "num_users": 40,
                    "match_rate": 0.9,
                    "wrong_basis_match_rate": 0.1,
                    "true_degrees": [0.0, 60.0],
                    "inferred_degrees_fine": [350.0, 90.0],
                }
            },
            "analyses": {
                "gradient_search": {
                    "hue60": {
                        "error_degrees": -1.5,
                        "seconds": 3.0,
                        "num_forward": 30,
                        "num_backward": 10,
                        "grid_num_forward": 100,
                    },
                    "hue300": {
                        "error_degrees": 0.5,
                        "seconds": 5.0,
                        "num_forward": 60,
                        "num_backward": 20,
                        "grid_num_forward": 100,
                    },
                },
                "mia": {"advantage": 0.25, "by_user": {"a": {"x": None}}},
            },
            "settings": {"verify": {"num_slots": 12}},
        }

    return SeedRuns.of({"a": values(0.0, 2.0, 0.8), "b": values(10.0, 1.0, 0.7)})


def users_of(runs, users, arms):
    """What the twins loop over."""
    return [runs.runs[arm].values["users"][user] for arm in arms for user in users]


CASES = [(["hue60"], ["a"]), (["hue60", "hue300"], ["a", "b"]), (["hue300"], ["b"])]


@pytest.mark.parametrize(("users", "arms"), CASES)
def test_match_rate_is_the_share_of_matches(runs, users, arms):
    matches = [user["one_signature"]["match"] for user in users_of(runs, users, arms)]
    expected = matches.count(True) / len(matches)
    assert compute("match_rate", runs, {"users": users, "arms": arms}) == expected


def test_match_rate_is_neither_all_nor_none_here(runs):
    both = {"users": ["hue60", "hue300"]}
    assert compute("match_rate", runs, both) == 0.75
    assert compute("match_rate", runs, {**both, "arms": "a"}) == 1.0
    assert compute("match_rate", runs, {"users": "hue60", "suspect": "pruned"}) == 0.0


@pytest.mark.parametrize(("users", "arms"), CASES)
def test_angles_go_round_the_circle(runs, users, arms):
    errors, cosines = [], []
    for user in users_of(runs, users, arms):
        found = user["one_signature"]
        turn = cmath.exp(
            1j * math.radians(found["inferred_degrees_fine"] - found["true_degrees"])
        )
        errors.append(abs(math.degrees(cmath.phase(turn))))
        cosines.append(turn.real)
    arguments = {"users": users, "arms": arms}
    assert compute("hue_error", runs, arguments) == pytest.approx(sum(errors) / len(errors))
    assert compute("cosine", runs, arguments) == pytest.approx(sum(cosines) / len(cosines))


def test_a_model_that_never_saw_a_user_is_held_to_the_users_key(runs):
    """Results call such a user unmarked; Table 1 asks how near the reading is to the key."""
    (found,) = users_of(runs, ["hue60"], ["a"])
    inferred = found["one_signature"]["inferred_degrees_fine"]
    assert found["one_signature"]["true_degrees"] != 240.0
    arguments = {"users": "hue60", "arms": "a", "signatures": {"hue60": 240.0}}
    expected = math.cos(math.radians(inferred - 240.0))
    assert compute("cosine", runs, arguments) == pytest.approx(expected)


def test_a_signature_chosen_by_hand_has_no_p(made_up):
    users = {"keyed": {"signature": None}, "hue60": {"signature": 60.0}}
    values = {
        "users": {"keyed": made_up.keyed(-3.0), "hue60": made_up.user()},
        "settings": {"users": users},
    }
    runs = SeedRuns.of({"main": values})
    assert compute("keyed_log10_p", runs, {}) == -3.0
    with pytest.raises(ResultError, match=r"hue60 has a signature chosen by hand: no p"):
        compute("keyed_log10_p", runs, {"users": ["keyed", "hue60"]})


def test_errors_of_either_sign_do_not_cancel(made_up):
    users = {"left": made_up.user(0.0, 350.0), "right": made_up.user(0.0, 10.0)}
    runs = SeedRuns.of({"main": {"users": users}})
    assert compute("hue_error", runs, {"users": ["left", "right"]}) == pytest.approx(10.0)


@pytest.mark.parametrize(("users", "arms"), CASES)
def test_losses_are_read_from_the_curve(runs, users, arms):
    lows, rises, shares, margins = [], [], [], []
    for user in users_of(runs, users, arms):
        shared = user["one_signature"]
        curve = shared["curve"]
        low = min(range(36), key=lambda i, curve=curve: curve[i])
        lows.append(curve[low])
        sides = (curve[low - 3] + curve[(low + 3) % 36]) / 2
        rises.append(sides - curve[low])
        shares.append((sides - curve[low]) / (max(curve) - curve[low]))
        margins.append(shared["margin"])
    arguments = {"users": users, "arms": arms}
    for name, more, values in (
        ("lowest_loss", {}, lows),
        ("sharpness", {}, rises),
        ("sharpness", {"relative": True}, shares),
        ("margin", {}, margins),
    ):
        assert compute(name, runs, arguments | more) == pytest.approx(np.mean(values)), name


def test_a_deeper_curve_is_sharper(runs):
    sharp, flat = (compute("sharpness", runs, {"users": "hue60", "arms": a}) for a in "ab")
    assert sharp == pytest.approx(2.0 * 30 / 180)
    assert flat == pytest.approx(1.0 * 30 / 180)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("keyed_log10_p", {}, -9.5),
        ("user_accuracy", {"users": "hue60"}, 0.9),
        ("user_accuracy", {"users": "hue60", "photos": "original"}, 0.6),
        ("test_accuracy", {}, 0.75),
        ("test_accuracy", {"suspect": "pruned", "arms": "a"}, 0.7),
        ("accuracy_drop", {"before": "a", "after": "b"}, 0.1),
        ("accuracy_drop", {"before": "b", "after": "a"}, -0.1),
        ("crowd_match_rate", {"crowd": "all"}, 0.9),
        ("crowd_match_rate", {"crowd": "all", "key": "wrong_basis_match_rate"}, 0.1),
        ("crowd_match_rate", {"crowd": "all", "suspect": "pruned"}, 0.2),
        ("crowd_hue_error", {"crowd": "all"}, (10.0 + 30.0) / 2),
        # 10° and 70° of 360° are .6 * 10 / 360 and .6 * 70 / 360; the dial does not go round.
        ("pixel_value_error", {"users": "hue60", "arms": "b"}, 0.6 * 10 / 360),
        ("pixel_value_error", {"users": "hue300", "arms": "b", "full_scale": 1.0}, 290 / 360),
        # Eq. 7 by hand: 3 of 4 matched, luck 4/11; and 36 of 40 with p = 1/12.
        ("advantage", {"users": ["hue60", "hue300"]}, (3 - 4 / 11) / 4),
        ("advantage", {"crowd": "all", "chance": 1 / 12}, (72 - 80 / 12) / 80),
        ("advantage", {"users": "hue60", "chance": 0.5}, 0.5),
        ("analysis_value", {"path": "mia.advantage"}, 0.25),
        ("analysis_value", {"path": "gradient_search.*.error_degrees"}, -0.5),
        ("analysis_value", {"path": "gradient_search.*.error_degrees", "absolute": True}, 1.0),
        ("analysis_value", {"path": "gradient_search.*.seconds", "reduce": "max"}, 5.0),
        ("analysis_value", {"path": "mia.by_user.*.x"}, math.nan),
        # (30 + 2 · 10) / 100 and (60 + 2 · 20) / 100.
        ("descent_cost", {"users": ["hue60", "hue300"]}, 0.75),
        ("descent_cost", {"users": "hue300", "arms": "a"}, 1.0),
        ("difference", {"of": "test_accuracy", "first": {"arms": "a"},
                        "second": {"suspect": "pruned", "arms": "a"}}, 0.1),
        ("ratio", {"of": "test_accuracy", "first": {"arms": "a"},
                   "second": {"arms": "b"}}, 0.8 / 0.7),
        ("smallest", {"of": "test_accuracy", "over": "arms", "members": ["a", "b"]}, 0.7),
        ("largest", {"of": "margin", "over": "users", "members": ["hue60", "hue300"],
                     "arguments": {"arms": "a"}}, 0.4),
        ("trend", {"of": "test_accuracy", "over": "arms", "members": ["a", "b"]}, -1.0),
        ("trend", {"of": "test_accuracy", "over": "suspects", "members": ["pruned", "none"]},
         1.0),
    ],
)  # fmt: skip
def test_values_by_hand(runs, name, arguments, expected):
    assert compute(name, runs, arguments) == pytest.approx(expected, nan_ok=True)


def test_every_measure_was_called_here_or_below():
    """Whoever adds a measure adds its twin."""
    assert set(measure_names()) == {
        "accuracy_drop", "advantage", "analysis_value", "cosine", "crowd_hue_error",
        "crowd_match_rate", "descent_cost", "difference", "hue_error",
        "keyed_log10_p", "largest",
        "lowest_loss", "margin", "match_rate", "memorization",
        "memorization_rise", "pixel_value_error", "ratio", "sharpness", "smallest",
        "test_accuracy", "trend", "user_accuracy",
    }  # fmt: skip


def test_memorisation_is_a_difference_of_accuracies(made_up):
    def arm(published: float, original: float) -> dict:
        accuracy = {"published": published, "original": original}
        return {"users": {"keyed": {**made_up.keyed(), "accuracy": accuracy}}}

    runs = SeedRuns.of(
        {"marked": arm(0.95, 0.7), "unmarked": arm(0.9, 0.9), "without": arm(0.5, 0.6)}
    )
    pair = {"user": "keyed", "with_arm": "marked", "without_arm": "without"}
    assert compute("memorization", runs, pair) == pytest.approx(0.95 - 0.5)
    assert compute("memorization", runs, pair | {"photos": "original"}) == pytest.approx(0.1)
    rise = compute(
        "memorization_rise",
        runs,
        {
            "user": "keyed",
            "marked_arm": "marked",
            "unmarked_arm": "unmarked",
            "without_arm": "without",
        },
    )
    assert rise == pytest.approx((0.95 - 0.5) - (0.9 - 0.6))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=7))
def test_trend_is_pearsons_r_of_ranks(values):
    runs = SeedRuns.of({f"x{i}": {"model": {"test_accuracy": v}} for i, v in enumerate(values)})
    found = compute(
        "trend", runs, {"of": "test_accuracy", "over": "arms", "members": list(runs.runs)}
    )
    ranks = [sum(w < v for w in values) + (sum(w == v for w in values) + 1) / 2 for v in values]
    if len(set(values)) == 1:
        assert found == 0.0
    else:
        assert found == pytest.approx(np.corrcoef(range(len(values)), ranks)[0, 1])


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("match_rate", {"users": "nobody"}, "a.json has no users.nobody; there: hue60, hue300"),
        ("match_rate", {"users": "keyed"}, "a.json has no users.keyed.one_signature.match"),
        ("match_rate", {"users": "hue60", "suspect": "x"}, "has no suspects.x; there: pruned"),
        ("match_rate", {"users": "hue60", "arms": "c"}, "there is no arm 'c'; known: a, b"),
        ("analysis_value", {"path": "mia.by_user.*.y"}, "analyses.mia.by_user.a.y; there: x"),
        ("analysis_value", {"path": "mia.advantage.*"}, "mia.advantage holds nothing by name"),
        ("analysis_value", {"path": "mia.by_user"}, "analyses.mia.by_user must be a number"),
        ("advantage", {}, "give either users or a crowd"),
        ("match_rat", {}, "measure must be one of .* did you mean 'match_rate'"),
        ("match_rate", {"user": "a"}, "measure 'match_rate': missing a required argument"),
        ("crowd_match_rate", {"crowd": "all", "key": "x"}, "key must be one of match_rate"),
        ("trend", {"of": "margin", "over": "x", "members": ["a"]}, "over must be one of arms"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(runs, name, arguments, message):
    with pytest.raises(ValueError, match=message):
        compute(name, runs, arguments)


def test_an_arm_without_a_file_is_not_yet_run(runs):
    incomplete = SeedRuns(runs.files, {"a": runs.runs["a"]})
    assert compute("test_accuracy", incomplete, {"arms": "a"}) == 0.8
    with pytest.raises(NotYetRunError, match=r"b\.json is not there: not yet run"):
        compute("test_accuracy", incomplete, {})


def test_null_is_not_a_number_and_never_a_match():
    shared = {
        "match": False,
        "true_degrees": 60.0,
        "inferred_degrees_fine": None,
        "curve": [None, 1.0],
        "margin": None,
    }
    runs = SeedRuns.of({"main": {"users": {"u": {"one_signature": shared}}}})
    for name in ("hue_error", "cosine", "margin", "lowest_loss", "sharpness"):
        assert math.isnan(compute(name, runs, {"users": "u"})), name
    assert compute("match_rate", runs, {"users": "u"}) == 0.0


def test_a_path_into_something_else_is_an_error():
    run = Run("f.json", {"a": {"b": [1, None, "x"]}, "t": "text"})
    with pytest.raises(ResultError, match=r"f\.json: a\.b must be a list of numbers"):
        run.numbers("a.b")
    with pytest.raises(ResultError, match=r"f\.json: t must be a number, got 'text'"):
        run.number("t")
    with pytest.raises(ResultError, match=r"f\.json has no t\.x; there: no parts"):
        run.at("t.x")


def test_arguments_are_checked_without_results():
    check_call("match_rate", {"users": "a"})
    with pytest.raises(ValueError, match="unexpected keyword argument 'usr'"):
        check_call("keyed_log10_p", {"usr": "a"})
