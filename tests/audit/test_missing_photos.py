"""Photos lost after the commitment stay in the test, and an owner gains nothing by them."""

import numpy as np
import pytest

from anw_jax import audit
from anw_jax.errors import CaseError, ChangedFileError
from anw_jax.keys import MarkKey, Plan
from anw_jax.verify.verdict import is_evidence
from tests.audit.conftest import (
    NUM_PHOTOS,
    hand_over,
    receive,
    write_labels,
    write_photos,
    write_suspect,
)
from tests.audit.owners import mark_folder

CONDITION = "none of the missing photos (2 of 12) was left out because of its mark"


@pytest.fixture(params=["sealed", "sequential"])
def lossy(request, root, case_dir):
    """A case of which one original is gone and another cut short, and the owner's key."""
    key, out = MarkKey(bytes(range(32))), root / "marked"
    photos = root / "photos"
    write_photos(photos, 1)
    labels = write_labels(photos, root / "labels.csv")
    mark_folder(photos, key, out, Plan("log_losses", 1e-3, mode=request.param), labels=labels)
    receive(out, photos, case_dir, "ann")
    write_suspect(case_dir, out / "published")
    lose(case_dir, "photo03.png")
    cut = originals(case_dir) / "photo05.png"
    cut.write_bytes(cut.read_bytes()[:60])
    with pytest.warns(
        UserWarning, match=r"photo05\.png cannot be decoded .* is missing \(1 such"
    ):
        audit.probe_case(audit.Case(case_dir))
    return case_dir, key, request.param


def originals(case_dir, owner="ann"):
    """The folder of an owner's originals."""
    return case_dir / "owners" / owner / "originals"


def lose(case_dir, name):
    """Deletes an original, and returns what it held."""
    path = originals(case_dir) / name
    body = path.read_bytes()
    path.unlink()
    return body


def judged(case_dir, key, mode):
    """The test, and the table or None."""
    if mode == "sealed":
        audit.seal_case(audit.Case(case_dir))
        verdict = audit.judge_case(audit.Case(case_dir), {"ann": key})
        with np.load(case_dir / "tables" / "net.npz") as tables:
            return verdict["tests"]["ann"]["net"], tables["ann"]
    audit.run_rounds(audit.Case(case_dir), stop=True)
    return audit.judge_record(audit.Case(case_dir), {})["tests"]["ann"]["net"], None


@pytest.mark.filterwarnings("ignore:.*until then it is missing")
@pytest.mark.parametrize("is_stated", [False, True])
def test_missing_photos_are_a_condition_unless_stated(lossy, is_stated):
    case_dir, key, mode = lossy
    with pytest.raises(CaseError, match=r"lacks 2 of 12 originals .*photo03.png"):
        audit.declare(audit.Case(case_dir), audit.Options())
    declared = audit.declare(audit.Case(case_dir), audit.Options(), despite_missing=True)
    assert declared["owners"]["ann"]["missing"] == [3, 5]
    file = case_dir / "statements.toml"
    text = file.read_text()
    assert "missing_by_chance = false" in text
    if is_stated:
        file.write_text(text.replace("missing_by_chance = false", "missing_by_chance = true"))
    test, table = judged(case_dir, key, mode)
    assert test["num_units"] == NUM_PHOTOS
    assert (f"{CONDITION} (nobody stated that)" in test["conditions"]) == (not is_stated)
    assert (f"the arbitrator states: {CONDITION}" in test["stated"]) == is_stated
    assert not is_evidence(test["standing"])
    if table is not None:
        assert np.isnan(table[[3, 5]]).all()
        assert np.isfinite(np.delete(table, [3, 5], axis=0)[:, 1:]).all()
        assert test["p_value"] < 1e-4
    replayed = audit.replay_case(audit.Case(case_dir), {"ann": key} if mode == "sealed" else {})
    assert replayed.verdict["tests"]["ann"]["net"] == test


@pytest.mark.filterwarnings("ignore:.*until then it is missing")
def test_what_is_missing_is_fixed_by_the_declaration(lossy):
    """An owner who sees the first answers can neither lose nor find photos any more."""
    case_dir, key, mode = lossy
    audit.declare(audit.Case(case_dir), audit.Options(), despite_missing=True)
    body = lose(case_dir, "photo07.png")
    with pytest.raises(ChangedFileError, match="owner 'ann' was changed"):
        judged(case_dir, key, mode)
    (originals(case_dir) / "photo07.png").write_bytes(body)
    judged(case_dir, key, mode)


def test_nothing_is_declared_missing_where_all_are_there(root, case_dir):
    hand_over(root, case_dir)
    write_suspect(case_dir, root / "ann_marked" / "published")
    audit.probe_case(audit.Case(case_dir))
    declared = audit.declare(audit.Case(case_dir), audit.Options(), despite_missing=True)
    assert "missing" not in declared["owners"]["ann"]
    assert "missing" not in (case_dir / "statements.toml").read_text()


def test_a_folder_of_damaged_originals_is_an_error(root, case_dir):
    hand_over(root, case_dir)
    for path in originals(case_dir).iterdir():
        path.write_bytes(b"")
    with pytest.raises(CaseError, match=r"none of the originals can be read: .*photo00.png"):
        _ = audit.Case(case_dir).owners
