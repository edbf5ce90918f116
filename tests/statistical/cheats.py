"""Ways in which an owner may lie against a model that never saw his marked photos.

Each is a function of (rng, level, is_stopped) that returns the model and the cases that are
brought; the owner knows the model as well as its makers. With `is_stopped` false the rule that
stands against the cheat is broken in his favour: then it must pay, or the test sees nothing.
"""

import dataclasses
import functools
import hashlib

import numpy as np

from anw_jax import data, keys, stats
from anw_jax.keys import Manifest, MarkKey, Plan
from anw_jax.keys.beacons import QUICKNET
from anw_jax.keys.plan import labels_digest
from anw_jax.marks import publish
from tests.statistical import owners
from tests.statistical.court import (
    MARK,
    NUM_PHOTOS,
    TOO_LATE,
    Brought,
    HandedOver,
    Model,
    honest,
    manifest_of,
    marked,
    plan_of,
)

Tried = tuple[Model, list[Brought]]
_OLD_ROUND = f"drand:{QUICKNET}:1000"  # of 2023


@dataclasses.dataclass(frozen=True, eq=False)
class World:
    """A model that nobody trained, and the photos on which it shows its one hue most."""

    model: Model
    photos: np.ndarray

    @functools.cached_property
    def manifest(self) -> Manifest:
        return manifest_of(self.photos)

    @functools.cached_property
    def table(self) -> np.ndarray:
        return self.model.table(self.photos)

    @functools.cached_property
    def robbed(self) -> "World":
        """Another owner's marked photos, and a model that learned from these."""
        rightful = self.honest(MarkKey(bytes(32)), plan_of(), bytes(32))
        taken = marked(rightful)
        return World(Model(self.model.hue, taken), taken)

    @functools.cached_property
    def copied(self) -> "World":
        """A few of the photos many times: the same bytes, bursts, small errors of saving."""
        rng = np.random.default_rng(int(100 * self.model.hue))
        few = self.photos[: int(rng.integers(3, 7))]
        copies = few[np.arange(NUM_PHOTOS) % len(few)].astype(int)
        differ = rng.random(NUM_PHOTOS) < 0.7
        errors = rng.integers(-1, 2, copies.shape) * differ[:, None, None, None]
        return World(self.model, np.clip(copies + errors, 0, 255).astype(np.uint8))

    @functools.cached_property
    def files(self) -> tuple[np.ndarray, list[bytes], list[bytes]]:
        """Other versions of the photos; both as files."""
        others = np.stack([publish(MARK, one[None], 180.0)[0] for one in self.photos])
        return others, list(map(data.png_of, self.photos)), list(map(data.png_of, others))

    def honest(self, key: MarkKey, plan: Plan, value: bytes) -> HandedOver:
        return honest(self.photos, key, plan, value, manifest=self.manifest)


@functools.cache
def worlds() -> list[World]:
    made, pool = [], owners.candidates(60, seed=3)
    for hue in (0.7, 2.0, 3.5, 5.1):
        model = Model(hue)
        made.append(World(model, pool[owners.most_telling(model.table(pool), NUM_PHOTOS)]))
    return made


def one_of_them(rng: np.random.Generator) -> World:
    return worlds()[rng.integers(4)]


def new_key(rng: np.random.Generator) -> MarkKey:
    return MarkKey(rng.bytes(32))


def best_of(world: World, choices: list[tuple[MarkKey, Plan]], value: bytes) -> int:
    """Which key and plan give slots that suit the answers best."""
    scores = stats.score_units(world.table, world.manifest.units, "log_losses")
    fits = []
    for key, plan in choices:
        slots = keys.assign(key, world.manifest, plan, beacon=value).slot_of_unit
        fits.append(scores[np.arange(len(scores)), slots - 1].sum())
    return int(np.argmax(fits))


def ground(rng, world: World, plan: Plan, value: bytes, guess: bytes) -> HandedOver:
    """The best of some keys for a value that is guessed, or of more for one that is known."""
    tried = [(new_key(rng), plan) for _ in range(40 if guess == value else 8)]
    return world.honest(*tried[best_of(world, tried, guess)], value)


