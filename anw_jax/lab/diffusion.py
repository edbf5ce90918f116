"""A run with diffusion models: bases, their twins, suspects, and calibrated p-values.

Bases are kept beside the workdir, in `bases/`, by the digest of their settings: every seed
needs two (its own, and as the other reference that of the next seed), and runs share them.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from anw_jax import data, train, verify
from anw_jax.errors import SettingsError
from anw_jax.lab import diffusion_proof, owners
from anw_jax.lab.diffusion_proof import BASES, twin_name
from anw_jax.lab.diffusion_settings import DiffusionSettings, TuningSettings
from anw_jax.lab.journal import Journal, StoppedError, TrainingLog, stop_on_interrupt
from anw_jax.lab.owners import User
from anw_jax.lab.query import TABLES, QueryBatch, query
from anw_jax.lab.training import TrainingRecord, callbacks_of
from anw_jax.lab.workdir import Workdir, plain
from anw_jax.models import Diffusion

# All bases are cut from one order of the training photos, so that consecutive seeds share none.
_BASE_ORDER_SEED = 0
_BASE_ORDER_STREAM = 0xBA5E


@dataclasses.dataclass(frozen=True, eq=False)
class Photos:
    """Who has which photos; those of owners, held-out owners and others are in no base.

    Attributes:
      owners: with keys and marks, by name.
      held_out: the held-out owners beside each owner, by the owner's name.
      others: uint8 `[n, H, W, 3]`, of nobody.
      of_twins: what each twin is fine-tuned on: all owned photos, unmarked, and some of nobody.
      splits: the source.
    """

    owners: dict[str, User]
    held_out: dict[str, tuple[User, ...]]
    others: np.ndarray
    of_twins: tuple[np.ndarray, ...]
    splits: data.Splits


@dataclasses.dataclass(frozen=True, eq=False)
class _Run:
    """What all stages of one run share.

    Attributes:
      settings: of the experiment.
      photos: of all owners.
      workdir: of the run.
      journal: for progress.
      should_stop: whether Ctrl-C was pressed.
    """

    settings: DiffusionSettings
    photos: Photos
    workdir: Workdir
    journal: Journal
    should_stop: Callable[[], bool]


def measure(settings: DiffusionSettings, folder: Workdir, journal: Journal) -> dict[str, Any]:
    """Make and test the fine-tuned models, resuming from the last completed step.

    Raises:
      StoppedError: Ctrl-C was pressed.
    """
    with journal.stage("mark"):
        photos = prepare(settings, folder)
        visibility = {name: _visibility(user) for name, user in photos.owners.items()}
        for name, seen in visibility.items():
            journal.say(f"{name}: median CIEDE2000 {seen['ciede2000_median']:.2f}")
    with stop_on_interrupt(journal) as stop:
        run = _Run(settings, photos, folder, journal, stop)
        with journal.stage("train"):
            bases = {name: _base(run, settings.seed + i) for i, name in enumerate(BASES)}
            references = dict(bases)
            for name, params in bases.items():
                references |= _twins(run, name, params)
        _measure_arms(run, references)
    arms = {
        name: folder.read_json(_arm_file(name))["numbers"]
        for name in settings.tunings
        if folder.exists(_arm_file(name))
    }
    for line in diffusion_proof.table_lines(settings.sizes, arms):
        journal.say(line)
    return {"owners": visibility, "arms": arms}


def prepare(settings: DiffusionSettings, workdir: Workdir) -> Photos:
    """Load photos, draw or reload keys, and commit before any fine-tuning.

    Raises:
      SettingsError: settings that do not fit the data, or stored commitments that do not match.
    """
    source = os.path.expandvars(settings.data.source)
    splits = data.load(source, image_size=settings.data.image_size)
    num_owned = max(user.num_images for user in settings.owners.values())
    num_others = max(tuning.num_others for tuning in settings.tunings.values())
    sizes = {"owned": num_owned, "others": num_others}
    for number in range(settings.num_held_out):
        sizes[f"held_out-{number:04d}"] = settings.num_held_out_images
    num_twins = settings.twins.num_twins if settings.twins else 0
    for number in range(num_twins):
        sizes[f"twin-{number}"] = settings.twins.num_others
    specs = [data.UserSpec(name, size, "held_out") for name, size in sizes.items() if size]
    try:
        base_rows(settings, settings.seed, splits)
        partition = data.assign_users(splits, specs, settings.seed, num_train=1)
    except ValueError as error:
        raise SettingsError(f"config: {error}") from None
    albums = {spec.name: partition.images_of(splits, spec.name) for spec in specs}
    others = albums.pop("others").images if num_others else albums["owned"].images[:0]
    owned = albums.pop("owned")
    added = [albums.pop(f"twin-{number}", owned.take([])) for number in range(num_twins)]
    of_twins = tuple(np.concatenate([owned.images, each.images]) for each in added)

    def opened(name: str, owner: str, photos: data.Dataset, kind: str) -> User:
        user = dataclasses.replace(settings.owners[owner], num_images=len(photos), kind=kind)
        return owners.open_user(name, user, settings.verify, settings.seed, photos, workdir)

    found = {
        name: opened(name, name, owned.take(np.arange(user.num_images)), "marked")
        for name, user in settings.owners.items()
    }
    held_out = {
        owner: tuple(
            opened(f"{owner}_{name}", owner, photos, "held_out")
            for name, photos in albums.items()
        )
        for owner in {
            tuning.owner for tuning in settings.tunings.values() if tuning.with_held_out
        }
    }
    everyone = [*found.values(), *(user for users in held_out.values() for user in users)]
    owners.check_commitments(everyone, workdir)
    return Photos(found, held_out, others, of_twins, splits)


def base_rows(settings: DiffusionSettings, seed: int, splits: data.Splits) -> np.ndarray:
    """Return the training photos of a base; consecutive seeds have no photo in common.

    Raises:
      ValueError: there are too few for two bases.
    """
    size, available = settings.data.num_train, len(splits.train)
    if 2 * size > available:
        raise ValueError(
            f"data.num_train must be at most half of the {available} training photos, since "
            f"there are two bases, got {size}"
        )
    order = data.permutation(_BASE_ORDER_SEED, _BASE_ORDER_STREAM, available)
    start = seed % (available // size) * size
    return order[start : start + size]


def base_images(settings: DiffusionSettings, seed: int, splits: data.Splits) -> np.ndarray:
    """Read the training photos of a base, uint8 `[n, H, W, 3]`; raises as `base_rows`."""
    rows = np.sort(base_rows(settings, seed, splits))
    return splits.train.take(rows).in_memory().images


def _base(run: _Run, seed: int) -> dict[str, Any]:
    """Train a base, resume it, or load it; return its parameters."""
    settings = run.settings
    images = base_images(settings, seed, run.photos.splits)
    with base_folder(run.workdir, settings.base_dict() | {"seed": seed}) as folder:
        params = settings.model.init(jax.random.key(seed), images.shape[1:])["params"]
        how, what = settings.base, f"base {seed}: "
        return fitted(
            settings.model,
            params,
            images,
            how,
            seed,
            folder,
            run.journal,
            run.should_stop,
            what,
        )


def _twins(run: _Run, base: str, params: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Fine-tune the twins of a base; return their parameters by role."""
    found = {}
    for number, images in enumerate(run.photos.of_twins):
        role = twin_name(base, number)
        found[role] = fitted(
            run.settings.model,
            params,
            images,
            run.settings.twins.train,
            # Never the seed of a suspect: its order of photos and noises would be shared.
            run.settings.seed + 1 + number,
            Workdir(run.workdir.path / "twins" / role),
            run.journal,
            run.should_stop,
            f"{role}: ",
        )
    return found


