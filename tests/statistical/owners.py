"""An owner who knows the suspect and plays his best before the beacon's value is out.

He has the suspect's losses of every photo at every hue, photos to choose from, as many keys as
he can grind, the order and names of his photos, and the words of his plan. What he does not
have is the beacon's value: he plays for values that he guesses.
"""

import dataclasses
import hashlib

import numpy as np

from anw_jax import keys, stats, verify
from anw_jax.keys import Assignment, Manifest, MarkKey, Plan, SignatureSpace, leaves
from anw_jax.keys.digests import tree_levels
from anw_jax.keys.slots import offsets
from anw_jax.marks import Composed, HueRotation, LightField, LimitedHue, Mark, Tint, Tone

SPACE = SignatureSpace()
NUM_VALID = SPACE.num_valid
BEACON = "arbitrator:Jane Doe"
PLAN = Plan("losses", 0.05, beacon=BEACON)
SEQUENTIAL = dataclasses.replace(PLAN, mode="sequential")
OLD = Plan("losses", 0.05, beacon="x", version=1)
OLD_SEQUENTIAL = dataclasses.replace(OLD, mode="sequential")
# The gentle marks, strong enough for photos of a few pixels.
GENTLE = {
    "light": LightField(bytes(range(32)), strength=0.6, cells=4),
    "tone": Tone(0.3),
    "tint": Tint(0.5),
    "hue_limited": LimitedHue(60.0),
    "composed": Composed(
        LightField(bytes(32), strength=0.6, cells=4, num_slots=4), Tint(0.5, num_slots=3)
    ),
}
GUESS = hashlib.sha256(b"the owner's guess").digest()


def value(number: int) -> bytes:
    """A beacon's value that nobody had: the same in every run of the tests."""
    return hashlib.sha256(b"beacon %d" % number).digest()


# --- The suspect: a colour prior that nobody trained. ---


def colour_prior(images: np.ndarray) -> np.ndarray:
    """Logits of two classes: how near the mean colour is to one favourite hue, and 0."""
    red, green, blue = np.moveaxis(np.asarray(images, np.float64).mean(axis=(1, 2)), -1, 0)
    hue = np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)
    liking = 6 * np.cos(hue - 0.7)
    return np.stack([liking, np.zeros_like(liking)], axis=1)


def candidates(number: int, seed: int = 0) -> np.ndarray:
    """Photos to choose from, each of one tint and some noise, uint8 `[number, 4, 4, 3]`."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, number)
    tint = 128 + 60 * np.cos(angle[:, None] - 2 * np.pi * np.arange(3) / 3)
    noise = rng.normal(0, 8, (number, 4, 4, 3))
    return np.clip(np.rint(tint[:, None, None] + noise), 0, 255).astype(np.uint8)


def answers(photos: np.ndarray, mark: Mark | None = None) -> np.ndarray:
    """The suspect's losses, float32 `[n, 12]`, as an arbitrator reads them; None = hue."""
    labels = np.zeros(len(photos), np.int32)
    return verify.loss_table(colour_prior, photos, labels, mark or HueRotation(), SPACE)


# --- What an owner may choose. ---


@dataclasses.dataclass(frozen=True)
class Choice:
    """What is committed to, with the suspect's answers in the manifest's order."""

    key: MarkKey
    manifest: Manifest
    plan: Plan
    table: np.ndarray
    references: tuple[np.ndarray, ...] = ()

    def assignment(self, beacon: bytes) -> Assignment:
        return keys.assign(self.key, self.manifest, self.plan, beacon=beacon)

    def scores(self, units: keys.Units) -> np.ndarray:
        return stats.score_units(self.table, units, self.plan.statistic, self.references)

    def p_of(self, beacon: bytes) -> float:
        result = stats.exact_test(
            self.table,
            self.assignment(beacon),
            statistic=self.plan.statistic,
            references=self.references,
        )
        return result.p_value

    def z_of(self, beacon: bytes) -> float:
        """How far the sum of scores lies above its null mean, in null standard deviations."""
        drawn = self.assignment(beacon)
        scores = self.scores(drawn.units)
        own = scores[np.arange(len(scores)), drawn.slot_of_unit - 1]
        return float((own - scores.mean(axis=1)).sum() / np.sqrt(scores.var(axis=1).sum()))


def choice_of(photos, table, seed=0, plan=PLAN, names=None, references=()) -> Choice:
    key = MarkKey(hashlib.sha256(b"key %d" % seed).digest())
    manifest = Manifest.of(photos, SPACE, file_names=names)
    return Choice(key, manifest, plan, table, references)


