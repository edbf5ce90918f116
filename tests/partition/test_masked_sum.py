import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax.errors import AggregationError
from anw_jax.partition import Member, from_fixed_point, to_fixed_point, unmasked_sum
from anw_jax.partition import masked_sum as module


class Played:
    """A whole sum; some parties leave before they share, send their vector, or reveal."""

    def __init__(self, values, threshold, no_share=(), no_vector=(), no_reveal=()):
        count = len(values)
        self.threshold = threshold
        self.members = {n: Member(n, count, threshold) for n in range(1, count + 1)}
        self.keys = {n: member.public_keys for n, member in self.members.items()}
        self.sharers = [n for n in self.members if n not in no_share]
        packets = {n: self.members[n].share(self.keys) for n in self.sharers}
        senders = [n for n in self.sharers if n not in no_vector]
        self.masked = {
            n: self.members[n].mask(
                values[n - 1], {m: packets[m][n] for m in self.sharers if m != n}
            )
            for n in senders
        }
        stayed = [n for n in senders if n not in no_reveal]
        self.revealed = {n: self.members[n].reveal(senders) for n in stayed}

    def total(self, **changed):
        parts = {
            name: getattr(self, name)
            for name in ("masked", "keys", "sharers", "revealed", "threshold")
        }
        return unmasked_sum(**parts | changed)


