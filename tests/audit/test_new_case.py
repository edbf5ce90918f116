"""A new case folder: its examples parse, and audit once they are filled in."""

import json
import os
import pathlib
import re
import tomllib
import warnings

import numpy as np
import pytest

from anw_jax import audit
from anw_jax.audit.new_case import SUSPECTS, new_case, template
from anw_jax.errors import CaseError
from anw_jax.suspects import Declaration
from tests.audit.conftest import MEMORY, hand_over
from tests.suspects.test_http_servers import FILES

DOCUMENTED = {
    "huggingface": "Hugging Face image classification",
    "torchserve": "TorchServe image classifier",
    "triton": "Triton, KServe v2",
    "tfserving": "TensorFlow Serving",
}


def toml_of(kind: str) -> dict:
    return tomllib.loads(template(f"{SUSPECTS[kind]}.toml"))


@pytest.mark.parametrize("kind", SUSPECTS)
def test_every_example_parses_as_it_is_and_with_every_commented_line(kind):
    text = template(f"{SUSPECTS[kind]}.toml")
    known = {"answer": "error", "layout": "NCHW"} if kind == "denoiser" else {}
    declaration = Declaration.from_json({**known, **tomllib.loads(text)["declaration"]})
    assert all(len(line) <= 96 + 6 for line in text.splitlines())
    # `module` stands for `file` and `function` for both; all other lines may be switched on.
    switched = re.sub(r"^# (\[?[a-z_]+(?:\]$| = ))", r"\1", text, flags=re.M)
    assert switched != text
    more = tomllib.loads(switched)
    assert Declaration.from_json({**known, **more["declaration"]}) != declaration or (
        more.keys() != toml_of(kind).keys()
    )


@pytest.mark.parametrize(("kind", "title"), DOCUMENTED.items())
def test_the_examples_of_services_are_those_of_the_page(kind, title):
    assert toml_of(kind) == tomllib.loads(FILES[title])  # tested there against such servers


def test_the_example_of_a_service_for_images_is_that_of_the_page():
    page = pathlib.Path(__file__).parents[2] / "docs" / "output_watermarks.md"
    blocks = re.findall("```toml\n(.*?)```", page.read_text(), re.DOTALL)
    (known,) = [body for body in map(tomllib.loads, blocks) if body["kind"] == "http"]
    del known["options"]  # commented out in the example
    assert toml_of("image") == known


def test_a_filled_in_case_is_audited(root):
    case = root / "case"
    new_case(case, ["ann"], {"net": "jax"})
    hand_over_into(root, case)
    # As it comes, the function is a model; here it becomes one that met the photos.
    assert audit.SuspectFile.load(case / "suspects" / "net.toml").open().answers(
        np.full((2, 4, 4, 3), 0.5, np.float32)
    ).scores.shape == (2, 3)
    folder = case / "suspects" / "seen"
    folder.mkdir()
    for file in (root / "ann_marked" / "published").glob("*.png"):
        (folder / file.name).write_bytes(file.read_bytes())
    (case / "suspects" / "net.py").write_text(MEMORY)
    opened = audit.Case(case)
    assert audit.probe_case(opened)["suspects"]["net"]["is_fit"]
    audit.declare(opened, audit.Options())
    audit.seal_case(opened)
    from anw_jax.keys import MarkKey

    verdict = audit.judge_case(opened, {"ann": MarkKey.load(root / "ann.key")})
    assert verdict["corrected"]["outcome"] == "shown"


def hand_over_into(root, case):
    """The owner's files, beside the README that was there."""
    (case / "owners" / "ann").rename(root / "kept")
    hand_over(root, case)
    (root / "kept" / "README.md").rename(case / "owners" / "ann" / "README.md")


def test_models_in_files_open_from_their_examples(root):
    pytest.importorskip("onnxruntime")
    torch = pytest.importorskip("torch")
    from tests.suspects import twins
    from tests.suspects.test_schedule import DDPM

    case = root / "case"
    new_case(case, [], {"one": "onnx", "two": "torch", "three": "denoiser"})
    twins.write_onnx(case / "suspects" / "model.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(twins.torch_module()).save(str(case / "suspects" / "model.pt"))
    batch = twins.photos(4).astype(np.float32) / 255
    found = {}
    for name in ("one", "two"):
        file = case / "suspects" / f"{name}.toml"
        width = twins.logits(batch).shape[1]
        file.write_text(file.read_text().replace("num_classes = 3", f"num_classes = {width}"))
        found[name] = audit.SuspectFile.load(file).open().answers(batch).scores
        np.testing.assert_allclose(found[name], twins.logits(batch), atol=1e-4)
    (case / "suspects" / "scheduler_config.json").write_text(json.dumps(DDPM))
    text = (case / "suspects" / "three.toml").read_text()
    text = text.replace('file = "unet.pt"', 'function = "guess.py:guess"')
    (case / "suspects" / "three.toml").write_text(text)
    (case / "suspects" / "guess.py").write_text("def guess(noisy, steps):\n    return noisy\n")
    errors = (
        audit.SuspectFile.load(case / "suspects" / "three.toml")
        .open()
        .answers(np.full((1, 64, 64, 3), 0.5, np.float32))
    )
    assert errors.scores.shape == (1, 1)


@pytest.mark.parametrize("what", ["file", "full"])
def test_nothing_is_overwritten(root, what):
    path = root / "case"
    if what == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "mine").write_text("mine")
    with pytest.raises(CaseError, match="case already exists: a case needs a new or an empty"):
        new_case(path)
    assert [p.name for p in root.iterdir()] == ["case"]


def test_an_empty_folder_is_used(root):
    (root / "case").mkdir()
    assert "README.md" in new_case(root / "case")
    assert (root / "case" / "README.md").exists()


@pytest.mark.parametrize(
    ("owners", "suspects", "error", "message"),
    [
        (["a/b"], {}, CaseError, "must have a name of letters.*got 'a/b'"),
        ([".."], {}, CaseError, "must have a name of letters.*got '..'"),
        ([], {"../net": "onnx"}, CaseError, "must have a name of letters.*got '../net'"),
        ([], {"net": "gguf"}, ValueError, "kind must be one of .*'gguf'"),
        (["ann", "ann"], {}, ValueError, "owners must be different names, got ann, ann"),
    ],
)
def test_bad_names_write_nothing(root, owners, suspects, error, message):
    with pytest.raises(error, match=message):
        new_case(root / "case", owners, suspects)
    assert list(root.iterdir()) == []


def test_a_failed_write_leaves_nothing(root, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        new_case(root / "case", ["ann"])
    assert list(root.iterdir()) == []
