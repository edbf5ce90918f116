"""The five stages in order: mark, train, verify, proof, report."""

import os
import time
import traceback
from typing import Any

from anw_jax.errors import AnwError
from anw_jax.lab import asking, case, learner, proof
from anw_jax.lab.interrupt import stop_on_interrupt
from anw_jax.lab.journal import Journal
from anw_jax.lab.provenance import provenance
from anw_jax.lab.settings import Settings
from anw_jax.lab.workdir import Workdir
from anw_jax.progress import format_seconds
from anw_jax.report import write_report


def run(settings: Settings, workdir: str | os.PathLike) -> dict[str, Any] | None:
    """Runs an experiment to its end, from wherever an earlier call stopped.

    Leaves in the workdir: `settings.json`, `provenance.json`, `commitments.json`, keys
    (0600), manifests, checkpoints, sealed loss tables, `log.jsonl`, `progress.json`,
    `results.json`, `figures/`, `report.html`, and `DONE` or `FAILED.txt`.

    Args:
      settings: what to do.
      workdir: where; made if it is not there.

    Returns:
      The results, or None if it was interrupted; the same call again resumes.

    Raises:
      SettingsError: the workdir holds a run with other settings.
      AnwError: what a stage says.
      OSError: no disk space, no permission; nothing computed before is lost.
    """
    folder = Workdir(workdir)
    with folder.lock():
        folder.agree_on_settings(settings.to_dict())
        journal = Journal(folder)
        if folder.is_done:
            if not folder.exists("report.html"):
                write_report(folder.path)
            journal.say(f"already done: {folder.path / 'report.html'}")
            return folder.read_json("results.json")
        try:
            return _run_stages(settings, folder, journal)
        except (AnwError, OSError) as error:
            folder.fail(f"{type(error).__name__}: {error}")
            raise
        except Exception:
            folder.fail(traceback.format_exc())
            raise


def _run_stages(settings: Settings, folder: Workdir, journal: Journal) -> dict[str, Any] | None:
    start = time.monotonic()
    origin = provenance()
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
        questions = asking.questions_of(opened)
        tables = asking.ask(settings, questions, suspect, folder, journal)
    with journal.stage("proof"):
        users = proof.prove(settings, opened, tables, folder, journal)
    results = {
        "name": settings.name,
        "seed": settings.seed,
        "model": suspect.numbers,
        "users": users,
        "settings": settings.to_dict(),
        "provenance": origin,
        "stage_seconds": journal.stage_seconds,
    }
    folder.write_json("results.json", results)
    with journal.stage("report"):
        write_report(folder.path)
    folder.finish()
    journal.say(
        f"done in {format_seconds(time.monotonic() - start)}: {folder.path / 'report.html'}"
    )
    return results


def _describe(settings: Settings, opened: case.Case) -> str:
    marked = [
        user
        for name, user in opened.users.items()
        if user.settings.kind == "marked" and name not in settings.exclude
    ]
    photos = sum(len(user.originals) for user in marked)
    return (
        f"{len(opened.users)} users; {photos} of {len(opened.learner):,} training photos "
        "marked; keys stored, commitments written"
    )
