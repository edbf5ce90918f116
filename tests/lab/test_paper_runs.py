"""What the rows of the paper need of a run: crowds, chosen hues, changed models, one case."""

import copy
import dataclasses
import json
import shutil
import sys
import time
import types

import numpy as np
import pytest

from anw_jax import keys, lab, marks, verify
from anw_jax.errors import SettingsError
from anw_jax.lab import owners, proof, query, training, workdir
from anw_jax.lab.analyses import ANALYSES
from anw_jax.lab.settings import ANALYSES as ANALYSIS_NAMES
from tests.lab.conftest import TINY

pytestmark = pytest.mark.filterwarnings("ignore:Sharding info not provided")

PAPER = copy.deepcopy(TINY) | {
    "name": "paper",
    "data": {"source": "mock:160", "image_size": 16, "num_train": 128},
    "users": {
        "hue60": {"num_images": 8, "scheme": "per_user", "signature": 60.0},
        "hue300": {"num_images": 8, "scheme": "per_user", "signature": 300.0},
        "keyed": {"num_images": 10},
        "own": {"num_images": 4, "scheme": "per_user", "count": 3, "mark": "private_basis"},
        "blue": {"num_images": 4, "scheme": "per_user", "mark": "pixels", "num_pixels": 40},
        "held_out": {"num_images": 3, "kind": "held_out", "scheme": "per_user", "count": 2},
    },
    "attacks": {"cut": {"attack": "cutout", "parameters": {"size": 4}}},
    "suspects": {"pruned": {"attack": "prune", "parameters": {"fraction": 0.5}}},
    "case": "shared",
}
VERIFY = {"alpha": 0.05, "num_fresh_keys": 10, "grid_refinement": 2, "suspect_refinement": 1}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One finished run with everything in it."""
    folder = tmp_path_factory.mktemp("run")
    settings = lab.settings_from_config(PAPER | {"verify": VERIFY})
    return settings, folder, lab.run(settings, folder)


@pytest.mark.slow
def test_chosen_signatures_are_what_is_published(finished):
    _, folder, results = finished
    for name, degrees in (("hue60", 60.0), ("hue300", 300.0)):
        assert results["users"][name]["one_signature"]["true_degrees"] == degrees
        fixed = json.loads((folder / "commitments.json").read_text())
        assignment = keys.assign(
            keys.MarkKey.load(folder / "keys" / f"{name}.key"),
            keys.Manifest.load(folder / "manifests" / f"{name}.json"),
            keys.Plan.from_json(fixed["plans"][name]),
            beacon=bytes.fromhex(fixed["beacons"][name]),
        )
        assert assignment.degrees.tolist() == [degrees] * 8
        assert results["users"][name]["standing"] == "experiment key, not evidence"


@pytest.mark.slow
def test_the_page_tells_of_crowds_and_single_users(finished):
    _, folder, _ = finished
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "users with one hue each" in page
    assert ">own</th><td>private basis</td>" in page


@pytest.mark.slow
def test_a_run_of_crowds_alone_ends_with_a_page(tmp_path):
    """As many users as there are photos (Fig. 5a): none is left to be asked alone."""
    users = {"everyone": PAPER["users"]["own"] | {"count": 5}}
    config = {**PAPER, "users": users, "attacks": {}, "suspects": {}, "verify": VERIFY}
    results = lab.run(lab.settings_from_config(config | {"case": "crowd"}), tmp_path)
    assert results["users"] == {}
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ">everyone</th><td>private basis</td><td" in page
    assert "Nobody makes a claim in this run.</p>" in page


@pytest.mark.slow
def test_a_chosen_signature_is_on_the_photos(finished):
    _, folder, _ = finished
    with np.load(folder / "examples.npz") as examples:
        original, published = examples["hue60/original"], examples["hue60/published"]
    np.testing.assert_array_equal(published, marks.publish(marks.HueRotation(), original, 60.0))


@pytest.mark.slow
def test_a_crowd_is_reported_together(finished):
    _, folder, results = finished
    own = results["crowds"]["own"]
    assert own["num_users"] == len(own["true_degrees"]) == len(own["inferred_degrees"]) == 3
    assert all(degrees % 30 == 0 and degrees > 0 for degrees in own["true_degrees"])
    assert results["crowds"]["held_out"]["true_degrees"] == [0.0, 0.0]
    assert {path.stem for path in (folder / "keys").glob("own-*")} == {
        "own-0000",
        "own-0001",
        "own-0002",
    }
    assert "own" not in results["users"]


@pytest.mark.slow
def test_a_crowds_matches_are_those_of_its_users_one_by_one(finished):
    settings, folder, results = finished
    with np.load(folder / "tables" / "own.npz") as arrays:
        table = arrays["losses"][:, ::2]
    own, space = results["crowds"]["own"], settings.verify.space
    matched = []
    for index, true_degrees in enumerate(own["true_degrees"]):
        found = verify.grid_search(table[4 * index : 4 * index + 4], space)
        assert found.inferred_degrees == own["inferred_degrees"][index]
        matched.append(found.matches(true_degrees, space))
    assert own["match_rate"] == np.mean(matched)


@pytest.mark.slow
def test_a_wrong_basis_is_asked_apart(finished):
    _, folder, results = finished
    own = results["crowds"]["own"]
    assert 0.0 <= own["wrong_basis_match_rate"] <= 1.0
    assert results["crowds"]["held_out"]["wrong_basis_match_rate"] is None
    right = np.load(folder / "tables" / "own.npz")["losses"]
    wrong = np.load(folder / "tables" / "own.wrong_basis.npz")["losses"]
    np.testing.assert_allclose(right[:, 0], wrong[:, 0], rtol=1e-5)  # unmarked is unmarked
    assert np.abs(right - wrong)[:, 1:].max() > 1e-3


@pytest.mark.slow
def test_changed_models_are_asked_on_their_own_grid(finished):
    _, folder, results = finished
    pruned = results["suspects"]["pruned"]
    assert 0 < pruned["model"]["details"]["num_pruned"]
    assert set(pruned["users"]) == set(results["users"])
    assert set(pruned["crowds"]) == set(results["crowds"])
    assert np.load(folder / "tables" / "pruned" / "keyed.npz")["losses"].shape == (10, 12)
    assert len(pruned["users"]["hue60"]["one_signature"]["curve"]) == 12
    assert "wrong_keys" not in pruned["users"]["keyed"]


@pytest.mark.slow
def test_accuracy_on_own_photos_is_that_of_the_model(finished):
    _, _, results = finished
    for user in results["users"].values():
        for share in user["accuracy"].values():
            assert share * user["num_images"] == pytest.approx(
                round(share * user["num_images"])
            )


@pytest.mark.slow
def test_experiments_of_one_case_share_the_training(finished, capsys):
    settings, folder, results = finished
    other = dataclasses.replace(settings, name="other", suspects={})
    before = (folder / "checkpoints").stat().st_mtime_ns
    start = time.monotonic()
    shared = lab.run(other, folder)
    assert time.monotonic() - start < 60
    assert (folder / "checkpoints").stat().st_mtime_ns == before
    assert shared["name"] == "other"
    assert shared["suspects"] == {}
    assert shared["users"]["keyed"]["p_value"] == results["users"]["keyed"]["p_value"]
    first = json.loads((folder / "audits" / "paper" / "results.json").read_text())
    assert first["name"] == "paper"
    capsys.readouterr()
    assert lab.run(settings, folder)["suspects"].keys() == {"pruned"}
    assert "already done" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.slow
def test_a_second_experiment_changes_nothing_of_the_trainings_record(
    finished, tmp_path, monkeypatch
):
    """It is read at another commit, a year later; the training stays where it was."""
    settings, folder, results = finished
    shutil.copytree(folder, tmp_path / "copy")
    before = (tmp_path / "copy" / "training.json").read_bytes()
    same = {"jax": results["provenance"]["jax"]}
    origin = {"commit": "0" * 40, "hardware": "another machine", **same}
    # The package has a function of the name of that module.
    monkeypatch.setattr(sys.modules["anw_jax.lab.run"], "provenance", lambda: origin)
    monkeypatch.setattr(training, "provenance", lambda: origin)
    other = dataclasses.replace(settings, name="later", suspects={})
    later = lab.run(other, tmp_path / "copy")
    assert later["training"] == results["training"]
    assert 0 < results["training"]["seconds"] < 600
    assert later["provenance"] == origin != later["training"]["provenance"]
    assert (tmp_path / "copy" / "training.json").read_bytes() == before
    # Nor do its stages hold what the first has taken.
    assert later["stage_seconds"]["suspects"] < results["stage_seconds"]["suspects"]
    assert later["stage_seconds"]["train"] < results["stage_seconds"]["train"]
    assert "report" not in later["stage_seconds"]


@pytest.mark.slow
def test_another_attack_is_another_case(finished):
    settings, folder, _ = finished
    with pytest.raises(SettingsError, match=r"attacks\.cut\.parameters\.size was 4, now None"):
        lab.run(dataclasses.replace(settings, attacks={}), folder)


@pytest.mark.parametrize(
    ("origin", "standing"), [("secret", proof.ANOTHER_TEST), ("experiment", "as decided")]
)
def test_a_changed_model_is_never_evidence(monkeypatch, origin, standing):
    """Its test comes after the key was opened, and the plan names one test."""
    monkeypatch.setattr(proof, "prove_user", lambda *_: {"standing": "as decided"})
    user = types.SimpleNamespace(mark_key=types.SimpleNamespace(origin=origin))
    prepared = types.SimpleNamespace(users={"keyed": user}, groups={})
    folder = types.SimpleNamespace(read_json=lambda _: {"tested_table": ""})
    found = proof.prove_changed(prepared, "pruned", {"keyed": None}, folder)
    assert found["users"]["keyed"]["standing"] == standing


@pytest.mark.slow
def test_a_query_batch_holds_no_secret_slot(finished):
    settings, folder, _ = finished
    opened = owners.prepare(settings, workdir.Workdir(folder))
    for batch in query.query_batches(opened, settings.seed):
        values = [getattr(batch, field.name) for field in dataclasses.fields(batch)]
        assert not any(isinstance(value, (keys.MarkKey, keys.Assignment)) for value in values)


@pytest.mark.slow
def test_clean_photos_are_nobodys(finished):
    settings, folder, _ = finished
    opened = owners.prepare(settings, workdir.Workdir(folder))
    learned = {image.tobytes() for image in opened.learner.images}
    clean = {image.tobytes() for image in opened.clean.images}
    assert len(opened.clean) == 32
    assert not clean & learned
    assert len(opened.unseen) == len(opened.splits.test)


def test_without_spare_training_photos_half_the_test_photos_are_clean(tmp_path):
    config = copy.deepcopy(PAPER) | {"verify": VERIFY}
    config["data"] = {"source": "mock:160", "image_size": 16}
    opened = owners.prepare(lab.settings_from_config(config), workdir.Workdir(tmp_path))
    clean = {image.tobytes() for image in opened.clean.images}
    unseen = {image.tobytes() for image in opened.unseen.images}
    held_out = {i.tobytes() for u in opened.groups["held_out"] for i in u.originals.images}
    assert clean
    assert not clean & unseen
    assert not clean & held_out


def test_the_recipe_has_the_attacks_in_order():
    config = copy.deepcopy(TINY) | {
        "attacks": {
            "b": {"attack": "gaussian_noise", "parameters": {"std": 0.1}},
            "a": {"attack": "cutout", "parameters": {"size": 4}},
            "photos": {"attack": "white_balance", "parameters": {}},
            "step": {"attack": "fgsm", "parameters": {"epsilon": 0.01}},
        }
    }
    recipe = training.recipe_of(lab.settings_from_config(config).attacks.values())
    assert [type(part).__name__ for part in recipe.transforms] == ["GaussianNoise", "Cutout"]
    assert recipe.adversary is not None


def test_every_analysis_has_a_name_in_the_settings():
    assert tuple(ANALYSES) == ANALYSIS_NAMES


def test_marks_by_name(rng):
    mark_key = keys.MarkKey.for_experiment(1)
    kinds = {
        "hue": marks.HueRotation,
        "private_basis": marks.UserLCT,
        "pixels": marks.PixelMark,
        "light+tint": marks.Composed,
    }
    for name, kind in kinds.items():
        user = lab.UserSettings(num_images=1, mark=name, num_pixels=20)
        assert isinstance(user.create_mark(mark_key, (8, 8), 12), kind)


def test_two_marks_under_one_key_have_all_slots():
    user = lab.UserSettings(num_images=1, mark="light+tint")
    mark = user.create_mark(keys.MarkKey.for_experiment(1), (16, 16), 12)
    assert (mark.num_slots, mark.first.num_slots, mark.second.num_slots) == (12, 4, 3)
    for num_slots in (4, 10):
        with pytest.raises(ValueError, match=rf"multiple of 4, at least 8, .* got {num_slots}"):
            user.create_mark(keys.MarkKey.for_experiment(1), (16, 16), num_slots)
    with pytest.raises(ValueError, match="strength must be left out of the mark 'light"):
        lab.UserSettings(num_images=1, mark="light+tint", strength=0.1)


@pytest.mark.slow
def test_a_user_left_out_counts_as_unmarked(finished):
    settings, folder, _ = finished
    opened = owners.prepare(settings, workdir.Workdir(folder))
    own = [dataclasses.replace(user, is_excluded=True) for user in opened.groups["own"]]
    table = np.random.default_rng(0).random((12, 24), np.float32)
    numbers = proof.group_numbers(tuple(own), table, None)
    assert numbers["true_degrees"].tolist() == [0.0, 0.0, 0.0]
