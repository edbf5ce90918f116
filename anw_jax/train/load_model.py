"""A trained network from its folder of checkpoints alone."""

import pathlib
from typing import Any

from orbax.checkpoint import v1 as ocp

from anw_jax.errors import CheckpointError
from anw_jax.models import Model
from anw_jax.train.checkpoints import load_variables


def load_model(
    directory: str | pathlib.Path, step: int | None = None
) -> tuple[Model, dict[str, Any]]:
    """The network that a run trained, and its variables.

    A checkpoint stores the network's settings, normalisation included, so neither the
    experiment's settings nor its data are needed.

    Args:
      directory: the run's folder of checkpoints.
      step: which checkpoint, by optimizer steps; None = the newest.

    Returns:
      The model and `{'params': ..., 'batch_stats': ...}`, for `Model.predict_fn`.

    Raises:
      CheckpointError: no such checkpoint, a damaged one, or one without these settings.
    """
    variables = load_variables(directory, step)
    directory = pathlib.Path(directory).absolute()
    with ocp.training.Checkpointer(str(directory)) as checkpointer:
        step = checkpointer.checkpoints[-1].step if step is None else step
        saved = checkpointer.metadata(step).custom_metadata or {}
    try:
        fields = saved["fingerprint"]["model"]
        listed = {n: tuple(v) if isinstance(v, list) else v for n, v in fields.items()}
        return Model(**listed), variables
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint of step {step} in {directory} names no network ({error!s:.80})"
        ) from None
