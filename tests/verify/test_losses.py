"""Each loss against plain NumPy, and the loss table of models that are no classifiers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from jax.tree_util import Partial

from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation, publish
from anw_jax.verify import (
    binary_cross_entropy,
    contrastive_loss,
    cross_entropy,
    denoising_error,
    gradient_search,
    loss_table,
    objective,
    over_views,
    reconstruction_error,
    squared_error,
)
from anw_jax.verify.losses import shifted_pixels

SPACE = SignatureSpace(6)
SHARES = np.linspace(0.99, 0.1, 10, dtype=np.float32)
RNG = np.random.default_rng(5)
IMAGES = RNG.integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
FLOATS = IMAGES / np.float32(255)
WEIGHTS = jnp.asarray(RNG.normal(0, 0.3, (48, 3)), jnp.float32)


def linear(weights, images):
    return images.reshape(len(images), -1) @ weights


def denoiser(weight, noisy, steps):
    return weight * noisy * (1 + steps.astype(noisy.dtype))[:, None, None, None]


LOGITS = np.asarray(linear(WEIGHTS, FLOATS), np.float64)


def test_cross_entropy():
    labels = np.array([0, 2, 1, 1, 0])
    twin = scipy.special.logsumexp(LOGITS, axis=1) - LOGITS[np.arange(5), labels]
    got = cross_entropy(Partial(linear, WEIGHTS), FLOATS, jnp.asarray(labels))
    np.testing.assert_allclose(got, twin, rtol=1e-5)


def test_binary_cross_entropy():
    targets = RNG.integers(0, 2, (5, 3))
    chances = scipy.special.expit(LOGITS)
    twin = -np.log(np.where(targets, chances, 1 - chances)).sum(axis=1)
    got = binary_cross_entropy(Partial(linear, WEIGHTS), FLOATS, targets)
    np.testing.assert_allclose(got, twin, rtol=1e-5)


def test_the_mean_over_views_equals_a_loop_over_views():
    images = RNG.random((2, 16, 24, 3), np.float32)
    weights = jnp.asarray(RNG.normal(0, 0.1, (16 * 24 * 3, 3)), jnp.float32)
    predict, labels = Partial(linear, weights), jnp.array([2, 0])
    got = over_views(cross_entropy, 5, (16, 24, 3), seed=3)(predict, images, labels)
    random, shifts = np.random.default_rng(3), []
    for side in (16, 24):
        drawn = random.integers(-(side // 8), side // 8, 5, endpoint=True)
        shifts.append([0, 0, *drawn[2:]])
    losses = []
    for number, (down, right) in enumerate(zip(*shifts, strict=True)):
        padded = np.pad(images, [(0, 0), (2, 2), (3, 3), (0, 0)])
        view = padded[:, 2 - down : 18 - down, 3 - right : 27 - right]
        losses.append(cross_entropy(predict, view[:, :, ::-1] if number % 2 else view, labels))
    np.testing.assert_allclose(got, np.mean(losses, axis=0), rtol=1e-5)
    one = over_views(cross_entropy, 1, (16, 24, 3), seed=3)(predict, images, labels)
    np.testing.assert_allclose(one, cross_entropy(predict, images, labels), rtol=1e-6)


@pytest.mark.parametrize("fill", ["reflect", "black"])
@pytest.mark.parametrize("side", [1, 2, 5])
def test_shifted_pixels(side, fill):
    shifts = np.arange(-12, 13)
    axis = {"reflect": [*range(side), *range(side - 2, 0, -1)]}.get(fill)
    twin = [
        [
            axis[(place - shift) % len(axis)]
            if axis
            else (place - shift if 0 <= place - shift < side else side)
            for place in range(side)
        ]
        for shift in shifts.tolist()
    ]
    np.testing.assert_array_equal(shifted_pixels(side, shifts, fill), twin)
    np.testing.assert_array_equal(shifted_pixels(side, 3, fill), twin[15])


@pytest.mark.parametrize(("number", "error"), [(0, ValueError), (1.5, TypeError)])
def test_a_wrong_number_of_views_is_refused(number, error):
    with pytest.raises(error, match="num_views"):
        over_views(cross_entropy, number, (4, 4, 3), seed=0)


def test_squared_error_and_reconstruction():
    targets = RNG.normal(size=(5, 3)).astype(np.float32)
    got = squared_error(Partial(linear, WEIGHTS), FLOATS, targets)
    np.testing.assert_allclose(got, ((LOGITS - targets) ** 2).mean(axis=1), rtol=1e-5)
    got = reconstruction_error(lambda images: images**2, FLOATS)
    np.testing.assert_allclose(got, ((FLOATS**2 - FLOATS) ** 2).mean((1, 2, 3)), rtol=1e-5)


def test_contrastive_loss():
    own, others = RNG.normal(size=(5, 3)), RNG.normal(size=(4, 3))
    vectors = (LOGITS, own, others)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in vectors]
    right = (unit[0] * unit[1]).sum(axis=1)
    all_texts = np.column_stack([right, unit[0] @ unit[2].T]) / 0.2
    twin = scipy.special.logsumexp(all_texts, axis=1) - right / 0.2
    loss = contrastive_loss(others, 0.2)
    got = loss(Partial(linear, WEIGHTS), FLOATS, own)
    np.testing.assert_allclose(got, twin, rtol=1e-5)


@pytest.mark.parametrize("mirror", [False, True])
def test_denoising_error(mirror):
    steps = np.array([3, 9, 3])
    noises = np.random.default_rng(7).standard_normal((3, 4, 4, 3), np.float32)
    twin = np.zeros(5)
    sides = (FLOATS, FLOATS[:, :, ::-1]) if mirror else (FLOATS,)
    for step, noise in zip(steps, noises, strict=True):
        for side in sides:
            noisy = SHARES[step] ** 0.5 * (2 * side - 1) + (1 - SHARES[step]) ** 0.5 * noise
            errors = (0.1 * noisy * (1 + step) - noise) ** 2
            twin += errors.mean((1, 2, 3)) / len(steps) / len(sides)
    loss = denoising_error(SHARES, steps, (4, 4, 3), seed=7, mirror=mirror)
    got = loss(Partial(denoiser, 0.1), FLOATS, ())
    np.testing.assert_allclose(got, twin, rtol=1e-5)


@pytest.mark.parametrize("prediction", ["sample", "v_prediction"])
def test_a_denoiser_may_predict_something_else(prediction):
    noise = np.random.default_rng(7).standard_normal((4, 4, 3), np.float32)
    share, clean = SHARES[3], 2 * FLOATS - 1
    wanted = clean
    if prediction == "v_prediction":
        wanted = share**0.5 * noise - (1 - share) ** 0.5 * clean
    noisy = share**0.5 * clean + (1 - share) ** 0.5 * noise
    loss = denoising_error(
        SHARES, np.array([3]), (4, 4, 3), seed=7, mirror=False, prediction=prediction
    )
    got = loss(Partial(denoiser, 0.1), FLOATS, None)
    np.testing.assert_allclose(got, ((0.4 * noisy - wanted) ** 2).mean((1, 2, 3)), rtol=1e-4)
    perfect = loss(lambda noisy, steps: jnp.asarray(wanted), FLOATS, None)
    np.testing.assert_allclose(perfect, 0, atol=1e-12)


def test_a_denoiser_may_be_given_labels():
    loss = denoising_error(SHARES, np.array([1]), (4, 4, 3), seed=0)

    def conditioned(noisy, steps, labels):
        return noisy * labels[:, None, None, None].astype(noisy.dtype)

    given = loss(conditioned, FLOATS, (jnp.arange(5),))
    alone = loss(conditioned, FLOATS[4:], (jnp.arange(4, 5),))
    np.testing.assert_allclose(given[4:], alone, rtol=1e-6)
    assert given[0] != given[4]


CASES = {
    "squared": (squared_error, Partial(linear, WEIGHTS), np.zeros((5, 3), np.float32)),
    "own function": (
        lambda predict, images, targets: jnp.abs(predict(images)).sum(axis=1),
        Partial(linear, WEIGHTS),
        None,
    ),
    "denoising": (
        denoising_error(SHARES, np.arange(4), (4, 4, 3), seed=1),
        Partial(denoiser, jnp.float32(0.2)),
        (),
    ),
}


@pytest.mark.parametrize(("loss", "predict", "targets"), CASES.values(), ids=CASES)
def test_the_table_holds_the_loss_of_each_published_image(loss, predict, targets):
    mark = HueRotation()
    table = loss_table(predict, IMAGES, targets, mark, SPACE, loss=loss, chunk_size=7)
    for slot, degrees in enumerate(SPACE.degrees):
        published = publish(mark, IMAGES, degrees) / np.float32(255)
        np.testing.assert_allclose(table[:, slot], loss(predict, published, targets), rtol=2e-5)
    called = loss_table(lambda *given: predict(*given), IMAGES, targets, mark, SPACE, loss=loss)
    np.testing.assert_allclose(called, table, rtol=2e-5)


def test_search_descends_on_any_loss():
    stored = HueRotation().mark(FLOATS[0], 97.0)

    def distance(predict, images, targets):
        return jnp.square(images - targets).sum((1, 2, 3))

    found = gradient_search(
        Partial(linear, WEIGHTS), IMAGES[:1], stored[None], HueRotation(),
        loss=distance, starts_degrees=np.array([80.0]), num_steps=20,
    )  # fmt: skip
    assert abs(found.best_degrees[0] - 97) < 2


def test_the_objective_sums_any_loss():
    targets = jnp.zeros((5, 3))
    total, each = objective(
        Partial(linear, WEIGHTS), FLOATS, targets, HueRotation().mark, jnp.zeros(5),
        squared_error,
    )  # fmt: skip
    np.testing.assert_allclose(total, each.sum(), rtol=1e-6)
    np.testing.assert_allclose(each, (LOGITS**2).mean(axis=1), rtol=1e-4)


REFUSED = {
    "one number": (lambda predict, images, targets: jnp.float32(0.0), "one float for each"),
    "a column": (lambda predict, images, targets: jnp.zeros((len(images), 1)), "one float"),
    "integers": (lambda predict, images, targets: jnp.zeros(len(images), int), "one float"),
    "NaN": (
        lambda predict, images, targets: images.sum((1, 2, 3)) * jnp.nan,
        "finite, got nan for image 0 at slot 0",
    ),
}


@pytest.mark.parametrize(("loss", "words"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("is_traced", [True, False])
def test_a_wrong_loss_is_refused(loss, words, is_traced):
    predict = Partial(linear, WEIGHTS) if is_traced else lambda images: images
    with pytest.raises(ValueError, match=f"loss must .*{words}"):
        loss_table(predict, IMAGES, None, HueRotation(), SPACE, loss=loss)


def test_targets_of_another_length_and_what_is_no_loss_are_refused():
    predict = Partial(linear, WEIGHTS)
    with pytest.raises(ValueError, match=r"targets must have leading axis 5.*\(4, 3\)"):
        loss_table(predict, IMAGES, np.zeros((4, 3)), HueRotation(), SPACE, loss=squared_error)
    with pytest.raises(TypeError, match="loss must be callable"):
        loss_table(predict, IMAGES, None, HueRotation(), SPACE, loss="squared")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((SHARES, np.array([10]), (4, 4, 3)), r"steps must be in \[0, 10\)"),
        ((SHARES, np.array([0.5]), (4, 4, 3)), "steps must be integers"),
        ((SHARES, np.array([], int), (4, 4, 3)), "at least one"),
        ((SHARES - 0.5, np.array([1]), (4, 4, 3)), "signal_shares must be"),
    ],
)
def test_denoising_error_refuses(arguments, words):
    with pytest.raises(ValueError, match=words):
        denoising_error(*arguments, seed=0)


def test_contrastive_loss_refuses():
    with pytest.raises(ValueError, match="other_texts"):
        contrastive_loss(np.zeros((0, 3)), 0.1)
    with pytest.raises(ValueError, match="temperature"):
        contrastive_loss(np.ones((2, 3)), 0.0)


def test_equal_losses_share_one_program():
    predict, count = Partial(linear, WEIGHTS), []

    def counted(predict, images, targets):
        count.append(1)
        return squared_error(predict, images, targets)

    targets = np.zeros((5, 3), np.float32)
    for _ in range(2):
        loss_table(predict, IMAGES, targets, HueRotation(), SPACE, loss=counted, chunk_size=10)
    assert len(count) <= 2  # once for the memory, once to compile
    assert isinstance(jax.tree.leaves(predict)[0], jax.Array)