def key_grinding(rng, level, is_stopped=True) -> Tried:
    """Keys tried against a guess of the value; nobody has the value itself."""
    world, value = one_of_them(rng), rng.bytes(32)
    guess = rng.bytes(32) if is_stopped else value
    return world.model, [{"ann": ground(rng, world, plan_of(level), value, guess)}]


def late_commitment(rng, level, is_stopped=True) -> Tried:
    """A key ground for the value that is out, committed to only now."""
    world, value, plan = one_of_them(rng), rng.bytes(32), plan_of(level)
    way = int(rng.integers(3))
    if way == 2 and is_stopped:  # under a beacon whose name tells its time
        plan = plan_of(level, beacon=_OLD_ROUND)
    one = ground(rng, world, plan, value, value)
    said = one.said
    if way == 0:  # the arbitrator holds the one that was made in time
        said = world.honest(new_key(rng), plan, value).said
    if way == 1:  # he says when he got it
        said = dataclasses.replace(said, held_since=TOO_LATE)
    return world.model, [{"ann": dataclasses.replace(one, said=said) if is_stopped else one}]


def turned(world: World, slots: np.ndarray) -> np.ndarray:
    """Other versions of photos, under whose secret slots the model answers best."""
    best = world.table[:, 1:].argmin(axis=1) + 1
    turns = 30.0 * ((best - slots) % 12)
    pairs = zip(world.photos, turns, strict=True)
    return np.stack([publish(MARK, one[None], turn)[0] if turn else one for one, turn in pairs])


def slots_of(one: HandedOver) -> np.ndarray:
    return keys.assign(one.key, one.manifest, one.plan, beacon=one.value).slots


def swapped_originals(rng, level, is_stopped=True) -> Tried:
    """Originals made to suit the slots, once these are known."""
    world = one_of_them(rng)
    one = world.honest(new_key(rng), plan_of(level), rng.bytes(32))
    others = turned(world, slots_of(one))
    if not is_stopped:  # the arbitrator compares no pixels
        return world.model, [{"ann": dataclasses.replace(one, table=world.model.table(others))}]
    kept = rng.random(NUM_PHOTOS) < rng.choice([0, 0.5, 0.9])
    others[kept] = world.photos[kept]
    if np.array_equal(others, world.photos):
        others[0] ^= 1
    way = int(rng.integers(3))
    if way == 0:
        return world.model, [{"ann": dataclasses.replace(one, photos=others)}]
    made = honest(others, one.key, one.plan, one.value, said=one.said)
    if way == 1:
        made = dataclasses.replace(made, commitment=one.commitment)
    return world.model, [{"ann": made}]


def two_versions(rng, level, is_stopped=True) -> Tried:
    """The pixels of one photo and the file of another in each row of the manifest.

    Either is what was committed to; once the slots are known, the better one is handed over.
    """
    world = one_of_them(rng)
    others, own_files, files = world.files
    digests = [hashlib.sha256(body).hexdigest() for body in files]
    manifest = manifest_of(world.photos, file_digests=digests)
    one = honest(world.photos, new_key(rng), plan_of(level), rng.bytes(32), manifest=manifest)
    tables, slots = (world.table, world.model.table(others)), slots_of(one)
    takes_other = np.less(*(ranks_of(table, slots) for table in tables[::-1]))
    if not is_stopped:  # the arbitrator takes either for what was committed to
        table = np.where(takes_other[:, None], tables[1], tables[0])
        return world.model, [{"ann": dataclasses.replace(one, table=table)}]
    both = zip(manifest.file_names, takes_other, own_files, files, strict=True)
    handed = {name: other if takes else own for name, takes, own, other in both}
    return world.model, [{"ann": dataclasses.replace(one, files=handed)}]


