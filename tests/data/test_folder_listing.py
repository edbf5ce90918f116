"""Every file below an owner's folder is told of: as a photo, passed over, or counted."""

import os
import pathlib

import numpy as np
import PIL.Image
import pytest

from anw_jax import data, errors

PICTURE = PIL.Image.fromarray(np.full((4, 6, 3), [200, 30, 40], np.uint8))

OTHER = PIL.Image.fromarray(np.full((4, 6, 3), [10, 200, 40], np.uint8))


def listed(folder):
    found = data.list_folder(folder)
    return {path.relative_to(folder).as_posix(): why for path, why in found.passed_over}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "photos"
    root.mkdir()
    PICTURE.save(root / "b.png")
    return root


def test_the_four_lists_hold_every_file(folder):
    PICTURE.save(folder / "a.JPG", "JPEG")
    PICTURE.save(folder / "c.gif")
    for name in ("notes.txt", "film.MOV", "README", "x.txt", ".DS_Store", "Thumbs.db"):
        (folder / name).write_bytes(b"words")
    found = data.list_folder(folder)
    assert [path.name for path in found.photos] == ["a.JPG", "b.png"]
    assert listed(folder) == {"c.gif": "GIF"}
    assert found.others == {"": 1, ".mov": 1, ".txt": 2}
    assert found.num_hidden == 2
    total = len(found.photos) + len(found.passed_over) + sum(found.others.values())
    assert total + found.num_hidden == sum(len(files) for _, _, files in os.walk(folder))


@pytest.mark.parametrize(
    "name",
    "a.gif a.bmp a.jfif a.jpe a.jif a.jp2 a.jxl a.psd a.svg "
    "a.CR2 a.cr3 a.nef a.ARW a.dng a.raf a.orf a.rw2 a.apng a.mpo a.tga a.ico a.qoi".split(),
)
def test_pictures_of_other_kinds_are_named_by_their_ending(folder, name):
    (folder / name).write_bytes(b"")
    assert list(listed(folder)) == [name]


@pytest.mark.parametrize(
    ("ending", "kind"),
    [("", "PNG"), (".bak", "JPEG"), (".png_original", "PNG"), (".1", "GIF"), (".dat", "WEBP"),
     (".tmp", "TIFF"), (".JPG~", "JPEG"), (".old", "BMP"), (".photo", "AVIF")],
)  # fmt: skip
def test_pictures_under_any_name_are_seen_by_their_first_bytes(folder, ending, kind):
    PICTURE.save(folder / f"photo{ending}", kind)
    assert listed(folder) == {
        f"photo{ending}": "a picture whose ending is not that of one",
    }


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_passed_over_and_refused(folder, kind):
    path = folder / f"moving.{kind.lower()}"
    PICTURE.save(path, save_all=True, append_images=[OTHER], lossless=True)
    assert listed(folder) == {path.name: "2 frames of an animation"}
    with pytest.raises(errors.SourceError, match="has 2 frames of an animation: save the one"):
        data.read_photo(path)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_single_frame_is_no_animation(folder, kind):
    PICTURE.save(folder / f"still.{kind.lower()}", save_all=True, lossless=True)
    assert listed(folder) == {}


def test_a_jpeg_with_a_second_picture_is_a_photo(folder):
    """As phones write them: a gain map, a depth map, the other eye."""
    PICTURE.save(folder / "phone.jpg", "MPO", save_all=True, append_images=[PICTURE])
    assert listed(folder) == {}
    assert data.read_photo(folder / "phone.jpg").shape == (4, 6, 3)


def test_links(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    PICTURE.save(tmp_path / "elsewhere" / "z.png")
    (folder / "album").symlink_to(tmp_path / "elsewhere")
    (folder / "z.png").symlink_to(tmp_path / "elsewhere" / "z.png")
    (folder / "broken.png").symlink_to("nowhere.png")
    (folder / "broken").symlink_to("nowhere")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "up").symlink_to(folder)
    (folder / "lib.so").symlink_to("nowhere.so")
    assert listed(folder) == {
        "album": "a link to a folder",
        "broken": "a broken link (No such file or directory)",
        "broken.png": "a broken link (No such file or directory)",
        "loop.jpg": "a broken link (Too many levels of symbolic links)",
        "up": "a link to a folder",
    }
    assert [path.name for path in data.list_photos(folder)] == ["b.png", "z.png"]
    assert data.list_folder(folder).others == {".so": 1}


def test_what_is_named_like_a_photo_and_is_none(folder):
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    (folder / "bundle.png" / "inside").mkdir(parents=True)
    assert listed(folder) == {
        "bundle.png": "a folder named like a photo",
        "pipe.png": "a pipe",
        "zero.jpg": "a device",
    }
    for name, kind in {
        "pipe.png": "pipe",
        "zero.jpg": "device",
        "bundle.png": "folder",
    }.items():
        with pytest.raises(errors.SourceError, match=f"{name} must be a file, but is a {kind}"):
            data.read_photo(folder / name)


@pytest.mark.parametrize(
    "name", ["@eaDir", "__MACOSX", ".thumbnails", "#recycle", "$RECYCLE.BIN", "lost+found"]
)
def test_thumbnails_of_systems_are_no_photos(folder, name):
    (folder / name / "b.png").mkdir(parents=True)
    PICTURE.save(folder / name / "b.png" / "SYNOPHOTO_THUMB_XL.jpg")
    found = data.list_folder(folder)
    assert [path.name for path in found.photos] == ["b.png"]
    assert (found.passed_over, found.num_hidden) == ((), 1)


def test_a_photo_that_lies_in_the_cloud_is_named(folder):
    (folder / ".IMG_1.HEIC.icloud").write_bytes(b"bplist00")
    assert listed(folder) == {".IMG_1.HEIC.icloud": "not downloaded from iCloud"}


def test_a_folder_that_cannot_be_read_is_refused(folder, monkeypatch):
    """Root may read all, so the system's answer is played."""
    (folder / "deep" / "closed").mkdir(parents=True)
    scan = os.scandir

    def closed(path):
        if pathlib.Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(errors.SourceError) as error:
        data.list_folder(folder)
    assert str(error.value) == (
        f"folder {folder / 'deep' / 'closed'} cannot be read (Permission denied), and what is "
        "in it would be left out: make it readable, or move it away"
    )


def test_photos_are_in_the_order_of_their_paths_at_any_depth(folder):
    for name in ("z/a.png", "a/z.png", "a-b.png", "a/b/c.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        PICTURE.save(folder / name)
    names = [path.relative_to(folder).as_posix() for path in data.list_photos(folder)]
    assert names == sorted(names) == ["a-b.png", "a/b/c.png", "a/z.png", "b.png", "z/a.png"]


def test_a_training_folder_warns_of_pictures_that_it_does_not_read(folder, tmp_path):
    for name in ("cat", "dog", "@eaDir", "__MACOSX", ".cache"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(6):
            picture = np.full((4, 4, 3), [number, len(name), 90], np.uint8)
            PIL.Image.fromarray(picture).save(tmp_path / "set" / name / f"{number}.png")
    PICTURE.save(tmp_path / "set" / "cat" / "a.gif")
    (tmp_path / "set" / "dog" / "b.HEIC").write_bytes(b"")
    with pytest.warns(
        UserWarning, match=r"image files that are not read .*: 1 \.gif, 1 \.heic"
    ):
        splits = data.load(f"folder:{tmp_path / 'set'}")
    assert splits.train.class_names == ("cat", "dog")
    assert len(splits.train) + len(splits.test) == 12
