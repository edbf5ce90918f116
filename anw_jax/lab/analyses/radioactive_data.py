"""The rival of Table 1: radioactive data (Sablayrolles et al. 2020)."""

from typing import Any

import jax
import numpy as np

from anw_jax import data, train
from anw_jax.attacks import TrainedModel
from anw_jax.baselines import radioactive, radioactive_marking, radioactive_tracing
from anw_jax.errors import SettingsError
from anw_jax.lab.case import Case
from anw_jax.lab.journal import Journal
from anw_jax.lab.learner import Suspect
from anw_jax.lab.settings import Settings
from anw_jax.lab.training_log import TrainingLog
from anw_jax.models import Model

_USER_SHARE = 0.01
_MARK_STREAM, _MARKING_SEED = 0x7261, 5000


def analyse(
    settings: Settings, case: Case, suspect: Suspect, journal: Journal
) -> dict[str, Any]:
    """Trains a marking network on clean photos, marks 1 % of the learner's, trains on them.

    The photos marked are ones that carry no other mark. The suspect is the same network with
    the same settings, the learner's other photos unchanged. "Before" is the trained model of
    the case, which never saw a radioactive photo.

    Returns:
      `cosine`: mean over classes after training; `cosine_before`; and the whole test of both,
      with its exact p.

    Raises:
      SettingsError: there are too few clean photos to train the marking network on.
    """
    model, num_marked = suspect.trained.model, max(1, round(_USER_SHARE * len(case.learner)))
    if len(case.clean) < settings.train.batch_size:
        raise SettingsError(
            "config.analyses: radioactive_data needs at least one batch of clean photos "
            f"({settings.train.batch_size}), there are {len(case.clean)}"
        )
    journal.say(f"training the marking network on {len(case.clean):,} clean photos …")
    log = TrainingLog(journal, "marking network: ")
    marking = _train(settings, model, case.clean, settings.seed + _MARKING_SEED, log)
    rows = _unmarked_rows(case)[:num_marked]
    photos = case.learner.take(rows)
    journal.say(f"marking {len(photos)} photos; training on them …")
    width = len(radioactive_tracing.class_weights(model, marking.variables))
    carriers = radioactive.draw_carriers(settings.seed, case.learner.num_classes, width)
    marked = radioactive_marking.mark_photos(
        jax.random.fold_in(jax.random.key(settings.seed), _MARK_STREAM),
        radioactive_tracing.features_fn(model, marking.variables),
        photos.images,
        photos.labels,
        carriers,
    )
    images = case.learner.images.copy()
    images[rows] = marked
    scraped = data.Dataset(
        images, case.learner.labels, case.learner.class_names, case.learner.name
    )
    log = TrainingLog(journal, "suspect: ")
    after = _train(settings, model, scraped, settings.seed, log)
    found = radioactive_tracing.trace(
        carriers,
        (model, marking.variables),
        {"before": (model, suspect.trained.variables), "after": (model, after.variables)},
        case.unseen.images,
    )
    cosines = {name: numbers["cosine_mean"] for name, numbers in found.items()}
    journal.say(f"radioactive data: mean cosine {cosines['after']:.3f} after training")
    return {
        "cosine": cosines["after"],
        "cosine_before": cosines["before"],
        "num_marked": len(photos),
        **found,
    }


def _unmarked_rows(case: Case) -> np.ndarray:
    """Rows of the learner's photos that are nobody's."""
    owned = {
        image.tobytes()
        for members in case.everybody.values()
        for user in members
        for image in (*user.originals.images, *user.published())
    }
    is_free = [image.tobytes() not in owned for image in case.learner.images]
    return np.flatnonzero(is_free)


def _train(
    settings: Settings, model: Model, photos: data.Dataset, seed: int, log: TrainingLog
) -> TrainedModel:
    plain = train.TrainSettings(**(settings.to_dict()["train"] | {"seed": seed}))
    plan = data.BatchPlan(len(photos), plain.batch_size, seed)
    result = train.train(
        model,
        plain,
        photos.images,
        photos.labels,
        plan.rows,
        on_start=log.on_start,
        on_segment=log.on_segment,
    )
    return TrainedModel.of(model, result.state.variables)
