"""A verified time stamp replaces the arbitrator's word on the order, if it is early enough."""

import dataclasses
import datetime

import pytest

from anw_jax.keys import Plan
from anw_jax.keys.beacons import QUICKNET, drand_after, read_beacon
from anw_jax.keys.stamps import KINDS, Stamp, hours_ahead
from anw_jax.verify import Statements
from anw_jax.verify.statements import conditions_of

PLAN = Plan("losses", 1e-6, beacon=f"drand:{QUICKNET}:1000")
VALUE = read_beacon(PLAN.beacon).time
SECOND = datetime.timedelta(seconds=1)
LEAST = {"rfc3161": datetime.timedelta(hours=1), "opentimestamps": datetime.timedelta(hours=24)}
OTHERS = {"found": 1, "models_tried": 1, "nothing_else": True}


def conditions(*stamps, plan=PLAN, **stated):
    return conditions_of(plan, Statements(**OTHERS, stamps=stamps, **stated))


@pytest.mark.parametrize("kind", KINDS)
def test_an_early_stamp_shows_order_and_commitment(kind):
    assert conditions(Stamp(kind, VALUE - LEAST[kind], "T")) == ()
    assert len(conditions()) == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("late", [SECOND, datetime.timedelta(days=2)])
def test_a_stamp_too_close_or_too_late_does_not(kind, late):
    order, copy = conditions(Stamp(kind, VALUE - LEAST[kind] + late, "T"))
    assert order.startswith("the commitment is older than the beacon's value (the ")
    assert f"must be at least {LEAST[kind] // datetime.timedelta(hours=1)} h before" in order
    assert "it was not compared with a copy" in copy


def test_one_early_stamp_of_two_is_enough():
    late = Stamp("opentimestamps", VALUE - LEAST["rfc3161"], "T")
    assert conditions(late, Stamp("rfc3161", VALUE - LEAST["rfc3161"], "T")) == ()
    assert len(conditions(late)) == 2


def test_a_late_stamp_leaves_the_arbitrators_word():
    late = Stamp("rfc3161", VALUE, "T")
    word = {"commitment": "0f" * 32, "held_since": "2023-08-23T15:00:00Z"}
    assert conditions(late, **word) == ()
    assert len(conditions(late, **{**word, "held_since": "2023-08-23T17:00:00Z"})) == 1


@pytest.mark.parametrize("beacon", ["arbitrator:Jane Doe", "nist:2:1234567"])
def test_without_the_values_time_a_stamp_shows_no_order(beacon):
    plan = dataclasses.replace(PLAN, beacon=beacon)
    stamp = Stamp("rfc3161", VALUE - LEAST["rfc3161"], "T")
    order, _ = conditions(stamp, plan=plan)
    assert "was compared with no time of a value" in order
    assert conditions(stamp, plan=plan, value_appeared=VALUE.isoformat()) == ()
    assert conditions(stamp, plan=plan, value_appeared=(VALUE - SECOND).isoformat()) != ()


@pytest.mark.parametrize(
    ("beacon", "word"), [("", "no public beacon"), ("a coin toss", "no beacon of a known kind")]
)
def test_a_stamp_mends_no_bad_beacon(beacon, word):
    plan = dataclasses.replace(PLAN, beacon=beacon)
    stamp = Stamp("rfc3161", VALUE - LEAST["rfc3161"], "T")
    assert word in conditions(stamp, plan=plan, value_appeared=VALUE.isoformat())[0]


def test_a_stamp_proves_time_and_not_number():
    stamp = Stamp("rfc3161", VALUE - LEAST["rfc3161"], "T")
    (number,) = conditions_of(
        PLAN, Statements(models_tried=1, nothing_else=True, stamps=(stamp,))
    )
    assert "no other commitment to choose from" in number


def test_stamps_are_listed_as_verified_not_as_stated():
    stamp = Stamp("rfc3161", VALUE - LEAST["rfc3161"], "CN=T")
    assert Statements(stamps=(stamp,)).lines() == [
        "verified: RFC 3161 time stamp of 2023-08-23T14:59:24+00:00 by CN=T"
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_commitment_leaves_as_long_again_for_the_stamp(kind):
    now = datetime.datetime(2026, 11, 3, 10, tzinfo=datetime.UTC)
    appears = read_beacon(drand_after(now, hours_ahead(kind))).time
    assert Stamp(kind, now + LEAST[kind], "T").precedes(appears)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("rfc3162", VALUE, "T"), "kind must be one of"),
        (("rfc3161", VALUE.replace(tzinfo=None), "T"), "time must have a time zone"),
    ],
)
def test_bad_stamps(fields, message):
    with pytest.raises(ValueError, match=message):
        Stamp(*fields)
