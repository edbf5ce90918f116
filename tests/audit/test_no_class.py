"""A photo without a class keeps its unit, with a constant row, and costs no query."""

import json

import numpy as np
import pytest

from anw_jax import audit, data
from anw_jax.errors import CaseError
from anw_jax.keys import MarkKey, Plan
from tests.audit.conftest import NUM_PHOTOS, receive, write_photos, write_suspect
from tests.audit.owners import mark_folder, saving_choices

WITHOUT = (1, 5, 6)


def handed_over(root, case_dir, rows, words=None, mode="sealed", **choices):
    """An owner's labels as rows of names and labels; returns the key."""
    write_photos(root / "photos")
    (root / "l.csv").write_text("".join(f"{name},{label}\n" for name, label in rows))
    labels_map = None
    if words is not None:
        labels_map = root / "map.csv"
        labels_map.write_text(words)
    key = MarkKey.for_experiment(1)
    plan = Plan("log_losses", 1e-3, mode=mode)
    done = mark_folder(
        root / "photos", key, root / "out", plan,
        labels=root / "l.csv", labels_map=labels_map, **choices,
    )  # fmt: skip
    folder = receive(root / "out", root / "photos", case_dir, "ann")
    (folder / "labels.csv").write_bytes((root / "l.csv").read_bytes())
    if words is not None:
        (folder / "labels_map.csv").write_text(words)
    write_suspect(case_dir, root / "out" / "published")
    return key, done


def rows(label="0", without="-"):
    return [
        (f"photo{i:02d}.png", without if i in WITHOUT else label) for i in range(NUM_PHOTOS)
    ]


def sealed(case_dir):
    audit.probe_case(audit.Case(case_dir))
    declared = audit.declare(audit.Case(case_dir), audit.Options())
    return declared, audit.seal_case(audit.Case(case_dir))


@pytest.mark.parametrize(
    ("label", "without", "words", "from_arbitrator"),
    [
        ("0", "-", None, None),
        ("cat", "-", "cat,0", None),
        ("cat", "ghost", "cat,0", None),
        ("cat", "ghost", None, "cat,0\ndog,1"),
        ("0", "ghost", None, "cat,0\ndog,1"),
    ],
)
def test_rows_without_a_class_are_constant(
    root, case_dir, label, without, words, from_arbitrator
):
    key, done = handed_over(root, case_dir, rows(label, without), words)
    assert done.warnings == (
        ("labels are words: the arbitrator has to map them to class numbers",)
        if from_arbitrator
        else ("photos without a class: 3; their rows are constant",)
    )
    if from_arbitrator:
        (case_dir / "labels_map.csv").write_text(from_arbitrator)
    declared, blind = sealed(case_dir)
    result = blind["suspects"]["net"]
    assert result["num_queries"] == (NUM_PHOTOS - 3) * 11
    assert result["owners"]["ann"]["num_unusable"] == 3
    with np.load(case_dir / "tables" / "net.npz") as tables:
        constant = np.isnan(tables["ann"][:, 1:]).all(1)
    assert np.flatnonzero(constant).tolist() == list(WITHOUT)
    body = audit.judge_case(audit.Case(case_dir), {"ann": key})
    test = body["tests"]["ann"]["net"]
    assert (test["num_units"], test["num_unusable"]) == (NUM_PHOTOS, 3)
    assert declared["owners"]["ann"]["num_units"] == NUM_PHOTOS
    assert test["outcome"] == "shown"
    table = audit.Case(case_dir).owners["ann"].originals.table
    assert table.by_arbitrators_map == (bool(from_arbitrator) and label == "cat")


def test_an_album_is_carried_by_its_photos_with_a_class(root, case_dir):
    key, _ = handed_over(root, case_dir, rows(), scheme="per_user")
    _, blind = sealed(case_dir)
    assert blind["suspects"]["net"]["owners"]["ann"]["num_unusable"] == 0
    test = audit.judge_case(audit.Case(case_dir), {"ann": key})["tests"]["ann"]["net"]
    assert test["num_units"] == 1


def test_a_sequential_audit_bets_nothing_on_them(root, case_dir):
    key, _ = handed_over(root, case_dir, rows(), mode="sequential")
    key.save(root / "ann.key")
    audit.probe_case(audit.Case(case_dir))
    audit.declare(audit.Case(case_dir), audit.Options())
    for _ in range(NUM_PHOTOS + 1):
        standing = audit.run_rounds(audit.Case(case_dir))
        if not standing.waiting:
            break
        (waiting,) = standing.waiting
        audit.answer_request(waiting.request, key, root / "out", waiting.opening)
    assert standing.p_value <= 1e-3


