"""Attacks on the answers of a trained model: noise on the logits, rounded probabilities."""

import dataclasses

import chex
import jax
import jax.numpy as jnp

from anw_jax import _check
from anw_jax.attacks.kinds import Material, TrainedModel, derive_seed

_HASH_STREAM = 0
_NOISE_STREAM = 1

# float32 has no more digits than these.
_MOST_DECIMALS = 6


@dataclasses.dataclass(frozen=True)
class OutputNoise:
    """Adds N(0, std²) to each logit; the same image always gets the same answer.

    The paper's "DP" (section 5.3; standard deviation .1 in the authors' code), which comes
    without any ε. The noise is a function of the learner's seed and of the image as 8-bit
    levels: a 64-bit hash of the levels is folded into the seed's key. Repeated queries
    therefore do not average the noise away, as they would if it were drawn anew; images that
    differ in a single level get independent noise. Gradients of the answers do not see it.

    Attributes:
      std: standard deviation in logits, at least 0.

    Raises:
      ValueError: if `std` is out of range.
      TypeError: if it is not a number.

    Example:
      >>> OutputNoise(std=0.1)
      OutputNoise(std=0.1)
    """

    std: float = 0.1

    def __post_init__(self) -> None:
        """Check the standard deviation."""
        _check.in_interval(0.0, 1e6, std=self.std)

    def change(self, trained: TrainedModel, material: Material) -> TrainedModel:
        """Return the same weights with noisy answers; the noise depends on `material.seed`."""
        seed = derive_seed(material.seed, "output_noise")
        predict = noisy_predict_fn(trained.predict, seed, self.std)
        return dataclasses.replace(trained, predict=predict)


def noisy_predict_fn(
    predict: jax.tree_util.Partial, seed: int, std: float
) -> jax.tree_util.Partial:
    """Return `predict` with noise; seed and `std` are arguments, so it compiles once.

    Args:
      predict: [0, 1] images `[b, H, W, 3]` to logits `[b, c]`.
      seed: seed of the noise.
      std: standard deviation in logits.

    Returns:
      A function with the same arguments and result.
    """
    key_data = jax.random.key_data(jax.random.key(seed))
    return jax.tree_util.Partial(_noisy, predict, key_data, jnp.float32(std))


def _noisy(
    predict: jax.tree_util.Partial, key_data: jax.Array, std: jax.Array, images: jax.Array
) -> jax.Array:
    key = jax.random.wrap_key_data(key_data)
    hash_key = jax.random.fold_in(key, _HASH_STREAM)
    noise_key = jax.random.fold_in(key, _NOISE_STREAM)
    logits = predict(images)
    chex.assert_shape(logits, (len(images), None))

    def noise(words: jax.Array) -> jax.Array:
        image_key = jax.random.fold_in(jax.random.fold_in(noise_key, words[0]), words[1])
        return jax.random.normal(image_key, logits.shape[1:], logits.dtype)

    return logits + std.astype(logits.dtype) * jax.vmap(noise)(image_hashes(hash_key, images))


def image_hashes(key: jax.Array, images: jax.Array) -> jax.Array:
    """Hash the 8-bit levels of each image to two 32-bit words, uint32 `[b, 2]`.

    Multilinear hashing (Carter and Wegman 1979,
    https://doi.org/10.1016/0022-0000(79)90044-8): each word is the sum of levels times random
    32-bit numbers, modulo 2³². Two different images agree in both with probability at most
    2⁻⁵⁰ over the key.

    Args:
      key: typed PRNG key, the learner's secret.
      images: float32 `[b, H, W, 3]` in [0, 1]; rounded to levels k / 255.
    """
    chex.assert_rank(images, 4)
    levels = jnp.rint(images * jnp.asarray(255.0, images.dtype)).astype(jnp.uint32)
    levels = levels.reshape(images.shape[0], -1)
    numbers = jax.random.bits(key, (2, levels.shape[1]), jnp.uint32)
    # As sums: some accelerators cannot multiply integer matrices.
    return jnp.stack([(levels * row[None]).sum(axis=1) for row in numbers], axis=1)


@dataclasses.dataclass(frozen=True)
class Rounding:
    """Rounds the probabilities that are put online to `decimals` decimals.

    One of the defences of Shokri et al. 2017 (https://arxiv.org/abs/1610.05820, section 7.1,
    "coarsen precision"). A probability rounded to 0 would be an infinite loss; it is read as
    half a unit of the last decimal, 10^-d / 2, the largest value that rounds to 0. Halves go to
    the even neighbour. Rounded probabilities need not sum to 1; a loss is computed after
    dividing by their sum, as every softmax does. Losses are then equal for many signatures, and
    ties count against the claim. The gradient of an answer is 0.

    Attributes:
      decimals: d, 1 to 6.

    Raises:
      ValueError: if `decimals` is out of range.
      TypeError: if it is not an integer.

    Example:
      >>> sure = jax.tree_util.Partial(lambda images: jnp.log(jnp.array([[0.0004, 0.9996]])))
      >>> jnp.exp(rounded_predict_fn(sure, 2)(None)).round(4).tolist()
      [[0.004999..., 1.0]]
    """

    decimals: int = 2

    def __post_init__(self) -> None:
        """Check the number of decimals."""
        _check.integer_at_least(1, decimals=self.decimals)
        if self.decimals > _MOST_DECIMALS:
            raise ValueError(f"decimals must be at most {_MOST_DECIMALS}, got {self.decimals}")

    def change(self, trained: TrainedModel, material: Material) -> TrainedModel:
        """Return the same weights with rounded answers; `material` is not used."""
        predict = rounded_predict_fn(trained.predict, self.decimals)
        return dataclasses.replace(trained, predict=predict)


def rounded_predict_fn(predict: jax.tree_util.Partial, decimals: int) -> jax.tree_util.Partial:
    """Return `predict` with answers log(max(round(p, decimals), 10^-decimals / 2)).

    The unit is an argument, so it compiles once for all precisions.
    """
    return jax.tree_util.Partial(_rounded, predict, jnp.float32(10**decimals))


def _rounded(predict: jax.tree_util.Partial, units: jax.Array, images: jax.Array) -> jax.Array:
    """Round to multiples of 1 / `units`, and take logarithms."""
    probabilities = jax.nn.softmax(predict(images).astype(jnp.float32))
    counts = jnp.rint(probabilities * units)
    return jnp.log(jnp.maximum(counts, jnp.float32(0.5)) / units)
