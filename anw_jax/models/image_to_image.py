"""Small networks from images to images of the same size: restorers, and copies of them.

All are equivariant to translations but for their borders and halvings. Sizes are raised by
repeating pixels and then convolving: transposed convolutions are slow in XLA on CPU.
"""

import dataclasses
import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from anw_jax import _check
from anw_jax.models import layers
from anw_jax.models.diffusion import Variables
from anw_jax.models.drawing import drawn

# "plain": a chain of convolutions; "residual": residual blocks, and the input is added to the
# output; "unet": two halvings, and the input is added to the output.
IMAGE_TO_IMAGE = ("plain", "residual", "unet")


def _conv(width: int, stride: int = 1) -> nn.Conv:
    return layers.conv(width, 3, stride, use_bias=True, kernel_init=layers.KEEP_SIGNAL)


def _last(channels: int) -> nn.Conv:
    # Small, so that a network with a shortcut starts near the identity.
    init = nn.initializers.variance_scaling(0.01, "fan_in", "normal")
    return layers.conv(channels, 3, use_bias=True, kernel_init=init)


def _doubled(x_bhwc: jax.Array) -> jax.Array:
    return x_bhwc.repeat(2, axis=1).repeat(2, axis=2)


class _Plain(nn.Module):
    width: int
    depth: int

    @nn.compact
    def __call__(self, x_bhwc: jax.Array) -> jax.Array:
        x = x_bhwc
        for _ in range(self.depth):
            x = nn.relu(_conv(self.width)(x))
        return _conv(x_bhwc.shape[-1])(x)


class _Residual(nn.Module):
    width: int
    depth: int

    @nn.compact
    def __call__(self, x_bhwc: jax.Array) -> jax.Array:
        x = nn.relu(_conv(self.width)(x_bhwc))
        for _ in range(self.depth):
            x = x + _last(self.width)(nn.relu(_conv(self.width)(x)))
        return x_bhwc + _last(x_bhwc.shape[-1])(x)


class UNet(nn.Module):
    """A U-Net: `depth` halvings, whose input is added to its output unless `channels` is set.

    Attributes:
      width: channels at full resolution.
      depth: halvings.
      channels: of an output that the input is not added to; None: as many as the input has.
    """

    width: int
    depth: int
    channels: int | None = None

    @nn.compact
    def __call__(self, x_bhwc: jax.Array) -> jax.Array:
        """Map `[b, H, W, c]` to `[b, H, W, channels]`; H and W are multiples of 2^depth."""
        x, kept = nn.relu(_conv(self.width)(x_bhwc)), []
        for level in range(self.depth):
            kept.append(x)
            x = nn.relu(_conv(self.width * 2 ** (level + 1), stride=2)(x))
        for level in reversed(range(self.depth)):
            x = jnp.concatenate(
                [nn.relu(_conv(self.width * 2**level)(_doubled(x))), kept[level]], -1
            )
            x = nn.relu(_conv(self.width * 2**level)(x))
        if self.channels is not None:
            return _conv(self.channels)(x)
        return x_bhwc + _last(x_bhwc.shape[-1])(x)


_NETS = {"plain": _Plain, "residual": _Residual, "unet": UNet}


@dataclasses.dataclass(frozen=True)
class ImageToImage:
    """A network from images to images, as plain values: equal settings are interchangeable.

    Attributes:
      name: one of `IMAGE_TO_IMAGE`.
      width: channels at full resolution.
      depth: hidden convolutions ("plain"), residual blocks ("residual"), or halvings ("unet").

    Raises:
      TypeError, ValueError: an unknown name, a number below 1.

    Example:
      >>> model = ImageToImage("unet", width=4, depth=1)
      >>> variables = model.init(jax.random.key(0), (8, 8, 3))
      >>> jax.jit(model.apply)(variables, jnp.zeros((2, 8, 8, 3))).shape
      (2, 8, 8, 3)
    """

    name: str = "plain"
    width: int = 24
    depth: int = 2

    def __post_init__(self):
        _check.one_of(IMAGE_TO_IMAGE, name=self.name)
        for field in ("width", "depth"):
            _check.integer_at_least(1, **{field: getattr(self, field)})

    @functools.cached_property
    def _net(self) -> nn.Module:
        return _NETS[self.name](self.width, self.depth)

    def init(self, key: jax.Array, image_shape: tuple[int, int, int]) -> Variables:
        """Draw parameters.

        Args:
          key: typed PRNG key.
          image_shape: `(H, W, channels)`; for "unet" with sides that can be halved `depth`
            times.

        Returns:
          `{'params': ...}`, a float32 tree of plain dicts.

        Raises:
          ValueError: sides that cannot be halved as often.
        """
        factor = 2**self.depth if self.name == "unet" else 1
        if any(side % factor for side in image_shape[:2]):
            raise ValueError(
                f"image_shape must have sides that are multiples of {factor}, got {image_shape}"
            )
        return drawn(_init, key, self, tuple(image_shape))

    def apply(self, variables: Variables, images: jax.Array) -> jax.Array:
        """Map float32 images `[b, H, W, channels]` to the same, not clipped to [0, 1]."""
        chex.assert_rank(images, 4)
        return self._net.apply({"params": variables["params"]}, images)

    @property
    def head(self) -> str:
        """Name of the last convolution, in `variables["params"]`."""
        before = {"plain": 1, "residual": 2, "unet": 3}[self.name] * self.depth
        return f"Conv_{before + (self.name != 'plain')}"

    def taps(
        self, variables: Variables, images: jax.Array, names: tuple[str, ...]
    ) -> tuple[jax.Array, ...]:
        """Return the outputs of inner convolutions, each `[b, H', W', c]`.

        Args:
          variables: of `init`.
          images: as for `apply`.
          names: as `variables["params"]` has them, for example "Conv_1".

        Raises:
          ValueError: there is no convolution of that name.
        """
        for name in names:
            _check.one_of(variables["params"], taps=name)
        return layers.tapped(self._net, {"params": variables["params"]}, names, images)

    def predict_fn(self, variables: Variables) -> jax.tree_util.Partial:
        """Return `apply` of these variables, as a traced model: equal models share it."""
        return jax.tree_util.Partial(self, variables)

    def __call__(self, variables: Variables, images: jax.Array) -> jax.Array:
        """Return `apply`."""
        return self.apply(variables, images)


def _init(key: jax.Array, model: ImageToImage, image_shape: tuple[int, int, int]) -> Variables:
    return model._net.init(key, jnp.zeros((1, *image_shape), jnp.float32))
