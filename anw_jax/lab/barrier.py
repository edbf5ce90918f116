"""A run with an output barrier: own model, decoder, key, marked outputs, copies, readings.

The order is the owner's (`schemes.scheme`): the unmarked model, its outputs on the queries,
filters and commitment, then bits and marked outputs, then copies. Each copy is a file of its
own, so that the same command resumes.
"""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from anw_jax import attacks, data, keys, schemes, stats, train
from anw_jax.errors import SettingsError
from anw_jax.keys import Bits, MarkKey
from anw_jax.lab import restoration
from anw_jax.lab.barrier_settings import BarrierSettings, CopySettings
from anw_jax.lab.journal import Journal, StoppedError, TrainingLog, stop_on_interrupt
from anw_jax.lab.task import BEACON, beacon_value
from anw_jax.lab.training import callbacks_of
from anw_jax.lab.workdir import Workdir
from anw_jax.schemes import barrier

# Photos for which visibility is measured.
_SEEN = 50

# Of these, how many the report shows.
_SHOWN = 6


@dataclasses.dataclass(frozen=True, eq=False)
class _Clean:
    """Clean images, disjoint: what the owner and the thief restore, and whose they are."""

    own: np.ndarray
    thief: np.ndarray
    innocent: np.ndarray
    public: np.ndarray
    queries: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class _Key:
    """Plan, secret bits and secret kernel of a key, after the beacon's value."""

    plan: keys.Plan
    bits: Bits
    kernel: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class _Run:
    """What all stages of one run share."""

    settings: BarrierSettings
    folder: Workdir
    journal: Journal
    clean: _Clean
    should_stop: Callable[[], bool]

    def spoiled(self, images: np.ndarray, number: int) -> np.ndarray:
        """Make the task's inputs; each use has a number of its own."""
        seed = 10 * self.settings.seed + number
        return restoration.spoiled(self.settings.task, images, seed)


