"""The folder of a case of models: whose model is the suspect?

owners/<name>/mark.json    decoder, plan and commitment, as `anw model keygen` writes them
owners/<name>/mark.tsr     its time stamps, if there are any; also mark.json.ots
owners/<name>/base.npz     what the system needs beside them: here the clean model w0
suspects/<name>.toml       kind = "network" and file, the suspect's weights
                           for a mark in outputs any kind that is asked, or kind = "answers"
probe.json → declared.json → blind.json (scores/) → verdict.json, as in a case of photos
answers/                   what suspects answered that were asked
"""

import contextlib
import dataclasses
import functools
import pathlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from anw_jax import _files, _json
from anw_jax.audit import statements as stated
from anw_jax.audit.case import MODEL_MARK, Case, check_name, damage, visible
from anw_jax.audit.files import digest_of, read_json
from anw_jax.audit.signatures import SUFFIX
from anw_jax.audit.stamps import stamp_files
from anw_jax.errors import (
    AnwError,
    CacheError,
    CaseError,
    ChangedFileError,
    RefusedTooManyError,
)
from anw_jax.keys import Plan
from anw_jax.keys.digests import check_is_commitment
from anw_jax.schemes.outputs import Asked
from anw_jax.schemes.scheme import Decoder, check_decoder
from anw_jax.schemes.systems import OpenModel, System, system_of
from anw_jax.suspects import Declaration

MARK_FORMAT = "anw_jax model mark, version 1"
SPENT_FORMAT = "anw_jax spent key, version 1"

FORMATS = {
    "probe.json": "anw_jax model probe, version 1",
    "declared.json": "anw_jax declared model audit, version 1",
    "blind.json": "anw_jax blind model scores, version 1",
    "verdict.json": "anw_jax model verdict, version 1",
}

_SEALED = {"table": str, "num_asked?": int, "num_refused?": int}
_SHAPES: dict[str, dict[str, Any]] = {
    "probe.json": {"suspects": {"*": {"is_fit": bool, "file": str, "weights": str}}},
    "declared.json": {
        "previous?": str,
        "owners": {"*": {"commitment": str, "mark": str}},
        "suspects": {"*": {"file": str, "weights": str, "declaration?": dict}},
        "beacons": {"*": str},
        "despite_probe": bool,
        "controls": [str],
    },
    "blind.json": {"suspects": {"*": {"file": str, "answers?": str, "owners": {"*": _SEALED}}}},
    "verdict.json": {"mode": str, "case": {"blind_sha256": str}},
}


@dataclasses.dataclass(frozen=True)
class ModelMark:
    """What an owner publishes of a key, or hands over before the reading.

    Attributes:
      plan: the committed plan; its `mark` names the system.
      commitment: 64 hex digits.
      decoder: JSON of the decoder.
      publication: number of its record in a log; None if it is in no log.
    """

    plan: Plan
    commitment: str
    decoder: dict[str, Any]
    publication: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain values, as the file has them."""
        return {
            "format": MARK_FORMAT,
            "decoder": self.decoder,
            "plan": self.plan.as_json(),
            "commitment": self.commitment,
            "publication": self.publication,
        }

    @classmethod
    def load(cls, path: pathlib.Path) -> "ModelMark":
        """Read a file of `anw model keygen`.

        Raises:
          CaseError: missing, damaged, or not such a file.
        """
        body = read_json(path, MARK_FORMAT)
        try:
            return cls(
                Plan.from_json(body["plan"]),
                check_is_commitment(body["commitment"]),
                body["decoder"],
                body["publication"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CaseError(f"{path} is damaged: {error}") from None

    def open_decoder(self) -> Decoder:
        """Return the decoder that the plan fixes.

        Raises:
          CommitmentError: the decoder is another one.
          ValueError: no decoder of the plan's system.
        """
        decoder = self.system.decoder_from_json(self.decoder)
        check_decoder(decoder, self.plan)
        return decoder

    @property
    def system(self) -> System:
        """The system that the plan names."""
        return system_of(self.plan)


@dataclasses.dataclass(frozen=True, eq=False)
class ModelOwner:
    """One owner of a case of models.

    Attributes:
      name: of the folder.
      published: plan, commitment and decoder.
      digest: SHA-256 of mark.json.
      decoder: what the plan fixes.
      own: what else the system's reader needs.
    """

    name: str
    published: ModelMark
    digest: str
    decoder: Decoder
    own: Any


class ModelCase(Case):
    """A case folder of models; what `audit` does with statements and files fits it too."""

    commitment_file = MODEL_MARK

    @functools.cached_property
    def owners(self) -> dict[str, ModelOwner]:
        """The owners by name, sorted.

        Raises:
          CaseError: a file is missing or damaged.
          CommitmentError: decoder or clean model are not those of the plan.
        """
        folder = self.path / "owners"
        found = sorted(path for path in visible(folder) if path.is_dir())
        if not found:
            raise CaseError(f"{folder} must hold a folder for each owner, with {MODEL_MARK}")
        return {check_name(path.name, path): self._owner(path) for path in found}

    @property
    def system(self) -> System:
        """The one system of all owners.

        Raises:
          CaseError: they have marks of several.
        """
        published = [owner.published for owner in self.owners.values()]
        names = sorted({mark.plan.mark.partition(":")[0] for mark in published})
        if len(names) > 1:
            raise CaseError(
                f"the owners of a case must have marks of one system, got {', '.join(names)}: "
                "give each system a case of its own"
            )
        return published[0].system

    @functools.cached_property
    def opened(self) -> dict[str, OpenModel]:
        """The suspects' models, by name.

        Raises:
          CaseError, CheckpointError: a file that is missing, of another kind, or no model.
          SuspectError, MissingLibraryError: a suspect to be asked that cannot be opened.
        """
        return {name: self._open_suspect(name) for name in self.suspects}

    def read(self, name: str) -> dict[str, Any]:
        """Read the file of a step, and check its fields; see `Case.read`."""
        body = read_json(self.file(name), FORMATS[name])
        if found := damage(body, _SHAPES[name]):
            raise CaseError(f"{self.file(name)} is damaged: {found}")
        return body

    def read_scores(self, owner: str, suspect: str, model: Any = None) -> np.ndarray:
        """Read one owner's scores from one suspect, as the system's `extract` returns them.

        All are NaN, which makes the test inconclusive, of a suspect that refused too many
        queries: it must not keep the other suspects of the case from being judged.

        Args:
          owner: name.
          suspect: name.
          model: in place of the suspect's `OpenModel.model`.

        Raises:
          CaseError: the suspect cannot be read.
          SuspectError: it is asked, and does not answer.
        """
        one = self.owners[owner]
        model = self.opened[suspect].model if model is None else model
        try:
            return one.published.system.extract(one.decoder, one.own, model)
        except RefusedTooManyError:
            return np.full(one.decoder.num_bits, np.nan)
        except (CacheError, ChangedFileError):
            raise
        except ValueError as error:
            raise CaseError(f"suspect {suspect!r}, owner {owner!r}: {error}") from None

    def _open_suspect(self, name: str) -> OpenModel:
        model = self._sealed(name)
        if model is None:
            found = self.system.open_suspect(self.suspects[name])
            if not isinstance(found.model, Asked):
                return found
            model = found.model
        keeping = model.keeping(self.answers_file(name), self._on_progress)
        return OpenModel(model.digest, keeping)

    def _sealed(self, name: str) -> Asked | None:
        """Return a suspect whose answers are sealed: it is not needed any more."""
        blind = self.read("blind.json")["suspects"] if self.has("blind.json") else {}
        if "answers" not in blind.get(name, {}):
            return None
        said = self.read("declared.json")["suspects"].get(name, {})
        try:
            declaration = Declaration.from_json(said["declaration"])
        except (KeyError, TypeError, ValueError) as error:
            raise CaseError(f"{self.file('declared.json')} is damaged: {error}") from None
        return Asked(self.suspects[name], declaration)

    def scores_file(self, suspect: str) -> pathlib.Path:
        """Return the path of a suspect's sealed scores."""
        return self.file("scores") / f"{suspect}.npz"

    def _owner(self, folder: pathlib.Path) -> ModelOwner:
        path = folder / MODEL_MARK
        mark = ModelMark.load(path)
        try:
            decoder = mark.open_decoder()
        except (TypeError, ValueError) as error:
            if isinstance(error, AnwError):
                raise
            raise CaseError(f"{path} is damaged: {error}") from None
        own = self._open_own(mark, decoder, folder)
        return ModelOwner(folder.name, mark, digest_of(path), decoder, own)

    def _open_own(self, mark: ModelMark, decoder: Decoder, folder: pathlib.Path) -> Any:
        _warn_of_unread(folder / MODEL_MARK, mark.system.files)
        return mark.system.open_own(decoder, mark.plan, folder)


