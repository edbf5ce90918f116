"""Membership inference with shadow models of the users' own photos (Fig. 5b)."""

import dataclasses
from typing import Any

import numpy as np

from anw_jax import data
from anw_jax.baselines import shadow_mia
from anw_jax.baselines.answers import answers
from anw_jax.errors import SettingsError
from anw_jax.lab.case import Case
from anw_jax.lab.journal import Journal
from anw_jax.lab.learner import Suspect
from anw_jax.lab.owner import User
from anw_jax.lab.settings import Settings

_SHADOW_STREAM = 1000


def analyse(
    settings: Settings, case: Case, suspect: Suspect, journal: Journal
) -> dict[str, Any]:
    """Each user with one hue trains the learner's network on the own photos alone.

    As in section 5.5, where there are 10 users: the shadow's mean training loss is the
    threshold of MIA-std. Members are the user's photos as published, held-out ones as many
    photos that were not trained on.

    Raises:
      SettingsError: the settings have no two marked users of one size with one hue each.
    """
    users = _users(settings, case)
    photos = [(user.published(), user.originals.labels) for user in users]
    images = np.concatenate([published for published, _ in photos])
    labels = np.concatenate([own for _, own in photos])
    num_each = len(photos[0][1])
    rows = np.arange(len(labels)).reshape(len(users), num_each)
    batch_size = max(1, min(settings.train.batch_size, num_each // 2))
    shadows = shadow_mia.train_shadows(
        suspect.trained.model,
        dataclasses.replace(settings.train, batch_size=batch_size),
        images,
        labels,
        rows,
        seeds=[settings.seed + _SHADOW_STREAM + number for number in range(len(users))],
        on_model=lambda index, loss, _: journal.say(
            f"shadow model of {users[index].name}: mean training loss {loss:.3f}"
        ),
    )
    heldout = _others(case, rows.size)
    members, _ = answers(suspect.predict, images, labels)
    others, _ = answers(suspect.predict, heldout.images, heldout.labels)
    return shadow_mia.compare(
        shadows.losses, members.reshape(rows.shape), others.reshape(rows.shape)
    )


def _users(settings: Settings, case: Case) -> list[User]:
    users = [
        user
        for name, user in case.users.items()
        if user.settings.kind == "marked"
        and user.settings.scheme == "per_user"
        and user.settings.mark == "hue"
        and name not in settings.exclude
    ]
    sizes = {len(user.originals) for user in users}
    if len(users) < 2 or len(sizes) != 1 or min(sizes) < 2:
        raise SettingsError(
            "config.analyses: shadow_models needs at least two marked users with one hue each "
            f"and equally many photos (two or more), got {len(users)} of sizes {sorted(sizes)}"
        )
    return users


def _others(case: Case, num: int) -> data.Dataset:
    """Photos that were not trained on, as many as asked for."""
    if len(case.unseen) < num:
        raise SettingsError(
            f"config.analyses: shadow_models needs {num} photos that nobody trained on, there "
            f"are {len(case.unseen)}"
        )
    return case.unseen.take(np.arange(num))
