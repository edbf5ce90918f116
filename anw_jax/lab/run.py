"""The stages in order: mark, train, verify, proof, changed models, analyses, report."""

import dataclasses
import os
import time
import traceback
from collections.abc import Callable
from typing import Any

from anw_jax.errors import AnwError
from anw_jax.lab import asking, case, learner, proof
from anw_jax.lab.analyses import ANALYSES
from anw_jax.lab.interrupt import stop_on_interrupt
from anw_jax.lab.journal import Journal
from anw_jax.lab.provenance import provenance
from anw_jax.lab.settings import Settings
from anw_jax.lab.training_record import check_same_jax, jax_of, training_of
from anw_jax.lab.workdir import Workdir, plain
from anw_jax.progress import format_seconds
from anw_jax.report import write_report


def run(settings: Settings, workdir: str | os.PathLike) -> dict[str, Any] | None:
    """Runs an experiment to its end, from wherever an earlier call stopped.

    Leaves in the workdir: `settings.json`, `provenance.json`, `commitments.json`, keys
    (0600), manifests, checkpoints, `training.json`, sealed loss tables, `log.jsonl`,
    `progress.json`, `audits/`, `results.json`, `figures/`, `report.html`, and `DONE` or
    `FAILED.txt`. Experiments of one case share it: results name the code that trained the
    model beside the code that read it.

    Args:
      settings: what to do.
      workdir: where; made if it is not there.

    Returns:
      The results, or None if it was interrupted; the same call again resumes.

    Raises:
      SettingsError: the workdir holds a run with other settings, or a training under other
        settings of jax.
      JaxError: jax cannot start, or computes wrong numbers.
      AnwError: what a stage says.
      OSError: no disk space, no permission; nothing computed before is lost.
    """
    folder = Workdir(workdir)
    with folder.lock():
        folder.agree_on_settings(settings.case_dict())
        journal = Journal(
            folder,
            times_file=_audit_file(settings, "stage_seconds"),
            experiment=settings.to_dict(),
        )
        done = _finished(settings, folder)
        if done is not None:
            if not folder.exists("report.html"):
                write_report(folder.path)
            journal.say(f"already done: {folder.path / 'report.html'}")
            return done
        try:
            return _run_stages(settings, folder, journal)
        except (AnwError, OSError) as error:
            folder.fail(f"{type(error).__name__}: {error}")
            raise
        except Exception:
            folder.fail(traceback.format_exc())
            raise


def _finished(settings: Settings, folder: Workdir) -> dict[str, Any] | None:
    """The results of this very experiment, where an earlier call came to its end."""
    file = _audit_file(settings, "results")
    if not (folder.is_done and folder.exists(file)):
        return None
    results = folder.read_json(file)
    return results if results["settings"] == plain(settings.to_dict()) else None


def _audit_file(settings: Settings, name: str) -> str:
    """A file of this experiment in the workdir, which others of the case may share."""
    return f"audits/{settings.name}/{name}.json"


def _run_stages(settings: Settings, folder: Workdir, journal: Journal) -> dict[str, Any] | None:
    start = time.monotonic()
    origin = provenance()
    note = check_same_jax(folder, jax_of(origin))
    if note:
        journal.say(note)
    if not folder.exists("provenance.json"):
        folder.write_json("provenance.json", origin)
    with journal.stage("mark"):
        opened = case.open_case(settings, folder)
        journal.say(_describe(settings, opened))
    with (
        journal.stage("train"),
        stop_on_interrupt(lambda: journal.say("stopping at the end of this segment …")) as stop,
    ):
        suspect = learner.train_suspect(settings, opened, folder, journal, stop)
        stopped = suspect is None or stop()
    if stopped:
        journal.say("stopped; the same command goes on from here")
        return None
    with journal.stage("verify"):
        questions = asking.questions_of(settings, opened)
        tables = asking.ask(settings, questions, suspect, folder, journal)
    with journal.stage("proof"):
        proved = proof.prove(settings, opened, suspect, tables, folder, journal)
    with journal.stage("suspects"):
        suspects = _changed_suspects(settings, opened, suspect, questions, folder, journal)
    with journal.stage("analyses"):
        analyses = _analyses(settings, opened, suspect, folder, journal)
    results = {
        "name": settings.name,
        "seed": settings.seed,
        "model": suspect.numbers,
        **proved,
        "suspects": suspects,
        "analyses": analyses,
        "settings": settings.to_dict(),
        "provenance": origin,
        "training": training_of(folder),
        "stage_seconds": journal.stage_seconds,
    }
    folder.write_json("results.json", results)
    folder.write_json(_audit_file(settings, "results"), results)
    with journal.stage("report"):
        write_report(folder.path)
    folder.finish()
    journal.say(
        f"done in {format_seconds(time.monotonic() - start)}: {folder.path / 'report.html'}"
    )
    return folder.read_json("results.json")


def _changed_suspects(
    settings: Settings,
    opened: case.Case,
    suspect: learner.Suspect,
    questions: list[asking.Question],
    folder: Workdir,
    journal: Journal,
) -> dict[str, Any]:
    """Makes, asks and tests each changed model; a kill loses one of them at most."""
    own = [question for question in questions if not asking.is_wrong(question)]
    coarser = settings.for_suspects()

    def ask_one(name: str) -> dict[str, Any]:
        after = learner.changed(settings, name, opened, suspect, journal)
        tables = asking.ask(coarser, own, after, folder, journal, f"{asking.TABLES}/{name}")
        proved = proof.prove_changed(coarser, opened, name, tables, folder)
        journal.say(f"{name:<18} test accuracy {after.numbers['test_accuracy']:.1%}")
        return {"model": after.numbers, **proved}

    return {
        name: _once(folder, f"suspects/{name}.json", dataclasses.asdict(chosen), ask_one, name)
        for name, chosen in settings.suspects.items()
    }


def _analyses(
    settings: Settings,
    opened: case.Case,
    suspect: learner.Suspect,
    folder: Workdir,
    journal: Journal,
) -> dict[str, Any]:
    def analyse(name: str) -> dict[str, Any]:
        return ANALYSES[name](settings, opened, suspect, journal)

    return {
        name: _once(folder, f"analyses/{name}.json", name, analyse, name)
        for name in settings.analyses
    }


def _once(
    folder: Workdir, file: str, what: Any, make: Callable[[str], Any], name: str
) -> dict[str, Any]:
    """What `make(name)` gives, kept in a file beside what it was made from."""
    if folder.exists(file):
        stored = folder.read_json(file)
        if stored["made_from"] == plain(what):
            return stored["numbers"]
    folder.write_json(file, {"made_from": what, "numbers": make(name)})
    return folder.read_json(file)["numbers"]


def _describe(settings: Settings, opened: case.Case) -> str:
    marked = [
        user
        for entry, members in opened.everybody.items()
        for user in members
        if user.settings.kind == "marked" and entry not in settings.exclude
    ]
    photos = sum(len(user.originals) for user in marked)
    num_users = sum(map(len, opened.everybody.values()))
    return (
        f"{num_users} users; {photos} of {len(opened.learner):,} training photos "
        "marked; keys stored, commitments written"
    )
