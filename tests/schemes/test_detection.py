"""Can a mark be seen in the weights? 100 marked and 100 clean networks, and one that shouts.

A property-inference attacker has 200 networks of the owner's kind and knows which are marked;
he learns to tell them apart by statistics of their weights. All networks are trained, and all
marks embedded, at once (`jax.vmap`).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from anw_jax import stats, train
from anw_jax.keys import MarkKey
from anw_jax.schemes import keygen, multitask, plan_of, weights_digest

SHAPE, HIDDEN, CHANNELS, CLASSES = (8, 8, 3), 64, 24, 10
COUNT = 100
NUM_BITS, NUM_PROBES = 64, 96
TRAIN_STEPS, EMBED_STEPS = 300, 200
# As `experiments/multitask.py` simulates the fine-tuning of a projection.
EXPERIMENT_TUNING = {"num_steps": 5, "learning_rate": 0.1}
TEMPLATES = np.random.default_rng(12).random((CLASSES, 64), np.float32)


def apply(params, images):
    """A small perceptron: logits `[b, 10]`, and the second layer, which is tapped."""
    pixels = images[..., 0].reshape(len(images), -1) - 0.5
    hidden = jax.nn.relu(pixels @ params["first"])
    tapped = hidden @ params["second"]
    return jax.nn.relu(tapped) @ params["head"], tapped


def taps_fn(variables, images):
    return (apply(variables["params"], images)[1],)


def first_params(key):
    keys = jax.random.split(key, 3)
    sizes = {"first": (64, HIDDEN), "second": (HIDDEN, CHANNELS), "head": (CHANNELS, CLASSES)}
    return {
        name: jax.random.normal(one, size) * np.sqrt(2.0 / size[0])
        for (name, size), one in zip(sizes.items(), keys, strict=True)
    }


def batch_of(key):
    """Draw from a task of ten noisy templates, the same for all networks."""
    one, two = jax.random.split(key)
    labels = jax.random.randint(one, (32,), 0, CLASSES)
    noisy = jnp.asarray(TEMPLATES)[labels] + 0.5 * jax.random.normal(two, (32, 64))
    return jnp.repeat(noisy.reshape(32, 8, 8, 1), 3, axis=3), labels


def task_loss(params, key):
    images, labels = batch_of(key)
    logits = apply(params, images)[0]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def own_loss(params, model_state, batch, key):
    return task_loss(params, key), model_state


def optimised(loss_fn, params, key, num_steps, rate):
    """Run Adam; `loss_fn(params, key)` is a scalar."""
    optimiser = train.adam(rate)

    def step(state, number):
        params, inner = state
        slope = jax.grad(loss_fn)(params, jax.random.fold_in(key, number))
        updates, inner = optimiser.update(slope, inner)
        return (optax.apply_updates(params, updates), inner), None

    start = (params, optimiser.init(params))
    return jax.lax.scan(step, start, jnp.arange(num_steps))[0][0]


@functools.cache
def clean():
    """200 clean networks from seeds of their own, stacked."""

    def trained(seed):
        start, steps = jax.random.split(jax.random.key(seed))
        return optimised(task_loss, first_params(start), steps, TRAIN_STEPS, 3e-3)

    return jax.device_get(jax.jit(jax.vmap(trained))(jnp.arange(2 * COUNT)))


def one_of(stacked, number):
    return jax.tree.map(lambda leaf: leaf[number], stacked)


@functools.cache
def owners():
    """Decoder, bits and target of the first 100 networks' owners."""
    found = []
    for number in range(COUNT):
        params = one_of(clean(), number)
        key = MarkKey.for_experiment(number, "detection")
        decoder = multitask.make_decoder(
            key,
            weights_digest(params),
            ("second",),
            num_bits=NUM_BITS,
            image_shape=SHAPE,
            num_probes=NUM_PROBES,
        )
        plan = plan_of(decoder, alpha=1e-6, beacon="arbitrator:A")
        bits = keygen(key, decoder, plan, beacon=bytes(32))
        base = functools.partial(taps_fn, {"params": params})
        found.append((decoder, bits, base, multitask.target_of(decoder, base, bits)))
    return found


