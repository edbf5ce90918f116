"""The folder of a case: its files, and the fields that each must have.

owners/<name>/      manifest.json, commitment.json (basis.json, light.json) from the owner;
                    originals/ with labels.csv, or originals.npz
suspects/<name>.toml
references/<name>.toml   models that calibrate all suspects, if there are any
probe.json          → declared.json → blind.json (tables/) or closed.json (records/)
                    → verdict.json; each names the SHA-256 of the one before
answers/            the answers of each suspect: no query is paid twice
exchange/           requests to owners and their openings, in sequential mode
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from anw_jax import _files, progress
from anw_jax.audit.files import check_same, digest_of, only_one, read_json
from anw_jax.audit.labels import LABELS_MAP, check_label_files
from anw_jax.audit.originals import Originals, read_originals
from anw_jax.audit.published import COMMITMENT, Published, read_published
from anw_jax.audit.suspect_file import SuspectFile
from anw_jax.errors import CaseError, ChangedFileError
from anw_jax.keys import Plan

FORMATS = {
    "probe.json": "anw_jax probe, version 1",
    "declared.json": "anw_jax declared audit, version 1",
    "blind.json": "anw_jax blind result, version 1",
    "closed.json": "anw_jax closed sequential audit, version 2",
    "verdict.json": "anw_jax verdict, version 1",
}

# Older formats that are still read.
OLDER = {"closed.json": ("anw_jax closed sequential audit, version 1",)}

# The file of an owner in a case of models (`schemes.case`).
MODEL_MARK = "mark.json"

# Before the name of a reference, where suspects and references stand in one list.
REFERENCES = "references/"

_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclasses.dataclass(frozen=True, eq=False)
class Owner:
    """One owner of a case.

    Attributes:
      name: of the folder.
      published: manifest, commitment, plan, mark.
      originals: the unmarked photos.
    """

    name: str
    published: Published
    originals: Originals


class Case:
    """A case folder. Files are read and validated lazily.

    Args:
      path: the folder.
      on_progress: maps "reading NAME" to a function of (photos read, photos in all).

    Raises:
      CaseError: no such folder, no owner or no suspect in it.
    """

    # In each owner's folder, and what its time stamps cover.
    commitment_file = COMMITMENT

    def __init__(
        self,
        path: str | os.PathLike,
        on_progress: progress.ReportFn = progress.silent_parts,
    ):
        self._on_progress = on_progress
        self.path = pathlib.Path(path)
        if not self.path.is_dir():
            if self.path.exists():
                raise CaseError(_files.no_folder(self.path))
            raise CaseError(f"the case folder {self.path} is not there")
        # A suspect's code may change the working folder.
        self.path = self.path.absolute()

    def check_is_of_photos(self) -> None:
        """Raise CaseError for a case of models."""
        if is_case_of_models(self.path):
            raise CaseError(
                f"{self.path} is a case of models ({MODEL_MARK}), and this is for cases of "
                "photos"
            )

    @functools.cached_property
    def owners(self) -> dict[str, Owner]:
        """The owners by name, sorted."""
        folder = self.path / "owners"
        self.check_is_of_photos()
        found = sorted(p for p in visible(folder) if p.is_dir())
        if not found:
            raise CaseError(
                f"{folder} must hold a folder for each owner, with manifest.json, "
                "commitment.json and originals/"
            )
        owners = {}
        for entry in found:
            published = read_published(entry)
            originals = read_originals(
                entry,
                published.manifest,
                self.file(LABELS_MAP),
                self._on_progress(f"reading {entry.name}"),
            )
            owners[_name(entry)] = Owner(entry.name, published, originals)
        check_label_files(self.path, owners)
        return owners

    @functools.cached_property
    def suspects(self) -> dict[str, SuspectFile]:
        """The files of suspects by name, sorted."""
        folder = self.path / "suspects"
        suspects = _model_files(folder)
        if not suspects:
            raise CaseError(f"{folder} must hold a .toml or .json file for each suspect")
        return suspects

    @functools.cached_property
    def references(self) -> dict[str, SuspectFile]:
        """The files of reference models by name, sorted; most cases have none."""
        return _model_files(self.path / "references")

    @property
    def models(self) -> dict[str, SuspectFile]:
        """Suspects by name, and references as "references/<name>"."""
        others = {f"{REFERENCES}{name}": file for name, file in self.references.items()}
        return {**self.suspects, **others}

    @property
    def plan(self) -> Plan:
        """The plan of the first owner: mode, claim and level are the same for all owners."""
        return next(iter(self.owners.values())).published.plan

    @property
    def num_tests(self) -> int:
        """Owners times suspects."""
        return len(self.owners) * len(self.suspects)

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Lock the folder while this process works in it.

        Raises:
          CaseError: another process holds the lock.
        """
        return only_one(self.path)

    def file(self, name: str) -> pathlib.Path:
        """Return the path of a file in the folder."""
        return self.path / name

    def has(self, name: str) -> bool:
        """Return whether the file of a step is written."""
        return self.file(name).exists()

    def read(self, name: str) -> dict[str, Any]:
        """Read the file of a step, and check its fields.

        Raises:
          CaseError: missing or damaged; names the first field of a wrong type.
        """
        body = read_json(self.file(name), FORMATS[name], *OLDER.get(name, ()))
        found = damage(body, SHAPES[name])
        if found:
            raise CaseError(f"{self.file(name)} is damaged: {found}")
        return body

    def digest(self, name: str) -> str | None:
        """Return the SHA-256 of the file of a step; None where it is not written."""
        return digest_of(self.file(name)) if self.has(name) else None

    def check_link(self, name: str, before: str) -> dict[str, Any]:
        """Read a step's file; check that it records its predecessor's current digest.

        Raises:
          ChangedFileError: the file before was changed, or is gone.
        """
        body = self.read(name)
        if body.get("previous") != self.digest(before):
            raise ChangedFileError(
                f"{self.file(before)} is not the one that {name} names (its SHA-256 differs): "
                "restore it, or start again in another case folder"
            )
        return body

    def answers_file(self, suspect: str) -> pathlib.Path:
        """Return the path of the answers of a suspect, or of a reference (see `models`)."""
        return self.file("answers") / f"{suspect}.answers"

    def check_answers(self, suspect: str, digest: str, named_by: str) -> None:
        """Check that a suspect's answers are those that a later file names.

        Raises:
          ChangedFileError: they are not, or are gone.
        """
        file = self.answers_file(suspect)
        if not file.exists():
            raise ChangedFileError(
                f"{file} is gone: without the answers the losses made from them cannot be "
                "checked; restore the file"
            )
        check_same(file, digest, named_by)

    def asked(self, model: str, like: str | None, views: int) -> list[np.ndarray] | None:
        """Return the digests of the pictures a model was asked about, where photos are missing.

        None for a case with photos; see `bundle_read.BundledCase`.
        """
        return None

    def table_file(self, suspect: str) -> pathlib.Path:
        """Return the path of a suspect's sealed tables."""
        return self.file("tables") / f"{suspect}.npz"


