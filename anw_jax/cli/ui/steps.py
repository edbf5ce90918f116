"""The steps of the page, each by the functions that its command calls."""

import contextlib
import os
import pathlib
import shutil
from typing import Any

from anw_jax import _check, audit, data
from anw_jax.audit.case import is_case_of_models
from anw_jax.audit.folder_report import plural
from anw_jax.audit.published import COMMITMENT
from anw_jax.cli import output
from anw_jax.cli.evidence import lines_fn_of, opened_evidence, replayed
from anw_jax.cli.options import parse_beacon_value
from anw_jax.cli.owner import clock, code_of
from anw_jax.cli.owner_format import commitment_lines, marked_lines
from anw_jax.cli.preview import preview_lines
from anw_jax.cli.signing import signature_lines
from anw_jax.cli.ui.session import Result, Session, StepFn
from anw_jax.errors import CaseError
from anw_jax.keys import MarkKey
from anw_jax.keys.beacons import drand_after
from anw_jax.keys.stamps import KINDS as STAMPS
from anw_jax.keys.stamps import hours_ahead
from anw_jax.shards import num_cores

DROPPED = "dropped"
BEACONS = ("drand", "arbitrator", "none")


def path_of(**named: Any) -> pathlib.Path:
    """Return a path that was typed: absolute, or from the home folder.

    Raises:
      TypeError, ValueError: no text, or an empty one.
    """
    ((name, text),) = named.items()
    if not _check.plain_text(**named).strip() or "\0" in text:
        raise ValueError(f"{name} must be a path, got {text!r:.80}")
    return pathlib.Path.home() / os.path.expanduser(text.strip())


def open_folder(session: Session, given: dict[str, Any]) -> list[str]:
    """Choose a folder; return the lines of its report."""
    session.open(path_of(folder=given.get("folder")))
    return _folder_lines(session)


def _folder_lines(session: Session) -> list[str]:
    photos = plural(len(session.report.photos), "photo")
    return [f"{photos} in {session.folder}", *audit.report_lines(session.report)]


def begin_drop(session: Session, given: dict[str, Any]) -> list[str]:
    """Make an empty folder for dropped photos."""
    folder = session.work / DROPPED
    if session.folder == folder:
        session.folder = session.report = None
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return []


def dropped_file(session: Session, name: str) -> pathlib.Path:
    """Return where a dropped file goes.

    Raises:
      ValueError: a name that is no relative path inside the folder.
    """
    parts = name.split("/")
    is_bad = any(part in ("", ".", "..") or set(part) & set("\\\0:") for part in parts)
    if is_bad or len(name) > 1000:
        raise ValueError(f"name must be a path inside the dropped folder, got {name!r:.80}")
    return session.work.joinpath(DROPPED, *parts)


def end_drop(session: Session, given: dict[str, Any]) -> list[str]:
    """Choose the folder of dropped photos."""
    session.open(session.work / DROPPED)
    return [
        *_folder_lines(session),
        "these are copies in a temporary folder, which is removed when the program ends: keep "
        "your originals, and drop the same photos again to mark them later",
    ]


def new_key(session: Session, given: dict[str, Any]) -> list[str]:
    """Create a key."""
    file = path_of(key=given.get("key"))
    try:
        MarkKey.generate().save(file)
    except FileExistsError:
        raise FileExistsError(f"{file} already exists: a key is never overwritten") from None
    return [f"{file} written. Keep it secret, and keep a copy."]


def preview(session: Session, given: dict[str, Any]) -> StepFn:
    """Make a contact sheet."""
    folder, out = session.chosen(), session.work / "preview"
    mark, strength = given.get("mark"), _strength(given)

    def step(on_progress) -> Result:
        from anw_jax.report import write_preview

        done = audit.preview_folder(folder, mark, strength, on_progress, workers=num_cores())
        page = write_preview(done, folder, out)
        code = output.PASSED_OVER if done.report.passed_over else output.DONE
        return Result(tuple(preview_lines(done)), code, f"preview/{page.name}")

    return step


