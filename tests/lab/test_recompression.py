"""A run on recompressed photos, with generated photos and a tiny network."""

import math

import numpy as np
import PIL.Image
import pytest

from anw_jax.attacks.uploads import CHANGES
from anw_jax.errors import SettingsError
from anw_jax.lab import RecompressionSettings, recompression, run
from anw_jax.lab.config import settings_from_config, settings_from_file
from tests.lab.test_multitask import ROOT


def config(folder, **changes):
    tiny = {"num_epochs": 1, "batch_size": 8}
    values = {
        "name": "tiny",
        "seed": 1,
        "folder": str(folder),
        "image_size": 16,
        "num_images": 2,
        "changes": ("none", "jpeg50", "half_size"),
        "base": tiny,
        "tuning": tiny,
        "widths": (8, 8),
        "noise": {"num_noises": 1},
    }
    return settings_from_config({**values, **changes})


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Eight smooth photos of two sizes."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(8):
        small = PIL.Image.fromarray(rng.integers(40, 215, (6, 6, 3), dtype=np.uint8))
        size = (64, 48 + 16 * (number % 2))
        small.resize(size, PIL.Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def test_the_experiments_settings_are_valid():
    settings = settings_from_file(str(ROOT / "experiments" / "recompression.py"), seed=3)
    assert isinstance(settings, RecompressionSettings)
    assert settings.changes == tuple(CHANGES)
    found = [settings.change_of(group) for group in range(6)]
    assert sorted(found) == sorted(CHANGES)
    assert found[3] == "none"  # (3 + 3) modulo 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"changes": ("jpeg50", "none")}, "changes must be different, 'none' first"),
        ({"changes": ("none", "gif")}, "changes must be one of none, jpeg75"),
        ({"image_size": 4}, "image_size must be at least 8, got 4"),
    ],
)
def test_bad_settings_are_named(photos, changes, message):
    with pytest.raises(SettingsError, match=message):
        config(photos, **changes)


def test_a_folder_without_photos_for_the_base_is_refused(photos, tmp_path):
    with pytest.raises(SettingsError, match="more than 9 photos, since the base"):
        run(config(photos, num_images=3), tmp_path / "seed0")


def test_what_is_left_of_the_mark_and_who_has_which_change(photos):
    settings = config(photos, image_size=32)
    space = recompression.SignatureSpace(12)
    owned = recompression.mark_photos(recompression.read_photos(settings)[:6], settings, space)
    learned = recompression.learner_images(owned, settings, space)
    clean = [recompression.reduced(photo, 32) for photo in owned.photos]
    assert learned.shape == (6, 32, 32, 3)
    assert [settings.change_of(group) for group in range(3)] == ["jpeg50", "half_size", "none"]
    for number in (4, 5):  # of the group without a change: the mark alone
        degrees = space.degrees[owned.slots[number]]
        marked = recompression.marks.publish_image(owned.mark, owned.photos[number], degrees)
        expected = np.rint(255 * recompression.reduced(marked, 32))
        np.testing.assert_array_equal(learned[number], expected)
        assert np.abs(learned[number] / 255 - clean[number]).max() > 0.01


def test_a_model_that_knows_the_candidates_is_found_and_a_near_lie_is_not():
    rng, space = np.random.default_rng(0), recompression.SignatureSpace(12)
    slots = rng.integers(1, 12, 12)
    base = 0.1 * np.exp(rng.normal(scale=0.3, size=(12, 12))).astype(np.float32)
    suspect = base * np.exp(rng.normal(scale=0.01, size=base.shape)).astype(np.float32)
    suspect[np.arange(12), slots] *= 0.9
    found = recompression.group_numbers(suspect, base, slots, space)
    assert found["log10_p"]["reference"] < -8
    assert found["log10_p"]["alone"] > -3
    assert found["slot_hits"]["reference"] > 0.9
    wrong = recompression.group_numbers(suspect, base, slots % 11 + 1, space)
    assert wrong["log10_p"]["reference"] > -1


def test_what_is_kept_is_the_ratio_of_medians():
    def of(*values):
        names = ("none", "jpeg75")
        return {
            "changes": {
                name: {"log10_p": {"reference": value}, "share_of_mark": 1.0}
                for name, value in zip(names, values, strict=True)
            }
        }

    kept = recompression.kept_of([of(-4.0, -3.0), of(-8.0, -1.0), of(-6.0, -6.0)])
    assert kept["none"]["kept"] == 1.0
    assert kept["jpeg75"]["kept"] == pytest.approx(0.5)


@pytest.mark.slow
def test_a_run_resumes_and_measures_every_change(photos, tmp_path):
    settings = config(photos)
    first = run(settings, tmp_path / "seed1")
    assert list(first["changes"]) == ["none", "jpeg50", "half_size"]
    assert (first["num_photos"], first["num_photos_of_base"]) == (6, 2)
    for numbers in first["changes"].values():
        assert all(math.isfinite(p) and p <= 0 for p in numbers["log10_p"].values())
    (tmp_path / "seed1" / "DONE").unlink()
    (tmp_path / "seed1" / "groups" / "1.json").unlink()
    assert run(settings, tmp_path / "seed1")["changes"] == first["changes"]
