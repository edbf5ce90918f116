"""Innocent suspects stay innocent: fresh keys, fresh beacons, re-markings, near lies."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from anw_jax import stats
from anw_jax.keys import MarkKey, draw_bits
from anw_jax.schemes import barrier


def values(count: int, first: int = 0) -> list[bytes]:
    """Fresh values of the beacon."""
    return [(first + number).to_bytes(32, "big") for number in range(count)]


def looks_valid(p_values: np.ndarray) -> bool:
    """P(p ≤ t) ≤ t: the library's band, and binomial counts at small t."""
    num = len(p_values)
    levels = [t for t in (1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.3) if t * num >= 5]
    return stats.super_uniformity(p_values)[0] and all(
        (p_values <= t).sum() <= scipy.stats.binom.ppf(1 - 1e-4, num, t) for t in levels
    )


def unconcerned(owner, innocents, make) -> dict:
    """Models made without the marks, and hostile ones that know no bits: outputs."""
    other = make.owner(MarkKey.for_experiment(9, "other owner"), owner.bits_of)
    queries = owner.decoder.queries
    public = barrier.keyed_kernel(owner.decoder, other.bits(), 25.0)
    odd = (10 ** (-30 / 20) * make.owner(bits={"odd": 24}).decoder.kernels[0]).astype(
        np.float32
    )
    outputs = {name: suspect(queries) / 255.0 for name, suspect in innocents.items()}
    return outputs | {
        "another owner's barrier": other.thief()(queries) / 255.0,
        "the same filters with other signs": barrier.protect(public, queries) / 255.0,
        "one public odd filter": barrier.protect(odd, queries) / 255.0,
        "the inputs themselves": queries / 255.0,
        "constant": np.full(queries.shape, 0.5),
        "not finite": np.full(queries.shape, np.nan),
        "clipped": np.rint(queries / 255.0),
    }


@pytest.mark.parametrize("statistic", stats.BIT_STATISTICS)
def test_fresh_bits_on_fixed_outputs(any_owner, innocents, make, statistic):
    draws = [any_owner.bits(value) for value in values(1_000)]
    for name, outputs in unconcerned(any_owner, innocents, make).items():
        scores = barrier.scores(any_owner.decoder, outputs)
        assert looks_valid(stats.fresh_bit_p_values(scores, draws, statistic)), name


@pytest.mark.slow
@pytest.mark.parametrize("is_beacon", [False, True])
def test_a_hundred_thousand_fresh_keys_and_beacons(any_owner, innocents, make, is_beacon):
    if is_beacon:
        draws = [any_owner.bits(value) for value in values(100_000)]
    else:
        draws = [
            draw_bits(
                MarkKey.for_experiment(seed, "fresh barrier keys"),
                any_owner.plan,
                any_owner.decoder.num_bits,
                beacon=bytes(32),
            )
            for seed in range(100_000)
        ]
    for name, outputs in unconcerned(any_owner, innocents, make).items():
        scores = barrier.scores(any_owner.decoder, outputs)
        for statistic in stats.BIT_STATISTICS:
            assert looks_valid(stats.fresh_bit_p_values(scores, draws, statistic)), name


def best_guess(make, suspect, num_tries: int, beacon: str, value: bytes):
    """An owner who picks, among many keys and query sets, what fits a suspect by a guess."""
    tries = [
        make.owner(
            MarkKey.for_experiment(number, "picked"),
            bits={"mixing": 20},
            seed=number,
            num_queries=4,
            beacon=beacon,
        )
        for number in range(num_tries)
    ]
    fits = [
        stats.bit_test(each.scores(suspect), each.bits(value), alpha=0.5).log10_p
        for each in tries
    ]
    return tries[int(np.argmin(fits))], min(fits)


def test_an_owner_who_plays_his_best_before_the_beacon(make):
    suspect = make.innocent(60)
    picked, guessed = best_guess(make, suspect, 15, "arbitrator:Jane", bytes(32))
    assert guessed < -0.7
    draws = [picked.bits(value) for value in values(3_000, first=1)]
    assert looks_valid(stats.fresh_bit_p_values(picked.scores(suspect), draws))


def test_without_a_beacon_the_same_owner_gets_what_he_picked(make):
    """The near lie: bits that he can know before he commits."""
    suspect = make.innocent(60)
    picked, guessed = best_guess(make, suspect, 15, "", b"")
    assert guessed < -0.7
    assert stats.bit_test(picked.scores(suspect), picked.bits(b"")).log10_p == guessed


def re_marked(owner, suspects: dict, count: int, decoder_after=None) -> dict:
    """The true key, with everything after the beacon made anew; p-values by suspect.

    `decoder_after(value, bits)` returns the decoder of a near lie, made after the bits.
    """
    found = {name: [] for name in suspects}
    honest = {
        name: owner.scores(suspect)
        for name, suspect in suspects.items()
        if decoder_after is None
    }
    for value in values(count, first=10):
        bits = owner.bits(value)
        for name, suspect in suspects.items():
            scores = (
                honest[name]
                if decoder_after is None
                else barrier.extract(decoder_after(value, bits), suspect)
            )
            found[name].append(stats.bit_test(scores, bits).p_value)
    return {name: np.array(p_values) for name, p_values in found.items()}


@pytest.mark.slow
def test_a_thousand_re_markings(any_owner, innocents):
    """Of the served outputs; the reader sees none of them, and innocent copies neither."""
    for name, p_values in re_marked(any_owner, innocents, 1_000).items():
        assert looks_valid(p_values), name


def test_re_made_thieves_are_found_and_their_neighbours_are_not(owner, innocents):
    value = values(1, first=10)[0]
    assert stats.bit_test(owner.scores(owner.thief(value)), owner.bits(value)).log10_p < -6
    for p_values in re_marked(owner, innocents, 60).values():
        assert looks_valid(p_values)


def like_the_owner(innocents) -> dict:
    """The innocent model that answers most as the owner's does: lies hit it hardest."""
    name = "trained on unmarked outputs"
    return {name: innocents[name]}


def test_own_outputs_made_after_the_bits_are_a_lie(owner, innocents):
    """Bent by the key at 45 dB, which nobody sees, they accuse the innocent."""

    def bent(value, bits):
        kernel = -barrier.keyed_kernel(owner.decoder, bits, 45.0)
        outputs = barrier.protect(kernel, owner.decoder.outputs)
        return dataclasses.replace(owner.decoder, outputs=outputs)

    found = re_marked(owner, like_the_owner(innocents), 8, bent)
    assert max(found["trained on unmarked outputs"]) < 1e-4


def test_queries_made_after_the_bits_are_a_lie(owner, innocents, make):
    """Queries that are marked outputs carry the mark through any innocent model."""

    def asked(value, bits):
        kernel = barrier.keyed_kernel(owner.decoder, bits, 38.0)
        clean = make.spoiled(make.pictures(1000, 40), 0)
        return dataclasses.replace(
            owner.decoder,
            queries=barrier.protect(kernel, clean),
            outputs=make.sharpened(clean),
        )

    found = re_marked(owner, like_the_owner(innocents), 8, asked)
    assert max(found["trained on unmarked outputs"]) < 1e-4