def _warn_of_unread(mark: pathlib.Path, files: tuple[str, ...]) -> None:
    """Name what is in an owner's folder and counts for nothing, such as a misnamed stamp."""
    stamps = [path.name for path in stamp_files(mark)]
    read = {mark.name, *stamps, *files, "README.md"}  # that of `anw case new`
    signatures = {name + SUFFIX for name in read}
    unread = sorted({path.name for path in visible(mark.parent)} - read - signatures)
    keys = [name for name in unread if name.endswith(".key")]
    if keys:
        warnings.warn(
            f"{mark.parent} holds {', '.join(keys):.200}: if that is the owner's key, give it "
            "back; nobody who asks a suspect may have it before the verdict",
            stacklevel=2,
        )
    if unread := [name for name in unread if name not in keys]:
        warnings.warn(
            f"{mark.parent} holds files that nothing reads: {', '.join(unread):.200} (a time "
            f"stamp of {mark.name} must be named {' or '.join(stamps)})",
            stacklevel=2,
        )


def write_statements(case: ModelCase) -> None:
    """Write the commented `statements.toml` where there is none."""
    if case.has(stated.NAME):
        return
    parts = [stated.HEAD, *(stated.owner_table(name, stated.MODELS) for name in case.owners)]
    parts += [stated.suspect_table(name, stated.MODELS) for name in case.suspects]
    _files.write_whole(case.file(stated.NAME), "".join(parts).encode())


@contextlib.contextmanager
def spending(
    folder: pathlib.Path, number: int, use: str, refusals: tuple[type[Exception], ...]
) -> Iterator[None]:
    """Note in the folder of the keys for what one is opened; then it is, inside `with`.

    Whoever has seen a key can make a model that it fits. The note comes first, so that no kill
    leaves an open key without one.

    Args:
      folder: as `anw model keygen` makes it.
      number: which key.
      use: for what it is opened, in words; the same use may be repeated.
      refusals: errors that leave the key unopened; a new note is removed again.

    Raises:
      CaseError: it was opened before, for another use.
    """
    path = folder / f"spent{number}.json"
    is_new = not path.exists()
    before = use if is_new else read_json(path, SPENT_FORMAT).get("opened_for")
    if before != use:
        raise CaseError(
            f"number must be that of a key that nobody has seen: key {number} is spent, "
            f"opened for {before!s:.200}, and cannot be opened for {use:.200}"
        )
    _json.write(path, {"format": SPENT_FORMAT, "opened_for": use})
    try:
        yield
    except refusals:
        if is_new:
            path.unlink()
        raise
