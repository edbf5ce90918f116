"""Train barrier and extractor (stage 1), then the extractor on copies' outputs too (stage 2).

One step serves both stages and the absorbed variant: what differs is how marked images are made
(`models.PictureBarrier.mark`) and which networks are trained.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from anw_jax import _check, data, train
from anw_jax.models import PictureBarrier
from anw_jax.schemes.barrier.pictures import losses
from anw_jax.schemes.barrier.pictures.losses import PictureWeights
from anw_jax.schemes.barrier.pictures.measures import check_marks

Params = dict[str, Any]

_WARMUP_SHARE = 0.05
_WEIGHTS = PictureWeights()
_BATCH = 250

# Keeps the draws of shifts apart from those of marks, which the same key makes.
_SHIFTS = 1


class Triples(NamedTuple):
    """Images of one step, uint8 `[n, H, W, 3]`; float32 in [0, 1] once prepared.

    Attributes:
      inputs: a, of the target model.
      outputs: b, of the target model; for an absorbed one, the outputs that are wanted.
      copied: b'', of a copy for the inputs, in stage 2; None in stage 1.
    """

    inputs: Any
    outputs: Any
    copied: Any = None


@dataclasses.dataclass(frozen=True)
class PictureTraining:
    """A stage: Adam, a short warm-up, then a cosine to 0.

    Attributes:
      num_steps: of Adam.
      batch_size: images of a step, even: halves have the same marks, for consistency.
      learning_rate: its peak.
      max_shift: pixels, below the images' sides. R is shown images moved by up to so many along
        both axes, filled by reflection, and has to draw the mark where it belongs. So H cannot
        tie the mark to places, which copies learn badly. The authors have no shifts, 0.

    Raises:
      TypeError, ValueError: a field out of its range.
    """

    num_steps: int
    batch_size: int = 16
    learning_rate: float = 1e-3
    max_shift: int = 0

    def __post_init__(self):
        _check.integer_at_least(1, num_steps=self.num_steps)
        _check.integer_at_least(2, batch_size=self.batch_size)
        if self.batch_size % 2:
            raise ValueError(f"batch_size must be even, got {self.batch_size}")
        _check.positive(learning_rate=self.learning_rate)
        _check.integer_at_least(0, max_shift=self.max_shift)


def train_barrier(
    nets: PictureBarrier,
    params: Params,
    marks: np.ndarray,
    pairs: train.Pairs,
    settings: PictureTraining,
    *,
    weights: PictureWeights = _WEIGHTS,
    seed: int,
    **runner: Any,
) -> train.TrainResult:
    """Train H, R and, against them, D: stage 1; resume as `train.fit` does.

    Args:
      nets: the networks; with `absorbed`, the target model is trained in H's place.
      params: of `nets.init`.
      marks: the pictures δ, float in [0, 1], `[m, H, W, 3]`: one is drawn for each pair of
        images.
      pairs: inputs a and outputs b of the target model, uint8; for an absorbed one, inputs and
        wanted outputs.
      settings: of this stage.
      weights: of the losses.
      seed: of the order of pairs, and of which marks they get.
      **runner: of `train.fit`: `checkpoint_dir`, `on_segment`, `should_stop` …

    Returns:
      The last state; `state.params` holds the parameters of all three networks.

    Raises:
      ValueError: marks that NC cannot tell apart, or of another size than the images; several
        for an absorbed model; fewer pairs than the batch size; shifts as large as the images;
        images that are not uint8.
      CheckpointError, DivergenceError: as `train.fit`.
    """
    columns = Triples(*(_check.uint8_images(pairs=images) for images in pairs))
    trained = ("barrier", "extractor")
    return _fit(nets, params, marks, columns, settings, weights, trained, seed, runner)


def tune_extractor(
    nets: PictureBarrier,
    params: Params,
    marks: np.ndarray,
    pairs: train.Pairs,
    copied: np.ndarray,
    settings: PictureTraining,
    *,
    weights: PictureWeights = _WEIGHTS,
    seed: int,
    **runner: Any,
) -> train.TrainResult:
    """Train R on a proxy copy's outputs too, with H fixed: stage 2.

    What was served before stays as it is. Arguments and errors are those of `train_barrier`,
    and:

    Args:
      nets: as in stage 1.
      params: of stage 1.
      marks: as in stage 1; the copy was trained on outputs with the first one.
      pairs: as in stage 1; for several proxy copies, repeated once for each.
      copied: the copy's outputs for the same inputs, uint8; one copy's after another's.
      settings: of this stage; the authors' learning rate is half that of stage 1.
      weights: of the extraction losses; those of embedding have no effect on R.
      seed: as in stage 1.
      **runner: of `train.fit`.
    """
    columns = Triples(
        *(_check.uint8_images(pairs=images) for images in pairs),
        _check.uint8_images(copied=copied),
    )
    return _fit(nets, params, marks, columns, settings, weights, ("extractor",), seed, runner)


def serve(
    nets: PictureBarrier,
    params: Params,
    mark: np.ndarray,
    inputs: np.ndarray,
    outputs: np.ndarray,
) -> np.ndarray:
    """Return marked outputs as a service sends them: clipped and rounded to uint8.

    Args:
      nets: the networks.
      params: of a training.
      mark: the picture δ, float in [0, 1], `[H, W, 3]`.
      inputs: uint8 `[n, H, W, 3]`, of the target model.
      outputs: uint8, its outputs for them.
    """
    inputs = _check.uint8_images(inputs=inputs)
    outputs = _check.uint8_images(outputs=outputs)
    picture = jnp.asarray(mark, jnp.float32)
    served = [
        _served(nets, params, picture, inputs[rows], outputs[rows]) for rows in _rows(inputs)
    ]
    return np.concatenate([np.asarray(chunk) for chunk in served])


def draw(nets: PictureBarrier, params: Params, images: np.ndarray) -> np.ndarray:
    """Return what R draws for uint8 images `[n, H, W, 3]`: float32 in [0, 1], as many."""
    images = _check.uint8_images(images=images)
    return np.concatenate([np.asarray(_drawn(nets, params, images[r])) for r in _rows(images)])


def networks_loss(
    nets: PictureBarrier, weights: PictureWeights, max_shift: int = 0
) -> train.LossFn:
    """Make the loss of H and R on prepared `Triples`; the marks are the model state.

    Its metrics are the terms that are switched on, unweighted. `max_shift` is that of
    `PictureTraining`.
    """

    def loss_fn(params: Params, state: Any, batch: Triples, rng: chex.PRNGKey) -> Any:
        pictures = _pictures(state["marks"], len(batch.inputs), rng)
        marked = nets.mark(params, batch.inputs, batch.outputs, pictures)
        judged = nets.judge(params, marked) if weights.adversarial else None
        terms = losses.embedding_terms(weights, marked, batch.outputs, judged)

        def draw(images: jax.Array) -> jax.Array:
            key = jax.random.fold_in(rng, _SHIFTS)
            moved = train.random_crop(key, images, max_shift, mode="reflect")
            return nets.draw(params, moved)

        terms |= _extraction_terms(draw, weights, state["marks"], batch, marked, pictures)
        return losses.weighted_sum(weights, terms), (state, terms)

    return loss_fn


def _extraction_terms(
    draw: Callable[[jax.Array], jax.Array],
    weights: PictureWeights,
    marks: jax.Array,
    batch: Triples,
    marked: jax.Array,
    pictures: jax.Array,
) -> losses.Terms:
    """Return the terms of R on marked outputs and, in stage 2, on those of the copy.

    All images go through R at once; the copy's terms are averaged with those of the barrier.
    """
    n = len(marked)
    images = [marked]
    if batch.copied is not None:
        images.append(batch.copied)
    if weights.clean:
        images += [batch.inputs, batch.outputs]
    drawn = draw(jnp.concatenate(images))
    clean = drawn[-2 * n :] if weights.clean else None
    terms = losses.extraction_terms(weights, drawn[:n], pictures, clean)
    if batch.copied is None:
        return terms
    first = jnp.broadcast_to(marks[:1], pictures.shape)
    copied = losses.extraction_terms(weights, drawn[n : 2 * n], first, clean)
    return {name: (value + copied[name]) / 2 for name, value in terms.items()}


def _discriminator_loss(nets: PictureBarrier) -> train.LossFn:
    def loss_fn(params: Params, state: Any, batch: Triples, rng: chex.PRNGKey) -> Any:
        pictures = _pictures(state["marks"], len(batch.inputs), rng)
        marked = nets.mark(params, batch.inputs, batch.outputs, pictures)
        judged = nets.judge(params, batch.outputs), nets.judge(params, marked)
        return losses.discriminator_loss(*judged), (state, {})

    return loss_fn


def _pictures(marks: jax.Array, count: int, rng: chex.PRNGKey) -> jax.Array:
    """Draw a mark for each image: images i and i + count/2 have the same one."""
    half = jax.random.randint(rng, (count // 2,), 0, len(marks))
    return marks[jnp.concatenate([half, half])]


def _fit(
    nets: PictureBarrier,
    params: Params,
    marks: np.ndarray,
    columns: Triples,
    settings: PictureTraining,
    weights: PictureWeights,
    trained: tuple[str, ...],
    seed: int,
    runner: dict[str, Any],
) -> train.TrainResult:
    marks = check_marks(marks)
    shapes = {images.shape for images in columns if images is not None}
    if len(shapes) > 1:
        raise ValueError(f"all images of a pair must have one shape, got {sorted(shapes)}")
    if marks.shape[1:] != columns.inputs.shape[1:]:
        raise ValueError(
            f"marks must have the images' shape {columns.inputs.shape[1:]}, got "
            f"{marks.shape[1:]}"
        )
    if nets.absorbed is not None and len(marks) > 1:
        raise ValueError(f"an absorbed model has one mark, got {len(marks)}")
    if settings.batch_size > len(columns.inputs):
        raise ValueError(
            f"there must be {settings.batch_size} pairs, as many as batch_size, got "
            f"{len(columns.inputs)}"
        )
    if settings.max_shift >= (side := min(columns.inputs.shape[1:3])):
        raise ValueError(
            f"max_shift must be below the images' sides, {side}, got {settings.max_shift}"
        )
    if trained == ("extractor",):
        weights = dataclasses.replace(weights, pixel=0.0, perceptual=0.0, adversarial=0.0)
    step = _step(nets, weights, settings, trained)
    plan = data.BatchPlan(len(columns.inputs), settings.batch_size, seed)
    state = step.init(params, {"marks": jnp.asarray(marks)})
    return train.fit(
        step,
        state,
        train.Batches(columns, plan.rows),
        num_steps=settings.num_steps,
        key=jax.random.key(seed),
        **runner,
    )


@functools.lru_cache(maxsize=8)
def _step(
    nets: PictureBarrier,
    weights: PictureWeights,
    settings: PictureTraining,
    trained: tuple[str, ...],
) -> train.Step:
    """Make the step; trainings with equal arguments share its compilation."""
    warmup = max(1, round(_WARMUP_SHARE * settings.num_steps))
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, settings.learning_rate, warmup, max(settings.num_steps, warmup + 1)
    )

    def step_of(loss_fn: train.LossFn, trained: tuple[str, ...]) -> train.Step:
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), train.adam(schedule))
        return train.make_step(loss_fn, optimizer, trained=trained, prepare_fn=_prepared)

    networks = step_of(networks_loss(nets, weights, settings.max_shift), trained)
    if not weights.adversarial:
        return networks
    discriminator = step_of(_discriminator_loss(nets), ("discriminator",))
    return train.chain(discriminator=discriminator, networks=networks)


def _prepared(params: Params, state: Any, batch: Triples, rng: chex.PRNGKey) -> Triples:
    return jax.tree.map(lambda images: images.astype(jnp.float32) / 255.0, batch)


@functools.partial(jax.jit, static_argnums=0)
def _served(
    nets: PictureBarrier,
    params: Params,
    picture: jax.Array,
    inputs: jax.Array,
    outputs: jax.Array,
) -> jax.Array:
    inputs, outputs = (images.astype(jnp.float32) / 255.0 for images in (inputs, outputs))
    pictures = jnp.broadcast_to(picture, outputs.shape)
    marked = nets.mark(params, inputs, outputs, pictures)
    return jnp.rint(jnp.clip(marked, 0.0, 1.0) * 255.0).astype(jnp.uint8)


@functools.partial(jax.jit, static_argnums=0)
def _drawn(nets: PictureBarrier, params: Params, images: jax.Array) -> jax.Array:
    return jnp.clip(nets.draw(params, images.astype(jnp.float32) / 255.0), 0.0, 1.0)


def _rows(images: np.ndarray) -> list[slice]:
    return [slice(start, start + _BATCH) for start in range(0, len(images), _BATCH)]
