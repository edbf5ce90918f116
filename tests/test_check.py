"""Messages of checks are short, whatever was given: a file may hold anything."""

import functools

import pytest

from anw_jax import _check


@pytest.mark.parametrize(
    "check",
    [
        functools.partial(_check.integer_at_least, 1),
        functools.partial(_check.integer_between, 1, 9),
        _check.finite,
        functools.partial(_check.one_of, ("small", "large")),
    ],
)
def test_a_message_stays_short(check):
    with pytest.raises((TypeError, ValueError), match=r"^size must be ") as error:
        check(size=("x" * 5000,))
    assert len(str(error.value)) < 200
