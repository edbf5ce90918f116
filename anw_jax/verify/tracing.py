"""Trace a model's loss without running it, to check its output and estimate its memory."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from anw_jax.verify.losses import LossFn, as_partial, cross_entropy

# Number of images in the batch on which models are traced to find their shapes: an odd number,
# rare as the first axis of weights.
PROBE_BATCH_SIZE = 7

# XLA keeps the operands of one operation and the results of the next in memory together.
_LIVE_FACTOR = 2


def check_binds_arrays(predict: jax.tree_util.Partial) -> None:
    """Check that every argument bound to a `Partial` can be traced.

    Raises:
      TypeError: a bound argument is a Python bool, a string or another object that is not an
        array.

    Example:
      >>> check_binds_arrays(jax.tree_util.Partial(max, np.ones(2)))
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path((predict.args, predict.keywords)):
        kind = getattr(getattr(leaf, "dtype", None) or np.asarray(leaf).dtype, "kind", "")
        if isinstance(leaf, bool) or (kind and kind in "OUSMm"):
            raise TypeError(
                f"predict must bind arrays only, since they are traced; got "
                f"{type(leaf).__name__} {leaf!r:.40} at {_name_of_path(path)}: bind flags and "
                "functions with functools.partial, as in "
                "Partial(functools.partial(apply, train=False), variables)"
            )


def _name_of_path(path: tuple[Any, ...]) -> str:
    """Return the argument's name in a call: "args[0]['w']" or "keywords['train']"."""
    return ("args", "keywords")[path[0].idx] + jax.tree_util.keystr(path[1:])


def trace_answers(
    predict: jax.tree_util.Partial, image_shape: tuple[int, ...], labels: np.ndarray
) -> Any:
    """Return the jaxpr of a model for `PROBE_BATCH_SIZE` images, weights first.

    Raises:
      ValueError: the logits are not `[batch, num_classes]`, or a label is out of range.
    """
    batch = jax.ShapeDtypeStruct((PROBE_BATCH_SIZE, *image_shape), np.float32)
    traced = _answer.trace(predict, batch)
    shape = getattr(traced.out_info, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != PROBE_BATCH_SIZE:
        got = type(traced.out_info).__name__ if shape is None else f"shape {shape}"
        raise ValueError(
            f"predict must return logits [batch, num_classes], got {got} for a batch of "
            f"{PROBE_BATCH_SIZE}"
        )
    check_classes(shape[1], labels)
    return traced.jaxpr.jaxpr


def trace_losses(
    loss: LossFn, predict: jax.tree_util.Partial, image_shape: tuple[int, ...], targets: Any
) -> Any:
    """Return the jaxpr of a loss for `PROBE_BATCH_SIZE` images, weights first.

    Raises:
      ValueError: the loss does not return one float for each image.
    """
    if loss is cross_entropy:
        return trace_answers(predict, image_shape, targets)
    batch = jax.ShapeDtypeStruct((PROBE_BATCH_SIZE, *image_shape), np.float32)
    own = jax.tree.map(
        lambda rows: jax.ShapeDtypeStruct((PROBE_BATCH_SIZE, *rows.shape[1:]), rows.dtype),
        targets,
    )
    traced = _loss.trace(predict, as_partial(loss), batch, own)
    shape, dtype = (getattr(traced.out_info, name, None) for name in ("shape", "dtype"))
    if shape != (PROBE_BATCH_SIZE,) or not np.issubdtype(dtype, np.floating):
        raise ValueError(
            f"loss must return one float for each of {PROBE_BATCH_SIZE} images, got {dtype} "
            f"{shape}"
        )
    return traced.jaxpr.jaxpr


@jax.jit
def _answer(predict: jax.tree_util.Partial, images: jax.Array) -> Any:
    """Wrap a model for tracing; `jit` caches the trace for checkpoints of equal shape."""
    return predict(images)


@jax.jit
def _loss(predict: Any, loss: jax.tree_util.Partial, images: jax.Array, targets: Any) -> Any:
    """Wrap a loss for tracing, like `_answer`."""
    return loss(predict, images, targets)


def check_classes(num_classes: int, labels: np.ndarray) -> None:
    """Raise ValueError if a label is out of range for the model."""
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
    """Estimate the peak memory of a forward pass in bytes per image, from a model's operations.

    Twice the largest total size of one operation's inputs and outputs, weights excluded.
    Nothing is compiled or run.

    Raises:
      ValueError: see `trace_losses`.
    """
    jaxpr = trace_losses(loss, predict, image_shape, targets)
    num_weights = len(jax.tree.leaves((predict, loss)))
    weights = {id(variable) for variable in (*jaxpr.constvars, *jaxpr.invars[:num_weights])}
    largest = _largest_operation(jaxpr, weights) // PROBE_BATCH_SIZE
    return _LIVE_FACTOR * max(largest, 4 * int(np.prod(image_shape)))


def _largest_operation(jaxpr: Any, weights: set[int]) -> int:
    """Return the bytes of the largest operation of a jaxpr, weights excluded."""
    largest = 0
    for equation in jaxpr.eqns:
        operands = [v for v in (*equation.invars, *equation.outvars) if id(v) not in weights]
        # Arrays that grow with the batch have it as their first axis.
        sizes = [
            v.aval.size * v.aval.dtype.itemsize
            for v in operands
            if getattr(v.aval, "ndim", 0) > 1 and v.aval.shape[0] == PROBE_BATCH_SIZE
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
