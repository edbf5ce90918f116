"""How slots, offsets and nonces are drawn: naive twins, uniformity, what they depend on."""

import dataclasses
import hashlib
import hmac
import pickle

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from anw_jax import keys
from anw_jax.errors import CommitmentError
from anw_jax.keys import (
    Manifest,
    MarkKey,
    Plan,
    SignatureSpace,
    UnitSlots,
    assign,
    commit_units,
    slots,
)

KEY = MarkKey.for_experiment(1)
BEACON = "arbitrator:Jane Doe"
VALUE = bytes(range(32))
PLAN = Plan("losses", 0.01, beacon=BEACON)
SEQUENTIAL = dataclasses.replace(PLAN, mode="sequential")


def manifest_of(num_units: int, num_slots: int = 12, scheme: str = "per_image") -> Manifest:
    images = np.random.default_rng(1).integers(0, 256, (num_units, 2, 2, 3), np.uint8)
    groups = [index // 2 for index in range(num_units)] if scheme == "per_group" else None
    return Manifest.of(images, SignatureSpace(num_slots), scheme, groups)


# --- Naive twins, written from the docstrings with plain hashlib and hmac. ---


def frame(*fields: bytes) -> bytes:
    return b"".join(len(field).to_bytes(8, "big") + field for field in fields)


def twin_plan_digest(plan: Plan) -> bytes:
    return hashlib.sha256(b"anw_jax/v2/plan\0" + plan.to_bytes()).digest()


def twin_manifest_digest(manifest: Manifest) -> bytes:
    def top(nodes):
        if len(nodes) == 1:
            return nodes[0]
        half = len(nodes) // 2
        return hashlib.sha256(
            b"anw_jax/v1/unit-node\0" + top(nodes[:half]) + top(nodes[half:])
        ).digest()

    leaves = []
    for unit, digest in enumerate(manifest.unit_digests):
        fields = [bytes.fromhex(digest)]
        for index in range(manifest.num_images):
            if manifest.unit_of_image[index] == unit:
                fields.append(index.to_bytes(8, "big"))
                fields.append(bytes.fromhex(manifest.image_digests[index]))
                fields.append(manifest.file_names[index].encode())
                fields.append(bytes.fromhex(manifest.file_digests[index]))
        leaves.append(hashlib.sha256(b"anw_jax/v2/manifest-unit\0" + frame(*fields)).digest())
    while len(leaves) & (len(leaves) - 1):
        leaves.append(hashlib.sha256(b"anw_jax/v1/unit-pad\0").digest())
    header = frame(
        manifest.scheme.encode(),
        manifest.space.num_slots.to_bytes(4, "big"),
        manifest.num_units.to_bytes(8, "big"),
        top(leaves),
    )
    return hashlib.sha256(b"anw_jax/v2/manifest\0" + header).digest()


def twin_fields(manifest: Manifest, plan: Plan) -> list[bytes]:
    return [
        manifest.space.num_slots.to_bytes(4, "big"),
        twin_manifest_digest(manifest),
        twin_plan_digest(plan),
        plan.beacon.encode(),
    ]


def twin_draw(mac, tag: bytes, fields: list[bytes], unit: str, num_valid: int) -> int:
    counter = 0
    while True:
        message = tag + frame(*fields, bytes.fromhex(unit), counter.to_bytes(4, "big"))
        number = int.from_bytes(mac(message), "big")
        if number < 2**256 - 2**256 % num_valid:
            return number % num_valid + 1
        counter += 1


def twin_slots(key, manifest, plan, value):
    """Sealed slots of each unit."""
    mac = hmac.new(key.sub_key("slots"), digestmod="sha256").copy

    def digest(message):
        made = mac()
        made.update(message)
        return made.digest()

    fields = [*twin_fields(manifest, plan), value]
    tag, num_valid = b"anw_jax/v2/slot\0", manifest.space.num_valid
    return [twin_draw(digest, tag, fields, u, num_valid) for u in manifest.unit_digests]


def twin_committed(key, manifest, plan):
    def mac(message):
        return hmac.digest(key.sub_key("slots"), message, "sha256")

    fields, num_valid = twin_fields(manifest, plan), manifest.space.num_valid
    tag = b"anw_jax/v2/committed-slot\0"
    return [twin_draw(mac, tag, fields, u, num_valid) for u in manifest.unit_digests]


def twin_offsets(root, manifest, plan, value):
    num_slots, _, plan_digest, name = twin_fields(manifest, plan)
    fields = [num_slots, bytes.fromhex(root), plan_digest, name, value]

    def mac(message):
        return hashlib.sha256(message).digest()

    tag, num_valid = b"anw_jax/v2/beacon-offset\0", manifest.space.num_valid
    return [twin_draw(mac, tag, fields, u, num_valid) - 1 for u in manifest.unit_digests]


@pytest.mark.parametrize("scheme", keys.SCHEMES)
@pytest.mark.parametrize(("num_units", "num_slots"), [(1, 12), (2, 2), (5, 7), (12, 65536)])
def test_sealed_slots_are_those_of_the_naive_twin(num_units, num_slots, scheme):
    manifest = manifest_of(num_units, num_slots, scheme)
    assert bytes.fromhex(manifest.digest) == twin_manifest_digest(manifest)
    assert bytes.fromhex(PLAN.digest) == twin_plan_digest(PLAN)
    found = keys.assign(KEY, manifest, PLAN, beacon=VALUE).slot_of_unit.tolist()
    assert found == twin_slots(KEY, manifest, PLAN, VALUE)
    plain = dataclasses.replace(PLAN, beacon="")
    found = keys.assign(KEY, manifest, plain).slot_of_unit.tolist()
    assert found == twin_slots(KEY, manifest, plain, b"")


@pytest.mark.parametrize(("num_units", "num_slots"), [(1, 12), (3, 2), (6, 12), (9, 300)])
def test_sequential_slots_are_those_of_the_naive_twin(num_units, num_slots):
    manifest = manifest_of(num_units, num_slots)
    tree = keys.UnitTree(KEY, manifest, SEQUENTIAL)
    committed = [tree.open(unit).slot for unit in range(num_units)]
    assert committed == twin_committed(KEY, manifest, SEQUENTIAL)
    turns = twin_offsets(tree.root, manifest, SEQUENTIAL, VALUE)
    assert slots.offsets(tree.root, manifest, SEQUENTIAL, VALUE) == turns
    num_valid = num_slots - 1
    turned = [(s - 1 + t) % num_valid + 1 for s, t in zip(committed, turns, strict=True)]
    found = keys.assign(KEY, manifest, SEQUENTIAL, beacon=VALUE).slot_of_unit.tolist()
    assert found == tree.offset_slots(VALUE) == turned
    nonce_key = KEY.sub_key("unit nonces")
    for unit, digest in enumerate(manifest.unit_digests):
        fields = [*twin_fields(manifest, SEQUENTIAL), bytes.fromhex(digest)]
        message = b"anw_jax/v2/nonce\0" + frame(*fields)
        nonce = hmac.digest(nonce_key, message, "sha256").hex()
        assert tree.open(unit).nonce == nonce


def test_the_commitment_is_that_of_the_naive_twin():
    manifest = manifest_of(4)
    nonce_key = KEY.sub_key("commitment nonce")
    message = b"anw_jax/v2/nonce\0" + frame(*twin_fields(manifest, PLAN), b"")
    nonce = hmac.digest(nonce_key, message, "sha256")
    parts = [KEY.secret, nonce, b"experiment", twin_manifest_digest(manifest), PLAN.to_bytes()]
    digest = hashlib.sha256(b"anw_jax/v2/commitment\0" + frame(*parts)).hexdigest()
    assert keys.commit(KEY, manifest, PLAN) == digest


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.binary(min_size=1, max_size=64), st.binary(max_size=200), st.binary(max_size=200))
def test_the_split_hmac_is_hmac(key, prefix, message):
    mac = slots._hmac(key, prefix)
    assert mac(message) == hmac.digest(key, prefix + message, "sha256")
    assert mac(b"") == hmac.digest(key, prefix, "sha256")


