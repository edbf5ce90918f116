"""Runs of every kind: one frame that records, stops, resumes and reports."""

import dataclasses
import functools
import os
import pathlib
import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from anw_jax.errors import AnwError
from anw_jax.lab import (
    barrier,
    diffusion,
    fingerprint,
    multitask,
    owners,
    pictures,
    proof,
    recompression,
    training,
)
from anw_jax.lab import query as queries
from anw_jax.lab.analyses import ANALYSES
from anw_jax.lab.barrier_settings import BarrierSettings
from anw_jax.lab.diffusion_settings import DiffusionSettings
from anw_jax.lab.fingerprint_settings import FingerprintSettings
from anw_jax.lab.journal import Journal, StoppedError, stop_on_interrupt
from anw_jax.lab.multitask_settings import MultitaskSettings
from anw_jax.lab.picture_settings import PictureSettings
from anw_jax.lab.provenance import provenance
from anw_jax.lab.recompression_settings import RecompressionSettings
from anw_jax.lab.settings import AttackSettings, RunSettings, Settings
from anw_jax.lab.workdir import Workdir, plain
from anw_jax.progress import format_seconds
from anw_jax.report import (
    write_copies_report,
    write_outputs_report,
    write_pictures_report,
    write_report,
    write_scheme_report,
)


def run(settings: RunSettings, workdir: str | os.PathLike) -> dict[str, Any] | None:
    """Run an experiment, resuming from the last completed step.

    Leaves in the workdir: `settings.json`, `provenance.json`, `commitments.json`, keys
    (0600), manifests, checkpoints, `training.json`, sealed loss tables, `log.jsonl`,
    `progress.json`, `audits/`, `results.json`, `figures/`, `report.html`, and `DONE` or
    `FAILED.txt`. Experiments of one case share the workdir: results name the code that trained
    the model and the code that queried it.

    Args:
      settings: of the experiment.
      workdir: the folder; created if it does not exist.

    Returns:
      The results, or None if it was interrupted; the same call again resumes.

    Raises:
      SettingsError: the workdir holds a run with other settings, or a training under other
        settings of jax.
      JaxError: jax cannot start, or computes wrong numbers.
      AnwError: as the stages.
      OSError: no disk space, no permission; nothing computed before is lost.
    """
    folder, wanted = Workdir(workdir), settings.to_dict()
    kind = _KINDS[type(settings)]
    with folder.lock():
        folder.agree_on_settings(settings.case_dict())
        results_file = f"audits/{settings.name}/results.json"
        times_file = f"audits/{settings.name}/stage_seconds.json"
        journal = Journal(folder, times_file=times_file, experiment=wanted)
        if folder.is_done and folder.exists(results_file):
            results = folder.read_json(results_file)
            if results["settings"] == plain(wanted):
                if kind.report and not folder.exists(kind.last_file):
                    kind.report(folder.path)
                journal.say(f"already done: {folder.path / kind.last_file}")
                return results
        try:
            return _run_stages(settings, folder, journal, results_file)
        except (AnwError, OSError) as error:
            folder.fail(f"{type(error).__name__}: {error}")
            raise
        except Exception:
            folder.fail(traceback.format_exc())
            raise


def _run_stages(
    settings: RunSettings, folder: Workdir, journal: Journal, results_file: str
) -> dict[str, Any] | None:
    start, origin = time.monotonic(), provenance()
    kind = _KINDS[type(settings)]
    if note := training.check_same_jax(folder, training.jax_settings_in(origin)):
        journal.say(note)
    if not folder.exists("provenance.json"):
        folder.write_json("provenance.json", origin)
    try:
        numbers = kind.measure(settings, folder, journal)
    except StoppedError:
        journal.say("stopped; the same command resumes here")
        return None
    results = {
        "name": settings.name,
        "seed": settings.seed,
        **numbers,
        "settings": settings.to_dict(),
        "provenance": origin,
        "stage_seconds": journal.stage_seconds,
    }
    folder.write_json("results.json", results)
    folder.write_json(results_file, results)
    if kind.report:
        with journal.stage("report"):
            kind.report(folder.path)
    folder.finish()
    seconds = format_seconds(time.monotonic() - start)
    journal.say(f"done in {seconds}: {folder.path / kind.last_file}")
    return folder.read_json("results.json")


