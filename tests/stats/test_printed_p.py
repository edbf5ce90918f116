"""A printed p is rounded up, never down, and not far."""

import decimal
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax import stats
from anw_jax.stats.testing import to_base_10


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.one_of(st.floats(-5, 0), st.floats(-3000, 0)))
def test_format_p_rounds_up_and_not_far(log10_p):
    text = stats.format_p(log10_p)
    with decimal.localcontext(prec=50):
        true = decimal.Decimal(10) ** decimal.Decimal(log10_p)
        last_bits = 1 + decimal.Decimal(1e-14 * abs(log10_p))
        assert decimal.Decimal(text) * last_bits >= true
        step = decimal.Decimal("0.0001") if log10_p > -3 else true / 10
        assert decimal.Decimal(text) <= true + step * decimal.Decimal("1.001")


_FLOATS = st.one_of(
    st.floats(0, 1, exclude_min=True),
    st.floats(-320, 0).map(lambda log: max(5e-324, 10.0**log)),
    # Next to numbers of two digits, where a rounding error would show.
    st.builds(
        lambda digits, exponent, above: min(
            1.0, float(np.nextafter(float(f"{digits}e-{exponent}"), above))
        ),
        st.integers(10, 99),
        st.integers(2, 300),
        st.sampled_from([0.0, 2.0]),
    ),
)


@settings(derandomize=True, deadline=None, max_examples=1000)
@given(_FLOATS)
def test_a_printed_p_is_never_smaller_than_the_float(p_value):
    text = stats.format_p_value(p_value)
    assert float(text) >= p_value
    step = 1e-4 if p_value > 1e-3 else max(p_value / 10, 5e-324)
    assert float(text) <= p_value + step * (1 + 1e-9)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.floats(-3000, 0), st.integers(0, 4))
def test_a_printed_logarithm_is_never_smaller(log10_p, digits):
    text = decimal.Decimal(stats.format_log10_p(log10_p, digits))
    with decimal.localcontext(prec=50):
        true = decimal.Decimal(repr(log10_p))
        assert true <= text < true + decimal.Decimal(1).scaleb(-digits)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.floats(-400, 0))
def test_the_p_of_a_result_is_printed_above_the_exact_one(log10_p):
    log_p = log10_p * math.log(10)
    with decimal.localcontext(prec=50):
        exact = decimal.Decimal(log_p).exp()
        assert decimal.Decimal(stats.format_p(to_base_10(log_p))) >= exact


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (1.0, "1"),
        (0.25, "0.25"),
        (0.05, "0.05"),
        (1 / 11, "0.091"),
        (0.0010001, "0.0011"),
        (1e-3, "1e-3"),
        (3e-6, "3e-6"),
        (3.0000001e-6, "3.1e-6"),
        (9.95e-9, "1e-8"),
        (9.9e-9, "9.9e-9"),
        (1e-300, "1e-300"),
    ],
)
def test_format_p_examples(p, text):
    assert stats.format_p(math.log10(p)) == text
