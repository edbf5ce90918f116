"""Attacks that train: fine-tuning, distillation, ensembles, early stopping."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax import data, models, train
from anw_jax.attacks import Material, TrainedModel
from anw_jax.attacks.distil import Distil, _student, mean_entropy, soft_targets
from anw_jax.attacks.kinds import derive_seed
from anw_jax.attacks.model import (
    EarlyStopping,
    Ensemble,
    FineTune,
    _segment_steps,
    averaged,
    retrain,
)

SETTINGS = train.TrainSettings(
    learning_rate=0.05, batch_size=16, num_epochs=30, crop_padding=1, seed=3
)


@pytest.fixture(scope="module")
def material():
    photos = data.load("mock:64", image_size=8).train
    own, clean = photos.take(np.arange(32)), photos.take(np.arange(32, 64))
    return Material(SETTINGS, own.images, own.labels, clean.images, clean.labels, seed=11)


@pytest.fixture(scope="module")
def suspect(material):
    model = models.create("testing", 4)
    variables, _ = retrain(model, SETTINGS, material.images, material.labels)
    return TrainedModel.of(model, variables)


@pytest.fixture(scope="module")
def images(material):
    return jnp.asarray(material.clean_images[:5] / np.float32(255), jnp.float32)


@jax.jit
def _ask(predict, images):
    return predict(images)


def _same(tree, other):
    leaves = zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in leaves)


def _log_softmax(logits):
    logits = np.asarray(logits, np.float64)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


# --- Fine-tuning ---


def _tune(layers, suspect, material):
    # As long and as fast as the training, so that no other step is compiled.
    attack = FineTune(layers, 30, learning_rate=0.05, batch_size=16)
    return attack.change(suspect, material)


@pytest.fixture(scope="module")
def tuned(suspect, material):
    return _tune("all", suspect, material)


def _body(variables, head):
    return {name: leaf for name, leaf in variables["params"].items() if name != head}


@pytest.mark.slow
def test_tuning_the_head_leaves_the_body_bit_for_bit(suspect, material):
    head, before = suspect.model.head, suspect.variables
    tuned_head = _tune("head", suspect, material)
    after = tuned_head.variables
    assert _same(_body(before, head), _body(after, head))
    assert _same(before["batch_stats"], after["batch_stats"])
    assert not _same(before["params"][head], after["params"][head])
    assert _clean_loss(tuned_head, material) < _clean_loss(suspect, material)


@pytest.mark.slow
def test_tuning_all_layers_moves_all_layers(suspect, tuned):
    before, after = suspect.variables, tuned.variables
    for name in before["params"]:
        assert not _same(before["params"][name], after["params"][name]), name
    assert not _same(before["batch_stats"], after["batch_stats"])


def test_tuning_starts_from_the_suspect(suspect, tuned):
    def distance(variables):
        pairs = zip(*map(jax.tree.leaves, (variables, suspect.variables)), strict=True)
        return sum(float(jnp.abs(a - b).sum()) for a, b in pairs)

    fresh = suspect.model.init(jax.random.key(8), (8, 8, 3))
    assert distance(tuned.variables) < 0.5 * distance(fresh)


def test_tuning_has_settings_of_its_own(suspect, material, monkeypatch):
    asked = {}

    def note(model, settings, images, labels, **options):
        asked.update(options, settings=settings, images=images, labels=labels)
        return suspect.variables, {}

    monkeypatch.setattr("anw_jax.attacks.model.retrain", note)
    slow = dataclasses.replace(SETTINGS, warmup_epochs=3, label_smoothing=0.2)
    FineTune("head", num_epochs=2, learning_rate=0.003, batch_size=7).change(
        suspect, dataclasses.replace(material, settings=slow)
    )
    assert asked["settings"] == dataclasses.replace(
        SETTINGS,
        num_epochs=2,
        learning_rate=0.003,
        batch_size=7,
        seed=derive_seed(material.seed, "fine_tune"),
    )
    assert asked["trainable"] == "head"
    assert asked["images"] is material.clean_images
    assert asked["labels"] is material.clean_labels


def _clean_loss(trained, material):
    return train.evaluate(trained.predict, material.clean_images, material.clean_labels)[0]


def test_tuning_fits_the_clean_images(suspect, tuned, material):
    assert _clean_loss(tuned, material) < _clean_loss(suspect, material)


def test_tuning_needs_a_full_batch(suspect, material):
    with pytest.raises(ValueError) as error:
        FineTune(batch_size=64).change(suspect, material)
    assert str(error.value) == (
        "batch_size must be at most the number of training images 32, got 64"
    )


# --- Distillation ---


@pytest.fixture(scope="module")
def student(suspect, material):
    return Distil(photos="clean", temperature=2.0).change(suspect, material)


@pytest.mark.parametrize(("num_epochs", "warmup"), [(2, 1), (1, 0), (9, 3), (None, 3)])
def test_a_short_distillation_cuts_its_warm_up(
    suspect, material, monkeypatch, num_epochs, warmup
):
    asked = []

    def note(model, settings, images, labels, **options):
        asked.append(settings)
        return suspect.variables, {}

    monkeypatch.setattr("anw_jax.attacks.distil.retrain", note)
    slow = dataclasses.replace(SETTINGS, warmup_epochs=3, label_smoothing=0.2)
    Distil(num_epochs=num_epochs).change(suspect, dataclasses.replace(material, settings=slow))
    assert asked == [
        dataclasses.replace(
            SETTINGS,
            num_epochs=num_epochs or SETTINGS.num_epochs,
            warmup_epochs=warmup,
            seed=derive_seed(material.seed, "distil"),
        )
    ]


def _distil_loss(student, teacher, photos, temperature):
    """Cross-entropy of the two softened answers, in nats, in plain NumPy."""
    batch = jnp.asarray(photos / np.float32(255), jnp.float32)
    targets = np.exp(_log_softmax(np.asarray(_ask(teacher.predict, batch)) / temperature))
    logs = _log_softmax(np.asarray(_ask(student.predict, batch)) / temperature)
    return -(targets * logs).sum(axis=1).mean()


@pytest.mark.slow
def test_distil_loss_falls(student, suspect, material):
    fresh = TrainedModel.of(student.model, student.model.init(jax.random.key(8), (8, 8, 3)))
    first, last = (
        _distil_loss(one, suspect, material.clean_images, 2.0) for one in (fresh, student)
    )
    assert last < first
    # Gibbs: no student beats the teacher's own entropy.
    assert last >= student.details["target_entropy"] - 1e-6


def test_a_student_is_not_its_teacher(student, suspect):
    assert not _same(student.variables["params"], suspect.variables["params"])
    assert student.details["student"] == "testing"


def test_student_answers_are_scaled_back(student, images):
    raw = _ask(student.model.predict_fn(student.variables), images)
    np.testing.assert_allclose(_ask(student.predict, images), 2.0 * raw, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_own_photos_are_those_of_the_training(student, suspect, material):
    swapped = dataclasses.replace(
        material,
        images=material.clean_images,
        labels=material.clean_labels,
        clean_images=material.images,
        clean_labels=material.labels,
    )
    own = Distil(photos="own", temperature=2.0)
    assert _same(own.change(suspect, swapped).variables, student.variables)
    assert not _same(own.change(suspect, material).variables, student.variables)


def test_a_student_of_another_architecture(suspect):
    photos = np.zeros((2, 4, 4, 3), np.uint8)
    photos[0, ..., 1] = 255
    student = _student(suspect.model, "resnet18", photos)
    assert student.widths == (64, 128, 256, 512)
    assert student.num_classes == 4
    # Whatever scale the teacher wants its inputs on.
    assert student.mean == (0.0, 0.5, 0.0)
    assert student.std == (0.001, 0.5, 0.001)
    assert _student(suspect.model, None, photos) is suspect.model


def test_soft_targets_twin(rng):
    logits = rng.normal(size=(5, 3)) * 4
    for temperature in (0.5, 1.0, 8.0):
        targets = soft_targets(logits, temperature)
        for row, target in zip(logits, targets, strict=True):
            weights = [np.exp(z / temperature) for z in row]
            np.testing.assert_allclose(target, [w / sum(weights) for w in weights], rtol=1e-5)


def test_entropy_of_certain_and_of_even_answers():
    assert mean_entropy(np.eye(4, dtype=np.float32)) == 0.0
    assert mean_entropy(np.full((2, 4), 0.25, np.float32)) == pytest.approx(np.log(4))


# --- Ensembles ---


@pytest.fixture(scope="module")
def members(suspect, material):
    """The suspect and two trainings of the seeds that an ensemble takes."""
    predicts = [suspect.predict]
    for member in (1, 2):
        seed = derive_seed(material.seed, "ensemble", member)
        settings = dataclasses.replace(SETTINGS, seed=seed)
        variables, _ = retrain(suspect.model, settings, material.images, material.labels)
        predicts.append(suspect.model.predict_fn(variables))
    return predicts


@pytest.mark.slow
def test_ensemble_equals_naive_averaging(suspect, material, members, images):
    logs = [_log_softmax(_ask(predict, images)) for predict in members]
    assert np.abs(logs[1] - logs[2]).max() > 1e-2  # seeds make a difference
    ensemble = Ensemble(num_models=3).change(suspect, material)
    expected = np.log(np.mean(np.exp(logs), axis=0))
    np.testing.assert_allclose(_ask(ensemble.predict, images), expected, atol=1e-5)
    assert ensemble.details["num_models"] == 3


def test_mean_of_logarithms(members, images):
    logs = [_log_softmax(_ask(predict, images)) for predict in members]
    geometric = _ask(averaged(members, "log_probabilities"), images)
    np.testing.assert_allclose(geometric, np.mean(logs, axis=0), atol=1e-5)
    arithmetic = _ask(averaged(members, "probabilities"), images)
    assert np.abs(geometric - arithmetic).max() > 1e-3


def test_ensemble_of_one_model_twice_is_that_model(members, images):
    for average in ("probabilities", "log_probabilities"):
        twice = _ask(averaged(members[:1] * 2, average), images)
        np.testing.assert_allclose(twice, _log_softmax(_ask(members[0], images)), atol=1e-5)


def test_ensembles_of_equal_shape_compile_once(members, images):
    traces = []

    @jax.jit
    def ask(predict, batch):
        traces.append(batch.shape)
        return predict(batch)

    for pair in (members[:2], members[1:]):
        ask(averaged(pair, "probabilities"), images)
    assert len(traces) == 1


# --- Early stopping ---


def test_stopped_early_is_a_prefix_of_the_training(suspect, material):
    """Bit for bit the state of the same training at that step."""
    early = EarlyStopping(0.5).change(suspect, material)
    plan = data.BatchPlan(len(material.images), SETTINGS.batch_size, SETTINGS.seed)
    steps = 15 * plan.steps_per_epoch
    stopped = train.train(
        suspect.model,
        SETTINGS,
        material.images,
        material.labels,
        plan.rows,
        segment_steps=1,
        should_stop=iter([False] * (steps - 1) + [True]).__next__,
    )
    assert int(stopped.state.step) == steps
    assert _same(early.variables, stopped.state.variables)
    assert not _same(early.variables, suspect.variables)
    assert early.details["num_epochs"] == 15


@pytest.mark.parametrize(
    ("fraction", "planned", "expected"),
    [(0.5, 4, 2), (0.5, 5, 3), (0.1, 4, 1), (0.01, 1, 1), (0.9, 10, 9), (0.25, 90, 23)],
)
def test_epochs_are_whole_and_at_least_one(fraction, planned, expected):
    assert EarlyStopping(fraction).num_epochs(planned) == expected


@pytest.mark.parametrize(
    ("last_step", "expected"), [(1, 1), (2048, 2048), (2049, 683), (2053, 1), (6000, 2000)]
)
def test_segments_end_at_the_last_step(last_step, expected):
    assert _segment_steps(last_step) == expected


# --- All ---


def test_seeds_of_different_uses_differ():
    uses = [(s, n, i) for s in range(50) for n in ("ensemble", "distil") for i in range(10)]
    seeds = {derive_seed(*use) for use in uses}
    assert len(seeds) == len(uses)
    assert 0 <= min(seeds) <= max(seeds) < 2**31


def test_weights_are_bound_to_no_device(suspect):
    assert not any(leaf.committed for leaf in jax.tree.leaves(suspect.variables))
