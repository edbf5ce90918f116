import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.partition.shamir import PRIME, SHARE_BYTES, join_shares, split_secret

SECRET = bytes(range(32))


def test_every_subset_of_the_threshold_gives_the_secret_and_smaller_ones_do_not():
    shares = dict(enumerate(split_secret(SECRET, 5, 3), 1))
    for chosen in itertools.combinations(shares, 3):
        assert join_shares({x: shares[x] for x in chosen}) == SECRET
    for chosen in itertools.combinations(shares, 2):
        with pytest.raises(ValueError, match="too few, or one was changed"):
            join_shares({x: shares[x] for x in chosen})


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.binary(min_size=32, max_size=32), st.integers(1, 12), st.integers(0, 8), st.randoms())
def test_any_subset_and_order_joins(secret, threshold, more, random):
    shares = split_secret(secret, threshold + more, threshold)
    chosen = random.sample(range(len(shares)), threshold)
    assert join_shares({x + 1: shares[x] for x in chosen}) == secret


def test_two_shares_lie_on_a_line_through_the_secret():
    """The naive twin for a threshold of two: s = 2 y1 - y2."""
    one, two = (int.from_bytes(share, "big") for share in split_secret(SECRET, 2, 2))
    assert (2 * one - two) % PRIME == int.from_bytes(SECRET, "big")


def test_one_share_of_two_fits_every_secret():
    share = split_secret(SECRET, 2, 2)[0]
    for other in (bytes(32), b"\xff" * 32):
        slope = int.from_bytes(share, "big") - int.from_bytes(other, "big")
        second = (int.from_bytes(other, "big") + 2 * slope) % PRIME
        assert join_shares({1: share, 2: second.to_bytes(SHARE_BYTES, "big")}) == other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((bytes(31), 3, 2), "secret must have 32 bytes, got 31"),
        ((SECRET, 3, 0), "threshold must be at least 1"),
        ((SECRET, 2, 3), "num_shares must be at least 3"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        split_secret(*arguments)


def test_a_share_of_another_length_is_refused():
    with pytest.raises(ValueError, match="shares must have 66 bytes"):
        join_shares({1: bytes(65)})
