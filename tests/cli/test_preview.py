"""`anw preview`: the look at a mark that comes before the commitment."""

import json
import re

import PIL.Image
import pytest

from anw_jax import audit
from anw_jax.cli import output
from tests.audit.test_marked_files import picture


@pytest.fixture
def look(anw, root):
    (root / "photos").mkdir()
    for seed, (name, kind) in enumerate({"a.jpg": "JPEG", "b.png": "PNG"}.items()):
        picture(seed).save(root / "photos" / name, kind)

    def call(*words):
        return anw("preview", root / "photos", "--out", root / "look", *words)

    return call


def test_the_mark_of_a_preview_is_the_one_that_is_committed_to(look, anw, root):
    ran = look("--mark", "tone", "--strength", "0.0625")
    assert ran.code == 0
    words = re.search(r"then: anw commit .*? (--mark .*)", ran.out)[1].split()
    anw("key", "new", root / "ann.key")
    where = ("--key", root / "ann.key", "--out", root / "out", "--no-beacon")
    assert anw("commit", root / "photos", *where, *words).code == 0
    mark = audit.read_published(root / "out").mark
    assert (type(mark).__name__, mark.strength) == ("Tone", 0.0625)


def test_figures_and_evidence_are_printed_and_written(look, root):
    ran = look("--mark", "hue")
    lines = ran.out.splitlines()
    assert lines[0] == "2 photos with the mark hue"
    assert re.match(r"colour difference \(CIEDE2000\), median of the photos: \d", lines[1])
    assert lines[3].startswith("with these 2 photos, from logits: p ≤ ")
    names = sorted(file.name for file in (root / "look").iterdir())
    assert names == ["preview.html", "preview.json", "preview.png"]
    body = json.loads(look("--mark", "hue", "--json").out)  # replaces the first
    assert body["num_units"] == 2
    assert body["photos"][0]["file"] == "a.jpg"
    with PIL.Image.open(root / "look" / "preview.png") as sheet:
        assert sheet.format == "PNG"


def test_the_page_needs_nothing_else(look, root):
    name = "a<script>b&c.png"
    picture(3).save(root / "photos" / name)
    look()
    page = (root / "look" / "preview.html").read_text()
    assert "<script" not in page
    assert "a&lt;script&gt;b&amp;c.png" in page
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == 6
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "url(" not in page
    assert page.count("<figure") == 3


def test_pictures_that_cannot_be_marked_have_the_exit_code(look, root):
    (root / "photos" / "broken.webp").write_bytes(b"")
    ran = look()
    assert ran.code == output.PASSED_OVER
    assert ran.out.startswith("NOT MARKED: 1 picture (1 .webp)\n  broken.webp: cannot be")
    assert "broken.webp" in (root / "look" / "preview.html").read_text()


def test_a_preview_leaves_the_photos_alone_and_no_commitment(look, root):
    before = {file.name: file.read_bytes() for file in (root / "photos").iterdir()}
    look()
    assert {file.name: file.read_bytes() for file in (root / "photos").iterdir()} == before
    assert sorted(file.name for file in root.iterdir()) == ["look", "photos"]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--mark", "lihgt"), 2, "'lihgt' is not one of 'hue', 'light'"),
        (("--strength", "strong"), 2, "'strong' is not a valid float"),
        (("--strength", "0"), 1, "strength must be above 0, got 0"),
        (("--strength", "2"), 1, "got 2"),
        (("--strength", "nan"), 1, "strength must be finite, got nan"),
        (("--mark", "hue", "--strength", "0.2"), 1, "strength must be left out of the mark"),
        (("--key", "ann.key"), 2, "No such option"),
        (("--out", ""), 1, "out must not hold the folder"),
    ],
)
def test_bad_options_are_named(look, root, words, code, text, monkeypatch):
    monkeypatch.chdir(root)
    ran = look(*words)
    assert (ran.code, ran.out) == (code, "")
    assert text in ran.err
    assert not (root / "look").exists()


def test_a_missing_library_is_named(look, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skimage", None)
    ran = look()
    assert ran.code == output.FAILED
    assert "of the extra 'report': pip install '.[report]'" in ran.err
