import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anw_jax import data, train
from anw_jax.errors import CheckpointError, DivergenceError
from anw_jax.train import runner
from anw_jax.train.cohort import make_cohort
from anw_jax.train.many import resolve_execution, train_many

SEEDS = (3, 3, 9)
NUM_PHOTOS, NUM_MEMBERS, NUM_STEPS = 80, 64, 16


@dataclasses.dataclass(frozen=True)
class Negative:
    """Turn each photo into its negative."""

    def transform(self, key, images, targets):
        return 1.0 - images, targets


@dataclasses.dataclass(frozen=True)
class Private:
    """A privatizer that is never called."""

    def gradient(self, loss_fn, params, model_state, batch, rng):
        raise NotImplementedError


RECIPE = train.Recipe(transforms=(Negative(),))


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(11)
    images = rng.integers(0, 256, (NUM_PHOTOS, 8, 8, 3), dtype=np.uint8)
    return images, rng.integers(0, 4, NUM_PHOTOS, dtype=np.int32)


@pytest.fixture(scope="module")
def differences():
    """64 of 80 photos each; three rows of which each model has its own version."""
    rng = np.random.default_rng(2)
    membership = np.zeros((3, NUM_PHOTOS), bool)
    for row in membership:
        row[rng.permutation(NUM_PHOTOS)[:NUM_MEMBERS]] = True
    rows = np.array([7, 4, 20])
    # Some replaced photos are members, and some are not.
    assert membership[:, rows].any()
    assert not membership[:, rows].all()
    return {
        "seeds": SEEDS,
        "membership": membership,
        "replaced_rows": rows,
        "replacements": rng.integers(0, 256, (3, 3, 8, 8, 3), dtype=np.uint8),
    }


@pytest.fixture(scope="module")
def many(model, settings, photos, differences):
    """Call `train_many` on those, with other options if given."""

    def call(**options):
        arguments = {**differences, "recipe": RECIPE, **options}
        return train_many(model, settings, *photos, **arguments)

    return call


@pytest.fixture(scope="module")
def by_sequence(many):
    return many(execution="sequence")


@pytest.fixture(scope="module")
def by_vmap(many):
    return many(execution="vmap", segment_steps=4)


@pytest.fixture(scope="module")
def by_map(many):
    return many(execution="map", segment_steps=4)


def _own_photos(photos, differences, index):
    """Return the photos of model `index`, by plain loops."""
    images, labels = [], []
    for row in range(NUM_PHOTOS):
        if not differences["membership"][index][row]:
            continue
        image = photos[0][row]
        for place, replaced in enumerate(differences["replaced_rows"]):
            if replaced == row:
                image = differences["replacements"][index][place]
        images.append(image)
        labels.append(photos[1][row])
    return np.stack(images), np.array(labels)


def test_sequence_is_train_bit_for_bit(model, settings, photos, differences, by_sequence):
    for index, seed in enumerate(SEEDS):
        images, labels = _own_photos(photos, differences, index)
        plan = data.BatchPlan(NUM_MEMBERS, settings.batch_size, seed)
        own = dataclasses.replace(settings, seed=seed)
        alone = train.train(model, own, images, labels, plan.rows, recipe=RECIPE)
        chex.assert_trees_all_equal(by_sequence.variables_of(index), alone.state.variables)
        loss, accuracy = train.evaluate(by_sequence.predict_fn(index), images, labels)
        assert (by_sequence.losses[index], by_sequence.accuracies[index]) == (loss, accuracy)


