"""How to ask a fine-tuned generator: noises, noise levels, and other scores than the error.

Command:   python -m benchmarks.denoising_score    (20 minutes of one core, most of it training)
Writes:    results/benchmarks/denoising_score.json

Base and fine-tuned model are those of experiments/diffusion.py:quick with seed SEED, which
stands in no result: 40 photos with the light mark among 60 others. Both are asked at 32 noise
levels, of 1,000; each score averages the errors in another way, and is tested with the exact
test calibrated by the base. Nothing won enough to be used: the plain mean of 8 noises from 50
to 530 is within a tenth of the best in log10 p, at a quarter of its queries.
"""

import argparse
import pathlib
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import marks, stats, train
from anw_jax.keys import Assignment, SignatureSpace, Units
from anw_jax.lab import diffusion, settings_from_config
from anw_jax.lab.diffusion_settings import STATISTIC, DiffusionSettings
from anw_jax.lab.owners import User
from anw_jax.lab.workdir import Workdir
from anw_jax.marks.lct import YIQ
from anw_jax.models import Diffusion
from anw_jax.verify import losses
from benchmarks import _measure
from experiments import diffusion as experiment

SEED, ARM = 100, "light"
STEPS = np.linspace(20, 800, 32).round().astype(int)
BANDS = ((20, 800), (20, 300), (50, 530), (200, 600), (300, 800))
GREY = np.array(YIQ[0], np.float32)


def settings_of_study() -> DiffusionSettings:
    """Return the experiment's settings with the study's seed."""
    config = experiment.get_config("quick")
    config.seed = SEED
    return settings_from_config(config)


def trained(settings: DiffusionSettings, folder: pathlib.Path) -> tuple[User, dict, dict]:
    """Return the owner, and the parameters of base and suspect; train what `folder` lacks."""
    tuning, model = settings.tunings[ARM], settings.model
    photos = diffusion.prepare(settings, Workdir(folder))
    owner = photos.owners[tuning.owner]
    images = diffusion.base_images(settings, SEED, photos.splits)
    learned = np.concatenate(
        [owner.published()[: tuning.num_owned], photos.others[: tuning.num_others]]
    )

    def fitted(params, data, how, name):
        place = folder / name
        result = train.train_diffusion(
            model, params, data, how, seed=SEED, checkpoint_dir=place
        )
        return result.state.params

    start = model.init(jax.random.key(SEED), images.shape[1:])["params"]
    base = fitted(start, images, settings.base, "base")
    return owner, base, fitted(base, learned, tuning.train, "suspect")


def tables(
    model: Diffusion, owner: User, base: dict, suspect: dict, space: SignatureSpace
) -> dict[str, np.ndarray]:
    """Ask both models about all candidates.

    Returns:
      "suspect" and "base", errors `[n, 32, num_slots, 2]` by step, of all colours and of the
      luminance; and "pull" `[n, 32, num_slots]`: how far the fine-tuning moved the answer to
      the unmarked photo in the direction of each candidate.
    """
    ask = _asker(model, owner.originals.images.shape[1:])
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("suspect", "base", "pull")}
    for photo in owner.originals.images:
        marked = [marks.publish_image(owner.mark, photo, d) for d in space.degrees[1:]]
        candidates = np.stack([photo, *marked]).astype(np.float32) / 255
        errors, moved = ask(suspect, candidates)
        errors_of_base, fixed = ask(base, candidates)
        added = candidates - candidates[:1]
        size = np.sqrt((added**2).sum((1, 2, 3))) + 1e-9
        found["suspect"].append(errors)
        found["base"].append(errors_of_base)
        found["pull"].append(np.einsum("khwc,shwc->ks", fixed - moved, added) / size)
    return {name: np.stack(values) for name, values in found.items()}


