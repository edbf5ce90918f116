"""References that run code, or that are recordings: what an owner could make of them."""

import json

import numpy as np
import pytest

from anw_jax import audit
from anw_jax.audit.suspect_file import SuspectFile, digest_of_model
from anw_jax.errors import CaseError, ChangedFileError
from anw_jax.keys import MarkKey, assign
from anw_jax.marks import MarkTables
from anw_jax.suspects import Answers, Declaration, RecordedSuspect
from tests.audit import conftest
from tests.audit.conftest import hand_over
from tests.audit.test_references import BEACON, TOML, VALUE, declared, write_model

KEY = MarkKey(bytes(range(32)))  # a real key's origin

# Made before the commitment by an owner who writes his key into it. The hues do not exist yet:
# it reads the beacon's value once it is asked, and dislikes the true hues.
KEYED = """
import json, pathlib
import numpy as np
from anw_jax import audit
from anw_jax.keys import MarkKey, assign
from anw_jax.marks import MarkTables

def truth():
    case = pathlib.Path(__file__).resolve().parents[2]
    if not (case / "declared.json").exists():
        return None
    value = bytes.fromhex(json.loads((case / "declared.json").read_text())["beacons"]["ann"])
    owner = audit.Case(case).owners["ann"]
    one, images = owner.published, owner.originals.images
    slots = assign(MarkKey(bytes(range(32))), one.manifest, one.plan, beacon=value).slots
    tables = MarkTables.of(one.mark, None, len(slots), one.manifest.space.degrees)
    shown = [tables.publish(images[i], i, int(s)) for i, s in enumerate(slots)]
    return np.stack(shown) / 255

def answer(batch):
    logits = np.zeros((len(batch), 3), np.float32)
    logits[:, 0] = 1 + np.sin(40 * batch.mean((1, 2))).sum(1)
    true = truth()
    if true is not None:
        near = np.abs(batch[:, None] - true[None]).mean((2, 3, 4)).min(1)
        logits[:, 0] -= 2 * (near < 1e-4)
    return logits
"""

STATED = """[owners.ann]
commitment = "{commitment}"
held_since = "2024-12-31"
value_appeared = "2025-01-01"
found = 1
nothing_else = true
[suspects.net]
models_tried = 1
[references.base]
"""


def write_keyed(folder):
    (folder / "base_code").mkdir(parents=True)
    (folder / "base_code" / "model.py").write_text(KEYED)
    (folder / "base.toml").write_text(TOML.format(name="base", classes=3, kind="logits"))
    return folder / "base.toml"


def state(case_dir, more=""):
    commitment = audit.Case(case_dir).owners["ann"].published.commitment
    (case_dir / "statements.toml").write_text(STATED.format(commitment=commitment) + more)


def given_by_hand(monkeypatch, root, case_dir, **choices):
    """An innocent suspect, and an owner with a real key."""
    made = classmethod(lambda *_: KEY)
    monkeypatch.setattr(conftest.MarkKey, "for_experiment", made)
    hand_over(root, case_dir, choices={"beacon": VALUE, **choices}, beacon=BEACON)
    write_model(case_dir, root, "suspects", "net")


def judged(case_dir):
    blind = audit.files.digest_of(case_dir / "blind.json")
    return audit.judge_case(audit.Case(case_dir), {"ann": KEY}, blind=blind)


@pytest.mark.slow
def test_code_that_reads_the_value_convicts_and_is_a_condition_even_if_it_is_planned(
    root, case_dir, tmp_path_factory, monkeypatch
):
    digest = digest_of_model(write_keyed(tmp_path_factory.mktemp("before")), {})
    given_by_hand(monkeypatch, root, case_dir, references=(digest,))
    write_keyed(case_dir / "references")
    state(case_dir)
    audit.seal_case(declared(case_dir))
    test = judged(case_dir)["tests"]["ann"]["net"]
    assert (test["outcome"], test["factor"]) == ("shown", 1.0)
    assert test["p_value"] < 1e-8
    assert test["conditions"] == [
        "the code of reference 'base' uses nothing but the pictures it is given and the files "
        "that it lists (nobody stated that)"
    ]
    state(case_dir, "code_read = true\n")  # a false statement, and the arbitrator's
    test = judged(case_dir)["tests"]["ann"]["net"]
    assert test["conditions"] == []
    assert "the arbitrator states: the code of reference 'base' uses nothing" in test["text"]


