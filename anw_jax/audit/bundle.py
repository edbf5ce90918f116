"""Write a finished case, without photos, as one zip: the evidence bundle.

    bundle.json                  format, mode, versions, SHA-256 of every other member and of
                                 itself without this field
    owners/<name>/               commitment.json, manifest.json, labels.csv, labels_map.csv;
                                 commitment.tsr, commitment.json.ots: its time stamps
    anchors/0, 1, …              root certificates and block headers of the stamps
    *.sig                        the signature of the file beside it
    keys/<name>.key              the opened keys, in sealed mode
    labels/, labels_map.csv      the arbitrator's own labels
    suspects/, references/       the .toml or .json files; no model
    statements.toml, probe.json, declared.json, blind.json or closed.json, verdict.json
    tables/ or records/, answers/
    queries/<suspect>/<owner>    the SHA-256 of every picture that was asked about, raw
    report.txt                   what `anw verdict` prints

The page of `anw report` is not in it: it shows the photos, and its figures have other bytes on
another machine, so that no replay could check them.

Without names, photos are called by the SHA-256 of their names, in the manifest, the labels and
the verdict. The commitment covers the names, so whoever has only such a bundle cannot compute
the digest of the manifest from its photos: that needs the owner's `manifest.json` as well
(`anchors`).
"""

import csv
import hashlib
import io
import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from anw_jax import _json, progress
from anw_jax.audit.batches import Like, stored_batch
from anw_jax.audit.bundle_write import (
    REPORT,
    Bundled,
    Members,
    check_can_bundle,
    files_of_steps,
    names_in_all,
    proofs_of,
    relative,
    write_bundle,
)
from anw_jax.audit.case import REFERENCES, Case
from anw_jax.audit.declare import check_unchanged
from anw_jax.audit.declared import Declared
from anw_jax.audit.labels import LABELS, LABELS_MAP, NO_CLASS, Labels, arbitrator_labels
from anw_jax.audit.published import COMMITMENT, MANIFEST
from anw_jax.audit.recorded import keys_file
from anw_jax.audit.records import record_file
from anw_jax.audit.replay import asked_models, replay_case
from anw_jax.audit.statements import NAME as STATEMENTS
from anw_jax.errors import CaseError
from anw_jax.keys import Manifest, MarkKey

NAMELESS = "anw_jax manifest without names, version 1"


def bundle_case(
    case: Case,
    mark_keys: Mapping[str, MarkKey],
    out: str | os.PathLike,
    report: str,
    *,
    with_names: bool = False,
    on_progress: progress.ReportFn = progress.silent_parts,
) -> Bundled:
    """Write the evidence bundle of a finished case; the same case gives the same bytes.

    The case is replayed first, so that nothing wrong is bundled.

    Args:
      case: with `verdict.json`.
      mark_keys: of each owner of a sealed case, already opened; {} for a sequential one.
      out: the zip file; it must not exist.
      report: the verdict as text, which becomes `report.txt`.
      with_names: whether to keep the photos' file names.
      on_progress: as `replay_case` takes it.

    Raises:
      CaseError: the case is not finished; a file of it is a link; keys of a sequential case;
        names in files that cannot be changed any more; a plan of version 1 without names.
      ChangedFileError, RecordError, CommitmentError: as `replay_case`.
      FileExistsError: `out` exists.
    """
    out = pathlib.Path(out)
    check_can_bundle(case, out)
    if mark_keys and case.read("verdict.json")["mode"] == "sequential":
        raise CaseError(
            "a sequential case never opens its keys, and a bundle would publish them: leave "
            "--key out"
        )
    replay_case(case, dict(mark_keys), on_progress=on_progress)
    declared = check_unchanged(case)
    members: Members = {REPORT: report.encode()}
    members |= _files_of(declared, with_names) | _queries(declared)
    if not with_names:
        _check_nameless(case, members)
    return write_bundle(case, members, mark_keys, out, with_names)


def names_of_members(case: Case, with_names: bool) -> set[str]:
    """Return the members that the bundle of a case has."""
    declared = Declared(case, case.read("declared.json"))
    asked = (names for _, _, names in _asked(declared))
    return {
        *names_in_all(case), *_files_of(declared, with_names), *itertools.chain(*asked)
    }  # fmt: skip


