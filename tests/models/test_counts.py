import pytest

from anw_jax import models

# ImageNet counts are those torchvision documents for the same networks (VGG: `_bn`).
IMAGENET = {
    "alexnet": 61_100_840,
    "vgg16": 138_365_992,
    "vgg19": 143_678_248,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "wide_resnet50_2": 68_883_240,
    "densenet121": 7_978_856,
    "densenet161": 28_681_000,
}
# Wide-ResNet: the paper says 36.5 M. AlexNet and VGG-19:
# 2.47 M and 20.04 M in https://github.com/bearpaw/pytorch-classification.
CIFAR = {
    "alexnet": 2_472_266,
    "vgg19": 20_040_522,
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet50": 23_520_842,
    "resnet101": 42_512_970,
    "resnet152": 58_156_618,
    "wide_resnet28_10": 36_479_194,
}


def _cases(counts):
    """The deepest networks take seconds to trace."""
    deep = ("resnet152", "densenet121", "densenet161")
    return [
        pytest.param(*case, marks=pytest.mark.slow if case[0] in deep else ())
        for case in counts.items()
    ]


@pytest.mark.parametrize(("name", "count"), _cases(IMAGENET))
def test_imagenet_counts(name, count):
    model = models.create(name, 1000, stem="imagenet")
    assert models.count_parameters(model, (224, 224, 3)) == count


@pytest.mark.parametrize(("name", "count"), _cases(CIFAR))
def test_cifar_counts(name, count):
    assert models.count_parameters(models.create(name, 10), (32, 32, 3)) == count


@pytest.mark.parametrize("name", [n for n in models.NAMES if n.endswith("small")])
def test_small_sizes_are_small(name):
    count = models.count_parameters(models.create(name, 10), (32, 32, 3))
    assert 100_000 < count < 1_500_000


@pytest.mark.parametrize("name", [n for n in models.NAMES if n.endswith("testing")])
def test_testing_sizes_are_tiny(name):
    count = models.count_parameters(models.create(name, 10), (32, 32, 3))
    assert 1_000 < count < 10_000


@pytest.mark.parametrize("name", ["alexnet", "vgg16"])
def test_two_by_two_pixels_of_a_64_pixel_image_reach_the_logits(name):
    cifar, tiny = (
        models.count_parameters(models.create(name, 200, stem=stem), (side, side, 3))
        for stem, side in (("cifar", 32), ("tiny", 64))
    )
    assert tiny - cifar == 3 * models.create(name, 200).widths[-1] * 200


@pytest.mark.parametrize("name", ["small", "vgg_small", "wide_resnet_small"])
def test_both_norms_have_a_scale_and_a_bias_for_each_channel(name):
    batch, group = (models.create(name, 10, norm=norm) for norm in models.NORMS)
    shape = (32, 32, 3)
    assert models.count_parameters(batch, shape) == models.count_parameters(group, shape)


def test_bfloat16_changes_no_parameter():
    wide, narrow = (models.create("small", 10, dtype=d) for d in models.DTYPES)
    shape = (32, 32, 3)
    assert models.count_parameters(wide, shape) == models.count_parameters(narrow, shape)
