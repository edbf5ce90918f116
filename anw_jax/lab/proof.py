"""Stage "proof": derive the slots from the keys, run the declared test and the controls."""

import math
from typing import Any

import numpy as np

from anw_jax import stats, train, verify
from anw_jax.audit.judge import judge_table
from anw_jax.keys import Assignment, MarkKey, SignatureSpace
from anw_jax.lab.journal import Journal
from anw_jax.lab.owners import Prepared, User
from anw_jax.lab.query import TABLES, at_slots, sealed_digest, wrong_name
from anw_jax.lab.training import TrainedRun
from anw_jax.lab.workdir import Workdir

ANOTHER_TEST = "not evidence: another test with a key that was opened before"

# Of a verdict: a run makes no statements, and its results have another name for the table.
_NOT_IN_RESULTS = ("log_e_value", "factor", "conditions", "table")


def prove(
    prepared: Prepared,
    trained_run: TrainedRun,
    tables: dict[str, np.ndarray],
    workdir: Workdir,
    journal: Journal,
    *,
    num_fresh_keys: int,
    seed: int,
) -> dict[str, Any]:
    """Open each key, make the declared test, and run the controls.

    Args:
      prepared: users with their keys.
      trained_run: the model that filled the tables.
      tables: float32 `[n, num_slots * refinement]`, sealed, by user or group.
      workdir: of the run.
      journal: for one line per user.
      num_fresh_keys: number of wrong keys for the control.
      seed: of these keys.

    Returns:
      "users" and "crowds" (user groups), each by name.
    """
    users = {}
    for name, user in prepared.users.items():
        table = at_slots(tables[name], user.manifest.space)
        users[name] = prove_user(user, tables[name], sealed_digest(workdir, name))
        users[name]["wrong_keys"] = wrong_keys(user, table, num_fresh_keys, seed)
        users[name]["accuracy"] = _accuracy(trained_run, user)
        shape = stats.null_shape(table, user.manifest.units, user.plan.statistic)
        workdir.write_arrays(f"nulls/{name}.npz", **shape)
        journal.say(f"{name:<18} {_headline(users[name])}", user=name)
    for name, numbers in users.items():
        if numbers["outcome"] == "shown":
            journal.say(f"{name}: {numbers['sentence']} {_conditions(numbers['standing'])}")
    groups = _prove_groups(prepared, tables)
    for name, members in prepared.groups.items():
        share = f"{groups[name]['match_rate']:.0%} of {len(members)} users matched"
        journal.say(f"{name:<18} {share}", crowd=name)
    return {"users": users, "crowds": groups}


def prove_changed(
    prepared: Prepared, name: str, tables: dict[str, np.ndarray], workdir: Workdir
) -> dict[str, Any]:
    """Make the declared test on the tables of a changed model, again with the same keys.

    The keys were opened before, and the plan names one test: it is never evidence.
    """
    users = {}
    for user_name, user in prepared.users.items():
        sealed = sealed_digest(workdir, user_name, f"{TABLES}/{name}")
        users[user_name] = prove_user(user, tables[user_name], sealed)
        if user.mark_key.origin != "experiment":
            users[user_name]["standing"] = ANOTHER_TEST
    return {"users": users, "crowds": _prove_groups(prepared, tables)}


def _headline(numbers: dict[str, Any]) -> str:
    shared = numbers["one_signature"]
    hue = f"   inferred hue {shared['inferred_degrees']:.0f} degrees" if shared else ""
    return (
        f"{numbers['outcome']:<13} p = {numbers['p_text']:<9} "
        f"hits {numbers['num_hits']} of {numbers['num_units']}{hue}"
    )


def _conditions(standing: str) -> str:
    seeded = " (beacon derived from the seed)" * (standing == verify.verdict.EXPERIMENT_KEY)
    return f"Conditions: {standing}{seeded}."


def prove_user(user: User, fine_table: np.ndarray, sealed_digest: str) -> dict[str, Any]:
    """Test one user's table; return plain values for `results.json`."""
    table = at_slots(fine_table, user.manifest.space)
    verdict = judge_table(
        table, user.mark_key, user, sealed_digest=sealed_digest, beacon=user.beacon
    )
    return {
        **{name: value for name, value in verdict.items() if name not in _NOT_IN_RESULTS},
        "table_digest": verdict["table"],
        "bits": abs(verdict["log10_p"]) * math.log2(10.0),
        "kind": user.settings.kind,
        "mark_kind": user.settings.mark,
        "scheme": user.settings.scheme,
        "excluded": user.is_excluded,
        "num_images": len(user.originals),
        "commitment": user.commitment,
        "mark": user.plan.mark,
        "losses": _mean_losses(table, user.assignment),
        "curve": _aligned_curve(user, fine_table),
        "one_signature": _one_signature(user, fine_table),
    }


