"""Every file ends in one list; one that is broken stops nothing; a kill leaves nothing half."""

import hashlib
import json
import os

import numpy as np
import PIL.Image
import pytest

from anw_jax import audit, data
from anw_jax.audit import marking
from anw_jax.errors import CaseError, SourceError
from anw_jax.keys import Manifest, MarkKey, Plan, assign
from anw_jax.marks import HueRotation, publish
from tests.audit.conftest import hand_over
from tests.audit.owners import mark_folder

KEY = MarkKey.for_experiment(3)
PLAN = Plan("losses", 1e-3)
WITH_BEACON = Plan("losses", 1e-3, beacon="round 7")
SUFFIX = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tif", "AVIF": "avif"}


def picture(seed, size=(32, 24)):
    rng = np.random.default_rng(seed)
    small = PIL.Image.fromarray(rng.integers(40, 215, (4, 6, 3), dtype=np.uint8))
    return small.resize(size, PIL.Image.Resampling.BICUBIC)


@pytest.fixture
def photos(root):
    folder = root / "photos"
    (folder / "album").mkdir(parents=True)
    for seed, (kind, suffix) in enumerate(SUFFIX.items()):
        how = {"quality": 92} if kind in ("JPEG", "AVIF") else {}
        how |= {"lossless": True} if kind == "WEBP" else {}
        place = folder / "album" if kind == "TIFF" else folder
        picture(seed).save(place / f"{kind.lower()}.{suffix}", kind, **how)
    return folder


def report_of(root):
    return json.loads((root / "out" / "report.json").read_text())


def test_each_format_is_published_in_its_own(root, photos):
    for number, file in enumerate(data.list_photos(photos)):
        os.utime(file, (10**9 + number, 10**9 + 2 * number))
    mark_folder(photos, KEY, root / "out", PLAN)
    manifest = Manifest.load(root / "out" / "manifest.json")
    plan = audit.read_published(root / "out").plan
    degrees = assign(KEY, manifest, plan).degrees
    out = root / "out" / "published"
    originals = data.list_photos(photos)
    assert [f.relative_to(out) for f in data.list_photos(out)] == [
        f.relative_to(photos) for f in originals
    ]
    for file, name, angle in zip(originals, manifest.file_names, degrees, strict=True):
        original, marked = data.read_original(file), data.read_original(out / name)
        wanted = publish(HueRotation(), original.pixels[None], float(angle))[0]
        error = np.abs(marked.pixels.astype(int) - wanted).mean()
        assert error <= (4 if original.kind in ("JPEG", "AVIF") else 0), (name, error)
        assert marked.kind == original.kind
        assert (out / name).stat().st_mtime == file.stat().st_mtime
    body = report_of(root)
    assert body["format"] == "anw_jax marking report, version 1"
    assert [one["file"] for one in body["marked"]] == list(manifest.file_names)
    assert body["marked"][-1]["written_as"].startswith("WebP, lossless")
    assert (body["no_mark"], body["passed_over"]) == ([], [])


def test_the_digests_of_the_published_files_are_written_beside_them(root, photos):
    done = mark_folder(photos, KEY, root / "out", PLAN)
    body = json.loads((root / "out" / "published.json").read_text())
    assert body["format"] == "anw_jax published files, version 1"
    assert body["commitment"] == done.commitment
    folder = root / "out" / "published"
    assert body["files"] == {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*.*")
    }


@pytest.mark.parametrize(
    ("wanted", "ending"), [("png", ".png"), ("jpeg", ".jpg"), ("webp", ".webp")]
)
def test_another_format_can_be_chosen(root, photos, wanted, ending):
    mark_folder(photos, KEY, root / "out", PLAN, encoding=data.Encoding(wanted))
    files = data.list_photos(root / "out" / "published")
    assert {file.suffix for file in files} == {ending}
    assert {data.read_original(file).kind for file in files} == {wanted.upper()}


