"""A run with an output barrier: own model, decoder, key, marked outputs, copies, readings.

The order is the owner's (`schemes.scheme`): the unmarked model, its outputs on the queries,
filters and commitment, then bits and marked outputs, then copies. Each copy is a file of its
own, so that the same command resumes.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
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
from anw_jax.schemes.barrier import additive

# Photos that the report shows.
_SHOWN = 6

# Of a thief who trains a network that removes marks.
_THIEFS_KEYS = 30


@dataclasses.dataclass(frozen=True, eq=False)
class _Key:
    """Plan and secret bits of a key, after the beacon's value."""

    plan: keys.Plan
    bits: Bits


@dataclasses.dataclass(frozen=True, eq=False)
class _Mark:
    """A mark of outputs, and its reader.

    Attributes:
      prefix: of the names of its files; no copy's name has a dot, so that no two share one.
      add: from bits and unmarked uint8 outputs to marked ones.
      scores: from a suspect's outputs, float in [0, 1], to a score for each bit.
      families: names and numbers of parts of the bits, in their order.
    """

    prefix: str
    add: Callable[[Bits, np.ndarray], np.ndarray]
    scores: Callable[[np.ndarray], np.ndarray]
    families: dict[str, int]


@dataclasses.dataclass(frozen=True, eq=False)
class _Owner:
    """What an owner has: his model, what he committed to, his key, and another owner's."""

    run: CopiesRun
    model: barrier.ImagesFn
    decoder: barrier.Decoder
    key: _Key
    other: _Key


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
        owner = _Owner(run, own, decoder, key, other)
        found = {
            "own_psnr": restoration.psnr(decoder.outputs, run.clean.queries),
            **_marked(owner, _filter(settings, decoder), settings.copies),
        }
        if settings.additive:
            found["additive"] = _marked(owner, _pattern(settings, decoder), settings.additive)
        return found


def _filter(settings: BarrierSettings, decoder: barrier.Decoder) -> _Mark:
    """Return the keyed filter of the decoder."""

    def add(bits: Bits, outputs: np.ndarray) -> np.ndarray:
        return barrier.protect(barrier.keyed_kernel(decoder, bits, settings.psnr), outputs)

    families = barrier.check_bits(settings.bits)
    return _Mark("", add, functools.partial(barrier.scores, decoder), families)


def _pattern(settings: BarrierSettings, decoder: barrier.Decoder) -> _Mark:
    """Return the additive pattern: the same bits, power, queries and own outputs."""

    def scores(outputs: np.ndarray) -> np.ndarray:
        own = decoder.outputs[: len(outputs)]
        return additive.read_pattern(own, outputs, decoder.num_bits)

    add = functools.partial(additive.add_pattern, psnr=settings.psnr)
    return _Mark("additive.", add, scores, {"additive": decoder.num_bits})


def _marked(owner: _Owner, mark: _Mark, suspects: Mapping[str, CopySettings]) -> dict[str, Any]:
    """Measure what is served with a mark, train copies of it, and read both."""
    run, outputs = owner.run, owner.decoder.outputs
    with run.journal.stage("mark"):
        served = mark.add(owner.key.bits, outputs)
        if not mark.prefix:  # the report shows the keyed mark
            seen = {"outputs": outputs[:_SHOWN], "marked": served[:_SHOWN]}
            run.folder.write_arrays("examples.npz", **seen)
        found = {
            "marked": copies.visibility(outputs, served),
            "served": _readings(owner, mark, served),
            "copies": {},
        }
    for name, copy in suspects.items():
        files = f"{mark.prefix}{name}"
        with run.journal.stage("copies"):
            make = functools.partial(_copied, owner, mark, files, copy)
            row = run.folder.once(f"cells/{files}.json", dataclasses.asdict(copy), make)
        run.journal.say(_line(files, row))
        found["copies"][name] = row
    return found


def _decoder(run: CopiesRun, base: str, own: barrier.ImagesFn) -> barrier.Decoder:
    """Make the decoder, or load it: on another number of cores it would differ a little."""
    settings, queries = run.settings, run.queries()
    path = run.folder.path / "decoder.npz"
    if not run.folder.exists("commitments.json"):
        path.unlink(missing_ok=True)  # of other settings, perhaps
        decoder = barrier.make_decoder(
            base,
            queries,
            own(queries),
            own(run.spoiled(run.clean.public, 2)),
            bits=settings.bits,
            radius=settings.radius,
        )
        barrier.save_decoder(path, decoder)
    return barrier.load_decoder(path)


