"""Distillation on a gallery: which images are kept, and what the student has seen."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from anw_jax import attacks, data, errors, models, train
from anw_jax.attacks import Material, TrainedModel, gallery
from anw_jax.attacks.gallery import DistilGallery, agreed_rows
from anw_jax.attacks.model import retrain

SETTINGS = train.TrainSettings(
    learning_rate=0.05, batch_size=16, num_epochs=20, crop_padding=1, seed=3
)


@pytest.fixture(scope="module")
def material():
    photos = data.load("mock:96", image_size=8).train
    own, clean = photos.take(np.arange(48)), photos.take(np.arange(48, 96))
    return Material(SETTINGS, own.images, own.labels, clean.images, clean.labels, seed=11)


@pytest.fixture(scope="module")
def suspect(material):
    model = models.create("testing", 4)
    variables, _ = retrain(model, SETTINGS, material.images, material.labels)
    return TrainedModel.of(model, variables)


def _save(path, images):
    labels = np.arange(len(images)) % 4
    some = {"test_images": images[:4], "test_labels": labels[:4]}
    np.savez(path, train_images=images, train_labels=labels, **some)
    return f"npz:{path}"


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """A gallery of 150 images that nobody trained on."""
    images = data.load("mock:250", image_size=8).train.images[100:]
    return _save(tmp_path_factory.mktemp("gallery") / "others.npz", images)


@pytest.fixture(scope="module")
def student(suspect, material, others):
    return DistilGallery(others, least_confidence=0.0).change(suspect, material)


# --- The filter. ---


def _naive_rows(teacher, second, wanted, least):
    """The same by hand: sort each class's images by the lower probability."""
    teacher = scipy.special.softmax(np.asarray(teacher, np.float64), axis=1)
    second = scipy.special.softmax(np.asarray(second, np.float64), axis=1)
    kept = []
    for label, most in enumerate(wanted):
        found = []
        for row in range(len(teacher)):
            is_agreed = teacher[row].argmax() == second[row].argmax() == label
            if is_agreed and teacher[row, label] >= least:
                found.append((-min(teacher[row, label], second[row, label]), row))
        kept += [row for _, row in sorted(found)[:most]]
    return sorted(kept)


@pytest.mark.parametrize("least", [0.0, 0.5, 0.9])
def test_agreed_rows_twin(rng, least):
    teacher, second = rng.normal(size=(2, 200, 3)) * 2
    wanted = np.array([5, 0, 1000])
    found = agreed_rows(teacher, second, wanted, least)
    assert found.tolist() == _naive_rows(teacher, second, wanted, least)
    assert 5 < len(found) < 100


@pytest.mark.parametrize(
    ("teacher", "second", "rows"),
    [
        ([[3, 0], [0, 3]], [[0, 3], [3, 0]], []),  # never the same class
        ([[0.1, 0], [3, 0]], [[3, 0], [3, 0]], [1]),  # the first is not sure enough
        ([[3, 0], [3, 0], [3, 0]], [[3, 0], [3, 0], [3, 0]], [0, 1]),  # ties: the earlier
    ],
)
def test_edges_of_the_filter(teacher, second, rows):
    found = agreed_rows(np.array(teacher), np.array(second), np.array([2, 2]), 0.6)
    assert found.tolist() == rows


# --- The student. ---


