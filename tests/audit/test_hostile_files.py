"""Files of a case that are exchanged, edited, or made to do harm when they are read."""

import importlib.util
import io
import json
import os
import pathlib
import py_compile
import zipfile

import numpy as np
import pytest

from anw_jax import audit
from anw_jax.audit.files import read_arrays
from anw_jax.errors import CaseError, ChangedFileError
from anw_jax.keys import MarkKey, Plan
from anw_jax.suspects import Answers, Declaration, RecordedSuspect
from tests.audit.conftest import SUSPECT, hand_over, write_photos, write_suspect
from tests.audit.owners import mark_folder


def sealed(root, case_dir, **plan):
    """A sealed case, and the owner's key."""
    key = hand_over(root, case_dir, **plan)
    write_suspect(case_dir, root / "ann_marked" / "published")
    audit.probe_case(audit.Case(case_dir))
    audit.declare(audit.Case(case_dir), audit.Options())
    audit.seal_case(audit.Case(case_dir))
    return key


def suspect_file(folder, text):
    (folder / "net.toml").write_text(text)
    return audit.SuspectFile.load(folder / "net.toml")


def test_the_code_that_is_hashed_is_the_code_that_runs(tmp_path):
    """Python takes a compiled file beside the source for it, by its time and size alone."""
    path = tmp_path / "model.py"
    path.write_text("def answer(batch):\n    raise SystemExit('other code was run')\n")
    cached = pathlib.Path(importlib.util.cache_from_source(str(path)))
    py_compile.compile(str(path), cfile=str(cached), doraise=True)
    told = path.stat()
    text = "import numpy as np\ndef answer(batch):\n    return np.zeros((len(batch), 3))\n"
    path.write_text(text)
    body = bytearray(cached.read_bytes())
    body[12:16] = path.stat().st_size.to_bytes(4, "little")
    cached.write_bytes(bytes(body))
    os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns))
    suspect = suspect_file(tmp_path, SUSPECT.format(file="model.py")).open()
    assert suspect.answers(np.zeros((2, 4, 4, 3), np.float32)).scores.shape == (2, 3)


def test_an_identity_of_ones_own_cannot_stand_for_a_file(tmp_path):
    (tmp_path / "model.py").write_text("answer = len\n")
    text = SUSPECT.format(file="model.py") + 'identity = "always the same"\n'
    with pytest.raises(CaseError, match="must name no identity for kind 'callable': it is"):
        suspect_file(tmp_path, text).open()


def test_the_code_of_a_module_is_part_of_its_identity(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is an optional library")
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "weights.pt")
    code = "import torch\ndef make():\n    return torch.nn.Linear(3, 2)\n"
    text = 'kind = "torch"\nfile = "weights.pt"\nmodule = "net.py:make"\n'
    digests = []
    for further in ("", "# other\n"):
        (tmp_path / "net.py").write_text(code + further)
        file = suspect_file(tmp_path, text + "[declaration]\nnum_classes = 2\n")
        digests.append(file.open().declaration.digest)
    assert digests[0] != digests[1]


def test_recorded_answers_cannot_be_exchanged_once_declared(tmp_path):
    pictures = np.zeros((1, 2, 2, 3), np.uint8)
    declaration, digests = Declaration(2, "label", identity="the court's"), []
    for label in (0, 1):
        answers = Answers("label", labels=np.array([label]))
        RecordedSuspect.of(pictures, answers, declaration).save(tmp_path / "answers.npz")
        suspect = suspect_file(tmp_path, 'kind = "recorded"\nfile = "answers.npz"\n').open()
        assert suspect.answers(pictures.astype(np.float32)).labels.tolist() == [label]
        assert suspect.declaration.identity.startswith("the court's recorded in ")
        digests.append(suspect.declaration.digest)
    assert digests[0] != digests[1]


def test_a_model_exchanged_after_its_probe_is_probed_again(root, case_dir):
    hand_over(root, case_dir)
    write_suspect(case_dir, None)
    audit.probe_case(audit.Case(case_dir))
    model = case_dir / "suspects" / "net_code" / "model.py"
    model.write_text(model.read_text() + "\n# retrained\n")
    with pytest.raises(CaseError) as error:
        audit.declare(audit.Case(case_dir), audit.Options())
    assert str(error.value) == "suspect 'net' is not the model that was probed: probe again"


def test_answers_edited_after_the_seal_are_seen(root, case_dir):
    key = sealed(root, case_dir)
    answers = case_dir / "answers" / "net.answers"
    body = bytearray(answers.read_bytes())
    body[-1] ^= 1
    answers.write_bytes(bytes(body))
    with pytest.raises(ChangedFileError, match=r"net.answers was changed after blind.json"):
        audit.judge_case(audit.Case(case_dir), {"ann": key})


def test_a_table_that_is_left_out_is_missed(root, case_dir):
    """Fewer tables, a smaller correction."""
    key = hand_over(root, case_dir, claim="each model")
    for name in ("one", "two"):
        write_suspect(case_dir, root / "ann_marked" / "published", name)
    audit.declare(audit.Case(case_dir), audit.Options(), despite_probe=True)
    audit.seal_case(audit.Case(case_dir))
    path = case_dir / "blind.json"
    body = json.loads(path.read_text())
    del body["suspects"]["two"]
    path.write_text(json.dumps(body))
    with pytest.raises(ChangedFileError, match="does not hold the tables of each owner and"):
        audit.judge_case(audit.Case(case_dir), {"ann": key})


def test_the_basis_is_never_readable_by_others(root, monkeypatch):
    write_photos(root / "photos", number=1)
    monkeypatch.setattr(pathlib.Path, "chmod", None)  # too late: it was readable before
    key, plan = MarkKey.for_experiment(1), Plan("losses", 0.1)
    before = os.umask(0)
    try:
        mark_folder(root / "photos", key, root / "out", plan, mark="private_basis")
    finally:
        os.umask(before)
    assert (root / "out" / "basis.json").stat().st_mode & 0o777 == 0o600


def damaged_zip() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=np.arange(1000))
    body = bytearray(buffer.getvalue())
    body[80:120] = bytes(40)
    return bytes(body)


def odd_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("images.npy", b"\x93NUMPY no header")
    return buffer.getvalue()


def one_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def objects() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, images=np.array([{}], object))
    return buffer.getvalue()


@pytest.mark.parametrize("make", [damaged_zip, odd_zip, one_array, objects, bytes])
def test_arrays_that_are_none_are_one_line(tmp_path, make):
    path = tmp_path / "originals.npz"
    path.write_bytes(make())
    with pytest.raises(CaseError) as error:
        read_arrays(path)
    assert str(error.value).startswith(f"{path} is no .npz file (")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("commitment", ["\ud800", "AB" * 32, "", 3, ["ab" * 32]])
def test_a_commitment_of_another_form_is_one_line(root, case_dir, commitment):
    hand_over(root, case_dir)
    path = case_dir / "owners" / "ann" / "commitment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "commitment": commitment}))
    with pytest.raises(CaseError, match=r"commitment.json is damaged: commitment must be"):
        _ = audit.Case(case_dir).owners
