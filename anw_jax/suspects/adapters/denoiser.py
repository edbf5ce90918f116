"""A diffusion model as a suspect: its error in removing known noise."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anw_jax import _check, _json
from anw_jax.errors import MissingLibraryError, SuspectError
from anw_jax.keys.plan_fields import Denoising
from anw_jax.suspects.adapters.base import PreparedSuspect, cause_of, with_identity
from anw_jax.suspects.adapters.files import read_file
from anw_jax.suspects.adapters.schedule import NoiseSchedule
from anw_jax.suspects.adapters.torch import TorchSuspect
from anw_jax.suspects.declaration import Declaration
from anw_jax.verify.losses import check_steps, denoising_noises, denoising_target

# (noisy pictures, steps) -> prediction, as arrays of NumPy.
DenoiserFn = Callable[[np.ndarray, np.ndarray], Any]

# The part of the schedule over which steps are evenly spaced where none are given.
_FIRST, _LAST = 0.05, 0.5


class DenoisingSuspect(PreparedSuspect):
    """A diffusion model whose answer is its mean squared error in removing known noise.

    The same loss as `verify.denoising_error`, for a network of any framework: at each of some
    steps the picture is mixed with noise, the network predicts the noise (or what the schedule
    says), and the errors are averaged. Steps and noise are public, the same for all pictures of
    a size, and part of the identity. They are the arbitrator's: an owner who knows the slots
    could try many seeds.

    Args:
      predict: maps noisy pictures, float32 `[b, ...]` in the declared layout, and steps, int64
        `[b]`, to an array of the pictures' shape.
      schedule: of the noise.
      declaration: with `answer="error"`; usually `value_range="signed"`, so that pictures are
        in [-1, 1], in which the noise is added.
      identity: names the network; not needed if the declaration has an identity.
      steps: integers in [0, schedule.num_steps), with repetitions; None for 8, evenly spaced
        from 5 % to 50 % of the schedule.
      seed: of the noise, at least 0.
      mirror: evaluate also the mirror image, with the same noise.
      together: largest number of pictures in one call; None for no limit.

    Attributes:
      scheduler: the schedule's identity.
      choice: steps, seed and mirror in words, which do not belong to the model; scheduler and
        choice are part of its identity.

    Raises:
      TypeError, ValueError: steps beyond the schedule, another answer, or no identity.

    Example:
      >>> schedule = NoiseSchedule(np.array([0.9, 0.5]))
      >>> suspect = DenoisingSuspect(
      ...     lambda noisy, steps: 0 * noisy, schedule, Declaration(answer="error"),
      ...     identity="blind", steps=[0, 1])
      >>> suspect.answers(np.zeros((3, 4, 4, 3), np.float32)).scores.shape
      (3, 1)
    """

    def __init__(
        self,
        predict: DenoiserFn,
        schedule: NoiseSchedule,
        declaration: Declaration,
        *,
        identity: str | None = None,
        steps: Sequence[int] | None = None,
        seed: int = 0,
        mirror: bool = True,
        together: int | None = None,
    ):
        if not callable(predict):
            raise TypeError(f"predict must be callable, got {type(predict).__name__}")
        _check.is_instance(NoiseSchedule, schedule=schedule)
        declaration = with_identity(declaration, identity)
        if not declaration.identity:
            raise ValueError("identity must name the model: code cannot be hashed")
        if declaration.answer != "error":
            raise ValueError(
                f"answer must be 'error' for a diffusion model, got {declaration.answer!r}"
            )
        if steps is None:
            steps = default_steps(schedule.num_steps)
        self._steps = check_steps(steps, schedule.num_steps).astype(np.int64)
        self._seed = _check.integer_at_least(0, seed=seed)
        self._mirror = _check.is_instance(bool, mirror=mirror)
        self._predict, self._schedule = predict, schedule
        self.choice = _in_words(self._steps.tolist(), self._seed, mirror)
        self.scheduler = schedule.identity
        identity = (
            f"{declaration.identity}, denoising: scheduler {self.scheduler}, {self.choice}"
        )
        super().__init__(dataclasses.replace(declaration, identity=identity), together=together)

    def planned_choice(self, plan: Denoising) -> str:
        """Return what `choice` is where the model is asked as a plan fixes it."""
        steps = default_steps(self._schedule.num_steps, plan.steps)
        return _in_words(steps, plan.seed, plan.mirror)

    def _run(self, batch: np.ndarray) -> np.ndarray:
        shares = self._schedule.signal_shares[self._steps]
        weights = denoising_target(shares, self._schedule.prediction)
        axis = 3 if self.declaration.layout == "NCHW" else 2
        sides = (batch, np.flip(batch, axis)) if self._mirror else (batch,)
        total = np.zeros(len(batch))
        for step, share, noise, of_noise, of_image in zip(
            self._steps, shares, self._noises(batch.shape[1:]), *weights, strict=True
        ):
            for clean in sides:
                noisy = np.sqrt(share) * clean + np.sqrt(1 - share) * noise
                wanted = of_noise * noise + of_image * clean
                errors = np.square(self._predicted(noisy, step) - wanted)
                total += errors.reshape(len(batch), -1).mean(axis=1, dtype=np.float64)
        return total / (len(self._steps) * len(sides))

    def _noises(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the noise of each step for pictures of a shape, in the declared layout."""
        is_first = self.declaration.layout == "NCHW"
        return _noises(self._seed, len(self._steps), shape, is_first)

    def _predicted(self, noisy: np.ndarray, step: np.int64) -> np.ndarray:
        seen = self._predict(noisy, np.full(len(noisy), step))
        if isinstance(seen, tuple | list) and len(seen) == 1:
            seen = seen[0]  # as diffusers answers with return_dict=False
        seen = np.asarray(seen)
        if seen.shape != noisy.shape or seen.dtype.kind not in "fiu":
            raise SuspectError(
                f"{self.display_name} was given noisy pictures {noisy.shape} and must predict "
                f"numbers of that shape; got {seen.dtype} of shape {seen.shape}"
            )
        return seen.astype(np.float32)


