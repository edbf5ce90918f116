"""Embed the bits of a key into a clean network: the second of two phases."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from anw_jax import _check, data, train
from anw_jax.keys import Bits
from anw_jax.models import Model
from anw_jax.schemes.multitask.branch import (
    Branch,
    branch_penalty,
    init_branch,
    input_features,
)
from anw_jax.schemes.multitask.decoder import Decoder
from anw_jax.schemes.multitask.penalties import (
    NetworkTapsFn,
    Target,
    drift_penalty,
    moved_scores,
    target_of,
    tuning_penalty,
    watermark_penalty,
)
from anw_jax.schemes.scheme import TapsFn
from anw_jax.schemes.weights import BRANCH, weights_digest
from anw_jax.train.checkpoints import digest
from anw_jax.train.runner import identity_of
from anw_jax.train.step import LossFn


@dataclasses.dataclass(frozen=True)
class EmbedSettings:
    """How bits are embedded; needs no secrecy and no commitment.

    Attributes:
      num_steps: steps of Adam.
      learning_rate: of Adam's first step; it falls to 0 along a cosine.
      batch_size: images of the task per step, for the simulated fine-tuning.
      margin: how far scores are moved, in standard deviations of w0's scores.
      pairs: pairs of watermark inputs per step.
      probes: probes per step, to which the network's layers are aligned as the reader aligns
        them; the branch does without.
      drift: weight of R_func; 0 = without.
      tuning: weight of R_DA; 0 = without.
      primary: weight of the task's own loss; 0 = without, as in the authors' code.
      tuning_steps: simulated steps of fine-tuning.
      tuning_rate: learning rate of these.
      seed: of the batches.

    Raises:
      TypeError, ValueError: a field out of its range.
    """

    num_steps: int = 400
    learning_rate: float = 5e-4
    batch_size: int = 64
    margin: float = 1.0
    pairs: int = 64
    probes: int = 256
    drift: float = 1.0
    tuning: float = 1.0
    primary: float = 1.0
    tuning_steps: int = 3
    tuning_rate: float = 0.05
    seed: int = 0

    def __post_init__(self):
        for name in ("num_steps", "batch_size", "pairs", "tuning_steps"):
            _check.integer_at_least(1, **{name: getattr(self, name)})
        _check.integer_at_least(2, probes=self.probes)
        for name in ("learning_rate", "margin", "tuning_rate"):
            _check.positive(**{name: getattr(self, name)})
        for name in ("drift", "tuning", "primary"):
            _check.in_interval(0.0, float("inf"), **{name: getattr(self, name)})
        _check.integer_at_least(0, seed=self.seed)


DEFAULT = EmbedSettings()


@dataclasses.dataclass(frozen=True, eq=False)
class Embedding:
    """A network with the bits in it.

    Attributes:
      variables: to be released; they hold no part of the decoder.
      share_right: share of the bits whose score has moved in their direction.
      mean_margin: mean of y (a - a0), in standard deviations of w0's scores.
    """

    variables: dict[str, Any]
    share_right: float
    mean_margin: float


def model_taps(model: Model, taps: tuple[str, ...]) -> NetworkTapsFn:
    """Return the taps of a network as a function of its weights; traceable."""
    return lambda variables, images: model.taps(variables, images, taps)


def tapped(model: Model, variables: dict[str, Any], taps: tuple[str, ...]) -> TapsFn:
    """Return the taps of a network with these weights, compiled: what `extract` reads.

    The function that is returned raises ValueError for inputs that the network does not take.
    """
    taps_fn = jax.jit(model_taps(model, taps))

    def read(images: np.ndarray) -> tuple[np.ndarray, ...]:
        try:
            return jax.device_get(taps_fn(variables, jnp.asarray(images)))
        except ValueError:
            raise
        except Exception as error:  # of chex, flax and jax, which share no base
            raise ValueError(
                f"the network must take the decoder's inputs, {images.dtype} "
                f"{list(images.shape)} ({type(error).__name__})"
            ) from None

    return read


def embed(
    model: Model,
    base: dict[str, Any],
    decoders: list[tuple[Decoder, Bits]],
    images: np.ndarray,
    labels: np.ndarray,
    settings: EmbedSettings = DEFAULT,
    *,
    task_loss: LossFn | None = None,
    **options: Any,
) -> list[Embedding]:
    """Embed the bits of one or several keys into the clean network.

    Batch statistics stay those of the clean network, and so does its last layer.

    Args:
      model: the network.
      base: weights of the clean model w0.
      decoders: each key's decoder and bits; all keys are embedded at once.
      images: uint8 `[n, H, W, 3]`, of the task; used by R_DA alone. With `task_loss` whatever
        it takes, such as int32 tokens `[n, length]`; uint8 arrives there as floats in [0, 1].
      labels: integers `[n]`; with `task_loss` whatever it takes.
      settings: how.
      task_loss: the task's loss on a `train.Batch`, with batch statistics as they are; by
        default the classification of images.
      **options: of `train.fit`: `checkpoint_dir`, `on_segment` …

    Returns:
      One `Embedding` for each key; all have the same weights.

    Raises:
      CommitmentError: a decoder names another clean model.
      ValueError: no decoder, or taps that the network does not have.
      CheckpointError: of `train.fit`; the checkpoints are of other bits or settings.
    """
    if not decoders:
        raise ValueError("decoders must hold at least one key's decoder and bits, got none")
    base_digest = weights_digest(base)
    for decoder, _ in decoders:
        decoder.check_base(base_digest)
    targets = [
        (
            model_taps(model, decoder.taps),
            target_of(decoder, tapped(model, base, decoder.taps), bits),
        )
        for decoder, bits in decoders
    ]
    watermarks = [
        watermark_penalty(
            taps_fn,
            target,
            margin=settings.margin,
            pairs=settings.pairs,
            probes=settings.probes,
        )
        for taps_fn, target in targets
    ]
    task = _Task(images, labels, settings, task_loss)
    variables = _train(model, base, {}, decoders, watermarks, task, options)
    return [_embedding(taps_fn, target, variables) for taps_fn, target in targets]


def embed_branch(
    model: Model,
    base: dict[str, Any],
    decoder: Decoder,
    bits: Bits,
    images: np.ndarray,
    labels: np.ndarray,
    settings: EmbedSettings = DEFAULT,
    *,
    widths: tuple[int, ...] = (256, 32),
    task_loss: LossFn | None = None,
    **options: Any,
) -> tuple[dict[str, Any], Branch]:
    """Train a secret branch on the bits together with the network: the paper's variant.

    Args:
      model: the network.
      base: weights of the clean model w0.
      decoder: names inputs and taps; its projection is not used.
      bits: of the key.
      images: uint8 `[n, H, W, 3]`, of the task.
      labels: integers `[n]`.
      settings: how; `margin` is not used, and `pairs` is the number of inputs per step.
      widths: of the branch's hidden layers.
      task_loss: as for `embed`.
      **options: of `train.fit`.

    Returns:
      The network's weights, without the branch, and the branch: secret, and to be committed to
      (`branch_digest`) before the release.
    """
    decoder.check_base(weights_digest(base))
    features = input_features(decoder, tapped(model, base, decoder.taps))
    first = init_branch(jax.random.key(settings.seed), features.shape[1], widths)
    watermark_fn = branch_penalty(
        model_taps(model, decoder.taps), decoder, bits, inputs=settings.pairs
    )
    task = _Task(images, labels, settings, task_loss)
    added, marks = {BRANCH: first}, [(decoder, bits)]
    return _split(_train(model, base, added, marks, [watermark_fn], task, options))


def move_under_branch(
    model: Model,
    base: dict[str, Any],
    decoder: Decoder,
    bits: Bits,
    branch: Branch,
    images: np.ndarray,
    labels: np.ndarray,
    settings: EmbedSettings = DEFAULT,
    **options: Any,
) -> dict[str, Any]:
    """Train a network alone until a fixed branch reads these bits from it.

    Args:
      model: the network.
      base: its weights; drift is counted from them, and they need not be clean.
      decoder: names inputs and taps.
      bits: what the branch is to read.
      branch: c_WM, which stays as it is.
      images: uint8 `[n, H, W, 3]`, of the task.
      labels: integers `[n]`.
      settings: as for `embed_branch`.
      **options: of `train.fit`.
    """
    watermark_fn = branch_penalty(
        model_taps(model, decoder.taps), decoder, bits, inputs=settings.pairs
    )
    task, added = _Task(images, labels, settings), {BRANCH: branch}
    marks = [(decoder, bits)]
    moved = _train(model, base, added, marks, [watermark_fn], task, options, fixed=(BRANCH,))
    return _split(moved)[0]


def _split(variables: dict[str, Any]) -> tuple[dict[str, Any], Branch]:
    """Separate the weights that are released from the secret branch."""
    params = dict(variables["params"])
    branch = params.pop(BRANCH)
    return variables | {"params": params}, branch


@dataclasses.dataclass(frozen=True, eq=False)
class _Task:
    """The model's own task, for the simulated fine-tuning, and how bits are embedded."""

    images: np.ndarray
    labels: np.ndarray
    settings: EmbedSettings
    loss_fn: LossFn | None = None

    def loss_of(self, model: Model) -> LossFn:
        """Return the task's loss; batch statistics stay as they are."""
        return self.loss_fn or train.classification_loss(model, is_frozen=True)

    def columns(self) -> train.Batch:
        """Return the task's data, checked if it is the classification of images."""
        if self.loss_fn is not None:
            return train.Batch(np.asarray(self.images), np.asarray(self.labels), None)
        images = _check.uint8_images(images=self.images)
        return train.Batch(images, np.asarray(self.labels, np.int32), None)


