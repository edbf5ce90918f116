"""Damaged and edited model files by thousands: one line each, or a model of its own."""

import collections
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import warnings

import numpy as np
import pytest

from anw_jax.suspects import RecordedSuspect
from tests.mutants import MANY
from tests.suspects import fuzz_child, twins
from tests.tally import Tally

ROOT = pathlib.Path(__file__).resolve().parents[2]
FEW = 60
ENDS = {
    "same": "the file itself",
    "taken": "asked, under its own digest",
    "refused": "refused in one line",
}
DECLARED = f"[declaration]\nnum_classes = {twins.NUM_CLASSES}\ninput_size = [8, 8]\n"
NCHW = DECLARED + 'layout = "NCHW"\n'


def make_onnx(folder):
    twins.write_onnx(folder / "m")
    return 'kind = "onnx"\nfile = "m"\noptions = {num_threads = 1}\n' + NCHW


def make_script(folder):
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(twins.torch_module()), folder / "m")
    return 'kind = "torch"\nfile = "m"\n' + NCHW


def make_weights(folder):
    import torch

    torch.save(twins.torch_module().state_dict(), folder / "m")
    (folder / "make.py").write_text(
        "from tests.suspects import twins\ndef make():\n    return twins.torch_module()\n"
    )
    listed = f"files = [{json.dumps(twins.__file__)}]\n"
    return f'kind = "torch"\nfile = "m"\nmodule = "make.py:make"\n{listed}' + NCHW


def make_keras(folder):
    os.environ.setdefault("KERAS_BACKEND", "numpy")
    twins.keras_model().save(folder / "m.keras")
    (folder / "m.keras").rename(folder / "m")
    return 'kind = "keras"\nfile = "m"\n' + DECLARED


def make_recorded(folder):
    pictures = twins.photos(3)
    answers = twins.called().answers(pictures.astype(np.float32) / np.float32(255))
    RecordedSuspect.of(pictures, answers, twins.NHWC).save(folder / "m")
    return 'kind = "recorded"\nfile = "m"\n'


MAKES = {
    "onnx": (make_onnx, "onnxruntime"),
    "script": (make_script, "torch"),
    "weights": (make_weights, "torch"),
    "keras": (make_keras, "keras"),
    "recorded": (make_recorded, None),
}


def made(folder, kind):
    make, library = MAKES[kind]
    if library and not importlib.util.find_spec(library):
        pytest.skip(f"{library} is an optional library")
    if kind == "onnx":
        pytest.importorskip("onnx", reason="onnx makes the files that are asked")
    (folder / "net.toml").write_text(make(folder))
    return folder / "net.toml", folder / "m"


def check(ends, number):
    counts = collections.Counter(end for end, _ in ends)
    assert counts["wrong"] == 0, [words for end, words in ends if end == "wrong"][:5]
    assert sum(counts.values()) == number
    assert counts["refused"] > number / 3
    for end, words in ends:
        assert (end != "refused") or (words and "Traceback" not in words)


@pytest.mark.parametrize("kind", ["onnx", "recorded"])
def test_a_few_mutants_of(tmp_path, kind):
    toml, file = made(tmp_path, kind)
    original = file.read_bytes()
    assert fuzz_child.end_of(toml, original) == ("taken", "")
    ends = []
    for index in range(FEW // 2):
        body = fuzz_child.mutant(original, np.random.default_rng([1, index]))
        file.write_bytes(body)
        ends.append(fuzz_child.end_of(toml, body))
    check(ends, FEW // 2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", MAKES)
def test_many_mutants_of(tmp_path, kind):
    toml, file = made(tmp_path, kind)
    words = [sys.executable, "-W", "ignore", "-m", "tests.suspects.fuzz_child"]
    original = file.read_bytes()
    with Tally(f"model file, opened and asked: {kind}") as tally:
        ran = subprocess.run(
            [*words, str(toml), str(file), "0", str(MANY)],
            capture_output=True,
            text=True,
            errors="replace",
            cwd=ROOT,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        lines = (tmp_path / "ends.jsonl").read_text().splitlines()
        assert ran.returncode == 0, (lines[-1], ran.stderr[-2000:])
        ends = [json.loads(line.partition(" ")[2]) for line in lines]
        check(ends, MANY)
        for index, (end, _) in enumerate(ends):
            body = fuzz_child.mutant(original, np.random.default_rng([0, index]))
            tally.add(body, ENDS[end])