def measure(settings: BarrierSettings, folder: Workdir, journal: Journal) -> dict[str, Any]:
    """Mark outputs, train copies and read them, resuming from the last completed copy.

    Raises:
      StoppedError: Ctrl-C was pressed.
    """
    with stop_on_interrupt(journal) as stop:
        run = _Run(settings, folder, journal, _images(settings), stop)
        with journal.stage("train"):
            base, own = _own_model(run)
        with journal.stage("mark"):
            decoder = _decoder(run, base, own)
            key, other = _key(run, decoder, "owner"), _key(run, decoder, "another")
            outputs = decoder.outputs
            marked = barrier.protect(key.kernel, outputs)
            seen = {"outputs": outputs[:_SHOWN], "marked": marked[:_SHOWN]}
            folder.write_arrays("examples.npz", **seen)
            found = {
                "own_psnr": restoration.psnr(outputs, run.clean.queries),
                "marked": _visibility(outputs, marked),
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


def _images(settings: BarrierSettings) -> _Clean:
    source = os.path.expandvars(settings.data.source)
    splits = data.load(source, image_size=settings.data.image_size)
    train_images, test = splits.train.in_memory().images, splits.test.in_memory().images
    sizes = [settings.num_pairs] * 3 + [settings.num_public]
    if sum(sizes) > len(train_images) or settings.num_queries > len(test):
        raise SettingsError(
            f"{settings.data.source} must have {sum(sizes)} photos for training and "
            f"{settings.num_queries} for the test, got {len(train_images)} and {len(test)}"
        )
    order = np.random.default_rng(settings.seed).permutation(len(train_images))
    parts = np.split(train_images[order[: sum(sizes)]], np.cumsum(sizes)[:-1])
    return _Clean(*parts, test[: settings.num_queries])


def _own_model(run: _Run) -> tuple[str, barrier.ImagesFn]:
    """Return digest and function of the owner's unmarked model."""
    settings = run.settings
    if settings.own is None:
        text = f"restoration.classical {settings.task}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        return digest, functools.partial(restoration.classical, settings.task)
    clean = run.clean.own
    pairs = train.Pairs(run.spoiled(clean, 0), clean)
    variables = _trained(run, "own", settings.own, pairs)
    answer = functools.partial(train.restore, settings.own.model, variables)
    return schemes.weights_digest({"params": jax.device_get(variables["params"])}), answer


def _decoder(run: _Run, base: str, own: barrier.ImagesFn) -> barrier.Decoder:
    settings, queries = run.settings, run.spoiled(run.clean.queries, 1)
    return barrier.make_decoder(
        base,
        queries,
        own(queries),
        own(run.spoiled(run.clean.public, 2)),
        families=settings.families,
        bits_each=settings.bits_each,
        radius=settings.radius,
    )


def _key(run: _Run, decoder: barrier.Decoder, whose: str) -> _Key:
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


def _visibility(outputs: np.ndarray, marked: np.ndarray) -> dict[str, float]:
    seen = [
        data.image_quality(*pair) for pair in zip(outputs[:_SEEN], marked[:_SEEN], strict=True)
    ]
    return {
        "psnr": restoration.psnr(marked, outputs),
        "ssim": float(np.mean([one.ssim for one in seen])),
        "ciede2000_median": float(np.median([one.ciede2000_median for one in seen])),
    }


def _copied(
    run: _Run,
    decoder: barrier.Decoder,
    own: barrier.ImagesFn,
    key: _Key,
    other: _Key,
    name: str,
    copy: CopySettings,
) -> dict[str, Any]:
    """Train one copy, and read it as an arbitrator does."""
    clean, innocent = run.clean.thief, run.clean.innocent
    inputs = run.spoiled(clean, 3)
    own_pairs = train.Pairs(run.spoiled(innocent, 4), innocent)
    if copy.pairs == "clean":
        pairs = own_pairs
    else:
        served = barrier.protect((key if copy.pairs == "stolen" else other).kernel, own(inputs))
        pairs = train.Pairs(inputs, _changed(copy.change, served, other, run.settings.seed))
    variables = _trained(run, name, copy, pairs)
    if copy.tune_epochs:
        rate = copy.train.learning_rate / 10
        how = dataclasses.replace(
            copy.train, num_epochs=copy.tune_epochs, learning_rate=rate, distance="l2"
        )
        tuned = dataclasses.replace(copy, train=how)
        variables = _trained(run, f"{name}-tuned", tuned, own_pairs, variables["params"])
    suspect = functools.partial(train.restore, copy.model, variables)
    answers = barrier.ask(suspect, decoder.queries)
    outputs = barrier.check_answers(decoder, answers)
    few = run.settings.few_queries
    return {
        "psnr": restoration.psnr(answers, run.clean.queries),
        "all_queries": _read(run, decoder, key, outputs),
        "few_queries": _read(run, decoder, key, outputs[:few]),
    }


def _changed(change: str, served: np.ndarray, other: _Key, seed: int) -> np.ndarray:
    changes = {
        "none": lambda: served,
        "jpeg": lambda: attacks.create("jpeg", quality=75).prepare(served, seed=seed),
        "resize": lambda: restoration.half_and_back(served),
        "overwrite": lambda: barrier.protect(other.kernel, served),
    }
    return changes[change]()


def _trained(
    run: _Run, name: str, copy: CopySettings, pairs: train.Pairs, params: Any = None
) -> dict[str, Any]:
    """Train a network, resume it, or load it."""
    seed = run.settings.seed
    if params is None:
        params = copy.model.init(jax.random.key(seed), pairs.inputs.shape[1:])["params"]
    result = train.train_pairs(
        copy.model,
        params,
        pairs,
        copy.train,
        seed=seed,
        checkpoint_dir=run.folder.path / "networks" / name,
        **callbacks_of(TrainingLog(run.journal, f"{name}: ")),
        should_stop=run.should_stop,
    )
    if not result.completed or run.should_stop():
        raise StoppedError
    return {"params": result.state.params}


def _read(
    run: _Run, decoder: barrier.Decoder, key: _Key, outputs: np.ndarray
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
