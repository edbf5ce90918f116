"""What a loss does to a batch, seen by tracing it: whether its answers fit, and its memory."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from anw_jax.verify.losses import LossFn, as_partial, cross_entropy

# Models are traced on this many images to learn their shapes: an odd number, rare as the
# first axis of weights.
TRACED_BATCH = 7

# XLA keeps the operands of one operation and the results of the next alive together.
_LIVE_FACTOR = 2


def trace_answers(
    predict: jax.tree_util.Partial, image_shape: tuple[int, ...], labels: np.ndarray
) -> Any:
    """Return the jaxpr of a model on `TRACED_BATCH` images, weights first; runs nothing.

    Raises:
      ValueError: the answers are not `[batch, num_classes]`, or miss a label.
    """
    batch = jax.ShapeDtypeStruct((TRACED_BATCH, *image_shape), np.float32)
    traced = _answer.trace(predict, batch)
    shape = getattr(traced.out_info, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != TRACED_BATCH:
        got = type(traced.out_info).__name__ if shape is None else f"shape {shape}"
        raise ValueError(
            f"predict must return logits [batch, num_classes], got {got} for a batch of "
            f"{TRACED_BATCH}"
        )
    check_classes(shape[1], labels)
    return traced.jaxpr.jaxpr


def trace_losses(
    loss: LossFn, predict: jax.tree_util.Partial, image_shape: tuple[int, ...], targets: Any
) -> Any:
    """Returns the jaxpr of a loss on `TRACED_BATCH` images, weights first; runs nothing.

    Raises:
      ValueError: the loss does not return one float for each image.
    """
    if loss is cross_entropy:
        return trace_answers(predict, image_shape, targets)
    batch = jax.ShapeDtypeStruct((TRACED_BATCH, *image_shape), np.float32)
    own = jax.tree.map(
        lambda rows: jax.ShapeDtypeStruct((TRACED_BATCH, *rows.shape[1:]), rows.dtype), targets
    )
    traced = _loss.trace(predict, as_partial(loss), batch, own)
    shape, dtype = (getattr(traced.out_info, name, None) for name in ("shape", "dtype"))
    if shape != (TRACED_BATCH,) or not np.issubdtype(dtype, np.floating):
        raise ValueError(
            f"loss must return one float for each of {TRACED_BATCH} images, got {dtype} {shape}"
        )
    return traced.jaxpr.jaxpr


@jax.jit
def _answer(predict: jax.tree_util.Partial, images: jax.Array) -> Any:
    """Is only traced; `jit` caches the trace for checkpoints of equal shape."""
    return predict(images)


@jax.jit
def _loss(predict: Any, loss: jax.tree_util.Partial, images: jax.Array, targets: Any) -> Any:
    """Is only traced, as `_answer`."""
    return loss(predict, images, targets)


def check_classes(num_classes: int, labels: np.ndarray) -> None:
    """Refuse labels that the model has no class for."""
    if labels.size and labels.max() >= num_classes:
        raise ValueError(
            f"labels must be below the model's {num_classes} classes, got {labels.max()}"
        )


def traced_bytes_per_pair(
    predict: jax.tree_util.Partial,
    image_shape: tuple[int, ...],
    targets: Any,
    loss: LossFn = cross_entropy,
) -> int:
    """Estimate the memory one answer takes, from the operations of a model.

    The largest sum of one operation's inputs and outputs that depend on the image, weights
    excluded, doubled. Nothing is compiled or run.

    Raises:
      ValueError: see `trace_losses`.
    """
    jaxpr = trace_losses(loss, predict, image_shape, targets)
    num_weights = len(jax.tree.leaves((predict, loss)))
    weights = {id(variable) for variable in (*jaxpr.constvars, *jaxpr.invars[:num_weights])}
    largest = _largest_operation(jaxpr, weights) // TRACED_BATCH
    return _LIVE_FACTOR * max(largest, 4 * int(np.prod(image_shape)))


def _largest_operation(jaxpr: Any, weights: set[int]) -> int:
    """Bytes of the largest operation of a jaxpr, weights excluded."""
    largest = 0
    for equation in jaxpr.eqns:
        operands = [v for v in (*equation.invars, *equation.outvars) if id(v) not in weights]
        # The batch leads every array that grows with the images.
        sizes = [
            v.aval.size * v.aval.dtype.itemsize
            for v in operands
            if getattr(v.aval, "ndim", 0) > 1 and v.aval.shape[0] == TRACED_BATCH
        ]
        largest = max(largest, sum(sizes))
        for inner in _inner_jaxprs(equation):
            largest = max(largest, _largest_operation(inner, weights))
    return largest


def _inner_jaxprs(equation: Any) -> Iterator[Any]:
    """Yield the jaxprs inside one operation: calls, loops, branches of a condition."""
    for parameter in equation.params.values():
        for item in parameter if isinstance(parameter, tuple | list) else (parameter,):
            inner = getattr(item, "jaxpr", item)
            if hasattr(inner, "eqns"):
                yield inner
