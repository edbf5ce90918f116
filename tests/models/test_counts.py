import pytest

from anw_jax import models

# ImageNet counts are those torchvision documents for the same networks.
IMAGENET = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}
CIFAR = {
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet50": 23_520_842,
    "resnet101": 42_512_970,
    "resnet152": 58_156_618,
}


@pytest.mark.parametrize(("name", "count"), IMAGENET.items())
def test_imagenet_counts(name, count):
    model = models.create(name, 1000, stem="imagenet")
    assert models.count_parameters(model, (224, 224, 3)) == count


@pytest.mark.parametrize(("name", "count"), CIFAR.items())
def test_cifar_counts(name, count):
    assert models.count_parameters(models.create(name, 10), (32, 32, 3)) == count


def test_small_and_testing_are_small():
    small = models.count_parameters(models.create("small", 10), (32, 32, 3))
    testing = models.count_parameters(models.create("testing", 10), (32, 32, 3))
    assert 100_000 < small < 1_500_000
    assert 1_000 < testing < 10_000


def test_bfloat16_changes_no_parameter():
    wide, narrow = (models.create("small", 10, dtype=d) for d in models.DTYPES)
    shape = (32, 32, 3)
    assert models.count_parameters(wide, shape) == models.count_parameters(narrow, shape)
