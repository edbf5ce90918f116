import re

import jax
import numpy as np
import pytest

from anw_jax import models
from anw_jax.baselines import answers, shadow_mia
from anw_jax.train import TrainSettings, evaluate


def test_shadow_losses_above_all_of_the_learners_mean_fifty_percent(rng):
    """The paper's case: every held-out photo is called a member."""
    members, heldout = rng.uniform(0, 0.2, (10, 30)), rng.uniform(0.3, 1.5, (10, 30))
    found = shadow_mia.compare(np.full(10, 2.0), members, heldout, watermark_matches=10)
    assert (found["accuracy"], found["advantage"]) == (0.5, 0.0)
    assert found["accuracy_std"] == 0.0
    assert found["false_positive_rate"] == 1.0
    assert found["share_threshold_above_heldout"] == 1.0
    assert found["watermark_accuracy"] == 1.0
    assert found["threshold"] == 2.0
    assert found["member_loss"] == pytest.approx(members.mean())
    # A threshold between the two would have told them apart: the test can fail.
    perfect = shadow_mia.compare(np.full(10, 0.25), members, heldout)
    assert (perfect["accuracy"], perfect["false_positive_rate"]) == (1.0, 0.0)
    assert "watermark_accuracy" not in perfect
    # And one below all losses calls nobody: again 50 %.
    assert shadow_mia.compare(np.zeros(10), members, heldout)["accuracy"] == 0.5


def test_each_user_has_their_own_threshold(rng):
    thresholds = rng.uniform(0, 1, 4)
    members, heldout = rng.uniform(0, 1, (4, 9)), rng.uniform(0, 1, (4, 6))
    found = shadow_mia.compare(thresholds, members, heldout)
    for user in range(4):
        hit = sum(loss < thresholds[user] for loss in members[user]) / 9
        kept = sum(loss >= thresholds[user] for loss in heldout[user]) / 6
        assert found["per_user"]["accuracy"][user] == pytest.approx((hit + kept) / 2)
    assert found["accuracy"] == pytest.approx(np.mean(found["per_user"]["accuracy"]))
    assert found["accuracy_std"] == pytest.approx(np.std(found["per_user"]["accuracy"], ddof=1))
    one = shadow_mia.compare(thresholds[:1], members[:1], heldout[:1])
    assert one["accuracy_std"] == 0.0


@pytest.mark.slow
def test_shadows_train_on_their_own_photos_alone(rng):
    images = rng.integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    labels = rng.integers(0, 3, 24)
    rows = rng.permutation(24)[:16].reshape(2, 8)
    model = models.create("testing", 3)
    settings = TrainSettings(batch_size=4, num_epochs=2, learning_rate=0.01, crop_padding=0)
    shadows = shadow_mia.train_shadows(model, settings, images, labels, rows, seeds=[1, 2])
    for user in range(2):
        loss, _ = evaluate(shadows.predict_fn(user), images[rows[user]], labels[rows[user]])
        assert shadows.losses[user] == pytest.approx(loss, rel=1e-5)
    # Changing everybody else's photos changes nothing.
    other = images.copy()
    other[np.setdiff1d(np.arange(24), rows[0])] = 0
    again = shadow_mia.train_shadows(model, settings, other, labels, rows, seeds=[1, 2])
    assert again.losses[0] == shadows.losses[0]
    assert again.losses[1] != shadows.losses[1]
    # What `answers` reads is what each model says.
    predict = jax.jit(model)
    for user in range(2):
        losses, correct = answers(shadows.predict_fn(user), images, labels, batch_size=9)
        floats = images.astype(np.float32) / 255
        logits = np.asarray(predict(shadows.variables_of(user), floats), float)
        for photo in range(24):
            log_sum = np.log(sum(np.exp(logits[photo])))
            expected = log_sum - logits[photo][labels[photo]]
            assert losses[photo] == pytest.approx(expected, rel=1e-4, abs=1e-5)
            assert correct[photo] == (logits[photo].argmax() == labels[photo])


def test_answers_of_nothing_are_nothing():
    losses, correct = answers(
        lambda batch: batch[:, 0, 0], np.zeros((0, 4, 4, 3), np.uint8), np.zeros(0, int)
    )
    assert (losses.shape, correct.shape, correct.dtype) == ((0,), (0,), bool)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([[0.5]], TypeError, "rows_of_user must be integers [num_users, k], got float64 of "),
        ([0, 1], TypeError, "rows_of_user must be integers [num_users, k], got int64 of shape"),
        ([[0, 24]], ValueError, "rows_of_user must lie in [0, 24)"),
        ([[0, 0]], ValueError, "rows_of_user must name each image of a user once"),
    ],
)
def test_bad_rows(rows, error, message):
    images, labels = np.zeros((24, 8, 8, 3), np.uint8), np.zeros(24, int)
    with pytest.raises(error, match=re.escape(message)):
        shadow_mia.train_shadows(
            models.create("testing", 3),
            TrainSettings(batch_size=1),
            images,
            labels,
            np.array(rows),
            seeds=[0],
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [[1.0]], [[1.0]]), "thresholds must have shape [num_users], got (0,)"),
        (([1.0], [1.0], [[1.0]]), "member_losses must have shape [1, images], got (1,)"),
        (
            ([1.0], [[1.0]], [[1.0]] * 2),
            "heldout_losses must have shape [1, images], got (2, 1)",
        ),
        (([np.nan], [[1.0]], [[1.0]]), "threshold must be finite, got nan"),
        (
            ([1.0], [[1.0]], [[]]),
            "other_losses must hold at least one loss [n], got shape (0,)",
        ),
    ],
)
def test_bad_losses(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        shadow_mia.compare(*arguments)


def test_more_matches_than_users_are_refused():
    with pytest.raises(
        ValueError, match=r"^watermark_matches must be at most the 1 users, got 2$"
    ):
        shadow_mia.compare([1.0], [[1.0]], [[1.0]], watermark_matches=2)
