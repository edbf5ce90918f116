"""Fine-pruning: what was pruned stays 0, and the rest moves."""

import jax
import numpy as np
import pytest

from anw_jax import attacks, models, train


def material() -> attacks.Material:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (8, 8, 8, 3), np.uint8), np.arange(8) % 4
    return attacks.Material(train.TrainSettings(), images, labels, images, labels, seed=0)


def test_pruned_weights_stay_zero_and_others_are_tuned():
    model = models.create("testing", 4)
    trained = attacks.TrainedModel.of(model, model.init(jax.random.key(0), (8, 8, 3)))
    attack = attacks.create("fine_prune", fraction=0.4, num_epochs=1, batch_size=8)
    changed = attack.change(trained, material())
    pruned = attacks.create("prune", fraction=0.4).change(trained, material())
    kernel = changed.variables["params"]["BasicBlock_1"]["Conv_0"]["kernel"]
    before = pruned.variables["params"]["BasicBlock_1"]["Conv_0"]["kernel"]
    np.testing.assert_array_equal(np.asarray(kernel == 0), np.asarray(before == 0))
    assert float(np.abs(kernel - before).max()) > 0
    assert changed.details["num_pruned"] == pruned.details["num_pruned"] > 0
    # Weights that were 0 from the start (biases) are not held there.
    assert float(np.abs(changed.variables["params"]["Dense_0"]["bias"]).max()) > 0


@pytest.mark.parametrize(
    ("fields", "text"),
    [({"fraction": 1.0}, "fraction must lie"), ({"num_epochs": 0}, "num_epochs must be")],
)
def test_bad_input_is_one_clear_error(fields, text):
    with pytest.raises(ValueError, match=text):
        attacks.create("fine_prune", **fields)
