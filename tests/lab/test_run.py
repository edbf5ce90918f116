"""A whole run on made-up data, from the user's side."""

import dataclasses
import errno
import json
import os
import pathlib
import stat

import numpy as np
import pytest

from anw_jax import data, keys, lab, verify
from anw_jax.errors import SettingsError
from anw_jax.lab import journal, owners, training, workdir

pytestmark = pytest.mark.filterwarnings(
    # Orbax warns when it has to guess shardings; a resumed run tells it all of them.
    "ignore:Sharding info not provided"
)


def test_everything_promised_is_left_behind(finished):
    _, folder, _ = finished
    for name in (
        "settings.json provenance.json commitments.json log.jsonl progress.json results.json "
        "report.html DONE checkpoints figures manifests/keyed.json keys/keyed.key "
        "tables/keyed.npz tables/keyed.seal.json examples.npz"
    ).split():
        assert (folder / name).exists(), name
    assert not (folder / "FAILED.txt").exists()
    assert not list(folder.rglob("*.partial"))
    for line in (folder / "log.jsonl").read_text().splitlines():
        assert {"time_utc", "stage", "text"} <= json.loads(line).keys()


def test_keys_are_private_files(finished):
    _, folder, _ = finished
    for key_file in (folder / "keys").iterdir():
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


def test_results_hold_every_user_and_control(finished):
    settings, _, results = finished
    assert set(results["users"]) == set(settings.users)
    for name, user in results["users"].items():
        assert 0 < user["p_value"] <= 1
        assert user["standing"] == "experiment key, not evidence"
        assert user["wrong_keys"]["num_keys"] == 40
        kind = settings.users[name].kind
        assert (kind == "marked") == (not name.startswith(("control", "held_out")))


def test_a_stored_p_replays_from_the_files_alone(finished):
    """What a hostile expert does: table + manifest + key + plan + beacon → the same p."""
    settings, folder, results = finished
    fixed = json.loads((folder / "commitments.json").read_text())
    for name, user in results["users"].items():
        with np.load(folder / "tables" / f"{name}.npz") as arrays:
            table = arrays["losses"][:, :: settings.verify.grid_refinement]
        manifest = keys.Manifest.load(folder / "manifests" / f"{name}.json")
        key = keys.MarkKey.load(folder / "keys" / f"{name}.key")
        plan = keys.Plan.from_json(fixed["plans"][name])
        assert (plan.statistic, plan.alpha, plan.mark) == (
            user["statistic"],
            user["alpha"],
            user["mark"],
        )
        verdict = verify.decide(
            table,
            key,
            manifest,
            plan,
            commitment=user["commitment"],
            beacon=bytes.fromhex(fixed["beacons"][name]),
        )
        np.testing.assert_array_equal(verdict.true_slots, user["true_slots"])
        assert verdict.result.log10_p == pytest.approx(user["log10_p"], abs=1e-12)


def test_one_signature_can_never_be_shown_at_a_small_level(finished):
    _, _, results = finished
    assert results["users"]["one_hue"]["p_value"] >= 1 / 11
    assert results["users"]["one_hue"]["outcome"] == "inconclusive"
    assert results["users"]["albums"]["p_value"] >= 11**-3


def test_the_same_command_says_that_it_is_done(finished, capsys):
    settings, folder, results = finished
    again = lab.run(settings, folder)
    assert "already done" in capsys.readouterr().out
    assert again["users"]["keyed"]["log10_p"] == results["users"]["keyed"]["log10_p"]


def test_another_run_in_the_same_workdir_is_refused(finished, tiny_config):
    _, folder, _ = finished
    tiny_config["train"]["learning_rate"] = 0.2
    with pytest.raises(SettingsError, match=r"train.learning_rate was 0.1, now 0.2"):
        lab.run(lab.settings_from_config(tiny_config), folder)


def test_published_photos_are_where_the_learner_trains(tiny_settings, tmp_path):
    opened = owners.prepare(tiny_settings, workdir.Workdir(tmp_path))
    keyed = opened.users["keyed"]
    rows = np.searchsorted(
        opened.partition.train_indices, opened.partition.user("keyed").indices
    )
    np.testing.assert_array_equal(opened.learner.images[rows], keyed.published())
    assert (keyed.published() != keyed.originals.images).any()
    control = opened.users["control_unmarked"]
    np.testing.assert_array_equal(control.published(), control.originals.images)


def test_an_excluded_user_is_verified_but_not_trained_on(tiny_config, tmp_path):
    tiny_config["exclude"] = ["keyed"]
    settings = lab.settings_from_config(tiny_config)
    opened = owners.prepare(settings, workdir.Workdir(tmp_path))
    assert len(opened.learner) == 160 - 12
    published = {image.tobytes() for image in opened.learner.images}
    assert not published & {image.tobytes() for image in opened.users["keyed"].published()}


def test_keys_survive_a_resume_and_changed_ones_are_refused(tiny_settings, tmp_path):
    folder = workdir.Workdir(tmp_path)
    first = owners.prepare(tiny_settings, folder).users["keyed"].commitment
    assert owners.prepare(tiny_settings, folder).users["keyed"].commitment == first
    key_file = tmp_path / "keys" / "keyed.key"
    key_file.unlink()
    keys.MarkKey.generate().save(key_file)
    with pytest.raises(SettingsError, match=r"commitments .* do not match the keys"):
        owners.prepare(tiny_settings, folder)


def test_secret_keys_are_drawn_anew(tiny_config, tmp_path):
    tiny_config["verify"]["key_origin"] = "secret"
    settings = lab.settings_from_config(tiny_config)
    commitments = [
        owners.prepare(settings, workdir.Workdir(tmp_path / name)).users["keyed"].commitment
        for name in ("a", "b")
    ]
    assert commitments[0] != commitments[1]