def test_broken_files_are_passed_over_and_stop_nothing(root, photos):
    whole = (photos / "jpeg.jpg").read_bytes()
    (photos / "a truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "b empty.png").write_bytes(b"")
    (photos / "c words.tif").write_bytes(b"words")
    picture(9).save(photos / "d.gif")
    done = mark_folder(photos, KEY, root / "out", PLAN)
    assert done.num_written == done.num_images == 5
    reasons = {one["file"]: one["reason"] for one in report_of(root)["passed_over"]}
    assert list(reasons) == ["a truncated.jpg", "b empty.png", "c words.tif", "d.gif"]
    assert reasons["d.gif"] == "GIF"
    assert reasons["a truncated.jpg"].startswith("cannot be decoded (")


def test_a_folder_of_broken_files_is_an_error(root):
    (root / "photos").mkdir()
    (root / "photos" / "a.png").write_bytes(b"")
    with pytest.raises(CaseError, match=r"none of the photos can be marked: a\.png cannot"):
        mark_folder(root / "photos", KEY, root / "out", PLAN)
    assert not (root / "out").exists()


def test_photos_lost_after_the_commitment_stay_in_it_and_carry_no_mark(root, photos):
    mark_folder(photos, KEY, root / "out", WITH_BEACON)
    manifest = (root / "out" / "manifest.json").read_bytes()
    (photos / "jpeg.jpg").write_bytes((photos / "jpeg.jpg").read_bytes()[:300])
    (photos / "png.png").unlink()
    picture(77).save(photos / "webp.webp", lossless=True)
    (photos / "avif.avif").rename(photos / "avif.mov")
    picture(5).save(photos / "later.png")
    key = next(root.glob("*.key"))
    done = audit.publish_folder(photos, key, root / "out", beacon=b"value")
    assert [one.file for one in done.marked] == ["album/tiff.tif"]
    reasons = dict(done.lost)
    assert reasons.pop("jpeg.jpg").startswith("cannot be decoded (")
    assert reasons == {
        "avif.avif": "was committed to, and is not there any more",
        "png.png": "was committed to, and is not there any more",
        "webp.webp": "was changed after it was committed to",
    }
    (moved, (name, why)) = done.report.passed_over
    assert moved == ("avif.mov", "a picture whose ending is not that of one")
    assert (name, why[:22]) == ("later.png", "was not committed to: ")
    assert (root / "out" / "manifest.json").read_bytes() == manifest
    listed = {one["file"] for one in report_of(root)["no_mark"]}
    assert listed == set(dict(done.lost))


def test_if_all_are_lost_nothing_is_published(root, photos):
    mark_folder(photos, KEY, root / "out", WITH_BEACON)
    key = next(root.glob("*.key"))
    (root / "others").mkdir()
    picture(1).save(root / "others" / "x.png")
    with pytest.raises(
        CaseError, match=r"no photo that was committed to can be marked in .*oth"
    ):
        audit.publish_folder(root / "others", key, root / "out", beacon=b"value")
    left = {file.name for file in (root / "out").iterdir()}
    assert left == {"manifest.json", "commitment.json"}


def test_the_very_file_is_marked_where_it_is_decoded_otherwise(root, photos, monkeypatch):
    """Another version of a codec: the file's bytes were committed to as well."""
    mark_folder(photos, KEY, root / "out", WITH_BEACON)
    read = data.read_original

    def otherwise(path):
        original = read(path)
        is_jpeg = original.kind == "JPEG"
        object.__setattr__(original, "pixels", original.pixels ^ np.uint8(is_jpeg))
        return original

    monkeypatch.setattr(data, "read_original", otherwise)
    key = next(root.glob("*.key"))
    assert audit.publish_folder(photos, key, root / "out", beacon=b"value").lost == ()


def test_what_a_format_cannot_hold_is_told_of_one_photo(root, photos):
    picture(3).convert("RGBA").rotate(45).save(photos / "clear.png")
    encoding = data.Encoding("jpeg")
    done = mark_folder(photos, KEY, root / "out", PLAN, encoding=encoding)
    assert done.num_written == 5
    ((name, why),) = done.lost
    assert (name, why[:40]) == ("clear.png", "has transparency, which JPEG cannot hold")


def test_a_survey_writes_nothing_and_says_what_marking_says(root, photos):
    (photos / "broken.png").write_bytes(b"")
    picture(0, (3, 3)).save(photos / "tiny.png")
    before = sorted(root.rglob("*"))
    found = audit.survey(photos, root / "out", 4)
    assert sorted(root.rglob("*")) == before
    assert (found.commitment, found.lost) == ("", ())
    assert [name for name, _ in found.report.passed_over] == ["broken.png", "tiny.png"]
    (photos / "tiny.png").unlink()
    mark_folder(photos, KEY, root / "out", PLAN)
    body = report_of(root)
    assert [one.file for one in found.marked] == [one["file"] for one in body["marked"]]
    assert [one.written_as for one in found.marked] == [
        one["written_as"] for one in body["marked"]
    ]
    (photos / "png.png").unlink()
    again = audit.survey(photos, root / "out", 4)
    assert [name for name, _ in again.lost] == ["png.png"]
    assert again.commitment == body["commitment"]


@pytest.mark.parametrize("at", [1, 3, 5, 6, 7, 8])
def test_a_kill_leaves_nothing_half_written(root, photos, monkeypatch, at):
    """The process ends in the middle of the file with this number, or before the last names."""
    mark_folder(photos, KEY, root / "out", WITH_BEACON)
    before = {file.name for file in (root / "out").iterdir()}
    key = next(root.glob("*.key"))
    calls, replace = [], os.replace

    class Killed(BaseException):
        pass

    def replaced(source, target):
        calls.append(target)
        if len(calls) == at:
            raise Killed
        return replace(source, target)

    monkeypatch.setattr(os, "replace", replaced)
    with pytest.raises(Killed):
        audit.publish_folder(photos, key, root / "out", beacon=b"value")
    monkeypatch.undo()
    left = {file.name for file in (root / "out").iterdir()}
    assert left - before <= {
        "published.partial",
        "shards.partial",
        "report.json",
        "published.json",
    }
    done = audit.publish_folder(photos, key, root / "out", beacon=b"value")
    assert done.num_written == 5
    folder = root / "out" / "published"
    assert not list((root / "out").rglob("*.partial"))
    for one in done.marked:
        body = (folder / one.published).read_bytes()
        assert hashlib.sha256(body).hexdigest() == one.published_sha256


def test_an_older_case_skips_what_was_passed_over_then(root, case_dir):
    """CMYK, TIFF and broken files beside the originals were no photos when it was made."""
    hand_over(root, case_dir, number=3)
    folder = case_dir / "owners" / "ann" / "originals"
    picture(1).convert("CMYK").save(folder / "print.jpg")
    picture(2).save(folder / "scan.tiff")
    (folder / "broken.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="3 such files in all"):
        originals = audit.Case(case_dir).owners["ann"].originals
    assert len(originals.present) == 3
    picture(3).save(folder / "new.png")
    with (
        pytest.warns(UserWarning, match="3 such files in all"),
        pytest.raises(CaseError, match=r"new\.png"),
    ):
        _ = audit.Case(case_dir).owners


def test_each_original_is_found_by_the_arbitrator(root, photos):
    """Of all formats, with the digests of their decoded pixels."""
    from anw_jax.audit.originals import read_originals

    mark_folder(photos, KEY, root / "out", PLAN)
    photos.rename(root / "originals")
    manifest = Manifest.load(root / "out" / "manifest.json")
    assert len(read_originals(root, manifest).present) == 5


def test_reasons_leave_the_file_out(root):
    file = root / "a b.png"
    assert marking.reason_of(SourceError(f"{file} has no pixels"), file) == "has no pixels"
