"""DP-SGD: each image's gradient is clipped, and Gaussian noise is added to the sum."""

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Iterator
from typing import Any

import jax

from anw_jax import _check, train
from anw_jax.attacks.kinds import libraries

SAMPLINGS = ("shuffled", "poisson")

_NAME, _EXTRA = "DP-SGD", "dp"

_TRAINING_LIBRARIES = ("jax_privacy.clipping", "jax_privacy.noise_addition")


@dataclasses.dataclass(frozen=True)
class DpSgd:
    """Clips each image's gradient, sums, adds Gaussian noise, divides by the batch size.

    Abadi et al. 2016 (https://arxiv.org/abs/1607.00133), algorithm 1, with jax-privacy's
    `clipped_grad` and `gaussian_privatizer`. What the optimizer makes of the result (weight
    decay, momentum) is post-processing and costs no privacy. Crops, mirror images and
    transforms that treat each image alone are harmless; those that mix images are refused, and
    so is BatchNorm. Not private are training metrics (loss, accuracy) and what was computed
    from all images together before training (`HistogramMatching`).

    Needs jax-privacy (extra `dp`), both for training and for `epsilon`.

    Attributes:
      clip_norm: largest L2 norm of one image's gradient over all trained parameters.
      noise_multiplier: standard deviation of the noise on the sum, over `clip_norm`; 0 = none.
      delta: the δ at which `epsilon` is given, in (0, 1); below 1 / number of images.
      microbatch_size: images whose gradients are held at once, a divisor of the batch size;
        None = the whole batch. Each takes the memory of one copy of the parameters.

    Raises:
      ValueError: if a number is out of range.
      TypeError: if it is not a number.

    Example:
      >>> DpSgd(clip_norm=1.0, noise_multiplier=1.1).delta
      1e-05
    """

    clip_norm: float = 1.0
    noise_multiplier: float = 1.0
    delta: float = 1e-5
    microbatch_size: int | None = None

    def __post_init__(self) -> None:
        """Check the parameters of the mechanism."""
        _check.positive(clip_norm=self.clip_norm)
        _check.in_interval(0.0, 1e6, noise_multiplier=self.noise_multiplier)
        _check.in_open_interval(0.0, 1.0, delta=self.delta)
        if self.microbatch_size is not None:
            _check.integer_at_least(1, microbatch_size=self.microbatch_size)

    def add_to(self, recipe: train.Recipe) -> train.Recipe:
        """Return the recipe with private gradients.

        Raises:
          ValueError: if it has a privatizer already, or a transform that mixes images.
        """
        if recipe.privacy is not None:
            raise ValueError(
                f"a recipe must have one privatizer at most, got {recipe.privacy!r} and "
                f"{self!r}"
            )
        return dataclasses.replace(recipe, privacy=self)

    def gradient(
        self,
        loss_fn: train.LossFn,
        params: Any,
        model_state: Any,
        batch: Any,
        rng: jax.Array,
    ) -> tuple[tuple[jax.Array, tuple[Any, dict[str, jax.Array]]], Any]:
        """Return the mean loss and metrics, and the private gradient.

        A `gradient_fn` of `train.make_step` for any loss, which is called on each example as a
        batch of one. Changes of `model_state` are discarded.

        Raises:
          ValueError: if `microbatch_size` does not divide the batch.
          ImportError: if jax-privacy is missing.
        """
        num_examples = len(jax.tree.leaves(batch)[0])
        if self.microbatch_size is not None and num_examples % self.microbatch_size:
            raise ValueError(
                f"microbatch_size must divide the batch of {num_examples}, "
                f"got {self.microbatch_size}"
            )
        clipping, noise_addition = libraries(_NAME, _EXTRA, *_TRAINING_LIBRARIES)

        def example_loss(params: Any, example: Any, rng: jax.Array) -> tuple[jax.Array, Any]:
            loss, (_, metrics) = loss_fn(params, model_state, example, rng)
            return loss, metrics

        loss_key, noise_key = jax.random.split(rng)
        clipped_grad = clipping.clipped_grad(
            example_loss,
            has_aux=True,
            l2_clip_norm=self.clip_norm,
            normalize_by=float(num_examples),
            batch_argnums=1,
            prng_argnum=2,
            return_values=True,
            microbatch_size=self.microbatch_size,
        )
        # One key per step makes the noise a function of (seed, step), which resuming needs.
        privatizer = noise_addition.gaussian_privatizer(
            stddev=self.noise_multiplier * self.clip_norm / num_examples, prng_key=noise_key
        )
        with _tolerant():
            mean, aux = clipped_grad(params, batch, loss_key)
            noisy, _ = privatizer.update(mean, privatizer.init(params))
        metrics = jax.tree.map(lambda value: value.mean(), aux.aux)
        return (aux.values.mean(), (model_state, metrics)), noisy

    def epsilon(
        self, num_steps: int, batch_size: int, num_images: int, sampling: str = "shuffled"
    ) -> float:
        """Return the ε of (ε, δ) differential privacy after `num_steps` steps.

        "shuffled" is what holds for the batches of this package, between two trainings that
        differ in one image's gradients being present or zero. Each image is in one batch of
        each epoch at most, so k epochs are k Gaussian mechanisms, or one with
        noise_multiplier / √k; its ε is exact (Balle and Wang 2018, theorem 8,
        https://arxiv.org/abs/1805.06530). The random choice of batches does not count.

        "poisson" is what most papers quote, for adding or removing one image: it counts as if
        each step drew each image anew with probability `batch_size / num_images`, by the
        accountant of privacy loss distributions (Koskela, Jälkö, Honkela 2020,
        https://arxiv.org/abs/1906.03049). It is far smaller, and not guaranteed for shuffled
        batches (Chua et al. 2024, https://arxiv.org/abs/2403.17673): quote it as "under Poisson
        sampling".

        Args:
          num_steps: optimizer steps.
          batch_size: images per step.
          num_images: images in the training set.
          sampling: "shuffled" or "poisson".

        Returns:
          ε at `delta`; infinity without noise.

        Raises:
          ValueError: if a number is out of range.
          TypeError: if it is not a number.
          ImportError: if dp_accounting (which jax-privacy brings) is missing.

        Example:
          >>> DpSgd(noise_multiplier=0.0).epsilon(10, 32, 1_000)
          inf
        """
        _check.integer_at_least(0, num_steps=num_steps)
        _check.integer_at_least(1, batch_size=batch_size)
        _check.integer_at_least(batch_size, num_images=num_images)
        _check.one_of(SAMPLINGS, sampling=sampling)
        if num_steps == 0:
            return 0.0
        if self.noise_multiplier == 0.0:
            return float("inf")
        if sampling == "shuffled":
            (accounting,) = libraries(_NAME, _EXTRA, "dp_accounting")
            num_epochs = -(-num_steps // (num_images // batch_size))
            sigma = self.noise_multiplier / math.sqrt(num_epochs)
            return float(accounting.get_epsilon_gaussian(sigma, self.delta))
        accounting, pld = libraries(_NAME, _EXTRA, "dp_accounting", "dp_accounting.pld")
        event = accounting.PoissonSampledDpEvent(
            batch_size / num_images, accounting.GaussianDpEvent(self.noise_multiplier)
        )
        accountant = pld.PLDAccountant()
        accountant.compose(accounting.SelfComposedDpEvent(event, num_steps))
        return float(accountant.get_epsilon(self.delta))


@contextlib.contextmanager
def _tolerant() -> Iterator[None]:
    """Allow what jax-privacy 2.0.0 does when traced: mixed dtypes, deprecated optax calls."""
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "optax.global_norm is deprecated", DeprecationWarning)
        yield
