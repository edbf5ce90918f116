"""Which weights of a residual network can be permuted and scaled without changing its answers.

A *group* is a set of channels that all its writers and readers must permute together: the
channels between two convolutions of a block, or the stream that blocks of one width add to.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from anw_jax.models import by_path


@dataclasses.dataclass(frozen=True)
class Group:
    """Channels that are permuted together.

    Attributes:
      writers: kernels with the channels on their last axis.
      norms: folders of normalisations, with one entry for each channel.
      readers: kernels with the channels on their last axis but one.
    """

    writers: tuple[str, ...]
    norms: tuple[str, ...]
    readers: tuple[str, ...]


def groups_of(variables: dict[str, Any]) -> list[Group]:
    """Return the groups of a residual network, from its input to its output.

    Raises:
      ValueError: a network that is not built as `models.resnet.ResNet`.

    Example:
      >>> import jax
      >>> from anw_jax import models
      >>> net = models.create("testing", 10)
      >>> [len(group.writers) for group in groups_of(net.init(jax.random.key(0), (16, 16, 3)))]
      [2, 1, 1, 2]
    """
    paths, blocks = by_path(variables), _blocks(variables)
    if not is_residual(variables):
        raise ValueError(
            "the network must be residual, with BatchNorm (resnet18 …, small): channels of "
            "others cannot be aligned yet; leave out the reading 'aligned'"
        )
    stream = _Open(["params/Conv_0/kernel"], ["BatchNorm_0"], [])
    found = [stream]
    for block in blocks:
        convs = [n for n in range(9) if f"params/{block}/Conv_{n}/kernel" in paths]
        kernels = [f"params/{block}/Conv_{n}/kernel" for n in convs]
        norms = [f"{block}/BatchNorm_{n}" for n in convs]
        stream.readers.append(kernels[0])
        for before, norm, after in zip(kernels[:-1], norms[:-1], kernels[1:], strict=True):
            found.append(_Open([before], [norm], [after]))
        shortcut = f"params/{block}/shortcut_conv/kernel"
        if shortcut in paths:
            stream.readers.append(shortcut)
            stream = _Open([shortcut], [f"{block}/shortcut_norm"], [])
            found.append(stream)
        stream.writers.append(kernels[-1])
        stream.norms.append(norms[-1])
    stream.readers.append("params/Dense_0/kernel")
    return [Group(tuple(g.writers), tuple(g.norms), tuple(g.readers)) for g in found]


def is_residual(variables: dict[str, Any]) -> bool:
    """Return whether `groups_of` knows the groups of a network."""
    ends = {"params/Conv_0/kernel", "params/BatchNorm_0/scale", "params/Dense_0/kernel"}
    return ends <= set(by_path(variables)) and bool(_blocks(variables))


def _blocks(variables: dict[str, Any]) -> list[str]:
    """Return the names of the blocks whose first convolution is read from the stream."""
    names = {path.split("/")[1] for path in by_path(variables) if path.count("/") == 3}
    kinds = ("BasicBlock_", "BottleneckBlock_")
    found = [name for name in names if name.startswith(kinds)]
    return sorted(found, key=lambda name: int(name.rpartition("_")[2]))


@dataclasses.dataclass
class _Open:
    writers: list[str]
    norms: list[str]
    readers: list[str]


def permuted(
    paths: Mapping[str, np.ndarray], group: Group, order: np.ndarray
) -> dict[str, np.ndarray]:
    """Return weights by path with the channels of a group reordered."""
    found = dict(paths)
    for name in group.writers:
        found[name] = found[name][..., order]
    for norm in group.norms:
        for name in _entries(paths, norm):
            found[name] = found[name][order]
    for name in group.readers:
        found[name] = np.take(found[name], order, axis=-2)
    return found


def scaled(
    paths: Mapping[str, np.ndarray], group: Group, before: np.ndarray, after: np.ndarray
) -> dict[str, np.ndarray]:
    """Return weights by path with channels scaled; answers stay the same but for rounding.

    Args:
      paths: weights by path.
      group: of the channels.
      before: factors above 0 of the writers, which the averages of normalisation undo.
      after: factors above 0 of the normalised channels, which the readers undo.
    """
    found = dict(paths)
    for name in group.writers:
        found[name] = found[name] * before
    for norm in group.norms:
        for kind, factor in (("mean", before), ("var", before**2)):
            name = f"batch_stats/{norm}/{kind}"
            found[name] = found[name] * factor
        for kind in ("scale", "bias"):
            name = f"params/{norm}/{kind}"
            found[name] = found[name] * after
    for name in group.readers:
        found[name] = found[name] / after[:, None]
    return found


def _entries(paths: Mapping[str, np.ndarray], norm: str) -> list[str]:
    names = [f"params/{norm}/scale", f"params/{norm}/bias"]
    names += [f"batch_stats/{norm}/mean", f"batch_stats/{norm}/var"]
    return [name for name in names if name in paths]