def _assert_same(result, expected):
    chex.assert_trees_all_close(result.variables, expected.variables, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(result.losses, expected.losses, rtol=1e-3)


@pytest.mark.slow
def test_map_and_vmap_are_sequence(by_map, by_vmap, by_sequence):
    results = by_map, by_vmap, by_sequence
    assert [result.execution for result in results] == ["map", "vmap", "sequence"]
    _assert_same(by_vmap, by_sequence)
    _assert_same(by_map, by_sequence)
    # Models differ by much more than the tolerance, or the comparison would prove little.
    stem = by_sequence.variables["params"]["Conv_0"]["kernel"]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(stem[first] - stem[second]).max() > 0.01


@pytest.mark.slow
def test_groups_change_nothing(many, differences, by_map):
    twice = {
        name: np.concatenate([differences[name]] * 2)
        for name in ("seeds", "membership", "replacements")
    }
    told = []
    grouped = many(
        **twice,
        execution="map",
        group_size=3,
        on_progress=lambda done, total: told.append((done, total)),
    )
    for half in (slice(0, 3), slice(3, 6)):
        part = jax.tree.map(lambda leaf, half=half: leaf[half], grouped.variables)
        chex.assert_trees_all_equal(part, by_map.variables)
    done = [steps for steps, _ in told]
    assert done == sorted(done)
    assert {48, 96} <= set(done)
    assert {total for _, total in told} == {96}


def test_on_model_is_called_for_each_trained_model(many, by_map):
    seen = []
    result = many(
        execution="map",
        on_model=lambda index, loss, accuracy: seen.append((index, loss, accuracy)),
    )
    assert seen == list(zip(range(3), result.losses, result.accuracies, strict=True))
    chex.assert_trees_all_equal(result.variables, by_map.variables)


def test_a_batch_holds_own_versions_where_there_are_some(model, settings, photos, differences):
    cohort = make_cohort(model, settings, *photos, **differences)
    group = [2, 0]
    columns, rows = cohort.columns_of(group), cohort.rows_of(group, 3, 4)
    assert rows.shape == (4, 2, settings.batch_size)
    for place, index in enumerate(group):
        images, labels = _own_photos(photos, differences, index)
        wanted = cohort.plan_of(index)(3, 4)
        np.testing.assert_array_equal(columns.images[rows[:, place]], images[wanted])
        np.testing.assert_array_equal(columns.labels[rows[:, place]], labels[wanted])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("execution", "expected_told", "num_completed", "folders"),
    [
        ("sequence", [(8, 48), (16, 48), (24, 48)], 1, ["0", "1"]),
        ("map", [(24, 48)], 0, ["0-2"]),
    ],
)
def test_stopped_and_resumed(
    execution, expected_told, num_completed, folders, many, by_sequence, by_map, tmp_path
):
    told = []
    options = {
        "execution": execution,
        "checkpoint_dir": tmp_path,
        "segment_steps": 8,
        "on_progress": lambda done, total: told.append((done, total)),
    }
    first = many(**options, should_stop=lambda: told == expected_told)
    assert told == expected_told
    assert not first.completed
    assert first.num_completed == num_completed
    assert sorted(path.name for path in tmp_path.iterdir()) == folders
    assert {len(leaf) for leaf in jax.tree.leaves(first.variables)} == {num_completed}
    with pytest.raises(ValueError, match=f"trained models {num_completed}, got 1"):
        first.variables_of(1)
    second = many(**options)
    assert second.completed
    assert told[-1] == (48, 48)
    expected = by_sequence if execution == "sequence" else by_map
    chex.assert_trees_all_equal(second.variables, expected.variables)
    # A third call has nothing to train, and gives the same result.
    third = many(**options)
    np.testing.assert_array_equal(third.losses, second.losses)
    chex.assert_trees_all_equal(third.variables, second.variables)
    if execution == "map":
        with pytest.raises(CheckpointError, match=r"belong to another run: .*seeds is"):
            many(**options, seeds=[3, 3, 8])


def test_nothing_is_started_that_would_end_too_late(many):
    for execution in ("sequence", "map"):
        result = many(execution=execution, max_seconds=0.0)
        assert (result.num_completed, result.completed) == (0, False)
        assert result.accuracies.shape == (0,)


@pytest.mark.slow
@pytest.mark.parametrize("execution", ["map", "vmap"])
def test_divergence_names_the_models(model, settings, photos, execution):
    """The first step of the warm-up has rate 0; at the second, parameters overflow."""
    wild = dataclasses.replace(settings, learning_rate=1e38, warmup_epochs=3)
    with pytest.raises(DivergenceError, match=r"of model\(s\) 0, 1 became infinite or NaN"):
        train_many(model, wild, *photos, seeds=[1, 2], execution=execution, segment_steps=1)


