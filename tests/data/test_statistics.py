import numpy as np
import pytest

from anw_jax import data


@pytest.mark.parametrize("in_memory", [True, False])
def test_is_mean_and_deviation_of_the_pixels(in_memory, monkeypatch):
    dataset = data.load("mock:40", image_size=8, in_memory=in_memory).train
    pixels = dataset.images[:].astype(np.float64) / 255
    mean, std = data.channel_statistics(dataset)
    np.testing.assert_allclose(mean, pixels.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std((0, 1, 2)), rtol=1e-12)


def test_streamed_is_in_memory_to_the_bit():
    whole, streamed = (
        data.load("mock:33", image_size=8, in_memory=kept).train for kept in (True, False)
    )
    np.testing.assert_array_equal(
        data.channel_statistics(whole), data.channel_statistics(streamed)
    )


def test_one_level_has_no_spread():
    images = np.zeros((2, 3, 3, 3), np.uint8)
    images[..., 1], images[..., 2] = 255, 51
    mean, std = data.channel_statistics(data.Dataset(images, [0, 0], ("a",), "flat"))
    np.testing.assert_allclose(mean, [0.0, 1.0, 0.2], atol=1e-15)
    np.testing.assert_allclose(std, 0.0, atol=1e-7)


def test_bad_arguments():
    with pytest.raises(TypeError, match=r"^dataset must be a Dataset, got ndarray"):
        data.channel_statistics(np.zeros((2, 3, 3, 3), np.uint8))
    empty = data.load("mock:8", image_size=4).train.take([])
    with pytest.raises(ValueError) as caught:
        data.channel_statistics(empty)
    assert str(caught.value) == "dataset must hold at least one image, got none"
