"""Studies are read from configs and checked; their runs become settings and files."""

import json

import pytest

from anw_jax.errors import SettingsError
from tools.reproduction.runs import NotYetRunError, ResultError
from tools.reproduction.study import load_studies, load_study, study_names

ARMS = {
    "base": {},
    "long": {"train.num_epochs": 4},
    "asked": {"suspects.pruned": {"attack": "prune", "parameters": {"fraction": 0.5}}},
    "alone": {"users.hue60": None},
    "moved": {"case": "elsewhere", "model.stem": "cifar"},
}


@pytest.fixture
def study(write_study):
    """Five arms."""
    return load_study(write_study(study={"arms": ARMS}), "paper")


def test_a_study_is_what_its_config_says(write_study):
    study = load_study(write_study(), "quick")
    assert (study.file, study.variant, study.name) == ("fig0", "quick", "fig0_quick")
    assert (study.row, study.title, study.seeds) == ("Fig. 0", "Nothing", (0, 1, 2))
    assert list(study.arms) == ["main"]
    assert study.result_file("main", 2) == "fig0_quick/seed2.json"


def test_arms_change_settings_and_share_a_training_only_where_it_is_one(study):
    settings = {arm: study.settings(arm, 1) for arm in study.arms}
    assert settings["base"].seed == settings["long"].train.seed == 1
    assert settings["base"].train.num_epochs == 2
    assert settings["long"].train.num_epochs == 4
    assert "hue60" not in settings["alone"].users
    assert list(settings["asked"].suspects) == ["pruned"]
    assert {name: each.case for name, each in settings.items()} == {
        "base": "fig0",
        "long": "fig0/long",
        "asked": "fig0",
        "alone": "fig0/alone",
        "moved": "elsewhere",
    }
    assert study.result_file("long", 1) == "fig0/long/seed1.json"


def test_the_config_is_not_changed_by_its_arms(study):
    before = json.dumps(study.config, default=str)
    for arm in study.arms:
        study.settings(arm, 1)
    assert json.dumps(study.config, default=str) == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"train.num_epoch": 4}, "fig0/x: .*train.num_epoch is not a setting; did you mean"),
        ({"trian.num_epochs": 4}, "override 'trian.num_epochs': trian is no group of settings"),
        ({"seed.x": 4}, "override 'seed.x': seed is no group of settings"),
        ({"train.num_epochs": "many"}, "fig0/x: .*num_epochs must be of type int, got 'many'"),
    ],
)
def test_a_mistaken_override_is_named(write_study, overrides, message):
    study = load_study(write_study(study={"arms": {"x": overrides}}))
    with pytest.raises(SettingsError, match=message):
        study.settings("x", 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sedes": (1,)}, "study: field must be one of .* did you mean 'seeds'"),
        ({"seeds": ()}, "study: seeds must be distinct and at least one"),
        ({"seeds": (1, 1)}, "study: seeds must be distinct and at least one"),
        ({"seeds": (0.5,)}, "study: seeds must be an integer"),
        ({"arms": {"a/b": {}}}, "study: arms: the name 'a/b' must be"),
        ({"row": 3}, "study: row must be a str"),
        ({"minutes": 0}, "study: minutes must be above 0"),
        ({"cost_row": 3}, "study: cost_row must be a str"),
    ],
)
def test_a_mistaken_study_is_named(write_study, change, message):
    with pytest.raises(SettingsError, match=message):
        load_study(write_study(study=change))


def test_expected_minutes_are_for_quick_runs(write_study):
    file = write_study(study={"minutes": 4})
    assert [load_study(file, variant).minutes for variant in ("paper", "quick")] == [None, 4.0]


def test_settings_alone_are_no_study(tmp_path):
    file = tmp_path / "plain.py"
    file.write_text(
        "from anw_jax.lab import config\n"
        "def get_config(variant='paper'):\n"
        "    return config.with_defaults({'name': 'plain', 'seed': 0, 'users': {}})\n"
    )
    with pytest.raises(SettingsError, match=r"plain\.py has no study"):
        load_study(file)


