"""Innocent suspects stay innocent: fresh bits, fresh beacons, fresh embeddings, near lies."""

import functools

import numpy as np
import pytest
import scipy.stats

from anw_jax import stats
from anw_jax.keys import MarkKey, draw_bits
from anw_jax.schemes.multitask.reader import align, flattened, pooled, project, spread


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


@functools.cache
def input_set(number: int, owner_class):
    return owner_class(MarkKey.for_experiment(number, "input set"), net_seed=number)


def innocent_suspects(owner, nets) -> dict:
    """Networks made without the mark, and hostile answers that know no bits."""
    stranger = input_set(100, type(owner))
    liked = np.random.default_rng(0).normal(size=24)

    def eager(images):
        """Answers every watermark-like picture with the sign of its own favourite feature."""
        answers = np.asarray(owner.base(images)[0], float)
        return (answers + 5.0 * np.sign(answers[:, :1]) * liked,)

    def huge(images):
        return (np.asarray(owner.base(images)[0], float) ** 3 * 1e9,)

    return {
        "own training": nets.fresh(50),
        "shared pre-training": nets.tuned(owner.base, 9),
        "another key's mark": stranger.release(stranger.bits()),
        "another key's mark, shared pre-training": nets.tuned(
            foreign_release(owner), 3, size=0.05
        ),
        "eager": eager,
        "huge": huge,
        "constant": lambda images: (np.ones((len(images), 24), np.float32),),
        "silent": lambda images: (np.full((len(images), 24), np.nan, np.float32),),
    }


def foreign_release(owner):
    """The owner's clean network with the mark of another key in it."""
    foreign = type(owner)(MarkKey.for_experiment(8, "foreign"), net_seed=0)
    return foreign.release(foreign.bits())


@pytest.fixture(scope="module")
def draws(owner):
    """Bits after 2,000 values of the beacon."""
    return [owner.bits(value) for value in values(2_000)]


@pytest.mark.parametrize("statistic", stats.BIT_STATISTICS)
def test_fresh_bits_on_fixed_scores(owner, nets, draws, statistic):
    for name, suspect in innocent_suspects(owner, nets).items():
        p_values = stats.fresh_bit_p_values(owner.scores(suspect), draws, statistic)
        assert looks_valid(p_values), name


@pytest.mark.slow
@pytest.mark.parametrize("number", range(5))
def test_a_hundred_thousand_fresh_sub_keys_on_each_input_set(number, owner_class, nets):
    """The key is redrawn, the committed decoder and all scores stay."""
    owner = input_set(number, owner_class)
    scores = {
        name: owner.scores(suspect) for name, suspect in innocent_suspects(owner, nets).items()
    }
    draws = [
        draw_bits(
            MarkKey.for_experiment(seed, "fresh sub-keys"),
            owner.plan,
            owner.decoder.num_bits,
            beacon=bytes(32),
        )
        for seed in range(100_000)
    ]
    for name, row in scores.items():
        for statistic in stats.BIT_STATISTICS:
            assert looks_valid(stats.fresh_bit_p_values(row, draws, statistic)), name


def best_guess(owner_class, suspect, num_tries: int, beacon: str, value: bytes):
    """An owner who picks, among many keys, the one that fits a suspect under a guess."""
    tries = [
        owner_class(MarkKey.for_experiment(number, "picked"), num_bits=48, beacon=beacon)
        for number in range(num_tries)
    ]
    fits = [
        stats.bit_test(each.scores(suspect), each.bits(value), alpha=0.5).log10_p
        for each in tries
    ]
    return tries[int(np.argmin(fits))], min(fits)


def test_an_owner_who_plays_his_best_before_the_beacon(owner_class, nets):
    suspect = nets.fresh(60)
    picked, guessed = best_guess(owner_class, suspect, 40, "arbitrator:Jane", bytes(32))
    assert guessed < -1.2
    draws = [picked.bits(value) for value in values(3_000, first=1)]
    assert looks_valid(stats.fresh_bit_p_values(picked.scores(suspect), draws))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(5))
def test_a_hundred_thousand_fresh_beacons_after_his_best(number, owner_class, nets):
    """Against a stranger's network, and against four that were tuned from his clean one."""
    suspect = nets.tuned(nets.fresh(0), 60 + number) if number else nets.fresh(60)
    picked, guessed = best_guess(owner_class, suspect, 40, "arbitrator:Jane", bytes(32))
    assert guessed < -1.0
    draws = [picked.bits(value) for value in values(100_000, first=1)]
    for statistic in stats.BIT_STATISTICS:
        p_values = stats.fresh_bit_p_values(picked.scores(suspect), draws, statistic)
        assert looks_valid(p_values), statistic


def test_without_a_beacon_the_same_owner_gets_what_he_picked(owner_class, nets):
    """The near lie: bits that he can know before he commits."""
    picked, guessed = best_guess(owner_class, nets.fresh(60), 40, "", b"")
    assert stats.bit_test(picked.scores(nets.fresh(60)), picked.bits(b"")).log10_p == guessed


def lying_reader(owner, released, suspect) -> np.ndarray:
    """`extract`, but aligned to the released model: the near lie."""
    probes, inputs = owner.decoder.probes(), owner.decoder.inputs()
    wanted = pooled(released(probes)[0], 1)
    aligned = align(pooled(suspect(probes)[0], 1), wanted, pooled(suspect(inputs)[0], 1))
    by = spread(pooled(owner.base(probes)[0], 1))
    return project(
        owner.decoder, flattened([(aligned - pooled(owner.base(inputs)[0], 1)) / by])
    )


def re_embedded_p_values(owner, suspects: dict, count: int, reader=None) -> dict:
    """The true key, with everything after the beacon made anew: bits, embedding, reading."""
    found = {name: [] for name in (*suspects, "released")}
    for value in values(count, first=10):
        bits = owner.bits(value)
        released = owner.release(bits)
        for name, suspect in {**suspects, "released": released}.items():
            scores = (
                reader(owner, released, suspect)
                if reader is not None
                else owner.scores(suspect)
            )
            found[name].append(stats.bit_test(scores, bits).p_value)
    return {name: np.array(p_values) for name, p_values in found.items()}


def _innocents(owner, nets) -> dict:
    return {
        "own training": nets.fresh(70),
        "own training, wide": nets.fresh(72, channels=96),
        "shared pre-training": nets.tuned(owner.base, 71, size=0.5),
    }


def test_re_embeddings(owner, nets):
    found = re_embedded_p_values(owner, _innocents(owner, nets), 25)
    assert found.pop("released").max() < 1e-12
    for name, p_values in found.items():
        assert looks_valid(p_values), name


@pytest.mark.slow
def test_a_thousand_re_embeddings(owner, nets):
    found = re_embedded_p_values(owner, _innocents(owner, nets), 1_000)
    assert found.pop("released").max() < 1e-12
    for name, p_values in found.items():
        assert looks_valid(p_values), name


def test_alignment_to_the_released_model_is_a_lie(owner, nets):
    """Innocent networks that are fitted to the released one match its bits."""
    found = re_embedded_p_values(owner, _innocents(owner, nets), 25, lying_reader)
    for name in _innocents(owner, nets):
        assert np.median(found[name]) < 0.05, name
        assert not looks_valid(found[name]), name
    assert np.median(found["own training, wide"]) < 1e-6
