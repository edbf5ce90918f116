import numpy as np
import PIL.Image
import pytest

from anw_jax import data, errors

CLASSES = ("001.Black_footed_Albatross", "002.Laysan_Albatross")
# Number, class, whether it trains, grey level; in no order.
PHOTOS = ((3, 1, 0, 30), (1, 2, 1, 10), (4, 2, 0, 40), (2, 1, 1, 20), (5, 1, 1, 50))


def _path(number, label):
    return f"{CLASSES[label - 1]}/Bird_{number:04}.jpg"


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "CUB_200_2011"
    for number, label, _, level in PHOTOS:
        path = root / "images" / _path(number, label)
        path.parent.mkdir(parents=True, exist_ok=True)
        photo = np.full((8, 8, 3), level, np.uint8)
        PIL.Image.fromarray(photo).save(path, quality=100)
    lists = {
        "images": [(number, _path(number, label)) for number, label, *_ in PHOTOS],
        "image_class_labels": [(number, label) for number, label, *_ in PHOTOS],
        "train_test_split": [(number, trains) for number, _, trains, _ in PHOTOS],
        "classes": list(enumerate(CLASSES, start=1)),
    }
    for name, rows in lists.items():
        lines = (f"{first} {second}\n" for first, second in rows)
        (root / f"{name}.txt").write_text("".join(lines))
    return root


def _message(root):
    with pytest.raises(errors.SourceError) as caught:
        data.load(f"folder:{root}")
    return str(caught.value).replace(str(root), "ROOT")


def test_photos_and_labels(root):
    splits = data.load(f"folder:{root}")
    assert splits.train.class_names == CLASSES
    assert splits.train.file_names == (_path(2, 1), _path(5, 1), _path(1, 2))
    assert splits.train.labels.tolist() == [0, 0, 1]
    assert splits.train.images[:, 0, 0, 0].tolist() == [20, 50, 10]
    assert splits.test.file_names == (_path(3, 1), _path(4, 2))
    assert splits.test.labels.tolist() == [0, 1]
    assert splits.test.images[:, 0, 0, 0].tolist() == [30, 40]
    assert splits.test.name == "folder:CUB_200_2011/test"


def test_the_folder_above_serves_too(root):
    above, below = (data.load(f"folder:{folder}") for folder in (root.parent, root))
    assert above.train.digest() == below.train.digest()
    assert above.train.name == below.train.name


def test_order_of_lines_changes_nothing(root):
    before = data.load(f"folder:{root}")
    for name in ("images", "image_class_labels", "train_test_split"):
        path = root / f"{name}.txt"
        path.write_text("".join(sorted(path.read_text().splitlines(keepends=True))))
    after = data.load(f"folder:{root}")
    assert after.train.digest() == before.train.digest()


def test_photos_of_any_shape(root):
    wide = np.zeros((6, 12, 3), np.uint8)
    wide[:, 3:9] = 255
    PIL.Image.fromarray(wide).save(root / "images" / _path(2, 1), quality=100)
    image = data.load(f"folder:{root}", image_size=6).train.images[0]
    assert image.shape == (6, 6, 3)
    assert image.min() > 200  # the middle


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "images",
            "Bird_0004",
            "Bird_0009",
            "ROOT/images/002.Laysan_Albatross/Bird_0009.jpg is listed in ROOT/images.txt",
        ),
        (
            "train_test_split",
            "4 0\n",
            "",
            "ROOT/train_test_split.txt has no line for image 4",
        ),
        (
            "image_class_labels",
            "5 1\n",
            "5 1\n6 1\n",
            "ROOT/images.txt has no line for image 6",
        ),
        (
            "image_class_labels",
            "5 1",
            "5 3",
            "ROOT/image_class_labels.txt has '3' for image 5",
        ),
        (
            "train_test_split",
            "4 0",
            "4 2",
            "ROOT/train_test_split.txt has '2' for image 4",
        ),
        (
            "train_test_split",
            "4 0",
            "4 0\n4 0",
            "ROOT/train_test_split.txt has a number twice",
        ),
        (
            "classes",
            "2 ",
            "2",
            "ROOT/classes.txt has a line '2002.Laysan_Albatross' of 1 columns, not 2",
        ),
    ],
)
def test_lists_that_do_not_fit(root, name, old, new, message):
    path = root / f"{name}.txt"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert _message(root).startswith(message)


@pytest.mark.parametrize("name", ["image_class_labels", "train_test_split", "classes"])
def test_a_list_that_is_missing(root, name):
    (root / f"{name}.txt").unlink()
    assert _message(root).startswith(
        f"ROOT/{name}.txt cannot be read (FileNotFoundError): restore it from the archive"
    )


@pytest.mark.parametrize(("flag", "side"), [("1", "test"), ("0", "train")])
def test_a_side_without_photos(root, flag, side):
    lines = "".join(f"{number} {flag}\n" for number, *_ in PHOTOS)
    (root / "train_test_split.txt").write_text(lines)
    assert _message(root).startswith(
        f"ROOT/train_test_split.txt leaves no image to {side}: restore it from the archive"
    )
