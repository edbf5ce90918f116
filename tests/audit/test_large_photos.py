"""Memory: photos are held once as 8-bit pixels, and no more of them than fit."""

import tracemalloc

import numpy as np
import pytest

from anw_jax import audit, data
from anw_jax.audit.originals import StoredPhotos, read_originals
from anw_jax.errors import ChangedFileError, SourceError
from anw_jax.keys import MarkKey, Plan, image_digest
from tests.audit.conftest import SUSPECT, hand_over, receive, write_photos
from tests.audit.owners import mark_folder

MIB = 2**20


@pytest.fixture
def files(tmp_path):
    write_photos(tmp_path / "photos", seed=3, number=5)
    return sorted((tmp_path / "photos").iterdir())


@pytest.mark.parametrize("held", [0, 2 * 192, 2**30])
def test_photos_are_the_same_however_many_are_held(files, monkeypatch, held):
    monkeypatch.setattr("anw_jax.audit.originals._HELD_BYTES", held)
    photos = StoredPhotos(files)
    twins = [data.read_photo(file) for file in files]
    assert photos.digests == [image_digest(twin) for twin in twins]
    assert photos.shapes == [(8, 8, 3)] * 5
    for photo, twin in zip(photos, twins, strict=True):
        np.testing.assert_array_equal(photo, twin)
    other = photos.ordered([4, None, 0, 0]).ordered([3, 0, 1])
    assert other[2] is None
    assert other.shapes == [(8, 8, 3), (8, 8, 3), None]
    np.testing.assert_array_equal(other[0], twins[0])
    np.testing.assert_array_equal(other[1], twins[4])


def test_a_file_that_changes_or_goes_while_the_case_is_open(files, monkeypatch):
    monkeypatch.setattr("anw_jax.audit.originals._HELD_BYTES", 0)
    photos = StoredPhotos(files)
    files[1].write_bytes(files[2].read_bytes())
    with pytest.raises(ChangedFileError, match=r"photo01\.png was changed while"):
        photos[1]
    files[1].unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        photos[1]


def test_originals_have_one_digest_however_many_are_held(root, case_dir, monkeypatch):
    hand_over(root, case_dir)
    owner = audit.Case(case_dir).owners["ann"]
    monkeypatch.setattr("anw_jax.audit.originals._HELD_BYTES", 0)
    again = read_originals(case_dir / "owners" / "ann", owner.published.manifest)
    assert again.digest == owner.originals.digest
    assert again.present.tolist() == list(range(12))


def large_case(root, case_dir, input_size="input_size = [8, 8]\n"):
    """Six photos of half a megapixel, 1.5 MiB each, before a model of 8x8 pictures."""
    photos, rng = root / "photos", np.random.default_rng(0)
    photos.mkdir()
    for index in range(6):
        pixels = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8).repeat(75, 0).repeat(75, 1)
        (photos / f"photo{index}.png").write_bytes(data.png_of(pixels))
    plan = Plan("log_losses", 1e-3)
    key = MarkKey.for_experiment(1)
    mark_folder(photos, key, root / "marked", plan, label_source="model")
    receive(root / "marked", photos, case_dir, "ann")
    folder = case_dir / "suspects"
    folder.mkdir()
    (folder / "model.py").write_text(
        "import numpy as np\n"
        "def answer(batch):\n"
        "    means = batch.mean((1, 2))\n"
        "    return (means - means.mean(1, keepdims=True)) * 9 + batch[:, 0, 0]\n"
    )
    (folder / "net.toml").write_text(SUSPECT.format(file="model.py") + input_size)


def peak_of(run):
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_a_probe_of_large_photos_takes_few_bytes_for_each_pixel(root, case_dir, monkeypatch):
    """At 66 bytes for each pixel of each photo it took 204 MiB."""
    large_case(root, case_dir)
    monkeypatch.setattr("anw_jax.audit.originals._HELD_BYTES", 3 * MIB)
    assert peak_of(lambda: audit.probe_case(audit.Case(case_dir))) < 80 * MIB
    assert audit.Case(case_dir).read("probe.json")["suspects"]["net"]["num_queries"] > 0


@pytest.mark.slow
def test_so_does_an_audit(root, case_dir, monkeypatch):
    large_case(root, case_dir)
    monkeypatch.setattr("anw_jax.audit.originals._HELD_BYTES", 3 * MIB)
    audit.probe_case(audit.Case(case_dir))
    audit.declare(audit.Case(case_dir), audit.Options(), despite_probe=True)
    monkeypatch.setattr("anw_jax.suspects.pictures._BATCH_BYTES", 3 * MIB)
    assert peak_of(lambda: audit.seal_case(audit.Case(case_dir))) < 60 * MIB