def test_saving_queries_leaves_them_constant_too(root, case_dir):
    handed_over(root, case_dir, rows(), **saving_choices((3, 1)))
    audit.probe_case(audit.Case(case_dir))
    audit.declare(audit.Case(case_dir), audit.Options())
    blind = audit.seal_case(audit.Case(case_dir))
    assert blind["suspects"]["net"]["owners"]["ann"]["num_unusable"] == 3


def test_no_class_at_all_is_refused_before_anything_is_asked(root, case_dir):
    handed_over(root, case_dir, rows("cat", "cat"))
    audit.probe_case(audit.Case(case_dir))
    with pytest.raises(
        CaseError, match=r"no photo of owner 'ann' has a class: give labels_map"
    ):
        audit.declare(audit.Case(case_dir), audit.Options())
    (case_dir / "labels_map.csv").write_text("dog,0")
    with pytest.raises(CaseError, match="no photo of owner 'ann' has a class"):
        audit.declare(audit.Case(case_dir), audit.Options())


def test_a_map_that_was_not_committed_to_is_refused(root, case_dir):
    """An owner who knows slots and answers could choose the classes that suit them."""
    handed_over(root, case_dir, rows("cat", "dog"))
    (case_dir / "owners" / "ann" / "labels_map.csv").write_text("cat,0\ndog,2")
    audit.probe_case(audit.Case(case_dir))
    with pytest.raises(CaseError, match="labels of owner 'ann' are not those committed to"):
        audit.declare(audit.Case(case_dir), audit.Options())


@pytest.mark.parametrize("change", ["cat,1\ndog,1", "cat,0", None])
def test_a_committed_map_cannot_be_changed_or_taken_away(root, case_dir, change):
    handed_over(root, case_dir, rows("cat", "dog"), "cat,0\ndog,1")
    path = case_dir / "owners" / "ann" / "labels_map.csv"
    path.unlink() if change is None else path.write_text(change)
    (case_dir / "labels_map.csv").write_text("cat,0\ndog,1")
    with pytest.raises(CaseError, match="labels of owner 'ann' are not those committed to"):
        audit.declare(audit.Case(case_dir), audit.Options(), despite_probe=True)


@pytest.mark.parametrize("change", ["cat,2", "cat,0\nghost,1"])
def test_the_arbitrators_map_is_fixed_once_it_is_declared(root, case_dir, change):
    handed_over(root, case_dir, rows("cat", "ghost"))
    (case_dir / "labels_map.csv").write_text("cat,0")
    audit.probe_case(audit.Case(case_dir))
    audit.declare(audit.Case(case_dir), audit.Options())
    (case_dir / "labels_map.csv").write_text(change)
    with pytest.raises(CaseError, match="originals of owner 'ann' was changed after declared"):
        audit.seal_case(audit.Case(case_dir))


def test_labels_of_an_archive_may_lack_a_class(root, case_dir):
    handed_over(root, case_dir, rows())
    folder = case_dir / "owners" / "ann"
    files = sorted((folder / "originals").iterdir())
    labels = np.array([-1 if i in WITHOUT else 0 for i in range(NUM_PHOTOS)])
    arrays = {
        "images": np.stack([data.read_photo(file) for file in files]),
        "file_names": np.array([file.name for file in files]),
    }
    np.savez(folder / "originals.npz", labels=labels, **arrays)
    for file in files:
        file.unlink()
    (folder / "originals").rmdir()
    (folder / "labels.csv").unlink()
    originals = audit.Case(case_dir).owners["ann"].originals
    assert originals.labels.tolist() == labels.tolist()
    assert originals.table.digest == audit.Case(case_dir).owners["ann"].published.plan.labels
    for bad in (labels - 1, labels + 2**40, labels * 1.0, labels[:3]):
        np.savez(folder / "originals.npz", labels=bad, **arrays)
        with pytest.raises(CaseError, match=r"originals.npz: labels must"):
            _ = audit.Case(case_dir).owners


def test_the_report_of_marking_is_json(root):
    write_photos(root / "photos", number=1)
    (root / "photos" / "a.gif").write_bytes(b"GIF89a")
    (root / "photos" / "b.txt").write_bytes(b"")
    report = audit.report_on(root / "photos")
    assert json.loads(json.dumps(report.as_json())) == {
        "notes": {},
        "passed_over": [{"file": "a.gif", "reason": "GIF"}],
        "other_files": {".txt": 1},
        "hidden_files": 0,
    }
    assert audit.report_lines(report) == [
        "NOT MARKED: 1 picture (1 .gif)",
        "  a.gif: GIF",
        "skipped, not pictures: 1 file (1 .txt)",
    ]