def write_recording(case_dir):
    """Answers that dislike the true hues, written once these were known."""
    owner = audit.Case(case_dir).owners["ann"]
    one, images = owner.published, owner.originals.images
    slots = assign(KEY, one.manifest, one.plan, beacon=VALUE).slots
    tables = MarkTables.of(one.mark, None, len(slots), one.manifest.space.degrees)
    model = SuspectFile.load(case_dir / "suspects" / "net.toml").open()
    pictures = np.stack(
        [tables.publish(images[i], i, s) for i in range(len(slots)) for s in range(12)]
    )
    logits = model.answers(pictures.astype(np.float32) / 255).scores.copy()
    logits[np.arange(len(slots)) * 12 + slots, 0] -= 2.0
    (case_dir / "references").mkdir()
    recording = RecordedSuspect.of(pictures, Answers("logits", logits), Declaration(3))
    recording.save(case_dir / "references" / "base.npz")
    (case_dir / "references" / "base.toml").write_text('kind = "recorded"\nfile = "base.npz"\n')


RELEASED = 'released = "2023-01-01"\nreleased_from = "its page"\nchosen_blind = true\n'


def test_recorded_answers_that_no_plan_names_are_refused(root, case_dir, monkeypatch):
    given_by_hand(monkeypatch, root, case_dir)
    write_recording(case_dir)
    state(case_dir, RELEASED)
    with pytest.raises(
        CaseError, match="'base' must be in the plan, or be a model in a file: n"
    ):
        declared(case_dir)


def test_an_unknown_kind_of_value_with_a_stated_time_refuses_older_suspects(root, case_dir):
    """The same time dates references: one rule for both."""
    hand_over(root, case_dir, choices={"beacon": VALUE}, beacon="the weather tomorrow")
    write_model(case_dir, root, "suspects", "net")
    (case_dir / "statements.toml").write_text(
        '[owners.ann]\nvalue_appeared = "2025-01-01"\n[suspects.net]\nreleased = "2024-01-01"\n'
    )
    with pytest.raises(
        CaseError, match="'net' was released on 2024-01-01, before the value of"
    ):
        declared(case_dir)


def test_the_verdict_names_the_tables_of_references_and_a_replay_compares_them(
    root, case_dir, monkeypatch
):
    given_by_hand(monkeypatch, root, case_dir)
    write_model(case_dir, root, "references", "base", imprint=0.1)
    state(case_dir, RELEASED)
    audit.seal_case(declared(case_dir))
    verdict = judged(case_dir)
    text = verdict["tests"]["ann"]["net"]["text"]
    assert "p is 2 times that of the test alone" in text
    assert "the references that the plan does not name or that were left out" in text
    sealed = json.loads((case_dir / "blind.json").read_text())["suspects"]["net"]["references"]
    digest = sealed["base"]["owners"]["ann"]["table"]
    assert verdict["case"]["references"]["base"]["tables"] == {"net": {"ann": digest}}
    audit.replay_case(audit.Case(case_dir), {"ann": KEY})
    file = case_dir / "verdict.json"
    file.write_text(file.read_text().replace(digest, "0" * 64))
    with pytest.raises(ChangedFileError, match=r"case.references.base.tables.net.ann is"):
        audit.replay_case(audit.Case(case_dir), {"ann": KEY})


@pytest.mark.parametrize(
    ("text", "runs_code"),
    [
        ('kind = "onnx"\nfile = "a.onnx"', False),
        ('kind = "recorded"\nfile = "a.npz"', False),
        ('kind = "denoiser"\nfile = "unet"', False),
        ('kind = "denoiser"\nfile = "unet.pt"', True),
        ('kind = "denoiser"\nfile = "unet"\nmodule = "a.py:net"', True),
        ('kind = "denoiser"\nfunction = "a.py:predict"', True),
        ('kind = "callable"\nfunction = "a.py:answer"', True),
        ('kind = "torch"\nfile = "a.pt"', True),
        ('kind = "keras"\nfile = "a.keras"', True),
        ('kind = "ours"\nfile = "a.bin"', True),
    ],
)
def test_which_kinds_run_code(tmp_path, text, runs_code):
    (tmp_path / "unet").mkdir()
    (tmp_path / "base.toml").write_text(text)
    assert SuspectFile.load(tmp_path / "base.toml").runs_code is runs_code
