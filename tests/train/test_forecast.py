"""The time forecast: the right order of magnitude, from shapes alone."""

import math

import pytest

from anw_jax import models, train
from anw_jax.train import classifier, runner

TESTING = models.create("testing", 10)


def test_flops_are_those_of_the_published_network():
    """ResNet-18 on 224-pixel photos takes 1.82 G multiply-adds (torchvision's table)."""
    resnet = models.create("resnet18", 1000, stem="imagenet")
    assert train.forward_flops(resnet, (224, 224, 3)) == pytest.approx(2 * 1.82e9, rel=0.1)


def test_a_training_twice_as_long_is_forecast_longer():
    def forecast(num_epochs: int) -> float:
        settings = train.TrainSettings(batch_size=32, num_epochs=num_epochs)
        return train.forecast_seconds(TESTING, settings, 320, (16, 16, 3))

    assert 0 < forecast(3) < forecast(300)


@pytest.mark.parametrize(
    ("costs", "flops"),
    [({"flops": 5.0}, 5.0), ([{"flops": 5}], 5.0), *((c, math.nan) for c in (None, [], {}))],
)
def test_costs_are_read_in_every_form_of_a_backend(costs, flops):
    assert classifier._counted_flops(costs) == pytest.approx(flops, nan_ok=True)


def test_without_counted_flops_there_is_no_forecast(monkeypatch):
    monkeypatch.setattr(classifier, "_counted_flops", lambda costs: math.nan)
    assert math.isnan(train.forward_flops(TESTING, (16, 16, 3)))
    settings = train.TrainSettings(batch_size=32, num_epochs=1)
    assert train.forecast_seconds(TESTING, settings, 320, (16, 16, 3)) is None


def test_quick_steps_are_repeated_until_they_take_a_while(monkeypatch):
    clock, calls = [0.0], []

    def take(count):
        calls.append(count)
        clock[0] += 2e-4 * count

    monkeypatch.setattr(runner.time, "perf_counter", lambda: clock[0])
    assert runner.seconds_each(take) == pytest.approx(2e-4)
    assert sum(calls) > 1000
