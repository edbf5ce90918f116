"""A small classifier of texts: an embedding, a recurrent layer, a dense layer.

The recurrent layer is a GRU (Cho et al. 2014, https://arxiv.org/abs/1406.1078). Texts are
sequences of token numbers of one length; how words become numbers is the caller's choice.
"""

import dataclasses
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from anw_jax import _check
from anw_jax.models import layers

Variables = dict[str, Any]

# Layers that can be tapped: the embedded tokens and the states of the recurrent layer.
TAPS = ("embedding", "recurrent")


class _Net(nn.Module):
    num_classes: int
    vocabulary: int
    width: int

    @nn.compact
    def __call__(self, tokens_bt: jax.Array) -> jax.Array:
        x_btc = nn.Embed(self.vocabulary, self.width, name="embedding")(tokens_bt)
        x_btc = nn.RNN(nn.GRUCell(self.width), name="recurrent")(x_btc)
        return nn.Dense(self.num_classes, name="head")(x_btc.mean(axis=1))


@dataclasses.dataclass(frozen=True)
class TextClassifier:
    """A recurrent network as plain values.

    Attributes:
      num_classes: width of the output, at least 2.
      vocabulary: number of different tokens, at least 2.
      width: of the embedding and of the recurrent layer.

    Raises:
      TypeError, ValueError: a number out of its range.

    Example:
      >>> model = TextClassifier(2, vocabulary=50, width=8)
      >>> variables = model.init(jax.random.key(0), 12)
      >>> tokens = jnp.zeros((3, 12), jnp.int32)
      >>> jax.jit(model.apply)(variables, tokens).shape
      (3, 2)
      >>> layers = jax.eval_shape(lambda: model.taps(variables, tokens, TAPS))
      >>> [layer.shape for layer in layers]
      [(3, 12, 8), (3, 12, 8)]
    """

    num_classes: int
    vocabulary: int
    width: int = 64

    def __post_init__(self):
        for name, least in (("num_classes", 2), ("vocabulary", 2), ("width", 1)):
            _check.integer_at_least(least, **{name: getattr(self, name)})

    @property
    def _net(self) -> _Net:
        return _Net(self.num_classes, self.vocabulary, self.width)

    @property
    def head(self) -> str:
        """Name of the last layer, in `variables["params"]`."""
        return "head"

    def init(self, key: jax.Array, length: int) -> Variables:
        """Draw the parameters; they do not depend on the length.

        Returns:
          `{'params': ..., 'batch_stats': {}}`, float32 trees of plain dicts.
        """
        variables = self._net.init(key, jnp.zeros((1, length), jnp.int32))
        return {"params": variables["params"], "batch_stats": {}}

    def apply(self, variables: Variables, tokens: jax.Array) -> jax.Array:
        """Return the logits `[b, num_classes]` of int32 tokens `[b, length]`."""
        _check_tokens(tokens)
        return self._net.apply({"params": variables["params"]}, tokens)

    def taps(
        self, variables: Variables, tokens: jax.Array, names: tuple[str, ...]
    ) -> tuple[jax.Array, ...]:
        """Return the outputs of inner layers, each `[b, length, width]`; names as `TAPS`."""
        _check_tokens(tokens)
        for name in names:
            _check.one_of(TAPS, taps=name)
        return layers.tapped(self._net, {"params": variables["params"]}, names, tokens)


def _check_tokens(tokens: jax.Array) -> None:
    chex.assert_rank(tokens, 2)
    chex.assert_type(tokens, int)
