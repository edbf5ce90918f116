"""A run with customers' copies: clean network, codes, copies, collusions, who is named.

The order is the owner's: the clean network, carrier and commitment, then codes, copies,
suspects. Each copy and each suspect is a file of its own, so that the same command resumes.
"""

import dataclasses
import functools
import hashlib
from typing import Any

import numpy as np

from anw_jax import keys, schemes
from anw_jax.attacks import TrainedModel
from anw_jax.attacks.copies import collude
from anw_jax.keys import Bits, MarkKey
from anw_jax.lab.fingerprint_settings import CollusionSettings, FingerprintSettings
from anw_jax.lab.image_fingerprint import measure_image_fingerprint
from anw_jax.lab.journal import Journal, StoppedError, stop_on_interrupt
from anw_jax.lab.split import measure_split
from anw_jax.lab.task import BEACON, Task, beacon_value, load_task, train_network
from anw_jax.lab.workdir import Workdir
from anw_jax.models import Variables
from anw_jax.schemes import fingerprint
from anw_jax.schemes.fingerprint import simulation

_NO_ATTACK = CollusionSettings(colluders=1)
_COLLUDERS = tuple(range(1, 11))


@dataclasses.dataclass(frozen=True, eq=False)
class Issued:
    """What an owner has after the beacon's value.

    Attributes:
      carrier: fixed before the codes.
      plan: of the test.
      commitment: of key and plan.
      codes: of all customers. Secret.
      common: the owner's bits. Secret.
    """

    carrier: fingerprint.Carrier
    plan: keys.Plan
    commitment: str
    codes: list[Bits]
    common: Bits


def measure(settings: FingerprintSettings, folder: Workdir, journal: Journal) -> dict[str, Any]:
    """Make and mix the copies, trace each suspect, resuming from the last completed step.

    Raises:
      StoppedError: Ctrl-C was pressed.
    """
    with stop_on_interrupt(journal) as stop:
        task = load_task(settings, folder, journal, stop)
        with journal.stage("train"):
            base = train_network(task, settings.seed, "clean")
        issued = make_codes(settings, base)
        folder.write_json("commitments.json", [issued.commitment])
        run = _Run(settings, folder, journal, task, base, issued)
        found = {"clean_accuracy": task.accuracy(run.trained(base).predict)}
        found["num_weights"] = issued.carrier.num_weights
        with journal.stage("copies"):
            copies = run.copies()
        found |= run.traced(copies)
    with journal.stage("null"):
        found["simulated"] = folder.once(
            "cells/simulated.json",
            [settings.num_issues, settings.num_trials, settings.epsilon, settings.seed],
            functools.partial(_simulated, settings),
        )
    if settings.split is not None:
        split = dataclasses.replace(settings.split, seed=settings.seed)
        found["split"] = measure_split(split, folder, journal)
    if settings.images is not None:
        images = dataclasses.replace(settings.images, seed=settings.seed)
        found["images"] = measure_image_fingerprint(images, folder, journal)
    return found


def make_codes(settings: FingerprintSettings, base: Variables) -> Issued:
    """Derive key, carrier, commitment and codes, in this order."""
    key = MarkKey.for_experiment(settings.seed, "fingerprint")
    carrier = fingerprint.make_carrier(
        key, base, settings.num_customers, num_bits=settings.num_bits, kind=settings.kind
    )
    plan = schemes.plan_of(carrier, alpha=settings.epsilon, beacon=BEACON)
    commitment = keys.commit_scheme(key, plan)
    value = beacon_value(settings.seed)
    codes = [
        keys.customer_code(key, plan, settings.num_bits, *_customer(number), beacon=value)
        for number in range(settings.num_customers)
    ]
    common = keys.draw_bits(key, plan, carrier.num_owner_bits, beacon=value)
    return Issued(carrier, plan, commitment, codes, common)


def _customer(number: int) -> tuple[str, bytes]:
    """Return public key and nonce of a customer of an experiment."""
    key = hashlib.sha256(f"key of customer {number}".encode()).hexdigest()
    return key, hashlib.sha256(f"nonce of customer {number}".encode()).digest()


