"""Further measurements on a trained model, by name.

Each is a function of everything fixed before training, the trained model and its settings; it
returns plain values for the results. They use facts that an arbitrator does not have: none of
them is evidence.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np

from anw_jax import data, train, verify
from anw_jax.attacks import TrainedModel
from anw_jax.baselines import (
    answers,
    radioactive,
    radioactive_networks,
    shadow_mia,
    threshold_mia,
)
from anw_jax.errors import SettingsError
from anw_jax.keys import SignatureSpace
from anw_jax.lab.journal import Journal, TrainingLog
from anw_jax.lab.owners import Prepared, User
from anw_jax.lab.training import TrainedRun
from anw_jax.models import Model
from anw_jax.train import TrainSettings

T = TypeVar("T")

# Starts are the best slots of the coarse grid; half of 12 steps of 3° covers half a slot.
_NUM_STARTS, _NUM_STEPS, _STEP_DEGREES = 2, 12, 3.0
_FINE_GRID = SignatureSpace(180)

_LARGEST_KNOWN = 100

_SHADOW_STREAM = 1000

_MARKED_SHARE = 0.01
_MARK_STREAM, _MARKING_SEED = 0x7261, 5000


def gradient_search(
    prepared: Prepared, trained_run: TrainedRun, settings: TrainSettings, journal: Journal
) -> dict[str, Any]:
    """Infer each shared hue by gradient descent, and by a grid of 2 degrees.

    Returns:
      For each user whose photos share one hue (or none, which is 0°): the true and inferred
      degrees, the errors of both searches, and the cost of each in images and seconds. The
      coarse grid that gives the starts counts as a cost of the descent.
    """
    return {
        name: _two_searches(user, user.true_degrees, trained_run, journal)
        for name, user in prepared.users.items()
        if user.settings.mark == "hue" and user.true_degrees is not None
    }


def _two_searches(
    user: User, true_degrees: float, trained_run: TrainedRun, journal: Journal
) -> dict[str, Any]:
    photos, space = user.originals, user.manifest.space
    queries = (trained_run.predict, photos.images, photos.labels, user.mark)

    def descend() -> verify.GradientSearchResult:
        coarse = verify.grid_search(verify.loss_table(*queries, space), space)
        return verify.gradient_search(
            *queries,
            starts_degrees=coarse.lowest_degrees(_NUM_STARTS),
            num_steps=_NUM_STEPS,
            step_degrees=_STEP_DEGREES,
        )

    def scan() -> verify.GridSearchResult:
        return verify.grid_search(verify.loss_table(*queries, _FINE_GRID), _FINE_GRID)

    descent, seconds = _timed(descend)
    grid, grid_seconds = _timed(scan)
    inferred = float(descent.best_degrees[0])
    journal.say(
        f"{user.name}: {inferred:.1f}° by descent, {grid.inferred_degrees:.0f}° by grid"
    )
    return {
        "true_degrees": true_degrees,
        "inferred_degrees": inferred,
        "error_degrees": float(space.distance(inferred, true_degrees)),
        "num_forward": descent.num_forward + len(photos) * space.num_slots,
        "num_backward": descent.num_backward,
        "seconds": seconds,
        "grid_inferred_degrees": grid.inferred_degrees,
        "grid_error_degrees": float(space.distance(grid.inferred_degrees, true_degrees)),
        "grid_num_forward": len(photos) * _FINE_GRID.num_slots,
        "grid_seconds": grid_seconds,
    }


def _timed(search: Callable[[], T]) -> tuple[T, float]:
    """Return a search's result, and its seconds after compilation; results are on the host."""
    search()
    start = time.perf_counter()
    found = search()
    return found, time.perf_counter() - start


