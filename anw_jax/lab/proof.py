"""Stage "proof": open the keys, make the one declared test, run the controls."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from anw_jax import stats, train, verify
from anw_jax.keys import Assignment, MarkKey
from anw_jax.lab.asking import TABLES, files_of, wrong_name
from anw_jax.lab.case import Case
from anw_jax.lab.crowd import crowd_numbers
from anw_jax.lab.journal import Journal
from anw_jax.lab.learner import Suspect
from anw_jax.lab.owner import User
from anw_jax.lab.settings import Settings
from anw_jax.lab.workdir import Workdir

ANOTHER_TEST = "not evidence: another test with a key that was opened before"


def prove(
    settings: Settings,
    case: Case,
    suspect: Suspect,
    tables: dict[str, np.ndarray],
    workdir: Workdir,
    journal: Journal,
) -> dict[str, Any]:
    """Opens each key, makes the declared test, and runs the controls.

    Returns:
      "users" and "crowds", each by name.
    """
    users = {}
    for name, user in case.users.items():
        sealed = workdir.read_json(files_of(name)[1])["tested_table"]
        users[name] = prove_user(settings, user, tables[name], sealed)
        users[name] |= _controls(settings, user, tables[name])
        users[name]["accuracy"] = _accuracy(suspect, user)
        workdir.write_arrays(f"nulls/{name}.npz", **_null(settings, user, tables[name]))
        journal.say(f"{name:<18} {_headline(users[name])}", user=name)
    for name, numbers in users.items():
        if numbers["outcome"] == "shown":
            journal.say(f"{name}: {numbers['sentence']} Standing: {_standing(numbers)}.")
    return {"users": users, "crowds": _prove_crowds(settings, case, tables, journal)}


def prove_changed(
    settings: Settings, case: Case, name: str, tables: dict[str, np.ndarray], workdir: Workdir
) -> dict[str, Any]:
    """The declared test on the tables of a changed model: another test with the same key.

    It is made after the key was opened, and the plan names one test: it is never evidence.
    """
    users = {}
    for user_name, user in case.users.items():
        sealed = workdir.read_json(files_of(user_name, f"{TABLES}/{name}")[1])["tested_table"]
        users[user_name] = prove_user(settings, user, tables[user_name], sealed)
        if settings.verify.key_origin != "experiment":
            users[user_name]["standing"] = ANOTHER_TEST
    return {"users": users, "crowds": _prove_crowds(settings, case, tables, None)}


def _prove_crowds(
    settings: Settings, case: Case, tables: dict[str, np.ndarray], journal: Journal | None
) -> dict[str, Any]:
    crowds = {}
    for name, members in case.crowds.items():
        wrong_table = tables.get(wrong_name(name))
        crowds[name] = crowd_numbers(settings, name, members, tables[name], wrong_table)
        if journal is not None:
            shares = f"{crowds[name]['match_rate']:.0%} of {len(members)} users matched"
            journal.say(f"{name:<18} {shares}", crowd=name)
    return crowds


def _headline(numbers: dict[str, Any]) -> str:
    shared = numbers["one_signature"]
    hue = f"   inferred hue {shared['inferred_degrees']:.0f} degrees" if shared else ""
    return (
        f"{numbers['outcome']:<13} p = {numbers['p_text']:<9} "
        f"hits {numbers['num_hits']} of {numbers['num_units']}{hue}"
    )


def prove_user(
    settings: Settings, user: User, fine_table: np.ndarray, sealed_digest: str
) -> dict[str, Any]:
    """All numbers of one user; plain values for `results.json`."""
    refinement = settings.verify.grid_refinement
    table = fine_table[:, ::refinement]
    verdict = verify.decide(
        table,
        user.mark_key,
        user.manifest,
        user.plan,
        commitment=user.commitment,
        sealed_digest=sealed_digest,
        beacon=user.beacon,
    )
    assignment = user.assignment
    result = dataclasses.asdict(verdict.result)
    return {
        **result,
        "p_text": stats.format_p(verdict.result.log10_p),
        "bits": verdict.result.bits,
        "kind": user.settings.kind,
        "mark_kind": user.settings.mark,
        "scheme": user.settings.scheme,
        "excluded": user.name in settings.exclude,
        "num_images": len(user.originals),
        "standing": verdict.standing,
        "sentence": verdict.sentence,
        "num_hits": verdict.num_hits,
        "diagnostics": verdict.diagnostics,
        "commitment": user.commitment,
        "table_digest": verdict.table_digest,
        "mark": user.plan.mark,
        "inferred_slots": verdict.inferred_slots,
        "true_slots": verdict.true_slots,
        "losses": _mean_losses(table, assignment),
        "curve": _aligned_curve(fine_table, assignment, refinement),
        "one_signature": _one_signature(settings, user, fine_table, assignment),
    }


def _controls(settings: Settings, user: User, fine_table: np.ndarray) -> dict[str, Any]:
    table = fine_table[:, :: settings.verify.grid_refinement]
    return {"wrong_keys": wrong_keys(settings, user, table)}


def _standing(numbers: dict[str, Any]) -> str:
    standing = numbers["standing"]
    from_seed = standing == verify.verdict.EXPERIMENT_KEY
    return f"{standing} (beacon drawn from the seed)" if from_seed else standing


def _accuracy(suspect: Suspect, user: User) -> dict[str, float]:
    """How often the model is right about a user's photos, as published and as they were."""
    photos = {"published": user.published(), "original": user.originals.images}
    return {
        name: train.evaluate(suspect.predict, images, user.originals.labels)[1]
        for name, images in photos.items()
    }


