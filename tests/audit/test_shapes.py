"""A step's file that was edited into another shape is one line that names the field."""

import json
import shutil

import pytest

from anw_jax import audit
from anw_jax.audit.case import SHAPES, damage
from anw_jax.errors import CaseError
from tests.audit.test_hostile_files import sealed

# Each ended with the name of a Python error when the fuzz tests began.
EDITS = [
    ("blind.json", ["suspects"], [], "suspects must be an object, got []"),
    ("blind.json", ["suspects", "net"], ["x"], "suspects.net must be an object"),
    ("blind.json", ["suspects", "net", "owners", "ann", "table"], None, "table must be text"),
    (
        "blind.json",
        ["suspects", "net", "owners", "ann", "unusable", "num_unusable"],
        [3],
        "num_unusable must be a whole number, got [3]",
    ),
    ("declared.json", ["owners"], 0.5, "owners must be an object, got 0.5"),
    ("declared.json", ["owners", "ann"], 7, "owners.ann must be an object, got 7"),
    ("declared.json", ["suspects", "net", "file"], None, "suspects.net.file must be text"),
    ("declared.json", ["beacons"], None, "beacons must be an object, got None"),
    (
        "declared.json",
        ["suspects", "net", "declaration"],
        {},
        "cost_per_query must be a number",
    ),
    ("declared.json", ["controls"], [1], "controls.0 must be text, got 1"),
    ("verdict.json", ["case", "blind_sha256"], None, "case.blind_sha256 must be text"),
]


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    root = tmp_path_factory.mktemp("shapes")
    (root / "case").mkdir()
    key = sealed(root, root / "case")
    audit.judge_case(audit.Case(root / "case"), {"ann": key})
    return root / "case", key


@pytest.mark.parametrize(("name", "way", "value", "names"), EDITS)
def test_another_shape_is_named(judged, tmp_path, name, way, value, names):
    case, key = judged
    folder = shutil.copytree(case, tmp_path / "case")
    body = target = json.loads((folder / name).read_text())
    for step in way[:-1]:
        target = target[step]
    target[way[-1]] = value
    (folder / name).write_text(json.dumps(body))
    with pytest.raises(CaseError) as error:
        audit.replay_case(audit.Case(folder), {"ann": key})
    assert f"{name} is damaged: " in str(error.value)
    assert names in str(error.value)


def test_every_file_of_a_case_has_its_shape(judged):
    case, _ = judged
    for name in SHAPES:
        if (case / name).exists():
            assert damage(json.loads((case / name).read_text()), SHAPES[name]) == ""
