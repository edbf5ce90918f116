"""What the bundles of all kinds of cases share: index, keys, signatures, and the writing."""

import dataclasses
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from anw_jax import _files, _json
from anw_jax.audit.bundle_zip import write_zip
from anw_jax.audit.case import Case, visible
from anw_jax.audit.files import digest_of
from anw_jax.audit.signatures import SUFFIX, check_signatures
from anw_jax.audit.stamps import ANCHORS, stamp_files_of
from anw_jax.errors import CaseError
from anw_jax.keys import MarkKey

FORMAT = "anw_jax evidence bundle, version 1"
INDEX, REPORT = "bundle.json", "report.txt"

# The content of each member, or the file of the case that holds it.
Members = dict[str, bytes | pathlib.Path]


@dataclasses.dataclass(frozen=True)
class Bundled:
    """What was written.

    Attributes:
      path: the zip file.
      sha256: of it, as hex.
      num_members: files in it.
      has_names: whether it has the photos' file names; True of a case of models.
      spent_keys: owners whose key is in it.
    """

    path: str
    sha256: str
    num_members: int
    has_names: bool
    spent_keys: tuple[str, ...]


def check_can_bundle(case: Case, out: pathlib.Path) -> None:
    """Refuse an unfinished case, and a file that exists or has no folder to be in.

    Raises:
      CaseError: no verdict yet; FileExistsError: `out` exists; FileNotFoundError, ValueError:
        as `_files.check_new`.
    """
    if os.path.lexists(out):
        raise FileExistsError(f"{out} already exists: nothing is overwritten")
    _files.check_new(out)
    if not case.has("verdict.json"):
        raise CaseError(f"{case.path} is not finished: it has no verdict.json (anw verdict)")


def write_bundle(
    case: Case,
    members: Members,
    mark_keys: Mapping[str, MarkKey],
    out: pathlib.Path,
    has_names: bool,
) -> Bundled:
    """Add opened keys and index to the members of a case, and write them as one zip.

    Args:
      case: finished, and replayed before: nothing wrong is bundled.
      members: all others, with `report.txt`.
      mark_keys: the opened keys, by owner.
      out: the zip file.
      has_names: whether the photos' file names are in it.

    Raises:
      CaseError: a file of the case is a link.
    """
    members = members | {_key_file(name): _key_bytes(key) for name, key in mark_keys.items()}
    _check_no_links(case, members)
    members[INDEX] = _index(members, case.plan.mode, has_names)
    _write(out, members)
    return Bundled(str(out), digest_of(out), len(members), has_names, tuple(sorted(mark_keys)))


def names_in_all(case: Case) -> set[str]:
    """Return the members that every bundle has: index, report, and opened keys."""
    keys = map(_key_file, case.owners) if case.plan.mode == "sealed" else ()
    return {INDEX, REPORT, *keys}


def index_bytes(body: Mapping[str, Any]) -> bytes:
    """Return `bundle.json`, with the SHA-256 of its other fields."""
    body = {name: value for name, value in body.items() if name != "sha256"}
    digest = hashlib.sha256(_json.canonical(body)).hexdigest()
    return (_json.dumps({**body, "sha256": digest}, indent=1, sort_keys=True) + "\n").encode()


def files_of_steps(case: Case, names: Iterable[str]) -> Members:
    """Return those of the named files that the case has."""
    return {name: case.file(name) for name in names if case.has(name)}


def proofs_of(case: Case, members: Members) -> Members:
    """Return stamps of commitments, what they are verified against, and signatures."""
    anchors = sorted(visible(case.file(ANCHORS)))
    found: Members = {f"{ANCHORS}/{number}": path for number, path in enumerate(anchors)}
    found |= {relative(case, path): path for path in stamp_files_of(case)}
    return found | _signatures_of(case, members)


def _signatures_of(case: Case, members: Members) -> Members:
    """Return the valid signatures of members; of a member that was remade none fits."""
    signed = {one["file"] for one in check_signatures(case) if one["signer"]}
    return {
        name + SUFFIX: case.file(name + SUFFIX)
        for name in signed & members.keys()
        if isinstance(members[name], pathlib.Path)
    }


def relative(case: Case, path: pathlib.Path) -> str:
    """Return the name of the member that a file of the case becomes."""
    return path.relative_to(case.path).as_posix()


def _index(members: Members, mode: str, with_names: bool) -> bytes:
    return index_bytes(
        {
            "format": FORMAT,
            "mode": mode,
            "has_names": with_names,
            "made_with": {
                "anw_jax": _version(),
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            "files": {
                name: digest_of(source)
                if isinstance(source, pathlib.Path)
                else hashlib.sha256(source).hexdigest()
                for name, source in sorted(members.items())
            },
        }
    )


def _version() -> str:
    try:
        return importlib.metadata.version("anw_jax")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _key_file(owner: str) -> str:
    return f"keys/{owner}.key"


def _key_bytes(mark_key: MarkKey) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "key"
        mark_key.save(path)
        return path.read_bytes()


def _check_no_links(case: Case, members: Members) -> None:
    """Refuse files of a case that are links: they may lead to files of somebody else."""
    for source in (one for one in members.values() if isinstance(one, pathlib.Path)):
        inside = source.relative_to(case.path)
        for path in (case.path / inside, *(case.path / one for one in inside.parents)):
            if path != case.path and path.is_symlink():
                raise CaseError(
                    f"{path} is a link: a bundle is made from files of the case alone"
                )


def _write(out: pathlib.Path, members: Members) -> None:
    partial = out.with_name(out.name + ".partial")
    try:
        with open(partial, "wb") as file:
            write_zip(file, members)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
