import numpy as np
import PIL.Image
import pytest

from anw_jax import data, errors

WNIDS = ("n02", "n10", "n01")  # wnids.txt is in no order


def _save(path, level):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.full((8, 8, 3), level, np.uint8)).save(path, quality=100)


@pytest.fixture
def root(tmp_path):
    """Two training photos and one validation photo for each of three classes."""
    root = tmp_path / "tiny-imagenet-200"
    annotations = []
    for number, wnid in enumerate(WNIDS):
        names = [f"{wnid}_{row}.JPEG" for row in range(2)]
        for row, name in enumerate(names):
            _save(root / "train" / wnid / "images" / name, 40 * number + 10 * row)
        lines = (f"{name}\t0\t0\t7\t7\n" for name in names)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("".join(lines))
        _save(root / f"val/images/val_{number}.JPEG", 200 + 10 * number)
        annotations.append(f"val_{number}.JPEG\t{wnid}\t0\t3\t4\t6\n")
    _save(root / "test/images/test_0.JPEG", 0)
    (root / "val/val_annotations.txt").write_text("".join(annotations))
    (root / "wnids.txt").write_text("\n".join(WNIDS))
    words = "n00\tabacus\nn01\tgoldfish, Carassius auratus\nn02\tsea newt\n"
    (root / "words.txt").write_text(words)
    return root


def _message(root):
    with pytest.raises(errors.SourceError) as caught:
        data.load(f"folder:{root}")
    return str(caught.value).replace(str(root), "ROOT")


def test_photos_and_labels(root):
    splits = data.load(f"folder:{root}")
    assert splits.train.class_names == ("n01 goldfish", "n02 sea newt", "n10")
    assert splits.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert splits.train.images[:, 0, 0, 0].tolist() == [80, 90, 0, 10, 40, 50]
    assert splits.train.file_names[2] == "n02/images/n02_0.JPEG"
    assert splits.test.labels.tolist() == [1, 2, 0]
    assert splits.test.images[:, 0, 0, 0].tolist() == [200, 210, 220]
    assert splits.test.file_names == tuple(f"images/val_{row}.JPEG" for row in range(3))
    assert splits.train.name == "folder:tiny-imagenet-200/train"


def test_the_folder_above_serves_too(root):
    above, below = (data.load(f"folder:{folder}") for folder in (root.parent, root))
    assert above.train.digest() == below.train.digest()
    assert above.test.digest() == below.test.digest()
    assert above.test.name == below.test.name


def test_words_are_not_needed(root):
    (root / "words.txt").unlink()
    assert data.load(f"folder:{root}").test.class_names == ("n01", "n02", "n10")


def test_grey_photos_get_three_equal_channels(root):
    grey = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    path = root / "train/n01/images/n01_0.JPEG"
    PIL.Image.fromarray(grey).save(path)
    image = data.load(f"folder:{root}").train.images[0]
    with PIL.Image.open(path) as written:
        assert written.mode == "L"
        np.testing.assert_array_equal(image, np.stack([np.asarray(written)] * 3, axis=-1))


def test_photos_sorted_into_plain_folders_are_read_as_such(root, tmp_path):
    plain = tmp_path / "plain"
    for wnid in WNIDS:
        _save(plain / "train" / wnid / "a.JPEG", 1)
        _save(plain / "val" / wnid / "b.JPEG", 2)
    (plain / "wnids.txt").write_text("\n".join(WNIDS))
    assert data.load(f"folder:{plain}").train.class_names == ("n01", "n02", "n10")


def _drop(path):
    path.unlink() if path.is_file() else path.rename(path.parent / f"was_{path.name}")


@pytest.mark.parametrize(
    ("dropped", "message"),
    [
        (
            "train/n02/images/n02_1.JPEG",
            "ROOT/train/n02/images/n02_1.JPEG is listed in ROOT/train/n02/n02_boxes.txt",
        ),
        (
            "val/images/val_2.JPEG",
            "ROOT/val/images/val_2.JPEG is listed in ROOT/val/val_annotations.txt",
        ),
        (
            "train/n10",
            "ROOT/train/n10/images is not there, though wnids.txt lists the class n10",
        ),
        ("val", "ROOT/val/images is not there"),
        (
            "val/val_annotations.txt",
            "ROOT/val/val_annotations.txt cannot be read (FileNotFoundError)",
        ),
        (
            "train/n01/n01_boxes.txt",
            "ROOT/train/n01/n01_boxes.txt cannot be read (FileNotFoundError)",
        ),
    ],
)
def test_what_is_missing_is_named(root, dropped, message):
    _drop(root / dropped)
    assert _message(root).startswith(message)


def _append(path, text):
    path.write_text(path.read_text() + text)


@pytest.mark.parametrize(
    ("listing", "line", "message"),
    [
        (
            "val/val_annotations.txt",
            "val_0.JPEG\tn10\t0\t0\t7\t7\n",
            "ROOT/val/val_annotations.txt lists val_0.JPEG twice",
        ),
        (
            "val/val_annotations.txt",
            "val_3.JPEG\tn10\n",
            "ROOT/val/val_annotations.txt has a line 'val_3.JPEG n10' of 2 columns, not 6",
        ),
        (
            "wnids.txt",
            "\nn77",
            "ROOT/train/n77/images is not there, though wnids.txt lists the class n77",
        ),
    ],
)
def test_lists_that_do_not_fit(root, listing, line, message):
    _append(root / listing, line)
    assert _message(root).startswith(message)


def test_photos_that_no_list_names(root):
    _save(root / "val/images/val_9.JPEG", 0)
    assert _message(root).startswith(
        "ROOT/val/images/val_9.JPEG is not listed in ROOT/val/val_annotations.txt"
    )


def test_a_class_that_is_not_listed(root):
    path = root / "val/val_annotations.txt"
    path.write_text(path.read_text().replace("n10", "n11"))
    assert _message(root).startswith(
        "ROOT/val/val_annotations.txt names a class 'n11' that wnids.txt does not list"
    )


def test_an_empty_list(root):
    (root / "wnids.txt").write_text("\n")
    assert _message(root).startswith("ROOT/wnids.txt is empty")
