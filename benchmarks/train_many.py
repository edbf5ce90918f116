"""Models that differ only in their seed: one after another against all in one program.

Both sides take the same steps on the same photos from the same first weights, compiled and
with the photos on the device; what `train_many` adds (checks, evaluation, checkpoints) is
the same for both and left out. The ratio decides what `execution="auto"` takes.

Measured on two CPU cores that were busy besides (load 9): one program takes 2.8 (2.0 to 4.0)
times as long per model with 2 models, and 2.9 (2.7 to 3.1) with 4, so one after another wins.
Under `vmap` a convolution whose weights differ by model becomes a grouped one; that these are
what is slow was not taken apart. Not yet measured on an accelerator.
"""

import argparse
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax.models import create
from anw_jax.train import TrainSettings, many_vmap
from anw_jax.train.cohort import Cohort, make_cohort
from anw_jax.train.run import prepare
from anw_jax.train.state import augment_key
from benchmarks import _measure


def make(name: str, num_models: int, batch_size: int, num_steps: int) -> Cohort:
    rng = np.random.default_rng(0)
    num_images = batch_size * num_steps
    images = rng.integers(0, 256, (num_images, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, num_images)
    settings = TrainSettings(batch_size=batch_size, num_epochs=100_000, learning_rate=0.01)
    model = create(name, 10)
    return make_cohort(model, settings, images, labels, range(num_models), None, None, None)


def one_after_another(cohort: Cohort, num_steps: int) -> SimpleNamespace:
    """Trains each model for some steps, and then the next."""
    runs = [
        prepare(
            cohort.model,
            cohort.settings_of(index),
            cohort.images,
            cohort.labels,
            cohort.plan_of(index),
            num_devices=1,
        )
        for index in range(cohort.num_models)
    ]
    side = SimpleNamespace(states=[run.init_state() for run in runs], losses=[], done=0)

    def advance() -> None:
        losses = []
        for index, run in enumerate(runs):
            state, metrics = run.advance(side.states[index], side.done, num_steps)
            side.states[index] = jax.block_until_ready(state)
            losses.append(float(metrics.loss) / num_steps)
        side.done += num_steps
        side.losses.append(losses)

    side.advance = advance
    return side


def together(cohort: Cohort, num_steps: int) -> SimpleNamespace:
    """Trains all models for some steps at once."""
    indices = range(cohort.num_models)
    device = jax.local_devices()[0]
    photos = jax.device_put(many_vmap._photos(cohort, indices), device)
    keys = jnp.stack([augment_key(cohort.settings_of(index)) for index in indices])
    driver = many_vmap.resolve_driver("auto")
    advance_fn = many_vmap._advance_fn(driver, cohort)
    state = jax.device_put(many_vmap._first_state(cohort, indices), device)
    side = SimpleNamespace(state=state, losses=[], done=0)

    def advance() -> None:
        rows = many_vmap._rows(cohort, indices, side.done, num_steps)
        side.state, metrics = advance_fn(side.state, photos, rows, keys)
        jax.block_until_ready(side.state)
        side.done += num_steps
        side.losses.append((np.asarray(metrics.loss) / num_steps).tolist())

    side.advance = advance
    return side


def compare(name: str, num_models: int, batch_size: int, num_steps: int, rounds: int) -> dict:
    """Times the same steps of the same models on both sides."""
    cohort = make(name, num_models, batch_size, num_steps)
    sequence, vmap = one_after_another(cohort, num_steps), together(cohort, num_steps)
    seconds = _measure.alternate({"vmap": vmap.advance, "sequence": sequence.advance}, rounds)
    slowdown = _measure.ratio(seconds, "sequence", "vmap")
    label = f"{name}, {num_models} models, batch {batch_size}"
    _measure.say(f"{label}: vmap takes times as long per model", slowdown)
    rates = {
        side: num_models * num_steps * batch_size / float(np.median(taken))
        for side, taken in seconds.items()
    }
    print(f"{label}: {rates['vmap']:.0f} images/s in vmap, {rates['sequence']:.0f} in sequence")
    first = np.abs(np.subtract(vmap.losses[0], sequence.losses[0])).max()
    return {
        "backend": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "num_models": num_models,
        "batch_size": batch_size,
        "steps": num_steps,
        "vmap_over_sequence": slowdown,
        "images_per_second": rates,
        "seconds": seconds,
        "largest_difference_of_first_losses": float(first),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", default="small")
    parser.add_argument("--models", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    flags = parser.parse_args()
    results = {
        f"{flags.net}, {count} models": compare(
            flags.net, count, flags.batch, flags.steps, flags.rounds
        )
        for count in flags.models
    }
    _measure.write("train_many", results)


if __name__ == "__main__":
    main()
