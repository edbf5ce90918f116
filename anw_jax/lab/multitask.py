"""A run with multi-task watermarks: clean network, keys, marked networks, attacks, controls.

The order is the owner's (`schemes.scheme`): the clean network, decoders and commitments, then
bits, embedding, reading. A marked network, and each attack on one, is a file of its own, so
that the same command resumes.
"""

import dataclasses
import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from anw_jax import attacks, keys, schemes, stats
from anw_jax.attacks import TrainedModel
from anw_jax.keys import Bits, MarkKey
from anw_jax.lab.journal import Journal, StoppedError, TrainingLog, stop_on_interrupt
from anw_jax.lab.multitask_settings import MarkSettings, MultitaskSettings
from anw_jax.lab.task import BEACON, Task, beacon_value, load_task, train_network
from anw_jax.lab.training import callbacks_of
from anw_jax.lab.workdir import Workdir
from anw_jax.models import Variables
from anw_jax.report.scheme_page import EXAMPLES
from anw_jax.schemes import multitask
from anw_jax.schemes.multitask import branch as branches

_NUM_EXAMPLES = 12


@dataclasses.dataclass(frozen=True, eq=False)
class OneKey:
    """A key with all that follows from it.

    Attributes:
      decoder: fixed before the bits.
      commitment: of key and plan.
      bits: after the beacon's value. **Secret.**
    """

    decoder: multitask.Decoder
    plan: keys.Plan
    commitment: str
    bits: Bits


def measure(settings: MultitaskSettings, folder: Workdir, journal: Journal) -> dict[str, Any]:
    """Make, attack and read the marked networks, resuming from the last completed step.

    Raises:
      StoppedError: Ctrl-C was pressed.
    """
    with stop_on_interrupt(journal) as stop:
        run = load_task(settings, folder, journal, stop)
        with journal.stage("train"):
            base = train_network(run, settings.seed, "clean")
        owned = make_keys(settings, run.learner.images.shape[1:], base)
        folder.write_json("commitments.json", [one.commitment for one in owned])
        folder.write_arrays(EXAMPLES, **_examples(owned[0]))
        return _measured(run, base, owned)


def make_keys(
    settings: MultitaskSettings, image_shape: tuple[int, int, int], base: Variables
) -> list[OneKey]:
    """Derive keys, decoders, commitments and bits, in this order."""
    master = MarkKey.for_experiment(settings.seed, "multitask")
    digest = schemes.weights_digest(base)
    value = beacon_value(settings.seed)
    found = []
    for number in range(1, settings.num_keys + 1):
        key = keys.one_time_key(master, number)
        decoder = multitask.make_decoder(
            key,
            digest,
            settings.taps,
            num_bits=settings.num_bits,
            image_shape=image_shape,
            side=settings.side,
        )
        plan = schemes.plan_of(
            decoder, alpha=settings.alpha, beacon=BEACON, number=settings.num_keys
        )
        commitment = keys.commit_scheme(key, plan)
        bits = schemes.keygen(key, decoder, plan, beacon=value)
        found.append(OneKey(decoder, plan, commitment, bits))
    return found


def _examples(one: OneKey) -> dict[str, np.ndarray]:
    """Return some keyed inputs and their labels, for the report."""
    inputs = one.decoder.inputs()[:_NUM_EXAMPLES]
    return {
        "inputs": (inputs * 255).astype(np.uint8),
        "labels": multitask.input_labels(one.bits)[:_NUM_EXAMPLES],
    }


def _measured(run: Task, base: Variables, owned: list[OneKey]) -> dict[str, Any]:
    settings, folder = run.settings, run.folder
    clean = TrainedModel.of(run.model, base)
    found = {"clean_accuracy": run.accuracy(clean.predict), "marks": {}}
    for name, mark in settings.marks.items():
        with run.journal.stage("embed"):
            marked, secret = _marked(run, base, owned, name, mark)
        rows = {}
        with run.journal.stage("attacks"):
            for attack in ("none", *settings.attacks):
                made_from = [
                    dataclasses.asdict(mark),
                    None if attack == "none" else dataclasses.asdict(settings.attacks[attack]),
                ]
                make = functools.partial(
                    _attacked, run, base, owned, mark, marked, secret, attack
                )
                rows[attack] = folder.once(f"cells/{name}-{attack}.json", made_from, make)
                run.journal.say(_line(name, attack, rows[attack]))
                if run.should_stop():
                    raise StoppedError
        found["marks"][name] = rows
    with run.journal.stage("controls"):
        found["controls"] = folder.once(
            "cells/controls.json", None, functools.partial(_controls, run, base, owned)
        )
        found["forgery"] = _forgery(run, base, owned[0])
    return found


def _marked(
    run: Task, base: Variables, owned: list[OneKey], name: str, mark: MarkSettings
) -> tuple[Variables, Any]:
    """Embed, resume, or load a marked network; and its secret branch, or None."""
    how = dataclasses.replace(mark.embed, seed=run.settings.seed)
    task = (run.learner.images, run.learner.labels, how)
    options = {
        "checkpoint_dir": run.folder.path / "networks" / name,
        **callbacks_of(TrainingLog(run.journal, f"{name}: ")),
    }
    if mark.variant == "branch":
        first = owned[0]
        return multitask.embed_branch(
            run.model, base, first.decoder, first.bits, *task, **options
        )
    pairs = [(one.decoder, one.bits) for one in owned]
    return multitask.embed(run.model, base, pairs, *task, **options)[0].variables, None