def vectors(count: int, length: int = 50) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 2**64, (count, length), dtype=np.uint64)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("count", [11])
@pytest.mark.parametrize("when", ["no_share", "no_vector", "no_reveal"])
def test_the_sum_is_exact_with_drop_outs(count, share, when):
    values, rng = vectors(count), np.random.default_rng(7)
    gone = rng.choice(np.arange(1, count + 1), int(share * count), replace=False).tolist()
    played = Played(values, count // 2 + 1, **{when: gone})
    counted = values if when == "no_reveal" else np.delete(values, np.array(gone, int) - 1, 0)
    np.testing.assert_array_equal(played.total(), counted.sum(0, dtype=np.uint64))


@settings(derandomize=True, deadline=None, max_examples=8)
@given(st.integers(3, 8), st.data())
def test_any_mixture_of_drop_outs_above_the_threshold(count, draw):
    threshold = count // 2 + 1
    fates = draw.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    while sum(fate == 0 for fate in fates) < threshold:
        fates[next(i for i, fate in enumerate(fates) if fate)] = 0
    gone = {k: [n for n, f in enumerate(fates, 1) if f == k] for k in (1, 2, 3)}
    values = vectors(count, 5)
    played = Played(values, threshold, gone[1], gone[2], gone[3])
    counted = values[[f in (0, 3) for f in fates]]
    np.testing.assert_array_equal(played.total(), counted.sum(0, dtype=np.uint64))


def test_a_masked_vector_shows_nothing_of_the_vector():
    """Bytes of masked zeros are uniform, and differ from one sum to the next."""
    zeros = np.zeros((3, 4_000), np.uint64)
    one, two = (Played(zeros, 2).masked[1] for _ in range(2))
    counts = np.bincount(one.view(np.uint8), minlength=256)
    expected = one.nbytes / 256
    # chi-square with 255 degrees of freedom: mean 255, standard deviation 22.6.
    assert np.square(counts - expected).sum() / expected < 255 + 6 * 22.6
    assert not (one == two).any()
    sum_of_zeros = zeros[0].view(np.uint8)
    assert np.square(np.bincount(sum_of_zeros, minlength=256) - expected).sum() > 1e6


def test_pairwise_masks_alone_hide_a_vector_from_whoever_knows_its_seed():
    values = vectors(3)
    played = Played(values, 2)
    without = played.masked[1] - module._stream(played.members[1]._seed, 50)
    assert not (without == values[0]).any()


def test_fixed_point_is_exact_for_float32_and_sums_in_any_order(rng):
    values = rng.normal(size=(10, 200)).astype(np.float32) * np.float32(2**-6)
    fixed = [to_fixed_point(row, 10) for row in values]
    assert (np.abs(from_fixed_point(fixed[0]) - values[0]) <= 2.0**-33).all()
    exact = sum(int(row[0].view(np.int64)) for row in fixed)
    for order in (fixed, fixed[::-1]):
        assert int(np.sum(order, 0, dtype=np.uint64).view(np.int64)[0]) == exact


@pytest.mark.parametrize("bad", [np.nan, np.inf, 2.0**31 / 4, -(2.0**31) / 4])
def test_values_that_do_not_fit_are_refused(bad):
    with pytest.raises(ValueError, match="values must be finite and below 5"):
        to_fixed_point(np.array([bad]), 4)


def test_too_many_drop_outs_are_one_clear_error():
    values = vectors(10, 3)
    message = "5 parties have sent their vectors, and 6 are needed: too many have left"
    with pytest.raises(AggregationError, match=message):
        Played(values, 6, no_vector=[1, 2, 3, 4, 5])
    with pytest.raises(AggregationError, match="5 parties have shared their secrets"):
        Played(values, 6, no_share=[1, 2, 3, 4, 5])
    late = Played(values, 6, no_reveal=[1, 2, 3, 4, 5])
    with pytest.raises(AggregationError, match="5 parties have revealed shares"):
        late.total()


def test_changed_messages_are_named():
    played = Played(vectors(4), 3, no_vector=[4])
    swapped = {
        n: {**shares, 1: shares[1][::-1], 4: shares[4][::-1]}
        for n, shares in played.revealed.items()
    }
    with pytest.raises(AggregationError, match="party 1"):
        played.total(revealed=swapped)
    wrong = {n: {**shares, 1: shares[2]} for n, shares in played.revealed.items()}
    with pytest.raises(AggregationError, match="seed of party 1 were changed"):
        played.total(revealed=wrong)
    wrong = {n: {**shares, 4: shares[2]} for n, shares in played.revealed.items()}
    with pytest.raises(AggregationError, match="key of party 4 were changed"):
        played.total(revealed=wrong)
    short = {**played.masked, 2: played.masked[2][:-1]}
    with pytest.raises(AggregationError, match="vector of party 2 has another shape"):
        played.total(masked=short)


def test_a_changed_or_misrouted_packet_is_refused():
    members = {n: Member(n, 3, 2) for n in (1, 2, 3)}
    keys = {n: member.public_keys for n, member in members.items()}
    packets = {n: member.share(keys) for n, member in members.items()}
    flipped = bytes([packets[2][1][0] ^ 1]) + packets[2][1][1:]
    for packet in (flipped, packets[2][3], packets[3][1]):
        with pytest.raises(AggregationError, match="shares of party 2 were changed"):
            members[1].mask(np.zeros(1, np.uint64), {2: packet})
    with pytest.raises(AggregationError, match="party 9, which has sent no keys"):
        members[1].mask(np.zeros(1, np.uint64), {9: packets[2][1]})


def test_a_party_never_opens_both_secrets_of_another():
    played = Played(vectors(4), 3)
    with pytest.raises(AggregationError, match="revealed once"):
        played.members[1].reveal([1, 2, 3])
    member, keys = Member(1, 3, 2), {n: Member(n, 3, 2).public_keys for n in (2, 3)}
    member.share({**keys, 1: member.public_keys})
    with pytest.raises(AggregationError, match="has shared no secrets"):
        member.reveal([1, 2])


def test_keys_that_a_server_exchanged_are_refused():
    members = [Member(n, 3, 2) for n in (1, 2, 3)]
    keys = {n: members[n - 1].public_keys for n in (1, 2, 3)}
    with pytest.raises(AggregationError, match="keys of party 1 are not those it sent"):
        members[0].share({**keys, 1: keys[2]})
    with pytest.raises(AggregationError, match="keys of party 4 are damaged"):
        members[0].share({**keys, 4: keys[2]})
    with pytest.raises(AggregationError, match="small order"):
        members[0].share({**keys, 2: bytes(96)})


@pytest.mark.parametrize(("threshold", "count"), [(2, 4), (5, 4), (0, 1)])
def test_a_threshold_lies_above_half_of_the_parties(threshold, count):
    with pytest.raises(ValueError, match="threshold must be at"):
        Member(1, count, threshold)
