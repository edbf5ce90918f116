"""Two ways to ask: trace a JAX model into one program, or call any function."""

import collections
import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from anw_jax.verify.mark_tables import MarkTables
from anw_jax.verify.plan import TRACED_BATCH, Chunk, QueryPlan

# Models are traced with all bits of float32: on TF32 (GPU) or passes of bfloat16 (TPU) answers
# would hang on the chunk size, and would not replay on other hardware.
PRECISION = "highest"

# Chunks dispatched before the oldest is read: hides the host's work behind the device's.
_IN_FLIGHT = 2

Answers = Iterator[tuple[Chunk, np.ndarray]]


def is_traceable(predict: Callable) -> bool:
    """Whether `predict` carries its weights as arguments: a `jax.tree_util.Partial`."""
    return isinstance(predict, jax.tree_util.Partial)


def devices_for(predict: Callable) -> list[jax.Device]:
    """The devices that the weights are bound to, else all local ones."""
    for leaf in jax.tree.leaves(predict):
        if isinstance(leaf, jax.Array) and leaf.committed:
            return sorted(leaf.sharding.device_set, key=lambda device: device.id)
    return jax.local_devices()


def run_traced(
    predict: jax.tree_util.Partial,
    images: np.ndarray,
    labels: np.ndarray,
    tables: MarkTables,
    plan: QueryPlan,
) -> Answers:
    """Marks and asks inside one compiled program; yields losses chunk by chunk.

    Weights and mark tables are arguments of the program, not constants, so one trace serves
    all chunks, all checkpoints of equal shape and all marks of a type. Pairs are shared out
    over the devices. Products of float32 keep all their bits (`PRECISION`), unless the model
    itself asks for fewer.
    """
    devices = devices_for(predict)
    mesh = jax.sharding.Mesh(np.asarray(devices), ("pairs",))
    shared = NamedSharding(mesh, PartitionSpec())
    split = NamedSharding(mesh, PartitionSpec("pairs"))
    predict, parameters = jax.device_put((predict, tables.parameters), shared)
    # Programs that share several CPU devices share a few threads too: two in flight, with a
    # sum over the batch inside, can wait for each other for ever.
    on_shared_threads = len(devices) > 1 and devices[0].platform == "cpu"
    in_flight = 0 if on_shared_threads else _IN_FLIGHT
    pending: collections.deque[tuple[Chunk, jax.Array]] = collections.deque()
    for chunk in plan:
        rows = (images[chunk.images], labels[chunk.images], tables.mark_of_image[chunk.images])
        block = jax.device_put(rows, shared)
        pairs = jax.device_put((chunk.image_of_pair, chunk.slot_of_pair), split)
        losses = chunk_losses(predict, tables.publish_pixels, parameters, *block, *pairs)
        pending.append((chunk, losses))
        if len(pending) > in_flight:
            yield _read(*pending.popleft())
    while pending:
        yield _read(*pending.popleft())


@functools.partial(jax.jit, static_argnames="publish_pixels")
def chunk_losses(
    predict: jax.tree_util.Partial,
    publish_pixels: Callable[[jax.Array, Any], jax.Array],
    parameters: Any,
    images: jax.Array,
    labels: jax.Array,
    mark_of_image: jax.Array,
    image_of_pair: jax.Array,
    slot_of_pair: jax.Array,
) -> jax.Array:
    """Losses in nats of one chunk of pairs, float32 `[chunk_size]`."""

    def mark_pair(image_index: jax.Array, slot: jax.Array) -> jax.Array:
        owner = mark_of_image[image_index]
        one = jax.tree.map(lambda table: table[owner, slot], parameters)
        return publish_pixels(images[image_index], one)

    marked = jax.vmap(mark_pair)(image_of_pair, slot_of_pair)
    with jax.default_matmul_precision(PRECISION):
        logits = predict(marked.astype(jnp.float32) / jnp.float32(255.0))
    log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32))
    picked = labels[image_of_pair][:, None]
    return -jnp.take_along_axis(log_probabilities, picked, axis=1)[:, 0]


def run_called(
    predict: Callable[[np.ndarray], Any],
    images: np.ndarray,
    labels: np.ndarray,
    tables: MarkTables,
    plan: QueryPlan,
) -> Answers:
    """Marks on the host and calls any function on NumPy batches; padding is not asked."""
    for chunk in plan:
        asked = chunk.images[chunk.image_of_pair[: chunk.num_pairs]]
        slots = chunk.slot_of_pair[: chunk.num_pairs]
        entries = zip(tables.mark_of_image[asked], slots, strict=True)
        marked = np.stack(
            [
                tables.publish_pixels(
                    images[i], jax.tree.map(operator.itemgetter(entry), tables.parameters)
                )
                for i, entry in zip(asked, entries, strict=True)
            ]
        )
        answers = predict(marked.astype(np.float32) / np.float32(255))
        yield chunk, host_losses(answers, labels[asked])


def host_losses(logits: Any, labels: np.ndarray) -> np.ndarray:
    """Cross-entropy in nats, float32, of a function's answers on the host.

    Raises:
      ValueError: the answers are not `[batch, num_classes]`, or miss a label.
    """
    scores = np.asarray(logits).astype(np.float64)
    if scores.ndim != 2 or len(scores) != len(labels):
        raise ValueError(
            f"predict must return logits [batch, num_classes] for a batch of {len(labels)}, "
            f"got shape {scores.shape}"
        )
    check_classes(scores.shape[1], labels)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        shifted = scores - scores.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(shifted).sum(axis=1))
        losses = log_sums - shifted[np.arange(len(labels)), labels]
        return losses.astype(np.float32)


def trace_answers(
    predict: jax.tree_util.Partial, image_shape: tuple[int, ...], labels: np.ndarray
) -> Any:
    """The jaxpr of a model on `TRACED_BATCH` images, weights first; nothing is run.

    Raises:
      ValueError: the answers are not `[batch, num_classes]`, or miss a label.
    """
    batch = jax.ShapeDtypeStruct((TRACED_BATCH, *image_shape), np.float32)
    traced = _answer.trace(predict, batch)
    answers = traced.out_info
    shape = getattr(answers, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != TRACED_BATCH:
        raise ValueError(
            "predict must return logits [batch, num_classes], got "
            f"{type(answers).__name__ if shape is None else f'shape {shape}'} "
            f"for a batch of {TRACED_BATCH}"
        )
    check_classes(shape[1], labels)
    return traced.jaxpr.jaxpr


@jax.jit
def _answer(predict: jax.tree_util.Partial, images: jax.Array) -> Any:
    """Only ever traced; `jit` remembers the trace for checkpoints of equal shape."""
    return predict(images)


def check_classes(num_classes: int, labels: np.ndarray) -> None:
    """Refuses labels that the model has no class for."""
    if labels.size and labels.max() >= num_classes:
        raise ValueError(
            f"labels must be below the model's {num_classes} classes, got {labels.max()}"
        )


def _read(chunk: Chunk, losses: jax.Array) -> tuple[Chunk, np.ndarray]:
    return chunk, np.asarray(losses)[: chunk.num_pairs]
