"""What the names of beacons say: their forms, times, addresses and values."""

import datetime
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.keys import Plan
from anw_jax.keys.beacons import (
    QUICKNET,
    check_value,
    drand_after,
    read_beacon,
    value_of,
)
from tests.keys.drand import APPEARED, ROUND_1000

DEFAULT_CHAIN = "8990e7a9aaed2ffed73dbd7092123d6f289930540d7651336225dc172e51b2ce"
ROUND = f"drand:{QUICKNET}:1000"
PULSE = "nist:2:1234567"
DIGITS = "0123456789abcdef" * 4
UTC = datetime.UTC

# As the service's documentation shows it, shortened.
DRAND_JSON = {"round": 1000, "randomness": DIGITS}
NIST_JSON = {
    "pulse": {
        "uri": "https://beacon.nist.gov/beacon/2.0/chain/2/pulse/1234567",
        "version": "2.0",
        "period": 60000,
        "chainIndex": 2,
        "pulseIndex": 1234567,
        "timeStamp": "2022-01-01T00:00:00.000Z",
        "localRandomValue": "FF" * 64,
        "outputValue": DIGITS.upper() * 2,
    }
}


# --- Names. ---


@pytest.mark.parametrize(
    ("name", "kind", "num_bytes", "address"),
    [
        (ROUND, "drand", 32, f"https://api.drand.sh/{QUICKNET}/public/1000"),
        (f"drand:{'0' * 64}:7", "drand", 32, f"https://api.drand.sh/{'0' * 64}/public/7"),
        (PULSE, "nist", 64, "https://beacon.nist.gov/beacon/2.0/chain/2/pulse/1234567"),
        ("arbitrator:Jane Doe, Bern", "arbitrator", 32, ""),
        ("arbitrator:J: no. 4", "arbitrator", 32, ""),
        ("", "", 0, ""),
        ("seed 7 of this run", "", 0, ""),
        ("drand quicknet round 25000000", "", 0, ""),
        ("lottery: numbers of 2026-12-01", "", 0, ""),
    ],
)
def test_forms(name, kind, num_bytes, address):
    beacon = read_beacon(name)
    assert (beacon.name, beacon.kind) == (name, kind)
    assert (beacon.num_bytes, beacon.address) == (num_bytes, address)


@pytest.mark.parametrize(
    "name",
    [
        "drand:",
        "drand:quicknet:1000",
        f"drand:{QUICKNET}",
        f"drand:{QUICKNET}:",
        f"drand:{QUICKNET}:0",
        f"drand:{QUICKNET}:-1",
        f"drand:{QUICKNET}:01000",
        f"drand:{QUICKNET}:1000 ",
        f"drand:{QUICKNET}:1000\n",
        f"drand:{QUICKNET}:1e3",
        f"drand:{QUICKNET}:١٠٠",
        f"drand:{QUICKNET}:{'9' * 19}",
        f"drand:{QUICKNET[1:]}:1000",
        f"drand:{QUICKNET.upper()}:1000",
        f"drand: {QUICKNET}:1000",
        f"drand:{QUICKNET}:1000:1",
        "nist:2",
        "nist:2:0",
        "nist:chain 2:5",
        "nist::5",
        "arbitrator:",
        "arbitrator: ",
        "arbitrator::x",
        "arbitrator:a\nb",
        f"arbitrator:{'x' * 201}",
    ],
)
def test_what_begins_like_a_kind_has_its_form(name):
    with pytest.raises(ValueError, match="beacon must have the form drand:CHAIN HASH:ROUND"):
        read_beacon(name)
    with pytest.raises(ValueError, match="beacon must have the form"):
        Plan("losses", 0.01, beacon=name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        (f"Drand:{QUICKNET}:1000", "drand"),
        (f" drand:{QUICKNET}:1000", "drand"),
        (f"drand :{QUICKNET}:1000", "drand"),
        (f"dran:{QUICKNET}:1000", "drand"),
        ("NIST:2:5", "nist"),
        ("nst:2:5", "nist"),
        ("Arbitrator:Jane", "arbitrator"),
        ("arbiter:Jane", "arbitrator"),
        ("arbitrators:Jane", "arbitrator"),
    ],
)
def test_a_near_miss_is_refused_when_the_plan_is_made(name, meant):
    """As a text of no known kind it would make every verdict conditional, found too late."""
    with pytest.raises(ValueError, match=f"must be of kind drand.*did you mean '{meant}'"):
        Plan("losses", 0.01, beacon=name)


