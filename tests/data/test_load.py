import pytest

from anw_jax import data, errors


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "photo",
            "source must begin with one of photos, tfds, folder, npz, mock; got 'photo'; "
            "did you mean 'photos'?",
        ),
        ("", "source must begin with one of photos, tfds, folder, npz, mock; got ''"),
        (
            "mock:3",
            "source 'mock:<n>' needs a number of images from 4 to 10000, for example mock:64; "
            "got '3'",
        ),
        (
            "mock",
            "source 'mock:<n>' needs a number of images from 4 to 10000, for example mock:64; "
            "got ''",
        ),
    ],
)
def test_sources_that_cannot_be(source, message):
    with pytest.raises(errors.SourceError) as caught:
        data.load(source)
    assert str(caught.value) == message


def test_source_must_be_text():
    with pytest.raises(TypeError, match=r"^source must be a str, got int: 3$"):
        data.load(3)


@pytest.mark.parametrize("image_size", [0, -1])
def test_image_size_must_be_positive(image_size):
    with pytest.raises(ValueError, match=r"^image_size must be at least 1"):
        data.load("mock:8", image_size=image_size)


def test_mock_is_golden():
    splits = data.load("mock:8")
    assert splits.train.digest() == MOCK_TRAIN
    assert splits.test.digest() == MOCK_TEST


def test_mock_grows_by_adding_classes_in_turn():
    splits = data.load("mock:10", image_size=4)
    assert splits.train.labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


MOCK_TRAIN = "c1b53822931687881ae73b9692c3b37f760e5c440111fd583c51f22ca020279f"
MOCK_TEST = "d7f8642d2fa26076bafa6390ff61ba346f838d67b5a6a74ab6f83c231f1f7dc5"
