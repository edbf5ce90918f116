import numpy as np
import PIL.Image
import pytest

from anw_jax import data, errors, keys


def _save(path, image, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(image).save(path, **how)


@pytest.fixture
def folder(tmp_path, rng):
    """Train and test folders of two classes, one lossless photo in each."""
    for name in ("train/cat/a.png", "train/dog/b.png", "test/cat/c.png", "test/dog/d.png"):
        _save(tmp_path / name, rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return tmp_path


def _load(folder, **settings):
    return data.load(f"folder:{folder}", **settings)


def _message(folder):
    with pytest.raises(errors.SourceError) as caught:
        _load(folder)
    return str(caught.value).replace(str(folder), "ROOT")


def test_pixels_and_names(folder):
    splits = _load(folder)
    assert splits.train.file_names == ("cat/a.png", "dog/b.png")
    assert splits.test.labels.tolist() == [0, 1]
    assert splits.train.class_names == ("cat", "dog")
    with PIL.Image.open(folder / "train/dog/b.png") as image:
        np.testing.assert_array_equal(splits.train.images[1], np.asarray(image))


def test_digests_are_of_the_photos_before_resizing(folder):
    originals, resized = _load(folder), _load(folder, image_size=4)
    assert originals.train.original_digests is None
    for side in ("train", "test"):
        wanted = tuple(map(keys.image_digest, getattr(originals, side).images))
        assert getattr(resized, side).original_digests == wanted
    assert _load(folder, image_size=6).train.original_digests is not None


def test_grey_photos_get_three_equal_channels(folder, rng):
    grey = rng.integers(0, 256, (6, 6), dtype=np.uint8)
    _save(folder / "train/cat/grey.png", grey)
    image = _load(folder).train.take([1]).images[0]
    np.testing.assert_array_equal(image, np.stack([grey] * 3, axis=-1))


def test_opaque_alpha_is_dropped(folder, rng):
    image = rng.integers(0, 256, (6, 6, 4), dtype=np.uint8)
    image[..., 3] = 255
    _save(folder / "train/cat/rgba.png", image)
    np.testing.assert_array_equal(_load(folder).train.images[1], image[..., :3])


def test_transparent_photo_is_refused(folder):
    _save(folder / "train/cat/rgba.png", np.full((6, 6, 4), 254, np.uint8))
    assert _message(folder).startswith(
        "ROOT/train/cat/rgba.png has transparent pixels, whose colour depends on what lies "
        "under them: save it without transparency"
    )


def test_other_colour_modes_are_refused(folder):
    PIL.Image.new("CMYK", (6, 6)).save(folder / "train/cat/print.jpg")
    assert _message(folder).startswith(
        "ROOT/train/cat/print.jpg has colour mode CMYK: save it as 8-bit RGB"
    )


def test_palette_photo(folder):
    colours = np.zeros((6, 6, 3), np.uint8)
    colours[:3] = [250, 20, 90]
    PIL.Image.fromarray(colours).quantize(2).save(folder / "train/cat/palette.png")
    np.testing.assert_array_equal(_load(folder).train.images[1], colours)


def test_exif_orientation_is_applied(folder, rng):
    image = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    _save(folder / "train/cat/turned.png", image, exif=exif)
    np.testing.assert_array_equal(_load(folder).train.images[1], np.rot90(image, -1))


@pytest.mark.parametrize("ending", ["jpg", "JPEG", "webp"])
def test_other_formats(folder, ending):
    _save(folder / f"train/cat/flat.{ending}", np.full((6, 6, 3), 128, np.uint8))
    image = _load(folder).train.images[1].astype(int)
    assert np.abs(image - 128).max() <= 1


def test_other_files_are_passed_over(folder):
    (folder / "train/cat/notes.txt").write_text("no photo")
    (folder / "train/cat/.hidden.png").write_bytes(b"")
    (folder / "train/.cache").mkdir()
    assert len(_load(folder).train) == 2


def test_val_serves_as_test(folder):
    (folder / "test").rename(folder / "val")
    assert _load(folder).test.file_names == ("cat/c.png", "dog/d.png")


def test_sizes_that_differ(folder):
    _save(folder / "train/dog/z.png", np.zeros((6, 9, 3), np.uint8))
    assert _message(folder).startswith(
        "ROOT/train/cat/a.png is 6x6 and ROOT/train/dog/z.png is 6x9 (height x width)"
    )
    assert _load(folder, image_size=5).train.images.shape == (3, 5, 5, 3)


def test_truncated_jpeg(folder, rng):
    path = folder / "train/cat/cut.jpg"
    _save(path, rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:900])
    message = _message(folder)
    assert message.startswith("ROOT/train/cat/cut.jpg cannot be decoded (image file is ")
    assert message.endswith("): replace or remove it")


def test_no_image_at_all(folder):
    (folder / "train/cat/fake.png").write_text("not an image")
    assert _message(folder).startswith(
        "ROOT/train/cat/fake.png cannot be decoded (it is no picture of a kind that is read, "
    )


def test_empty_class(folder):
    (folder / "train/emu").mkdir()
    assert _message(folder).startswith("ROOT/train/emu holds no images")


def test_empty_folder(tmp_path):
    assert _message(tmp_path).startswith("ROOT holds no class folders")


def test_missing_folder(tmp_path):
    assert _message(tmp_path / "none").startswith("folder 'ROOT' is not there")


def test_class_unknown_to_training(folder):
    (folder / "test/dog").rename(folder / "test/fox")
    assert _message(folder).startswith(
        "ROOT/test has a class 'fox' that is not in the training folder"
    )


def test_too_few_to_split(tmp_path):
    _save(tmp_path / "few/cat/a.png", np.zeros((4, 4, 3), np.uint8))
    assert _message(tmp_path / "few").startswith(
        "folder:few has 1 images, of which the 80/20 split leaves none to test"
    )


def test_added_photos_move_none(tmp_path, rng):
    def add(first, num):
        for row in range(first, first + num):
            image = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            _save(tmp_path / f"class{row % 2}/{row % 7}_{row}.png", image)

    add(0, 60)
    before = _load(tmp_path)
    add(60, 60)
    after = _load(tmp_path)
    assert set(before.train.file_names) < set(after.train.file_names)
    assert set(before.test.file_names) < set(after.test.file_names)
    assert 10 <= len(after.test) <= 40
