"""Noise and rounding: the weights stay, the answers change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax import models, verify
from anw_jax.attacks import Material, TrainedModel
from anw_jax.attacks.answers import (
    OutputNoise,
    Rounding,
    image_hashes,
    noisy_predict_fn,
    rounded_predict_fn,
)
from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation


def _mean_colour(scale, images):
    """Four logits of a picture, cheap and smooth."""
    colours = images.mean(axis=(1, 2))
    return scale * jnp.concatenate([colours, colours[:, :1] * colours[:, 1:2]], axis=1)


def _photos(num, seed):
    levels = np.random.default_rng(seed).integers(0, 256, (num, 8, 8, 3), dtype=np.uint8)
    return jnp.asarray(levels / np.float32(255), jnp.float32)


@jax.jit
def _ask(predict, images):
    return predict(images)


@pytest.fixture(scope="module")
def plain():
    return jax.tree_util.Partial(_mean_colour, jnp.float32(5.0))


@pytest.fixture
def suspect(plain):
    return TrainedModel(models.create("testing", 4), {"params": {}}, plain, {"kept": 1})


def _material(seed):
    nothing = np.zeros((0, 8, 8, 3), np.uint8)
    return Material(None, nothing, np.zeros(0, int), nothing, np.zeros(0, int), seed)


# --- Noise ---


def _noise(plain, images, seed=0, std=0.3):
    noisy = noisy_predict_fn(plain, seed, std)
    return np.asarray(_ask(noisy, images)) - np.asarray(_ask(plain, images))


@pytest.fixture(scope="module")
def much_noise(plain):
    return _noise(plain, _photos(5_000, 0))


def test_noise_has_the_std_asked_for_and_mean_zero(much_noise):
    noise = much_noise.ravel() / 0.3
    num = noise.size
    # Four standard errors of mean and of variance.
    assert abs(noise.mean()) < 4 / np.sqrt(num)
    assert abs(noise.var() - 1.0) < 4 * np.sqrt(2 / num)
    assert abs((noise**4).mean() - 3.0) < 4 * np.sqrt(96 / num)  # Gaussian tails
    # The same bounds refuse a near lie.
    assert abs((1.1 * noise).var() - 1.0) > 4 * np.sqrt(2 / num)


def test_noise_of_classes_and_photos_is_uncorrelated(much_noise):
    noise = much_noise
    correlations = np.corrcoef(noise, rowvar=False)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 4 / np.sqrt(len(noise))
    assert abs(np.corrcoef(noise[:-1, 0], noise[1:, 0])[0, 1]) < 4 / np.sqrt(len(noise))


@pytest.mark.slow
def test_same_question_same_answer(plain):
    images = _photos(9, 2)
    noisy = noisy_predict_fn(plain, 3, 0.5)
    first = np.asarray(_ask(noisy, images))
    np.testing.assert_array_equal(_ask(noisy, images), first)
    np.testing.assert_allclose(_ask(noisy, images[::-1])[::-1], first, atol=1e-6)
    np.testing.assert_allclose(_ask(noisy, images[4:5])[0], first[4], atol=1e-6)
    # Rounding of the last bit, as another device may do it, is the same question.
    np.testing.assert_allclose(_ask(noisy, images * np.float32(1 + 1e-7)), first, atol=1e-5)


def test_one_level_of_one_pixel_is_another_question(plain):
    levels = np.full((1, 8, 8, 3), 100, np.int32)
    others = np.repeat(levels, 9, axis=0)
    for row, place in enumerate([0, 1, 2, 3, 50, 100, 150, 191], start=1):
        others.reshape(9, -1)[row, place] += 1
    noise = _noise(plain, jnp.asarray(others / np.float32(255), jnp.float32))
    assert len(np.unique(noise.round(4), axis=0)) == 9
    moved = others.reshape(9, -1)[:, ::-1].reshape(9, 8, 8, 3)  # same levels, other places
    again = _noise(plain, jnp.asarray(moved / np.float32(255), jnp.float32))
    assert np.abs(again - noise)[1:].max(axis=1).min() > 1e-3


def test_hash_twin():
    """Sums of products modulo 2^32, in Python's own integers."""
    key = jax.random.key(5)
    images = _photos(3, 4)
    numbers = np.asarray(jax.random.bits(jax.random.key(5), (2, 192), jnp.uint32)).tolist()
    for image, words in zip(np.asarray(images), image_hashes(key, images), strict=True):
        levels = [round(float(v) * 255) for v in image.ravel()]
        twin = [sum(a * b for a, b in zip(levels, row, strict=True)) % 2**32 for row in numbers]
        assert words.tolist() == twin