def test_a_long_name_is_quoted_whole_in_an_error():
    with pytest.raises(ValueError, match=f"beacon 'drand:{QUICKNET[:12]}…:1000' must be hex"):
        value_of(f"drand:{QUICKNET}:1000", "zzz")


# --- Times. ---


@pytest.mark.parametrize(
    ("chain", "number", "moment"),
    [
        (QUICKNET, 1, "2023-08-23T15:09:27+00:00"),
        (QUICKNET, 2, "2023-08-23T15:09:30+00:00"),
        (QUICKNET, 1000, "2023-08-23T15:59:24+00:00"),
        (DEFAULT_CHAIN, 1, "2020-07-22T15:17:30+00:00"),
        (DEFAULT_CHAIN, 3, "2020-07-22T15:18:30+00:00"),
    ],
)
def test_when_a_round_appears(chain, number, moment):
    assert read_beacon(f"drand:{chain}:{number}").time.isoformat() == moment


def test_times_that_nobody_can_compute():
    assert read_beacon(f"drand:{'0' * 64}:5").time is None
    assert read_beacon(PULSE).time is None
    assert read_beacon("arbitrator:Jane").time is None
    for number in (10**12, 10**17):
        with pytest.raises(ValueError, match=f"round {number}, which is beyond all dates"):
            read_beacon(f"drand:{QUICKNET}:{number}")


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.datetimes(
        datetime.datetime(2019, 1, 1), datetime.datetime(2100, 1, 1), timezones=st.timezones()
    ),
    st.sampled_from([0.01, 1.0, 2.0, 48.0]),
    st.sampled_from([QUICKNET, DEFAULT_CHAIN]),
)
def test_the_round_ahead_is_the_first_that_is_late_enough(moment, hours, chain):
    name = drand_after(moment, hours, chain)
    number = int(name.rpartition(":")[2])
    earliest = moment.astimezone(UTC) + datetime.timedelta(hours=hours)
    slack = datetime.timedelta(microseconds=1)  # a float of seconds has no more digits
    assert read_beacon(name).time >= earliest - slack
    if number > 1:
        assert read_beacon(f"drand:{chain}:{number - 1}").time < earliest + slack


def test_a_round_ahead_needs_a_moment_and_a_known_chain():
    now = datetime.datetime(2026, 11, 3, tzinfo=UTC)
    with pytest.raises(ValueError, match="moment must have a time zone, got 2026-11-03T00"):
        drand_after(now.replace(tzinfo=None))
    for hours in (0, -1.0):
        with pytest.raises(ValueError, match="hours must be above 0"):
            drand_after(now, hours)
    with pytest.raises(ValueError, match="hours must be finite, got nan"):
        drand_after(now, float("nan"))
    with pytest.raises(ValueError, match="chain must be one of"):
        drand_after(now, chain="0" * 64)


# --- Values. ---


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (ROUND, DIGITS),
        (ROUND, f"  {DIGITS.upper()}\r\n"),
        (ROUND, json.dumps(DRAND_JSON)),
        (ROUND, json.dumps(DRAND_JSON, indent=2) + "\n"),
        (ROUND, "\ufeff" + json.dumps(DRAND_JSON)),
        (ROUND, json.dumps({**DRAND_JSON, "round": "1000", "more": [1]})),
        ("arbitrator:Jane", DIGITS),
        ("arbitrator:Jane", f"\ufeff{DIGITS}\n"),
        ("the weather", DIGITS),
    ],
)
def test_values(name, text):
    assert value_of(name, text) == bytes.fromhex(DIGITS)


