"""The names a plan may hold are those that statistics and marks answer to."""

import numpy as np
import pytest

from anw_jax import stats
from anw_jax.keys import Plan, plan_fields
from anw_jax.marks import HueRotation, PixelMark, UserLCT

DIGEST = "0f" * 32
MARKS = (
    HueRotation(),
    UserLCT.from_sub_key(bytes(32)),
    UserLCT(np.eye(3)),
    PixelMark(bytes(32), 32, 32),
    PixelMark(bytes(32), 8, 8, num_pixels=1, full_scale=1),
    PixelMark(bytes(32), 8, 8, num_pixels=20, full_scale=1e-7),
)


def test_each_name_has_a_score_and_no_score_is_without_a_name():
    assert tuple(stats.STATISTICS) == plan_fields.STATISTICS
    assert {*stats.scores._SCORE_FNS, *plan_fields.IMAGE_STATISTICS} == {
        *plan_fields.STATISTICS
    }
    assert not {*stats.scores._SCORE_FNS} & {*plan_fields.IMAGE_STATISTICS}
    assert stats.DEFAULT_STATISTIC in plan_fields.STATISTICS


@pytest.mark.parametrize("statistic", stats.STATISTICS)
def test_plans_take_each_statistic(statistic):
    assert Plan(statistic, 0.1).statistic == statistic
    if statistic in stats.SEQUENTIAL_STATISTICS:
        assert Plan(statistic, 0.1, mode="sequential").statistic == statistic


@pytest.mark.parametrize("statistic", ["log_loss", "Losses", "losses ", "", "hits\0"])
def test_plans_refuse_a_statistic_that_nothing_computes(statistic):
    with pytest.raises(ValueError) as raised:
        Plan(statistic, 1e-6)
    beginning = (
        "statistic must be one of log_losses, losses, centred, ranks, hits, "
        "bounded_log_losses; got "
    )
    assert str(raised.value).startswith(beginning + repr(statistic))


def test_a_sequential_plan_refuses_what_needs_the_whole_table():
    with pytest.raises(ValueError) as raised:
        Plan("centred", 1e-6, mode="sequential")
    assert str(raised.value) == (
        "statistic must be one of log_losses, losses, ranks, hits, bounded_log_losses; "
        "got 'centred'"
    )


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: type(mark).__name__)
def test_plans_take_the_description_of_each_mark(mark):
    assert Plan("losses", 0.1, mark.description).mark == mark.description


@pytest.mark.parametrize(
    "mark",
    [
        "hue_rotatoin",
        "",
        "hue_rotation ",
        "hue_rotation:",
        "linear",
        "user_lct",
        "user_lct:0",
        f"user_lct:{DIGEST.upper()}",
        f"user_lct:{DIGEST}\n",
        f"user_lct:{DIGEST}:{DIGEST}",
        f"pixel_mark:512:0.6:{DIGEST[1:]}",
        f"pixel_mark:0:0.6:{DIGEST}",
        f"pixel_mark:0512:0.6:{DIGEST}",
        f"pixel_mark:٥:0.6:{DIGEST}",
        f"pixel_mark:512:0.60:{DIGEST}",
        f"pixel_mark:512:1.5:{DIGEST}",
        f"pixel_mark:512:nan:{DIGEST}",
        f"pixel_mark:512:0.0:{DIGEST}",
        f"pixel_mark:512:x:{DIGEST}",
        f"pixel_mark:0.6:{DIGEST}",
    ],
)
def test_plans_refuse_what_no_mark_says_of_itself(mark):
    with pytest.raises(ValueError) as raised:
        Plan("losses", 0.1, mark)
    assert str(raised.value).startswith(
        "mark must be hue_rotation, user_lct:DIGEST, pixel_mark:NUMBER:SCALE:DIGEST or "
        f"own:TEXT, as a mark's description says it; got {mark!r}"
    )


def test_marks_from_elsewhere_say_that_they_are():
    assert Plan("losses", 0.1, "own:tint:v2").mark == "own:tint:v2"
    for mark in ("own", "own:", "own::", "Own:tint"):
        with pytest.raises(ValueError, match="as a mark's description says it; got"):
            Plan("losses", 0.1, mark)


def test_a_near_name_is_suggested_and_a_right_one_is_not():
    with pytest.raises(ValueError, match=r"got 'hue_rotatoin'; did you mean 'hue_rotation'\?$"):
        Plan("losses", 0.1, "hue_rotatoin")
    with pytest.raises(ValueError, match=r"got 'user_lct:0'$"):
        Plan("losses", 0.1, "user_lct:0")


def test_a_mark_is_named_by_text_not_by_itself():
    with pytest.raises(TypeError, match="mark must be a plain str, got HueRotation"):
        Plan("losses", 0.1, HueRotation())
