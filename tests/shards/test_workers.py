"""Worker processes: the same results, also after one was killed; they import no jax."""

import subprocess
import sys

import pytest

from anw_jax.errors import SourceError
from anw_jax.shards import DigestPass, cut, join_marked, num_cores, run_pass
from tests.shards.passes import (
    Killed,
    digests_of,
    manifest_of,
    mark_job,
    names_of,
    photos_of,
    write_folder,
)


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path / "photos")
    return tmp_path / "photos"


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "size"), [(2, 1), (2, 4), (3, 3)])
def test_neither_workers_nor_a_kill_change_the_roots(folder, tmp_path, workers, size):
    """The issue's: whatever the number of workers and shard sizes, also after a kill."""
    alone = manifest_of(digests_of(folder, tmp_path / "alone", None))
    first = DigestPass(folder, tmp_path / "work")
    wounded = Killed(first, 0, tmp_path / "killed") if size > 1 else first
    if size > 1:
        with pytest.warns(UserWarning, match="a worker process ended before its work was done"):
            done = digests_of(folder, tmp_path / "work", size, workers, wounded)
    else:
        done = digests_of(folder, tmp_path / "work", size, workers, wounded)
    manifest = manifest_of(done)
    assert manifest.digest == alone.digest
    photos = photos_of(manifest)
    job, whole = (mark_job(folder, tmp_path / name, manifest) for name in ("out", "whole"))
    run_pass(whole, cut(photos))
    shards, seen = cut(photos, size), []
    run_pass(job, shards, workers=workers, on_progress=lambda *at: seen.append(at))
    assert join_marked(shards, job) == join_marked(cut(photos), whole)
    assert (seen[0], seen[-1]) == ((0, 12), (12, 12))
    assert seen.count((12, 12)) == 1
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.slow
def test_a_photo_that_kills_every_worker_is_named(folder, tmp_path):
    shards = cut(names_of(folder), 4)
    job = Killed(DigestPass(folder, tmp_path / "work"), 2, None)
    words = r"a worker process ended while it handled shard 2 \(b/05.png … b/broken.png\)"
    with (
        pytest.warns(UserWarning, match="going on with 1"),
        pytest.raises(SourceError, match=words),
    ):
        run_pass(job, shards, workers=2)
    written = {file.name for file in (tmp_path / "work").iterdir()}
    assert {"0000000.jsonl", "0000001.jsonl"} <= written


@pytest.mark.slow
def test_an_interrupt_stops_the_workers_and_leaves_whole_files(folder, tmp_path):
    def interrupt(done, total):
        if done:
            raise KeyboardInterrupt

    work = tmp_path / "work"
    with pytest.raises(KeyboardInterrupt):
        run_pass(
            DigestPass(folder, work), cut(names_of(folder), 1), workers=2, on_progress=interrupt
        )
    assert not list(work.rglob("*.partial"))
    alone = digests_of(folder, tmp_path / "alone", 1)
    assert digests_of(folder, work, 1) == alone


def test_few_bytes_are_handled_here(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("anw_jax.shards.workers._run_in_pool", None)
    job, shards = DigestPass(folder, tmp_path / "work"), cut(names_of(folder), 4)
    paths = run_pass(job, shards, workers=8, num_bytes=10**6)
    assert [path.name for path in paths] == [f"000000{i}.jsonl" for i in range(4)]
    assert run_pass(job, [], workers=8) == []
    with pytest.raises(TypeError):
        run_pass(job, shards, workers=8, num_bytes=10**9)


@pytest.mark.parametrize(
    ("workers", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError)]
)
def test_the_number_of_workers_is_checked(folder, tmp_path, workers, error):
    job = DigestPass(folder, tmp_path / "work")
    with pytest.raises(error, match="workers"):
        run_pass(job, cut(names_of(folder)), workers=workers)
    assert num_cores() >= 1


def test_a_worker_imports_neither_jax_nor_scipy():
    script = """
import sys
from anw_jax import keys, marks, shards
import numpy as np, pickle
key = keys.MarkKey.for_experiment(0)
slots = keys.UnitSlots(key.sub_key("slots"), 12, "00" * 32, keys.Plan("losses", .01))
for name in ("light", "hue", "tone", "tint", "hue_limited", "private_basis"):
    mark = pickle.loads(pickle.dumps(marks.make_mark(name, key, 12)))
    marks.publish_image(mark, np.zeros((20, 20, 3), np.uint8), 30.0)
slots.slot_of("11" * 32)
pickle.loads(pickle.dumps(slots)).slot_of("11" * 32)
assert not {"jax", "scipy", "click"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=300)
