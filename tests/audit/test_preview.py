"""A preview shows a mark before anything is committed to, and knows no key of the owner's."""

import gc
import sys
import weakref

import numpy as np
import PIL.Image
import pytest

from anw_jax import audit, data
from anw_jax.audit import preview as module
from anw_jax.audit.preview import check_preview_out
from anw_jax.errors import CaseError, SourceError
from anw_jax.keys import MarkKey
from tests.audit.test_marked_files import picture

_OPENED: list[str] = []
sys.addaudithook(lambda event, args: event == "open" and _OPENED.append(str(args[0])))


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for seed, name in enumerate(("a.jpg", "b.png", "sub/c.webp")):
        picture(seed).save(folder / name)
    return folder


def test_the_owners_key_is_neither_needed_nor_read(photos, tmp_path, monkeypatch):
    key_file = tmp_path / "ann.key"
    MarkKey.generate().save(key_file)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(MarkKey, "load", lambda *_: pytest.fail("a key was loaded"))
    _OPENED.clear()
    audit.preview_folder(photos)
    assert any(name.endswith("a.jpg") for name in _OPENED), "the hook sees what is read"
    assert not [name for name in _OPENED if name.endswith("ann.key")]


def test_each_preview_draws_other_marks(photos):
    """With a key of the owner's, or none drawn at all, two would be alike."""
    first, second = (audit.preview_folder(photos, "hue") for _ in range(2))
    pairs = zip(first.photos, second.photos, strict=True)
    alike = [one.pair.after == other.pair.after for one, other in pairs]
    assert not all(alike)
    assert [one.pair.before for one in first.photos] == [p.pair.before for p in second.photos]


def test_slots_are_uniform_and_never_the_unmarked_one():
    seen = []
    for _ in range(40):
        throw_away = audit.ThrowAwayMark("hue")
        red = np.full((1, 1, 3), (200, 40, 40), np.uint8)
        seen += [throw_away.apply(red).tobytes() for _ in range(55)]
    counts = np.unique(seen, return_counts=True)[1]
    assert len(counts) == 11
    assert bytes((200, 40, 40)) not in seen
    # 2,200 draws, 200 expected of each, deviation 13.5.
    assert abs(counts - 200).max() < 6 * 13.5


def test_a_given_key_gives_the_same_slot_at_any_strength():
    """As a slider needs it."""
    mark_key, photo = MarkKey.for_experiment(1), np.asarray(picture(0))
    weak, strong = (
        audit.ThrowAwayMark("tone", strength, mark_key).apply(photo).astype(int) - photo
        for strength in (0.1, 0.2)
    )
    assert abs(strong).sum() > 1.5 * abs(weak).sum()
    assert (np.sign(weak) * np.sign(strong) >= 0).all()


def test_a_broken_file_stops_nothing(photos):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    PIL.Image.new("RGB", (3, 3)).save(photos / "tiny.png")
    found = audit.preview_folder(photos, "light")
    assert [photo.file for photo in found.photos] == ["a.jpg", "b.png", "sub/c.webp"]
    assert [name for name, _ in found.report.passed_over] == ["broken.jpg", "tiny.png"]
    assert "the mark needs" in found.report.passed_over[1][1]


def test_a_photo_that_the_mark_does_not_change_is_named_and_counts_for_nothing(photos):
    PIL.Image.new("RGB", (32, 32), "grey").save(photos / "grey.png")
    (photos / "copy.png").write_bytes((photos / "b.png").read_bytes())
    found = audit.preview_folder(photos, "hue")
    assert found.unchanged == ("grey.png",)
    assert (len(found.photos), found.num_units) == (5, 3)
    assert {one.num_units for one in found.expected} == {3}
    alone = photos.parent / "grey"
    alone.mkdir()
    (photos / "grey.png").rename(alone / "grey.png")
    nothing = audit.preview_folder(alone, "hue")
    assert nothing.expected == ()
    assert nothing.evidence_lines == [
        "no evidence is to be expected: the mark changes no photo"
    ]