def commit(session: Session, given: dict[str, Any]) -> StepFn:
    """Commit to the photos of the chosen folder."""
    folder, key_file = session.chosen(), path_of(key=given.get("key"))
    out, now = path_of(out=given.get("out")), clock()
    kind = _check.one_of(BEACONS, beacon=given.get("beacon"))
    beacon = {"drand": drand_after(now, hours_ahead(STAMPS[0])), "none": ""}.get(kind)
    if beacon is None:
        who = _check.plain_text(arbitrator=given.get("arbitrator")).strip()
        if not who:
            raise ValueError("arbitrator must be a name, got ''")
        beacon = f"arbitrator:{who}"
    choices = audit.Choices(mark=given.get("mark"), strength=_strength(given), beacon=beacon)
    labels = path_of(labels=given["labels"]) if given.get("labels") else None

    def step(on_progress) -> Result:
        done = audit.commit_folder(
            folder,
            key_file,
            out,
            choices,
            labels=labels,
            again=given.get("again") is True,
            now=now,
            workers=num_cores(),
            on_progress=on_progress,
        )
        lines = commitment_lines(done, folder, str(key_file), out)
        return Result(tuple(lines), code_of(done.report))

    return step


def mark(session: Session, given: dict[str, Any]) -> StepFn:
    """Mark the photos of the chosen folder."""
    folder, key_file = session.chosen(), path_of(key=given.get("key"))
    out, text = path_of(out=given.get("out")), given.get("beacon_value") or ""
    _check.plain_text(beacon_value=text)
    encoding = data.Encoding(
        strip_gps=given.get("strip_gps") is True, strip_all=given.get("strip_all") is True
    )

    def step(on_progress) -> Result:
        if not (out / COMMITMENT).exists():
            raise CaseError(f"{out} holds no commitment: commit first")
        done = audit.commit_folder(folder, key_file, out, audit.Choices(), decode=False)
        plan = audit.read_published(out).plan
        value = parse_beacon_value(plan, text.strip()) if text.strip() else b""
        marked = audit.publish_folder(
            folder,
            key_file,
            out,
            beacon=value,
            encoding=encoding,
            workers=num_cores(),
            on_progress=on_progress,
        )
        lines = marked_lines(done, marked, out)
        return Result(tuple(lines), code_of(marked.report, marked.lost))

    return step


def read_verdict(session: Session, given: dict[str, Any]) -> StepFn:
    """Read the verdict of a case folder, or replay that of a bundle."""
    path = path_of(path=given.get("path"))
    page = session.work / "report.html"

    def step(on_progress) -> Result:
        from anw_jax.report import write_case_report

        with opened_evidence(path, (), 0.0, ()) as (opened, keys, text):
            lines_of = lines_fn_of(opened)
            if path.is_dir():
                if not opened.has("verdict.json"):
                    raise CaseError(f"{path} has no verdict yet")
                page.unlink(missing_ok=True)
                if is_case_of_models(path):
                    from anw_jax.report.models_page import write_models_report

                    write_models_report(opened, page)
                else:
                    write_case_report(opened, page, on_progress=on_progress)
                verdict = opened.read("verdict.json")
                code = output.code_of_verdict(verdict)
                return Result(tuple(lines_of(verdict)), code, page.name)
            done, lines = replayed(opened, keys, text, on_progress=lambda _: on_progress)
            lines += signature_lines(audit.check_signatures(opened))
            if done.num_differing:
                return Result(tuple(lines), output.BROKEN)
            lines += ["consistent, anchors not checked: anw replay compares them"]
            code = output.code_of_verdict(done.verdict)
            code = output.CONDITIONAL if code == output.DONE else code
            return Result((*lines, *lines_of(done.verdict)), code)

    return step


def _strength(given: dict[str, Any]) -> float | None:
    strength = given.get("strength")
    return None if strength is None else _check.finite(strength=strength)


def set_time(file: pathlib.Path, milliseconds: str) -> None:
    """Give a dropped file the time stamp of its original, if the browser told it."""
    with contextlib.suppress(ValueError, OverflowError, OSError):
        os.utime(file, (int(milliseconds) / 1000,) * 2)


AT_ONCE = {
    "open": open_folder,
    "begin_drop": begin_drop,
    "end_drop": end_drop,
    "key": new_key,
}
JOBS = {"preview": preview, "commit": commit, "mark": mark, "verdict": read_verdict}