def _null(settings: Settings, user: User, fine_table: np.ndarray) -> dict[str, np.ndarray]:
    """The null distribution of the declared statistic, binned, in null standard deviations."""
    table = fine_table[:, :: settings.verify.grid_refinement]
    scores = stats.score_units(table, user.assignment, settings.verify.statistic)
    null = stats.ExactNull(stats.quantise(scores))
    if not null.std > 0:
        return {"z": np.zeros(1), "probability": np.ones(1)}
    z = (np.arange(len(null.pmf)) - null.mean) / null.std
    edges = np.linspace(z[0], z[-1], min(len(z), 400) + 1)
    probability, _ = np.histogram(z, edges, weights=null.pmf)
    return {"z": (edges[:-1] + edges[1:]) / 2, "probability": probability}


def _mean_losses(table: np.ndarray, assignment: Assignment) -> dict[str, float]:
    """Mean loss at the secret slot, at the other valid slots, and unmarked, in nats."""
    rows = np.arange(len(table))
    at_secret = np.zeros(table.shape, bool)
    at_secret[rows, assignment.slots] = True
    others = ~at_secret
    others[:, 0] = False
    return {
        "secret": float(table[at_secret].mean()),
        "other_valid": float(table[others].mean()),
        "unmarked": float(table[:, 0].mean()),
    }


def _aligned_curve(
    fine_table: np.ndarray, assignment: Assignment, refinement: int
) -> dict[str, np.ndarray]:
    """Mean loss against the distance from each image's secret hue (Fig. 2 of the paper)."""
    num = fine_table.shape[1]
    offsets = (np.arange(num) - num // 2) * (360.0 / num)
    columns = assignment.slots[:, None] * refinement + np.arange(num) - num // 2
    aligned = np.take_along_axis(fine_table, columns % num, axis=1)
    spread = aligned.std(axis=0) / np.sqrt(len(aligned))
    return {"offset_degrees": offsets, "mean": aligned.mean(axis=0), "standard_error": spread}


def _one_signature(
    settings: Settings, user: User, fine_table: np.ndarray, assignment: Assignment
) -> dict[str, Any] | None:
    """Eq. 6 where one signature (or "unmarked") is shared by all photos of the user."""
    unmarked = user.settings.kind != "marked" or user.name in settings.exclude
    if user.settings.scheme != "per_user" and not unmarked:
        return None
    fine = verify.grid_search(fine_table, settings.verify.grid)
    slots = verify.grid_search(
        fine_table[:, :: settings.verify.grid_refinement], settings.verify.space
    )
    true_degrees = 0.0 if unmarked else float(assignment.degrees[0])
    return {
        "true_degrees": true_degrees,
        "inferred_degrees": slots.inferred_degrees,
        "inferred_degrees_fine": fine.inferred_degrees,
        "match": slots.matches(true_degrees, settings.verify.space),
        "margin": slots.margin,
        "curve": fine.curve,
    }


def wrong_keys(settings: Settings, user: User, table: np.ndarray) -> dict[str, Any]:
    """Tests the same table under fresh keys: a control, whatever the user's kind."""
    p_values = stats.fresh_p_values(
        table, _fresh_assignments(settings, user), settings.verify.statistic
    )
    within, excess = stats.super_uniformity(p_values)
    shares = {f"{t:g}": float((p_values <= t).mean()) for t in (0.1, 0.05, 0.01, 0.001)}
    return {
        "num_keys": len(p_values),
        "super_uniform": within,
        "excess": excess,
        "share_at_most": shares,
        "smallest_p": float(p_values.min()),
    }


def _fresh_assignments(settings: Settings, user: User) -> Iterator[Assignment]:
    for number in range(settings.verify.num_fresh_keys):
        wrong = MarkKey.for_experiment(settings.seed, f"wrong key {number} of {user.name}")
        yield user.assignment_of(wrong)