def is_case_of_models(path: pathlib.Path) -> bool:
    """Return whether an owner's folder holds the mark of a model, and not marked photos."""
    return any((folder / MODEL_MARK).exists() for folder in visible(path / "owners"))


def _model_files(folder: pathlib.Path) -> dict[str, SuspectFile]:
    files = [p for p in visible(folder) if p.suffix in (".toml", ".json")]
    models = {_name(file): SuspectFile.load(file) for file in sorted(files)}
    if len(models) < len(files):
        raise CaseError(f"{folder} has two files of one name")
    return models


def visible(folder: pathlib.Path) -> list[pathlib.Path]:
    """List a folder without hidden and system files; empty if it is not there."""
    found = folder.iterdir() if folder.is_dir() else ()
    return [path for path in found if not _files.is_hidden(path.name)]


def _name(path: pathlib.Path) -> str:
    return check_name(path.name if path.is_dir() else path.stem, path)


def check_name(name: str, what: object = "an owner or a suspect") -> str:
    """Return the name of an owner, a suspect or a reference.

    Raises:
      CaseError: other characters than letters, digits, '_', '.' and '-', or too long.
    """
    if not _NAME.fullmatch(name):
        raise CaseError(
            f"{what} must have a name of letters, digits, '_', '.' and '-', got {name!r:.80}"
        )
    return name


