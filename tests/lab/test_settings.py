"""Settings: every mistake is one line that names the field, the value and the rule."""

import dataclasses
import pathlib

import ml_collections
import pytest

from anw_jax.errors import SettingsError
from anw_jax.lab import config, settings_from_config
from anw_jax.marks import LightField

ROOT = pathlib.Path(__file__).resolve().parents[2]

BROKEN = {
    "typo": (
        ("train", "num_epoch"),
        3,
        "config.train.num_epoch is not a setting; did",
    ),
    "typo in a user": (
        ("users", "keyed", "shceme"),
        "per_user",
        "config.users.keyed.shceme is",
    ),
    "wrong type": (
        ("train", "num_epochs"),
        "many",
        "config.train.num_epochs must be of type",
    ),
    "bool for int": (("seed",), True, "config.seed must be of type int, got True"),
    "float for int": (("users", "keyed", "num_images"), 2.5, "must be of type int, got 2.5"),
    "negative": (("seed",), -1, "config: seed must be at least 0, got -1"),
    "no images": (("users", "keyed", "num_images"), 0, "num_images must be at least 1, got 0"),
    "one slot": (("verify", "num_slots"), 1, "num_slots must be at least 2, got 1"),
    "alpha": (("verify", "alpha"), 1.5, "alpha must lie strictly between 0.0 and 1.0, got 1.5"),
    "statistic": (("verify", "statistic"), "rank", "got 'rank'; did you mean 'ranks'?"),
    "scheme": (("users", "keyed", "scheme"), "per_pixel", "scheme must be one of per_image"),
    "model": (("model", "name"), "resnet19", "did you mean 'resnet18'?"),
    "excluded": (("exclude",), ["nobody"], "exclude must be one of"),
    "widths": (("model", "widths"), [8], "widths of 'testing' must hold 2 numbers"),
    "too many slots": (("verify", "num_slots"), 70_000, "num_slots must be at most"),
    "signature": (
        ("users", "one_hue", "signature"),
        45.0,
        "users.one_hue: signature must be a valid slot of 12 (30, 60, 90, 120, 150, 180, 210, "
        "240, 270, 300, 330 degrees), got 45",
    ),
    "signature of each photo": (
        ("users", "keyed", "signature"),
        60.0,
        "signature needs scheme 'per_user', one signature for all photos of a user, got "
        "'per_image'",
    ),
    "crowd": (("users", "keyed", "count"), 3, "count needs scheme 'per_user'"),
    "empty crowd": (("users", "one_hue", "count"), 0, "count must be at least 1, got 0"),
    "mark": (
        ("users", "keyed", "mark"),
        "hues",
        "mark must be one of hue, light, private",
    ),
    "unknown attack": (
        ("attacks",),
        {"x": {"attack": "cutoff"}},
        "config.attacks.x: name must be one of",
    ),
    "attack's number": (
        ("attacks",),
        {"x": {"attack": "cutout", "parameters": {"size": 0}}},
        "config.attacks.x: size must be at least 1, got 0",
    ),
    "suspect among attacks": (
        ("attacks",),
        {"x": {"attack": "prune"}},
        "attacks.x: 'prune' changes a trained model: put it into suspects",
    ),
    "attack among suspects": (
        ("suspects",),
        {"x": {"attack": "cutout"}},
        "suspects.x: 'cutout' acts before or during training: put it into attacks",
    ),
    "name of a suspect": (
        ("suspects",),
        {"a/b": {"attack": "prune"}},
        "suspects: the name 'a/b' must consist of letters",
    ),
    "analysis": (("analyses",), ["mia"], "analyses must be one of gradient_search"),
    "albums": (("users", "keyed", "num_groups"), 3, "num_groups must be given with scheme"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_one_clear_line_for_each_mistake(tiny_config, case):
    (*path, last), value, message = BROKEN[case]
    inner = tiny_config
    for name in path:
        inner = inner[name]
    inner[last] = value
    with pytest.raises(SettingsError) as caught:
        settings_from_config(tiny_config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../../evil", "", "a b", ".hidden"])
def test_a_user_name_that_could_leave_the_workdir_is_refused(tiny_config, name):
    tiny_config["users"][name] = {"num_images": 3}
    with pytest.raises(SettingsError, match="letters, digits, _ and -"):
        settings_from_config(tiny_config)


def test_a_missing_field_is_named(tiny_config):
    del tiny_config["seed"]
    with pytest.raises(SettingsError, match=r"^config needs seed$"):
        settings_from_config(tiny_config)


def test_the_seed_rules_training_too(tiny_settings):
    assert tiny_settings.train.seed == tiny_settings.seed == 3


@pytest.mark.parametrize(
    ("user", "strength"),
    [
        ({"mark": "light"}, LightField.strength),
        ({"mark": "tone", "strength": 0.1}, 0.1),
        ({"mark": "hue_limited"}, 25.0),
        ({"mark": "hue"}, None),
        ({"mark": "pixels"}, None),
    ],
)
def test_a_strength_is_that_of_the_mark(tiny_config, user, strength):
    tiny_config["users"]["one_hue"].update(user)
    assert settings_from_config(tiny_config).users["one_hue"].strength == strength


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"mark": "hue", "strength": 0.1}, "strength must be left out of the mark 'hue'"),
        ({"mark": "pixels", "strength": 0.1}, "strength must be left out of the mark 'pixels'"),
        ({"mark": "tone", "strength": 0.4}, r"strength must lie in \[0.0, 0.35\], got 0.4"),
    ],
)
def test_a_strength_that_does_not_fit_the_mark_is_refused(tiny_config, user, words):
    tiny_config["users"]["one_hue"].update(user)
    with pytest.raises(SettingsError, match=rf"config.users.one_hue: {words}"):
        settings_from_config(tiny_config)


