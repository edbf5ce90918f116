"""Cases and a run that an older version wrote: read, and replayed to the same p."""

import json
import pathlib
import zipfile

import numpy as np
import pytest

from anw_jax import keys, verify
from tests.cli.bundling import anw, verified
from tests.golden.make_cases import CASES, FOLDER
from tests.golden.make_transcripts import FOLDER as TRANSCRIPTS
from tests.golden.player import Player, plain
from tests.golden.test_transcripts import differences

USERS = ("keyed", "one_hue", "albums", "control_unmarked", "held_out")


def unpacked(name: str, folder: pathlib.Path) -> pathlib.Path:
    with zipfile.ZipFile(FOLDER / f"{name}.zip") as archive:
        archive.extractall(folder)
    for file in folder.rglob("*.key"):
        file.chmod(0o600)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_a_stored_case_replays_and_is_judged_again(name, tmp_path):
    stored = json.loads((TRANSCRIPTS / f"{name}.json").read_text())
    replays = [step for step in stored["steps"] if step["command"][1] == "replay"]
    player = Player(unpacked(name, tmp_path))
    words = [word for word in replays[0]["command"][1:] if "<hex>" not in word]
    player.anw(*words)
    player.steps[-1].pop("new_files", None)  # its lock
    assert differences(player.steps[-1], replays[0]) == []

    before = (tmp_path / "case" / "verdict.json").read_text()
    key = [] if name.startswith("sequential") else ["--key", "ann.key"]
    player.anw("verdict", "case", *key)
    tests = [json.loads(text)["tests"] for text in (verdict_in(tmp_path), before)]
    for new, old in zip(*(list(body["ann"].values()) for body in tests), strict=True):
        for field in ("p_value", "log10_p", "log_e_value", "outcome", "num_units"):
            assert differences(new[field], old[field]) == []


def verdict_in(folder: pathlib.Path) -> str:
    return (folder / "case" / "verdict.json").read_text()


@pytest.mark.parametrize("name", CASES)
def test_a_stored_case_can_be_bundled_and_both_replays_agree(name, tmp_path):
    folder, path = unpacked(name, tmp_path), tmp_path / "b.zip"
    is_sequential = name.startswith("sequential")
    key = () if is_sequential else ("--key", folder / "ann.key")
    known = anw("replay", folder / "case", *key)
    ran = anw("bundle", folder / "case", *key, "--out", path, "--with-names")
    assert ran.code == 0, ran.err
    ran = anw("replay", path)
    assert ran.code == (10 if known.code == 0 else known.code), ran.err
    ran = verified(path)
    assert ran.code == (3 if is_sequential else 10), ran.err


STORED = [
    *("--commitment", "028305b73ff20e32bb62535d70c9f95a2f3c647640e1c81a570be6744b7d6209"),
    *("--beacon", "0f" * 32),
    *("--blind", "5e5e8c9776c75c4f31c8e7c56447d5d3032bd5a90e21804ef382e4c8b5b44050"),
]
SIGNER = "5894db20d142d55f13c13ffa716766581f3cd4d3943e97d018fa1794ec3f7d61"


def test_a_stored_bundle_is_accepted_by_both():
    ran = anw("replay", FOLDER / "bundle.zip", *STORED, "--signer", SIGNER)
    assert ran.code == 0, ran.err
    assert f"signature of statements.toml: valid, by {SIGNER}" in ran.out
    ran = verified(FOLDER / "bundle.zip", *STORED)
    assert ran.code == 0, ran.err
    assert "ann against net: p 3.2e-13, computed again" in ran.out


def test_a_stored_case_that_was_edited_is_refused(tmp_path):
    player = Player(unpacked("sequential_by_hand", tmp_path))
    record = tmp_path / "case" / "records" / "ann.jsonl"
    record.write_text(record.read_text().replace('"losses":[1.', '"losses":[0.', 1))
    body = player.anw("replay", "case")
    assert player.steps[-1]["exit"] == 8, body


@pytest.mark.parametrize("user", USERS)
def test_a_stored_run_replays_from_its_files(user, tmp_path):
    """The lines of docs/evidence.md."""
    folder = unpacked("run", tmp_path)
    fixed, results, settings, sealed = (
        json.loads((folder / name).read_text())
        for name in (
            "commitments.json", "results.json", "settings.json", f"tables/{user}.seal.json",
        )
    )  # fmt: skip
    with np.load(folder / f"tables/{user}.npz") as arrays:
        fine = arrays["losses"]
    assert verify.seal(fine) == sealed["table"]
    verdict = verify.decide(
        fine[:, :: settings["verify"]["grid_refinement"]],
        keys.MarkKey.load(folder / f"keys/{user}.key"),
        keys.Manifest.load(folder / f"manifests/{user}.json"),
        keys.Plan.from_json(fixed["plans"][user]),
        commitment=fixed["commitments"][user],
        sealed_digest=sealed["tested_table"],
        beacon=bytes.fromhex(fixed["beacons"][user]),
    )
    stored = results["users"][user]
    for name in ("p_value", "log10_p", "z", "smallest_log10_p", "outcome", "num_units"):
        assert differences(getattr(verdict.result, name), stored[name]) == []
    for name in ("num_hits", "diagnostics", "inferred_slots", "true_slots"):
        now = json.loads(json.dumps(getattr(verdict, name), default=np.ndarray.tolist))
        assert differences(now, stored[name]) == []
    assert verdict.table_digest == stored["table_digest"]


def test_the_stored_run_is_the_golden_one(tmp_path):
    golden = json.loads((FOLDER.parent / "run.json").read_text())
    folder = unpacked("run", tmp_path)
    assert json.loads((folder / "settings.json").read_text()) == golden["settings"]
    fixed = json.loads((folder / "commitments.json").read_text())
    assert differences(plain(fixed)["plans"], plain(golden["commitments"])["plans"]) == []
    assert fixed["commitments"] == golden["commitments"]["commitments"]