def _train(
    model: Model,
    base: dict[str, Any],
    added: dict[str, Any],
    marks: list[tuple[Decoder, Bits]],
    watermarks: list[train.losses.PenaltyFn],
    task: _Task,
    options: dict[str, Any],
    fixed: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Train all layers but the last and the fixed ones."""
    params, settings = {**base["params"], **added}, task.settings
    step = train.make_step(
        train.with_penalties(
            _weighted(task.loss_of(model), settings.primary),
            **_penalties(model, base, watermarks, task),
        ),
        train.adam(optax.cosine_decay_schedule(settings.learning_rate, settings.num_steps)),
        trained=tuple(name for name in params if name not in (model.head, *fixed)),
        prepare_fn=_as_floats,
    )
    columns = task.columns()
    plan = data.BatchPlan(len(columns.images), settings.batch_size, settings.seed)
    batches = train.Batches(columns, plan.rows, (settings.batch_size,))
    state, key = step.init(params, base.get("batch_stats", {})), jax.random.key(settings.seed)
    # Another value of the beacon gives other bits: their embedding must not be resumed.
    bits = digest({decoder.digest: own.signs for decoder, own in marks})
    embedding = {"bits": bits, **dataclasses.asdict(settings)}
    identity = {**identity_of(batches, state, key), "embedding": embedding}
    result = train.fit(
        step,
        state,
        batches,
        num_steps=settings.num_steps,
        key=key,
        identity=identity,
        **options,
    )
    return jax.tree.map(jnp.asarray, jax.device_get(result.state.variables))


def _as_floats(
    params: chex.ArrayTree, model_state: chex.ArrayTree, batch: train.Batch, rng: chex.PRNGKey
) -> train.Batch:
    if batch.images.dtype != jnp.uint8:
        return batch
    return batch._replace(images=batch.images.astype(jnp.float32) / 255.0)


def _weighted(loss_fn: LossFn, weight: float) -> LossFn:
    """Return the task's loss times a factor; with 0 it is not computed."""

    def weighted_fn(
        params: chex.ArrayTree, model_state: chex.ArrayTree, batch: Any, rng: chex.PRNGKey
    ) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
        if weight == 0.0:
            return jnp.zeros(()), (model_state, {})
        return weight * loss_fn(params, model_state, batch, rng)[0], (model_state, {})

    return weighted_fn


def _penalties(
    model: Model,
    base: dict[str, Any],
    watermarks: list[train.losses.PenaltyFn],
    task: _Task,
) -> dict[str, train.losses.PenaltyFn]:
    settings, loss_fn, found = task.settings, task.loss_of(model), {}
    for number, watermark_fn in enumerate(watermarks, 1):
        found[f"watermark_{number}"] = watermark_fn
        if settings.tuning > 0.0:
            found[f"tuning_{number}"] = tuning_penalty(
                watermark_fn,
                loss_fn,
                weight=settings.tuning,
                learning_rate=settings.tuning_rate,
                num_steps=settings.tuning_steps,
            )
    if settings.drift > 0.0:
        trained = {name: leaf for name, leaf in base["params"].items() if name != model.head}
        found["drift"] = drift_penalty(trained, settings.drift)
    return {
        name: _with_own_key(penalty_fn, number)
        for number, (name, penalty_fn) in enumerate(found.items())
    }


def _with_own_key(penalty_fn: train.losses.PenaltyFn, number: int) -> train.losses.PenaltyFn:
    """Fold a number into the step's key, so that no two penalties draw the same numbers."""

    def folded_fn(
        params: chex.ArrayTree, model_state: chex.ArrayTree, batch: Any, rng: chex.PRNGKey
    ) -> jax.Array:
        return penalty_fn(params, model_state, batch, jax.random.fold_in(rng, number))

    return folded_fn


def _embedding(taps_fn: NetworkTapsFn, target: Target, variables: dict[str, Any]) -> Embedding:
    pairs, probes = jnp.arange(len(target.signs)), jnp.arange(len(target.probes))
    moved_fn = jax.jit(lambda weights: moved_scores(taps_fn, target, weights, pairs, probes))
    margins = np.asarray(target.signs) * np.asarray(moved_fn(variables))
    return Embedding(variables, float((margins > 0.0).mean()), float(margins.mean()))
