"""What a curious server learns: a fresh attacker rebuilds images from activations.

The attacker knows the bottom half, as every owner does, and has images of the same kind. He
trains an inverter and a reader of an attribute on activations that he makes himself, then reads
those of the owners. He never meets the adversary of the training.
"""

import dataclasses
import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from anw_jax import _check, data, train
from anw_jax.errors import MissingLibraryError
from anw_jax.models import Inverter, SplitNet
from anw_jax.partition.defence import Defence, released
from anw_jax.partition.settings import Params

_BATCH = 256
_WINDOW = 7


@dataclasses.dataclass(frozen=True)
class AttackerSettings:
    """The training of a fresh attacker.

    Attributes:
      num_steps: of Adam.
      batch_size: images of a step.
      learning_rate: at the start; it falls to 0 as a half cosine.
      width: channels of the inverter and of the reader.
      seed: of first weights, batches and noise.
    """

    num_steps: int = 400
    batch_size: int = 32
    learning_rate: float = 3e-3
    width: int = 32
    seed: int = 0

    def __post_init__(self):
        for name in ("num_steps", "batch_size", "width"):
            _check.integer_at_least(1, **{name: getattr(self, name)})
        _check.positive(learning_rate=self.learning_rate)
        _check.integer_at_least(0, seed=self.seed)


DEFAULT_ATTACKER = AttackerSettings()


@dataclasses.dataclass(frozen=True, eq=False)
class Inversion:
    """What an attacker rebuilt.

    Attributes:
      ssim: structural similarity to the images, mean; 1 is the same image.
      mse: mean squared error of pixels in [0, 1].
      attribute_accuracy: share of images whose attribute he read.
      attribute_chance: share of the more frequent value, which needs no activations.
      images: the rebuilt images, uint8 `[n, H, W, 3]`.
    """

    ssim: float
    mse: float
    attribute_accuracy: float
    attribute_chance: float
    images: np.ndarray


def invert(
    net: SplitNet,
    defence: Defence,
    bottom: Params,
    own: np.ndarray,
    targets: np.ndarray,
    settings: AttackerSettings,
    **runner: Any,
) -> Inversion:
    """Train a fresh attacker, and let him rebuild images from their activations.

    The attribute is whether an image is warm: whether its red exceeds its blue by more than is
    usual (the median of the attacker's images). No task asks for it.

    Args:
      net: the network.
      defence: what owners do to activations.
      bottom: weights of the bottom half.
      own: the attacker's images, uint8 `[m, H, W, 3]`, none of the targets.
      targets: images of the owners, uint8 `[n, H, W, 3]`.
      settings: of the attacker's training.
      **runner: of `train.fit`: `checkpoint_dir`, `on_start`, `on_segment`, `should_stop`.

    Raises:
      ValueError: images that do not fit.
      MissingLibraryError: scikit-image is not installed.
    """
    own = _check.uint8_images(own=own)
    targets = _check.uint8_images(targets=targets)
    usual = float(np.median(_warmth(own)))
    labels = (_warmth(own) > usual).astype(np.int32)
    batches = train.Batches(
        train.Batch(own, labels),
        data.BatchPlan(len(own), min(settings.batch_size, len(own)), settings.seed).rows,
    )
    attacker = _Attacker(net, defence, settings)
    step = _step(attacker)
    key = jax.random.key(settings.seed)
    params = attacker.init(jax.random.fold_in(key, 1), own.shape[1:])
    # The bottom half is data of this training, not a weight that it moves.
    state = step.init(params, bottom)
    result = train.fit(step, state, batches, num_steps=settings.num_steps, key=key, **runner)
    rebuilt, read = attacker.attack(result.state.params, bottom, targets)
    truth = _warmth(targets) > usual
    exact = targets.astype(np.float32) / 255.0
    return Inversion(
        ssim=_mean_ssim(exact, rebuilt),
        mse=float(np.square(exact - rebuilt).mean()),
        attribute_accuracy=float((read == truth).mean()),
        attribute_chance=float(max(truth.mean(), 1.0 - truth.mean())),
        images=np.rint(rebuilt * 255.0).astype(np.uint8),
    )


@dataclasses.dataclass(frozen=True)
class _Attacker:
    net: SplitNet
    defence: Defence
    settings: AttackerSettings

    @property
    def inverter(self) -> Inverter:
        return Inverter(self.settings.width)

    @property
    def reader(self) -> SplitNet:
        return SplitNet(2, channels=self.net.channels, width=max(1, self.settings.width // 2))

    def init(self, key: jax.Array, shape: tuple[int, int, int]) -> Params:
        first, second = jax.random.split(key)
        params = self.reader.init(first, shape)
        images = jnp.zeros((1, *shape), jnp.float32)
        seen = jax.eval_shape(self.reader.bottom, params["bottom"], images)
        inverter = self.inverter.init(second, seen.shape[1:])
        return {"inverter": inverter, "reader": params["top"]}

    def loss(self, params: Params, bottom: Params, batch: Any, key: chex.PRNGKey) -> Any:
        """Both networks are trained at once; neither sees the other."""
        images = batch.images.astype(jnp.float32) / 255.0
        seen = released(self.net.bottom(bottom, images), self.defence, key)
        error = jnp.square(self.inverter(params["inverter"], seen) - images).mean()
        logits = self.reader.top(params["reader"], seen)
        entropy = train.cross_entropy(logits, batch.labels).mean()
        return error + entropy, (bottom, {"error": error})

    def attack(
        self, params: Params, bottom: Params, images: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return rebuilt images, and whether each was read as warm."""
        found = []
        for start in range(0, len(images), _BATCH):
            key = jax.random.fold_in(jax.random.key(self.settings.seed + 1), start)
            found.append(_attack(self, params, bottom, images[start : start + _BATCH], key))
        rebuilt, read = zip(*found, strict=True)
        return np.concatenate(rebuilt), np.concatenate(read)


@functools.lru_cache(maxsize=4)
def _step(attacker: _Attacker) -> train.Step:
    how = attacker.settings
    rate = optax.cosine_decay_schedule(how.learning_rate, how.num_steps)
    return train.make_step(attacker.loss, train.adam(rate))


@functools.partial(jax.jit, static_argnums=0)
def _attack(
    attacker: _Attacker, params: Params, bottom: Params, images: jax.Array, key: chex.PRNGKey
) -> tuple[jax.Array, jax.Array]:
    pixels = images.astype(jnp.float32) / 255.0
    seen = released(attacker.net.bottom(bottom, pixels), attacker.defence, key)
    read = attacker.reader.top(params["reader"], seen).argmax(-1) == 1
    return attacker.inverter(params["inverter"], seen), read


def _warmth(images: np.ndarray) -> np.ndarray:
    """Return the mean of red minus blue of each image, float64 `[n]`."""
    means = images.astype(np.float64).mean(axis=(1, 2))
    return means[:, 0] - means[:, 2]


def _mean_ssim(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean structural similarity (Wang et al. 2004), of windows of 7 pixels."""
    try:
        from skimage.metrics import structural_similarity
    except ImportError:
        raise MissingLibraryError(
            "SSIM needs scikit-image: pip install '.[run]' in the checkout"
        ) from None
    values = [
        structural_similarity(a, b, data_range=1.0, win_size=_WINDOW, channel_axis=-1)
        for a, b in zip(first, second, strict=True)
    ]
    return float(np.mean(values))
