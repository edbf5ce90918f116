"""Commitments of model watermarks, and the bits drawn after the beacon's value."""

import hashlib
import hmac

import numpy as np
import pytest

from anw_jax import keys
from anw_jax.errors import CommitmentError
from anw_jax.keys import Bits, MarkKey, Plan

KEY = MarkKey.for_experiment(1)
VALUE = bytes(range(32))
DECODER = "0f" * 32


def plan_of(**changes) -> Plan:
    fields = {"mark": f"multitask:{DECODER}", "beacon": "arbitrator:Jane", **changes}
    return Plan("bit_signs", 1e-6, **fields)


PLAN = plan_of()


def test_bits_against_a_naive_twin():
    commitment = keys.commit_scheme(KEY, PLAN)

    def field(part: bytes) -> bytes:
        return len(part).to_bytes(8, "big") + part

    message = b"anw_jax/v1/scheme-bits\0" + field(bytes.fromhex(commitment))
    message += field(b"arbitrator:Jane") + field(VALUE)
    secret = KEY.sub_key("scheme bits")
    expected = []
    for number in range(600):
        block = hmac.new(secret, message + (number // 256).to_bytes(4, "big"), hashlib.sha256)
        byte = block.digest()[number % 256 // 8]
        expected.append(1 if byte >> (7 - number % 8) & 1 else -1)
    assert keys.draw_bits(KEY, PLAN, 600, beacon=VALUE).signs.tolist() == expected


def test_the_first_bits_do_not_depend_on_their_number():
    many = keys.draw_bits(KEY, PLAN, 700, beacon=VALUE).signs
    for count in (1, 255, 256, 257):
        few = keys.draw_bits(KEY, PLAN, count, beacon=VALUE).signs
        np.testing.assert_array_equal(few, many[:count])


@pytest.mark.parametrize(
    "other",
    [
        (MarkKey.for_experiment(2), PLAN, VALUE),
        (MarkKey(KEY.secret), PLAN, VALUE),
        (KEY, plan_of(mark="multitask:" + "0e" * 32), VALUE),
        (KEY, plan_of(number=2), VALUE),
        (KEY, plan_of(beacon="arbitrator:Jame"), VALUE),
        (KEY, PLAN, VALUE[:-1] + b"\x20"),
        (keys.one_time_key(KEY, 1), PLAN, VALUE),
        (keys.one_time_key(KEY, 2), PLAN, VALUE),
    ],
)
def test_any_change_redraws_half_of_the_bits(other):
    key, plan, value = other
    first = keys.draw_bits(KEY, PLAN, 2_000, beacon=VALUE).signs
    second = keys.draw_bits(key, plan, 2_000, beacon=value).signs
    assert 880 < (first == second).sum() < 1_120  # 5 standard deviations


def test_bits_are_fair_and_independent():
    draws = np.stack(
        [
            keys.draw_bits(KEY, PLAN, 64, beacon=number.to_bytes(32, "big")).signs
            for number in range(4_000)
        ]
    ).astype(float)
    correlations = draws.T @ draws / len(draws) - np.eye(64)
    assert np.abs(draws.mean(axis=0)).max() < 5 / np.sqrt(4_000)
    assert np.abs(correlations).max() < 5 / np.sqrt(4_000)


def test_a_commitment_opens_with_its_key_and_plan_alone():
    commitment = keys.commit_scheme(KEY, PLAN)
    keys.check_scheme_commitment(commitment, KEY, PLAN)
    for key, plan in ((MarkKey.for_experiment(2), PLAN), (KEY, plan_of(number=2))):
        with pytest.raises(CommitmentError, match="does not open"):
            keys.check_scheme_commitment(commitment, key, plan)
    with pytest.raises(CommitmentError, match="64 lower-case hex digits"):
        keys.check_scheme_commitment("0F" * 32, KEY, PLAN)


@pytest.mark.parametrize(
    ("plan", "value"), [(PLAN, b""), (PLAN, b"short"), (plan_of(beacon=""), VALUE)]
)
def test_no_bits_without_the_value_that_the_plan_names(plan, value):
    with pytest.raises(CommitmentError):
        keys.draw_bits(KEY, plan, 8, beacon=value)


def test_one_time_keys_differ_and_keep_their_origin():
    first, second = keys.one_time_key(KEY, 1), keys.one_time_key(KEY, 2)
    assert len({KEY.secret, first.secret, second.secret}) == 3
    assert first.origin == KEY.origin == "experiment"
    with pytest.raises(ValueError, match="number must be at least 1, got 0"):
        keys.one_time_key(KEY, 0)


def test_secret_bits_are_not_printed():
    bits = Bits(np.array([1, -1, 1]))
    assert f"{bits!r}" == str(bits) == "Bits(<3 secret bits>)"
    for wrong in ([0, 1], [[1, -1]], [], [2]):
        with pytest.raises(ValueError, match="values given are not shown"):
            Bits(np.array(wrong))
    with pytest.raises(ValueError, match="read-only"):
        bits.signs[0] = -1


def test_plans_of_the_two_kinds_are_kept_apart():
    photos = Plan("losses", 0.1)
    with pytest.raises(ValueError, match="commit to marked photos with commit"):
        keys.commit_scheme(KEY, photos)
    manifest = keys.Manifest.of(np.zeros((1, 2, 2, 3), np.uint8), keys.SignatureSpace())
    with pytest.raises(ValueError, match="with commit_scheme"):
        keys.commit(KEY, manifest, PLAN)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"mode": "sequential"}, "mode of a model watermark must be one of sealed"),
        ({"labels": "0f" * 32}, "labels must be left out"),
        ({"references": ("0f" * 32,)}, "references must be left out"),
        ({"rules": (keys.AccessRule("logits"),)}, "rules must be left out"),
    ],
)
def test_a_plan_of_a_scheme_has_no_settings_of_photos(changes, text):
    with pytest.raises(ValueError, match=text):
        plan_of(**changes)


