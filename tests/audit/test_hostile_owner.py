"""What an owner who knows the hues, and the model's answers, must not be able to choose."""

import dataclasses
import datetime
import hashlib
import json
import shutil

import numpy as np
import pytest

from anw_jax import audit, data, keys
from anw_jax.audit.bundle_read import open_bundle
from anw_jax.audit.conditions import CaseBasis
from anw_jax.audit.originals import read_originals
from anw_jax.audit.published import write_published
from anw_jax.errors import CaseError, ChangedFileError
from anw_jax.keys import (
    ChangedPixelsWarning,
    Manifest,
    MarkKey,
    Plan,
    SignatureSpace,
    assign,
)
from anw_jax.stats import exact_test
from tests.audit.conftest import (
    arrays_of,
    hand_over,
    receive,
    write_labels,
    write_photos,
    write_suspect,
)
from tests.audit.owners import mark_folder


def probed(case_dir):
    """An innocent model, probed."""
    write_suspect(case_dir, None)
    case = audit.Case(case_dir)
    audit.probe_case(case)
    return case


def chances_of_an_innocent_model():
    """Losses `[n, N, C]` of a model that never saw the photos, and their secret slots."""
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (60, 2, 2, 3), dtype=np.uint8)
    manifest = Manifest.of(photos, SignatureSpace())
    slots = assign(MarkKey.for_experiment(3), manifest, Plan("log_losses", 0.01))
    logits = rng.normal(0, 0.3, (60, 12, 100)) + rng.normal(0, 3, (60, 1, 100))
    return np.log(np.exp(logits).sum(-1, keepdims=True)) - logits, slots


def test_why_labels_chosen_afterwards_prove_anything():
    losses, slots = chances_of_an_innocent_model()
    rows = np.arange(60)
    honest = exact_test(losses[:, :, 7], slots).p_value
    wins = losses[:, 1:].argmin(1) + 1 == slots.slot_of_unit[:, None]
    chosen = exact_test(losses[rows, :, wins.argmax(1)], slots).p_value
    assert honest > 0.01
    assert chosen < 1e-30


def test_why_photos_left_out_afterwards_prove_much():
    losses, slots = chances_of_an_innocent_model()
    table = losses[:, :, 7].copy()
    table[table[:, 1:].argmin(1) + 1 != slots.slot_of_unit] = np.nan
    assert exact_test(table, slots).p_value < 1e-2 < exact_test(losses[:, :, 7], slots).p_value


def test_labels_other_than_those_committed_to_are_refused(root, case_dir):
    hand_over(root, case_dir)
    labels = case_dir / "owners" / "ann" / "labels.csv"
    labels.write_text(labels.read_text().replace("photo03.png,0", "photo03.png,1"))
    case = probed(case_dir)
    with pytest.raises(CaseError) as error:
        audit.declare(case, audit.Options())
    assert str(error.value) == (
        "the labels of owner 'ann' are not those committed to before training, and could have "
        "been chosen to fit: label the photos yourself (--own-labels), or audit without labels "
        "(--no-labels)"
    )
    for source in ("arbitrator", "model"):
        with pytest.raises(CaseError, match=f"does not leave labels '{source}' open"):
            audit.declare(case, audit.Options(label_source=source))


def test_labels_that_were_not_committed_to_are_refused(root, case_dir):
    write_photos(root / "photos")
    plan = Plan("losses", 1e-3)
    mark_folder(root / "photos", MarkKey.for_experiment(1), root / "out", plan)
    receive(root / "out", root / "photos", case_dir, "ann")
    case = probed(case_dir)
    with pytest.raises(CaseError, match="takes the labels from you: write"):
        audit.declare(case, audit.Options())
    own = write_labels(root / "photos", root / "own.csv")
    (case_dir / "labels").mkdir()
    shutil.copy(own, case_dir / "labels" / "ann.csv")
    body = audit.declare(audit.Case(case_dir), audit.Options())
    assert body["owners"]["ann"]["labels_by"] == "arbitrator"