def test_of_a_large_folder_a_spread_is_shown_and_the_most_changed(photos, monkeypatch):
    monkeypatch.setattr(module, "MOST_SHOWN", 2)
    for number in range(7):
        colour = "red" if number == 4 else "grey"
        PIL.Image.new("RGB", (32, 32), colour).save(photos / f"d{number}.png")
    (photos / "a.jpg").unlink()
    (photos / "b.png").unlink()
    (photos / "sub" / "c.webp").unlink()
    found = audit.preview_folder(photos, "hue")
    assert found.most_changed.file == "d4.png"
    assert [photo.file for photo in found.shown] == ["d0.png", "d4.png", "d6.png"]
    assert len(found.photos) == 7


def test_one_full_size_photo_is_held_at_a_time(photos, monkeypatch):
    alive, reported = [], []
    read = data.read_original

    def watched(file):
        gc.collect()
        assert not [one for one in alive if one() is not None]
        original = read(file)
        alive.append(weakref.ref(original))
        return original

    monkeypatch.setattr(data, "read_original", watched)
    audit.preview_folder(photos, on_progress=lambda *done: reported.append(done))
    assert len(alive) == 3
    assert reported == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.slow
def test_two_processes_find_what_one_finds(photos, monkeypatch):
    for number in range(20):
        picture(number + 9).save(photos / f"e{number:02d}.png")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    monkeypatch.setattr(MarkKey, "generate", lambda: MarkKey.for_experiment(4))
    monkeypatch.setattr("anw_jax.shards.workers._LEAST_BYTES", 0)
    alone, both = (audit.preview_folder(photos, "light", workers=number) for number in (1, 2))
    assert both.as_json() == alone.as_json()
    assert [one.pair for one in both.shown] == [one.pair for one in alone.shown]
    assert len({one.quality.ciede2000_p95 for one in both.photos}) > 20


def test_the_figures_are_those_of_the_photos(photos):
    found = audit.preview_folder(photos, "light", 0.5)
    weaker = audit.preview_folder(photos, "light", 0.05)
    assert weaker.typical.ciede2000_median < 0.3 * found.typical.ciede2000_median
    assert weaker.typical.ssim > found.typical.ssim
    qualities = [photo.quality for photo in found.photos]
    assert found.typical.ssim == np.median([one.ssim for one in qualities])
    assert found.typical.num_pixels == sum(one.num_pixels for one in qualities)
    body = found.as_json()
    assert (body["mark"], body["strength"], len(body["photos"])) == ("light", 0.5, 3)
    assert "pair" not in body["photos"][0]


@pytest.mark.parametrize(
    ("mark", "strength", "text"),
    [
        ("lihgt", None, r"mark must be one of .*; got 'lihgt'; did you mean 'light'"),
        ("light", 0.0, "strength must be above 0, got 0"),
        ("light", 1.5, r"strength must .*1.*got 1.5"),
        ("light", float("nan"), "strength must be finite, got nan"),
        ("hue", 0.5, "strength must be left out of the mark 'hue', got 0.5"),
    ],
)
def test_marks_and_strengths_out_of_range(photos, mark, strength, text):
    with pytest.raises(ValueError, match=text):
        audit.preview_folder(photos, mark, strength)


def test_folders_without_a_photo(tmp_path):
    with pytest.raises(SourceError, match="is not there"):
        audit.preview_folder(tmp_path / "none")
    with pytest.raises(SourceError, match="holds no photos"):
        audit.preview_folder(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(CaseError, match=r"none of the photos can be marked: a\.jpg cannot be"):
        audit.preview_folder(tmp_path)


def test_where_a_preview_may_be_written(photos, tmp_path):
    check_preview_out(photos, tmp_path / "new")
    with pytest.raises(CaseError, match="must lie outside the folder of originals"):
        check_preview_out(photos, photos / "look")
    with pytest.raises(CaseError, match="must not hold the folder of originals"):
        check_preview_out(photos, tmp_path)
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    (earlier / "preview.png").touch()
    check_preview_out(photos, earlier)
    (earlier / "ann.key").touch()
    with pytest.raises(CaseError, match="must be a new folder or that of an earlier preview"):
        check_preview_out(photos, earlier)
    with pytest.raises(CaseError, match="must be a new folder"):
        check_preview_out(photos, earlier / "ann.key")