def nameless_bytes(manifest: Manifest) -> bytes:
    """Return a manifest in which each file name is replaced by its SHA-256.

    Its field "digest" is that of the manifest with names.
    """
    rows = zip(
        manifest.file_names,
        manifest.image_digests,
        manifest.unit_of_image,
        manifest.file_digests,
        strict=True,
    )
    body = {
        "format": NAMELESS,
        "digest": manifest.digest,
        "scheme": manifest.scheme,
        "num_slots": manifest.space.num_slots,
        "images": [
            {"file": _digest(name), "sha256": digest, "unit": unit, "file_sha256": file}
            for name, digest, unit, file in rows
        ],
    }
    return (_json.dumps(body, indent=1) + "\n").encode()


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _files_of(declared: Declared, with_names: bool) -> Members:
    """Return the files of a case, by their names in it."""
    case = declared.case
    is_sequential = case.plan.mode == "sequential"
    steps = ("probe.json", "declared.json", "closed.json" if is_sequential else "blind.json")
    members = files_of_steps(case, (STATEMENTS, LABELS_MAP, *steps, "verdict.json"))
    if not with_names and any(_lists(case.read("verdict.json"))):
        members["verdict.json"] = _nameless_verdict(case)
    for name, file in case.models.items():
        group = "" if name.startswith(REFERENCES) else "suspects/"
        members[f"{group}{name}{file.path.suffix}"] = file.path
        if case.answers_file(name).exists():
            members[f"answers/{name}.answers"] = case.answers_file(name)
    for suspect in case.suspects:
        found = [
            case.table_file(suspect),
            *(case.table_file(f"{REFERENCES}{name}/{suspect}") for name in case.references),
        ]
        if is_sequential:
            found = [record_file(case, owner, suspect) for owner in case.owners]
        members |= {relative(case, path): path for path in found if path.exists()}
    for name in case.owners:
        members |= _of_owner(declared, name, with_names)
    return members | proofs_of(case, members)


def _of_owner(declared: Declared, name: str, with_names: bool) -> Members:
    case, folder = declared.case, f"owners/{name}"
    owner, source = case.owners[name], declared.labels_by(name)
    manifest, table = owner.published.manifest, owner.originals.table
    names = manifest.file_names if with_names else map(_digest, manifest.file_names)
    names, path = list(names), case.file("owners") / name
    if not with_names and owner.published.plan.version == 1:
        raise CaseError(
            f"the plan of owner {name!r} is of version 1, whose commitment cannot be checked "
            "without the file names: bundle it with them (--with-names)"
        )
    members: Members = {
        f"{folder}/{COMMITMENT}": path / COMMITMENT,
        f"{folder}/{MANIFEST}": path / MANIFEST if with_names else nameless_bytes(manifest),
    }
    if table is not None and (source == "owner" or owner.published.plan.version == 1):
        members[f"{folder}/{LABELS}"] = _labels_bytes(names, table)
        if table.words is not None:
            members[f"{folder}/{LABELS_MAP}"] = _rows_bytes(table.words.items())
    own = arbitrator_labels(case.path, name, manifest) if source == "arbitrator" else None
    if own is not None:
        members[f"labels/{name}.csv"] = _labels_bytes(names, own)
    return members


def _labels_bytes(names: list[str], table: Labels) -> bytes:
    texts = ("-" if entry == NO_CLASS else str(entry) for entry in table.entries)
    return _rows_bytes(zip(names, texts, strict=True))


def _rows_bytes(rows: Iterable[tuple[str, object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _asked(declared: Declared) -> Iterator[tuple[str, Like | None, list[str]]]:
    """Yield each model, whose questions it was asked, and the members that list these."""
    for model, like in asked_models(declared):
        if declared.case.answers_file(model).exists():  # or stopped before the first query
            owners = declared.case.owners
            yield model, like, [keys_file(model, like and like.suspect, o) for o in owners]


def _queries(declared: Declared) -> Members:
    """Return the digests of all pictures that each model was asked about."""
    members: Members = {}
    for model, like, names in _asked(declared):
        with stored_batch(declared, model, like) as batch:
            members |= {n: batch.keys(number).tobytes() for number, n in enumerate(names)}
    return members


def _nameless_verdict(case: Case) -> bytes:
    body = case.read("verdict.json")
    for listed in _lists(body):
        listed["first_photo_of_each"] = list(map(_digest, listed["first_photo_of_each"]))
    return (_json.dumps(body, indent=1) + "\n").encode()


def _lists(verdict: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the lists of units in a verdict, which name photos."""
    for group in (verdict["tests"], verdict.get("controls", {})):
        for test in (test for by_name in group.values() for test in by_name.values()):
            if test.get("which"):
                yield test["which"]


def _check_nameless(case: Case, members: Members) -> None:
    """Refuse files that name photos and cannot be changed, since a later file has their digest.

    Raises:
      CaseError: names the file.
    """
    names = {
        name for owner in case.owners.values() for name in owner.published.manifest.file_names
    }
    for member, source in members.items():
        if not member.endswith((".json", ".jsonl", ".toml", ".txt")):
            continue
        text = source.decode() if isinstance(source, bytes) else source.read_text("utf-8")
        found = next((n for n in sorted(names) if "." in n and _is_in(n, text)), None)
        if found is not None:
            raise CaseError(
                f"{member} names the photo {found!r:.80}, and cannot be changed without "
                "breaking a digest: bundle it with the names (--with-names)"
            )


def _is_in(name: str, text: str) -> bool:
    return name in text or _json.dumps(name)[1:-1] in text
