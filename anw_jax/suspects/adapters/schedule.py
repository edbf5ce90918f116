"""The noise schedule of a diffusion model, from a scheduler's configuration file."""

import dataclasses
import hashlib
import os
import pathlib
from typing import Any, Self

import numpy as np

from anw_jax import _check, _json
from anw_jax.errors import SuspectError
from anw_jax.suspects.adapters.files import read_file
from anw_jax.verify.losses import check_signal_shares, denoising_target

_TAG = b"anw_jax/v1/noise schedule\0"
_MOST_STEPS = 100_000
# As in Nichol and Dhariwal (2021), eq. 17, https://arxiv.org/abs/2102.09672.
_OFFSET, _LARGEST_BETA = 0.008, 0.999
# Settings that change the schedule in ways that are not implemented.
_UNSUPPORTED = ("trained_betas", "rescale_betas_zero_snr")


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """How much of an image is left at each step, and what the model predicts.

    Attributes:
      signal_shares: ᾱ of each step, float32 `[num_steps]` in (0, 1]. The model sees
        sqrt(ᾱ) · image + sqrt(1 - ᾱ) · noise, with the image in [-1, 1].
      prediction: "epsilon", "sample" or "v_prediction"; see `verify.denoising_target`.
      identity: which schedule it is; "" for a digest of the numbers. `load` gives the SHA-256
        of the file.

    Raises:
      TypeError, ValueError: shares outside (0, 1], or an unknown prediction.

    Example:
      >>> schedule = NoiseSchedule.from_config(
      ...     {"num_train_timesteps": 2, "beta_schedule": "linear", "beta_start": 0.1,
      ...      "beta_end": 0.5})
      >>> schedule.signal_shares.round(3).tolist(), schedule.prediction
      ([0.8999999761581421, 0.44999998807907104], 'epsilon')
    """

    signal_shares: np.ndarray
    prediction: str = "epsilon"
    identity: str = ""

    def __post_init__(self):
        shares = check_signal_shares(self.signal_shares)
        object.__setattr__(self, "signal_shares", shares)
        denoising_target(shares[:1], self.prediction)
        if not self.identity:
            digest = hashlib.sha256(_TAG + self.prediction.encode() + shares.tobytes())
            object.__setattr__(self, "identity", digest.hexdigest())

    @property
    def num_steps(self) -> int:
        """T, the number of steps."""
        return len(self.signal_shares)

    @classmethod
    def from_config(cls, config: dict[str, Any], identity: str = "") -> Self:
        """Compute the schedule from the fields of a `scheduler_config.json` of diffusers.

        Schedulers differ in how they sample; the loss depends only on `num_train_timesteps`,
        the betas and `prediction_type`. A missing beta or prediction has the default of
        diffusers: 0.0001, 0.02, "epsilon". The schedules: "linear" (Ho et al., 2020),
        "scaled_linear" (linear in the square root), "squaredcos_cap_v2" (the cosine).

        Args:
          config: the parsed file.
          identity: see the class.

        Raises:
          TypeError, ValueError: a field that is missing or out of range.
        """
        _check.is_instance(dict, scheduler=config)
        for name in ("num_train_timesteps", "beta_schedule"):
            if name not in config:
                raise ValueError(
                    f"a scheduler must name {name}, as those of DDPM and DDIM do; it has "
                    f"{', '.join(sorted(config)[:6]) or 'no fields'}"
                )
        for name in _UNSUPPORTED:
            if config.get(name):
                raise ValueError(f"{name} must be off, which alone is supported")
        number = config["num_train_timesteps"]
        number = _check.integer_at_least(1, num_train_timesteps=number)
        if number > _MOST_STEPS:
            raise ValueError(f"num_train_timesteps must be at most {_MOST_STEPS}, got {number}")
        name = _check.one_of(_BETAS, beta_schedule=config["beta_schedule"])
        ends = [
            _check.in_open_interval(0.0, 1.0, **{end: config.get(end, default)})
            for end, default in (("beta_start", 1e-4), ("beta_end", 0.02))
        ]
        betas = _BETAS[name](*ends, number)
        return cls(np.cumprod(1 - betas), config.get("prediction_type", "epsilon"), identity)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """Read a `scheduler_config.json`.

        Raises:
          SuspectError: no file, or a file of another kind.
        """
        path = pathlib.Path(path)
        body, digest = read_file(path)
        try:
            # Some schedulers save -Infinity, in fields that do not matter here.
            return cls.from_config(_json.loads(body.decode(), allow_nan=True), digest)
        except (ValueError, TypeError, RecursionError) as error:
            raise SuspectError(f"{path} is not a scheduler's configuration: {error}") from None


def _linear(start: float, end: float, number: int) -> np.ndarray:
    return np.linspace(start, end, number)


def _scaled_linear(start: float, end: float, number: int) -> np.ndarray:
    return np.linspace(start**0.5, end**0.5, number) ** 2


def _cosine(start: float, end: float, number: int) -> np.ndarray:
    level = (np.arange(number + 1) / number + _OFFSET) / (1 + _OFFSET)
    shares = np.cos(level * np.pi / 2) ** 2
    return np.minimum(1 - shares[1:] / shares[:-1], _LARGEST_BETA)


_BETAS = {
    "linear": _linear,
    "scaled_linear": _scaled_linear,
    "squaredcos_cap_v2": _cosine,
}
