"""The learning rate as a function of the step."""

import jax
import jax.numpy as jnp
import optax

from anw_jax.train.settings import TrainSettings


def learning_rate_fn(settings: TrainSettings, steps_per_epoch: int) -> optax.Schedule:
    """Return the learning rate at each optimizer step.

    "step" multiplies by 0.1 after each third of the epochs (at 30 and 60 of 90, as in
    He et al. 2016, https://arxiv.org/abs/1512.03385); "cosine" falls to 0 (Loshchilov and
    Hutter 2017, https://arxiv.org/abs/1608.03983). Warm-up epochs come first and count
    towards `num_epochs`.

    Args:
      settings: what to train with.
      steps_per_epoch: optimizer steps in one epoch.

    Returns:
      A function from a step (counted from 0) to a float32 learning rate.

    Example:
      >>> schedule = learning_rate_fn(TrainSettings(), steps_per_epoch=10)
      >>> [round(float(schedule(step)), 4) for step in (0, 299, 300, 899)]
      [0.1, 0.1, 0.01, 0.001]
    """
    num_steps = settings.num_epochs * steps_per_epoch
    num_warmup = settings.warmup_epochs * steps_per_epoch
    peak = settings.learning_rate
    warmup = optax.linear_schedule(0.0, peak, num_warmup)
    if settings.schedule == "cosine":
        parts = [warmup, optax.cosine_decay_schedule(peak, num_steps - num_warmup)]
        joined = optax.join_schedules(parts, [num_warmup])
    else:
        levels = [optax.constant_schedule(peak * factor) for factor in (1.0, 0.1, 0.01)]
        thirds = [max(num_warmup, num_steps * third // 3) for third in (1, 2)]
        joined = optax.join_schedules([warmup, *levels], [num_warmup, *thirds])

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        # Optax divides the step by a float, which strict promotion refuses of an integer.
        return joined(jnp.asarray(step, jnp.float32))

    return schedule


def optimizer(settings: TrainSettings, steps_per_epoch: int) -> optax.GradientTransformation:
    """Return SGD as PyTorch has it: weight decay joins the gradient, then momentum."""
    return optax.chain(
        optax.add_decayed_weights(settings.weight_decay),
        optax.sgd(
            learning_rate_fn(settings, steps_per_epoch),
            settings.momentum,
            settings.nesterov,
        ),
    )
