"""Models that differ only in their seed: one after another against all in one program.

All sides take the same steps on the same photos from the same first weights, compiled and
with the photos on the device; what `train_many` adds (checks, evaluation, checkpoints) is
the same for all and left out. The ratios decide what `execution="auto"` takes.

Measured on two idle CPU cores with 4 small nets: `map` runs at 1.05 (0.94 to 1.15) of the
speed of one after another on jax 0.10.2, at 0.97 (0.18 to 1.09) on 0.12.0.1: there is no
difference, so "auto" keeps one after another, which needs the memory of one model. `vmap`
runs at 0.55 and 0.58: under it a convolution whose weights differ by model becomes a
grouped one. Not yet measured on an accelerator.
"""

import argparse
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anw_jax import data
from anw_jax.models import Model, create
from anw_jax.train import Batch, Batches, TrainSettings, classification_step
from anw_jax.train.classifier import first_state, step_key
from anw_jax.train.segments import Run, prepare
from benchmarks import _measure


def make(name: str, num_models: int, batch_size: int, num_steps: int) -> SimpleNamespace:
    """Return photos of noise, and one step, batch plan, key and first state for each model."""
    rng = np.random.default_rng(0)
    num_images = batch_size * num_steps
    images = rng.integers(0, 256, (num_images, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, num_images).astype(np.int32)
    model: Model = create(name, 10)
    settings = TrainSettings(batch_size=batch_size, num_epochs=100_000, learning_rate=0.01)
    step = classification_step(model, settings, num_steps)
    seeds = [TrainSettings(seed=seed) for seed in range(num_models)]
    return SimpleNamespace(
        step=step,
        columns=Batch(images, labels),
        plans=[data.BatchPlan(num_images, batch_size, seed) for seed in range(num_models)],
        keys=[step_key(seed) for seed in seeds],
        states=[first_state(step, model, seed, (32, 32, 3)) for seed in seeds],
    )


def side(runs: list[Run], states: list[Any], num_steps: int) -> SimpleNamespace:
    """Return a function that takes some steps with each run, and records the losses."""
    kept = SimpleNamespace(states=states, losses=[], done=0)

    def advance() -> None:
        losses = []
        for index, run in enumerate(runs):
            state, sums = run.advance(kept.states[index], kept.done, num_steps)
            kept.states[index] = jax.block_until_ready(state)
            losses += np.atleast_1d(sums["loss"] / num_steps).tolist()
        kept.done += num_steps
        kept.losses.append(losses)

    kept.advance = advance
    return kept


def one_after_another(made: SimpleNamespace, num_steps: int) -> SimpleNamespace:
    """Train each model for some steps, one after another."""
    runs = [
        prepare(made.step, Batches(made.columns, plan.rows), 10**6, key, None, 1)
        for plan, key in zip(made.plans, made.keys, strict=True)
    ]
    return side(runs, jax.tree.map(jnp.copy, made.states), num_steps)


def together(made: SimpleNamespace, num_steps: int, over_models: str) -> SimpleNamespace:
    """Train all models for some steps in one program."""

    def rows(first_step: int, count: int) -> np.ndarray:
        return np.stack([plan.rows(first_step, count) for plan in made.plans], axis=1)

    batches, keys = Batches(made.columns, rows), jnp.stack(made.keys)
    run = prepare(made.step, batches, 10**6, keys, over_models, None)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *made.states)
    state = stacked.replace(step=jnp.copy(made.states[0].step))
    return side([run], [state], num_steps)


def compare(name: str, num_models: int, batch_size: int, num_steps: int, rounds: int) -> dict:
    """Time the same steps of the same models on all sides."""
    made = make(name, num_models, batch_size, num_steps)
    sides = {"sequence": one_after_another(made, num_steps)}
    sides |= {how: together(made, num_steps, how) for how in ("map", "vmap")}
    advances: dict[str, Callable[[], None]] = {k: v.advance for k, v in sides.items()}
    seconds = _measure.alternate(advances, rounds)
    label = f"{name}, {num_models} models, batch {batch_size}"
    speed = {how: _measure.ratio(seconds, how, "sequence") for how in ("map", "vmap")}
    for how, ratio in speed.items():
        _measure.say(f"{label}: {how}, times faster than one after another", ratio)
    wanted = sides["sequence"].losses[0]
    return {
        "backend": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "num_models": num_models,
        "batch_size": batch_size,
        "steps": num_steps,
        "times_faster_than_sequence": speed,
        "images_per_second": {
            how: num_models * num_steps * batch_size / float(np.median(taken))
            for how, taken in seconds.items()
        },
        "seconds": seconds,
        "largest_difference_of_first_losses": {
            how: float(np.abs(np.subtract(sides[how].losses[0], wanted)).max())
            for how in ("map", "vmap")
        },
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
