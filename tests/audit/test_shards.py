"""Committing and marking go on where they stopped, and from shards that were made elsewhere."""

import json
import os

import pytest

from anw_jax import audit, data
from anw_jax.errors import CaseError
from anw_jax.keys import Manifest, MarkKey, Plan, assign
from anw_jax.marks import HueRotation, publish
from anw_jax.shards import join_marked, run_pass
from tests.audit.conftest import write_photos
from tests.audit.owners import choices_of

KEY = MarkKey.for_experiment(3)
WITH_BEACON = Plan("losses", 1e-3, beacon="round 7")
NUM = 20  # three shards


@pytest.fixture
def where(root):
    write_photos(root / "photos", number=NUM)
    KEY.save(root / "a.key")
    return root / "photos", root / "a.key", root / "out"


@pytest.fixture
def reads(monkeypatch):
    """The names of all photos that are decoded."""
    read, names = data.read_original, []

    def counted(path):
        names.append(path.name)
        return read(path)

    monkeypatch.setattr(data, "read_original", counted)
    return names


def stop_at(number):
    def on_progress(done, total):
        if done == number:
            raise KeyboardInterrupt

    return on_progress


def commit(where, plan=WITH_BEACON, **more):
    return audit.commit_folder(*where, choices_of(plan), again=True, **more)


def contents(folder):
    return {
        f.relative_to(folder).as_posix(): f.read_bytes()
        for f in sorted(folder.rglob("*"))
        if f.is_file()
    }


def test_an_interrupted_commitment_goes_on(root, where, reads):
    with pytest.raises(KeyboardInterrupt):
        commit(where, on_progress=stop_at(17))
    assert not where[2].exists()
    assert not list(root.rglob("*.jsonl.partial"))
    reads.clear()
    done = commit(where)
    assert reads == [f"photo{i:02d}.png" for i in range(16, NUM)]
    assert done.num_images == NUM
    assert not (root / "out.partial").exists()
    again = commit((*where[:2], root / "other"))
    manifests = [(root / f / "manifest.json").read_bytes() for f in ("out", "other")]
    assert manifests[0] == manifests[1]
    assert again.number == 2


def test_a_refused_commitment_leaves_nothing(root, where):
    commit(where)
    with pytest.raises(CaseError, match="was committed to before"):
        audit.commit_folder(*where[:2], root / "other", choices_of(WITH_BEACON))
    assert {file.name for file in root.iterdir() if file.is_dir()} == {"photos", "out"}


def test_the_digests_of_many_photos_survive_a_refusal(root, where, monkeypatch):
    monkeypatch.setattr("anw_jax.audit.commit._MANY", NUM)
    commit(where)
    with pytest.raises(CaseError, match="was committed to before"):
        audit.commit_folder(*where[:2], root / "other", choices_of(WITH_BEACON))
    assert len(list((root / "other.partial" / "shards").glob("*.jsonl"))) == 3


def test_an_interrupted_marking_goes_on_to_the_same_files(root, where, reads):
    commit(where)
    with pytest.raises(KeyboardInterrupt):
        audit.publish_folder(*where, beacon=b"value", on_progress=stop_at(10))
    out = where[2]
    assert not (out / "published").exists()
    reads.clear()
    done = audit.publish_folder(*where, beacon=b"value")
    assert reads == [f"photo{i:02d}.png" for i in range(8, NUM)]
    assert {file.name for file in out.iterdir()} == {
        "commitment.json", "manifest.json", "published", "published.json", "report.json",
    }  # fmt: skip
    whole = contents(out)
    for name in ("published", "published.json", "report.json"):
        (out / name).rename(root / name)
    assert audit.publish_folder(*where, beacon=b"value") == done
    assert contents(out) == whole