@contextlib.contextmanager
def base_folder(workdir: Workdir, made_from: dict[str, Any]) -> Iterator[Workdir]:
    """Open and lock the folder of a base, which runs share, by what it is made from."""
    made_from = plain(made_from)
    text = json.dumps(made_from, sort_keys=True).encode()
    digest = hashlib.sha256(text).hexdigest()[:16]
    folder = Workdir(workdir.path.parent / "bases" / digest)
    with folder.lock():
        folder.write_json("settings.json", made_from)
        yield folder


def fitted(
    model: Diffusion,
    params: dict[str, Any],
    images: np.ndarray,
    how: train.DenoisingSettings,
    seed: int,
    folder: Workdir,
    journal: Journal,
    should_stop: Callable[[], bool],
    what: str,
) -> dict[str, Any]:
    """Train with checkpoints in a folder, which may hold the finished model already.

    Raises:
      StoppedError: Ctrl-C was pressed.
    """
    record = TrainingRecord(folder)
    result = train.train_diffusion(
        model,
        params,
        images,
        how,
        seed=seed,
        checkpoint_dir=folder.path / "checkpoints",
        **callbacks_of(TrainingLog(journal, what), record),
        should_stop=should_stop,
    )
    record.end(is_completed=result.completed)
    if not result.completed or should_stop():
        raise StoppedError
    return result.state.params