def test_another_seed_gives_other_noise(plain, suspect):
    images = _photos(9, 5)
    answers = [
        np.asarray(_ask(OutputNoise(0.2).change(suspect, _material(seed)).predict, images))
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(answers[0], answers[1])
    assert np.abs(answers[0] - answers[2]).min() > 1e-4


def test_no_noise_at_std_zero(plain):
    np.testing.assert_array_equal(_noise(plain, _photos(9, 6), std=0.0), 0.0)


def test_gradient_does_not_see_the_noise(plain):
    images = _photos(2, 7)
    noisy = noisy_predict_fn(plain, 0, 0.5)
    slope = jax.jit(jax.grad(lambda x, fun: fun(x)[:, 0].sum()))
    slopes = [slope(images, fun) for fun in (noisy, plain)]
    np.testing.assert_allclose(slopes[0], slopes[1], atol=1e-6)


# --- Rounding ---


def _rounded_twin(logits, decimals):
    weights = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    rows = []
    for row in probabilities:
        rows.append([max(round(float(p), decimals), 0.5 * 10.0**-decimals) for p in row])
    return np.log(rows)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(
    st.lists(st.floats(-12, 12, width=32), min_size=4, max_size=4),
    st.integers(1, 4),
)
def test_rounding_twin(logits, decimals):
    logits = np.array([logits], np.float32)
    fun = jax.tree_util.Partial(lambda images: jnp.asarray(images))
    mine = np.exp(np.asarray(rounded_predict_fn(fun, decimals)(logits), np.float64))
    twin = np.exp(_rounded_twin(logits, decimals))
    # float32 may round a number next to a half the other way.
    plain = np.exp(logits - np.logaddexp.reduce(logits, axis=1)) * 10**decimals
    is_near_half = np.abs(plain - np.floor(plain) - 0.5) < 1e-6 * 10**decimals
    np.testing.assert_allclose(mine[~is_near_half], twin[~is_near_half], rtol=1e-5)


@pytest.mark.parametrize(
    ("probability", "decimals", "expected"),
    [
        (0.125, 2, 0.12),  # halves to the even neighbour
        (0.375, 2, 0.38),
        (0.004, 2, 0.005),  # the floor: half a unit
        (0.0, 3, 0.0005),
        (1.0, 1, 1.0),
        (0.25, 6, 0.25),
    ],
)
def test_edges_of_rounding(probability, decimals, expected):
    logits = np.log(np.maximum([[probability, 1.0 - probability]], 1e-30)).astype(np.float32)
    fun = jax.tree_util.Partial(lambda images: jnp.asarray(images))
    answer = np.exp(rounded_predict_fn(fun, decimals)(logits))[0, 0]
    assert answer == pytest.approx(expected, rel=1e-5)


def test_few_decimals_make_ties(plain):
    images = _photos(200, 8)
    values = [len(np.unique(rounded_predict_fn(plain, d)(images))) for d in (1, 2, 6)]
    assert values[0] <= 11
    assert values[0] < values[1] < values[2]


def test_losses_of_rounded_answers_are_finite(plain):
    sure = jax.tree_util.Partial(_mean_colour, jnp.float32(1e4))
    photos = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    labels = np.array([0, 1, 2])
    table = verify.loss_table(
        rounded_predict_fn(sure, 1), photos, labels, HueRotation(), SignatureSpace(4)
    )
    assert np.isfinite(table).all()
    # A sure wrong answer costs log((1 + 3 / 20) / (1 / 20)): the floor, over the sum.
    assert table.max() == pytest.approx(np.log(1.15 / 0.05), abs=1e-4)


# --- Both ---


@pytest.mark.parametrize("attack", [OutputNoise(0.1), Rounding(2)], ids=str)
def test_weights_and_details_stay(attack, suspect):
    changed = attack.change(suspect, _material(0))
    assert changed.variables is suspect.variables
    assert changed.model == suspect.model
    assert changed.details == {"kept": 1}


@pytest.mark.parametrize(
    "changes",
    [
        [OutputNoise(0.1), OutputNoise(0.1), OutputNoise(0.7)],
        [Rounding(2), Rounding(2), Rounding(3)],
    ],
    ids=["noise", "rounding"],
)
def test_a_jitted_caller_compiles_once(changes, suspect):
    traces = []

    @jax.jit
    def ask(predict, images):
        traces.append(images.shape)
        return predict(images)

    images = _photos(2, 9)
    for seed, attack in enumerate(changes):
        changed = attack.change(suspect, _material(seed))
        other = jax.tree_util.Partial(_mean_colour, jnp.float32(seed))
        ask(changed.predict, images)
        ask(attack.change(TrainedModel(None, {}, other), _material(seed)).predict, images)
    assert len(traces) == 1


def test_attacks_on_answers_stack(suspect):
    images = _photos(9, 10)
    noisy = OutputNoise(0.5).change(suspect, _material(1))
    both = Rounding(2).change(noisy, _material(1))
    expected = _rounded_twin(np.asarray(_ask(noisy.predict, images)), 2)
    np.testing.assert_allclose(_ask(both.predict, images), expected, atol=1e-5)
