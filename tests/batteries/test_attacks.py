"""What holds for every attack; `test_cross.py` trains against each of them."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax import attacks, models, train
from tests.batteries.attack_cases import CASES
from tests.quick import quick_compilation

KINDS = (attacks.PhotoAttack, attacks.BatchAttack, attacks.StepAttack, attacks.ModelAttack)


def test_battery_covers_every_attack():
    assert set(CASES) == set(attacks.NAMES)


@pytest.fixture
def quick():
    """Each of these programs runs once."""
    with quick_compilation():
        yield


@pytest.fixture(params=CASES)
def name(request):
    if request.param not in attacks.NAMES:
        pytest.skip("not registered; test_battery_covers_every_attack fails")
    return request.param


@pytest.fixture
def attack(name):
    return attacks.create(name, **CASES[name][0])


def test_an_attack_is_of_one_kind(attack):
    assert sum(isinstance(attack, kind) for kind in KINDS) == 1


def test_an_attack_is_plain_values(name, attack):
    assert type(attack).__doc__.splitlines()[0].strip().endswith(".")
    assert attack.__dataclass_params__.frozen
    assert json.loads(json.dumps(dataclasses.asdict(attack))) == {
        field: list(value) if isinstance(value, tuple) else value
        for field, value in dataclasses.asdict(attack).items()
    }
    again = attacks.create(name, **dataclasses.asdict(attack))
    assert again == attack
    assert hash(again) == hash(attack)


def test_bad_parameters_are_refused(name):
    _, wrong, message = CASES[name]
    with pytest.raises((ValueError, TypeError)) as error:
        attacks.create(name, **(CASES[name][0] | wrong))
    assert str(error.value) == message


def _batch():
    images = jax.random.uniform(jax.random.key(1), (4, 8, 8, 3))
    return images, jax.nn.one_hot(jnp.arange(4), 4)


@pytest.mark.usefixtures("quick")
def test_form_is_kept(attack, small_images):
    if isinstance(attack, attacks.PhotoAttack):
        prepared = attack.prepare(small_images, seed=3)
        assert (prepared.shape, prepared.dtype) == (small_images.shape, np.uint8)
        np.testing.assert_array_equal(attack.prepare(small_images, seed=3), prepared)
    elif isinstance(attack, attacks.BatchAttack):
        images, targets = jax.jit(attack.transform)(jax.random.key(0), *_batch())
        assert (images.shape, images.dtype) == ((4, 8, 8, 3), np.float32)
        assert (targets.shape, targets.dtype) == ((4, 4), np.float32)
        assert 0 <= float(images.min()) <= float(images.max()) <= 1
        assert float(targets.min()) >= 0
        np.testing.assert_allclose(targets.sum(axis=1), 1.0, atol=1e-5)
    elif isinstance(attack, attacks.StepAttack):
        recipe = attack.add_to(train.Recipe())
        assert isinstance(recipe, train.Recipe)
        assert recipe != train.Recipe()
        assert recipe == attack.add_to(train.Recipe())


@functools.cache
def _untrained():
    model = models.create("testing", 4)
    return attacks.TrainedModel.of(model, model.init(jax.random.key(0), (8, 8, 3)))


# The others train: tests/attacks looks at them.
@pytest.mark.parametrize("name", ["prune", "output_noise", "rounding"])
def test_answers_keep_their_form(name, quick):
    nothing = np.zeros((0, 8, 8, 3), np.uint8), np.zeros(0, np.int32)
    material = attacks.Material(train.TrainSettings(), *nothing, *nothing, seed=0)
    changed = attacks.create(name, **CASES[name][0]).change(_untrained(), material)
    assert isinstance(changed.predict, jax.tree_util.Partial)
    logits = jax.jit(lambda predict, images: predict(images))(changed.predict, _batch()[0])
    assert (logits.shape, logits.dtype) == ((4, 4), np.float32)
    assert np.isfinite(logits).all()
    assert json.loads(json.dumps(changed.details)) == changed.details
