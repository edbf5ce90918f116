"""A run that measures what recompression leaves of the evidence in a fine-tuned generator.

Photos are marked at full size, changed as sites change them (`attacks.uploads`), and reduced to
what the learner takes. One training has the photos of all changes, a group of photos for each,
so the comparison is within one model; turning the changes round the groups from seed to seed
keeps photos that are easy to learn from favouring a change. The arbitrator's candidates are
those of an audit: marked at full size, without any change, and reduced.
"""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import data, keys, marks, stats, verify
from anw_jax.attacks.uploads import CHANGES
from anw_jax.errors import SettingsError
from anw_jax.keys import Assignment, Manifest, MarkKey, Plan, SignatureSpace, Units
from anw_jax.lab.diffusion import base_folder, fitted
from anw_jax.lab.diffusion_settings import STATISTIC
from anw_jax.lab.journal import Journal, StoppedError, stop_on_interrupt
from anw_jax.lab.recompression_settings import RecompressionSettings
from anw_jax.lab.workdir import Workdir
from anw_jax.suspects.pictures import cropped
from anw_jax.suspects.pictures import fitted as resized

# From images `[b, side, side, 3]` to errors `[b]`.
AskFn = Callable[[jax.Array], jax.Array]

_ORDER_SEED, _ORDER_STREAM = 0, 0x5E77


@dataclasses.dataclass(frozen=True, eq=False)
class Marked:
    """The owner's photos of all groups.

    Attributes:
      photos: uint8 `[H, W, 3]` each, unmarked, group after group.
      mark: of the owner.
      slots: the secret slot of each photo.
      commitment: of key, photos and plan.
    """

    photos: Sequence[np.ndarray]
    mark: marks.Mark
    slots: np.ndarray
    commitment: str


def measure(
    settings: RecompressionSettings, folder: Workdir, journal: Journal
) -> dict[str, Any]:
    """Train or load the base, fine-tune it, and test each group; resumes where it stopped.

    Raises:
      SettingsError: too few photos.
      StoppedError: Ctrl-C was pressed.
    """
    space = SignatureSpace(settings.num_slots)
    with journal.stage("mark"):
        photos = read_photos(settings)
        num_owned = settings.num_images * len(settings.changes)
        owned = mark_photos(photos[:num_owned], settings, space)
        folder.write_json("commitments.json", [owned.commitment])
        learned = learner_images(owned, settings, space)
    with stop_on_interrupt(journal) as stop:
        with journal.stage("train"):
            models = _models(settings, photos[num_owned:], learned, folder, journal, stop)
        groups, asked = {}, _asked(settings, models)
        for group in range(len(settings.changes)):
            with journal.stage("verify"):
                name = settings.change_of(group)
                make = functools.partial(_measure_group, settings, space, owned, group, asked)
                groups[name] = folder.once(f"groups/{group}.json", name, make)
                journal.say(_line(name, groups[name]))
            if stop():
                raise StoppedError
    return {
        "num_photos": num_owned,
        "num_photos_of_base": len(photos) - num_owned,
        "changes": {name: groups[name] for name in settings.changes},
    }


def read_photos(settings: RecompressionSettings) -> list[np.ndarray]:
    """Read all photos in one public order, the same for all seeds.

    Raises:
      SettingsError: no more photos than the groups need.
    """
    files = data.list_photos(os.path.expandvars(settings.folder))
    needed = settings.num_images * len(settings.changes)
    if len(files) <= needed:
        raise SettingsError(
            f"config.folder must hold more than {needed} photos, since the base has photos of "
            f"its own, got {len(files)}"
        )
    order = data.permutation(_ORDER_SEED, _ORDER_STREAM, len(files))
    return [data.read_photo(files[row]) for row in order]


def mark_photos(
    photos: Sequence[np.ndarray], settings: RecompressionSettings, space: SignatureSpace
) -> Marked:
    """Commit to the photos, and draw their slots; an experiment key is never evidence."""
    key = MarkKey.for_experiment(settings.seed, "recompression")
    mark = marks.make_mark(settings.mark, key, space.num_slots)
    manifest = Manifest.of(photos, space)
    beacon_name = f"seed {settings.seed} of this run"
    plan = Plan(STATISTIC, stats.DEFAULT_ALPHA, mark.description, beacon=beacon_name)
    value = hashlib.sha256(beacon_name.encode()).digest()
    slots = keys.assign(key, manifest, plan, beacon=value).slots
    if len(slots) != len(photos):
        raise SettingsError("config.folder holds a photo twice: each must be another")
    return Marked(photos, mark, slots, keys.commit(key, manifest, plan))


