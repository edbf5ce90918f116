"""The probe of a case asks what its audit will ask; what it cannot take is not declared."""

import json

import numpy as np
import pytest

from anw_jax import audit, data
from anw_jax.errors import CaseError
from anw_jax.keys import MarkKey, Plan
from tests.audit.conftest import SUSPECT, receive
from tests.audit.owners import mark_folder

HEAD = "import numpy as np\nSEEN = []\n\ndef answer(batch):\n"
SCORES = (
    "    means = batch.mean((1, 2))\n"
    "    return (means - means.mean(1, keepdims=True)) * 9 + batch[:, 0, 0]\n"
)
FIXED = "    if batch.shape[1:3] != (8, 8):\n        raise ValueError('takes 8x8')\n"
NOT_ONE = "    if len(batch) == 1:\n        raise ValueError('takes several')\n"
NOT_LAST = "    if len(batch) == 132:\n        raise ValueError('takes no 132')\n"
NOT_A_UNIT = "    if len(batch) == 11:\n        raise ValueError('takes no 11')\n"


def colours(shape, seed):
    rng = np.random.default_rng(seed)
    noise = rng.integers(-40, 40, (*shape, 3))
    return np.clip(rng.integers(40, 216, 3) + noise, 0, 255).astype(np.uint8)


def make_case(root, case_dir, code="", sizes=((8, 8),) * 12, declaration="", labels=None):
    """Photos of given sizes before a callable suspect; labels by photo, else all 0."""
    photos = root / "photos"
    photos.mkdir()
    for index, size in enumerate(sizes):
        (photos / f"photo{index:02d}.png").write_bytes(data.png_of(colours(size, index)))
    names = sorted(file.name for file in photos.iterdir())
    labels = [0] * len(names) if labels is None else labels
    rows = "".join(f"{n},{y}\n" for n, y in zip(names, labels, strict=True))
    (root / "labels.csv").write_text(rows)
    key, plan = MarkKey.for_experiment(1), Plan("log_losses", 1e-3)
    mark_folder(photos, key, root / "out", plan, labels=root / "labels.csv")
    folder = receive(root / "out", photos, case_dir, "ann")
    (folder / "labels.csv").write_text(rows)
    (case_dir / "suspects").mkdir()
    (case_dir / "suspects" / "model.py").write_text(HEAD + code + SCORES)
    text = SUSPECT.format(file="model.py") + declaration
    (case_dir / "suspects" / "net.toml").write_text(text)


def probed(case_dir, **options):
    body = audit.probe_case(audit.Case(case_dir), **options)
    report = body["suspects"]["net"]
    return report["is_fit"], [(f["severity"], f["name"]) for f in report["findings"]]


MIXED = ((8, 8),) * 10 + ((8, 10), (10, 8))


@pytest.mark.parametrize(
    ("code", "sizes", "name"),
    [
        (FIXED, MIXED, "photo_size"),
        (FIXED, ((8, 8),) * 11 + ((8, 9),), "photo_size"),
        (NOT_ONE, ((8, 8),) * 12, "batch_size"),
        (NOT_LAST, ((8, 8),) * 12, "batch_size"),
        (NOT_A_UNIT, ((8, 8),) * 12, "batch_size"),
        (NOT_LAST, ((8, 8),) * 12 + ((8, 9),), "batch_size"),
    ],
)
def test_what_an_audit_would_ask_and_a_model_cannot_take(root, case_dir, code, sizes, name):
    make_case(root, case_dir, code, sizes)
    is_fit, found = probed(case_dir)
    assert not is_fit
    assert ("error", name) in found
    with pytest.raises(CaseError, match="errors in how suspect 'net' is queried"):
        audit.declare(audit.Case(case_dir), audit.Options())


@pytest.mark.parametrize("declaration", ["input_size = [8, 8]\n", ""])
def test_mixed_sizes_end_in_an_audit_where_the_model_takes_them(root, case_dir, declaration):
    code = FIXED if declaration else ""
    make_case(root, case_dir, code, MIXED, declaration)
    assert probed(case_dir)[0]
    audit.declare(audit.Case(case_dir), audit.Options())
    blind = audit.seal_case(audit.Case(case_dir))
    assert blind["suspects"]["net"]["num_queries"] == 12 * 11