def test_labels_are_bound_by_the_commitment(root):
    write_photos(root / "photos")
    first = write_labels(root / "photos", root / "first.csv")
    second = root / "second.csv"
    second.write_text(first.read_text().replace("photo03.png,0", "photo03.png,2"))
    key, made = MarkKey.for_experiment(1), []
    for mode in ("sealed", "sequential"):
        for labels in (None, first, second):
            plan, out = Plan("losses", 1e-3, mode=mode), root / f"out{len(made)}"
            done = mark_folder(root / "photos", key, out, plan, labels=labels)
            made.append(done.commitment)
    assert len(set(made)) == 6


@pytest.mark.parametrize(
    "label", ["²", "9" * 5000, "-1", "0x1", "1.0", "", "9" * 200_000, "\0", "\r0", '"']
)
def test_labels_that_are_no_numbers_are_one_line(root, label):
    write_photos(root / "photos", number=1)
    (root / "labels.csv").write_text(f"photo00.png,{label}\n")
    with pytest.raises(CaseError, match=r"must have rows 'file,label'|the label|NUL") as error:
        mark_folder(
            root / "photos", MarkKey.for_experiment(1), root / "out", Plan("losses", 0.1),
            labels=root / "labels.csv",
        )  # fmt: skip
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("head", ["file,label", "file,class number", "\ufefffile,label", ""])
def test_a_first_row_that_names_the_columns_is_passed_over(root, head):
    write_photos(root / "photos", number=1)
    (root / "labels.csv").write_text(f"{head}\nphoto00.png,3\n", encoding="utf-8")
    manifest = mark_folder(
        root / "photos", MarkKey.for_experiment(1), root / "out", Plan("losses", 0.1),
        labels=root / "labels.csv",
    )  # fmt: skip
    assert manifest.num_written == 1


@pytest.mark.parametrize("mode", ["sealed", "sequential"])
def test_photos_may_not_be_left_out(root, case_dir, mode):
    hand_over(root, case_dir, mode=mode)
    case = probed(case_dir)
    away = case_dir / "owners" / "ann" / "originals" / "photo03.png"
    body = away.read_bytes()
    away.unlink()
    line = (
        "owner 'ann' lacks 1 of 12 originals ('photo03.png'): get them all, since whoever may "
        "leave photos out can keep only those that match; if they are lost, declare despite "
        "them (anw declare --despite-missing), which is a condition of the verdict"
    )
    with pytest.raises(CaseError) as error:
        audit.declare(audit.Case(case_dir), audit.Options())
    assert str(error.value) == line
    away.write_bytes(body)
    audit.declare(case, audit.Options())
    away.unlink()
    ask = audit.seal_case if mode == "sealed" else audit.run_rounds
    with pytest.raises(CaseError) as error:
        ask(audit.Case(case_dir))
    assert str(error.value) == line


def test_who_joins_a_case_chooses_nothing_about_the_others(root, case_dir):
    """Else commitments could be tried until the changes of a friend's pictures suit."""
    alone = root / "alone"
    choices = {"access": ("label",), "augmentations": (4,)}
    key = hand_over(root, alone, claim="each model", choices=choices)
    shutil.copytree(alone, case_dir, dirs_exist_ok=True)
    hand_over(root, case_dir, "bob", 7, claim="each model", choices=choices)
    tables, seeds = [], []
    for folder in (alone, case_dir):
        probed(folder)
        options = audit.Options()
        seeds.append(audit.declare(audit.Case(folder), options)["public_seeds"]["ann"])
        blind = audit.seal_case(audit.Case(folder))
        tables.append(blind["suspects"]["net"]["owners"]["ann"]["table"])
    assert seeds[0] == seeds[1]
    assert tables[0] == tables[1]
    assert audit.judge_case(audit.Case(alone), {"ann": key})["corrected"]["num_tests"] == 1


def test_the_arbitrator_chooses_no_seed(root, case_dir):
    hand_over(root, case_dir)
    probed(case_dir)
    body = audit.declare(audit.Case(case_dir), audit.Options())
    (case_dir / "declared.json").write_text(
        json.dumps({**body, "public_seeds": {"ann": "00" * 32}})
    )
    with pytest.raises(ChangedFileError, match="names other public seeds than the commitments"):
        audit.seal_case(audit.Case(case_dir))