def test_a_student_learns_from_agreed_images_of_the_gallery_alone(
    suspect, material, others, monkeypatch
):
    trainings = []

    def note(model, settings, images, labels, **options):
        trainings.append((settings, images, labels, options))
        return suspect.variables, {}

    monkeypatch.setattr(gallery, "retrain", note)
    monkeypatch.setattr("anw_jax.attacks.distil.retrain", note)
    changed = DistilGallery(others).change(suspect, material)
    second, (settings, images, labels, options) = trainings
    assert second[1] is material.clean_images
    known = {image.tobytes() for image in (*material.images, *material.clean_images)}
    gallery_images = {image.tobytes() for image in data.load(others).train.images}
    seen = {image.tobytes() for image in images}
    assert seen <= gallery_images
    assert not seen & known
    # Here the second network is the teacher, so the teacher's confidence alone decides.
    batch = jnp.asarray(images / np.float32(255), jnp.float32)
    teacher = np.asarray(jax.nn.softmax(jax.jit(suspect.predict)(batch)))
    assert teacher.max(axis=1).min() >= 0.5 - 1e-5
    np.testing.assert_array_equal(labels, teacher.argmax(axis=1))
    np.testing.assert_allclose(options["targets"], teacher, atol=1e-5)
    assert (np.bincount(labels, minlength=4) <= np.bincount(material.labels)).all()
    assert settings.num_steps(len(images)) >= SETTINGS.num_steps(len(material.images))
    assert settings.seed != second[0].seed != SETTINGS.seed
    assert changed.details["num_kept"] == len(images)


def test_a_student_comes_nearer_to_its_teacher_than_a_guess(student, suspect):
    details = student.details
    assert details["target_entropy"] < details["train_loss"] < np.log(4)
    leaves = (jax.tree.leaves(one.variables["params"]) for one in (student, suspect))
    assert any(not np.array_equal(a, b) for a, b in zip(*leaves, strict=True))


def test_details_count_the_gallery(student):
    details = student.details
    assert json.loads(json.dumps(details)) == details
    assert details["num_gallery"] == 150
    assert details["num_known"] == 0
    assert 150 >= details["num_agreed"] >= details["num_kept"] >= SETTINGS.batch_size
    assert details["num_classes_kept"] <= 4


def test_images_of_the_learner_are_left_out_and_counted(suspect, material, others, tmp_path):
    mixed = np.concatenate(
        [material.images[:7], material.clean_images[:5], data.load(others).train.images]
    )
    attack = DistilGallery(_save(tmp_path / "mixed.npz", mixed), num_epochs=1)
    images, counts = attack._other_images(material)
    assert counts == {"num_gallery": 162, "num_known": 12}
    np.testing.assert_array_equal(images, mixed[12:])


# --- What cannot be done. ---


def test_a_gallery_that_nobody_is_sure_of_is_refused(suspect, material, others):
    with pytest.raises(ValueError, match=r"agree on 0 of 150 images with least_confidence 1, "):
        DistilGallery(others, least_confidence=1.0).change(suspect, material)


def test_a_gallery_of_another_shape_is_refused(suspect, material, tmp_path):
    wide = dataclasses.replace(
        material,
        images=np.zeros((48, 8, 12, 3), np.uint8),
        clean_images=np.zeros((48, 8, 12, 3), np.uint8),
    )
    with pytest.raises(ValueError, match=r"images of shape \(8, 12, 3\), got \(8, 8, 3\)"):
        DistilGallery("mock:32").change(suspect, wide)


def test_too_few_clean_images_are_refused(suspect, material, others):
    few = dataclasses.replace(
        material, clean_images=material.clean_images[:3], clean_labels=material.clean_labels[:3]
    )
    with pytest.raises(ValueError, match="at least a batch of 16, got 3"):
        DistilGallery(others).change(suspect, few)


def test_a_gallery_that_is_no_source_is_named(suspect, material):
    with pytest.raises(errors.SourceError, match="did you mean 'folder'"):
        DistilGallery("foldr:x").change(suspect, material)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"gallery": 3}, TypeError, "gallery must be a str, got int: 3"),
        ({"gallery": "mock:8", "temperature": 0}, ValueError, "temperature must be above 0"),
        ({"gallery": "mock:8", "student": "resnet9"}, ValueError, "student must be one of"),
        ({"gallery": "mock:8", "num_epochs": 0}, ValueError, "num_epochs must be at least 1"),
    ],
)
def test_bad_values_are_refused(parameters, error, message):
    with pytest.raises(error, match=message):
        attacks.create("distil_gallery", **parameters)
