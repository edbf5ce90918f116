"""One root, one opening for each unit, and nothing about the others."""

import dataclasses
import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax import keys
from anw_jax.errors import CommitmentError
from anw_jax.keys import leaves, slots

PLAN = keys.Plan("losses", 0.01, mode="sequential")
BEACON_PLAN = keys.Plan("losses", 0.01, beacon="arbitrator:Jane", mode="sequential")
VALUE = bytes(range(32))
KEY = keys.MarkKey(bytes(range(32)))


def _manifest(num_units: int) -> keys.Manifest:
    images = np.random.default_rng(1).integers(0, 256, (num_units, 2, 2, 3), np.uint8)
    return keys.Manifest.of(images, keys.SignatureSpace())


MANIFEST = _manifest(6)
TREE = keys.UnitTree(KEY, MANIFEST, PLAN)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(st.integers(1, 40))
def test_every_leaf_opens_to_the_assigned_slot(num_units):
    manifest = _manifest(num_units)
    tree = keys.UnitTree(KEY, manifest, PLAN)
    assert tree.root == keys.commit_units(KEY, manifest, PLAN)
    checker = keys.LeafChecker(tree.root, manifest, PLAN)
    opened = [checker.check(tree.open(unit), unit=unit) for unit in range(num_units)]
    assert opened == keys.assign(KEY, manifest, PLAN).slot_of_unit.tolist()


def test_the_root_is_that_of_a_naive_tree():
    """Twin: the tree built by recursion over halves, from plain SHA-256."""

    def frame(*parts):
        return b"".join(len(part).to_bytes(8, "big") + part for part in parts)

    def top(nodes):
        if len(nodes) == 1:
            return nodes[0]
        half = len(nodes) // 2
        return hashlib.sha256(
            b"anw_jax/v1/unit-node\0" + top(nodes[:half]) + top(nodes[half:])
        ).digest()

    nodes = []
    for unit, digest in enumerate(MANIFEST.unit_digests):
        leaf = TREE.open(unit)
        body = frame(
            unit.to_bytes(8, "big"),
            bytes.fromhex(digest),
            leaf.slot.to_bytes(4, "big"),
            bytes.fromhex(leaf.nonce),
            b"secret",
        )
        nodes.append(hashlib.sha256(b"anw_jax/v1/unit-leaf\0" + body).digest())
    nodes += [hashlib.sha256(b"anw_jax/v1/unit-pad\0").digest()] * 2
    header = leaves._header(MANIFEST, PLAN)
    root = hashlib.sha256(b"anw_jax/v1/unit-root\0" + frame(header, top(nodes))).hexdigest()
    assert root == TREE.root


@pytest.mark.parametrize(
    "changes",
    [
        {"slot": TREE.open(2).slot % 11 + 1},
        {"slot": 12},
        {"nonce": "0" * 64},
        {"origin": "experiment"},
        {"path": TREE.open(2).path[:-1]},
        {"path": (*TREE.open(2).path, "0" * 64)},
        {"path": TREE.open(2).path[::-1]},
    ],
)
def test_a_changed_leaf_does_not_open(changes):
    lie = dataclasses.replace(TREE.open(2), **changes)
    with pytest.raises(CommitmentError, match="the leaf of unit 2 does not open"):
        keys.LeafChecker(TREE.root, MANIFEST, PLAN).check(lie, unit=2)


def test_no_other_slot_opens():
    """All 11 slots, each with the true nonce: one opens."""
    checker = keys.LeafChecker(TREE.root, MANIFEST, PLAN)
    opening, good = TREE.open(4), []
    for slot in range(1, 12):
        try:
            good.append(checker.check(dataclasses.replace(opening, slot=slot), unit=4))
        except CommitmentError:
            continue
    assert good == [opening.slot]


def test_one_units_leaf_is_not_taken_for_anothers():
    with pytest.raises(CommitmentError, match="opening must be of unit 1, got that of unit 2"):
        keys.LeafChecker(TREE.root, MANIFEST, PLAN).check(TREE.open(2), unit=1)
    moved = dataclasses.replace(TREE.open(2), unit=1)
    with pytest.raises(CommitmentError, match="leaf of unit 1 does not open"):
        keys.LeafChecker(TREE.root, MANIFEST, PLAN).check(moved, unit=1)
    beyond = dataclasses.replace(TREE.open(2), unit=6)
    with pytest.raises(CommitmentError, match="leaf of unit 6 does not open"):
        keys.LeafChecker(TREE.root, MANIFEST, PLAN).check(beyond, unit=6)