def test_more_user_photos_than_data_is_one_line(tiny_config, tmp_path):
    tiny_config["users"]["keyed"]["num_images"] = 500
    settings = lab.settings_from_config(tiny_config)
    with pytest.raises(SettingsError, match=r"num_images of user 'keyed' \(500\)"):
        lab.run(settings, tmp_path)
    assert "num_images of user 'keyed'" in (tmp_path / "FAILED.txt").read_text()


def test_a_full_disk_leaves_whole_files(tmp_path, monkeypatch):
    folder = workdir.Workdir(tmp_path)
    folder.write_json("results.json", {"p": 1})

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        folder.write_json("results.json", {"p": 2})
    assert folder.read_json("results.json") == {"p": 1}
    assert not list(tmp_path.glob("*.partial"))


def test_json_has_no_nan(tmp_path):
    folder = workdir.Workdir(tmp_path)
    folder.write_json("a.json", {"x": float("nan"), "y": np.float32(np.inf), "z": np.arange(2)})
    assert folder.read_json("a.json") == {"x": None, "y": None, "z": [0, 1]}


@pytest.mark.slow
def test_a_run_killed_before_its_proof_ends_with_the_same_results(finished, reopened):
    settings, folder = reopened
    (folder / "results.json").unlink()
    (folder / "tables/held_out.seal.json").unlink()  # killed between table and seal
    again = lab.run(settings, folder)
    for name, user in finished[2]["users"].items():
        assert again["users"][name]["log10_p"] == user["log10_p"]
        assert again["users"][name]["table_digest"] == user["table_digest"]


def test_a_commitment_after_training_is_refused(reopened):
    settings, folder = reopened
    (folder / "commitments.json").unlink()
    with pytest.raises(SettingsError, match=r"checkpoints and tables but no commitments.json"):
        lab.run(settings, folder)


def test_a_lost_key_is_not_replaced(reopened):
    settings, folder = reopened
    (folder / "keys/keyed.key").unlink()
    with pytest.raises(SettingsError, match=r"keyed.key is gone"):
        lab.run(settings, folder)


def test_another_decoder_changes_no_slot_and_no_manifest(tiny_settings, tmp_path, monkeypatch):
    """Photos that come back one level off are found through the stored manifest."""
    folder = workdir.Workdir(tmp_path)
    before = owners.prepare(tiny_settings, folder).users["keyed"]
    manifest = (tmp_path / "manifests/keyed.json").read_text()
    load = data.load

    def decoded_otherwise(*arguments, **named):
        splits = load(*arguments, **named)
        images = splits.train.images.copy()
        images[:, 0, 0, 0] ^= 1
        return dataclasses.replace(
            splits, train=dataclasses.replace(splits.train, images=images)
        )

    monkeypatch.setattr(data, "load", decoded_otherwise)
    with pytest.warns(keys.ChangedPixelsWarning):
        after = owners.prepare(tiny_settings, folder).users["keyed"]
    assert after.commitment == before.commitment
    assert (tmp_path / "manifests/keyed.json").read_text() == manifest
    assert after.beacon == before.beacon
    slots = [user.assignment.slots for user in (before, after)]
    np.testing.assert_array_equal(*slots)


def test_a_refused_run_does_not_block_its_folder(tiny_config, tmp_path):
    good = lab.settings_from_config(tiny_config)
    tiny_config["users"]["keyed"]["num_images"] = 500
    with pytest.raises(SettingsError):
        lab.run(lab.settings_from_config(tiny_config), tmp_path)
    workdir.Workdir(tmp_path).agree_on_settings(good.to_dict())


def test_the_replay_of_the_documents_runs(finished, monkeypatch, capsys):
    """The code block of docs/evidence.md, on this run."""
    _, folder, results = finished
    text = (pathlib.Path(__file__).parents[2] / "docs" / "evidence.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    namespace = {"__name__": "replay"}
    exec(code.replace("workdir/quickstart/seed0", str(folder)), namespace)
    assert f"p = {results['users']['keyed']['p_text']}," in capsys.readouterr().out


@pytest.mark.parametrize("name", ["tables/keyed.npz", "commitments.json", "settings.json"])
def test_a_damaged_file_is_named(reopened, name):
    settings, folder = reopened
    (folder / name).write_text("{ half")
    with pytest.raises(SettingsError, match=rf"{name} is damaged"):
        lab.run(settings, folder)


@pytest.mark.slow
def test_a_lost_page_is_made_again(reopened):
    settings, folder = reopened
    (folder / "DONE").touch()
    (folder / "report.html").unlink()
    lab.run(settings, folder)
    assert (folder / "report.html").exists()


def test_two_processes_cannot_work_in_one_folder(tiny_settings, tmp_path):
    with (
        workdir.Workdir(tmp_path).lock(),
        pytest.raises(SettingsError, match="another process is at work"),
    ):
        lab.run(tiny_settings, tmp_path)


def test_too_large_a_batch_is_refused_before_any_key_is_drawn(tiny_config, tmp_path):
    tiny_config["train"]["batch_size"] = 5000
    with pytest.raises(SettingsError, match=r"config: batch_size must be at most .* got 5000"):
        lab.run(lab.settings_from_config(tiny_config), tmp_path)
    assert not (tmp_path / "keys").exists()


def test_the_unforeseen_leaves_its_traceback(tiny_settings, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(training, "train_model", broken)
    with pytest.raises(RuntimeError):
        lab.run(tiny_settings, tmp_path)
    assert "Traceback" in (tmp_path / "FAILED.txt").read_text()


def test_half_a_line_in_the_log_swallows_nothing(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"text": "cut o')
    journal.Journal(workdir.Workdir(tmp_path)).say("whole")
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["text"] == "whole"
