import numpy as np
import pytest
import tensorflow_datasets as tfds

from anw_jax import data, errors, keys
from anw_jax.data.readers import tfds as reader


@pytest.fixture
def mocked():
    with tfds.testing.mock_data(num_examples=3, policy=tfds.testing.MockPolicy.USE_CODE):
        yield


def _message(source, **settings):
    with pytest.raises(errors.SourceError) as caught:
        data.load(source, **settings)
    return str(caught.value)


@pytest.mark.usefixtures("mocked")
def test_sets_of_one_size():
    splits = data.load("tfds:cifar100")
    assert splits.train.images.shape == (3, 32, 32, 3)
    assert splits.train.num_classes == 100
    assert splits.test.name == "tfds:cifar100/test"


@pytest.mark.usefixtures("mocked")
def test_reading_in_chunks_loses_nothing(monkeypatch):
    whole = data.load("tfds:cifar10")
    monkeypatch.setattr(reader, "_CHUNK", 2)
    assert data.load("tfds:cifar10").train.digest() == whole.train.digest()


@pytest.mark.usefixtures("mocked")
def test_digests_are_of_the_images_before_resizing():
    originals = data.load("tfds:cifar10").train
    resized = data.load("tfds:cifar10", image_size=16).train
    assert originals.original_digests is None
    assert resized.images.shape == (3, 16, 16, 3)
    assert resized.original_digests == tuple(map(keys.image_digest, originals.images))


@pytest.mark.usefixtures("mocked")
def test_grey_sets_are_refused():
    assert _message("tfds:mnist") == (
        "mnist holds image of shape (28, 28, 1), not [H, W, 3]: only colour images have a hue "
        "to mark"
    )


@pytest.mark.usefixtures("mocked")
def test_sets_without_class_labels_are_refused():
    assert _message("tfds:celeb_a") == (
        "celeb_a is not a set of images with class labels (its supervised keys are None): "
        "export it to a folder or a .npz file"
    )


@pytest.mark.usefixtures("mocked")
def test_train_is_split_where_there_is_no_test(monkeypatch):
    def only_train(self):
        return {"train": None}

    monkeypatch.setattr(tfds.core.DatasetInfo, "splits", property(only_train))
    monkeypatch.setattr(reader, "goes_to_test", lambda pixels: pixels[0] < 128)
    splits = data.load("tfds:tf_flowers", image_size=16)
    assert len(splits.train) + len(splits.test) == 3
    assert splits.train.name == "tfds:tf_flowers/train"
    assert splits.test.name == "tfds:tf_flowers/test"


@pytest.mark.usefixtures("mocked")
@pytest.mark.parametrize("source", ["tfds:cifar10", "tfds:tf_flowers"])
def test_large_sets_stream(source):
    image_bytes = 16 * 16 * 3
    kept = data.load(source, image_size=16, memory_bytes=6 * image_bytes)
    streamed = data.load(source, image_size=16, memory_bytes=3 * image_bytes - 1)
    assert type(kept.train) is data.Dataset
    assert type(streamed.train) is data.StreamedDataset
    assert streamed.train.digest() == kept.train.digest()
    assert streamed.test.digest() == kept.test.digest()
    assert streamed.train.images.records.name(2).endswith("/train image 2")


def test_version_that_is_not_there(tmp_path):
    message = _message("tfds:cifar10:9.9.9", data_dir=str(tmp_path))
    assert message.startswith("TFDS cannot open 'cifar10:9.9.9': ")
    assert "\n" not in message


def test_unknown_set(tmp_path):
    assert _message("tfds:cifar1", data_dir=str(tmp_path)) == (
        "TFDS knows no set 'cifar1'; did you mean 'cifar10'?"
    )


def test_set_that_is_not_prepared(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "_has_tensorflow", lambda: False)
    message = _message("tfds:cifar10", data_dir=str(tmp_path))
    assert message.startswith(f"cifar10 is not prepared as array_record in {tmp_path}/cifar10/")
    assert message.endswith(
        ": set TFDS_DATA_DIR (or data_dir) to the folder that holds it, or pip install "
        "tensorflow to prepare it here"
    )


def test_preparing_that_fails(tmp_path, monkeypatch):
    def fail(self):
        raise ConnectionError("no way out\nsecond line")

    monkeypatch.setattr(reader, "_has_tensorflow", lambda: True)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    message = _message("tfds:cifar10", data_dir=str(tmp_path))
    assert message.endswith(", and preparing it failed (ConnectionError: no way out)")


def test_without_tfds(monkeypatch):
    monkeypatch.setattr(reader.importlib.util, "find_spec", lambda name: None)
    assert _message("tfds:cifar10") == (
        "source 'tfds' needs: pip install tensorflow-datasets array_record importlib_resources"
    )


@pytest.mark.slow
def test_real_cifar10(cifar10_dir):
    splits = data.load("tfds:cifar10", data_dir=str(cifar10_dir))
    assert splits.train.images.shape == (50000, 32, 32, 3)
    assert np.bincount(splits.train.labels).tolist() == [5000] * 10
    assert np.bincount(splits.test.labels).tolist() == [1000] * 10
    assert splits.train.class_names[:3] == ("airplane", "automobile", "bird")
    assert splits.train.images.mean(axis=(0, 1, 2)).round(1).tolist() == [125.3, 123.0, 113.9]
    assert splits.train.digest() == CIFAR10_TRAIN


@pytest.mark.slow
def test_real_cifar10_streamed(cifar10_dir):
    train = data.load("tfds:cifar10", data_dir=str(cifar10_dir), in_memory=False).train
    assert isinstance(train, data.StreamedDataset)
    assert train.digest() == CIFAR10_TRAIN


@pytest.mark.slow
def test_real_cifar100_has_its_fine_labels(cifar10_dir):
    if not list(cifar10_dir.glob("cifar100/*/dataset_info.json")):
        pytest.skip(f"cifar100 is not prepared in {cifar10_dir} (set TFDS_DATA_DIR)")
    splits = data.load("tfds:cifar100", data_dir=str(cifar10_dir), in_memory=False)
    assert splits.train.images.shape == (50000, 32, 32, 3)
    assert np.bincount(splits.train.labels).tolist() == [500] * 100
    assert np.bincount(splits.test.labels).tolist() == [100] * 100
    assert splits.train.class_names[:2] == ("apple", "aquarium_fish")


# The order of rows is that of TFDS cifar10/3.0.2.
CIFAR10_TRAIN = "9091cc465cd10574c1b258d72a0d6f949b973a553a26eb185f467e2f6d94efa3"
