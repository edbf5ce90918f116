"""Mutants of keys, manifests and the values of beacons: the same thing, or one line."""

import json

import numpy as np
import pytest

from anw_jax.errors import KeyFileError
from anw_jax.keys import AccessRule, LeafOpening, Manifest, MarkKey, SignatureSpace
from anw_jax.keys.beacons import QUICKNET, value_of
from tests.keys.drand import ROUND_1000
from tests.mutants import COUNTS, bytewise, different, structured, survives

NOISE = np.random.default_rng(5).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
NAMES = ("a.png", "café.png", "b/c d.png", "e;f.png")
MANIFEST = Manifest.of(NOISE, SignatureSpace(), file_names=NAMES)
PULSE = {"pulse": {"chainIndex": 2, "pulseIndex": 9, "outputValue": "AB" * 64, "version": "2"}}


def mutants_of(body: bytes, salt: str, count: int):
    def make(before, rng):
        return (structured if rng.random() < 0.6 else bytewise)(before, rng)

    return different(body, make, salt, count)


@pytest.mark.parametrize("count", COUNTS)
def test_fuzz_keys(tmp_path, count):
    path, mark_key = tmp_path / "ann.key", MarkKey(bytes(range(32)))
    mark_key.save(path)
    body = path.read_bytes()

    def read(mutant):
        path.write_bytes(mutant)
        assert MarkKey.load(path) == mark_key

    _, num_refused = survives("key file", mutants_of(body, "key", count), read, KeyFileError)
    assert num_refused


@pytest.mark.parametrize("count", COUNTS)
def test_fuzz_manifests(tmp_path, count):
    path, digests = tmp_path / "manifest.json", {}

    def read(mutant):
        path.write_bytes(mutant)
        manifest = Manifest.load(path)
        # One digest is one manifest, and what was read is written and read alike.
        assert Manifest.from_json(manifest.to_json()) == manifest
        assert digests.setdefault(manifest.digest, manifest) == manifest

    body = MANIFEST.to_json().encode()
    read(body)
    _, num_refused = survives(
        "manifest, read", mutants_of(body, "manifest", count), read, ValueError
    )
    assert num_refused


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(
    ("name", "served", "digits"),
    [
        (f"drand:{QUICKNET}:1000", ROUND_1000, ROUND_1000["randomness"]),
        ("nist:2:9", PULSE, "AB" * 64),
    ],
    ids=["drand", "nist"],
)
def test_fuzz_values_of_beacons(name, served, digits, count):
    body = json.dumps(served).encode()

    def read(mutant):
        # The bare digits are the arbitrator's own word; what was served is of this round.
        value = value_of(name, mutant.decode("utf-8", "surrogateescape"))
        assert len(value) == len(digits) // 2
        text = mutant.decode("utf-8", "surrogateescape").casefold()
        assert value.hex() in text

    kind = f"beacon's value: {name.partition(':')[0]}"
    _, num_refused = survives(kind, mutants_of(body, name, count), read, ValueError)
    assert num_refused


@pytest.mark.parametrize("value", [[], 3, None])
def test_a_value_of_another_kind_is_no_manifest(value):
    body = json.loads(MANIFEST.to_json())
    with pytest.raises(ValueError, match="scheme must be"):
        Manifest.from_json(json.dumps({**body, "scheme": value}))


def test_a_plan_cannot_ask_for_more_views_than_fit_into_memory():
    assert AccessRule("label", views=1024).views == 1024
    with pytest.raises(ValueError, match="views must be at most 1024, got 1099511627776"):
        AccessRule("label", views=2**40)


def test_an_opening_whose_origin_is_no_text():
    body = {"unit": 0, "slot": 1, "nonce": "0f" * 32, "origin": "\ud800", "path": []}
    with pytest.raises(ValueError, match="origin must"):
        LeafOpening.from_dict(body)
