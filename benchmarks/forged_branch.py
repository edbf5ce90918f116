"""How well a linear branch fits labels that have nothing to do with its features (not a time).

The forgery of a trained branch: features are noise, so whatever accuracy is reached proves
nothing. For each number of inputs per feature, the best fit of independent labels and of our
own, which are opposite in pairs. Both reach 1 with as many features as inputs; from six inputs
per feature on neither reaches γ = 0.8.
"""

import numpy as np

from anw_jax.schemes import multitask
from anw_jax.schemes.multitask.branch import branch_logits
from benchmarks import _measure

RATIOS = (1, 2, 3, 4, 6, 8, 12, 16)
SIZES = (240, 600)
SEEDS = range(3)


def labels_of(kind: str, num_inputs: int, rng: np.random.Generator) -> np.ndarray:
    if kind == "independent":
        return rng.integers(0, 2, num_inputs)
    first = rng.integers(0, 2, num_inputs // 2)
    return np.stack([first, 1 - first], axis=1).ravel()


def fitted(kind: str, num_inputs: int, ratio: int, seed: int) -> float:
    """Return the accuracy of the best branch on its own inputs."""
    rng = np.random.default_rng([seed, num_inputs, ratio])
    features = rng.normal(size=(num_inputs, num_inputs // ratio)).astype(np.float32)
    labels = labels_of(kind, num_inputs, rng)
    branch = multitask.forge(features, labels, num_steps=500)
    said = np.asarray(branch_logits(branch, features)) > 0.0
    return float((said == (labels == 1)).mean())


def main() -> None:
    found = {}
    for kind in ("independent", "pairs"):
        found[kind] = {}
        for ratio in RATIOS:
            values = [fitted(kind, size, ratio, seed) for size in SIZES for seed in SEEDS]
            found[kind][str(ratio)] = [round(min(values), 3), round(max(values), 3)]
            print(kind, ratio, found[kind][str(ratio)])
    _measure.write("forged_branch", {"inputs": [*SIZES], "seeds": len(SEEDS), **found})


if __name__ == "__main__":
    main()