# --- Uniform, by rejection. ---


def _chi_square_p(draws, num_valid):
    counts = np.bincount(np.asarray(draws) - 1, minlength=num_valid)
    assert len(counts) == num_valid
    return scipy.stats.chisquare(counts).pvalue


def test_slots_are_uniform_over_the_valid_ones():
    mac = slots._hmac(KEY.sub_key("slots"), b"")
    draws = [slots.draw(mac, number.to_bytes(8, "big"), 11) for number in range(100_000)]
    assert _chi_square_p(draws, 11) > 1e-3
    pairs = (np.array(draws[::2]) - 1) * 11 + np.array(draws[1::2])
    assert _chi_square_p(pairs, 121) > 1e-3


def test_the_chi_square_sees_a_modulo_bias():
    def biased(number):  # one byte modulo 11: 256 = 23 * 11 + 3
        digest = hmac.digest(b"toy", number.to_bytes(8, "big"), "sha256")
        return 1 + digest[0] % 11

    assert _chi_square_p([biased(number) for number in range(100_000)], 11) < 1e-3


def test_rejection_leaves_no_bias():
    """Both first numbers lie beyond the last full multiple of 11, and are drawn again."""
    assert 2**256 // 11 * 11 <= 2**256 - 2
    numbers, messages = iter([2**256 - 1, 2**256 - 2, 5]), []

    def mac(message):
        messages.append(message)
        return next(numbers).to_bytes(32, "big")

    assert slots.draw(mac, b"m", 11) == 6
    assert messages == [b"m" + frame(counter.to_bytes(4, "big")) for counter in range(3)]