@pytest.mark.parametrize(
    ("manifest", "plan"),
    [
        (_manifest(5), PLAN),
        (dataclasses.replace(MANIFEST, file_names=tuple("abcdef")), PLAN),
        (MANIFEST, dataclasses.replace(PLAN, alpha=0.02)),
        (MANIFEST, dataclasses.replace(PLAN, claim="any model")),
    ],
)
def test_manifest_and_plan_are_bound(manifest, plan):
    with pytest.raises(CommitmentError, match="does not open"):
        keys.LeafChecker(TREE.root, manifest, plan).check(TREE.open(2), unit=2)


def test_an_opening_tells_nothing_of_its_neighbours():
    """A hidden leaf's hash cannot be matched by trying slots, and nonces are fresh."""
    opening = TREE.open(2)
    beside = bytes.fromhex(opening.path[0])  # the hash of unit 3's leaf
    digest = MANIFEST.unit_digests[3]
    for nonce in (bytes.fromhex(opening.nonce), bytes(32)):
        guesses = {leaves._leaf_hash(3, digest, slot, nonce, "secret") for slot in range(1, 12)}
        assert beside not in guesses
    truth = bytes.fromhex(TREE.open(3).nonce)
    guesses = [leaves._leaf_hash(3, digest, slot, truth, "secret") for slot in range(1, 12)]
    assert guesses.index(beside) + 1 == TREE.open(3).slot
    assert len({TREE.open(unit).nonce for unit in range(6)}) == 6
    assert KEY.sub_key("slots").hex() not in str(opening.to_dict())
    assert "secret leaves" in repr(TREE)
    assert opening.nonce not in repr(opening)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(TREE)


def test_an_opening_travels_as_json_and_damaged_ones_are_named():
    opening = TREE.open(5)
    assert keys.LeafOpening.from_dict(opening.to_dict()) == opening
    for changes, message in [
        ({"slot": 0}, "slot must be at least 1, got 0"),
        ({"nonce": "xyz"}, "nonce must hold 64 lower-case hex digits, got 'xyz'"),
        ({"path": ["0"]}, "path must hold 64 lower-case hex digits, got '0'"),
        ({"more": 1}, "not the opening of a leaf"),
    ]:
        with pytest.raises(ValueError, match=message):
            keys.LeafOpening.from_dict({**opening.to_dict(), **changes})


def test_modes_are_not_mixed_up():
    sealed = keys.Plan("losses", 0.01)
    with pytest.raises(ValueError, match=r"plan.mode must be 'sequential'.* got 'sealed'"):
        keys.commit_units(KEY, MANIFEST, sealed)
    with pytest.raises(ValueError, match="commit to each with commit_units"):
        keys.commit(KEY, MANIFEST, PLAN)
    with pytest.raises(ValueError, match="mode must be one of sealed, sequential; got 'seald'"):
        keys.Plan("losses", 0.01, mode="seald")
    with pytest.raises(ValueError, match="claim must be one of"):
        keys.Plan("losses", 0.01, claim="all")
    with pytest.raises(ValueError, match="unit must be below 6, got 6"):
        TREE.open(6)
    with pytest.raises(CommitmentError, match="64 lower-case hex digits"):
        keys.LeafChecker("ab", MANIFEST, PLAN)


def test_a_plan_of_version_1_has_the_bytes_it_had():
    def body(**fields):
        return keys.Plan("losses", 0.01, version=1, **fields).to_bytes()

    assert body() == (
        b'{"alpha":0.01,"mark":"hue_rotation","mode":"sealed","statistic":"losses"}'
    )
    assert body(beacon="x") == (
        b'{"alpha":0.01,"beacon":"x","mark":"hue_rotation","mode":"sealed",'
        b'"statistic":"losses"}'
    )
    assert b'"mode":"sequential"' in body(mode="sequential")


# --- The beacon. ---


