"""The private basis: drawn from a sub-key alone, mild, bound and hidden."""

import dataclasses
import inspect
import re

import numpy as np
import pytest

from anw_jax.keys import MarkKey
from anw_jax.marks import HueRotation, UserLCT, publish
from anw_jax.marks.private_basis import MAX_CONDITION, MAX_RMS_CHANGE, rms_change

SUB_KEYS = [MarkKey.for_experiment(seed).sub_key("basis") for seed in range(40)]

GOLDEN_BASIS = (
    (0.7431459227752619, 0.5145875969889693, 0.6314714029401034),
    (0.7870111767494266, -0.2962315107371458, -0.9113689139965051),
    (-0.16825608951304627, -0.9008199819689002, 0.271074571968547),
)


@pytest.fixture(scope="module")
def marks():
    return [UserLCT.from_sub_key(sub_key) for sub_key in SUB_KEYS]


def _naive_rms_change(mark):
    squares = []
    for degrees in range(30, 360, 30):
        pixel_map = mark.matrix(degrees)
        for red in (0, 0.25, 0.5, 0.75, 1):
            for green in (0, 0.25, 0.5, 0.75, 1):
                for blue in (0, 0.25, 0.5, 0.75, 1):
                    colour = np.array([red, green, blue])
                    squares += list((np.clip(pixel_map @ colour, 0, 1) - colour) ** 2)
    return np.sqrt(np.mean(squares))


def test_draws_are_mild(marks):
    for mark in marks:
        assert np.linalg.cond(mark.basis) <= MAX_CONDITION
        assert rms_change(mark) <= MAX_RMS_CHANGE
        assert np.abs(mark.basis).max() < 1
    assert rms_change(marks[0]) == pytest.approx(_naive_rms_change(marks[0]), abs=1e-12)
    assert rms_change(HueRotation()) == pytest.approx(_naive_rms_change(HueRotation()))


def test_draws_differ_and_fill_the_interval(marks):
    entries = np.array([mark.basis for mark in marks])
    assert len(np.unique(entries)) == entries.size
    assert abs(entries.mean()) < 0.15
    assert entries.min() < -0.9
    assert entries.max() > 0.9


def test_draw_is_a_function_of_the_sub_key(marks):
    assert UserLCT.from_sub_key(SUB_KEYS[3]) == marks[3]
    # Golden: a change of the derivation would orphan every published photo.
    expected = UserLCT.from_sub_key(bytes(32)).basis
    np.testing.assert_allclose(expected, np.array(GOLDEN_BASIS), atol=1e-12)


def test_rejection_depends_on_the_basis_alone():
    assert list(inspect.signature(UserLCT.from_sub_key).parameters) == ["sub_key"]
    assert list(inspect.signature(rms_change).parameters) == ["mark"]
    # Another slot key, the same basis: the slots cannot have had a say.
    key = MarkKey.for_experiment(0)
    assert key.sub_key("basis") != key.sub_key("slots")
    mark = UserLCT.from_sub_key(key.sub_key("basis"))
    assert rms_change(mark) == rms_change(UserLCT(mark.rows))


def test_wrong_basis_marks_otherwise(marks, small_images):
    right = publish(marks[0], small_images, 60.0).astype(int)
    wrong = publish(marks[1], small_images, 60.0).astype(int)
    assert np.abs(right - wrong).mean() > 10


def test_description_binds_and_hides_the_basis(marks):
    descriptions = {mark.description for mark in marks}
    assert len(descriptions) == len(marks)
    for sub_key, mark in zip(SUB_KEYS, marks, strict=True):
        assert re.fullmatch(r"user_lct:[0-9a-f]{64}", mark.description)
        for public in (mark.description, repr(mark)):
            assert sub_key.hex() not in public
            assert not any(str(abs(entry)) in public for entry in mark.basis.ravel())
    by_rows = UserLCT(marks[0].rows)
    moved = UserLCT(marks[0].basis + 1e-12)
    assert by_rows.description != moved.description


def test_basis_is_kept_as_plain_numbers(marks):
    mark = UserLCT(np.eye(3))
    assert mark.rows == ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    assert hash(mark) == hash(UserLCT(np.eye(3).tolist()))
    with pytest.raises(dataclasses.FrozenInstanceError):
        mark.rows = ()
    np.testing.assert_array_equal(marks[0].basis, UserLCT(marks[0].rows).basis)


def _refuses(kind, message, fun, *args):
    with pytest.raises(kind) as caught:
        fun(*args)
    assert str(caught.value) == message


@pytest.mark.parametrize("digest", ["ann", "0F" * 32, "0f" * 31])
def test_a_digest_that_no_plan_could_name_is_refused(digest):
    message = f"sub_key_digest must be 64 lower-case hex digits or empty, got {digest!r}"
    _refuses(ValueError, message, UserLCT, np.eye(3), digest)


@pytest.mark.parametrize("sub_key", [b"", bytes(31), bytes(64), "0" * 32, bytearray(32)])
def test_sub_keys_must_be_32_bytes(sub_key):
    message = (
        'sub_key must be 32 bytes (mark_key.sub_key("basis")); the value given is not shown'
    )
    _refuses(ValueError, message, UserLCT.from_sub_key, sub_key)


def test_rows_must_be_an_invertible_3x3():
    _refuses(
        ValueError, "rows must be 3x3 finite numbers, got shape (2, 2)", UserLCT, np.eye(2)
    )
    nan = np.full((3, 3), np.nan)
    _refuses(ValueError, "rows must be 3x3 finite numbers, got shape (3, 3)", UserLCT, nan)
    steep = np.diag([1.0, 1.0, 1e-4])
    limit = "rows must have a condition number of at most 1000, got "
    _refuses(ValueError, limit + "1e+04", UserLCT, steep)
    _refuses(ValueError, limit + "inf", UserLCT, np.zeros((3, 3)))