def _mean_losses(table: np.ndarray, assignment: Assignment) -> dict[str, float]:
    """Mean loss at the secret slot, at the other valid slots, and unmarked, in nats."""
    is_secret = np.zeros(table.shape, bool)
    is_secret[np.arange(len(table)), assignment.slots] = True
    others = ~is_secret
    others[:, 0] = False
    return {
        "secret": float(table[is_secret].mean()),
        "other_valid": float(table[others].mean()),
        "unmarked": float(table[:, 0].mean()),
    }


def _aligned_curve(user: User, fine_table: np.ndarray) -> dict[str, np.ndarray]:
    """Mean loss against the distance from each image's secret hue (Fig. 2 of the paper)."""
    num = fine_table.shape[1]
    refinement = num // user.manifest.space.num_slots
    offsets = np.arange(num) - num // 2
    columns = user.assignment.slots[:, None] * refinement + offsets
    aligned = np.take_along_axis(fine_table, columns % num, axis=1)
    return {
        "offset_degrees": offsets * (360.0 / num),
        "mean": aligned.mean(axis=0),
        "standard_error": aligned.std(axis=0) / np.sqrt(len(aligned)),
    }


def _one_signature(user: User, fine_table: np.ndarray) -> dict[str, Any] | None:
    """Eq. 6 for users whose photos share one signature (or none)."""
    true_degrees, space = user.true_degrees, user.manifest.space
    if true_degrees is None:
        return None
    fine = verify.grid_search(fine_table, SignatureSpace(fine_table.shape[1]))
    slots = verify.grid_search(at_slots(fine_table, space), space)
    return {
        "true_degrees": true_degrees,
        "inferred_degrees": slots.inferred_degrees,
        "inferred_degrees_fine": fine.inferred_degrees,
        "match": slots.matches(true_degrees, space),
        "margin": slots.margin,
        "curve": fine.curve,
    }


def wrong_keys(user: User, table: np.ndarray, num_fresh_keys: int, seed: int) -> dict[str, Any]:
    """Test the same table under fresh keys: a control, for users of any kind."""
    fresh = (
        user.assignment_of(MarkKey.for_experiment(seed, f"wrong key {number} of {user.name}"))
        for number in range(num_fresh_keys)
    )
    p_values = stats.fresh_p_values(table, fresh, user.plan.statistic)
    within, excess = stats.super_uniformity(p_values)
    shares = {f"{t:g}": float((p_values <= t).mean()) for t in (0.1, 0.05, 0.01, 0.001)}
    return {
        "num_keys": len(p_values),
        "super_uniform": within,
        "excess": excess,
        "share_at_most": shares,
        "smallest_p": float(p_values.min()),
    }


def _accuracy(trained_run: TrainedRun, user: User) -> dict[str, float]:
    """The model's accuracy on a user's photos, as published and unmarked, in [0, 1]."""
    photos = {"published": user.published(), "original": user.originals.images}
    return {
        name: train.evaluate(trained_run.predict, images, user.originals.labels)[1]
        for name, images in photos.items()
    }


def _prove_groups(prepared: Prepared, tables: dict[str, np.ndarray]) -> dict[str, Any]:
    return {
        name: group_numbers(members, tables[name], tables.get(wrong_name(name)))
        for name, members in prepared.groups.items()
    }


def group_numbers(
    members: tuple[User, ...], fine_table: np.ndarray, wrong_table: np.ndarray | None
) -> dict[str, Any]:
    """Infer each signature of a user group from one table (section 5.4 of the paper).

    Args:
      members: the users, in the order of the table's rows.
      fine_table: float `[n, num_slots * refinement]`, losses in nats, user after user.
      wrong_table: the same under wrong bases, or None.

    Returns:
      Plain values. "match_rate" is the share of users whose inferred slot is their own: within
      τ of the drawn signature, or "unmarked" for those who published no mark or were excluded.
      The degrees are those of the slots, as in the paper.
    """
    true_degrees = np.array([user.true_degrees for user in members])
    space = members[0].manifest.space
    user_of_image = np.repeat(
        np.arange(len(members)), [len(user.originals) for user in members]
    )

    def inferred_from(table: np.ndarray) -> verify.GridSearchResult:
        return verify.grid_search(at_slots(table, space), space, user_of_image)

    inferred = inferred_from(fine_table)
    numbers = {
        "num_users": len(members),
        "num_images_each": len(members[0].originals),
        "kind": members[0].settings.kind,
        "mark_kind": members[0].settings.mark,
        "true_degrees": true_degrees,
        "inferred_degrees": inferred.inferred_degrees,
        "margins": inferred.margin,
        "match_rate": float(inferred.matches(true_degrees, space).mean()),
        "wrong_basis_match_rate": None,
    }
    if fine_table.shape[1] > space.num_slots:
        grid = SignatureSpace(fine_table.shape[1])
        fine = verify.grid_search(fine_table, grid, user_of_image)
        numbers["inferred_degrees_fine"] = fine.inferred_degrees
    if wrong_table is not None:
        matches = inferred_from(wrong_table).matches(true_degrees, space)
        numbers["wrong_basis_match_rate"] = float(matches.mean())
    return numbers