def test_photos_of_ever_another_size(root, case_dir):
    sizes = tuple((8 + i, 8 + i % 3) for i in range(10))
    make_case(root, case_dir, FIXED, sizes, "input_size = [8, 8]\n")
    assert probed(case_dir)[0]
    text = SUSPECT.format(file="model.py")
    (case_dir / "suspects" / "net.toml").write_text(text)
    with pytest.raises(CaseError, match="needs 2 originals of one size for a probe"):
        probed(case_dir)


def test_declare_refuses_sizes_that_were_not_probed(root, case_dir):
    make_case(root, case_dir)
    probed(case_dir)
    file = case_dir / "probe.json"
    body = json.loads(file.read_text())
    assert body["sizes"] == [[8, 8]]
    file.write_text(json.dumps({**body, "sizes": [[9, 9]]}))
    with pytest.raises(CaseError, match=r"photos of 8x8, which were not there when .* probed"):
        audit.declare(audit.Case(case_dir), audit.Options())


def test_declare_without_a_probe_still_asks_each_size(root, case_dir):
    make_case(root, case_dir, FIXED, ((8, 10),) * 6 + ((10, 8),) * 6)
    with pytest.raises(CaseError, match=r"suspect 'net' cannot take photos of 8x10"):
        audit.declare(audit.Case(case_dir), audit.Options(), despite_probe=True)
    assert not audit.Case(case_dir).has("declared.json")
    text = SUSPECT.format(file="model.py") + "input_size = [8, 8]\n"
    (case_dir / "suspects" / "net.toml").write_text(text)
    assert audit.declare(audit.Case(case_dir), audit.Options(), despite_probe=True)


def test_despite_the_probe_a_size_that_is_refused_makes_its_photos_unusable(root, case_dir):
    make_case(root, case_dir, FIXED, MIXED)
    with pytest.warns(UserWarning, match=r"photos of .*: they will count as unusable") as said:
        audit.declare(audit.Case(case_dir), audit.Options(), despite_probe=True)
    assert [str(one.message).split("photos of ")[1][:4] for one in said] == ["8x10", "10x8"]
    blind = audit.seal_case(audit.Case(case_dir))
    count = blind["suspects"]["net"]["owners"]["ann"]["unusable"]
    assert sorted(count["photos"]) == ["photo10.png", "photo11.png"]


@pytest.mark.parametrize("place", [0, 5, 11])
@pytest.mark.parametrize("label", [3, 999])
def test_a_label_that_is_no_class(root, case_dir, place, label):
    labels = [index % 3 for index in range(12)]
    labels[place] = label
    make_case(root, case_dir, labels=labels)
    # Also where the photo is not among those asked.
    is_fit, found = probed(case_dir, num_photos=4)
    assert not is_fit
    assert found[0] == ("error", "classes")
    line = f"the label {label} .* suspect 'net' declares num_classes = 3: labels count from 0"
    with pytest.raises(CaseError, match=line):
        audit.declare(audit.Case(case_dir), audit.Options(), despite_probe=True)
    assert not audit.Case(case_dir).has("declared.json")


def test_recorded_answers_are_held_against_the_labels_too(root, case_dir):
    from anw_jax.suspects import Answers, Declaration, RecordedSuspect

    make_case(root, case_dir, labels=[0] * 11 + [3])
    given = Answers("logits", np.zeros((1, 3), np.float32))
    pictures = np.zeros((1, 8, 8, 3), np.uint8)
    RecordedSuspect.of(pictures, given, Declaration(3)).save(case_dir / "suspects" / "a.npz")
    text = 'kind = "recorded"\nfile = "a.npz"\n'
    (case_dir / "suspects" / "net.toml").write_text(text)
    is_fit, found = probed(case_dir)
    assert (is_fit, found) == (False, [("error", "classes")])


def test_large_enough_classes_are_fit(root, case_dir):
    make_case(root, case_dir, labels=[index % 3 for index in range(12)])
    is_fit, found = probed(case_dir)
    assert is_fit
    assert ("error", "classes") not in found
    assert audit.declare(audit.Case(case_dir), audit.Options())


def test_a_probe_needs_two_photos(root, case_dir):
    make_case(root, case_dir, sizes=((8, 8),), declaration="input_size = [8, 8]\n")
    with pytest.raises(CaseError, match="needs 2 originals for a probe"):
        probed(case_dir)
