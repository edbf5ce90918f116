"""A run with an output barrier: own model, decoder, key, marked outputs, copies, readings.

The order is the owner's (`schemes.scheme`): the unmarked model, its outputs on the queries,
filters and commitment, then bits and marked outputs, then copies. Each copy is a file of its
own, so that the same command resumes.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from anw_jax import keys, schemes, stats
from anw_jax.keys import Bits, MarkKey
from anw_jax.lab import copies, restoration
from anw_jax.lab.barrier_settings import BarrierSettings, CopySettings
from anw_jax.lab.copies import CopiesRun
from anw_jax.lab.journal import Journal, stop_on_interrupt
from anw_jax.lab.task import BEACON, beacon_value
from anw_jax.lab.workdir import Workdir
from anw_jax.schemes import barrier

# Photos that the report shows.
_SHOWN = 6

# Of a thief who trains a network that removes marks.
_THIEFS_KEYS = 30


@dataclasses.dataclass(frozen=True, eq=False)
class _Key:
    """Plan, secret bits and secret kernel of a key, after the beacon's value."""

    plan: keys.Plan
    bits: Bits
    kernel: np.ndarray


def measure(settings: BarrierSettings, folder: Workdir, journal: Journal) -> dict[str, Any]:
    """Mark outputs, train copies and read them, resuming from the last completed copy.

    Raises:
      StoppedError: Ctrl-C was pressed.
    """
    clean = copies.clean_images(settings, settings.num_public)
    with stop_on_interrupt(journal) as stop:
        run = CopiesRun(settings, folder, journal, clean, stop)
        with journal.stage("train"):
            base, own = copies.own_model(run)
        with journal.stage("mark"):
            decoder = _decoder(run, base, own)
            key, other = _key(run, decoder, "owner"), _key(run, decoder, "another")
            outputs = decoder.outputs
            marked = barrier.protect(key.kernel, outputs)
            seen = {"outputs": outputs[:_SHOWN], "marked": marked[:_SHOWN]}
            folder.write_arrays("examples.npz", **seen)
            found = {
                "own_psnr": restoration.psnr(outputs, run.clean.queries),
                "marked": copies.visibility(outputs, marked),
                "copies": {},
            }
        for name, copy in settings.copies.items():
            with journal.stage("copies"):
                make = functools.partial(_copied, run, decoder, own, key, other, name, copy)
                made_from = dataclasses.asdict(copy)
                row = folder.once(f"cells/{name}.json", made_from, make)
            journal.say(_line(name, row))
            found["copies"][name] = row
        return found


def _decoder(run: CopiesRun, base: str, own: barrier.ImagesFn) -> barrier.Decoder:
    settings, queries = run.settings, run.queries()
    return barrier.make_decoder(
        base,
        queries,
        own(queries),
        own(run.spoiled(run.clean.public, 2)),
        families=settings.families,
        bits_each=settings.bits_each,
        radius=settings.radius,
    )


def _key(run: CopiesRun, decoder: barrier.Decoder, whose: str) -> _Key:
    """Commit, then draw the bits, in this order; the owner's commitment is stored."""
    settings = run.settings
    mark_key = MarkKey.for_experiment(settings.seed, f"barrier {whose}")
    plan = schemes.plan_of(decoder, alpha=settings.alpha, beacon=BEACON)
    commitment = keys.commit_scheme(mark_key, plan)
    if whose == "owner":
        run.folder.write_json("commitments.json", [commitment])
    value = beacon_value(settings.seed)
    bits = schemes.keygen(mark_key, decoder, plan, beacon=value)
    return _Key(plan, bits, barrier.keyed_kernel(decoder, bits, settings.psnr))


def _copied(
    run: CopiesRun,
    decoder: barrier.Decoder,
    own: barrier.ImagesFn,
    key: _Key,
    other: _Key,
    name: str,
    copy: CopySettings,
) -> dict[str, Any]:
    """Train one copy, and read it as an arbitrator does."""
    marks = copies.Marks(
        served=barrier.protected(key.kernel, own),
        foreign=barrier.protected(other.kernel, own),
        overwrite=lambda _, images: barrier.protect(other.kernel, images),
        of_thief=lambda _, images: _with_random_marks(run, decoder, images),
    )
    suspect = copies.copied(run, name, copy, marks)
    answers = barrier.ask(suspect, decoder.queries)
    outputs = barrier.check_answers(decoder, answers)
    few = run.settings.few_queries
    return {
        "psnr": restoration.psnr(answers, run.clean.queries),
        "all_queries": _read(run, decoder, key, outputs),
        "few_queries": _read(run, decoder, key, outputs[:few]),
    }


def _with_random_marks(
    run: CopiesRun, decoder: barrier.Decoder, images: np.ndarray
) -> np.ndarray:
    """Mark images with the public filters and a thief's bits, others for each part of them."""
    rng = np.random.default_rng([19, run.settings.seed])
    marked = []
    for part in np.array_split(images, min(_THIEFS_KEYS, len(images))):
        bits = Bits(rng.choice(np.array([-1, 1], np.int8), decoder.num_bits))
        kernel = barrier.keyed_kernel(decoder, bits, run.settings.psnr)
        marked.append(barrier.protect(kernel, part))
    return np.concatenate(marked)


def _read(
    run: CopiesRun, decoder: barrier.Decoder, key: _Key, outputs: np.ndarray
) -> dict[str, Any]:
    scores = barrier.scores(decoder, outputs)
    result = stats.bit_test(
        scores, key.bits, statistic=key.plan.statistic, alpha=run.settings.alpha
    )
    size = 10.0 ** (-run.settings.psnr / 20.0) / np.sqrt(decoder.num_bits)
    fresh = [
        keys.draw_bits(
            MarkKey.for_experiment(number, "barrier wrong key"),
            key.plan,
            decoder.num_bits,
            beacon=bytes(32),
        )
        for number in range(run.settings.num_fresh_keys)
    ]
    p_values = stats.fresh_bit_p_values(scores, fresh, key.plan.statistic)
    is_right = np.sign(scores) == key.bits.signs
    parts = np.split(is_right, len(run.settings.families))
    names = run.settings.families
    return {
        "num_right": int(is_right.sum()),
        "right_by_family": {n: int(p.sum()) for n, p in zip(names, parts, strict=True)},
        "log10_p": result.log10_p,
        "outcome": result.outcome,
        "median_kept": float(np.median(scores * key.bits.signs) / size),
        "median_size": float(np.median(np.abs(scores)) / size),
        "wrong_keys_super_uniform": stats.super_uniformity(p_values)[0],
    }


def _line(name: str, row: dict[str, Any]) -> str:
    every, few = row["all_queries"], row["few_queries"]
    return (
        f"{name:<22} {row['psnr']:5.2f} dB  right {every['num_right']}  log10 p "
        f"{every['log10_p']:6.1f}, of few {few['log10_p']:6.1f}  "
        f"kept {every['median_kept']:.2f}"
    )