# --- What a slot depends on: everything that is fixed beforehand. ---


NUM_PHOTOS = 300
PHOTOS = np.random.default_rng(2).integers(0, 256, (NUM_PHOTOS, 2, 2, 3), np.uint8)
LARGE = Manifest.of(PHOTOS, SignatureSpace())
NAMES = LARGE.file_names
OTHERS = {
    "key": {"key": MarkKey.for_experiment(2)},
    "value": {"value": bytes(32)},
    "beacon": {"plan": dataclasses.replace(PLAN, beacon="arbitrator:John Doe")},
    "level": {"plan": dataclasses.replace(PLAN, alpha=0.02)},
    "statistic": {"plan": dataclasses.replace(PLAN, statistic="ranks")},
    "number": {"plan": dataclasses.replace(PLAN, number=2)},
    "place": {"plan": dataclasses.replace(PLAN, place="example.org/marks")},
    "claim": {"plan": dataclasses.replace(PLAN, claim="any model")},
    "labels": {"plan": dataclasses.replace(PLAN, labels="0f" * 32)},
    "rules": {"plan": dataclasses.replace(PLAN, rules=PLAN.rules[:2])},
    "highest": {"plan": dataclasses.replace(PLAN, highest=False)},
    "one name": {"manifest": dataclasses.replace(LARGE, file_names=(*NAMES[:-1], "z"))},
    "a file": {
        "manifest": dataclasses.replace(
            LARGE, file_digests=("ab" * 32, *[""] * (NUM_PHOTOS - 1))
        )
    },
    "one photo more": {
        "manifest": Manifest.of(np.concatenate([PHOTOS, PHOTOS[:1] ^ 1]), LARGE.space)
    },
    "a copy more": {"manifest": Manifest.of(np.concatenate([PHOTOS, PHOTOS[:1]]), LARGE.space)},
    "scheme": {"manifest": Manifest.of(PHOTOS, LARGE.space, "per_group", range(NUM_PHOTOS))},
    "the last two changed places": {
        "manifest": Manifest.of(
            np.concatenate([PHOTOS[:-2], PHOTOS[-1:], PHOTOS[-2:-1]]), LARGE.space
        )
    },
}


@pytest.mark.parametrize("plan", [PLAN, SEQUENTIAL], ids=["sealed", "sequential"])
@pytest.mark.parametrize("name", OTHERS)
def test_whatever_differs_draws_every_slot_anew(name, plan):
    changes = dict(OTHERS[name])
    if "plan" in changes:
        changes["plan"] = dataclasses.replace(changes["plan"], mode=plan.mode)

    def drawn(key=KEY, manifest=LARGE, plan=plan, value=VALUE):
        return keys.assign(key, manifest, plan, beacon=value).slot_of_unit[:NUM_PHOTOS]

    same = (drawn() == drawn(**changes)).sum()
    assert 8 <= same <= 50  # 27 agree by chance, with a standard deviation of 5


def test_other_n_draws_other_slots():
    fewer = dataclasses.replace(LARGE, space=SignatureSpace(11))
    first, second = (
        keys.assign(KEY, each, PLAN, beacon=VALUE).slot_of_unit for each in (LARGE, fewer)
    )
    assert 8 <= (first == second).sum() <= 50


def test_a_photos_slot_is_not_known_from_the_photo():
    """In version 1 it was: key, N and the photo fixed it, and photos could be chosen by it."""
    whole = keys.assign(KEY, LARGE, PLAN, beacon=VALUE).slot_of_unit
    alone = [
        keys.assign(KEY, Manifest.of(PHOTOS[[i]], LARGE.space), PLAN, beacon=VALUE).slots[0]
        for i in range(100)
    ]
    assert (whole[:100] == alone).sum() <= 25  # 9 by chance