def _asker(model: Diffusion, shape: tuple[int, int, int]) -> Callable:
    """From parameters and candidates to errors, and residuals at the unmarked photo."""
    noises = losses.denoising_noises(SEED, len(STEPS), shape)
    levels = STEPS.astype(np.int32), model.signal_shares[STEPS], noises

    @jax.jit
    def ask(params, images):
        def residuals(images, level):
            step, share, noise = level
            noisy = jnp.sqrt(share) * (2 * images - 1) + jnp.sqrt(1 - share) * noise[None]
            steps = jnp.full(len(images), step)
            return model.predict_noise({"params": params}, noisy, steps) - noise[None]

        def errors(left):
            of_grey = jnp.square(left @ GREY).mean((1, 2))
            return jnp.stack([jnp.square(left).mean((1, 2, 3)), of_grey], axis=-1)

        def at(level):
            left, mirrored = residuals(images, level), residuals(images[:, :, ::-1], level)
            return (errors(left) + errors(mirrored)) / 2, left[0]

        return jax.lax.map(at, levels)

    return lambda params, images: jax.device_get(ask(params, images))


def log10_p(
    suspect: np.ndarray, base: np.ndarray | None, slots: np.ndarray, space: SignatureSpace
) -> dict[str, float]:
    """Test all 40 photos, and groups of 10; the median of these."""

    def p(rows: slice) -> float:
        assignment = Assignment(Units(np.arange(len(slots[rows])), space), slots[rows])
        references = [] if base is None else [base[rows]]
        return stats.exact_test(
            suspect[rows], assignment, statistic=STATISTIC, references=references
        ).log10_p

    groups = [slice(start, start + 10) for start in range(0, len(slots), 10)]
    found = {"40 photos": p(slice(None)), "10 photos": np.median([p(rows) for rows in groups])}
    return {name: round(float(value), 2) for name, value in found.items()}


def scores(
    asked: Mapping[str, np.ndarray], slots: np.ndarray, space: SignatureSpace
) -> dict[str, dict[str, float]]:
    """Return log10 p of every way to average the errors of the steps."""
    found = {}

    def add(name: str, average: Callable[[np.ndarray], np.ndarray]) -> None:
        found[name] = log10_p(average(asked["suspect"]), average(asked["base"]), slots, space)

    for first, last in BANDS:
        (band,) = np.nonzero((STEPS >= first) & (STEPS <= last))
        name = f"steps {first} to {last}"
        add(f"{name}: mean", lambda e, k=band: e[:, k].mean(1)[..., 0])
        add(
            f"{name}: geometric mean", lambda e, k=band: np.exp(np.log(e[:, k]).mean(1))[..., 0]
        )
        add(f"{name}: mean, luminance", lambda e, k=band: e[:, k].mean(1)[..., 1])
        # As an error, of which the statistic takes the logarithm; the base is in it.
        pull = asked["pull"][:, band].mean(1)
        errors = np.exp(-0.1 * pull / pull[:, 1:].std())
        found[f"{name}: pull"] = log10_p(errors, None, slots, space)
    (band,) = np.nonzero((STEPS >= 50) & (STEPS <= 530))
    for number in (1, 2, 4, 8, 16):
        chosen = band[np.linspace(0, len(band) - 1, number).round().astype(int)]
        add(f"{number} noises from 50 to 530", lambda e, k=chosen: e[:, k].mean(1)[..., 0])
    return found


def main() -> None:
    """Ask, score, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default="workdir/denoising_score", help="of both models")
    folder = pathlib.Path(parser.parse_args().folder)
    settings = settings_of_study()
    space = settings.verify.space
    owner, base, suspect = trained(settings, folder)
    asked = tables(settings.model, owner, base, suspect, space)
    found = scores(asked, owner.assignment.slots, space)
    for name, values in found.items():
        print(f"{name:<36}" + "".join(f"{value:>8.1f}" for value in values.values()))
    _measure.write("denoising_score", found)


if __name__ == "__main__":
    main()
