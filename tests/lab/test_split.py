"""Split training and image fingerprint as an experiment runs them, on made-up images."""

import numpy as np
import pytest

from anw_jax.errors import SettingsError
from anw_jax.lab import Workdir
from anw_jax.lab.image_fingerprint import ImageRunSettings, measure_image_fingerprint
from anw_jax.lab.journal import Journal
from anw_jax.lab.settings import DataSettings, ModelSettings
from anw_jax.lab.split import SplitRunSettings, load_images, measure_split
from anw_jax.partition import AttackerSettings, Defence
from anw_jax.schemes.image_fingerprint import FingerprintTraining
from anw_jax.train import TrainSettings


def split_settings(**changes) -> SplitRunSettings:
    values = {
        "data": DataSettings("mock:96", image_size=8),
        "defence": Defence(clip_norm=4.0, noise=0.1, adversary=1.0),
        "num_rounds": 1,
        "steps_per_round": 2,
        "batch_size": 8,
        "channels": 2,
        "width": 4,
        "attacker": AttackerSettings(num_steps=4, batch_size=8, width=4),
        "num_targets": 12,
    }
    return SplitRunSettings(**values | changes)


def test_chosen_classes_are_numbered_from_0():
    every = load_images(DataSettings("mock:64", image_size=8), ())
    names = every.train.class_names
    chosen = load_images(DataSettings("mock:64", image_size=8), (names[3], names[1]))
    assert chosen.train.class_names == (names[1], names[3])
    assert set(chosen.train.labels.tolist()) == {0, 1}
    expected = every.train.images[every.train.labels == 3]
    np.testing.assert_array_equal(chosen.train.images[chosen.train.labels == 1], expected)


def test_what_the_images_cannot_give_is_one_clear_error(tmp_path):
    with pytest.raises(SettingsError, match="has no class 'unicorn'"):
        load_images(DataSettings("mock:64"), ("unicorn",))
    with pytest.raises(SettingsError, match="num_train must be at most 64, got 65"):
        load_images(DataSettings("mock:64", num_train=65), ())
    folder = Workdir(tmp_path)
    settings = split_settings(data=DataSettings("mock:20", image_size=8))
    with pytest.raises(SettingsError, match="must give each of 3 owners a batch of 8 images"):
        measure_split(settings, folder, Journal(folder))
    with pytest.raises(ValueError, match="num_owners must be at least 3"):
        split_settings(num_owners=2)


@pytest.mark.slow
def test_both_trainings_are_attacked_and_messages_are_searched(tmp_path):
    folder = Workdir(tmp_path)
    found = measure_split(split_settings(), folder, Journal(folder))
    assert set(found) == {"undefended", "defended", "task_drop", "trace"}
    for name in ("undefended", "defended"):
        numbers = found[name]
        assert 0.0 <= numbers["test_accuracy"] <= 1.0
        assert 0.5 <= numbers["attribute_chance"] <= 1.0
        assert numbers["lost"] == {}
    assert found["undefended"]["epsilon_of_message"] is None
    assert found["defended"]["epsilon_of_message"] > 0.0
    trace = found["trace"]
    assert (trace["images_found"], trace["planted_found"]) == (0, 1)
    assert trace["num_messages"] > 3 * 10
    assert (tmp_path / "figures" / "inversion.png").stat().st_size > 1_000
    again = measure_split(split_settings(), folder, Journal(folder))
    assert again == found


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lattice", "networks"])
def test_bits_and_a_task_are_measured_on_marked_images(tmp_path, method):
    settings = ImageRunSettings(
        data=DataSettings("mock:48", image_size=32),
        model=ModelSettings("testing"),
        train=TrainSettings(num_epochs=1, batch_size=16),
        fingerprint=FingerprintTraining(num_steps=4, batch_size=8),
        method=method,
        width=4,
    )
    folder = Workdir(tmp_path)
    found = measure_image_fingerprint(settings, folder, Journal(folder))
    assert found["num_bits"] == 304
    assert found["bit_accuracy"]["none"] > 0.9
    assert set(found["bit_accuracy"]) >= {"blur", "noise", "jpeg", "crop", "resize", "jpeg_75"}
    assert found["psnr"] > 25.0
    assert set(found["task_accuracy"]) == {"clean", "marked"}
    assert (tmp_path / "figures" / "image_fingerprint.png").exists()
    assert measure_image_fingerprint(settings, folder, Journal(folder)) == found