def test_a_study_needs_claims(tmp_path, write_study):
    file = write_study()
    file.write_text(file.read_text().replace("def claims(", "def claim("))
    with pytest.raises(SettingsError, match=r"fig0\.py: study: needs a function claims"):
        load_study(file)


def test_studies_come_in_the_order_of_their_list(write_study, tmp_path):
    write_study("fig2")
    write_study("fig1", study={"row": "Fig. 1"})
    folder = tmp_path / "experiments"
    assert [study.file for study in load_studies(folder)] == ["fig2", "fig1"]
    assert [s.file for s in load_studies(folder, rows=["Fig. 1"])] == ["fig1"]
    assert [s.file for s in load_studies(folder, rows=["fig2"])] == ["fig2"]
    with pytest.raises(SettingsError, match=r"rows must be one of .* did you mean 'fig2'"):
        load_studies(folder, rows=["fig22"])


def test_the_list_is_checked(write_study, tmp_path):
    folder = tmp_path / "experiments"
    with pytest.raises(SettingsError, match=r"studies\.txt is missing"):
        study_names(folder)
    write_study("fig1")
    write_study("fig2", settings={"name": "fig1"})
    with pytest.raises(SettingsError, match=r"fig2\.py and fig1\.py have the same name 'fig1'"):
        load_studies(folder)
    (folder / "studies.txt").write_text("fig1  # the first\n\nfig9\n")
    with pytest.raises(SettingsError, match=r"names fig9, but there is no fig9\.py"):
        study_names(folder)
    (folder / "studies.txt").write_text("fig1  # the first\n")
    assert study_names(folder) == ("fig1",)


def test_results_are_found_by_arm_and_seed(study, made_up, tmp_path):
    made_up.write(tmp_path, study, "long", 1)
    none, runs, _ = study.runs(tmp_path).seeds
    assert runs["long"].number("model.test_accuracy") == pytest.approx(0.71)
    assert none.found == {}
    with pytest.raises(
        NotYetRunError, match=rf"{tmp_path.name}/fig0/base/seed1\.json does not"
    ):
        runs["base"]


def test_results_of_other_settings_are_refused(study, made_up, tmp_path):
    path = made_up.write(tmp_path, study, "long", 1)
    values = json.loads(path.read_text())
    values["settings"]["train"]["num_epochs"] = 3
    values["settings"]["gone"] = values["settings"].pop("exclude")  # unknown to one side: fine
    path.write_text(json.dumps(values))
    with pytest.raises(
        ResultError, match=r"made with train\.num_epochs 3, the study now has 4"
    ):
        study.runs(tmp_path)


PRUNE = {"attack": "prune", "parameters": {"fraction": 0.5}}


@pytest.mark.parametrize(
    ("arm", "change", "message"),
    [
        (
            "base",
            {"suspects": {"pruned": PRUNE}},
            r"with suspects\.\* \['pruned'\], .* has \[\]",
        ),
        ("asked", {"suspects": {}}, r"with suspects\.\* \[\], .* has \['pruned'\]"),
        ("base", {"attacks": {"cut": {"attack": "cutout"}}}, r"with attacks\.\* \['cut'\]"),
        ("asked", {"suspects": {"pruned": {**PRUNE, "parameters": {}}}}, r"parameters \[\]"),
        ("base", {"users": {}}, r"with users\.\* \[\], the study now has \['held_out'"),
    ],
)
def test_a_user_an_attack_or_a_parameter_more_or_less_is_another_run(
    study, made_up, tmp_path, arm, change, message
):
    path = made_up.write(tmp_path, study, arm, 1)
    study.runs(tmp_path)
    values = json.loads(path.read_text())
    values["settings"] |= change
    path.write_text(json.dumps(values))
    with pytest.raises(ResultError, match=message):
        study.runs(tmp_path)


@pytest.mark.parametrize("text", ["{ half", "[1]"])
def test_a_damaged_result_is_named(study, tmp_path, text):
    path = tmp_path / study.result_file("base", 0)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ResultError, match=r"fig0/base/seed0\.json is damaged"):
        study.runs(tmp_path)
