"""Small workdirs with the files of a run, made without a run."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable

import numpy as np
import pytest

from anw_jax import keys, stats, verify
from anw_jax.keys import Manifest, MarkKey, Plan, SignatureSpace
from anw_jax.marks import HueRotation, publish

SPACE = SignatureSpace()
REFINEMENT = 3


@dataclasses.dataclass
class FakeUser:
    """A user of a workdir; the secret hue lowers its loss by `strength` nats."""

    name: str = "keyed"
    kind: str = "marked"
    scheme: str = "per_image"
    num_images: int = 6
    groups: list[int] | None = None
    strength: float = 3.0
    excluded: bool = False
    file_names: list[str] | None = None
    changes: dict = dataclasses.field(default_factory=dict)


def write_workdir(folder: pathlib.Path, users: list[FakeUser], seed: int = 0) -> pathlib.Path:
    """Write the files of `anw_jax.lab.run`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    results, examples, commitments = {}, {}, {}
    for user in users:
        results[user.name], pictures, commitments[user.name] = _write_user(folder, user, rng)
        examples[f"{user.name}/original"], examples[f"{user.name}/published"] = pictures
    np.savez(folder / "examples.npz", **examples)
    origin = _provenance(seed)
    _write(folder / "provenance.json", origin)
    time = "2026-11-21T04:01:34+00:00"
    _write(folder / "commitments.json", {"time_utc": time, "commitments": commitments})
    events = [{"time_utc": time, "stage": s} for s in ("mark", "train", "verify", "proof")]
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, events)) + '\n{"cut sh')
    _write(folder / "results.json", _results(results, origin, seed))
    return folder


def _write_user(folder, user, rng):
    originals = rng.integers(0, 256, (user.num_images, 8, 8, 3), dtype=np.uint8)
    manifest = Manifest.of(originals, SPACE, user.scheme, user.groups, user.file_names)
    key = MarkKey.for_experiment(0, user.name)
    plan = Plan(stats.DEFAULT_STATISTIC, 1e-4, "hue_rotation")
    commitment = keys.commit(key, manifest, plan)
    assignment = keys.assign(key, manifest, plan)
    table = rng.uniform(1.0, 4.0, (user.num_images, SPACE.num_slots * REFINEMENT))
    if user.kind == "marked" and not user.excluded:
        table[np.arange(user.num_images), assignment.slots * REFINEMENT] -= user.strength
    table = table.astype(np.float32)
    verdict = verify.decide(
        np.ascontiguousarray(table[:, ::REFINEMENT]), key, manifest, plan, commitment=commitment
    )
    seal = {"table": verify.seal(table), "model": "0" * 64}
    _write(folder / "tables" / f"{user.name}.seal.json", seal)
    _save(folder / "tables" / f"{user.name}.npz", losses=table)
    z = np.linspace(-8, 8, 161)
    bell = np.exp(-(z**2) / 2)
    _save(folder / "nulls" / f"{user.name}.npz", z=z, probability=bell / bell.sum())
    if "/" not in user.name:
        (folder / "manifests").mkdir(exist_ok=True)
        manifest.save(folder / "manifests" / f"{user.name}.json")
    numbers = _numbers(user, verdict, assignment, table, commitment) | user.changes
    return (
        numbers,
        (originals, publish(HueRotation(), originals, assignment.degrees)),
        commitment,
    )


def _numbers(user, verdict, assignment, table, commitment):
    unmarked = user.kind != "marked" or user.excluded
    shared = None
    if unmarked or user.scheme == "per_user":
        best = float(table.mean(axis=0).argmin() * 10)
        shared = {
            "true_degrees": 0.0 if unmarked else float(assignment.degrees[0]),
            "inferred_degrees": best,
            "inferred_degrees_fine": best,
            "match": not unmarked,
            "margin": 0.1,
            "curve": table.mean(axis=0).tolist(),
        }
    shares = {"0.1": 0.1, "0.05": 0.05, "0.01": 0.012, "0.001": 0.0}
    return dataclasses.asdict(verdict.result) | {
        "p_text": stats.format_p(verdict.result.log10_p),
        "bits": verdict.result.bits,
        "kind": user.kind,
        "scheme": user.scheme,
        "excluded": user.excluded,
        "num_images": user.num_images,
        "standing": verdict.standing,
        "sentence": verdict.sentence,
        "num_hits": verdict.num_hits,
        "diagnostics": verdict.diagnostics,
        "commitment": commitment,
        "table_digest": verdict.table_digest,
        "mark": "hue_rotation",
        "inferred_slots": verdict.inferred_slots.tolist(),
        "true_slots": verdict.true_slots.tolist(),
        "losses": {"secret": 0.5, "other_valid": 2.5, "unmarked": None},
        "curve": {
            "offset_degrees": [10.0 * k - 180.0 for k in range(36)],
            "mean": [2.0 - user.strength / 3 * (k == 18) for k in range(36)],
            "standard_error": [0.1] * 36,
        },
        "one_signature": shared,
        "wrong_keys": {
            "num_keys": 1000,
            "super_uniform": True,
            "excess": 0.01,
            "share_at_most": shares,
            "smallest_p": 0.0021,
        },
    }


def _results(users, origin, seed):
    return {
        "name": "example",
        "seed": seed,
        "model": {
            "num_parameters": 5164,
            "num_train": 400,
            "train_loss": 0.1,
            "train_accuracy": 0.97,
            "test_loss": None,
            "test_accuracy": 0.9 + 0.01 * seed,
        },
        "users": users,
        "settings": {
            "data": {"source": "mock:400"},
            "model": {"name": "small"},
            "verify": {
                "statistic": "log_losses",
                "alpha": 1e-4,
                "num_slots": SPACE.num_slots,
                "grid_refinement": REFINEMENT,
            },
            "exclude": [],
        },
        "provenance": origin,
        "stage_seconds": {"train": 100.0 + seed, "verify": 3.0},
    }


def _provenance(seed):
    return {
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "uncommitted_sha256": None,
        "command": f"python run.py --config=experiments/example.py --config.seed={seed} "
        "--workdir somewhere",
        "python": "3.11.7",
        "packages": {"jax": "0.10.2", "flax": None},
        "platform": "Linux",
        "hardware": "a processor, 2 CPU cores",
        "time_utc": "2026-11-21T04:01:33+00:00",
    }


def _save(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def _write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_plain(value), indent=1, allow_nan=False))


def _plain(value):
    """Replace numbers that JSON lacks by null, as the lab does."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@pytest.fixture(scope="session")
def make_workdir(tmp_path_factory) -> Callable[..., pathlib.Path]:
    """Make a workdir from the users' fields; by default one claim and one control."""

    def make(*users: dict, seed: int = 0) -> pathlib.Path:
        fake = [FakeUser(**user) for user in users]
        fake = fake or [FakeUser(), FakeUser("held_out", "held_out")]
        return write_workdir(tmp_path_factory.mktemp("run") / "workdir", fake, seed)

    return make