def photos_by_slot(photos, table, plan, key, beacon, number) -> np.ndarray:
    """Of all photos those whose own slot suits the suspect best: the attack on version 1."""
    slots = keys.assign(key, Manifest.of(photos, SPACE), plan, beacon=beacon).slots
    valid = table[:, 1:]
    own = np.take_along_axis(valid, slots[:, None] - 1, axis=1)[:, 0]
    rank = (valid < own[:, None]).sum(axis=1)
    gain = (valid.mean(axis=1) - own) / valid.std(axis=1)
    return np.sort(np.lexsort((-gain, rank))[:number])


def most_telling(table, number) -> np.ndarray:
    """The photos whose answers differ most between hues."""
    return np.sort(np.argsort(-table[:, 1:].std(axis=1))[:number])


def played(
    photos,
    table,
    kinds,
    number,
    tries,
    beacon=GUESS,
    statistic=PLAN.statistic,
    seed=0,
    references=(),
) -> Choice:
    """The best of so many choices for a value that is guessed, or known."""
    rng, first = np.random.default_rng(seed), dataclasses.replace(PLAN, statistic=statistic)
    kept = most_telling(table, number)
    if "photos" in kinds:
        kept = photos_by_slot(
            photos, table, first, choice_of(photos, table).key, beacon, number
        )
    best = None
    for attempt in range(tries):
        rows, plan, names = kept, first, None
        if "photos" in kinds and attempt % 2:
            rows = np.sort(rng.choice(len(photos), number, replace=False))
        if "order" in kinds:
            rows = rng.permutation(rows)
            names = [f"{attempt}-{row}" for row in rows]
        if "plans" in kinds:
            plan = dataclasses.replace(first, number=1 + attempt, place=f"place {attempt}")
        key_seed = attempt if "keys" in kinds else 0
        own = tuple(reference[rows] for reference in references)
        made = choice_of(photos[rows], table[rows], key_seed, plan, names, own)
        z = made.z_of(beacon)
        if best is None or z > best[0]:
            best = z, made
    return best[1]


# --- Leaves made by hand. ---


class HandMadeTree(keys.UnitTree):
    """A sequential commitment to any slots that the owner likes; no key gives its leaves."""

    def __init__(self, manifest: Manifest, plan: Plan, slots, salt: int = 0):
        self._manifest, self._plan, self._origin = manifest, plan, "secret"
        nonces = [
            hashlib.sha256(b"%d %d" % (salt, unit)).digest() for unit in range(len(slots))
        ]
        self._leaves = list(zip((int(slot) for slot in slots), nonces, strict=True))
        hashes = [
            leaves._leaf_hash(unit, digest, slot, nonce, self._origin)
            for unit, (digest, (slot, nonce)) in enumerate(
                zip(manifest.unit_digests, self._leaves, strict=True)
            )
        ]
        self._levels = tree_levels(hashes)
        self.root = leaves._root(leaves._header(manifest, plan), self._levels[-1][0])


def best_slots(table) -> np.ndarray:
    """Each row's best valid slot: what a forger wants to open."""
    return 1 + np.argmin(table[:, 1:], axis=1)


def rows_scored(rows, statistic: str) -> np.ndarray:
    """Scores of units of one photo each, in the order of an audit, float64 `[n, N - 1]`."""
    scorer = stats.RowScorer(statistic)
    return np.array([scorer.score(row[None] if scorer.takes_images else row) for row in rows])


def log_wealths(tree: HandMadeTree, table, beacons) -> np.ndarray:
    """Log wealth after each opened unit, in the audit's order, one row for each value."""
    manifest, plan = tree._manifest, tree._plan
    order = list(keys.audit_order(tree.root, plan, manifest))
    scores = rows_scored(table[order, 1:], plan.statistic)
    slots = np.array([tree.offset_slots(beacon) for beacon in beacons])[:, order]
    return stats.mixture_log_wealth(scores, slots)


def forged_tree(manifest, plan, table, beacon, tries) -> HandMadeTree:
    """The best of so many trees for a value that is guessed, or known.

    Without the root in the offset (version 1) leaves are turned back, and the first tree is
    perfect; with it each tree turns its leaves anew, and only trying helps.
    """
    wanted = best_slots(table)
    turns = offsets("00" * 32, manifest, plan, beacon)
    slots = 1 + (wanted - 1 - turns) % NUM_VALID
    trees = [HandMadeTree(manifest, plan, slots, salt) for salt in range(tries)]
    return max(trees, key=lambda tree: log_wealths(tree, table, [beacon]).max())