def test_values_of_pulses():
    value = bytes.fromhex(DIGITS * 2)
    assert value_of(PULSE, json.dumps(NIST_JSON)) == value
    assert value_of(PULSE, DIGITS * 2) == value
    assert value_of("the weather", "07") == b"\x07"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (ROUND, {**DRAND_JSON, "round": 1001}),
        (ROUND, {**ROUND_1000, "round": 1001}),
        (ROUND, {**DRAND_JSON, "round": 1000.0}),
        (ROUND, {**DRAND_JSON, "round": "01000"}),
        (PULSE, {"pulse": {**NIST_JSON["pulse"], "pulseIndex": 1234568}}),
        (PULSE, {"pulse": {**NIST_JSON["pulse"], "chainIndex": 1}}),
        (PULSE, {"pulse": {**NIST_JSON["pulse"], "chainIndex": True}}),
    ],
)
def test_another_rounds_json_is_refused(name, body):
    with pytest.raises(ValueError, match=r"the JSON is that of .*, and the plan names .*fetch"):
        value_of(name, json.dumps(body))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (ROUND, json.dumps(NIST_JSON)),
        (ROUND, json.dumps({"round": 1000, "signature": DIGITS})),
        (ROUND, json.dumps({**DRAND_JSON, "randomness": None})),
        (ROUND, json.dumps({**ROUND_1000, "randomness": DIGITS})),
        (ROUND, json.dumps({**ROUND_1000, "signature": "b446" * 12})),
        (ROUND, json.dumps({**ROUND_1000, "signature": "xyz"})),
        (ROUND, json.dumps({**ROUND_1000, "signature": 5})),
        (ROUND, json.dumps({**DRAND_JSON, "randomness": [1]})),
        (ROUND, json.dumps(DRAND_JSON)[:-5]),
        (ROUND, "{" * 10**5),
        (ROUND, '{"round":' * 10**5),
        (ROUND, '{"round": ' + "9" * 5000 + "}"),
        (PULSE, json.dumps(DRAND_JSON)),
        (PULSE, json.dumps({"pulse": []})),
        (PULSE, json.dumps({"pulse": "chainIndex"})),
        ("arbitrator:Jane", json.dumps(DRAND_JSON)),
        ("the weather", json.dumps(DRAND_JSON)),
    ],
)
def test_json_without_the_value(name, text):
    with pytest.raises(ValueError, match="is not in this JSON: save the one served at"):
        value_of(name, text)


def test_a_recorded_round():
    assert value_of(ROUND, json.dumps(ROUND_1000)).hex() == ROUND_1000["randomness"]
    assert read_beacon(ROUND).time == APPEARED
    before = APPEARED - datetime.timedelta(hours=2)
    assert drand_after(before) == ROUND


@pytest.mark.parametrize(
    "text", ["", " ", "0", "xyz", f"0x{DIGITS}", f'"{DIGITS}"', "[]", DIGITS[:-1], "é" * 64]
)
def test_texts_that_are_no_digits(text):
    with pytest.raises(ValueError, match=r"must be hexadecimal digits|must have 32 bytes"):
        value_of(ROUND, text)


@pytest.mark.parametrize(
    ("name", "num_bytes"),
    [
        *((ROUND, n) for n in (0, 1, 31, 33, 64)),
        *((PULSE, n) for n in (0, 32, 63, 65)),
        *(("arbitrator:Jane", n) for n in (0, 16, 31, 64)),
        ("the weather", 0),
    ],
)
def test_lengths(name, num_bytes):
    with pytest.raises(ValueError, match=rf"must have (32|64|some) bytes, got {num_bytes}$"):
        check_value(name, bytes(num_bytes))
    with pytest.raises(ValueError, match=r"must have (32|64|some) bytes"):
        value_of(name, "00" * num_bytes)


def test_a_value_is_bytes():
    for value in (DIGITS, bytearray(32), None, 5):
        with pytest.raises(TypeError, match="beacon must be a bytes, got"):
            check_value(ROUND, value)
    check_value(ROUND, bytes(32))
    check_value("the weather", b"7")