_COUNT = {"num_images": int, "num_unusable": int, "photos": {"*": str}}
_ACCESS = {"kind": str, "augmentation?": dict}

# The type of each field that is read. "*" is any name; a field with "?" may lack or be null,
# as in older files.
SHAPES: dict[str, dict[str, Any]] = {
    "probe.json": {
        "sizes?": [[int]],
        "suspects": {"*": {"is_fit": bool, "file": str, "declaration?": str}},
    },
    "declared.json": {
        "previous?": str,
        "owners": {
            "*": {
                "commitment": str,
                "plan": dict,
                "files": {"*": str},
                "missing?": [int],
                "labels_by?": str,
                "labels_sha256?": str,
                "num_redecoded?": int,
            }
        },
        "suspects": {
            "*": {
                "file": str,
                "declaration": {"cost_per_query": float},
                "declaration_digest": str,
                "access?": _ACCESS,
                "access_text?": str,
                "rule?": dict,
                "menu?": int,
            }
        },
        "references?": {
            "*": {
                "file": str,
                "declaration": {"cost_per_query": float},
                "declaration_digest": str,
                "runs_code?": bool,
            }
        },
        "references_left_out?": {"*": {"*": {"*": str}}},
        "access?": _ACCESS,
        "beacons": {"*": str},
        "bound?": {"level": float, "by": str},
        "budget?": int,
        "controls?": [str],
        "despite_probe?": bool,
        "public_seeds?": {"*": str},
        "refusal_limit?": float,
        "sequential?": {"num_tests?": int, "level?": float},
    },
    "blind.json": {
        "suspects": {
            "*": {
                "num_queries": int,
                "answers?": str,
                "file?": str,
                "owners": {"*": {"table": str, "unusable?": _COUNT}},
                "references?": {"*": {"file": str, "owners": {"*": {"table": str}}}},
            }
        },
        "references?": {"*": {"num_queries": int, "answers": str}},
    },
    "closed.json": {
        "records?": {"*": {"*": {"record": str, "unusable?": _COUNT}}},
        "suspects?": {"*": {"num_queries": int}},
        "record?": str,
        "suspect?": str,
    },
    "verdict.json": {
        "mode": str,
        "case": {"blind_sha256": str},
        "blind_compared?": bool,
    },
}

_WORDS = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "text",
}


def damage(value: Any, shape: Any, where: str = "") -> str:
    """Find the first field of another type than the shape says; "" for none.

    Example:
      >>> damage({"beacons": {"ann": 3}}, {"beacons": {"*": str}, "budget?": int})
      'beacons.ann must be text, got 3'
    """
    kind = type(shape) if isinstance(shape, dict | list) else shape
    is_number = kind is float and type(value) is int
    if type(value) is not kind and not is_number:
        return f"{where or 'it'} must be {_WORDS[kind]}, got {value!r:.40}"
    for name, inner, part in _parts(value, shape):
        found = damage(part, inner, f"{where}.{name}" if where else name)
        if found:
            return found
    return ""


def _parts(value: Any, shape: Any) -> list[tuple[str, Any, Any]]:
    """Name, shape and value of each part; the value is None where a field lacks."""
    if isinstance(shape, list):
        return [(str(number), shape[0], part) for number, part in enumerate(value)]
    if not isinstance(shape, Mapping):
        return []
    if "*" in shape:
        return [(name, shape["*"], part) for name, part in value.items()]
    fields = [(name.removesuffix("?"), name.endswith("?"), shape[name]) for name in shape]
    return [
        (name, inner, value.get(name))
        for name, is_optional, inner in fields
        if not (is_optional and value.get(name) is None)
    ]
