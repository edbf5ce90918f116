"""Plans of version 1: read and replayed as they were, never made, and never more than that."""

import dataclasses
import json
import pathlib
import runpy

import numpy as np
import pytest

from anw_jax import keys
from anw_jax.errors import CommitmentError

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
STORED = json.loads((GOLDEN / "keys_version_1.json").read_text())
MADE = runpy.run_path(str(GOLDEN / "make_keys_golden.py"))
KEY, MANIFEST = MADE["KEY"], MADE["manifest_of"]("per_image")
PLAN = keys.Plan("log_losses", 1e-6, version=1)
BEACON = keys.Plan("log_losses", 1e-6, beacon="drand round 7", version=1)
SEQUENTIAL = dataclasses.replace(BEACON, mode="sequential")
OLD_BODY = {"alpha": 1e-6, "mark": "hue_rotation", "mode": "sealed", "statistic": "log_losses"}


@pytest.mark.parametrize("scheme", keys.SCHEMES)
def test_sealed_plans_replay(scheme):
    manifest, stored = MADE["manifest_of"](scheme), STORED["schemes"][scheme]
    assert keys.assign(KEY, manifest, PLAN).slots.tolist() == stored["slots"]
    assert list(manifest.unit_digests) == stored["unit_digests"]
    keys.check_commitment(stored["commitment"], KEY, manifest, PLAN)
    assert keys.public_seed(stored["commitment"], PLAN) == stored["public_seed"]


def test_beacons_replay():
    stored = STORED["with_a_beacon"]["sealed"]
    slots = keys.assign(KEY, MANIFEST, BEACON, beacon=b"value").slots
    assert slots.tolist() == stored["slots"]


def test_sequential_plans_replay():
    stored = STORED["with_a_beacon"]["sequential"]
    tree = keys.UnitTree(KEY, MANIFEST, SEQUENTIAL)
    assert tree.root == stored["root"]
    assert tree.open(2).to_dict() == stored["opening"]
    slots = keys.assign(KEY, MANIFEST, SEQUENTIAL, beacon=b"value").slots
    assert slots.tolist() == stored["slots"]
    opening = keys.LeafOpening.from_dict(stored["opening"])
    checker = keys.LeafChecker(stored["root"], MANIFEST, SEQUENTIAL, b"value")
    slot = checker.check(opening, unit=2)
    assert slot == stored["slots"][2]


def test_no_new_one_is_made():
    with pytest.raises(
        ValueError, match="version must be 2, got 1: such plans can only be replayed"
    ):
        keys.commit(KEY, MANIFEST, PLAN)
    with pytest.raises(
        ValueError, match="version must be 2, got 1: such plans can only be replayed"
    ):
        keys.commit_units(KEY, MANIFEST, SEQUENTIAL)


def test_a_file_without_a_version_is_of_version_1():
    plan = keys.Plan.from_json(OLD_BODY)
    assert plan == PLAN
    assert plan.rules == ()
    assert keys.Plan.from_json(json.loads(json.dumps(plan.as_json()))) == plan
    assert json.loads(plan.to_bytes()) == OLD_BODY


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rules", [{"kind": "logits", "statistic": "ranks"}]),
        ("rules", [{"kind": "label", "views": 3}, {"kind": "label", "views": 4}]),
        ("place", "example.org"),
        ("number", 2),
        ("highest", False),
    ],
)
def test_no_later_field_is_slipped_into_an_old_plan(name, value):
    """Its commitment does not bind them, so they could be added when slots are known."""
    with pytest.raises(ValueError, match=f"{name} must be left out of a plan of version 1"):
        keys.Plan.from_json({**OLD_BODY, name: value})


@pytest.mark.parametrize("name", ["more", "Statistic", "rule"])
def test_unknown_fields_are_refused(name):
    with pytest.raises(TypeError, match=name):
        keys.Plan.from_json({**OLD_BODY, name: 1})


def test_a_new_commitment_does_not_open_as_an_old_one():
    new = keys.Plan("log_losses", 1e-6)
    commitment = keys.commit(KEY, MANIFEST, new)
    keys.check_commitment(commitment, KEY, MANIFEST, new)
    with pytest.raises(CommitmentError, match="does not open"):
        keys.check_commitment(commitment, KEY, MANIFEST, PLAN)
    old = STORED["schemes"]["per_image"]["commitment"]
    with pytest.raises(CommitmentError, match="does not open"):
        keys.check_commitment(old, KEY, MANIFEST, new)


def test_slots_hung_on_the_photo_alone(small_images):
    """The reason for version 2: what a photo's slot would be was known before choosing it."""
    space, key = keys.SignatureSpace(), keys.MarkKey.for_experiment(1)

    def slots(images):
        return keys.assign(key, keys.Manifest.of(images, space), PLAN).slots

    whole = slots(small_images)
    np.testing.assert_array_equal(slots(small_images[::-1]), whole[::-1])
    np.testing.assert_array_equal(slots(small_images[2:3]), whole[2:3])
    group = keys.Manifest.of(small_images, space, "per_group", list("aabbcc"))
    renamed = dataclasses.replace(group, file_names=tuple("uvwxyz"))
    first, second = (keys.assign(key, each, PLAN).slots for each in (group, renamed))
    np.testing.assert_array_equal(first, second)