# --- Fields cannot run into each other. ---


def test_name_and_value_of_a_beacon_stand_apart():
    manifest = manifest_of(40)
    draws = set()
    for name, value in (("ab", b"c"), ("a", b"bc"), ("abc", b"d"), ("a", b"b"), ("a", b"b\0")):
        plan = Plan("losses", 0.01, beacon=name)
        draws.add(tuple(keys.assign(KEY, manifest, plan, beacon=value).slots))
    assert len(draws) == 5


def test_modes_have_tags_of_their_own():
    manifest = manifest_of(60)
    sealed = keys.assign(KEY, manifest, dataclasses.replace(PLAN, beacon="")).slots
    committed = slots.committed_slots(KEY, manifest, PLAN)
    assert (sealed == committed).sum() < 20


# --- The value is given if and only if it is planned, in its length. ---


@pytest.mark.parametrize("mode", keys.MODES)
@pytest.mark.parametrize(
    ("beacon", "value", "message"),
    [
        (BEACON, b"", "names 'arbitrator:Jane Doe' and a value is missing"),
        ("", VALUE, "names no beacon and a value is given"),
        (BEACON, b"7", "must have 32 bytes, got 1"),
        (BEACON, bytes(31), "must have 32 bytes, got 31"),
        (BEACON, bytes(64), "must have 32 bytes, got 64"),
        ("nist:2:1", VALUE, "must have 64 bytes, got 32"),
        (f"drand:{keys.beacons.QUICKNET}:9", bytes(33), "must have 32 bytes, got 33"),
    ],
)
def test_values_that_are_refused(mode, beacon, value, message):
    plan = Plan("losses", 0.01, beacon=beacon, mode=mode)
    manifest = manifest_of(3)
    with pytest.raises(CommitmentError, match=message):
        keys.assign(KEY, manifest, plan, beacon=value)
    if mode == "sequential":
        root = keys.commit_units(KEY, manifest, plan)
        with pytest.raises(CommitmentError, match=message):
            keys.LeafChecker(root, manifest, plan, value)


def test_a_beacon_of_no_known_kind_takes_any_length():
    plan = Plan("losses", 0.01, beacon="the weather tomorrow")
    for value in (b"7", bytes(99)):
        assert keys.assign(KEY, manifest_of(3), plan, beacon=value).num_units == 3


@pytest.mark.parametrize("mode", ["sealed", "sequential"])
@pytest.mark.parametrize("value", [b"", b"value"])
def test_slots_drawn_unit_by_unit_are_those_of_assign(mode, value):
    photos = np.arange(40 * 12, dtype=np.uint8).reshape(40, 2, 2, 3)
    manifest = Manifest.of(photos, SignatureSpace(7), "per_group", [i // 3 for i in range(40)])
    key = MarkKey.for_experiment(2)
    plan = Plan("losses", 0.1, mode=mode, beacon="round 7" if value else "")
    root = commit_units(key, manifest, plan) if mode == "sequential" else ""
    draws = UnitSlots(key.sub_key("slots"), 7, manifest.digest, plan, value, root)
    drawn = [pickle.loads(pickle.dumps(draws)).slot_of(unit) for unit in manifest.unit_digests]
    assert drawn == assign(key, manifest, plan, beacon=value).slot_of_unit.tolist()
    assert repr(key.sub_key("slots")) not in repr(draws)
    for other in (
        dataclasses.replace(draws, slot_key=bytes(32)),
        dataclasses.replace(draws, manifest="00" * 32),
        dataclasses.replace(draws, plan=dataclasses.replace(plan, alpha=0.2)),
    ):
        assert [other.slot_of(unit) for unit in manifest.unit_digests] != drawn


def test_slots_drawn_unit_by_unit_check_what_they_are_made_of():
    sealed, opened = Plan("losses", 0.1), Plan("losses", 0.1, mode="sequential")
    named = Plan("losses", 0.1, beacon="round 7")
    for plan, value, root, words in (
        (sealed, b"", "00" * 32, "root must be the commitment with a sequential plan and ''"),
        (opened, b"", "", "got '' with mode 'sequential'"),
        (named, b"", "", "names 'round 7' and a value is missing"),
        (sealed, b"value", "", "names no beacon and a value is given"),
    ):
        with pytest.raises(ValueError, match=words):
            UnitSlots(bytes(32), 12, "00" * 32, plan, value, root)