def _key(run: CopiesRun, decoder: barrier.Decoder, whose: str) -> _Key:
    """Commit, then draw the bits, in this order; the owner's commitment is stored."""
    settings = run.settings
    mark_key = MarkKey.for_experiment(settings.seed, f"barrier {whose}")
    plan = schemes.plan_of(decoder, alpha=settings.alpha, beacon=BEACON)
    commitment = keys.commit_scheme(mark_key, plan)
    if whose == "owner":
        run.folder.write_json("commitments.json", [commitment])
    value = beacon_value(settings.seed)
    return _Key(plan, schemes.keygen(mark_key, decoder, plan, beacon=value))


def _copied(owner: _Owner, mark: _Mark, name: str, copy: CopySettings) -> dict[str, Any]:
    """Train one copy, and read it as an arbitrator does."""
    ours, others = (functools.partial(mark.add, key.bits) for key in (owner.key, owner.other))
    marks = copies.Marks(
        served=lambda inputs: ours(owner.model(inputs)),
        foreign=lambda inputs: others(owner.model(inputs)),
        overwrite=lambda _, images: others(images),
        of_thief=lambda _, images: _with_random_marks(owner, mark, images),
    )
    suspect = copies.copied(owner.run, name, copy, marks)
    answers = barrier.ask(suspect, owner.decoder.queries)
    psnr = restoration.psnr(answers, owner.run.clean.queries)
    return {"psnr": psnr, **_readings(owner, mark, answers)}


def _with_random_marks(owner: _Owner, mark: _Mark, images: np.ndarray) -> np.ndarray:
    """Mark images with a thief's bits, others for each part of them."""
    rng = np.random.default_rng([19, owner.run.settings.seed])
    marked = []
    for part in np.array_split(images, min(_THIEFS_KEYS, len(images))):
        bits = Bits(rng.choice(np.array([-1, 1], np.int8), owner.decoder.num_bits))
        marked.append(mark.add(bits, part))
    return np.concatenate(marked)


def _readings(owner: _Owner, mark: _Mark, answers: np.ndarray) -> dict[str, Any]:
    """Test the answers to all queries, and those to the first ones only."""
    outputs = barrier.check_answers(owner.decoder, answers)
    few = outputs[: owner.run.settings.few_queries]
    return {
        "all_queries": _read(owner, mark, mark.scores(outputs)),
        "few_queries": _read(owner, mark, mark.scores(few)),
    }


def _read(owner: _Owner, mark: _Mark, scores: np.ndarray) -> dict[str, Any]:
    settings, key, num_bits = owner.run.settings, owner.key, owner.decoder.num_bits
    result = stats.bit_test(
        scores, key.bits, statistic=key.plan.statistic, alpha=settings.alpha
    )
    size = 10.0 ** (-settings.psnr / 20.0) / np.sqrt(num_bits)
    fresh = [
        keys.draw_bits(
            MarkKey.for_experiment(number, "barrier wrong key"),
            key.plan,
            num_bits,
            beacon=bytes(32),
        )
        for number in range(settings.num_fresh_keys)
    ]
    p_values = stats.fresh_bit_p_values(scores, fresh, key.plan.statistic)
    is_right = np.sign(scores) == key.bits.signs
    parts = np.split(is_right, np.cumsum(list(mark.families.values()))[:-1])
    return {
        "num_right": int(is_right.sum()),
        "right_by_family": {n: int(p.sum()) for n, p in zip(mark.families, parts, strict=True)},
        "log10_p": result.log10_p,
        "outcome": result.outcome,
        "kept": np.round(scores * key.bits.signs / size, 3).tolist(),
        "wrong_keys_super_uniform": stats.super_uniformity(p_values)[0],
    }


def _line(name: str, row: dict[str, Any]) -> str:
    every, few = row["all_queries"], row["few_queries"]
    return (
        f"{name:<22} {row['psnr']:5.2f} dB  right {every['num_right']}  log10 p "
        f"{every['log10_p']:6.1f}, of few {few['log10_p']:6.1f}  "
        f"kept {np.median(every['kept']):.2f}"
    )
