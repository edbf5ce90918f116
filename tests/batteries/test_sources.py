"""What holds for every source, whatever it reads."""

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

from anw_jax import data

SOURCES = (
    "photos",
    "mock:16",
    "npz:whole",
    "npz:split",
    "folder:whole",
    "folder:split",
    "folder:tiny_imagenet",
    "folder:cub",
    "tfds:cifar10",
    "tfds:imagenette",
)


def _images(num, seed):
    return np.random.default_rng(seed).integers(0, 256, (num, 24, 24, 3), dtype=np.uint8)


def _write_classes(root, num, seed):
    for row, image in enumerate(_images(num, seed)):
        folder = root / f"class{row % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(image).save(folder / f"{row:03}.png")


def _save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(image).save(path)


def _write_tiny_imagenet(root):
    wnids, boxes, annotations = ("n02", "n10", "n01"), {}, []
    for row, image in enumerate(_images(9, 7)):
        wnid = wnids[row % 3]
        _save(root / f"train/{wnid}/images/{wnid}_{row}.JPEG", image)
        boxes.setdefault(wnid, []).append(f"{wnid}_{row}.JPEG\t0\t0\t62\t62\n")
    for row, image in enumerate(_images(6, 8)):
        _save(root / f"val/images/val_{row}.JPEG", image)
        annotations.append(f"val_{row}.JPEG\t{wnids[row % 3]}\t0\t32\t44\t62\n")
    for wnid, lines in boxes.items():
        (root / f"train/{wnid}/{wnid}_boxes.txt").write_text("".join(lines))
    (root / "val/val_annotations.txt").write_text("".join(annotations))
    (root / "wnids.txt").write_text("\n".join(wnids))
    (root / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\tnewt\n")


def _write_cub(root):
    lists = {name: [] for name in ("images", "image_class_labels", "train_test_split")}
    for row, image in enumerate(_images(12, 9)):
        path = f"00{row % 3 + 1}.Bird/Bird_{row:04}.jpg"
        _save(root / "images" / path, image)
        for name, text in zip(lists, (path, row % 3 + 1, int(row % 4 > 0)), strict=True):
            lists[name].append(f"{row + 1} {text}\n")
    lists["classes"] = [f"{number} 00{number}.Bird\n" for number in (1, 2, 3)]
    for name, lines in lists.items():
        (root / f"{name}.txt").write_text("".join(lines))


def _write_source(kind, root):
    if kind == "npz:whole":
        np.savez(root / "a.npz", images=_images(40, 1), labels=np.arange(40) % 3)
        return f"npz:{root / 'a.npz'}"
    if kind == "npz:split":
        names = ("train_images", "train_labels", "test_images", "test_labels")
        arrays = (_images(8, 2), np.arange(8) % 3, _images(4, 3), np.arange(4) % 3)
        np.savez(root / "b.npz", **dict(zip(names, arrays, strict=True)))
        return f"npz:{root / 'b.npz'}"
    if kind == "folder:whole":
        _write_classes(root / "photos", 40, 4)
        return f"folder:{root / 'photos'}"
    if kind == "folder:split":
        _write_classes(root / "photos/train", 9, 5)
        _write_classes(root / "photos/val", 6, 6)
        return f"folder:{root / 'photos'}"
    if kind == "folder:tiny_imagenet":
        _write_tiny_imagenet(root / "tiny-imagenet-200")
        return f"folder:{root}"
    if kind == "folder:cub":
        _write_cub(root / "CUB_200_2011")
        return f"folder:{root}"
    return kind


@pytest.fixture(params=SOURCES, scope="module")
def load(request, tmp_path_factory):
    """A function of image_size that loads one of the sources."""
    source = _write_source(request.param, tmp_path_factory.mktemp("source"))
    is_tfds = source.startswith("tfds:")
    # Photos of imagenette differ in size, so it cannot be loaded without image_size.
    usual_size = 24 if source == "tfds:imagenette" else None

    def fun(image_size=usual_size, **where):
        if not is_tfds:
            return data.load(source, image_size=image_size, **where)
        with tfds.testing.mock_data(num_examples=5, policy=tfds.testing.MockPolicy.USE_CODE):
            return data.load(source, image_size=image_size, **where)

    fun.source = request.param
    return fun


@pytest.fixture(scope="module")
def splits(load):
    return load()


def test_battery_covers_every_source():
    assert {source.partition(":")[0] for source in SOURCES} == set(data.SOURCES)


@pytest.mark.parametrize("side", ["train", "test"])
def test_form(splits, side):
    dataset = getattr(splits, side)
    height, width = dataset.images.shape[1:3]
    assert dataset.images.dtype == np.uint8
    assert dataset.images.shape == (len(dataset), height, width, 3)
    assert dataset.labels.dtype == np.int32
    assert dataset.labels.shape == (len(dataset),)
    assert len(dataset) > 0
    assert dataset.labels.min() >= 0
    assert dataset.labels.max() < dataset.num_classes
    assert dataset.name.endswith(side)
    assert dataset.file_names is None or len(set(dataset.file_names)) == len(dataset)


def test_splits_agree_on_classes(splits):
    assert splits.train.class_names == splits.test.class_names
    assert len(set(splits.train.class_names)) == splits.train.num_classes


def test_arrays_cannot_be_written(splits):
    with pytest.raises(ValueError, match="read-only"):
        splits.train.images[0, 0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        splits.train.labels[0] = 1


def test_second_load_is_the_same(load, splits):
    again = load()
    assert again.train.digest() == splits.train.digest()
    assert again.test.digest() == splits.test.digest()
    assert again.train.file_names == splits.train.file_names


def test_image_size(load, splits):
    smaller = load(image_size=16)
    assert smaller.train.images.shape == (len(splits.train), 16, 16, 3)
    np.testing.assert_array_equal(smaller.train.labels, splits.train.labels)


def test_no_photo_on_both_sides(load, splits):
    if load.source.startswith("tfds:"):
        pytest.skip("TFDS mocks train and test alike")
    train = {image.tobytes() for image in splits.train.images}
    for image in splits.test.images:
        assert image.tobytes() not in train or image.max() < 16  # black corners of a photo


def test_pixels_are_not_all_alike(splits):
    assert len({image.tobytes() for image in splits.train.images}) > 3


@pytest.mark.parametrize("image_size", [24, 16])
def test_streamed_is_what_is_read_into_memory(load, image_size):
    whole, streamed = (load(image_size, in_memory=kept) for kept in (True, False))
    for side in ("train", "test"):
        wanted, given = getattr(whole, side), getattr(streamed, side)
        assert type(wanted) is data.Dataset
        assert isinstance(given, data.StreamedDataset)
        assert given.digest() == wanted.digest()
        assert (given.file_names, given.class_names, given.name) == (
            (wanted.file_names, wanted.class_names, wanted.name)
        )
        read = given.in_memory()
        np.testing.assert_array_equal(read.images, wanted.images)
        assert read.original_digests == wanted.original_digests


def test_a_second_streamed_load_is_the_same(load):
    first, second = (load(16, in_memory=False).train.images for _ in range(2))
    assert first.identity() == second.identity()
    assert first.identity() != load(12, in_memory=False).train.images.identity()
