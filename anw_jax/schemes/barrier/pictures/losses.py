"""The losses of barrier, extractor and discriminator; each can be switched off.

Written after the authors' code (github.com/ZJZAC/Deep-Model-Watermarking): all distances are
mean squared errors, and a watermark that is not there is drawn as a blank, white picture.
"""

import dataclasses

import jax
import jax.numpy as jnp

from anw_jax import _check
from anw_jax.train import image_distance

Terms = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class PictureWeights:
    """The weight of each loss; a loss with the weight 0 is not computed.

    Attributes:
      pixel: embedding; mean squared error of marked outputs b' and outputs b.
      perceptual: embedding; distance of their features, `train.image_distance("perceptual")`,
        whose fixed random net stands in for the authors' VGG-16.
      adversarial: embedding; against a discriminator (LSGAN, Mao et al. 2017, eq. 9). The
        authors give every squared error 1e4 times its weight, and this term .01.
      mark: extraction; mean squared error of what R draws for b' and the mark δ.
      clean: extraction; the same of what R draws for inputs a and outputs b, and the blank.
      consistency: extraction; the same between pairs of images with one mark.

    Raises:
      ValueError: a weight below 0.
    """

    pixel: float = 1.0
    perceptual: float = 0.0
    adversarial: float = 1e-6
    mark: float = 1.0
    clean: float = 1.0
    consistency: float = 1.0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            _check.in_interval(0.0, float("inf"), **{field.name: value})


def squared_error(images: jax.Array, wanted: jax.Array | float) -> jax.Array:
    """Return the mean squared error, a float scalar.

    Example:
      >>> float(squared_error(jnp.zeros((1, 2, 2, 3)), 0.5))
      0.25
    """
    return jnp.square(images - wanted).mean()


def embedding_terms(
    weights: PictureWeights,
    marked: jax.Array,
    outputs: jax.Array,
    judged: jax.Array | None = None,
) -> Terms:
    """Return the losses that keep a mark invisible, unweighted, of those switched on.

    Args:
      weights: which of them are wanted.
      marked: b', float32 `[n, H, W, 3]`.
      outputs: b, of the same shape.
      judged: what the discriminator says of b', where `weights.adversarial` is above 0.
    """
    terms = {}
    if weights.pixel:
        terms["pixel"] = squared_error(marked, outputs)
    if weights.perceptual:
        terms["perceptual"] = image_distance("perceptual")(marked, outputs)
    if weights.adversarial:
        terms["adversarial"] = squared_error(judged, 1.0)
    return terms


def extraction_terms(
    weights: PictureWeights,
    drawn_marked: jax.Array,
    pictures: jax.Array,
    drawn_clean: jax.Array | None = None,
) -> Terms:
    """Return the losses that make R draw the mark, unweighted, of those switched on.

    Args:
      weights: which of them are wanted.
      drawn_marked: what R draws for n marked images, n even; images i and i + n/2 have one
        mark.
      pictures: their marks δ.
      drawn_clean: what R draws for images without a mark, where `weights.clean` is above 0.
    """
    terms = {}
    if weights.mark:
        terms["mark"] = squared_error(drawn_marked, pictures)
    if weights.clean:
        terms["clean"] = squared_error(drawn_clean, 1.0)
    if weights.consistency:
        half = len(drawn_marked) // 2
        terms["consistency"] = squared_error(drawn_marked[:half], drawn_marked[half:])
    return terms


def discriminator_loss(judged_clean: jax.Array, judged_marked: jax.Array) -> jax.Array:
    """Return the loss of D: 1 is wanted for outputs, 0 for marked outputs."""
    return (squared_error(judged_clean, 1.0) + squared_error(judged_marked, 0.0)) / 2


def weighted_sum(weights: PictureWeights, terms: Terms) -> jax.Array:
    """Return the sum of terms, each times its weight; 0 for none."""
    total = jnp.zeros(())
    for name, value in terms.items():
        total = total + getattr(weights, name) * value
    return total