@functools.lru_cache(maxsize=4)
def _noises(seed: int, number: int, shape: tuple[int, ...], is_first: bool) -> np.ndarray:
    if not is_first:
        return denoising_noises(seed, number, shape)
    noises = denoising_noises(seed, number, (*shape[1:], shape[0]))
    return np.ascontiguousarray(noises.transpose(0, 3, 1, 2))


def default_steps(num_steps: int, count: int = Denoising.steps) -> list[int]:
    """Return evenly spaced steps, from 5 % to 50 % of a schedule of `num_steps`.

    Example:
      >>> default_steps(1000)
      [50, 114, 178, 242, 306, 370, 434, 499]
      >>> default_steps(1000, 2)
      [50, 499]
    """
    first, last = _FIRST * num_steps, _LAST * num_steps - 1
    return [int(step) for step in np.linspace(first, max(first, last), count)]


def _in_words(steps: Sequence[int], seed: int, mirror: bool) -> str:
    mirrored = "with" if mirror else "without"
    return f"steps {', '.join(map(str, steps))}, seed {seed}, {mirrored} mirror images"


# The files of a network of diffusers, and the one class that needs no captions.
_CONFIG, _WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
_CLASS = "UNet2DModel"


def open_diffusers(
    path: str | os.PathLike, declaration: Declaration, *, device: str = "cpu"
) -> TorchSuspect:
    """Open a `UNet2DModel` from its folder, as `save_pretrained` of diffusers writes it.

    Exactly the two files whose SHA-256 become the identity are used: `config.json` and
    `diffusion_pytorch_model.safetensors`. Nothing is fetched. `outputs` is a `DenoiserFn`.

    Raises:
      MissingLibraryError: diffusers is not installed.
      SuspectError: a file is missing, a network of another class, weights that do not fit, or
        an index of weights in several files, which the identity would not cover.
    """
    folder = pathlib.Path(path)
    body, config_digest = read_file(folder / _CONFIG)
    if indexes := sorted(folder.glob("*.index.json")):
        raise SuspectError(
            f"{indexes[0]} divides the weights among several files: save them in one file, "
            f"{_WEIGHTS}, and remove the index"
        )
    weights, digest = read_file(folder / _WEIGHTS)
    try:
        config = _json.loads(body.decode())
        name = config["_class_name"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SuspectError(f"{folder / _CONFIG} is not a network's configuration") from None
    if name != _CLASS:
        raise SuspectError(
            f"{folder / _CONFIG} must be of class {_CLASS}, which needs no captions, got "
            f'{name!r:.60}: write what calls it in a function, function = "file.py:predict"'
        )
    try:
        import safetensors.torch
        from diffusers import UNet2DModel
    except ImportError:
        raise MissingLibraryError(
            "opening a folder of diffusers needs the package diffusers: pip install diffusers"
        ) from None
    try:
        module = UNet2DModel.from_config(config)
        module.load_state_dict(safetensors.torch.load(weights))
    except Exception as error:  # of diffusers, torch and safetensors: no common base
        raise SuspectError(f"{folder} cannot be opened ({cause_of(error, 300)})") from error
    module = module.eval()
    module.forward = functools.partial(module.forward, return_dict=False)
    identity = f"{_CLASS} {config_digest} {digest}"
    return TorchSuspect(module, with_identity(declaration, identity), device=device)
