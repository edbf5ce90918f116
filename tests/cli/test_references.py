"""References on the command line: in a commitment, in an estimate, in a case."""

import json

import numpy as np
import pytest

from anw_jax import data
from anw_jax.audit.suspect_file import digest_of_model
from tests.audit.conftest import write_photos

CODE = """
import numpy as np

def answer(batch):
    return np.stack([batch.mean((1, 2, 3)), 1 - batch[:, 0, 0, 0]], axis=1)
"""
TOML = """kind = "callable"
function = "base.py:answer"

[declaration]
num_classes = 2
"""
DIGEST = "0f" * 32


@pytest.fixture
def base(root):
    """The file of a base model."""
    (root / "base.py").write_text(CODE)
    (root / "base.toml").write_text(TOML)
    return root / "base.toml"


@pytest.fixture
def photos(root, anw):
    """Photos, and the options that commit to them."""
    write_photos(root / "photos", number=3)
    write_large(root / "photos")
    assert anw("key", "new", root / "ann.key").code == 0
    return (root / "photos", "--key", root / "ann.key", "--out", root / "marked")


def test_a_commitment_names_models_by_file_and_by_digest(root, anw, base, photos):
    ran = anw("commit", *photos, "--reference", base, "--reference", DIGEST)
    assert ran.code == 0, ran.err
    plan = json.loads((root / "marked" / "commitment.json").read_text())["plan"]
    assert plan["references"] == [digest_of_model(base, {}), DIGEST]
    assert anw("commit", *photos).code == 0
    again = anw("commit", *photos, "--reference", DIGEST)
    assert again.code != 0
    assert "was committed to" in again.err


def test_a_commitment_without_references_has_no_such_field(root, anw, photos):
    assert anw("commit", *photos).code == 0
    plan = json.loads((root / "marked" / "commitment.json").read_text())["plan"]
    assert "references" not in plan


@pytest.mark.parametrize("text", ["0F" * 32, "base.onnx", "missing.toml"])
def test_what_is_neither_a_digest_nor_a_file(root, anw, photos, text):
    ran = anw("commit", *photos, "--reference", text)
    assert ran.code == 2
    assert "--reference must be 64 lower-case hex digits, or a file that describes" in ran.err


def test_a_sequential_commitment_has_none(root, anw, photos):
    ran = anw("commit", *photos, "--reference", DIGEST, "--mode", "sequential")
    assert ran.code == 1
    assert "references must be left out of a sequential plan" in ran.err


def test_the_estimate_counts_evaluations_of_a_diffusion_model(anw):
    words = ("plan", "--effect", "3", "--alpha", "1e-3")
    body = json.loads(anw(*words, "--access", "error", "--json").out)
    assert body["num_evaluations"] == 16 * body["num_queries"]
    text = anw(*words, "--access", "error").out
    assert f"{body['num_evaluations']:,} evaluations of a diffusion model's network" in text
    assert "num_evaluations" not in anw(*words, "--json").out


def test_the_estimate_says_what_the_base_of_a_generator_saves(anw):
    words = ("plan", "--access", "error", "--alpha", "1e-3")
    body = json.loads(anw(*words, "--json").out)
    needed = body["with_base"]["num_units"]
    assert f"{needed} units with the model that a suspect was fine-tuned" in anw(*words).out
    with_base = anw(*words, "--references", "1").out
    assert with_base.startswith(f"{needed} units, 11 slots each")
    assert "--references 1" not in with_base


def test_the_estimate_counts_the_queries_to_references(anw):
    words = ("plan", "--effect", "3", "--alpha", "1e-3", "--references", "2")
    body = json.loads(anw(*words, "--json").out)
    assert body["num_reference_queries"] == 2 * body["num_queries"]
    assert (
        f"and {body['num_reference_queries']:,} queries to reference models" in anw(*words).out
    )
    assert "num_reference" not in anw(*words[:5], "--json").out
    assert anw(*words, "--mode", "sequential").code == 1


@pytest.mark.parametrize(("mark", "views"), [("light", 16), ("hue", 1)])
def test_views_of_logits(root, anw, photos, mark, views):
    """The gentle mark buys evidence back with views, where they are free."""
    assert anw("commit", *photos, "--mark", mark).code == 0
    plan = json.loads((root / "marked" / "commitment.json").read_text())["plan"]
    found = {rule["kind"]: rule["views"] for rule in plan["rules"]}
    assert (found["logits"], found["probabilities"], found["label"]) == (views, 1, 16)
    assert anw("commit", *photos, "--fit", "squash").code == 0
    assert anw("commit", *photos, "--augmentations", "4").code != 0


def write_large(folder):
    """Photos that are large enough for any mark."""
    rng = np.random.default_rng(0)
    for file in folder.iterdir():
        file.write_bytes(data.png_of(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)))
