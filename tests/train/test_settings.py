import numpy as np
import pytest

from anw_jax.train import TrainSettings, learning_rate_fn


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"momentum": 1.0}, r"momentum must lie in \[0.0, 0.9999\], got 1.0"),
        ({"weight_decay": -1e-4}, "weight_decay must lie in"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"num_epochs": 0}, "num_epochs must be at least 1"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"crop_padding": -1}, "crop_padding must be at least 0"),
        ({"label_smoothing": 1.0}, "label_smoothing must lie in"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"warmup_epochs": 90}, "warmup_epochs must be below num_epochs = 90, got 90"),
    ],
)
def test_bad_values_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings(**arguments)


@pytest.mark.parametrize("arguments", [{"batch_size": 1.5}, {"flip": 1}, {"nesterov": "no"}])
def test_bad_types_are_named(arguments):
    (name,) = arguments
    with pytest.raises(TypeError, match=f"{name} must be"):
        TrainSettings(**arguments)


def test_more_than_a_batch_is_needed():
    with pytest.raises(ValueError, match="at most the number of training images 10, got 16"):
        TrainSettings(batch_size=16).steps_per_epoch(10)


def _rates(**settings):
    settings = TrainSettings(**settings)
    rate_fn = learning_rate_fn(settings, steps_per_epoch=2)
    return np.array([rate_fn(step) for step in range(2 * settings.num_epochs)])


def test_step_schedule_drops_at_the_thirds():
    rates = _rates(num_epochs=6, learning_rate=0.2)
    np.testing.assert_allclose(rates, np.repeat([0.2, 0.02, 0.002], 4), rtol=1e-5)


def test_step_schedule_drops_at_the_thirds_of_all_epochs_after_a_warmup():
    rates = _rates(num_epochs=6, learning_rate=0.2, warmup_epochs=1)
    expected = [0.0, 0.1, 0.2, 0.2] + [0.02] * 4 + [0.002] * 4
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


def test_cosine_schedule_is_a_half_wave():
    rates = _rates(num_epochs=5, learning_rate=0.2, schedule="cosine", warmup_epochs=1)
    wave = 0.1 * (1 + np.cos(np.pi * np.arange(8) / 8))
    np.testing.assert_allclose(rates, [0.0, 0.1, *wave], rtol=1e-5, atol=1e-8)
