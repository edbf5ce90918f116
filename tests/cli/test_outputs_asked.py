"""A mark in outputs, read from a suspect that `anw` itself asks: a file, or a function."""

import json
import shutil

import numpy as np
import pytest

from anw_jax import suspects
from anw_jax.cli.main import run
from anw_jax.schemes import barrier
from anw_jax.suspects.cache import question_key
from tests.cli import outputs_asked as world

pytest.importorskip("onnx", reason="onnx makes the files that are asked")
pytest.importorskip("onnxruntime", reason="onnxruntime is an optional library")

ONNX = world.FILES["onnx"]
# Counts what it is asked in a file; "stop" makes it end the command after 9 queries.
COUNTING = """
import pathlib
import numpy as np

place = pathlib.Path(__file__).parents[1]

def answer(batch):
    asked = place / "asked"
    before = int(asked.read_text()) if asked.exists() else 0
    if (place / "stop").exists() and before + len(batch) > 9:
        raise KeyboardInterrupt
    asked.write_text(str(before + len(batch)))
    return np.clip(batch * CHANGE, 0, 1)
"""
CALLED = """
kind = "callable"
function = "found.py:answer"

[declaration]
answer = "image"

[options]
together = 1
"""


@pytest.fixture(scope="module")
def owner(tmp_path_factory):
    return world.owner_in(tmp_path_factory.mktemp("owner"))


@pytest.fixture
def place(owner, tmp_path):
    return shutil.copytree(owner, tmp_path / "place")


def onnx_case(place, *kernels, text=ONNX, **how):
    case = world.case_in(place, text)
    world.write_onnx(case / "suspects" / "found.onnx", *(kernels or [world.OTHER]), **how)
    return case


def called_case(place, change="1.0"):
    case = world.case_in(place, CALLED)
    (case / "suspects" / "found.py").write_text(COUNTING.replace("CHANGE", change))
    return case


def anw(command, case, *more) -> int:
    return run([command, str(case), *map(str, more)])


def declared(case) -> None:
    assert anw("probe", case) == 0
    assert anw("declare", case, "--beacon", world.VALUE) == 0


def said(capsys) -> str:
    found = capsys.readouterr()
    return found.out + found.err


@pytest.mark.parametrize("is_thief", [True, False])
def test_a_copy_in_an_onnx_file_is_judged(place, capsys, is_thief):
    case = onnx_case(place, *(world.copied_kernels(place) if is_thief else ()))
    declared(case)
    assert anw("audit", case) == 0
    blind = json.loads((case / "blind.json").read_text())["suspects"]["found"]
    assert blind["num_queries"] == world.NUM_QUERIES
    assert blind["num_refused"] == blind["num_in_doubt"] == 0
    key = ("--key", place / "mark" / "mark.key")
    code = anw("verdict", case, *key)
    test = json.loads((case / "verdict.json").read_text())["tests"]["ann"]["found"]
    assert (test["outcome"] == "shown") == is_thief
    assert (code == 10) == is_thief  # shown, on conditions: nothing was stated
    capsys.readouterr()
    assert anw("replay", case, *key, "--ask", 1) == code
    asked_again = said(capsys)
    assert anw("report", case) == 0
    assert f"{world.NUM_QUERIES}, of which 0 refused" in (case / "report.html").read_text()
    number = world.decoder_in(place).num_bits
    assert f"read again: {number} scores, 0 of them with other scores" in asked_again
    # Once the answers are sealed, nothing needs the model; a bundle needs no answers.
    (case / "suspects" / "found.onnx").unlink()
    assert anw("verdict", case, *key) == code
    capsys.readouterr()
    assert anw("replay", case, *key) == code
    assert f"replayed: {number} scores from the answers, and the verdict" in said(capsys)
    assert anw("bundle", case, *key, "--out", place / "evidence.zip") in (0, code)
    assert run(["replay", str(place / "evidence.zip")]) == code


def wider(kernel):
    return np.concatenate([kernel, kernel[..., :1]], axis=3)