def _measure(settings: Settings, folder: Workdir, journal: Journal) -> dict[str, Any]:
    """Mark photos, train, query and test: the run that proves the use of photos."""
    with journal.stage("mark"):
        prepared = owners.prepare(settings, folder)
        journal.say(_marked_photos(prepared))
    with journal.stage("train"), stop_on_interrupt(journal) as stop:
        recipe = training.recipe_of(settings.attacks.values())
        trained_run = training.train_model(
            settings.train, settings.model, recipe, prepared, folder, journal, stop
        )
        if trained_run is None or stop():
            raise StoppedError
    return {
        "model": trained_run.numbers,
        **_measured(settings, prepared, trained_run, folder, journal),
        "training": training.training_of(folder),
    }


def _measured(
    settings: Settings,
    prepared: owners.Prepared,
    trained_run: training.TrainedRun,
    folder: Workdir,
    journal: Journal,
) -> dict[str, Any]:
    """Query and test the trained model, then its changed versions; run the analyses."""
    how = settings.verify
    with journal.stage("verify"):
        batches = queries.query_batches(prepared, settings.seed, how.views)
        tables = queries.query(batches, how.grid, trained_run.predict, folder, journal)
    with journal.stage("proof"):
        proved = proof.prove(
            prepared,
            trained_run,
            tables,
            folder,
            journal,
            num_fresh_keys=how.num_fresh_keys,
            seed=settings.seed,
        )

    def change_and_prove(name: str, chosen: AttackSettings) -> dict[str, Any]:
        """Make, query and test one changed model."""
        journal.say(f"{name}: {chosen.attack} {dict(chosen.parameters) or ''}".rstrip())
        changed = training.change_model(chosen, settings.train, prepared, trained_run)
        own = [batch for batch in batches if not batch.is_wrong]
        into = f"{queries.TABLES}/{name}"
        tables = queries.query(own, how.grid_of_changed, changed.predict, folder, journal, into)
        proved = proof.prove_changed(prepared, name, tables, folder)
        journal.say(f"{name:<18} test accuracy {changed.numbers['test_accuracy']:.1%}")
        return {"model": changed.numbers, **proved}

    with journal.stage("suspects"):
        changed_models = {
            name: folder.once(
                f"suspects/{name}.json",
                dataclasses.asdict(chosen),
                functools.partial(change_and_prove, name, chosen),
            )
            for name, chosen in settings.suspects.items()
        }
    with journal.stage("analyses"):
        inputs = (prepared, trained_run, settings.train, journal)
        analyses = {
            name: folder.once(
                f"analyses/{name}.json",
                name,
                functools.partial(ANALYSES[name], *inputs),
            )
            for name in settings.analyses
        }
    return {**proved, "suspects": changed_models, "analyses": analyses}


def _marked_photos(prepared: owners.Prepared) -> str:
    users = prepared.all_users
    num_marked = sum(len(u.originals) for u in users if u.is_marked and not u.is_excluded)
    return (
        f"{len(users)} users; {num_marked} of {len(prepared.learner):,} training photos "
        "marked; keys stored, commitments written"
    )


class _Kind(NamedTuple):
    """How runs of one kind are measured, and what writes their report, if anything."""

    measure: Callable[[Any, Workdir, Journal], dict[str, Any]]
    report: Callable[[pathlib.Path], Any] | None = None

    @property
    def last_file(self) -> str:
        return "report.html" if self.report else "results.json"


_KINDS = {
    Settings: _Kind(_measure, write_report),
    DiffusionSettings: _Kind(diffusion.measure),
    RecompressionSettings: _Kind(recompression.measure),
    MultitaskSettings: _Kind(multitask.measure, write_scheme_report),
    BarrierSettings: _Kind(barrier.measure, write_outputs_report),
    PictureSettings: _Kind(pictures.measure, write_pictures_report),
    FingerprintSettings: _Kind(fingerprint.measure, write_copies_report),
}
