"""The networks of Zhang et al. 2021: a barrier H, an extractor R, a discriminator D.

H hides a picture in the outputs of an image-to-image model, R draws it again, and D tells
marked outputs from unmarked ones. Here all are small and their padding is plain, so that H and
R can tell places in the image apart only by its borders, as in the paper.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from anw_jax import _check
from anw_jax.models.drawing import drawn
from anw_jax.models.image_to_image import ImageToImage, UNet

Params = dict[str, Any]

# H's change of an image before training, as a share of what a U-Net gives: about 0.05.
_FIRST_CHANGE = 0.1

# Keeps a change of 0 from being divided by 0; the mean square of H's first change is near 0.25.
_NO_CHANGE = 1e-6

# Judges every pixel from the 7x7 around it, by the mean of its three outputs.
_DISCRIMINATOR_WIDTH = 16


@dataclasses.dataclass(frozen=True)
class PictureBarrier:
    """H, R and D as plain values: equal settings are interchangeable.

    Attributes:
      width: channels of H and R at full resolution.
      depth: halvings of H and R; at the lowest resolution, every value must see a border.
      absorbed: a target model that gives marked outputs itself and takes H's place; None for
        a barrier behind any model.
      psnr: dB of every marked image before it is clipped: H's change is scaled to it. None
        leaves it to the pixel loss, as the authors do, which needs many more steps.

    Raises:
      TypeError, ValueError: a number that is not above 0, a target model of another class, or
        one with a PSNR, which only a barrier can keep.

    Example:
      >>> nets = PictureBarrier(width=4, depth=1)
      >>> init = lambda key: nets.init(key, (8, 8, 3))
      >>> sorted(jax.eval_shape(init, jax.random.key(0)))
      ['barrier', 'discriminator', 'extractor']
    """

    width: int = 16
    depth: int = 3
    absorbed: ImageToImage | None = None
    psnr: float | None = None

    def __post_init__(self):
        for name in ("width", "depth"):
            _check.integer_at_least(1, **{name: getattr(self, name)})
        if self.psnr is not None:
            _check.positive(psnr=self.psnr)
        if self.absorbed is not None:
            _check.is_instance(ImageToImage, absorbed=self.absorbed)
            if self.psnr is not None:
                raise ValueError(f"psnr must be None for an absorbed model, got {self.psnr}")

    def check_sides(self, height: int, width: int) -> None:
        """Check that images can be halved as often as the networks do.

        Raises:
          ValueError: a side that is no multiple of 2^depth.
        """
        factor = 2**self.depth
        if height % factor or width % factor:
            raise ValueError(
                f"images must have sides that are multiples of {factor}, got {height} x {width}"
            )

    def init(self, key: jax.Array, image_shape: tuple[int, int, int]) -> Params:
        """Draw the parameters of the three networks, by name.

        Args:
          key: typed PRNG key.
          image_shape: `(H, W, 3)`, with sides that can be halved `depth` times.

        Returns:
          `{"barrier": ..., "extractor": ..., "discriminator": ...}`, float32; "barrier" are
          those of `absorbed` where it is set.

        Raises:
          ValueError: as `check_sides`.
        """
        self.check_sides(*image_shape[:2])
        keys = [jax.random.fold_in(key, number) for number in range(3)]
        height, width, channels = image_shape
        if self.absorbed is None:
            barrier = drawn(_init, keys[0], self._unet, (height, width, 2 * channels))
        else:
            barrier = self.absorbed.init(keys[0], image_shape)["params"]
        return {
            "barrier": barrier,
            "extractor": drawn(_init, keys[1], self._unet, image_shape),
            "discriminator": self._discriminator.init(keys[2], image_shape)["params"],
        }

    def mark(
        self, params: Params, inputs: jax.Array, outputs: jax.Array, pictures: jax.Array
    ) -> jax.Array:
        """Return marked outputs b', float32 `[b, H, W, 3]`, not clipped to [0, 1].

        Args:
          params: of `init` or a training.
          inputs: of the target model, a: all that an absorbed model sees.
          outputs: of the target model, b: what H changes.
          pictures: δ, one for each image, that H hides; an absorbed model knows one by heart.
        """
        if self.absorbed is not None:
            return self.absorbed.apply({"params": params["barrier"]}, inputs)
        seen = jnp.concatenate([outputs, pictures], -1) - 0.5
        change = self._unet.apply({"params": params["barrier"]}, seen)
        if self.psnr is None:
            return outputs + _FIRST_CHANGE * change
        rms = jnp.sqrt(jnp.square(change).mean((1, 2, 3), keepdims=True) + _NO_CHANGE)
        return outputs + 10.0 ** (-self.psnr / 20.0) * change / rms

    def draw(self, params: Params, images: jax.Array) -> jax.Array:
        """Return what R draws for images, float32 `[b, H, W, 3]`; to be clipped to [0, 1].

        Linear where the authors' R ends in a ReLU: a sigmoid that draws white has almost no
        gradient left, and stage 2 could not tune it.
        """
        return 0.5 + self._unet.apply({"params": params["extractor"]}, images - 0.5)

    def judge(self, params: Params, images: jax.Array) -> jax.Array:
        """Return what D says of every pixel, float32 `[b, H, W]`: towards 1 for unmarked."""
        variables = {"params": params["discriminator"]}
        return self._discriminator.apply(variables, images).mean(-1)

    @functools.cached_property
    def _unet(self) -> UNet:
        return UNet(self.width, self.depth, channels=3)

    @property
    def _discriminator(self) -> ImageToImage:
        return ImageToImage("plain", width=_DISCRIMINATOR_WIDTH, depth=2)


def _init(key: jax.Array, net: nn.Module, image_shape: tuple[int, int, int]) -> Any:
    return net.init(key, jnp.zeros((1, *image_shape), jnp.float32))["params"]
