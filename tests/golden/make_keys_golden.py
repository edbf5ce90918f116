"""Makes keys.json: `python tests/golden/make_keys_golden.py` from the repository."""

import json
import pathlib
from typing import Any

import numpy as np

from anw_jax import keys

KEY = keys.MarkKey(bytes(range(32)))
VALUE = bytes(range(100, 132))
BEACON = "arbitrator:Jane Doe"


def photos() -> np.ndarray:
    """Six tiny photos, of which the last is a copy of the first."""
    images = np.arange(6 * 4 * 5 * 3, dtype=np.uint8).reshape(6, 4, 5, 3)
    images[5] = images[0]
    return images


def manifest_of(scheme: str) -> keys.Manifest:
    """The photos' manifest; three albums of two with "per_group"."""
    groups = list("aabbcc") if scheme == "per_group" else None
    return keys.Manifest.of(photos(), keys.SignatureSpace(), scheme, groups)


def golden() -> dict[str, Any]:
    """Digests, slots and commitments that no later version may change."""
    return {
        "image_digest": keys.image_digest(photos()[0]),
        "sub_key": KEY.sub_key("slots").hex(),
        "experiment_key": keys.MarkKey.for_experiment(7, "ann").sub_key("slots").hex(),
        "schemes": {scheme: _sealed(manifest_of(scheme)) for scheme in keys.SCHEMES},
        "sequential": _sequential(manifest_of("per_image")),
    }


def _sealed(manifest: keys.Manifest) -> dict[str, Any]:
    plain = keys.Plan("log_losses", 1e-6)
    plan = keys.Plan("log_losses", 1e-6, beacon=BEACON)
    commitment = keys.commit(KEY, manifest, plan)
    return {
        "manifest_digest": manifest.digest,
        "plan_digest": plan.digest,
        "unit_digests": list(manifest.unit_digests),
        "slots": keys.assign(KEY, manifest, plan, beacon=VALUE).slots.tolist(),
        "slots_without_a_beacon": keys.assign(KEY, manifest, plain).slots.tolist(),
        "commitment": commitment,
        "public_seed": keys.public_seed(commitment, plan),
    }


def _sequential(manifest: keys.Manifest) -> dict[str, Any]:
    plan = keys.Plan("log_losses", 1e-6, mode="sequential", beacon=BEACON)
    tree = keys.UnitTree(KEY, manifest, plan)
    return {
        "root": tree.root,
        "slots": keys.assign(KEY, manifest, plan, beacon=VALUE).slots.tolist(),
        "opening": tree.open(2).to_dict(),
    }


if __name__ == "__main__":
    path = pathlib.Path(__file__).with_name("keys.json")
    path.write_text(json.dumps(golden(), indent=1) + "\n")