def test_a_run_without_the_light_mark_is_stored_as_before_there_was_one(tiny_config):
    tiny_config["users"]["one_hue"]["mark"] = "light"
    users = settings_from_config(tiny_config).to_dict()["users"]
    assert [name for name, user in users.items() if "strength" in user] == ["one_hue"]


def test_marked_users_come_first(tiny_settings):
    kinds = [user.kind for user in tiny_settings.users.values()]
    assert kinds == ["marked"] * 3 + ["unmarked", "held_out"]


def test_config_dicts_and_dicts_are_alike(tiny_config, tiny_settings):
    assert settings_from_config(ml_collections.ConfigDict(tiny_config)) == tiny_settings


@pytest.mark.parametrize("name", ["quickstart.py", "cifar10.py", "cifar10.py:quick"])
def test_shipped_experiments_are_valid(name):
    settings = config.settings_from_file(f"{ROOT}/experiments/{name}", seed=4)
    assert settings.seed == settings.train.seed == 4
    assert any(user.kind == "marked" for user in settings.users.values())
    assert any(user.kind == "held_out" for user in settings.users.values())


def test_the_quick_cifar_run_is_what_it_claims():
    settings = config.settings_from_file(f"{ROOT}/experiments/cifar10.py:quick")
    keyed = settings.users["keyed"]
    assert settings.data.num_train >= 4000
    assert keyed.num_images <= 50
    assert keyed.num_images <= 0.0125 * settings.data.num_train
    assert settings.train.crop_padding > 0
    assert settings.train.flip


def test_the_papers_setting_is_the_default():
    settings = config.settings_from_file(f"{ROOT}/experiments/cifar10.py")
    assert settings.model.name == "resnet50"
    wanted = {"num_epochs": 90, "batch_size": 256, "learning_rate": 0.1, "schedule": "step"}
    assert wanted.items() <= dataclasses.asdict(settings.train).items()
    assert settings.users["keyed"].num_images == 500


def test_a_config_file_that_is_not_there_names_its_neighbours():
    with pytest.raises(
        SettingsError,
        match=r"does not exist; .*has accuracy_cost\.py, .*cifar10\.py, common\.py, diffusion",
    ):
        config.load_config(f"{ROOT}/experiments/cifar11.py")


def test_a_config_file_that_fails_is_one_line(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("def get_config():\n    return 1 / 0\n")
    with pytest.raises(SettingsError, match=r"broken\.py' fails: ZeroDivisionError"):
        config.load_config(str(broken))


def test_an_unknown_variant_is_one_line():
    with pytest.raises(SettingsError, match="no variant 'quik'; known: paper, quick"):
        config.load_config(f"{ROOT}/experiments/cifar10.py:quik")


def test_a_variant_of_a_config_without_any_is_one_line():
    with pytest.raises(SettingsError, match=r"quickstart\.py' has no variants, got 'quick'$"):
        config.load_config(f"{ROOT}/experiments/quickstart.py:quick")