def test_with_a_beacon_leaves_open_to_the_turned_slots():
    tree = keys.UnitTree(KEY, MANIFEST, BEACON_PLAN)
    checker = keys.LeafChecker(tree.root, MANIFEST, BEACON_PLAN, beacon=VALUE)
    opened = [checker.check(tree.open(unit), unit=unit) for unit in range(6)]
    turned = keys.assign(KEY, MANIFEST, BEACON_PLAN, beacon=VALUE)
    assert opened == turned.slot_of_unit.tolist() == tree.offset_slots(VALUE)
    assert opened != [tree.open(unit).slot for unit in range(6)]
    untouched = keys.assign(KEY, MANIFEST, PLAN).slot_of_unit.tolist()
    assert untouched == [TREE.open(unit).slot for unit in range(6)]


def test_leaves_say_nothing_of_the_value_and_stay_what_they_were():
    tree = keys.UnitTree(KEY, MANIFEST, BEACON_PLAN)
    openings = [tree.open(unit) for unit in range(6)]
    for value in (VALUE, VALUE[::-1]):
        tree.offset_slots(value)
        assert [tree.open(unit) for unit in range(6)] == openings


def test_a_beacons_value_is_given_if_and_only_if_planned():
    with pytest.raises(CommitmentError, match="'arbitrator:Jane' and a value is missing"):
        keys.LeafChecker(TREE.root, MANIFEST, BEACON_PLAN)
    with pytest.raises(CommitmentError, match="names no beacon and a value is given"):
        keys.LeafChecker(TREE.root, MANIFEST, PLAN, beacon=b"1")


def test_chosen_slots_become_uniform_and_independent_of_each_other():
    """An owner who committed to one slot everywhere has uniform slots after the beacon."""
    pairs = []
    for number in range(4_000):
        value = hashlib.sha256(b"%d" % number).digest()
        turns = slots.offsets(TREE.root, MANIFEST, BEACON_PLAN, value)
        pairs.append(turns[:2])
    pairs = np.array(pairs)
    counts = np.bincount(pairs[:, 0] * 11 + pairs[:, 1], minlength=121)
    statistic = ((counts - 4_000 / 121) ** 2 / (4_000 / 121)).sum()
    assert 70 < statistic < 185  # chi-squared with 120 degrees of freedom, 1e-4 each side
    turned = [leaves._add_offset(slot, 4, 11) for slot in range(1, 12)]
    assert sorted(turned) == list(range(1, 12))


@pytest.mark.parametrize("changed", ["root", "plan", "value", "name"])
def test_offsets_hang_on_root_plan_name_and_value(changed):
    """In version 1 they hung on the value alone: one known beforehand forged every leaf."""
    manifest = _manifest(80)
    plan = BEACON_PLAN if changed != "plan" else dataclasses.replace(BEACON_PLAN, number=2)
    if changed == "name":
        plan = dataclasses.replace(BEACON_PLAN, beacon="arbitrator:John")
    root = "0f" * 32 if changed == "root" else "ab" * 32
    value = bytes(32) if changed == "value" else VALUE
    before = slots.offsets("ab" * 32, manifest, BEACON_PLAN, VALUE)
    after = slots.offsets(root, manifest, plan, value)
    assert sum(x == y for x, y in zip(before, after, strict=True)) <= 22  # 7 by chance


# --- A key that is opened later. ---


def test_leaves_that_do_not_come_from_the_key_are_named():
    tree = keys.UnitTree(KEY, MANIFEST, BEACON_PLAN)
    openings = [tree.open(unit) for unit in (4, 0, 2, 5)]
    assert keys.leaves_not_from(KEY, MANIFEST, BEACON_PLAN, openings) == []
    openings[0] = dataclasses.replace(openings[0], slot=openings[0].slot % 11 + 1)
    openings[2] = dataclasses.replace(openings[2], nonce="0" * 64)
    assert keys.leaves_not_from(KEY, MANIFEST, BEACON_PLAN, openings) == [2, 4]
    assert keys.leaves_not_from(KEY, MANIFEST, PLAN, openings) == [0, 2, 4, 5]
    other = keys.MarkKey(bytes(32))
    assert keys.leaves_not_from(other, MANIFEST, BEACON_PLAN, openings) == [0, 2, 4, 5]
    assert keys.leaves_not_from(other, MANIFEST, BEACON_PLAN, []) == []


# --- The order. ---


def test_the_order_is_public_and_hangs_on_the_commitment():
    order = keys.audit_order(TREE.root, PLAN, MANIFEST)
    assert sorted(order) == list(range(6))
    assert order == keys.audit_order(TREE.root, PLAN, MANIFEST)
    others = {keys.audit_order(f"{value:064x}", PLAN, MANIFEST) for value in range(20)}
    assert len(others) > 15
