"""Adversarial training: in the ball, uphill, and with the network as the step uses it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax import attacks, models, train
from anw_jax.attacks.step import Fgsm, Pgd, within

ADVERSARIES = [
    Fgsm(epsilon=0.05),
    Pgd(epsilon=0.05, step_size=0.02, num_steps=3),
]


@pytest.fixture(scope="module")
def images():
    """Some pixels at the ends of the scale."""
    levels = np.random.default_rng(1).integers(-40, 296, (8, 8, 8, 3)).clip(0, 255)
    return jnp.asarray(levels / 255, jnp.float32)


@pytest.fixture(scope="module")
def loss_fn():
    """Mean loss of the tiny net on classes 0 to 3, with the batch's statistics."""
    model = models.create("testing", 4)
    variables = model.init(jax.random.key(0), (8, 8, 3))
    labels = jnp.arange(8) % 4

    def loss(key, images):
        logits, _ = model.apply(variables, images, train=True, key=key)
        return train.cross_entropy(logits, labels).mean()

    return loss


@pytest.mark.parametrize("adversary", ADVERSARIES, ids=["fgsm", "pgd"])
def test_perturbed_images_stay_in_the_ball_and_err(adversary, images, loss_fn):
    @jax.jit
    def perturbed(key):
        moved = adversary.perturb(key, images, loss_fn)
        return moved, loss_fn(key, images), loss_fn(key, moved)

    moved, before, after = perturbed(jax.random.key(0))
    assert moved.dtype == jnp.float32
    assert np.abs(moved - images).max() <= 0.05 + 1e-6
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert after > before + 0.1


def test_fgsm_of_a_linear_loss_is_written_out(images):
    """The gradient's sign is known: each channel moves by ε, or to the end of the scale."""
    weights = np.random.default_rng(2).normal(size=images.shape).astype(np.float32)
    moved = Fgsm(0.1).perturb(jax.random.key(0), images, lambda key, x: (weights * x).sum())
    expected = np.clip(np.asarray(images) + 0.1 * np.sign(weights), 0, 1)
    np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_pgd_of_a_linear_loss_reaches_the_corner(images):
    weights = np.random.default_rng(2).normal(size=images.shape).astype(np.float32)
    pgd = Pgd(epsilon=0.1, step_size=0.05, num_steps=4)
    moved = pgd.perturb(jax.random.key(0), images, lambda key, x: (weights * x).sum())
    expected = np.clip(np.asarray(images) + 0.1 * np.sign(weights), 0, 1)
    np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_pgd_starts_at_random_and_takes_its_steps(images):
    """One step of .01 from a start that is uniform in the ball of .1."""
    grey = jnp.full((8, 8, 8, 3), 0.5)
    pgd = Pgd(epsilon=0.1, step_size=0.01, num_steps=1)
    moved = pgd.perturb(jax.random.key(0), grey, lambda key, x: x.sum())
    shift = np.asarray(moved - grey).ravel()
    assert shift.min() >= -0.09 - 1e-6
    assert shift.max() == pytest.approx(0.1, abs=1e-6)
    # Uniform in ±.1, then .01 up and cut off at .1.
    assert shift.mean() == pytest.approx(0.01, abs=0.006)
    assert shift.std() == pytest.approx(0.2 / 12**0.5, rel=0.1)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.floats(-1, 2, width=32), st.floats(0, 1, width=32), st.floats(0, 1, width=32))
def test_projection_is_the_nearest_point(value, centre, epsilon):
    projected = float(within(jnp.float32(value), jnp.float32(centre), epsilon))
    expected = max(0.0, centre - epsilon, min(1.0, centre + epsilon, value))
    assert projected == pytest.approx(expected, abs=1e-6)


def test_they_are_step_attacks_and_come_alone():
    recipe = train.Recipe()
    for adversary in ADVERSARIES:
        assert isinstance(adversary, attacks.StepAttack)
        assert not isinstance(adversary, attacks.BatchAttack)
        assert adversary.add_to(recipe) == train.Recipe(adversary=adversary)
    first = Fgsm(0.1)
    with pytest.raises(ValueError) as raised:
        Pgd().add_to(first.add_to(recipe))
    assert str(raised.value) == (
        f"a recipe must have one adversary at most, got {first!r} and {Pgd()!r}"
    )


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("fgsm", {"epsilon": 1.5}, "epsilon must lie in [0.0, 1.0], got 1.5"),
        ("pgd", {"epsilon": -1}, "epsilon must lie in [0.0, 1.0], got -1"),
        ("pgd", {"step_size": 0.0}, "step_size must be above 0, got 0.0"),
        ("pgd", {"num_steps": 0}, "num_steps must be at least 1, got 0"),
    ],
)
def test_wrong_parameters_are_named(name, parameters, message):
    with pytest.raises(ValueError) as raised:
        attacks.create(name, **parameters)
    assert str(raised.value) == message
    assert dataclasses.is_dataclass(attacks.create(name))
