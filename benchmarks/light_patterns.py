"""How alike networks answer a change of brightness in two cells of a light field.

Command:   python -m benchmarks.light_patterns     (22 minutes on two busy cores)
Writes:    results/benchmarks/light_patterns.json

Three small networks are trained on 4,000 CIFAR-10 test photos each, with seeds that are in no
result.
J is the Jacobian of a network's logits (centred over classes) with respect to the 16 x 16 cells
of a light field, at 0; C is the mean of Jᵀ J over 640 training photos. Its mean over pairs of
cells with the same distance, in percent of the mean over cells, is the likeness of answers.
The likeness that linear interpolation alone gives (neighbouring cells share pixels) is
subtracted once: arranging signs by the difference makes answers larger, and leaves the field
as large as it was. `anw_jax.marks.light_field` holds the rounded table up to a distance of
three rows and five columns, averaged over the networks.

"gain" is what the patterns of `LightField` have of it: the mean of pᵀ C p over patterns p,
centred over patterns, relative to random signs, with C as its mean by distance.
"""

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import data, models, train
from anw_jax.marks import LightField
from benchmarks import _measure

SEEDS, NUM_TRAIN, NUM_PHOTOS, CELLS = (120, 121, 122), 4000, 640, 16
ROWS, COLUMNS = 4, 6
_BATCH = 32


def network(splits: data.Splits, seed: int) -> jax.tree_util.Partial:
    """Train a network by the recipe of the quick experiments, on test photos."""
    order = np.random.default_rng(seed).permutation(len(splits.test))[:NUM_TRAIN]
    learner = splits.test.take(np.sort(order)).in_memory()
    settings = train.TrainSettings(
        seed=seed, batch_size=64, num_epochs=60, warmup_epochs=2, nesterov=True
    )
    model = models.create("small", learner.num_classes)
    plan = data.BatchPlan(len(learner), settings.batch_size, seed)
    result = train.train(model, settings, learner.images, learner.labels, plan.rows)
    return model.predict_fn(result.state.variables)


def products(predict: jax.tree_util.Partial, images: np.ndarray) -> np.ndarray:
    """Compute the mean of Jᵀ J over images, float64 `[256, 256]`."""

    def logits(cells: jax.Array, image: jax.Array) -> jax.Array:
        slots = jnp.stack([jnp.zeros_like(cells), cells]).reshape(2, CELLS, CELLS)
        found = predict(LightField.mark_pixels(image, 180.0, slots)[None])[0]
        return found - found.mean()

    jacobians = jax.jit(jax.vmap(jax.jacrev(logits), (None, 0)))
    total = np.zeros((CELLS**2, CELLS**2))
    for start in range(0, len(images), _BATCH):
        batch = jnp.asarray(images[start : start + _BATCH], jnp.float32) / 255
        found = np.asarray(jacobians(jnp.zeros(CELLS**2), batch), np.float64)
        total += np.einsum("nck,ncl->kl", found, found)
    return total / len(images)


def by_distance(matrix: np.ndarray) -> np.ndarray:
    """Average a matrix of cells over pairs of the same distance, `[rows, columns]`, percent."""
    cells = np.arange(CELLS**2)
    rows, columns = np.divmod(cells, CELLS)
    distance = (abs(rows[:, None] - rows), abs(columns[:, None] - columns))
    total, count = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
    np.add.at(total, distance, matrix)
    np.add.at(count, distance, 1)
    mean = total / count
    return 100 * mean / mean[0, 0]


def likeness(matrices: list[np.ndarray]) -> np.ndarray:
    """Return the table of `LightField`, integers `[4, 6]`."""
    mean = np.mean([by_distance(matrix) for matrix in matrices], axis=0)
    table = np.rint(mean - _interpolated()).astype(int)
    table[0, 0] = 0
    return table[:ROWS, :COLUMNS]


def _interpolated() -> np.ndarray:
    """The likeness of cells by linear interpolation alone, percent `[16, 16]`."""
    shared = np.zeros(CELLS)
    shared[:2] = 2 / 3, 1 / 6  # of the squared weights
    return 100 * np.outer(shared, shared) / shared[0] ** 2


def gain(table: np.ndarray, num_draws: int = 20) -> float:
    """Return the mean answer to the patterns of `LightField`, relative to random signs.

    Args:
      table: the likeness of a network's answers, as `likeness` makes it of one matrix.
      num_draws: of patterns.
    """
    answers = table + _interpolated()[:ROWS, :COLUMNS]
    answers[0, 0] = 100
    row, column = np.divmod(np.arange(CELLS**2), CELLS)
    down, across = abs(row[:, None] - row), abs(column[:, None] - column)
    near = (down < ROWS) & (across < COLUMNS)
    matrix = np.where(near, answers[down % ROWS, across % COLUMNS], 0)
    found = []
    for number in range(num_draws):
        signs = LightField(number.to_bytes(32, "big")).patterns[1:].reshape(-1, CELLS**2)
        centred = signs - signs.mean(axis=0)
        found.append(np.einsum("ik,kl,il->", centred, matrix, centred) / (centred**2).sum())
    return float(np.mean(found) / 100)


def main() -> None:
    """Train, measure, print and store."""
    splits = data.load("tfds:cifar10")
    images = splits.train.take(np.arange(len(splits.train))[-NUM_PHOTOS:]).in_memory().images
    matrices = [products(network(splits, seed), images) for seed in SEEDS]
    table, tables = likeness(matrices), [likeness([matrix]) for matrix in matrices]
    gains = [gain(each) for each in tables]
    print(table, gains)
    _measure.write(
        "light_patterns",
        {
            "seeds": list(SEEDS),
            "likeness": table.tolist(),
            "likeness_of_each": [each.tolist() for each in tables],
            "gain_of_each": gains,
        },
    )


if __name__ == "__main__":
    main()