def test_what_an_interrupted_run_with_other_options_wrote_is_not_published(where):
    commit(where)
    for more in ({"encoding": data.Encoding("webp")}, {"beacon": b"other"}):
        with pytest.raises(KeyboardInterrupt):
            audit.publish_folder(
                *where, **{"beacon": b"value"} | more, on_progress=stop_at(NUM)
            )
    (where[2] / "published.partial" / "photo00.png.partial").write_bytes(b"of a kill")
    done = audit.publish_folder(*where, beacon=b"value")
    names = [f"photo{i:02d}.png" for i in range(NUM)]
    assert sorted(contents(where[2] / "published")) == names
    manifest = Manifest.load(where[2] / "manifest.json")
    plan = audit.read_published(where[2]).plan
    slots = assign(KEY, manifest, plan, beacon=b"value")
    for name, angle in zip(names, slots.degrees, strict=True):
        marked = publish(HueRotation(), data.read_photo(where[0] / name)[None], float(angle))
        assert (data.read_photo(where[2] / "published" / name) == marked[0]).all()
    assert done.num_written == NUM


@pytest.mark.parametrize("value", [b"", b"value"])
def test_a_sequential_commitment_is_marked_with_its_slots(where, value):
    plan = Plan("losses", 1e-3, mode="sequential", beacon="round 7" if value else "")
    commit(where, plan)
    audit.publish_folder(*where, beacon=value)
    published = audit.read_published(where[2])
    slots = assign(KEY, published.manifest, published.plan, beacon=value)
    for name, angle in zip(published.manifest.file_names, slots.degrees, strict=True):
        marked = publish(HueRotation(), data.read_photo(where[0] / name)[None], float(angle))
        assert (data.read_photo(where[2] / "published" / name) == marked[0]).all()


def test_shards_made_elsewhere_are_joined(root, where, reads):
    first, parts = audit.digest_pass(where[0], where[2])
    run_pass(first, parts[::-1])
    reads.clear()
    commit(where)
    assert reads == []
    second, parts = audit.mark_pass(*where, beacon=b"value")
    run_pass(second, [parts[2], parts[0], parts[1], parts[0]])
    reads.clear()
    root_of_marked = join_marked(parts, second).root
    done = audit.publish_folder(*where, beacon=b"value")
    assert reads == []
    assert (done.root, done.num_written) == (root_of_marked, NUM)
    assert len(done.root) == 64


def test_shards_of_another_size_are_made_again(where, reads):
    first, parts = audit.digest_pass(where[0], where[2], size=5)
    assert [len(part.photos) for part in parts] == [5, 5, 5, 5]
    run_pass(first, parts)
    reads.clear()
    assert commit(where).num_images == NUM
    assert len(reads) == NUM


def test_a_photo_changed_after_the_first_pass_is_read_again(where, reads):
    first, parts = audit.digest_pass(where[0], where[2])
    run_pass(first, parts)
    file = where[0] / "photo05.png"
    file.write_bytes((where[0] / "photo06.png").read_bytes())
    os.utime(file, (10**9, 10**9))
    reads.clear()
    commit(where)
    assert reads == ["photo05.png"]
    body = json.loads((where[2] / "manifest.json").read_text())["images"]
    assert body[5]["sha256"] == body[6]["sha256"]
    assert body[5]["unit"] == body[6]["unit"]


def test_passes_elsewhere_check_what_the_commands_check(root, where):
    with pytest.raises(CaseError, match="out must lie outside the folder of originals"):
        audit.digest_pass(where[0], where[0] / "out")
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        audit.digest_pass(where[0], where[2], size=0)
    commit(where)
    MarkKey.for_experiment(4).save(root / "b.key")
    with pytest.raises(CaseError, match=r"b\.key is not the key behind the commitment"):
        audit.mark_pass(where[0], root / "b.key", where[2], beacon=b"value")
    with pytest.raises(ValueError, match="names 'round 7' and a value is missing"):
        audit.mark_pass(*where)
    assert not (where[2] / "published.partial").exists()


def test_two_runs_at_once_are_refused(where):
    commit(where)
    with audit.files.only_one(where[2]):
        with pytest.raises(CaseError, match=r"another process is at work in .*out: wait"):
            audit.publish_folder(*where, beacon=b"value")