def test_the_copy_of_a_photo_may_be_left_out(root, case_dir):
    write_photos(root / "photos")
    copy = (root / "photos" / "photo00.png").read_bytes()
    (root / "photos" / "same.png").write_bytes(copy)
    plan = Plan("losses", 1e-3)
    key = MarkKey.for_experiment(1)
    mark_folder(root / "photos", key, root / "out", plan, label_source="model")
    receive(root / "out", root / "photos", case_dir, "ann")
    (case_dir / "owners" / "ann" / "originals" / "photo00.png").unlink()
    assert audit.declare(probed(case_dir), audit.Options())


@pytest.mark.parametrize("is_same_file", [True, False])
def test_a_photo_that_another_library_decodes_otherwise(
    root, case_dir, monkeypatch, is_same_file
):
    """JPEG decoders differ by a level here and there: the file's own bytes tell."""
    hand_over(root, case_dir)
    path = case_dir / "owners" / "ann" / "originals" / "photo03.png"
    read = data.read_photo

    def decoded(file, *more):
        pixels = read(file, *more)
        return pixels ^ np.uint8(1) if file.name == "photo03.png" else pixels

    monkeypatch.setattr(data, "read_photo", decoded)
    if is_same_file:
        with pytest.warns(ChangedPixelsWarning, match=r"photo03.png is the file committed to"):
            owner = audit.Case(case_dir).owners["ann"]
        assert np.array_equal(owner.originals.images[3], read(path) ^ np.uint8(1))
        return
    path.write_bytes(data.png_of(read(path) ^ np.uint8(2)))
    with pytest.raises(CaseError, match=r"the pixels of photo03.png are not those committed"):
        _ = audit.Case(case_dir).owners


def test_other_pixels_without_a_file_that_was_committed_to(root, case_dir):
    """Arrays have no file, and manifests of earlier versions none of their digests."""
    hand_over(root, case_dir)
    folder = case_dir / "owners" / "ann"
    arrays = arrays_of(root / "ann_photos")
    arrays["images"][3] ^= 1
    shutil.rmtree(folder / "originals")
    np.savez(folder / "originals.npz", **arrays)
    (folder / "labels.csv").unlink()
    with pytest.raises(CaseError, match=r"the pixels of photo03.png are not those committed"):
        _ = audit.Case(case_dir).owners
    manifest = Manifest.load(folder / "manifest.json")
    bare = dataclasses.replace(manifest, file_digests=())
    with pytest.raises(CaseError, match=r"the pixels of photo03.png are not those committed"):
        read_originals(folder, bare)


def test_a_manifest_of_two_versions_of_each_photo_is_a_condition(root, case_dir):
    """Either version is what was committed to: the owner could choose it by the slots."""
    key = hand_over(root, case_dir)
    folder, others = case_dir / "owners" / "ann", {}
    manifest = Manifest.load(folder / "manifest.json")
    for name in manifest.file_names:
        pixels = data.read_photo(folder / "originals" / name)
        others[name] = data.png_of(np.roll(pixels, 1, axis=2))
    digests = tuple(hashlib.sha256(others[name]).hexdigest() for name in manifest.file_names)
    double = dataclasses.replace(manifest, file_digests=digests)
    plan = audit.Case(case_dir).owners["ann"].published.plan
    for name in ("manifest.json", "commitment.json"):
        (folder / name).unlink()
    now = datetime.datetime.now(datetime.UTC)
    write_published(folder, key, double, plan, keys.commit(key, double, plan), now)
    for name in manifest.file_names[:5]:
        (folder / "originals" / name).write_bytes(others[name])
    with pytest.warns(ChangedPixelsWarning):
        case = probed(case_dir)
    body = audit.declare(case, audit.Options())
    assert body["owners"]["ann"]["num_redecoded"] == 5
    audit.seal_case(case)
    verdict = audit.judge_case(case, {"ann": key})
    stated = CaseBasis(case).of("ann", "net", True).conditions
    assert any("of 5 the file is the one committed to" in text for text in stated)
    audit.bundle_case(case, {"ann": key}, root / "b.zip", "", with_names=True)
    with open_bundle(root / "b.zip") as bundle:
        assert bundle.case.owners["ann"].originals.num_redecoded == 5
        again = audit.replay_case(bundle.case, {"ann": key})
    assert again.num_differing == 0
    assert again.verdict["tests"]["ann"] == verdict["tests"]["ann"]