def test_only_the_model_that_diverges_is_named():
    params = {"kernel": jnp.ones((3, 2, 2)), "bias": jnp.ones((3, 2))}
    params["kernel"] = params["kernel"].at[1, 0, 1].set(jnp.inf)
    finite = np.asarray(runner._finite(params, 1))
    np.testing.assert_array_equal(finite, [True, False, True])
    message = runner._divergence_message({"loss": np.ones(3)}, finite, 4, 4, None)
    assert message.startswith(
        "the loss or a parameter of model(s) 1 became infinite or NaN in steps 4 to 7 "
    )


def test_auto_is_the_sequence_on_cpu(monkeypatch):
    assert resolve_execution("auto", 5) == "sequence"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert resolve_execution("auto", 5) == "vmap"
    assert resolve_execution("auto", 1) == "sequence"
    assert resolve_execution("vmap", 1) == "vmap"


def test_a_cohort_of_all_photos(model, settings, photos):
    cohort = make_cohort(model, settings, *photos, [4, 2], None, None, None)
    np.testing.assert_array_equal(cohort.members, [np.arange(NUM_PHOTOS)] * 2)
    images, labels = cohort.photos_of(1)
    np.testing.assert_array_equal(images, photos[0])
    np.testing.assert_array_equal(labels, photos[1])
    assert cohort.settings_of(1).seed == 2


def test_no_model_sees_a_row_of_which_it_is_no_member(model, settings, photos, differences):
    cohort = make_cohort(model, settings, *photos, **differences)
    rows = cohort.rows_of(range(3), 0, NUM_STEPS)
    own = differences["replaced_rows"]
    for index in range(3):
        seen = rows[:, index].copy()
        is_own = seen >= NUM_PHOTOS
        seen[is_own] = own[seen[is_own] - NUM_PHOTOS - 3 * index]
        assert differences["membership"][index][seen].all()
        assert not set(rows[:, index].ravel().tolist()) & set(own.tolist())
        first_epoch = seen[: NUM_MEMBERS // settings.batch_size].ravel()
        assert len(set(first_epoch.tolist())) == NUM_MEMBERS


def _without_one(membership):
    membership = membership.copy()
    membership[1, np.flatnonzero(membership[1])[0]] = False
    return membership


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"seeds": []}, ValueError, "seeds must hold at least one seed, got none"),
        ({"seeds": [1, 2, -1]}, ValueError, "seeds must be at least 0, got -1"),
        ({"seeds": [1, 2, 0.5]}, TypeError, "seeds must be an integer, got 0.5"),
        ({"seeds": [1, 2]}, ValueError, r"= \(2, 80\), got \(3, 80\)"),
        (
            {"membership": lambda m: m.astype(int)},
            TypeError,
            "membership must be bool, got int",
        ),
        ({"membership": _without_one}, ValueError, "take the same steps; got 63 to 64"),
        ({"membership": lambda m: m & False}, ValueError, "images 0, got 16"),
        (
            {"replaced_rows": None},
            ValueError,
            "replaced_rows and replacements must be given tog",
        ),
        ({"replaced_rows": np.array([7, 4, 7])}, ValueError, "must name each row once"),
        ({"replaced_rows": np.array([7, 4, 80])}, ValueError, r"in \[0, 80\), got \[4, 80\]"),
        ({"replaced_rows": np.array([0.5, 1, 2])}, TypeError, r"integers \[k\], got float64"),
        ({"replacements": lambda r: r[:2]}, ValueError, r"8, 8, 3\), got uint8 of shape \(2,"),
        ({"replacements": lambda r: r / 255}, ValueError, "got float64 of shape"),
        ({"execution": "sequential"}, ValueError, "did you mean 'sequence'"),
        ({"execution": "map", "group_size": 0}, ValueError, "group_size must be at least 1"),
        ({"execution": "map", "segment_steps": 0}, ValueError, "segment_steps must be at l"),
        ({"recipe": train.Recipe(privacy=Private())}, ValueError, "no BatchNorm under privacy"),
        ({"recipe": Negative()}, TypeError, "recipe must be a Recipe, got Negative"),
    ],
)
def test_bad_arguments(change, error, message, many, differences):
    changed = {
        name: value(differences[name]) if callable(value) else value
        for name, value in change.items()
    }
    with pytest.raises(error, match=message):
        many(**changed)