def learner_images(
    owned: Marked, settings: RecompressionSettings, space: SignatureSpace
) -> np.ndarray:
    """Mark, change and reduce: what the learner trains on, uint8 `[n, side, side, 3]`."""
    found = []
    for number, (photo, slot) in enumerate(zip(owned.photos, owned.slots, strict=True)):
        marked = marks.publish_image(owned.mark, photo, space.degrees[slot])
        change = CHANGES[settings.change_of(number // settings.num_images)]
        found.append(reduced(change(marked), settings.image_size))
    return _as_bytes(np.stack(found))


def reduced(image: np.ndarray, side: int) -> np.ndarray:
    """Return the middle of a uint8 image as float32 `[side, side, 3]` in [0, 1]."""
    return resized([cropped(image, (side, side))], (side, side))[0]


def _as_bytes(images: np.ndarray) -> np.ndarray:
    return np.rint(255 * images).astype(np.uint8)


def _models(settings, others, learned, folder, journal, stop) -> dict[str, Any]:
    """Return the parameters of the "suspect", and of the "reference" that all seeds share.

    The reference is the base, trained on with its own photos for as many steps as the suspect:
    what the fine-tuning improves for all photos alike is in both.
    """
    model, side = settings.model, settings.image_size
    images = _as_bytes(np.stack([reduced(photo, side) for photo in others]))

    def fit(params, images, how, seed, place, what):
        return fitted(model, params, images, how, seed, place, journal, stop, what)

    with base_folder(folder, settings.base_dict() | {"seed": 0}) as place:
        start = model.init(jax.random.key(0), (side, side, 3))["params"]
        base = fit(start, images, settings.base, 0, place, "base: ")
    how = settings.tuning
    epochs = round(how.num_epochs * len(learned) / len(images))
    longer = dataclasses.replace(how, num_epochs=max(1, epochs))
    made_from = settings.base_dict() | {"seed": 1, "longer": dataclasses.asdict(longer)}
    with base_folder(folder, made_from) as place:
        reference = fit(base, images, longer, 1, place, "reference: ")
    tuned = fit(base, learned, how, settings.seed, folder, "tuning: ")
    return {"reference": reference, "suspect": tuned}


def _asked(settings: RecompressionSettings, models: Mapping[str, Any]) -> dict[str, AskFn]:
    """Return functions from images to each model's errors; all share one compilation."""
    side, noise = settings.image_size, settings.noise
    steps = np.linspace(noise.first_step, noise.last_step, noise.num_noises).round().astype(int)
    loss = verify.denoising_error(
        settings.model.signal_shares, steps, (side, side, 3), seed=settings.seed
    )
    ask = jax.jit(lambda predict, images: loss(predict, images, ()))
    return {
        role: functools.partial(ask, settings.model.predict_fn({"params": params}))
        for role, params in models.items()
    }


def _measure_group(
    settings: RecompressionSettings,
    space: SignatureSpace,
    owned: Marked,
    group: int,
    asked: Mapping[str, AskFn],
) -> dict[str, Any]:
    """Query both models about a group's candidates, and test."""
    side, change = settings.image_size, CHANGES[settings.change_of(group)]
    rows = slice(group * settings.num_images, (group + 1) * settings.num_images)
    photos, slots = owned.photos[rows], owned.slots[rows]
    tables: dict[str, list[np.ndarray]] = {role: [] for role in asked}
    shares = []
    for photo, slot in zip(photos, slots, strict=True):
        candidates = np.stack(
            [
                reduced(
                    photo if not s else marks.publish_image(owned.mark, photo, degrees), side
                )
                for s, degrees in enumerate(space.degrees)
            ]
        )
        for role, ask in asked.items():
            tables[role].append(np.asarray(ask(jnp.asarray(candidates))))
        shares.append(share_of_mark(owned.mark, photo, space.degrees[slot], change, side))
    rows = np.stack(tables["suspect"]), np.stack(tables["reference"])
    numbers = group_numbers(*rows, slots, space)
    return {"num_photos": len(slots), **numbers, "share_of_mark": float(np.median(shares))}


def share_of_mark(
    mark: marks.Mark,
    photo: np.ndarray,
    degrees: float,
    change: Callable[[np.ndarray], np.ndarray],
    side: int,
) -> float:
    """Return what a change leaves of a mark in a photo of the learner's size: <D, d> / <d, d>.

    With what the mark adds without the change (d) and with it (D); 1 if nothing is lost. No
    number of evidence: no model is asked.

    Args:
      mark: of the owner.
      photo: uint8 `[H, W, 3]`, unmarked.
      degrees: the signature.
      change: one of `attacks.uploads.CHANGES`.
      side: of the learner's images, in pixels.
    """
    marked = marks.publish_image(mark, photo, degrees)
    added = reduced(marked, side) - reduced(photo, side)
    left = reduced(change(marked), side) - reduced(change(photo), side)
    return float((left * added).sum() / (added**2).sum())


def group_numbers(
    suspect: np.ndarray, reference: np.ndarray, slots: np.ndarray, space: SignatureSpace
) -> dict[str, Any]:
    """Test a group calibrated by the reference, and alone; log10 of the exact p, and hits."""
    units = Units(np.arange(len(slots)), space)
    numbers: dict[str, Any] = {"log10_p": {}, "slot_hits": {}}
    for name, references in (("reference", [reference]), ("alone", [])):
        result = stats.exact_test(
            suspect, Assignment(units, slots), statistic=STATISTIC, references=references
        )
        scores = stats.score_units(suspect, units, STATISTIC, references)
        numbers["log10_p"][name] = result.log10_p
        numbers["slot_hits"][name] = float((scores.argmax(axis=1) + 1 == slots).mean())
    return numbers


def _line(name: str, numbers: Mapping[str, Any]) -> str:
    p, hits = numbers["log10_p"], numbers["slot_hits"]["reference"]
    return (
        f"{name:<11} log10 p calibrated {p['reference']:6.1f}, alone {p['alone']:5.1f}; "
        f"hits {hits:4.0%}; share of the mark left {numbers['share_of_mark']:.2f}"
    )


def kept_of(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return what each change keeps of the evidence, over seeds.

    Args:
      runs: results of `measure`, one for each seed.

    Returns:
      By change: "log10_p", the median over seeds, calibrated by the reference; "kept", its
      ratio to that of "none"; "share_of_mark", the median.
    """
    found = {}
    for name in runs[0]["changes"]:
        cells = [run["changes"][name] for run in runs]
        found[name] = {
            "log10_p": float(np.median([cell["log10_p"]["reference"] for cell in cells])),
            "share_of_mark": float(np.median([cell["share_of_mark"] for cell in cells])),
        }
    for cell in found.values():
        cell["kept"] = cell["log10_p"] / found["none"]["log10_p"]
    return found
