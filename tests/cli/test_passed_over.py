"""No picture below a folder is left unmarked in silence."""

import json
import shutil
import warnings

import numpy as np
import PIL.Image
import pytest

from anw_jax.cli import output
from tests.audit.conftest import write_photos


@pytest.fixture
def mark(anw, root):
    write_photos(root / "photos", number=2)
    anw("key", "new", root / "ann.key")

    def call(*words):
        return anw(
            "mark",
            root / "photos",
            "--key",
            root / "ann.key",
            "--out",
            root / "out",
            "--mark",
            "hue",
            *words,
        )

    return call


def test_pictures_that_are_passed_over_have_an_exit_code(mark, root):
    for name in ("a.gif", "b.JP2", "c.CR2", "d.tiff", "e.jfif", "f.svg"):
        (root / "photos" / name).write_bytes(b"")
    ran = mark()
    assert ran.code == output.PASSED_OVER == 11
    assert ran.err == ""
    assert ran.out.splitlines()[:7] == [
        "NOT MARKED: 6 pictures (1 .cr2, 1 .gif, 1 .jfif, 1 .jp2, 1 .svg, 1 .tiff)",
        "  a.gif: GIF",
        "  b.JP2: JPEG 2000, XL, XR or XS",
        "  c.CR2: RAW",
        "  d.tiff: cannot be decoded (it is empty): replace or remove it",
        "  e.jfif: JPEG under an ending that is not read",
        "  and 1 more; --json names all",
    ]


def test_a_warning_comes_once_however_often_its_cause_is_met(mark, root):
    (root / "ann.key").chmod(0o644)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for _ in range(2):  # once for each command
            assert mark().err.count("others can read the mark key") == 1
            shutil.rmtree(root / "out")


def test_other_and_hidden_files_are_counted_without_one(mark, root):
    (root / "photos" / "@eaDir").mkdir()
    for name in (
        "notes.txt",
        "b.TXT",
        "film.mov",
        ".DS_Store",
        "@eaDir/photo00.png",
        "Thumbs.db",
    ):
        (root / "photos" / name).write_bytes(b"")
    ran = mark("--json")
    assert ran.code == 0
    body = json.loads(ran.out)
    assert (body["num_written"], body["num_images"]) == (2, 2)
    assert body["report"] == {
        "notes": {},
        "passed_over": [],
        "other_files": {".mov": 1, ".txt": 2},
        "hidden_files": 3,
    }


def test_a_profile_is_kept_and_said(mark, root):
    body = bytearray(200)
    body[16:20], body[36:40] = b"RGB ", b"acsp"
    image = PIL.Image.fromarray(np.full((4, 4, 3), [9, 99, 199], np.uint8))
    image.save(root / "photos" / "photo00.png", icc_profile=bytes(body))
    ran = mark()
    assert ran.code == 0
    assert "1 photo with a colour profile other than sRGB, which is kept: the mark" in ran.out
    with PIL.Image.open(root / "out" / "published" / "photo00.png") as published:
        assert published.info["icc_profile"] == bytes(body)
    with PIL.Image.open(root / "out" / "published" / "photo01.png") as published:
        assert published.info == {}


def test_labels_in_words_and_none_are_said(mark, root):
    (root / "l.csv").write_text("photo00.png;cat\nphoto01.png;-\n")
    (root / "map.csv").write_text("cat;3\n")
    ran = mark("--labels", root / "l.csv", "--labels-map", root / "map.csv")
    assert ran.code == 0
    assert "photos without a class: 1; their rows are constant\n" in ran.out


def test_words_without_a_map_are_the_arbitrators_to_map(mark, root):
    (root / "l.csv").write_text("photo00.png\tcat\nphoto01.png\tdog\n")
    ran = mark("--labels", root / "l.csv")
    assert ran.code == 0
    assert "labels are words: the arbitrator has to map them to class numbers\n" in ran.out


def test_a_map_needs_labels(mark, root):
    ran = mark("--labels-map", root / "map.csv")
    assert ran.code == 1
    assert ran.err == f"anw: labels_map needs labels, got {root / 'map.csv'} alone\n"