def marked(margin: float, drift: float, tuning: dict | None = None):
    """The first 100 networks with their owners' marks in them, stacked.

    As `multitask.embed` does it, the last layer stays. With `tuning`, the simulated fine-tuning
    of R_DA, the task's own loss is kept too.
    """
    arrays = [
        {
            name: getattr(target, name)
            for name in (
                "inputs",
                "directions",
                "base_scores",
                "signs",
                "probes",
                "base_probes",
            )
        }
        | {"scale": jnp.float32(target.scale)}
        for *_, target in owners()
    ]
    side = owners()[0][-1].side

    def embed(base, fields):
        target = multitask.Target(**fields, side=side)
        watermark_fn = multitask.watermark_penalty(
            taps_fn, target, margin=margin, pairs=NUM_BITS, probes=NUM_PROBES
        )
        drift_fn = multitask.drift_penalty(
            {"first": base["first"], "second": base["second"]}, 1.0
        )

        penalties = [watermark_fn]
        if tuning:
            penalties += [
                multitask.tuning_penalty(watermark_fn, own_loss, weight=1.0, **tuning),
                lambda *args: own_loss(*args)[0],
            ]

        def loss_fn(params, key):
            params = params | {"head": base["head"]}
            return drift * drift_fn(params, (), None, key) + sum(
                penalty_fn(params, (), None, jax.random.fold_in(key, number))
                for number, penalty_fn in enumerate(penalties)
            )

        return optimised(loss_fn, base, jax.random.key(0), EMBED_STEPS, 3e-3)

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *arrays)
    bases = jax.tree.map(lambda leaf: jnp.asarray(leaf[:COUNT]), clean())
    return jax.device_get(jax.jit(jax.vmap(embed))(bases, stacked))


def statistics(params) -> np.ndarray:
    """What the attacker sees of one network: moments, quantiles and spectra of each layer."""
    found = []
    for name in ("first", "second", "head"):
        weights = np.asarray(params[name], np.float64)
        singular = np.linalg.svd(weights, compute_uv=False)
        found += [weights.mean(), weights.std(), scipy.stats.kurtosis(weights.ravel())]
        found += list(np.quantile(weights, [0.01, 0.1, 0.9, 0.99]))
        found += [singular[0], np.median(singular), singular[-1]]
    return np.array(found)


def cross_validated_auc(marks, cleans, folds: int = 10) -> tuple[float, float]:
    """Ridge regression on standardised statistics; AUC of held-out scores, and its error."""
    features = np.array([statistics(one) for one in (*marks, *cleans)])
    labels = np.r_[np.ones(len(marks)), np.zeros(len(cleans))]
    order = np.random.default_rng(0).permutation(len(labels))
    scores = np.zeros(len(labels))
    for fold in np.array_split(order, folds):
        rest = np.setdiff1d(order, fold)
        centre, spread = features[rest].mean(axis=0), features[rest].std(axis=0)
        known, held = ((features[rows] - centre) / spread for rows in (rest, fold))
        penalty = 1.0 * np.eye(known.shape[1])
        weights = np.linalg.solve(known.T @ known + penalty, known.T @ (labels[rest] - 0.5))
        scores[fold] = held @ weights
    pairs = len(marks) * len(cleans)
    auc = scipy.stats.mannwhitneyu(scores[labels == 1], scores[labels == 0]).statistic / pairs
    # Hanley and McNeil 1982, https://doi.org/10.1148/radiology.143.1.7063747
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    num, other = len(marks), len(cleans)
    variance = auc * (1 - auc) + (num - 1) * (first - auc**2) + (other - 1) * (second - auc**2)
    return float(auc), float(np.sqrt(max(variance, 0.0) / pairs))


def unstacked(stacked, numbers):
    return [one_of(stacked, number) for number in numbers]


def test_the_attacker_finds_what_is_there_and_nothing_else():
    """Networks that differ by nothing are at 0.5; a shifted spread is found."""
    rng = np.random.default_rng(3)
    sizes = {"first": (64, 8), "second": (8, 8), "head": (8, 4)}

    def nets(spread):
        return [{n: spread * rng.normal(size=s) for n, s in sizes.items()} for _ in range(60)]

    same, _ = cross_validated_auc(nets(1.0), nets(1.0))
    other, _ = cross_validated_auc(nets(1.15), nets(1.0))
    assert 0.3 < same < 0.7
    assert other > 0.9


@pytest.mark.slow
def test_a_quiet_mark_is_not_seen_in_the_weights_and_a_loud_one_is():
    """Quiet: the default margin and drift penalty, and those of `experiments/multitask.py`."""
    cleans = unstacked(clean(), range(COUNT, 2 * COUNT))
    for quiet in (marked(1.0, 1.0), marked(1.5, 1.0, EXPERIMENT_TUNING)):
        for number in (0, COUNT - 1):
            decoder, bits, base, _ = owners()[number]
            suspect = functools.partial(taps_fn, {"params": one_of(quiet, number)})
            scores = multitask.extract(decoder, base, suspect)
            assert stats.bit_test(scores, bits, alpha=1e-6).log10_p < -12
        auc, error = cross_validated_auc(unstacked(quiet, range(COUNT)), cleans)
        assert auc - 1.96 * error <= 0.5
        assert auc + 1.96 * error <= 0.65
    louder, loud = (
        cross_validated_auc(unstacked(marked(margin, drift), range(COUNT)), cleans)[0]
        for margin, drift in ((2.0, 0.1), (30.0, 0.0))
    )
    assert louder < 0.75
    assert loud >= 0.9