def test_statistics_belong_to_their_kind_of_mark():
    with pytest.raises(ValueError, match="statistic must be one of bit_signs, bounded_bits"):
        Plan("losses", 0.1, mark=f"multitask:{DECODER}")
    with pytest.raises(ValueError, match="statistic must be one of log_losses"):
        Plan("bit_signs", 0.1)


def test_a_plan_of_a_scheme_is_read_back_as_written():
    assert Plan.from_json(PLAN.as_json()) == PLAN
    assert PLAN.rules == ()
    assert PLAN.digest == Plan.from_json(PLAN.as_json()).digest


CUSTOMER, NONCE = "ab" * 32, bytes(range(32, 64))


def code_of(key=KEY, plan=PLAN, bits=304, customer=CUSTOMER, nonce=NONCE, value=VALUE):
    return keys.customer_code(key, plan, bits, customer, nonce, beacon=value).signs


def test_a_customers_code_against_a_naive_twin():
    fields = [bytes.fromhex(keys.commit_scheme(KEY, PLAN)), PLAN.beacon.encode(), VALUE]
    fields += [bytes.fromhex(CUSTOMER), NONCE]
    message = b"anw_jax/v1/customer-code\0" + b"".join(
        len(part).to_bytes(8, "big") + part for part in fields
    )
    key = KEY.sub_key("customer codes")
    blocks = b"".join(
        hmac.new(key, message + number.to_bytes(4, "big"), hashlib.sha256).digest()
        for number in range(2)
    )
    text = "".join(f"{byte:08b}" for byte in blocks)[:304]
    assert code_of().tolist() == [1 if bit == "1" else -1 for bit in text]


def test_codes_of_others_are_unrelated():
    own = code_of()
    others = [
        code_of(key=MarkKey.for_experiment(2)),
        code_of(plan=plan_of(number=2)),
        code_of(customer="ac" * 32),
        code_of(nonce=bytes(32)),
        code_of(value=bytes(32)),
        keys.draw_bits(KEY, PLAN, 304, beacon=VALUE).signs,
    ]
    for other in others:
        assert abs((own == other).sum() - 152) < 44  # five standard deviations
    assert np.array_equal(own[:9], code_of(bits=9))


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"customer": "AB" * 32}, ValueError, "customer must be 64 lower-case hex digits"),
        ({"nonce": b"short"}, ValueError, "nonce must have 32 bytes, got 5"),
        ({"nonce": "0f"}, TypeError, "nonce"),
        ({"value": b""}, CommitmentError, "a value is missing"),
    ],
)
def test_bad_input_of_a_code_is_one_error(changes, kind, text):
    with pytest.raises(kind, match=text):
        code_of(**changes)