def ranks_of(table: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """How many slots the model likes better than the photo's own, `[n]`."""
    return (table[:, 1:] < table[np.arange(len(table)), slots][:, None]).sum(axis=1)


def chosen_subset(rng, level, is_stopped=True) -> Tried:
    """Only photos whose slots suit the answers, once these are known."""
    world = one_of_them(rng)
    one = world.honest(new_key(rng), plan_of(level), rng.bytes(32))
    ranks = ranks_of(world.table, slots_of(one))
    kept = np.sort(np.argsort(ranks)[: int(rng.integers(4, NUM_PHOTOS))])
    if not is_stopped:  # the arbitrator believes that the others are lost
        table = world.table.copy()
        table[ranks > 4] = np.nan
        return world.model, [{"ann": dataclasses.replace(one, table=table)}]
    way, photos = int(rng.integers(3)), world.photos[kept]
    if way == 0:
        return world.model, [{"ann": dataclasses.replace(one, photos=photos)}]
    plan = dataclasses.replace(one.plan, labels=labels_digest(np.zeros(len(kept), int)))
    fewer = honest(photos, one.key, plan, one.value, said=one.said)
    if way == 1:
        fewer = dataclasses.replace(fewer, commitment=one.commitment)
    return world.model, [{"ann": fewer}]


def two_claimants(rng, level, is_stopped=True) -> Tried:
    """Claimants of the same photos, each with a key; or of photos that another marked."""
    world, plan, value = one_of_them(rng), plan_of(level), rng.bytes(32)
    made = [world.honest(new_key(rng), plan, value) for _ in range(2 if is_stopped else 20)]
    if not is_stopped:  # each in a case of its own, and nobody counts them
        return world.model, [{"ann": one} for one in made]
    if rng.random() < 0.5:
        return world.robbed.model, [{"bob": made[0]}]
    return world.model, [dict(zip(("ann", "bob"), made, strict=True))]


def re_marking(rng, level, is_stopped=True) -> Tried:
    """The photos that another owner published, and a model that learned from these."""
    return _by_chance(rng, one_of_them(rng).robbed, level, is_stopped)


def duplicates(rng, level, is_stopped=True) -> Tried:
    """Few photos many times: the same bytes, bursts, and saved again with small errors."""
    return _by_chance(rng, one_of_them(rng).copied, level, is_stopped)


def _by_chance(rng, world: World, level: float, is_stopped: bool) -> Tried:
    """A fresh key; where no rule is needed, the lie that pays is a value that is known."""
    plan, value = plan_of(level), rng.bytes(32)
    if is_stopped:
        return world.model, [{"ann": world.honest(new_key(rng), plan, value)}]
    return world.model, [{"ann": ground(rng, world, plan, value, value)}]


def altered_plan(rng, level, is_stopped=True) -> Tried:
    """Another plan, chosen once the slots under it are known."""
    world = one_of_them(rng)
    one = world.honest(new_key(rng), plan_of(level), rng.bytes(32))
    others = [plan_of(level, place=f"place {n}") for n in range(8 if is_stopped else 40)]
    plan = others[best_of(world, [(one.key, each) for each in others], one.value)]
    if is_stopped and rng.random() < 0.5:
        changes = ({"alpha": 0.3}, {"statistic": "losses"}, {"number": 2}, {"highest": False})
        plan = plan_of(level, **changes[rng.integers(4)])
    altered = world.honest(one.key, plan, one.value)
    if not is_stopped:
        return world.model, [{"ann": altered}]
    if rng.random() < 0.5:
        altered = dataclasses.replace(altered, commitment=one.commitment)
    said = dataclasses.replace(one.said, found=plan.number)
    return world.model, [{"ann": dataclasses.replace(altered, said=said)}]


CHEATS = {
    cheat.__name__: cheat
    for cheat in (
        key_grinding, late_commitment, swapped_originals, two_versions, chosen_subset,
        two_claimants, re_marking, duplicates, altered_plan,
    )
}  # fmt: skip


def guilty(rng: np.random.Generator, level: float) -> Tried:
    """An honest owner, and a model that learned what he published."""
    world = one_of_them(rng)
    one = world.honest(new_key(rng), plan_of(level), rng.bytes(32))
    return Model(world.model.hue, marked(one)), [{"ann": one}]
