"""The first guess: right order of magnitude, from nothing but shapes."""

import pytest

from anw_jax import models, train

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
