"""What a data owner does so that activations at the cut tell little about his images."""

import dataclasses
import math

import chex
import jax
import jax.numpy as jnp

from anw_jax import _check
from anw_jax.errors import MissingLibraryError

_TINY = 1e-12


@dataclasses.dataclass(frozen=True)
class Defence:
    """The defences of all data owners; the default is none.

    Attributes:
      clip_norm: most Euclidean norm of an image's activations; 0 for no clipping.
      noise: standard deviation of Gaussian noise on each activation, as a multiple of
        `clip_norm`; needs clipping.
      adversary: weight of the error of an adversary that rebuilds images, which the bottom
        half raises while the adversary lowers it.
      cap: mean squared error (of pixels in [0, 1]) above which the adversary counts as beaten;
        about the variance of the pixels.
      distance_correlation: weight of the distance correlation of images and activations.
    """

    clip_norm: float = 0.0
    noise: float = 0.0
    adversary: float = 0.0
    cap: float = 0.06
    distance_correlation: float = 0.0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            _check.in_interval(0.0, math.inf, **{field.name: value})
        if self.noise and not self.clip_norm:
            raise ValueError("clip_norm must be above 0 where noise is added")

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise on each activation."""
        return self.noise * self.clip_norm


NO_DEFENCE = Defence()


def released(activations: jax.Array, defence: Defence, key: chex.PRNGKey) -> jax.Array:
    """Return the activations that leave their owner: clipped, then noised.

    Args:
      activations: float32 `[b, ...]`.
      defence: what is done.
      key: of the noise; secret, since who knows it subtracts the noise.

    Returns:
      float32, of the same shape.
    """
    if defence.clip_norm:
        axes = tuple(range(1, activations.ndim))
        norms = jnp.sqrt(jnp.square(activations).sum(axes, keepdims=True) + _TINY)
        activations = activations * jnp.minimum(1.0, defence.clip_norm / norms)
    if defence.noise:
        noise = jax.random.normal(key, activations.shape)
        activations = activations + defence.noise_std * noise
    return activations


def distance_correlation(first: jax.Array, second: jax.Array) -> jax.Array:
    """Return the distance correlation of two samples, in [0, 1]; 0 if one is constant.

    Székely, Rizzo, Bakirov 2007 (https://doi.org/10.1214/009053607000000505), eq. 2.8 to 2.10;
    as a penalty on a cut layer, Vepakomma et al. 2020 (https://arxiv.org/abs/2008.09161).

    Args:
      first: float32 `[b, ...]`.
      second: float32 `[b, ...]`, of the same images.

    Example:
      >>> values = jnp.arange(6.0).reshape(6, 1)
      >>> round(float(distance_correlation(values, 3.0 * values)), 4)
      1.0
    """
    chex.assert_equal_shape_prefix([first, second], 1)
    a, b = _centred_distances(first), _centred_distances(second)
    covariance = (a * b).mean()
    product = (a * a).mean() * (b * b).mean()
    ratio = covariance / jnp.sqrt(product + _TINY)
    return jnp.sqrt(jnp.maximum(ratio, 0.0) + _TINY)


def _centred_distances(x: jax.Array) -> jax.Array:
    flat = x.reshape(len(x), -1)
    squares = jnp.square(flat).sum(1)
    gram = flat @ flat.T
    square_distances = squares[:, None] + squares[None, :] - 2.0 * gram
    # The gradient of a root at 0 is infinite.
    distances = jnp.sqrt(jnp.maximum(square_distances, 0.0) + 1e-8)
    rows = distances.mean(0)
    return distances - rows[None, :] - rows[:, None] + distances.mean()


def epsilon_of_message(defence: Defence, num_messages: int = 1, delta: float = 1e-5) -> float:
    """Return the ε of (ε, δ) differential privacy of activations, for exchanging one image.

    It holds for images on which the bottom half was not trained, each sent `num_messages`
    times by a trained network: the Gaussian mechanism of sensitivity 2 `clip_norm` (Balle and
    Wang 2018, theorem 8, https://arxiv.org/abs/1805.06530). It does not hold for the training:
    the averaged bottom halves depend on the images too, and carry no noise.

    Args:
      defence: with clipping and noise.
      num_messages: that show the same image.
      delta: in (0, 1).

    Returns:
      ε; infinity without noise.

    Raises:
      MissingLibraryError: dp_accounting (which jax-privacy brings) is not installed.

    Example:
      >>> epsilon_of_message(Defence())
      inf
    """
    _check.integer_at_least(1, num_messages=num_messages)
    _check.in_open_interval(0.0, 1.0, delta=delta)
    if not defence.noise:
        return math.inf
    try:
        import dp_accounting
    except ImportError:
        raise MissingLibraryError(
            "ε needs dp_accounting: pip install '.[dp]' in the checkout"
        ) from None
    multiplier = defence.noise / 2.0 / math.sqrt(num_messages)
    return float(dp_accounting.get_epsilon_gaussian(multiplier, delta))