def _arm_file(name: str) -> str:
    return f"arms/{name}.json"


def _measure_arms(run: _Run, references: dict[str, Any]) -> None:
    """Fine-tune, query and test each chosen arm whose numbers are not stored."""
    chosen = run.settings.chosen
    for number, (name, tuning) in enumerate(chosen.items(), start=1):
        what = f"{name} ({number} of {len(chosen)}): "
        numbers = run.workdir.once(
            _arm_file(name),
            dataclasses.asdict(tuning),
            functools.partial(_measure_arm, run, references, name, tuning, what),
        )
        with run.journal.stage("proof"):
            run.journal.say(diffusion_proof.arm_line(name, numbers), arm=name)


def _measure_arm(
    run: _Run, references: dict[str, Any], name: str, tuning: TuningSettings, what: str
) -> dict[str, Any]:
    settings, photos = run.settings, run.photos
    owner = photos.owners[tuning.owner]
    with run.journal.stage("train"):
        owned = owner.published() if tuning.is_marked else owner.originals.images
        images = np.concatenate([owned[: tuning.num_owned], photos.others[: tuning.num_others]])
        folder = Workdir(run.workdir.path / "arms" / name)
        tuned = fitted(
            settings.model,
            references["base"],
            images,
            tuning.train,
            settings.seed,
            folder,
            run.journal,
            run.should_stop,
            what,
        )
    with run.journal.stage("verify"):
        models = {"suspect": (tuned, f"{TABLES}/arms/{name}")}
        models |= {role: (params, f"{TABLES}/{role}") for role, params in references.items()}
        tables = _tables(run, tuning, models)
    with run.journal.stage("proof"):
        held_out = photos.held_out.get(tuning.owner, ())
        return diffusion_proof.prove_arm(settings, tuning, owner, held_out, tables)


def _tables(
    run: _Run, tuning: TuningSettings, models: dict[str, tuple[dict[str, Any], str]]
) -> dict[str, dict[str, np.ndarray]]:
    """Query suspect and references about the same candidates with the same noises; seal.

    Tables of the references are shared by all arms of an owner.

    Args:
      run: with settings and photos.
      tuning: of the arm.
      models: parameters, and the folder of the tables, by the model's role.

    Returns:
      By batch ("owner", "held_out"), then by role: float32 `[n, num_slots]`.
    """
    settings, photos, noise = run.settings, run.photos, run.settings.noise
    owner = photos.owners[tuning.owner]
    steps = np.linspace(noise.first_step, noise.last_step, noise.num_noises).round().astype(int)
    loss = verify.denoising_error(
        settings.model.signal_shares,
        steps,
        owner.originals.images.shape[1:],
        seed=settings.seed,
    )
    query_as = {"loss": loss, "has_labels": False}
    batches = {"owner": QueryBatch.of(owner.name, (owner,), **query_as)}
    if tuning.with_held_out and settings.num_held_out:
        users = photos.held_out[owner.name]
        batches["held_out"] = QueryBatch.of(f"{owner.name}_held_out", users, **query_as)
    found: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in batches}
    for role, (params, folder) in models.items():
        predict = settings.model.predict_fn({"params": params})
        tables = query(
            list(batches.values()),
            settings.verify.space,
            predict,
            run.workdir,
            run.journal,
            folder,
        )
        for kind, batch in batches.items():
            found[kind][role] = tables[batch.name]
    return found


def _visibility(user: User) -> dict[str, Any]:
    """Describe an owner's mark, and how visible it is on the photos."""
    try:
        published = user.published()
    except ValueError as error:
        raise SettingsError(f"config.owners.{user.name}: {error}") from None
    differences = data.colour_differences(user.originals.images, published)
    per_photo = differences.reshape(len(differences), -1)
    return {
        "mark": user.settings.mark,
        "strength": user.settings.strength,
        "num_photos": len(differences),
        "ciede2000_median": float(np.median(np.median(per_photo, axis=1))),
        "ciede2000_p95": float(np.median(np.percentile(per_photo, 95, axis=1))),
        "commitment": user.commitment,
    }
