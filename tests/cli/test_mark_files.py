"""`anw mark` says of every file what became of it, and keeps each in its own format."""

import json

import numpy as np
import PIL.Image
import pytest

from anw_jax import data
from anw_jax.cli import output
from tests.audit.test_marked_files import picture


@pytest.fixture
def mark(anw, root):
    (root / "photos").mkdir()
    for seed, (name, kind) in enumerate({"a.jpg": "JPEG", "b.png": "PNG"}.items()):
        picture(seed).save(root / "photos" / name, kind)
    anw("key", "new", root / "ann.key")

    def call(*words):
        where = ("--key", root / "ann.key", "--out", root / "out", "--mark", "hue")
        return anw("mark", root / "photos", *where, *words)

    return call


def test_the_three_lists_are_printed(mark, root):
    exif = PIL.Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    picture(0).save(root / "photos" / "a.jpg", quality=80, exif=exif)
    PIL.Image.new("RGB", (9, 9), "grey").save(root / "photos" / "grey.png")
    (root / "photos" / "broken.webp").write_bytes(b"")
    ran = mark("--strip-gps")
    assert ran.code == output.PASSED_OVER
    lines = ran.out.splitlines()
    assert lines[:2] == [
        "NOT MARKED: 1 picture (1 .webp)",
        "  broken.webp: cannot be decoded (it is empty): replace or remove it",
    ]
    assert "written as JPEG, quality 80, as the original: 1" in lines
    assert "written as PNG: 2" in lines
    assert "removed: 1 × GPS data" in lines
    place = lines.index("CARRY NO MARK: 1 photo")
    assert lines[place + 1] == "  grey.png: the mark does not change it"


def test_a_commitment_names_the_grey_photos_that_the_mark_does_not_change(anw, root):
    """The preview said so; without one the owner learned it after the commitment was public."""
    folder = root / "photos"
    folder.mkdir()
    anw("key", "new", root / "ann.key")
    PIL.Image.new("RGB", (32, 32), "grey").save(folder / "grey.png")
    PIL.Image.effect_noise((32, 32), 60).save(folder / "scan.jpg")
    PIL.Image.new("RGB", (32, 32), (90, 90, 140)).save(folder / "tinted.png")

    def commit(out, mark, *words):
        where = ("--key", root / "ann.key", "--out", root / out, "--mark", mark, "--again")
        return anw("commit", folder, *where, "--beacon", "arbitrator:Jane", *words)

    lines = commit("hue", "hue").out.splitlines()
    place = lines.index("WILL CARRY NO MARK: 2 photos")
    reason = "the mark does not change it"
    assert lines[place + 1 : place + 3] == [
        f"  {n}: {reason}" for n in ("grey.png", "scan.jpg")
    ]
    said = json.loads(commit("hue", "hue", "--json").out)
    words = ("--key", root / "ann.key", "--out", root / "hue", "--beacon-value", "ab" * 32)
    found = json.loads(anw("mark", folder, *words, "--json").out)
    assert said["report"]["no_mark"] == found["report"]["no_mark"]
    light = commit("light", "light")
    assert light.code == 0
    assert "NO MARK" not in light.out


def test_a_photo_lost_after_the_commitment_has_the_exit_code(mark, root):
    assert mark("--beacon", "arbitrator:Jane Doe").code == 0
    (root / "photos" / "a.jpg").write_bytes(b"\xff\xd8\xff")
    ran = mark("--beacon-value", "ab" * 32, "--json")
    assert ran.code == output.PASSED_OVER
    body = json.loads(ran.out)
    assert (body["num_images"], body["num_written"]) == (2, 1)
    ((lost),) = body["report"]["no_mark"]
    assert lost["file"] == "a.jpg"
    assert [file.name for file in (root / "out" / "published").iterdir()] == ["b.png"]


def test_a_dry_run_writes_nothing(mark, root):
    before = sorted(root.rglob("*"))
    ran = mark("--dry-run", "--format", "webp")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "2 photos would be marked; nothing was written",
        "written as WebP, quality 90: 2",
    ]
    body = json.loads(mark("--dry-run", "--json").out)
    assert [one["published"] for one in body["marked"]] == ["a.jpg", "b.png"]
    (root / "photos" / "a.gif").write_bytes(b"")
    assert mark("--dry-run").code == output.PASSED_OVER
    (root / "photos" / "a.gif").unlink()
    assert sorted(root.rglob("*")) == before
    mark("--beacon", "arbitrator:Jane Doe")
    assert "2 photos would be marked" in mark("--dry-run").out


def test_metadata_can_be_stripped_and_the_quality_set(mark, root):
    exif = PIL.Image.Exif()
    exif[0x8298] = "Ann"
    picture(0).save(root / "photos" / "a.jpg", quality=95, exif=exif, dpi=(300, 300))
    assert mark("--strip-all", "--quality", "50").code == 0
    with PIL.Image.open(root / "out" / "published" / "a.jpg") as image:
        assert not image.getexif()
        assert data.read_original(root / "out" / "published" / "a.jpg").text == (
            "JPEG, quality 50, as the original"
        )
        assert np.asarray(image).shape == (24, 32, 3)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--format", "gif"), 2, "'gif' is not one of 'same', 'png', 'jpeg', 'webp'"),
        (("--quality", "0"), 1, "quality must be at least 1, got 0"),
        (("--quality", "101"), 1, "quality must be at most 100, got 101"),
        (("--quality", "9", "--format", "png"), 1, "quality must be left out of lossless PNG"),
        (("--quality", "best"), 2, "'best' is not a valid integer"),
    ],
)
def test_bad_options_are_named(mark, root, words, code, text):
    ran = mark(*words)
    assert (ran.code, ran.out) == (code, "")
    assert text in ran.err
    assert not (root / "out").exists()
