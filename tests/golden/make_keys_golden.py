"""Makes keys.json: `python tests/golden/make_keys_golden.py` from the repository."""

import json
import pathlib
from typing import Any

import numpy as np

from anw_jax import keys


def golden() -> dict[str, Any]:
    """Digests, slots and commitments that no later version may change."""
    mark_key = keys.MarkKey(bytes(range(32)))
    images = np.arange(6 * 4 * 5 * 3, dtype=np.uint8).reshape(6, 4, 5, 3)
    images[5] = images[0]
    result: dict[str, Any] = {
        "image_digest": keys.image_digest(images[0]),
        "sub_key": mark_key.sub_key("slots").hex(),
        "experiment_key": keys.MarkKey.for_experiment(7, "ann").sub_key("slots").hex(),
        "schemes": {},
    }
    for scheme in keys.SCHEMES:
        groups = list("aabbcc") if scheme == "per_group" else None
        manifest = keys.Manifest.of(images, keys.SignatureSpace(), scheme, groups)
        commitment = keys.commit(mark_key, manifest, keys.Plan("log_losses", 1e-6))
        result["schemes"][scheme] = {
            "unit_digests": list(manifest.unit_digests),
            "slots": keys.assign(mark_key, manifest).slots.tolist(),
            "commitment": commitment,
            "public_seed": keys.public_seed(commitment, keys.Plan("log_losses", 1e-6)),
        }
    return result


if __name__ == "__main__":
    path = pathlib.Path(__file__).with_name("keys.json")
    path.write_text(json.dumps(golden(), indent=1) + "\n")