BAD = {
    "another size": ({"height": 8, "width": 8}, ONNX, "takes [?, 3, 8, 8]"),
    "another size, as declared": (
        {},
        ONNX + "input_size = [8, 8]\n",
        "declares input_size [8, 8], and the images are [16, 16]",
    ),
    "more channels": ({"kernels": [wider(world.OWN)]}, ONNX, "or number of channels"),
    "outside [0, 1]": (
        {"kernels": [2 * world.OWN], "clip": False},
        ONNX,
        "answers with values from",
    ),
    "constant": (
        {"kernels": [0 * world.OWN]},
        ONNX,
        "it answers all 8 images with one constant output",
    ),
    "NaN": ({"kernels": [np.nan * world.OWN], "clip": False}, ONNX, "are NaN or infinite"),
    "red and blue exchanged": (
        {"kernels": [world.OTHER[:, :, ::-1]]},
        ONNX,
        "closer to those expected with red and blue exchanged",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_one_clear_error_of_the_probe(place, capsys, name):
    how, text, wanted = BAD[name]
    case = onnx_case(place, *how.pop("kernels", ()), text=text, **how)
    is_warning = name == "red and blue exchanged"
    assert anw("probe", case) == (0 if is_warning else 7)
    found = said(capsys)
    assert wanted in found
    assert found.count("error: ") == (not is_warning)
    if is_warning:
        return
    assert anw("declare", case, "--beacon", world.VALUE) == 1
    assert not (case / "declared.json").exists()
    # And of the audit, where the probe was overruled.
    assert anw("declare", case, "--beacon", world.VALUE, "--despite-probe") == 0
    capsys.readouterr()
    assert anw("audit", case) == 1
    assert len(said(capsys).splitlines()) == 1
    assert not (case / "blind.json").exists()
    assert not (case / "scores").exists()


OPENED = {
    "no file": ({}, ONNX.replace("found.onnx", "lost.onnx"), "cannot be read"),
    "an answer that is no image": (
        {},
        ONNX.replace('"image"', '"logits"\nnum_classes = 3'),
        "answer must be 'image', for a mark in outputs; got 'logits'",
    ),
    "classes": ({}, ONNX + "num_classes = 3\n", "num_classes must be left out with answer="),
    "an unknown kind": (
        {},
        ONNX.replace('"onnx"', '"wasm"'),
        "must be 'answers' or one of onnx",
    ),
    "an unknown field": ({}, "folder = 'a'\n" + ONNX, "has a field 'folder'"),
    "clip that is none": ({}, ONNX + "[options]\nclip = 1\n", "clip must be a bool"),
}


@pytest.mark.parametrize("name", OPENED)
def test_a_file_that_does_not_fit_is_one_clear_error(place, capsys, name):
    how, text, wanted = OPENED[name]
    case = onnx_case(place, text=text, **how)
    assert anw("probe", case) == 1
    lines = said(capsys).splitlines()
    assert wanted in lines[0]
    assert len(lines) == 1
    assert not (case / "probe.json").exists()


def test_values_that_leave_the_range_are_clipped_where_that_is_declared(place, capsys):
    text = ONNX + "[options]\nclip = true\n"
    case = onnx_case(place, 2 * world.OWN, text=text, clip=False)
    assert anw("probe", case) == 0, said(capsys)


def test_the_owners_own_model_is_no_copy(place, capsys):
    case = world.case_in(place, ONNX)
    shutil.copy(place / "model.onnx", case / "suspects" / "found.onnx")
    assert anw("probe", case) == 7
    assert "it is the owner's own unmarked model" in said(capsys)


def test_a_model_that_is_exchanged_after_the_declaration_is_refused(place, capsys):
    case = onnx_case(place)
    declared(case)
    world.write_onnx(case / "suspects" / "found.onnx", 0.9 * world.OTHER)
    assert anw("audit", case) == 8
    assert "weights of suspect 'found' was changed after declared.json" in said(capsys)
    assert not (case / "answers").exists()


def test_answers_are_kept_and_none_is_asked_for_twice(place, capsys):
    case = called_case(place)
    declared(case)
    (case / "asked").unlink()  # by the probe
    (case / "stop").touch()
    assert anw("audit", case) == 130
    assert not (case / "blind.json").exists()
    assert (case / "asked").read_text() == "9"
    (case / "stop").unlink()
    # The ninth was answered in a call that never ended.
    for _ in range(2):
        assert anw("audit", case) == 0, said(capsys)
        assert (case / "asked").read_text() == str(world.NUM_QUERIES + 1)


def test_answers_that_were_changed_are_refused(place, capsys):
    case = onnx_case(place)
    declared(case)
    assert anw("audit", case) == 0
    answers = case / "answers" / "found.answers"
    body = answers.read_bytes()
    answers.write_bytes(body[:-1])
    key = ("--key", place / "mark" / "mark.key")
    assert anw("verdict", case, *key) == 8
    assert "found.answers" in said(capsys)
    answers.unlink()
    assert anw("verdict", case, *key) == 8
    assert "without the answers" in said(capsys)
    answers.write_bytes(body)
    assert anw("verdict", case, *key) == 3


def test_a_seal_that_names_no_answers_is_refused(place, capsys):
    case = onnx_case(place)
    declared(case)
    assert anw("audit", case) == 0
    path = case / "blind.json"
    blind = json.loads(path.read_text())
    del blind["suspects"]["found"]["answers"]
    path.write_text(json.dumps(blind))
    assert anw("verdict", case, "--key", place / "mark" / "mark.key") == 8
    assert "found.answers" in said(capsys)


def test_answers_from_before_the_declaration_are_refused(place, capsys):
    """Of an innocent model: its owner, who knows the bits, writes what a copy would answer."""
    case = onnx_case(place)
    assert anw("probe", case) == 0
    queries = world.decoder_in(place).queries
    forged = world.answered(queries, *world.copied_kernels(place))
    declaration = suspects.Declaration(answer="image", layout="NCHW")
    innocent = suspects.OnnxSuspect(case / "suspects" / "found.onnx", declaration).declaration
    with suspects.AnswerCache(case / "answers" / "found.answers", innocent) as cache:
        keys = [question_key(innocent.digest, query) for query in queries]
        cache.store(keys, suspects.Answers("image", forged))
    capsys.readouterr()
    assert anw("declare", case, "--beacon", world.VALUE) == 1
    assert "holds answers from before the declaration" in said(capsys)
    shutil.rmtree(case / "answers")
    assert anw("declare", case, "--beacon", world.VALUE) == 0


def test_a_case_of_photos_takes_no_model_that_answers_with_images(tmp_path):
    from anw_jax.audit.suspect_file import SuspectFile
    from anw_jax.errors import CaseError

    world.write_onnx(tmp_path / "found.onnx")
    (tmp_path / "found.toml").write_text(ONNX)
    with pytest.raises(CaseError, match="answer must be no image, for a case of photos"):
        SuspectFile.load(tmp_path / "found.toml").open()


def test_in_python_a_suspect_is_a_function_for_extract(place, tmp_path):
    decoder, path = world.decoder_in(place), tmp_path / "copy.onnx"
    world.write_onnx(path, *world.copied_kernels(place))
    declaration = suspects.Declaration(answer="image", layout="NCHW")
    copy = suspects.OnnxSuspect(path, declaration)
    with suspects.AnswerCache(tmp_path / "copy.answers", copy.declaration) as cache:
        scores = barrier.extract(decoder, suspects.images_fn(copy, cache=cache))
        assert cache.num_queries == world.NUM_QUERIES
    plain = barrier.extract(
        decoder, lambda images: world.answered(images, *world.copied_kernels(place))
    )
    np.testing.assert_allclose(scores, plain, rtol=0.05, atol=0.02 * np.abs(plain).max())


def write_script(path, *kernels) -> None:
    """Write a network as TorchScript, from pictures in [-1, 1] to pictures in [-1, 1]."""
    torch = pytest.importorskip("torch", reason="torch is an optional library")

    class Copy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(
                *(
                    torch.nn.Conv2d(3, 3, 7, padding=3, padding_mode="reflect", bias=False)
                    for _ in kernels
                )
            )
            for layer, kernel in zip(self.layers, kernels, strict=True):
                weights = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
                layer.weight = torch.nn.Parameter(weights)

        def forward(self, x):
            return 2 * self.layers((x + 1) / 2) - 1

    torch.jit.save(torch.jit.script(Copy()), path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_copy_in_a_torchscript_file_is_read_as_the_same_copy_in_onnx(place, capsys):
    kernels, found = world.copied_kernels(place), {}
    for kind in ("torch", "onnx"):
        case = world.case_in(place, world.FILES[kind])
        write_script(case / "suspects" / "found.pt", *kernels)
        world.write_onnx(case / "suspects" / "found.onnx", *kernels)
        declared(case)
        assert anw("audit", case) == 0, said(capsys)
        with np.load(case / "scores" / "found.npz") as scores:
            found[kind] = scores["ann"]
        case.rename(place / kind)
    np.testing.assert_allclose(found["torch"], found["onnx"], rtol=1e-3, atol=1e-4)