def membership_inference(
    prepared: Prepared, trained_run: TrainedRun, settings: TrainSettings, journal: Journal
) -> dict[str, Any]:
    """Compare MIA-std and MIA-pow on training photos and unseen ones (Fig. 5c).

    The threshold is fitted on 100 members and 100 non-members (10 % if fewer are available),
    which a real owner would not have.

    Returns:
      For each method its counts, accuracy and advantage, with "protection_advantage" (adv^P of
      eq. 7 with p = 1/2: accuracy on balanced targets minus one half); and "best_advantage",
      the larger adv^P.
    """
    learner, unseen = prepared.learner, prepared.unseen
    num = min(len(learner), len(unseen))
    members, _ = answers(trained_run.predict, learner.images[:num], learner.labels[:num])
    others, _ = answers(trained_run.predict, unseen.images[:num], unseen.labels[:num])
    known = min(_LARGEST_KNOWN, num // 10)
    found = threshold_mia.compare(members, others, num_known=known, seed=settings.seed)
    for name, numbers in found.items():
        numbers["protection_advantage"] = numbers["balanced_accuracy"] - 0.5
        journal.say(f"{name}: {numbers['balanced_accuracy']:.1%} of calls are right")
    best = max(numbers["protection_advantage"] for numbers in found.values())
    return {**found, "best_advantage": best, "num_known": known}


def shadow_models(
    prepared: Prepared, trained_run: TrainedRun, settings: TrainSettings, journal: Journal
) -> dict[str, Any]:
    """Compare membership inference with shadow models of the users' own photos (Fig. 5b).

    For each single-hue user, the learner's architecture is trained on that user's photos only,
    as in section 5.5, which has 10 users: the shadow's mean training loss is the threshold of
    MIA-std. Members are the user's photos as published; non-members are as many photos that
    were not trained on.

    Raises:
      SettingsError: the settings lack two marked users of one size with one hue each.
    """
    users = _users_with_one_hue(prepared)
    photos = [(user.published(), user.originals.labels) for user in users]
    images = np.concatenate([published for published, _ in photos])
    labels = np.concatenate([own for _, own in photos])
    rows = np.arange(len(labels)).reshape(len(users), -1)
    if len(prepared.unseen) < rows.size:
        raise SettingsError(
            f"config.analyses: shadow_models needs {rows.size} photos outside training, "
            f"there are {len(prepared.unseen)}"
        )
    batch_size = max(1, min(settings.batch_size, rows.shape[1] // 2))
    shadows = shadow_mia.train_shadows(
        trained_run.trained.model,
        dataclasses.replace(settings, batch_size=batch_size),
        images,
        labels,
        rows,
        seeds=[settings.seed + _SHADOW_STREAM + number for number in range(len(users))],
        on_model=lambda index, loss, _: journal.say(
            f"shadow model of {users[index].name}: mean training loss {loss:.3f}"
        ),
    )
    held_out = prepared.unseen.take(np.arange(rows.size))
    members, _ = answers(trained_run.predict, images, labels)
    others, _ = answers(trained_run.predict, held_out.images, held_out.labels)
    return shadow_mia.compare(
        shadows.losses, members.reshape(rows.shape), others.reshape(rows.shape)
    )


def _users_with_one_hue(prepared: Prepared) -> list[User]:
    """Marked users in training whose photos share a hue; all of one size."""
    users = [
        user
        for user in prepared.users.values()
        if user.is_marked
        and not user.is_excluded
        and user.settings.scheme == "per_user"
        and user.settings.mark == "hue"
    ]
    sizes = {len(user.originals) for user in users}
    if len(users) < 2 or len(sizes) != 1 or min(sizes) < 2:
        raise SettingsError(
            "config.analyses: shadow_models needs at least two marked users with one hue each "
            f"and equally many photos (two or more), got {len(users)} of sizes {sorted(sizes)}"
        )
    return users


def radioactive_data(
    prepared: Prepared, trained_run: TrainedRun, settings: TrainSettings, journal: Journal
) -> dict[str, Any]:
    """Compare with radioactive data, the baseline of Table 1 (Sablayrolles et al. 2020).

    A marking network is trained on clean photos, 1 % of the learner's photos are marked with
    it, and the learner's network is trained again with these and the same settings. The marked
    photos carry no other mark. "Before" is the trained model of the case, which never saw a
    radioactive photo.

    Returns:
      `cosine`: mean over classes after training; `cosine_before`; and the whole test of both,
      with its exact p.

    Raises:
      SettingsError: there are too few clean photos to train the marking network on.
    """
    model, learner, clean = trained_run.trained.model, prepared.learner, prepared.clean
    if len(clean) < settings.batch_size:
        raise SettingsError(
            "config.analyses: radioactive_data needs at least one batch of clean photos "
            f"({settings.batch_size}), there are {len(clean)}"
        )
    journal.say(f"training the marking network on {len(clean):,} clean photos …")
    log = TrainingLog(journal, "marking network: ")
    seed = settings.seed + _MARKING_SEED
    marking = _train_again(dataclasses.replace(settings, seed=seed), model, clean, log)
    rows = _rows_without_owner(prepared)[: max(1, round(_MARKED_SHARE * len(learner)))]
    photos = learner.take(rows)
    journal.say(f"marking {len(photos)} photos, and training on them …")
    width = len(radioactive_networks.class_weights(model, marking.variables))
    carriers = radioactive.draw_carriers(settings.seed, learner.num_classes, width)
    images = learner.images.copy()
    images[rows] = radioactive_networks.mark_images(
        jax.random.fold_in(jax.random.key(settings.seed), _MARK_STREAM),
        radioactive_networks.features_fn(model, marking.variables),
        photos.images,
        photos.labels,
        carriers,
    )
    published = data.Dataset(images, learner.labels, learner.class_names, learner.name)
    log = TrainingLog(journal, "trained on radioactive photos: ")
    after = _train_again(settings, model, published, log)
    found = radioactive_networks.trace(
        carriers,
        (model, marking.variables),
        {"before": (model, trained_run.trained.variables), "after": (model, after.variables)},
        prepared.unseen.images,
    )
    cosines = {name: numbers["cosine_mean"] for name, numbers in found.items()}
    journal.say(f"radioactive data: mean cosine {cosines['after']:.3f} after training")
    return {
        "cosine": cosines["after"],
        "cosine_before": cosines["before"],
        "num_marked": len(photos),
        **found,
    }


def _rows_without_owner(prepared: Prepared) -> np.ndarray:
    """Rows of the learner's photos that belong to no user."""
    owned = {
        image.tobytes()
        for user in prepared.all_users
        for image in (*user.originals.images, *user.published())
    }
    is_free = [image.tobytes() not in owned for image in prepared.learner.images]
    return np.flatnonzero(is_free)


def _train_again(
    settings: TrainSettings, model: Model, photos: data.Dataset, log: TrainingLog
) -> TrainedModel:
    plan = data.BatchPlan(len(photos), settings.batch_size, settings.seed)
    result = train.train(
        model,
        settings,
        photos.images,
        photos.labels,
        plan.rows,
        on_start=log.on_start,
        on_segment=log.on_segment,
    )
    return TrainedModel.of(model, result.state.variables)


AnalyseFn = Callable[[Prepared, TrainedRun, TrainSettings, Journal], dict[str, Any]]

ANALYSES: Mapping[str, AnalyseFn] = {
    "gradient_search": gradient_search,
    "membership_inference": membership_inference,
    "shadow_models": shadow_models,
    "radioactive_data": radioactive_data,
}
