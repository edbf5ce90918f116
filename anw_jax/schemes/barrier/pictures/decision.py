"""The second decision: a classifier says which mark a drawn picture shows, or none.

It is trained on what R draws for the owner's own images, so it inherits what R knows: like NC,
its answer has no error rate.
"""

from typing import Any

import jax
import numpy as np

from anw_jax import _check, data, models, train

# Class 0 is no mark, class k + 1 mark k.
_NAME = "testing"
_BATCH = 32


def train_classifier(
    blank: np.ndarray, shown: list[np.ndarray], *, num_epochs: int = 4, seed: int, **runner: Any
) -> train.TrainResult:
    """Train a small residual network on pictures that R drew; resume as `train.fit` does.

    Args:
      blank: drawn for images without a mark, float in [0, 1], `[n, H, W, 3]`.
      shown: drawn for images with each mark, of the same size.
      num_epochs: how often each picture is seen.
      seed: of the first parameters, and of the order of pictures.
      **runner: of `train.fit`.

    Returns:
      The last state; `share_of_mark` takes its variables.

    Raises:
      ValueError: no mark, pictures outside [0, 1].
      CheckpointError, DivergenceError: as `train.fit`.
    """
    if not shown:
        raise ValueError("shown must hold the pictures of at least one mark")
    parts = [_levels(pictures) for pictures in (blank, *shown)]
    labels = np.repeat(np.arange(len(parts)), [len(part) for part in parts]).astype(np.int32)
    images = np.concatenate(parts)
    settings = train.TrainSettings(
        batch_size=min(_BATCH, len(images)),
        num_epochs=num_epochs,
        schedule="cosine",
        crop_padding=0,
        flip=False,
        seed=seed,
    )
    plan = data.BatchPlan(len(images), settings.batch_size, seed)
    return train.train(_model(len(shown)), settings, images, labels, plan.rows, **runner)


def share_of_mark(variables: Any, pictures: np.ndarray, number: int, num_marks: int) -> float:
    """Return the share of pictures in which the classifier sees a mark, in [0, 1].

    Args:
      variables: of `train_classifier`.
      pictures: drawn by R, float in [0, 1], `[n, H, W, 3]`.
      number: of the mark, from 0.
      num_marks: that the classifier knows.
    """
    predict_fn: jax.tree_util.Partial = _model(num_marks).predict_fn(variables)
    labels = np.full(len(pictures), number + 1, np.int32)
    return train.evaluate(predict_fn, _levels(pictures), labels)[1]


def _model(num_marks: int) -> models.Model:
    return models.create(_NAME, num_marks + 1, norm="group")


def _levels(pictures: np.ndarray) -> np.ndarray:
    pictures = _check.unit_range(pictures=pictures)
    return np.rint(255.0 * pictures).astype(np.uint8)
