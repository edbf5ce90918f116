"""Shards: results do not depend on how photos are cut; what does not fit is refused."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from anw_jax import data
from anw_jax.errors import CaseError
from anw_jax.keys import Manifest, Plan, assign, image_digest
from anw_jax.keys.digests import node_hash, tree_levels
from anw_jax.marks import HueRotation, publish
from anw_jax.shards import DigestPass, Shard, cut, join_digests, join_marked, run_pass
from anw_jax.shards.shard import lines_path
from tests.shards.passes import (
    KEY,
    SPACE,
    digests_of,
    manifest_of,
    mark_job,
    names_of,
    photos_of,
    write_folder,
)

WITH_BEACON = Plan("losses", 0.01, beacon="round 7")


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path / "photos")
    return tmp_path / "photos"


@pytest.fixture
def manifest(folder, tmp_path):
    return manifest_of(digests_of(folder, tmp_path / "work", 4))


def contents(folder):
    return {f.name: f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def marked(folder, out, manifest, size, **more):
    job, shards = mark_job(folder, out, manifest, **more), cut(photos_of(manifest), size)
    run_pass(job, shards)
    return job, shards, join_marked(shards, job)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 13, None])
def test_the_manifest_is_that_of_one_machine(folder, tmp_path, size):
    """The twin: `Manifest.of` on pixels, without shards."""
    names = [name for name in names_of(folder) if name != "b/broken.png"]
    images = [data.read_photo(folder / name) for name in names]
    files = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names]
    albums = [name[0] for name in names]
    whole = Manifest.of(images, SPACE, "per_group", albums, names, file_digests=files)
    done = digests_of(folder, tmp_path / "work", size)
    assert manifest_of(done) == whole
    assert manifest_of(done).digest == whole.digest
    assert [name for name, _ in done.passed_over] == ["b/broken.png"]


@pytest.mark.parametrize("size", [1, 4, 12])
def test_each_photo_gets_the_mark_of_its_unit_and_the_root_is_the_same(
    folder, tmp_path, manifest, size
):
    *_, whole = marked(folder, tmp_path / "whole", manifest, 100)
    job, _, done = marked(folder, tmp_path / "out", manifest, size)
    assert done == whole
    assert contents(tmp_path / "out" / "published") == contents(
        tmp_path / "whole" / "published"
    )
    degrees = assign(KEY, manifest, job.slots.plan).degrees
    for name, angle in zip(manifest.file_names, degrees, strict=True):
        pixels = publish(HueRotation(), data.read_photo(folder / name)[None], float(angle))
        np.testing.assert_array_equal(data.read_photo(job.published / name), pixels[0])
    leaves = [
        hashlib.sha256(
            b"anw_jax/v1/published-leaf\0"
            + (8).to_bytes(8, "big")
            + index.to_bytes(8, "big")
            + len(name).to_bytes(8, "big")
            + name.encode()
            + (32).to_bytes(8, "big")
            + hashlib.sha256((job.published / name).read_bytes()).digest()
        ).digest()
        for index, name in enumerate(manifest.file_names)
    ]
    level = tree_levels(leaves)[0]
    while len(level) > 1:
        level = [node_hash(*level[i : i + 2]) for i in range(0, len(level), 2)]
    assert done.root == level[0].hex()


def test_a_pass_run_twice_writes_nothing_and_a_changed_photo_again(folder, tmp_path, manifest):
    job, shards, done = marked(folder, tmp_path / "out", manifest, 4)
    times = {f: f.stat().st_mtime_ns for f in job.work.iterdir()}
    inodes = {f: f.stat().st_ino for f in job.published.rglob("*.png")}
    run_pass(job, shards)
    assert {f: f.stat().st_mtime_ns for f in job.work.iterdir()} == times
    assert {f: f.stat().st_ino for f in job.published.rglob("*.png")} == inodes
    (job.published / "a/02.png").unlink()
    (job.published / "b/01.png").write_bytes(b"cut off")
    run_pass(job, shards)
    assert join_marked(shards, job) == done
    assert data.read_photo(job.published / "a/02.png").shape == (5, 6, 3)
    assert data.read_photo(job.published / "b/01.png").shape == (5, 6, 3)


def test_digests_of_a_changed_photo_are_made_again(folder, tmp_path):
    before = digests_of(folder, tmp_path / "work", 4)
    image = np.full((5, 6, 3), 7, np.uint8)
    (folder / "a/04.png").write_bytes(data.png_of(image))
    (folder / "b/broken.png").write_bytes(data.png_of(image + 1))
    after = digests_of(folder, tmp_path / "work", 4)
    changed = set(zip(after.names, after.image_digests, strict=True)) - set(
        zip(before.names, before.image_digests, strict=True)
    )
    assert changed == {
        ("a/04.png", image_digest(image)),
        ("b/broken.png", image_digest(image + 1)),
    }
    assert after.passed_over == []


def test_a_photo_changed_between_the_passes_carries_no_mark(folder, tmp_path, manifest):
    (folder / "a/04.png").write_bytes(data.png_of(np.zeros((5, 6, 3), np.uint8)))
    (folder / "b/01.png").unlink()
    *_, done = marked(folder, tmp_path / "out", manifest, 4)
    assert done.lost == (
        ("a/04.png", "was changed after it was committed to"),
        ("b/01.png", "cannot be read: No such file or directory"),
    )
    assert not (tmp_path / "out" / "published" / "a/04.png").exists()


def test_a_photo_that_is_there_again_is_marked_after_all(folder, tmp_path, manifest):
    (folder / "b/01.png").rename(folder / "away")
    *_, done = marked(folder, tmp_path / "out", manifest, 4)
    assert len(done.lost) == 1
    (folder / "away").rename(folder / "b/01.png")
    *_, done = marked(folder, tmp_path / "out", manifest, 4)
    *_, whole = marked(folder, tmp_path / "whole", manifest, 4)
    assert done == whole


def test_shards_must_all_be_there_once_and_in_order(folder, tmp_path, manifest):
    digests_of(folder, tmp_path / "work", 4)
    shards = cut(names_of(folder), 4)
    words = r"shards must be numbered 0, 1, 2, … in order, got {} at place {}: one is missing"
    for wrong, (number, place) in {
        (0, 2, 3): (2, 1),
        (0, 1, 1, 2, 3): (1, 2),
        (1, 0, 2, 3): (1, 0),
    }.items():
        with pytest.raises(ValueError, match=words.format(number, place)):
            join_digests([shards[i] for i in wrong], folder, tmp_path / "work", 1)
    job, of_marking, _ = marked(folder, tmp_path / "out", manifest, 4)
    with pytest.raises(ValueError, match=words.format(2, 1)):
        join_marked([of_marking[0], of_marking[2]], job)


def test_names_must_be_in_order_and_each_once(folder, tmp_path):
    for names, words in {
        ("a/02.png", "a/00.png"): "got 'a/00.png' after 'a/02.png'",
        ("a/00.png", "a/00.png"): "got 'a/00.png' after 'a/00.png'",
    }.items():
        shards = cut(names, 1)
        work = tmp_path / names[0].replace("/", "-")
        run_pass(DigestPass(folder, work), shards)
        with pytest.raises(ValueError, match=f"ascending order of their names.*{words}"):
            join_digests(shards, folder, work, 1)


def damaged(path):
    lines = path.read_text().splitlines()
    return {
        "missing": None,
        "empty": "",
        "cut off": "\n".join(lines)[:-9],
        "a line too few": "\n".join(lines[:-1]),
        "of another format": path.read_text().replace("version 1", "version 0"),
        "a line that stands twice": "\n".join([*lines[:-1], lines[-2]]),
        "no object": "\n".join([*lines[:-1], "[1]"]),
    }


WORDS = {
    "missing": r"shard 1 is missing: .*0000001.jsonl is not there; run the pass on it",
    "empty": r"0000001.jsonl is damaged .*: remove it",
    "cut off": r"0000001.jsonl is damaged .*: remove it",
    "a line too few": r"0000001.jsonl must hold 4 photos, got 3; run the pass on this shard",
    "of another format": r"0000001.jsonl: format must be 'anw_jax shard of .*', got 'anw_jax",
    "a line that stands twice": r"is of another shard: its photo must be '.*', got '.*'; run",
    "no object": r"0000001.jsonl is damaged .*: remove it",
}


@pytest.mark.parametrize("fault", WORDS)
@pytest.mark.parametrize("which", ["first", "second"])
def test_a_bad_file_of_a_shard_is_named_and_made_again(folder, tmp_path, fault, which):
    done = digests_of(folder, tmp_path / "work", 4)
    manifest = manifest_of(done)
    job, shards, whole = marked(folder, tmp_path / "out", manifest, 4)
    path = lines_path({"first": tmp_path / "work", "second": job.work}[which], shards[1])
    text = damaged(path)[fault]
    path.unlink()
    if text is not None:
        path.write_text(text)

    def join():
        if which == "second":
            return join_marked(shards, job)
        return join_digests(cut(names_of(folder), 4), folder, tmp_path / "work", 1)

    with pytest.raises(CaseError, match=WORDS[fault]):
        join()
    assert digests_of(folder, tmp_path / "work", 4) == done
    run_pass(job, shards)
    assert join_marked(shards, job) == whole


def test_two_files_that_changed_places_are_refused(folder, tmp_path, manifest):
    job, shards, _ = marked(folder, tmp_path / "out", manifest, 4)
    first, second = (lines_path(job.work, shard) for shard in shards[:2])
    body = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(body)
    with pytest.raises(CaseError, match=r"0000000.jsonl: shard must be 0, got 1"):
        join_marked(shards, job)
    second.write_text(second.read_text().replace('"shard": 0', '"shard": 1'))
    first.write_text(first.read_text().replace('"shard": 1', '"shard": 0'))
    with pytest.raises(CaseError, match=r"is of another shard: its photo must be 'a/00.png'"):
        join_marked(shards, job)


def test_shards_of_another_job_are_refused_and_marked_again(folder, tmp_path, manifest):
    """Another manifest, plan, beacon value or encoding."""
    out, value = tmp_path / "out", b"value"
    job, shards, done = marked(folder, out, manifest, 4, plan=WITH_BEACON, value=value)
    fewer = Manifest.of(
        manifest.file_names, SPACE, file_names=manifest.file_names,
        digests=manifest.image_digests,
    )  # fmt: skip
    others = {
        "manifest": mark_job(folder, out, fewer, WITH_BEACON, value),
        "plan": mark_job(folder, out, manifest),
        "value": mark_job(folder, out, manifest, WITH_BEACON, b"other"),
        "encoding": mark_job(
            folder, out, manifest, WITH_BEACON, value, data.Encoding(strip_all=True)
        ),
    }
    assert len({job.digest, *(other.digest for other in others.values())}) == 5
    for other in others.values():
        words = f"0000000.jsonl: job must be '{other.digest}', got '{job.digest}'; run"
        with pytest.raises(CaseError, match=words):
            join_marked(shards, other)
    run_pass(others["value"], shards[:1])
    with pytest.raises(CaseError, match=r"0000000.jsonl: job must be"):
        join_marked(shards, job)
    run_pass(job, shards)
    assert join_marked(shards, job) == done


@pytest.mark.parametrize(
    "change",
    [
        {"published_sha256": "00" * 32},
        {"published": "a/elsewhere.png"},
        {"leaf": "11" * 32},
        {"leaf": None},
    ],
)
def test_a_line_that_its_leaf_does_not_fit_is_refused(folder, tmp_path, manifest, change):
    job, shards, _ = marked(folder, tmp_path / "out", manifest, 4)
    path = lines_path(job.work, shards[0])
    head, first, *rest = path.read_text().splitlines()
    body = json.dumps(json.loads(first) | change)
    path.write_text("\n".join([head, body, *rest]))
    with pytest.raises(CaseError, match=r"damaged \(the leaf of 'a/00.png' does not fit"):
        join_marked(shards, job)


def test_a_damaged_line_of_digests_is_refused(folder, tmp_path):
    digests_of(folder, tmp_path / "work", 4)
    shards = cut(names_of(folder), 4)
    path = lines_path(tmp_path / "work", shards[0])
    for change in ({"sha256": "short"}, {"file_sha256": None}, {"size": [0, 4]}, {"size": 3}):
        head, first, *rest = path.read_text().splitlines()
        body = json.dumps(json.loads(first) | change)
        path.write_text("\n".join([head, body, *rest]))
        with pytest.raises(CaseError, match=r"damaged \(the line of 'a/00.png'\): remove it"):
            join_digests(shards, folder, tmp_path / "work", 1)
        path.unlink()
        digests_of(folder, tmp_path / "work", 4)


def test_photos_too_small_for_the_mark_are_passed_over_in_the_join(folder, tmp_path):
    digests_of(folder, tmp_path / "work", 4)
    done = join_digests(cut(names_of(folder), 4), folder, tmp_path / "work", 6)
    assert done.names == []
    words = "has 6 x 5 pixels, and the mark needs 6 along each side"
    assert done.passed_over[0][1].startswith(words)


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (1.5, TypeError)])
def test_the_size_of_shards_is_a_number_of_photos(size, error):
    with pytest.raises(error, match="size"):
        cut(["a"], size)


def test_a_cut_covers_all_photos_in_order():
    for number, most in ((0, 8), (7, 8), (60, 8), (10**4, 100), (10**6 + 1, 1000)):
        shards = cut(range(number))
        assert [photo for shard in shards for photo in shard.photos] == list(range(number))
        assert max((len(shard.photos) for shard in shards), default=0) <= most
    assert cut(["a"]) == [Shard(0, ("a",))]


def test_a_pass_prints_no_secret(folder, tmp_path, manifest):
    job = mark_job(folder, tmp_path / "out", manifest)
    assert KEY.sub_key("slots").hex() not in repr(job)
    assert repr(KEY.sub_key("slots")) not in repr(job) + repr(dataclasses.replace(job.slots))
    run_pass(job, cut(photos_of(manifest), 4))
    lines = b"".join(contents(job.work).values())
    assert KEY.sub_key("slots").hex().encode() not in lines
    assert b"slot" not in lines
    assert b"degrees" not in lines