@dataclasses.dataclass(frozen=True, eq=False)
class _Run:
    """What all stages of one run share."""

    settings: FingerprintSettings
    folder: Workdir
    journal: Journal
    task: Task
    base: Variables
    issued: Issued

    def trained(self, variables: Variables) -> TrainedModel:
        return TrainedModel.of(self.task.model, variables)

    def copies(self) -> list[Variables]:
        """Make every copy that is not there yet."""
        return [self._copy(number) for number in range(self.settings.num_copies)]

    def _copy(self, number: int) -> Variables:
        path = self.folder.path / "copies" / f"{number}.npz"
        if path.exists():
            return schemes.load_network(path)[1]
        issued, settings = self.issued, self.settings
        copy = fingerprint.embed(
            issued.carrier,
            self.base,
            issued.codes[number],
            issued.common,
            strength=settings.strength,
        )
        how = dataclasses.replace(settings.repair, seed=settings.seed + 1 + number)
        copy = fingerprint.repair(
            issued.carrier,
            self.task.model,
            self.base,
            copy,
            self.task.learner.images,
            self.task.learner.labels,
            how,
            train_settings=settings.train,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        schemes.save_network(path, self.task.model, copy)
        if self.task.should_stop():
            raise StoppedError
        return copy

    def traced(self, copies: list[Variables]) -> dict[str, Any]:
        """Make every suspect, and trace it."""
        suspects = {f"copy_{n}": _NO_ATTACK for n in range(len(copies))}
        rows = {}
        with self.journal.stage("suspects"):
            for name, how in (suspects | dict(self.settings.collusions)).items():
                members = [int(name[5:])] if name in suspects else list(range(how.colluders))
                make = functools.partial(self._row, how, copies, members)
                made_from = [dataclasses.asdict(how), self.settings.more_coalitions]
                rows[name] = self.folder.once(f"cells/{name}.json", made_from, make)
                self.journal.say(_line(name, rows[name]))
                if self.task.should_stop():
                    raise StoppedError
            clean = functools.partial(self._read, self.trained(self.base), [])
            controls = {"clean": self.folder.once("cells/clean.json", None, clean)}
        return {"suspects": rows, "controls": controls}

    def _row(
        self, how: CollusionSettings, copies: list[Variables], members: list[int]
    ) -> dict[str, Any]:
        held = [self.trained(copies[number]) for number in members]
        mixed = held[0] if len(held) == 1 else collude(held, how.how, seed=self.settings.seed)
        attack = how.then()
        if attack is not None:
            mixed = attack.create().change(mixed, self.task.material())
            return self._read(mixed, members)
        return {**self._read(mixed, members), "more": self._more(how, copies)}

    def _more(self, how: CollusionSettings, copies: list[Variables]) -> list[dict[str, Any]]:
        """Trace further coalitions that mix their copies in the same way."""
        seed, found = self.settings.seed, []
        rng = np.random.default_rng([seed, how.colluders])
        for _ in range(self.settings.more_coalitions if how.colluders > 1 else 0):
            members = sorted(rng.choice(len(copies), how.colluders, replace=False).tolist())
            held = [self.trained(copies[number]) for number in members]
            traced = self._trace(collude(held, how.how, seed=seed), members)
            found.append({n: traced[n] for n in ("colluders", "named", "innocents_named")})
        return found

    def _read(self, suspect: TrainedModel, members: list[int]) -> dict[str, Any]:
        accuracy = self.task.accuracy(suspect.predict)
        return {"test_accuracy": accuracy, **self._trace(suspect, members)}

    def _trace(self, suspect: TrainedModel, members: list[int]) -> dict[str, Any]:
        issued = self.issued
        scores = {
            reading: fingerprint.extract(issued.carrier, self.base, suspect.variables, reading)
            for reading in issued.carrier.readings
        }
        found = fingerprint.trace(issued.carrier, issued.plan, scores, issued.codes)
        signs = {
            reading: np.sign(fingerprint.customer_scores(issued.carrier, one))
            for reading, one in scores.items()
        }
        right = {
            reading: int((one == issued.codes[members[0]].signs).sum())
            for reading, one in signs.items()
            if len(members) == 1
        }
        return {
            "colluders": members,
            "named": list(found.named),
            "innocents_named": sorted(set(found.named) - set(members)),
            "right_bits": right,
            "log10_p": {name: logs.tolist() for name, logs in found.log10_p.items()},
            "level": found.level,
            "num_tests": found.num_tests,
        }


def _simulated(settings: FingerprintSettings) -> dict[str, Any]:
    """Simulate in code space: how often innocents are named, and colluders caught.

    Innocents at the simulation's own, larger level: at that of a dispute almost none would be
    named, which would say little about it.
    """
    innocents = simulation.name_innocents(
        settings.num_issues,
        num_customers=settings.num_customers,
        num_bits=settings.num_bits,
        seed=settings.seed,
    )
    how = {
        "num_trials": settings.num_trials,
        "epsilon": settings.epsilon,
        "num_customers": settings.num_customers,
        "num_bits": settings.num_bits,
        "seed": settings.seed,
    }
    caught = {}
    for colluders in _COLLUDERS:
        any_named, share = simulation.catch_rate(colluders, **how)
        caught[str(colluders)] = {
            "any_named": any_named,
            "share_named": share,
            "tardos_any_named": simulation.tardos_catch_rate(colluders, **how),
        }
    return {
        "innocents": {**dataclasses.asdict(innocents), "is_valid": innocents.is_valid},
        "averages": caught,
    }


def _line(name: str, row: dict[str, Any]) -> str:
    caught = len(set(row["named"]) & set(row["colluders"]))
    text = (
        f"{name:<18} test {row['test_accuracy']:6.1%}  named {caught} of "
        f"{len(row['colluders'])}, innocents {len(row['innocents_named'])}"
    )
    more = row.get("more", [])
    if not more:
        return text
    anyone = sum(bool(set(one["named"]) & set(one["colluders"])) for one in more)
    innocents = sum(len(one["innocents_named"]) for one in more)
    return f"{text}; {len(more)} more: {anyone} with any named, innocents {innocents}"