def _attacked(
    run: Task,
    base: Variables,
    owned: list[OneKey],
    mark: MarkSettings,
    marked: Variables,
    secret: Any,
    attack: str,
) -> dict[str, Any]:
    """Attack a marked network, and read it as an arbitrator does."""
    trained = TrainedModel.of(run.model, marked)
    if attack != "none":
        trained = run.settings.attacks[attack].create().change(trained, run.material())
    taps_fn = attacks.taps_of(trained, run.settings.taps)
    numbers = {"test_accuracy": run.accuracy(trained.predict)}
    if mark.variant == "branch":
        return numbers | _rule(run, owned[0], secret, taps_fn)
    return numbers | {"keys": [_read(run, base, one, taps_fn) for one in owned]}


def _rule(run: Task, one: OneKey, secret: Any, taps_fn: schemes.TapsFn) -> dict[str, Any]:
    """Apply the paper's rule; a network that the branch cannot read does not pass."""
    committed = multitask.branch_digest(secret)
    try:
        result = multitask.apply_rule(
            one.decoder,
            secret,
            one.bits,
            taps_fn,
            committed=committed,
            gamma=run.settings.gamma,
        )
    except ValueError as error:
        return {"watermark_accuracy": None, "passes": False, "reason": str(error)}
    return {"watermark_accuracy": result.accuracy, "passes": result.passes}


def _read(run: Task, base: Variables, one: OneKey, taps_fn: schemes.TapsFn) -> dict[str, float]:
    """Read one key's scores; the released network is no argument of the reader."""
    base_fn = multitask.tapped(run.model, base, run.settings.taps)
    scores = multitask.extract(one.decoder, base_fn, taps_fn)
    result = stats.bit_test(
        scores, one.bits, statistic=one.plan.statistic, alpha=one.plan.alpha
    )
    right = np.sign(np.nan_to_num(scores)) == one.bits.signs
    fresh = stats.fresh_bit_p_values(scores, _fresh_bits(run, one), one.plan.statistic)
    return {
        "watermark_accuracy": float(right.mean()),
        "log10_p": result.log10_p,
        "outcome": result.outcome,
        "wrong_keys_super_uniform": stats.super_uniformity(fresh)[0],
    }


def _fresh_bits(run: Task, one: OneKey) -> list[Bits]:
    """Draw the bits of wrong keys for the same decoder."""
    return [
        keys.draw_bits(
            MarkKey.for_experiment(number, "multitask wrong key"),
            one.plan,
            len(one.bits),
            beacon=bytes(32),
        )
        for number in range(run.settings.num_fresh_keys)
    ]


def _controls(run: Task, base: Variables, owned: list[OneKey]) -> dict[str, Any]:
    """Read networks that never met the marks."""
    found = {}
    for number in range(run.settings.num_innocents):
        seed = run.settings.seed + 1000 * (1 + number)
        own = TrainedModel.of(run.model, train_network(run, seed, f"innocent{number}"))
        tuned = attacks.create("fine_tune", num_epochs=2, batch_size=min(32, len(run.attacker)))
        material = dataclasses.replace(run.material(), seed=seed)
        shared = tuned.change(TrainedModel.of(run.model, base), material)
        for kind, innocent in (("own training", own), ("shared pre-training", shared)):
            taps_fn = attacks.taps_of(innocent, run.settings.taps)
            found[f"{kind} {number}"] = [_read(run, base, one, taps_fn) for one in owned]
    return found


def _forgery(run: Task, base: Variables, one: OneKey) -> dict[str, float]:
    """Fit branches to the clean network: with all its features, and with a sixth of N."""
    taps_fn = multitask.tapped(run.model, base, run.settings.taps)
    features = multitask.input_features(one.decoder, taps_fn)
    labels = multitask.input_labels(one.bits)
    few = max(1, len(labels) // 6)
    rng = np.random.default_rng(run.settings.seed)
    mixed = features @ rng.normal(size=(features.shape[1], few)).astype(np.float32)

    def forged(columns: np.ndarray) -> float:
        fitted = multitask.forge(columns, labels)
        said = np.asarray(branches.branch_logits(fitted, jnp.asarray(columns)) > 0.0)
        return float((said == (labels == 1)).mean())

    return {
        "num_inputs": len(labels),
        "num_features": features.shape[1],
        "accuracy_all_features": forged(features),
        "num_few_features": few,
        "accuracy_few_features": forged(mixed),
    }


def _line(mark: str, attack: str, numbers: dict[str, Any]) -> str:
    read = numbers["keys"][0] if "keys" in numbers else numbers
    evidence = (
        f"log10 p {read['log10_p']:7.1f}"
        if "log10_p" in read
        else f"γ {'passed' if read['passes'] else 'failed'}"
    )
    right = read["watermark_accuracy"]
    return (
        f"{mark:<14} {attack:<14} test {numbers['test_accuracy']:6.1%}  watermark "
        f"{'unread' if right is None else f'{right:6.1%}'}  {evidence}"
    )
